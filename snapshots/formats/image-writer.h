// SPDX-License-Identifier: GPL-2.0-or-later
// Makes a new image in one pass. Data comes in ascending order; what is left out reads as zero. The
// file has no name until it is whole and on disk, so that a failure, a cancelled conversion or a
// kill leaves nothing behind.
#pragma once

#include "snapshots/formats/image.h"

typedef struct ImageWriter ImageWriter;

typedef enum { IMAGE_PACK_NONE, IMAGE_PACK_ZLIB, IMAGE_PACK_ZSTD } ImagePack;

typedef struct {
    const char *path;
    const char *format; // "qcow2", "raw", "vmdk" (streamOptimized), "vdi", "vhd" (dynamic)
    uint64_t size;      // bytes of the disk, a multiple of 512
    ImagePack pack;     // qcow2 only; VMDK is always packed with zlib
} ImageCreate;

// NULL and error: the format is not written here, the size does not fit it, the file exists.
ImageWriter *image_writer_new(const ImageCreate *create, GError **error);

// Data at `offset`, not before the end of what was written so far. False and error.
bool image_writer_write(ImageWriter *writer, uint64_t offset, const void *bytes, size_t size,
                        GError **error);

// Finishes the image, syncs it and gives it its name. Frees the writer, on failure too.
bool image_writer_finish(ImageWriter *writer, GError **error);

// Gives it up. NULL is allowed.
void image_writer_cancel(ImageWriter *writer);

// Copies the whole disk. progress: called now and then with the bytes done, false cancels
// (G_IO_ERROR_CANCELLED); may be NULL. What is zero is left out. The writer stays the caller's.
bool image_copy(Image *source, ImageWriter *writer, bool (*progress)(void *opaque, uint64_t done),
                void *opaque, GError **error);
