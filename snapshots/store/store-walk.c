// SPDX-License-Identifier: GPL-2.0-or-later
// Walks over what one record alone has: its maps are read beside those of its neighbours, and a
// subtree that a neighbour has too is passed by at its root, so that a walk costs what is unique.
// Freeing goes from the volume's front to its back; the cursor is in the root record, so that a
// walk goes on where the last commit found it. A map block is freed when the cursor leaves its
// range; leaves are done at once.
#include "snapshots/store/store-private.h"

#include <errno.h>

#define SLICE_BLOCKS 96u // map blocks looked at in one slice
#define SLICE_GROUPS 24u // groups of the space map that one transaction of freeing may change

// Where a neighbour is: a reference at `level`, which may be lower than the walk's (a volume that
// was smaller then); it stands for the front of the range.
typedef struct {
    StorePointer p;
    unsigned level;
} Beside;

typedef struct {
    Store *store;
    bool freeing;
    uint64_t cursor; // everything below is done
    uint64_t bytes;  // counted
    uint64_t data;   // of them
    unsigned budget; // map blocks
    uint64_t looked; // map blocks in all, for a map that leads in circles
    bool stop;
} Walk;

static bool spent(const Walk *w)
{
    return w->budget == 0 || (w->freeing && w->store->space.dirty_groups > SLICE_GROUPS);
}

static int get_block(Walk *w, StorePointer p, unsigned level, StoreBlock **ret_block)
{
    if (w->budget)
        w->budget--;
    // A record's own map has no block twice; neighbours are few.
    if (w->looked++ > 64 * (w->store->space.meta_used + 64))
        return -EBADMSG;
    return store_cache_get(w->store, p, level, TREE_MAP, false, ret_block);
}

static void unique_data(Walk *w, uint64_t phys, uint64_t count)
{
    w->bytes += count * STORE_BLOCK;
    w->data += count * STORE_BLOCK;
    if (w->freeing && count)
        store_space_free(w->store, phys, count);
}

// The 512 entries under a leaf's reference.
static int expand(Walk *w, StorePointer p, const uint64_t **ret_entries, uint64_t *buffer)
{
    if (entry_kind(p.entry) == ENTRY_NODE) {
        StoreBlock *block;
        int result = get_block(w, p, 0, &block);
        if (result == 0)
            *ret_entries = block->leaf;
        return result;
    }
    for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++)
        buffer[i] = entry_kind(p.entry) == ENTRY_DATA ? p.entry + i : p.entry;
    *ret_entries = buffer;
    return 0;
}

static int visit_leaf(Walk *w, StorePointer p, const Beside *beside, unsigned count)
{
    uint64_t own_buffer[STORE_LEAF_ENTRIES], other_buffer[STORE_LEAF_ENTRIES];
    const uint64_t *entries, *others;
    uint8_t shared[STORE_LEAF_ENTRIES] = { 0 };
    int result = expand(w, p, &entries, own_buffer);
    for (unsigned n = 0; n < count && result == 0; n++) {
        if (beside[n].level != 1)
            continue;
        result = expand(w, beside[n].p, &others, other_buffer);
        for (unsigned i = 0; i < STORE_LEAF_ENTRIES && result == 0; i++)
            shared[i] |= entries[i] == others[i];
    }
    if (result < 0)
        return result;
    uint64_t first = 0, run = 0;
    for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++) {
        if (entry_kind(entries[i]) != ENTRY_DATA || shared[i])
            continue;
        if (run && entry_block(entries[i]) == first + run) {
            run++;
            continue;
        }
        unique_data(w, first, run);
        first = entry_block(entries[i]);
        run = 1;
    }
    unique_data(w, first, run);
    return 0;
}

// Neighbours' references one level down, at child `index`.
static int descend_beside(Walk *w, unsigned level, const Beside *beside, unsigned count,
                          unsigned index, Beside *ret_beside, unsigned *ret_count)
{
    *ret_count = 0;
    for (unsigned n = 0; n < count; n++) {
        Beside b = beside[n];
        if (b.level == level) {
            if (entry_kind(b.p.entry) != ENTRY_NODE)
                continue; // a hole or zeros: nothing to share
            StoreBlock *block;
            int result = store_cache_get(w->store, b.p, level - 1, TREE_MAP, false, &block);
            if (result < 0)
                return result;
            b = (Beside){ block->node[index], level - 1 };
        } else if (index > 0) {
            continue;
        }
        EntryKind kind = entry_kind(b.p.entry);
        if (kind == ENTRY_NODE || kind == ENTRY_DATA)
            ret_beside[(*ret_count)++] = b;
    }
    return 0;
}

static int visit(Walk *w, unsigned level, uint64_t first, StorePointer p, const Beside *beside,
                 unsigned count);

static int visit_children(Walk *w, unsigned level, uint64_t first, StorePointer p,
                          const Beside *beside, unsigned count)
{
    StoreBlock *block;
    g_autofree Beside *below = g_new(Beside, MAX(count, 1));
    int result = get_block(w, p, level - 1, &block);
    uint64_t span = store_span(level - 1);
    for (unsigned i = 0; i < STORE_NODE_ENTRIES && result == 0; i++) {
        uint64_t at = first + i * span;
        unsigned below_count;
        if (at + span <= w->cursor || block->node[i].entry == 0)
            continue;
        result = descend_beside(w, level, beside, count, i, below, &below_count);
        if (result == 0)
            result = visit(w, level - 1, at, block->node[i], below, below_count);
        if (result == 0 && w->stop)
            return 0;
        if (result == 0 && i + 1 < STORE_NODE_ENTRIES && spent(w)) {
            w->stop = true;
            return 0;
        }
    }
    return result;
}

