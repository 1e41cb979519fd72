// SPDX-License-Identifier: GPL-2.0-or-later
// Small volumes that are read and replaced whole, with a checksum of their content. A replacement
// is written beside the old bytes and takes their place in one step, so that every commit has
// either the old or the new ones. Blocks of zeros, which machines' devices have many of, are
// holes.
#include "snapshots/store/store-private.h"

#include <errno.h>

static uint64_t content_of(const void *data, size_t size)
{
    uint64_t content = store_checksum(data, size);
    return content ? content : 1; // 0: not a blob
}

static void give_back(Store *store, GArray *placements)
{
    for (unsigned i = 0; i < placements->len; i++) {
        const StorePlacement *p = &g_array_index(placements, StorePlacement, i);
        store_space_give_back(store, p->phys, p->count);
    }
}

// The bytes that are [p->vblock, p->vblock + p->count).
static int write_placed(Store *store, const StorePlacement *p, const uint8_t *bytes, size_t size)
{
    size_t at = p->vblock << STORE_BLOCK_BITS;
    size_t length = MIN(size - at, p->count << STORE_BLOCK_BITS);
    size_t whole = length & ~(size_t)(STORE_BLOCK - 1);
    uint64_t to = p->phys << STORE_BLOCK_BITS;
    int result = whole ? store->io.ops->write(store->io.io, to, bytes + at, whole) : 0;
    if (result == 0 && whole < length) {
        uint8_t last[STORE_BLOCK] = { 0 };
        memcpy(last, bytes + at + whole, length - whole);
        result = store->io.ops->write(store->io.io, to + whole, last, sizeof last);
    }
    return result;
}

// The first block from `block` on that is not of the kind: zeros, or other bytes. At most `blocks`.
static uint64_t skip(const uint8_t *bytes, size_t size, uint64_t block, uint64_t blocks, bool zeros)
{
    for (; block < blocks; block++) {
        const uint8_t *at = bytes + (block << STORE_BLOCK_BITS);
        size_t length = MIN(size - (block << STORE_BLOCK_BITS), STORE_BLOCK);
        bool is_zero = *at == 0 && memcmp(at, at + 1, length - 1) == 0;
        if (is_zero != zeros)
            break;
    }
    return block;
}

// Room for the bytes, and the bytes in it, out of the reserve where there is no other. Without the
// mutex.
static int write_bytes(Store *store, uint32_t volume, GBytes *data, GArray *placements)
{
    size_t size;
    const uint8_t *bytes = g_bytes_get_data(data, &size);
    uint64_t blocks = (size + STORE_BLOCK - 1) >> STORE_BLOCK_BITS, done = 0, end = 0;
    bool from_reserve = false;
    for (;;) {
        if (done == end) {
            done = skip(bytes, size, done, blocks, true);
            end = skip(bytes, size, done, blocks, false);
        }
        if (done == blocks)
            return 0;
        StorePlacement p = { .vblock = done };
        g_mutex_lock(&store->mutex);
        int result = from_reserve ? store_reserve_take(store, end - done, &p.phys, &p.count)
                                  : store_space_new_data(store, volume, done, end - done, 0,
                                                         false, &p.phys, &p.count);
        g_mutex_unlock(&store->mutex);
        if (result == 0) {
            g_array_append_val(placements, p);
            result = write_placed(store, &p, bytes, size);
        }
        if (result == 0) {
            done += p.count;
            continue;
        }
        g_mutex_lock(&store->mutex);
        bool again = result == -ENOSPC && !from_reserve && store_reserve_is_for(store, volume);
        if (again && p.count) {
            store_space_give_back(store, p.phys, p.count);
            g_array_set_size(placements, placements->len - 1);
        }
        store->full |= again;
        g_mutex_unlock(&store->mutex);
        if (!again)
            return result;
        from_reserve = true;
    }
}

static int place(Store *store, StoreRecord *record, StoreSlot *slot, GArray *placements)
{
    for (unsigned i = 0; i < placements->len; i++) {
        StorePlacement *p = &g_array_index(placements, StorePlacement, i);
        while (p->count) {
            StoreBlock *leaf;
            int result = store_map_modify(store, record, slot, &slot->tree, p->vblock, &leaf);
            if (result < 0)
                return result;
            leaf->leaf[store_index(p->vblock, 0)] = entry_make(ENTRY_DATA, record->stamp, p->phys);
            store_space_use(store, p->phys, 1);
            slot->mapped++;
            p->vblock++;
            p->phys++;
            p->count--;
        }
    }
    return 0;
}

// With the mutex.
static int replace(Store *store, StoreRecord *record, StoreSlot *slot, GBytes *data,
                   GArray *placements)
{
    uint64_t blocks = (slot->size + STORE_BLOCK - 1) >> STORE_BLOCK_BITS;
    uint64_t new_blocks = data ? g_bytes_get_size(data) >> STORE_BLOCK_BITS : 0;
    int result = store_space_ensure(store, 2 * store->space.dirty_groups + 64 +
                                               (blocks + new_blocks) / 128);
    if (result == 0)
        result = store_map_clear(store, record, slot, 0, blocks, false);
    if (result < 0)
        return result;
    slot->size = 0;
    slot->base_limit = 0; // its holes are zeros
    slot->content = 0;
    if (!data) {
        store_slot_remove(store, record, slot);
        return 0;
    }
    result = place(store, record, slot, placements);
    if (result == 0) {
        slot->size = g_bytes_get_size(data);
        slot->content = content_of(g_bytes_get_data(data, NULL), slot->size);
    }
    return result;
}

