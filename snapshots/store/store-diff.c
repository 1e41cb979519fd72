// SPDX-License-Identifier: GPL-2.0-or-later
// What differs between one volume in two nodes: both maps are read side by side, and what is one
// and the same reference in both is passed by. The mutex is held for 512 MiB of volume at a time.
#include "snapshots/store/store-private.h"

#include <errno.h>

#define UNIT_LEVEL 2u

typedef struct {
    Store *store;
    GArray *ranges; // StoreRange, in blocks
} Diff;

static void add_range(Diff *d, uint64_t first, uint64_t count)
{
    StoreRange *last = d->ranges->len ? &g_array_index(d->ranges, StoreRange, d->ranges->len - 1)
                                      : NULL;
    if (last && last->offset + last->length == first) {
        last->length += count;
        return;
    }
    StoreRange range = { first, count };
    g_array_append_val(d->ranges, range);
}

// Reference `index` below p, whatever p is.
static int child_of(Diff *d, StorePointer p, unsigned level, unsigned index, StorePointer *ret)
{
    StoreBlock *block;
    EntryKind kind = entry_kind(p.entry);
    *ret = p;
    if (kind == ENTRY_DATA && level == 1)
        ret->entry += index;
    if (kind != ENTRY_NODE)
        return 0;
    int result = store_cache_get(d->store, p, level - 1, TREE_MAP, false, &block);
    if (result == 0)
        *ret = level == 1 ? (StorePointer){ block->leaf[index], 0 } : block->node[index];
    return result;
}

static int compare(Diff *d, unsigned level, uint64_t first, StorePointer a, StorePointer b)
{
    if (a.entry == b.entry)
        return 0;
    if (level == 0 ||
        (entry_kind(a.entry) != ENTRY_NODE && entry_kind(b.entry) != ENTRY_NODE)) {
        add_range(d, first, store_span(level));
        return 0;
    }
    unsigned count = level == 1 ? STORE_LEAF_ENTRIES : STORE_NODE_ENTRIES;
    int result = 0;
    for (unsigned i = 0; i < count && result == 0; i++) {
        StorePointer below_a, below_b;
        result = child_of(d, a, level, i, &below_a);
        if (result == 0)
            result = child_of(d, b, level, i, &below_b);
        if (result == 0)
            result = compare(d, level - 1, first + i * store_span(level - 1), below_a, below_b);
    }
    return result;
}

// Whether a reference at `level` says all of the volume there: not so above a tree's root.
static bool says_all(const StoreTree *tree, unsigned level)
{
    return tree->height == 0 || level <= tree->height;
}

// The unit at vblock, or more of the volume where both have the same. *ret_next: what comes then.
static int compare_unit(Diff *d, const StoreSlot *a, const StoreSlot *b, uint64_t vblock,
                        uint64_t *ret_next)
{
    unsigned unit = a->tree.height == 1 || b->tree.height == 1 ? 1 : UNIT_LEVEL;
    unsigned level = MAX(MAX(a->tree.height, b->tree.height), unit) + 1;
    StorePointer p, q;
    uint64_t span;
    do {
        span = store_span(--level);
        int result = store_map_pointer(d->store, &a->tree, level, vblock, &p);
        if (result == 0)
            result = store_map_pointer(d->store, &b->tree, level, vblock, &q);
        if (result < 0)
            return result;
        *ret_next = (vblock & ~(span - 1)) + span;
        if (p.entry == q.entry && says_all(&a->tree, level) && says_all(&b->tree, level))
            return 0;
    } while (level > unit);
    return compare(d, unit, vblock & ~(span - 1), p, q);
}

static StoreRecord *pin(Store *store, StoreNodeId id, GError **error)
{
    StoreRecord *record = id == STORE_CURRENT ? store->current : store_record_find(store, id);
    if (record)
        record->open_devices++;
    else
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no snapshot %" G_GUINT64_FORMAT ": list the snapshots", id);
    return record;
}

static void unpin(Store *store, StoreRecord *record)
{
    if (!record)
        return;
    record->open_devices--;
    store_worker_wake(store);
}

// From blocks to bytes of the larger of the two.
static void finish(Diff *d, uint64_t a_size, uint64_t b_size)
{
    uint64_t size = MAX(a_size, b_size), small = MIN(a_size, b_size);
    if (small < size) {
        uint64_t from = small >> STORE_BLOCK_BITS;
        while (d->ranges->len) {
            StoreRange *last = &g_array_index(d->ranges, StoreRange, d->ranges->len - 1);
            if (last->offset + last->length < from)
                break;
            from = MIN(from, last->offset);
            g_array_set_size(d->ranges, d->ranges->len - 1);
        }
        add_range(d, from, ((size + STORE_BLOCK - 1) >> STORE_BLOCK_BITS) - from);
    }
    for (unsigned i = 0; i < d->ranges->len; i++) {
        StoreRange *range = &g_array_index(d->ranges, StoreRange, i);
        range->offset <<= STORE_BLOCK_BITS;
        range->length = MIN(range->length << STORE_BLOCK_BITS, size - MIN(size, range->offset));
    }
}

GArray *store_diff(Store *store, const StoreDiff *diff, GError **error)
{
    const char *volume = diff->volume;
    Diff d = { store, g_array_new(FALSE, FALSE, sizeof(StoreRange)) };
    g_autoptr(GArray) ranges = d.ranges;
    static const StoreSlot none = { .tree.tree_class = TREE_MAP };
    g_mutex_lock(&store->mutex);
    StoreRecord *one = pin(store, diff->from, error);
    StoreRecord *two = one ? pin(store, diff->to, error) : NULL;
    int result = 0;
    bool cancelled = false;
    uint64_t sizes[2] = { 0, 0 };
    for (uint64_t at = 0; two && result == 0 && !cancelled;) {
        const StoreSlot *p = store_slot_named(store, one, volume);
        const StoreSlot *q = store_slot_named(store, two, volume);
        if (!p && !q) {
            result = -ENOENT;
            break;
        }
        p = p ? p : &none;
        q = q ? q : &none;
        sizes[0] = p->size;
        sizes[1] = q->size;
        if (at << STORE_BLOCK_BITS >= MAX(p->size, q->size))
            break;
        result = compare_unit(&d, p, q, at, &at);
        store_cache_trim(store);
        uint64_t total = MAX(p->size, q->size);
        g_mutex_unlock(&store->mutex);
        if (diff->progress)
            diff->progress(MIN(at << STORE_BLOCK_BITS, total), total, diff->opaque);
        cancelled = g_cancellable_set_error_if_cancelled(diff->cancellable, error);
        g_mutex_lock(&store->mutex);
    }
    unpin(store, one);
    unpin(store, two);
    g_mutex_unlock(&store->mutex);
    if (!two || cancelled)
        return NULL;
    if (result == -ENOENT) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "neither snapshot has a volume '%s': list the volumes", volume);
        return NULL;
    }
    if (result < 0) {
        store_set_errno(error, store, "cannot be compared", result);
        return NULL;
    }
    finish(&d, sizes[0], sizes[1]);
    return g_steal_pointer(&ranges);
}
