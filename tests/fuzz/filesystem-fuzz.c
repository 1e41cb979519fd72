// SPDX-License-Identifier: GPL-2.0-or-later
// See filesystem-fuzz.h.
#include "tests/fuzz/filesystem-fuzz.h"

#include "engine/base/bytes.h"
#include "snapshots/filesystems/tree-compare.h"

#define EDITS_MAX 6u

static int read_disk(void *opaque, uint64_t offset, void *buffer, size_t size)
{
    memcpy(buffer, (const uint8_t *)opaque + offset, size);
    return 0;
}

void fuzz_disk_begin(FuzzDisk *disk, size_t size, const FuzzArea *areas, size_t area_count)
{
    *disk = (FuzzDisk){ g_malloc0(size), g_malloc0(size), size, areas, area_count };
}

void fuzz_disk_ready(FuzzDisk *disk, const char *filesystem)
{
    g_autoptr(DiskReader) all = disk_reader_new(read_disk, disk->sound, disk->size);
    g_autoptr(DiskChanges) none = disk_compare(all, all);
    const PartitionChanges *partition = none->partitions->pdata[0];
    for (guint i = 0; i < partition->problems->len; i++)
        g_error("the template: %s", (const char *)partition->problems->pdata[i]);
    if (g_strcmp0(partition->filesystem, filesystem) != 0)
        g_error("the template is no %s", filesystem);
    memcpy(disk->edited, disk->sound, disk->size);
}

static void edit(FuzzDisk *disk, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size && i < EDITS_MAX * 12; i += 12) {
        uint8_t one[12] = { 0 };
        memcpy(one, data + i, MIN(sizeof one, size - i));
        const FuzzArea *area = &disk->areas[one[0] % disk->area_count];
        size_t width = (size_t)1 << (one[3] & 3);
        size_t offset = le16_read(one + 1) % area->length;
        memcpy(disk->edited + area->offset + offset, one + 4, MIN(width, area->length - offset));
    }
}

void fuzz_disk_run(FuzzDisk *disk, const uint8_t *data, size_t size)
{
    edit(disk, data, size);
    g_autoptr(DiskReader) before = disk_reader_new(read_disk, disk->sound, disk->size);
    g_autoptr(DiskReader) after = disk_reader_new(read_disk, disk->edited, disk->size);
    disk_changes_free(disk_compare(before, after));
    disk_changes_free(disk_compare(after, before));
    for (size_t i = 0; i < disk->area_count; i++) {
        const FuzzArea *area = &disk->areas[i];
        memcpy(disk->edited + area->offset, disk->sound + area->offset, area->length);
    }
}
