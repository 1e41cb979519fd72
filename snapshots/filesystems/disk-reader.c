// SPDX-License-Identifier: GPL-2.0-or-later
// See disk-reader.h. The cache is direct mapped: 64 KiB of disk to a slot, 8 MiB in all.
#include "snapshots/filesystems/disk-reader.h"

#include <errno.h>
#include <string.h>

#define SLOT_BYTES (UINT64_C(64) << 10)
#define SLOTS      128u

typedef struct {
    uint8_t *bytes; // NULL: never filled
    uint64_t number;
} Slot;

struct DiskReader {
    DiskRead read;
    void *opaque;
    uint64_t start, size, total;
    Slot slots[SLOTS];
};

DiskReader *disk_reader_new(DiskRead read, void *opaque, uint64_t size)
{
    DiskReader *reader = g_new0(DiskReader, 1);
    reader->read = read;
    reader->opaque = opaque;
    reader->size = size;
    return reader;
}

DiskReader *disk_reader_part(const DiskReader *disk, uint64_t start, uint64_t size)
{
    start = MIN(start, disk->size);
    DiskReader *reader = disk_reader_new(disk->read, disk->opaque, MIN(size, disk->size - start));
    reader->start = disk->start + start;
    return reader;
}

void disk_reader_free(DiskReader *reader)
{
    if (!reader)
        return;
    for (unsigned i = 0; i < SLOTS; i++)
        g_free(reader->slots[i].bytes);
    g_free(reader);
}

uint64_t disk_reader_size(const DiskReader *reader)
{
    return reader->size;
}

static int fill(DiskReader *reader, Slot *slot, uint64_t number)
{
    uint64_t at = number * SLOT_BYTES;
    if (slot->bytes && slot->number == number)
        return 0;
    if (!slot->bytes)
        slot->bytes = g_malloc(SLOT_BYTES);
    int result = reader->read(reader->opaque, reader->start + at, slot->bytes,
                              (size_t)MIN(SLOT_BYTES, reader->size - at));
    slot->number = number;
    if (result < 0)
        g_clear_pointer(&slot->bytes, g_free);
    return result;
}

uint64_t disk_reader_total(const DiskReader *reader)
{
    return reader->total;
}

int disk_reader_read(DiskReader *reader, uint64_t offset, void *buffer, size_t size)
{
    if (offset > reader->size || size > reader->size - offset)
        return -ERANGE;
    reader->total += size;
    for (uint8_t *to = buffer; size;) {
        uint64_t number = offset / SLOT_BYTES, skip = offset % SLOT_BYTES;
        Slot *slot = &reader->slots[number % SLOTS];
        int result = fill(reader, slot, number);
        if (result < 0)
            return result;
        size_t count = (size_t)MIN(size, SLOT_BYTES - skip);
        memcpy(to, slot->bytes + skip, count);
        to += count;
        offset += count;
        size -= count;
    }
    return 0;
}