// A reference at `level` and everything under it. Sets w->stop where the budget ended before it was
// done.
static int visit(Walk *w, unsigned level, uint64_t first, StorePointer p, const Beside *beside,
                 unsigned count)
{
    EntryKind kind = entry_kind(p.entry);
    int result = 0;
    if ((kind == ENTRY_NODE && level == 0) || (kind == ENTRY_DATA && level > 1))
        return -EBADMSG;
    bool shared = kind == ENTRY_HOLE || kind == ENTRY_ZERO;
    for (unsigned n = 0; n < count && !shared; n++)
        shared = beside[n].level == level && beside[n].p.entry == p.entry;
    if (!shared) {
        result = level == 1 ? visit_leaf(w, p, beside, count)
                            : visit_children(w, level, first, p, beside, count);
        if (result < 0 || w->stop)
            return result;
        if (kind == ENTRY_NODE) {
            w->bytes += STORE_BLOCK;
            if (w->freeing)
                store_space_free_meta(w->store, entry_block(p.entry));
        }
    }
    w->cursor = first + store_span(level);
    if (w->freeing)
        w->store->purge.cursor = w->cursor;
    return 0;
}

// Where a neighbour's tree meets the walk's root.
static int align(Walk *w, const StoreTree *tree, unsigned level, Beside *ret_beside)
{
    StorePointer p = tree->root;
    unsigned at = tree->height;
    while (at > level && entry_kind(p.entry) == ENTRY_NODE) {
        StoreBlock *block;
        int result = store_cache_get(w->store, p, at - 1, TREE_MAP, false, &block);
        if (result < 0)
            return result;
        p = block->node[0];
        at--;
    }
    if (at > level)
        p = (StorePointer){ 0 };
    *ret_beside = (Beside){ p, MIN(at, level) };
    return 0;
}

// One volume of a record, from w->cursor on.
static int walk_slot(Walk *w, const StoreSlot *slot, const GPtrArray *neighbours)
{
    unsigned count = 0;
    g_autofree Beside *beside = g_new(Beside, MAX(neighbours->len, 1));
    if (slot->tree.height == 0 || w->cursor >= store_span(slot->tree.height))
        return 0;
    for (unsigned n = 0; n < neighbours->len; n++) {
        const StoreSlot *other = store_slot(neighbours->pdata[n], slot->volume);
        if (!other || other->tree.height == 0)
            continue;
        int result = align(w, &other->tree, slot->tree.height, &beside[count]);
        if (result < 0)
            return result;
        count++;
    }
    return visit(w, slot->tree.height, 0, slot->tree.root, beside, count);
}

// --- Freeing ---

static StoreRecord *next_to_purge(Store *store)
{
    for (unsigned i = 0; i < store->order->len; i++) {
        StoreRecord *record = store->order->pdata[i];
        if (record->flags & NODE_PURGING && record->open_devices == 0)
            return record;
    }
    return NULL;
}

// A ghost with no descendants is gone, one with a single child is passed by.
static int drop_ghosts(Store *store, StoreRecord *record)
{
    while (record && record->flags & NODE_GHOST && record->children->len <= 1) {
        StoreRecord *parent = record->parent;
        if (record->children->len == 1) {
            StoreRecord *child = record->children->pdata[0];
            store_record_set_parent(child, parent);
            int result = child == store->current ? 0 : store_record_save(store, child);
            if (result < 0)
                return result;
        }
        int result = store_record_remove(store, record);
        if (result < 0)
            return result;
        record = parent;
    }
    return 0;
}

static int finish_purge(Store *store)
{
    StoreRecord *record = store->purge.record;
    record->flags = NODE_GHOST;
    record->slot_count = 0;
    g_clear_pointer(&record->note, g_free);
    record->note = g_strdup("");
    store->purge = (StorePurge){ 0 };
    store->tree_version++;
    int result = store_record_save(store, record);
    return result < 0 ? result : drop_ghosts(store, record);
}

int store_purge_slice(Store *store, bool *ret_more)
{
    StorePurge *purge = &store->purge;
    Walk w = { .store = store, .freeing = true, .budget = SLICE_BLOCKS };
    int result = 0;
    if (!purge->record) {
        StoreRecord *record = next_to_purge(store);
        *ret_more = record != NULL;
        if (!record)
            return 0;
        *purge = (StorePurge){ .record = record };
    }
    *ret_more = true;
    g_autoptr(GPtrArray) neighbours = store_neighbours(store, purge->record, false);
    store_mark_dirty(store);
    while (result == 0 && !w.stop && purge->slot < purge->record->slot_count) {
        w.cursor = purge->cursor;
        result = walk_slot(&w, &purge->record->slots[purge->slot], neighbours);
        if (result == 0 && !w.stop) {
            purge->slot++;
            purge->cursor = 0;
            w.stop = spent(&w);
        }
    }
    if (result == 0 && purge->slot == purge->record->slot_count)
        result = finish_purge(store);
    return result;
}

// --- Counting ---

int store_walk_own(Store *store, StoreRecord *record, uint64_t *ret_bytes, uint64_t *ret_data)
{
    Walk w = { .store = store };
    int result = 0;
    for (unsigned i = 0; i < record->slot_count && result == 0;) {
        w.budget = SLICE_BLOCKS;
        w.stop = false;
        g_autoptr(GPtrArray) neighbours = store_neighbours(store, record, true);
        result = walk_slot(&w, &record->slots[i], neighbours);
        if (result == 0 && !w.stop) {
            w.cursor = 0;
            i++;
        }
        store_cache_trim(store);
        g_mutex_unlock(&store->mutex); // requests go on between slices
        g_thread_yield();
        g_mutex_lock(&store->mutex);
    }
    if (result == 0) {
        *ret_bytes = w.bytes;
        *ret_data = w.data;
    }
    return result;
}
