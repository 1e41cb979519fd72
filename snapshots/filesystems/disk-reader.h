// SPDX-License-Identifier: GPL-2.0-or-later
// A disk, or a part of one, as readers of file systems see it: read-only, bounded, and with a small
// cache, because they ask for the same tables again and again.
#pragma once

#include <glib.h>
#include <stdint.h>

// size is never 0 and never passes the disk's end. 0 or a negative errno.
typedef int (*DiskRead)(void *opaque, uint64_t offset, void *buffer, size_t size);

typedef struct DiskReader DiskReader;

// A disk of `size` bytes. `read` and opaque stay the caller's, until disk_reader_free.
DiskReader *disk_reader_new(DiskRead read, void *opaque, uint64_t size);
// The part of a disk from `start`, cut off at its end, with a cache of its own. `disk` need not
// outlive it; what it reads with must.
DiskReader *disk_reader_part(const DiskReader *disk, uint64_t start, uint64_t size);
void disk_reader_free(DiskReader *reader); // NULL is allowed
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DiskReader, disk_reader_free)

uint64_t disk_reader_size(const DiskReader *reader); // bytes
// Bytes that were asked for so far: what says that a disk is made to be read for ever.
uint64_t disk_reader_total(const DiskReader *reader);

// All of it or nothing: -ERANGE where any of it is beyond the end, or what reading said.
int disk_reader_read(DiskReader *reader, uint64_t offset, void *buffer, size_t size);
