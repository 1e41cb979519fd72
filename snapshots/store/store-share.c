// SPDX-License-Identifier: GPL-2.0-or-later
// Who shares with whom. There are no reference counts on disk: a block of a map or of data stands
// at one place of one volume only, and every running state writes with a stamp of its own, higher
// than its parent's. So of what a node shows at a place,
//   - its living parent has exactly what is not younger than the parent's stamp, and
//   - a child has it if the same reference stands at the same place of the child's map.
// A node that is gone (its blocks freed up to the cursor, or a ghost) has nothing; one looks
// through it at its own parent and its other children.
#include "snapshots/store/store-private.h"

typedef struct {
    Store *store;
    uint32_t volume;
    unsigned level;
    uint64_t vblock;
    uint64_t entry;
} Place;

// Whether the record still has what its map says at this place.
static bool is_present(const Place *at, StoreRecord *record)
{
    const StorePurge *purge = &at->store->purge;
    if (record->flags & NODE_GHOST)
        return false;
    if (record != purge->record)
        return true;
    const StoreSlot *slot = store_slot(record, at->volume);
    if (!slot)
        return false;
    unsigned index = (unsigned)(slot - record->slots);
    uint64_t span = store_span(at->level);
    if (index != purge->slot)
        return index > purge->slot;
    return purge->cursor < (at->vblock & ~(span - 1)) + span;
}

static bool holds(const Place *at, StoreRecord *record)
{
    uint64_t entry;
    const StoreSlot *slot = store_slot(record, at->volume);
    if (!slot)
        return false;
    // What cannot be read is taken for shared: room may be lost, data may not.
    return store_map_entry(at->store, &slot->tree, at->level, at->vblock, false, &entry) < 0 ||
           entry == at->entry;
}

static bool shared_through(const Place *at, StoreRecord *record, StoreRecord *from)
{
    if (is_present(at, record))
        return holds(at, record);
    StoreRecord *parent = record->parent;
    if (parent && parent != from && entry_birth(at->entry) <= parent->stamp &&
        shared_through(at, parent, record))
        return true;
    for (unsigned i = 0; i < record->children->len; i++) {
        StoreRecord *child = record->children->pdata[i];
        if (child != from && shared_through(at, child, record))
            return true;
    }
    return false;
}

bool store_is_own(Store *store, StoreRecord *owner, const StoreSlot *slot, unsigned level,
                  uint64_t vblock, uint64_t entry)
{
    StoreRecord *parent = owner->parent;
    if (!parent || entry_birth(entry) > parent->stamp)
        return true;
    if (!(parent->flags & (NODE_GHOST | NODE_PURGING)))
        return false;
    Place at = { store, slot->volume, level, vblock, entry };
    return !shared_through(&at, parent, owner);
}

static void add_neighbours(GPtrArray *found, StoreRecord *record, StoreRecord *from,
                           uint32_t gone)
{
    if (record->parent && record->parent != from) {
        if (record->parent->flags & gone)
            add_neighbours(found, record->parent, record, gone);
        else
            g_ptr_array_add(found, record->parent);
    }
    for (unsigned i = 0; i < record->children->len; i++) {
        StoreRecord *child = record->children->pdata[i];
        if (child == from)
            continue;
        if (child->flags & gone)
            add_neighbours(found, child, record, gone);
        else
            g_ptr_array_add(found, child);
    }
}

GPtrArray *store_neighbours(Store *store, StoreRecord *record, bool gone_too)
{
    GPtrArray *found = g_ptr_array_new();
    add_neighbours(found, record, NULL, gone_too ? NODE_GHOST | NODE_PURGING : NODE_GHOST);
    return found;
}
