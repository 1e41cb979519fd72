// SPDX-License-Identifier: GPL-2.0-or-later
// Volumes as BlockDevices: a driver whose requests go to store-data.c.
#include "snapshots/store/store-private.h"

#include <errno.h>

typedef struct {
    StoreDevice device; // first: requests know it by this
    Store *owned;       // closed with the device
} Volume;

static void volume_done(BlockRequest *request, int result)
{
    block_complete(&(BlockCompletion){ request, result }, 1);
}

static void volume_submit(void *driver, BlockRequest *request)
{
    Volume *v = driver;
    store_data_submit(&v->device, request);
}

static int extents_of_base(BlockDevice *base, uint64_t offset, uint64_t length,
                           BlockExtent *ret_extents, size_t max)
{
    return base ? block_extents(base, offset, length, ret_extents, max) : 0;
}

// What a run of entries of one kind is: one extent, or the base's.
static int add_run(EntryKind kind, BlockDevice *base, uint64_t limit, uint64_t offset,
                   uint64_t length, BlockExtent *ret_extents, size_t max)
{
    if (kind == ENTRY_HOLE && offset < limit)
        return extents_of_base(base, offset, MIN(length, limit - offset), ret_extents, max);
    ret_extents[0] = (BlockExtent){ offset, length, kind == ENTRY_DATA };
    return 1;
}

static int volume_extents(void *driver, uint64_t offset, uint64_t length,
                          BlockExtent *ret_extents, size_t max)
{
    Volume *v = driver;
    Store *store = v->device.store;
    uint64_t end = offset + length, limit = 0;
    size_t count = 0;
    int result = 0;
    while (offset < end && count < max && result >= 0) {
        uint64_t first, stop, next;
        g_mutex_lock(&store->mutex);
        const StoreSlot *slot = store_slot(v->device.record, v->device.volume);
        BlockDevice *base = slot ? store_slot_base(store, slot, &limit) : NULL;
        result = slot ? store_map_run(store, &slot->tree, offset >> STORE_BLOCK_BITS,
                                      (end + STORE_BLOCK - 1) >> STORE_BLOCK_BITS, &first, &stop)
                      : -EINVAL;
        store_cache_trim(store);
        g_mutex_unlock(&store->mutex);
        if (result < 0)
            break;
        next = MIN(end, stop << STORE_BLOCK_BITS);
        if (offset < limit)
            next = MIN(next, MAX(limit, offset + 1));
        result = add_run(entry_kind(first), base, limit, offset, next - offset,
                         ret_extents + count, max - count);
        if (result > 0) {
            count += (size_t)result;
            offset = ret_extents[count - 1].offset + ret_extents[count - 1].length;
        }
    }
    return result < 0 ? result : (int)count;
}

static void volume_close(void *driver)
{
    Volume *v = driver;
    Store *store = v->device.store;
    g_mutex_lock(&store->mutex);
    v->device.record->open_devices--;
    g_ptr_array_remove_fast(store->devices, &v->device);
    store_worker_wake(store);
    g_mutex_unlock(&store->mutex);
    store_close(v->owned);
    g_free(v);
}

static void volume_post(void *driver, BlockRequest *request, int result)
{
    Volume *v = driver;
    v->device.store->io.ops->post(v->device.store->io.io, request, result);
}

static bool volume_completed(void *driver, BlockRequest *request, int result)
{
    Volume *v = driver;
    return store_data_passed(&v->device, request, result);
}

static const BlockDriverOps store_block_ops = {
    .name = "store",
    .submit = volume_submit,
    .extents = volume_extents,
    .close = volume_close,
    .post = volume_post,
    .completed = volume_completed,
};

StoreDevice *store_device_of(BlockDevice *block)
{
    Volume *v = block_driver(block, &store_block_ops);
    return v ? &v->device : NULL;
}

void store_devices_resize(Store *store)
{
    for (unsigned i = 0; i < store->devices->len; i++) {
        StoreDevice *device = store->devices->pdata[i];
        const StoreSlot *slot = store_slot(device->record, device->volume);
        if (device->block)
            block_set_size(device->block, slot ? slot->size : 0);
    }
}

bool store_has_device(Store *store, StoreRecord *record, uint32_t volume)
{
    for (unsigned i = 0; i < store->devices->len; i++) {
        const StoreDevice *device = store->devices->pdata[i];
        if (device->record == record && device->volume == volume)
            return true;
    }
    return false;
}

static StoreRecord *record_of(Store *store, StoreNodeId node, GError **error)
{
    StoreRecord *record = node == STORE_CURRENT ? store->current
                          : store->pending && store->pending->id == node
                              ? store->pending : store_record_find(store, node);
    if (!record)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no snapshot %" G_GUINT64_FORMAT ": list the snapshots", node);
    return record;
}

static bool check_open(Store *store, StoreRecord *record, const char *name, bool writable,
                       GError **error)
{
    StoreSlot *slot = store_slot_named(store, record, name);
    StoreVolumeRecord *volume = slot ? store_volume_by_id(store, slot->volume) : NULL;
    if (!slot)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no volume '%s' here: list the volumes", name);
    else if (volume->base && !volume->base_device)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "volume '%s' has a base that is not open", name);
    else if (writable && store_has_device(store, record, slot->volume))
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY, "volume '%s' is open already", name);
    else
        return true;
    return false;
}

BlockDevice *store_volume_open(Store *store, StoreNodeId node, const char *name, GMutex *lock,
                               GError **error)
{
    Volume *v = NULL;
    g_mutex_lock(&store->mutex);
    StoreRecord *record = record_of(store, node, error);
    bool writable = record && !store->read_only &&
                    (record == store->current || record == store->pending);
    if (record && check_open(store, record, name, writable, error)) {
        const StoreSlot *slot = store_slot_named(store, record, name);
        StoreVolumeRecord *volume = store_volume_by_id(store, slot->volume);
        writable &= record != store->pending || volume->kind == STORE_STATE;
        v = g_new0(Volume, 1);
        v->device = (StoreDevice){ store, record, slot->volume, writable, NULL, volume_done };
        v->device.block = block_new(&store_block_ops, v, slot->size, store->path, !writable, lock);
        record->open_devices++;
        g_ptr_array_add(store->devices, &v->device);
    }
    g_mutex_unlock(&store->mutex);
    return v ? v->device.block : NULL;
}

BlockDevice *store_open_node_device(const char *path, const StoreBase *base, unsigned depth,
                                    GError **error)
{
    StoreOpen options = { .path = path, .read_only = true, .depth = depth + 1 };
    Store *store = store_open(&options, error);
    if (!store)
        return NULL;
    BlockDevice *block = store_volume_open(store, base->node, base->volume, NULL, error);
    if (!block) {
        store_close(store);
        return NULL;
    }
    StoreDevice *device = store->devices->pdata[0];
    ((Volume *)device)->owned = store;
    return block;
}
