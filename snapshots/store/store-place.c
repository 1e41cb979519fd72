// SPDX-License-Identifier: GPL-2.0-or-later
// Where in files the bytes of a volume are, for those who map them instead of reading. A finished
// node's blocks never change, and are not freed while a device of it is open; a linked clone's base
// is a protected node of another store, which holds for that one as well.
#include "snapshots/store/store-private.h"

#include <errno.h>

typedef struct {
    GArray *places; // StorePlace
    uint64_t end;   // bytes: where the volume ends
    GArray *below;  // StorePlace of the base; NULL: it is no volume of a store
    guint next;     // of those, the first one that may be wanted
} Collector;

static void add(Collector *c, uint64_t offset, uint64_t length, int fd, uint64_t at)
{
    if (offset >= c->end)
        return;
    length = MIN(length, c->end - offset);
    StorePlace *last = c->places->len ? &g_array_index(c->places, StorePlace, c->places->len - 1)
                                      : NULL;
    if (last && last->fd == fd && last->offset + last->length == offset &&
        (fd < 0 || last->at + last->length == at)) {
        last->length += length;
        return;
    }
    StorePlace place = { offset, length, fd, at };
    g_array_append_val(c->places, place);
}

// The base's places, as far as they lie in [offset, offset + length). Asked for in ascending order.
static int add_below(Collector *c, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length;
    for (; c->next < c->below->len; c->next++) {
        const StorePlace *place = &g_array_index(c->below, StorePlace, c->next);
        uint64_t from = MAX(place->offset, offset), to = MIN(place->offset + place->length, end);
        if (from < to)
            add(c, from, to - from, place->fd, place->at + (from - place->offset));
        if (place->offset + place->length > end)
            break;
    }
    return 0;
}

// What shows through a hole of [offset, offset + length).
static int add_base(Collector *c, BlockDevice *base, uint64_t offset, uint64_t length)
{
    if (c->below)
        return add_below(c, offset, length);
    BlockExtent extents[32];
    for (uint64_t end = offset + length; offset < end;) {
        int count = block_extents(base, offset, end - offset, extents, G_N_ELEMENTS(extents));
        if (count <= 0)
            return count < 0 ? count : -EIO;
        for (int i = 0; i < count; i++) {
            if (extents[i].allocated)
                add(c, extents[i].offset, extents[i].length, -1, 0);
            offset = extents[i].offset + extents[i].length;
        }
    }
    return 0;
}

// The leaf over vblock, copied out. 0 or -errno.
static int read_leaf(StoreDevice *device, uint64_t vblock, uint64_t entries[STORE_LEAF_ENTRIES],
                     BlockDevice **ret_base, uint64_t *ret_limit)
{
    Store *store = device->store;
    StorePointer p;
    StoreBlock *block;
    g_mutex_lock(&store->mutex);
    const StoreSlot *slot = store_slot(device->record, device->volume);
    int result = slot ? store_map_pointer(store, &slot->tree, 1, vblock, &p) : -EINVAL;
    if (result == 0)
        *ret_base = store_slot_base(store, slot, ret_limit);
    if (result == 0 && entry_kind(p.entry) == ENTRY_NODE) {
        result = store_cache_get(store, p, 0, TREE_MAP, false, &block);
        if (result == 0)
            memcpy(entries, block->leaf, sizeof block->leaf);
    } else if (result == 0) {
        for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++)
            entries[i] = entry_kind(p.entry) == ENTRY_DATA ? p.entry + i : p.entry;
    }
    store_cache_trim(store);
    g_mutex_unlock(&store->mutex);
    return result;
}

static int add_leaf(Collector *c, StoreDevice *device, uint64_t vblock, int fd)
{
    uint64_t entries[STORE_LEAF_ENTRIES], limit = 0;
    BlockDevice *base = NULL;
    int result = read_leaf(device, vblock, entries, &base, &limit);
    limit = MIN(limit, c->end);
    for (unsigned i = 0, run; i < STORE_LEAF_ENTRIES && result == 0; i += run) {
        uint64_t offset = (vblock + i) << STORE_BLOCK_BITS;
        run = 1;
        if (entry_kind(entries[i]) == ENTRY_DATA) {
            add(c, offset, STORE_BLOCK, fd, entry_block(entries[i]) << STORE_BLOCK_BITS);
        } else if (entry_kind(entries[i]) == ENTRY_HOLE && base && offset < limit) {
            while (i + run < STORE_LEAF_ENTRIES && entry_kind(entries[i + run]) == ENTRY_HOLE)
                run++;
            result = add_base(c, base, offset,
                              MIN((uint64_t)run << STORE_BLOCK_BITS, limit - offset));
        }
    }
    return result;
}

// Where a base that is a store's volume has its bytes; NULL where there is none.
static GArray *places_below(StoreDevice *device, int *ret_result)
{
    uint64_t limit = 0;
    g_mutex_lock(&device->store->mutex);
    const StoreSlot *slot = store_slot(device->record, device->volume);
    BlockDevice *base = slot ? store_slot_base(device->store, slot, &limit) : NULL;
    g_mutex_unlock(&device->store->mutex);
    StoreDevice *below = base ? store_device_of(base) : NULL;
    return below ? store_places(below, ret_result) : NULL;
}

GArray *store_places(StoreDevice *device, int *ret_result)
{
    Store *store = device->store;
    uint64_t size = block_size(device->block);
    *ret_result = 0;
    g_autoptr(GArray) below = places_below(device, ret_result);
    bool frozen = device->record != store->current && !device->writable;
    int fd = frozen && store->io.ops->descriptor ? store->io.ops->descriptor(store->io.io) : -1;
    Collector c = { g_array_new(FALSE, FALSE, sizeof(StorePlace)), size, below, 0 };
    uint64_t blocks = (size + STORE_BLOCK - 1) >> STORE_BLOCK_BITS;
    for (uint64_t at = 0; at < blocks && *ret_result == 0; at += STORE_LEAF_ENTRIES)
        *ret_result = add_leaf(&c, device, at, fd);
    return c.places;
}

GArray *store_volume_places(BlockDevice *block, GError **error)
{
    StoreDevice *device = store_device_of(block);
    int result = device ? 0 : -EINVAL;
    g_autoptr(GArray) places = device ? store_places(device, &result) : NULL;
    if (result == 0)
        return g_steal_pointer(&places);
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                "'%s' cannot be read: %s", block_path(block), g_strerror(-result));
    return NULL;
}
