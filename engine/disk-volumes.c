// SPDX-License-Identifier: GPL-2.0-or-later
// See disk-volumes.h. An import fills a volume of a name that no machine uses and renames it at the
// end, in one commit; one that was cut off is removed by the next.
#include "engine/disk-volumes.h"

#include <errno.h>
#include <gio/gio.h>
#include <unistd.h>

#define COPY_BYTES      (UINT64_C(1) << 20)
#define UNFINISHED      "importing"
#define BUSY_TRIES      300
#define BUSY_INTERVAL_US (100 * 1000)

typedef struct {
    uint64_t size;
    DiskVolumeProgress progress;
    void *opaque;
    uint8_t *buffer; // COPY_BYTES
} Copy;

static bool tell(const Copy *copy, uint64_t done, GError **error)
{
    if (!copy->progress || copy->progress(copy->opaque, done, copy->size))
        return true;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "cancelled");
    return false;
}

static bool failed(int result, const char *name, const char *what, GError **error)
{
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result), "'%s' cannot be %s: %s", name,
                what, g_strerror(-result));
    return false;
}

// ---- Export ----

static bool export_extent(const Copy *copy, BlockDevice *disk, const BlockExtent *extent,
                          ImageWriter *writer, GError **error)
{
    uint64_t end = extent->offset + extent->length;
    for (uint64_t at = extent->offset; extent->allocated && at < end;) {
        size_t size = MIN(end - at, COPY_BYTES);
        int result = block_read_sync(disk, at, copy->buffer, size);
        if (result < 0)
            return failed(result, block_path(disk), "read", error);
        if (!image_writer_write(writer, at, copy->buffer, size, error))
            return false;
        at += size;
        if (!tell(copy, at, error))
            return false;
    }
    return tell(copy, end, error);
}

static bool export_disk(const Copy *copy, BlockDevice *disk, ImageWriter *writer, GError **error)
{
    BlockExtent extents[64];
    for (uint64_t at = 0; at < copy->size;) {
        int count = block_extents(disk, at, copy->size - at, extents, G_N_ELEMENTS(extents));
        if (count <= 0)
            return failed(count ? count : -EIO, block_path(disk), "read", error);
        for (int i = 0; i < count; i++) {
            if (!export_extent(copy, disk, &extents[i], writer, error))
                return false;
            at = extents[i].offset + extents[i].length;
        }
    }
    return true;
}

static bool export_to(BlockDevice *disk, ImageCreate *create, DiskVolumeProgress progress,
                      void *opaque, GError **error)
{
    Copy copy = { block_size(disk), progress, opaque, NULL };
    create->size = copy.size;
    ImageWriter *writer = image_writer_new(create, error);
    if (!writer)
        return false;
    copy.buffer = g_malloc(COPY_BYTES);
    bool done = export_disk(&copy, disk, writer, error);
    g_free(copy.buffer);
    if (done)
        return image_writer_finish(writer, error);
    image_writer_cancel(writer);
    return false;
}

bool disk_volume_export(const char *store, const char *volume, StoreNodeId node,
                        ImageCreate *create, DiskVolumeProgress progress, void *opaque,
                        GError **error)
{
    StoreOpen options = { .path = store, .read_only = true };
    Store *opened = store_open(&options, error);
    BlockDevice *disk = opened ? store_volume_open(opened, node, volume, NULL, error) : NULL;
    bool done = disk && export_to(disk, create, progress, opaque, error);
    block_close(disk);
    store_close(opened);
    return done;
}

// ---- Import ----

static bool import_disk(const Copy *copy, Image *image, BlockDevice *disk, GError **error)
{
    for (uint64_t at = 0; at < image_size(image);) {
        ImageExtent extent;
        int result = image_extent(image, at, image_size(image) - at, &extent);
        if (result < 0)
            return failed(result, image_path(image), "read", error);
        size_t size = (size_t)(extent.data ? MIN(extent.length, COPY_BYTES) : 0);
        result = size ? image_read(image, at, copy->buffer, size) : 0;
        if (result < 0)
            return failed(result, image_path(image), "read", error);
        result = size ? block_write_sync(disk, at, copy->buffer, size) : 0;
        if (result < 0)
            return failed(result, block_path(disk), "written", error);
        at += size ? size : extent.length;
        if (!tell(copy, at, error))
            return false;
    }
    int result = block_flush_sync(disk);
    return result == 0 || failed(result, block_path(disk), "written", error);
}

static bool fill(Store *store, Image *image, DiskVolumeProgress progress, void *opaque,
                 GError **error)
{
    BlockDevice *disk = store_volume_open(store, STORE_CURRENT, UNFINISHED, NULL, error);
    if (!disk)
        return false;
    Copy copy = { image_size(image), progress, opaque, g_malloc(COPY_BYTES) };
    bool done = import_disk(&copy, image, disk, error);
    g_free(copy.buffer);
    block_close(disk);
    return done;
}

static bool import_into(Store *store, Image *image, const char *volume,
                        DiskVolumeProgress progress, void *opaque, GError **error)
{
    uint64_t size = (image_size(image) + 511) & ~UINT64_C(511);
    store_volume_remove(store, UNFINISHED, NULL); // of one that was cut off
    if (!store_volume_add(store, UNFINISHED, STORE_DISK, size, NULL, error))
        return false;
    if (fill(store, image, progress, opaque, error) &&
        store_volume_rename(store, UNFINISHED, volume, error))
        return true;
    store_volume_remove(store, UNFINISHED, NULL);
    store_purge_wait(store, NULL, NULL);
    return false;
}

// The process that serves the snapshots of a machine that is off ends when it has been idle.
static Store *open_when_free(const char *path, GError **error)
{
    StoreOpen options = { .path = path };
    for (int tries = 0;; tries++) {
        g_autoptr(GError) problem = NULL;
        Store *store = store_open(&options, &problem);
        if (store)
            return store;
        if (tries == BUSY_TRIES || !g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_BUSY)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return NULL;
        }
        g_usleep(BUSY_INTERVAL_US);
    }
}

bool disk_volume_import(Image *image, const char *store, const char *volume,
                        DiskVolumeProgress progress, void *opaque, GError **error)
{
    bool made = access(store, F_OK) < 0;
    if (made && !store_create(store, error))
        return false;
    Store *opened = open_when_free(store, error);
    bool done = opened && import_into(opened, image, volume, progress, opaque, error);
    store_close(opened);
    if (made && !done)
        unlink(store);
    return done;
}
