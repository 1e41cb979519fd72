// SPDX-License-Identifier: GPL-2.0-or-later
// Metadata of an image, a file's bytes kept in pages and written back when told so. One cache is
// for one kind of table, so that a driver orders what reaches the file: write one cache back, sync,
// then the next. Pages must not overlap with what is written around the cache.
#pragma once

#include "snapshots/formats/image-file.h"

typedef struct ImageCache ImageCache;

// page: a power of two of 512 or more; pages begin at multiples of it from `origin` on.
ImageCache *image_cache_new(ImageFile *file, uint64_t origin, size_t page, size_t pages_max);
void image_cache_free(ImageCache *cache); // what is dirty is lost

// 0 or a negative errno; any thread. Neither crosses a page where size divides page and offset.
int image_cache_read(ImageCache *cache, uint64_t offset, void *buffer, size_t size);
int image_cache_write(ImageCache *cache, uint64_t offset, const void *buffer, size_t size);

// The pages of a range become zero without being read; dirty.
int image_cache_zero(ImageCache *cache, uint64_t offset, uint64_t length);
// Forgets the pages of a range, dirty or not.
void image_cache_forget(ImageCache *cache, uint64_t offset, uint64_t length);

size_t image_cache_dirty(const ImageCache *cache); // pages
int image_cache_write_back(ImageCache *cache);     // does not sync