// With the mutex: where the bytes go, added if need be. NULL and error, or NULL where there is
// nothing to remove.
static StoreSlot *slot_for(Store *store, StoreRecord *record, const char *name, bool add,
                           GError **error)
{
    StoreSlot *slot = store_slot_named(store, record, name);
    StoreVolumeRecord *volume = slot ? store_volume_by_id(store, slot->volume)
                                     : store_volume_find(store, name);
    int result = 0;
    if (volume && (volume->kind == STORE_DISK ||
                   (record == store->pending && volume->kind != STORE_STATE))) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "volume '%s' cannot be replaced as a whole here: use another name", name);
        return NULL;
    }
    if (slot || !add)
        return slot;
    if (record->slot_count == STORE_MAX_VOLUMES) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                    "a store holds at most %u volumes: remove one", STORE_MAX_VOLUMES);
        return NULL;
    }
    if (!volume)
        volume = store_volume_record_add(store, name, STORE_STATE, NULL, &result);
    if (!volume) {
        store_set_errno(error, store, "could not add a volume", result);
        return NULL;
    }
    return store_slot_add(record, volume->id);
}

static bool name_is_valid(const char *name, GBytes *data, GError **error)
{
    size_t length = strlen(name);
    if (length == 0 || length > STORE_MAX_VOLUME_NAME ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != length) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "'%s' cannot be a volume's name: use 1 to %u of a-z 0-9 . _ -", name,
                    STORE_MAX_VOLUME_NAME);
        return false;
    }
    if (!data || g_bytes_get_size(data) <= STORE_MAX_BLOB)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "'%s' is larger than 1 GiB: write it as a volume", name);
    return false;
}

bool store_blob_put(Store *store, StoreNodeId node, const char *name, GBytes *data, GError **error)
{
    g_autoptr(GArray) placements = g_array_new(FALSE, FALSE, sizeof(StorePlacement));
    g_autoptr(GError) trouble = NULL;
    if (!name_is_valid(name, data, error))
        return false;
    g_mutex_lock(&store->mutex);
    StoreRecord *record = node == STORE_CURRENT ? store->current
                          : store->pending && store->pending->id == node ? store->pending : NULL;
    StoreSlot *slot = NULL;
    if (!record)
        g_set_error(&trouble, G_IO_ERROR, G_IO_ERROR_READ_ONLY,
                    "snapshot %" G_GUINT64_FORMAT " is finished: it cannot be changed", node);
    else if (store_can_write(store, &trouble))
        slot = slot_for(store, record, name, data != NULL, &trouble);
    uint32_t volume = slot ? slot->volume : 0;
    g_mutex_unlock(&store->mutex);
    if (trouble) {
        g_propagate_error(error, g_steal_pointer(&trouble));
        return false;
    }
    if (!slot)
        return true;
    int result = data ? write_bytes(store, volume, data, placements) : 0;
    g_mutex_lock(&store->mutex);
    slot = store_slot(record, volume);
    if (result == 0)
        result = slot ? replace(store, record, slot, data, placements) : -ENOENT;
    give_back(store, placements);
    store_mark_dirty(store);
    g_mutex_unlock(&store->mutex);
    return result == 0 || store_set_errno(error, store, "could not be written", result);
}

GBytes *store_blob_get(Store *store, StoreNodeId node, const char *name, GError **error)
{
    g_mutex_lock(&store->mutex);
    StoreRecord *record = node == STORE_CURRENT ? store->current
                          : store->pending && store->pending->id == node
                              ? store->pending : store_record_find(store, node);
    StoreSlot *slot = record ? store_slot_named(store, record, name) : NULL;
    if (!slot || !slot->content) {
        g_mutex_unlock(&store->mutex);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no '%s' in this snapshot", name);
        return NULL;
    }
    StoreDevice device = { .store = store, .record = record, .volume = slot->volume };
    uint64_t size = slot->size, content = slot->content;
    record->open_devices++;
    g_mutex_unlock(&store->mutex);
    g_autofree uint8_t *bytes = size <= STORE_MAX_BLOB ? g_try_malloc(MAX(size, 1)) : NULL;
    int result = !bytes ? -ENOMEM
                 : size ? store_data_sync(&device, BLOCK_READ, 0, bytes, size) : 0;
    g_mutex_lock(&store->mutex);
    record->open_devices--;
    store_worker_wake(store);
    g_mutex_unlock(&store->mutex);
    if (result == 0 && content_of(bytes, size) != content)
        result = -EBADMSG;
    if (result == 0)
        return g_bytes_new_take(g_steal_pointer(&bytes), size);
    store_set_errno(error, store, "could not be read", result);
    return NULL;
}

bool store_has_state(Store *store)
{
    g_mutex_lock(&store->mutex);
    bool has = store_slot_named(store, store->current, STORE_DEVICE_STATE) != NULL;
    g_mutex_unlock(&store->mutex);
    return has;
}

bool store_remove_state(Store *store, GError **error)
{
    return store_blob_put(store, STORE_CURRENT, STORE_DEVICE_STATE, NULL, error) &&
           store_blob_put(store, STORE_CURRENT, STORE_HOT_PAGES, NULL, error) &&
           store_blob_put(store, STORE_CURRENT, STORE_THUMBNAIL, NULL, error) &&
           store_commit(store, error);
}
