// SPDX-License-Identifier: GPL-2.0-or-later
// Checks a store: every map of every node is walked once (a subtree that several share, at its
// first finder), every reference is entered in a table beside the space map, and the two are
// compared. What can be repaired without guessing is the space map: it says only what the maps say
// already.
#include "snapshots/store/store-private.h"

#include <errno.h>

#define GROUP_BLOCKS (STORE_GROUP_CLUSTERS * STORE_CLUSTER_BLOCKS)
#define MAX_MESSAGES 100u

// For each block of a group: what refers to it (0: nothing), as a hash of the place.
typedef struct {
    uint32_t place[GROUP_BLOCKS];
} Shadow;

typedef struct {
    Store *store;
    StoreReport *report;
    GPtrArray *shadows; // Shadow, by group; NULL where nothing refers to
    uint64_t cursor;    // of the volume being walked: what is below is freed
} Check;

static void say(StoreReport *report, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(StoreReport *report, const char *format, ...)
{
    va_list args;
    if (report->messages->len >= MAX_MESSAGES)
        return;
    va_start(args, format);
    g_ptr_array_add(report->messages, g_strdup_vprintf(format, args));
    va_end(args);
}

static uint32_t hash_place(unsigned tree, uint32_t volume, unsigned level, uint64_t at)
{
    uint64_t words[3] = { (uint64_t)tree << 32 | volume, level, at };
    uint32_t hash = (uint32_t)store_checksum(words, sizeof words);
    return hash ? hash : 1;
}

// Enters a reference. True where it is the first one to that block.
static bool enter(Check *c, uint64_t block, uint32_t place)
{
    uint64_t number = block / GROUP_BLOCKS;
    if (number >= c->shadows->len) {
        c->report->bad_blocks++;
        say(c->report, "block %" G_GUINT64_FORMAT " is beyond the end of the file", block);
        return false;
    }
    if (!c->shadows->pdata[number])
        c->shadows->pdata[number] = g_new0(Shadow, 1);
    uint32_t *at = &((Shadow *)c->shadows->pdata[number])->place[block % GROUP_BLOCKS];
    if (*at && *at != place) {
        c->report->shared_blocks++;
        say(c->report, "block %" G_GUINT64_FORMAT " belongs to two places", block);
        return false;
    }
    bool first = *at == 0;
    *at = place;
    return first;
}

static void enter_data(Check *c, uint32_t volume, uint64_t vblock, uint64_t block)
{
    if (!enter(c, block, hash_place(TREE_MAP, volume, 0, vblock)))
        return;
    c->report->data_blocks++;
    if (store_space_is_meta(c->store, block)) {
        c->report->wrong_class++;
        say(c->report, "block %" G_GUINT64_FORMAT " of volume %u lies among metadata", block,
            volume);
    }
}

static void walk(Check *c, unsigned tree_class, uint32_t volume, unsigned level, uint64_t first,
                 StorePointer p);

static void walk_block(Check *c, const StoreBlock *block, unsigned tree_class, uint32_t volume,
                       uint64_t first)
{
    uint64_t span = store_span(block->level);
    if (block->level == 0 && tree_class != TREE_MAP)
        return; // a record
    for (unsigned i = 0; block->level == 0 && i < STORE_LEAF_ENTRIES; i++) {
        if (first + i >= c->cursor)
            walk(c, tree_class, volume, 0, first + i, (StorePointer){ block->leaf[i], 0 });
    }
    for (unsigned i = 0; block->level > 0 && i < STORE_NODE_ENTRIES; i++) {
        if (block->node[i].entry && first + (i + 1) * span > c->cursor)
            walk(c, tree_class, volume, block->level, first + i * span, block->node[i]);
    }
}

static void walk(Check *c, unsigned tree_class, uint32_t volume, unsigned level, uint64_t first,
                 StorePointer p)
{
    uint64_t block = entry_block(p.entry);
    StoreBlock *cached;
    switch (entry_kind(p.entry)) {
    case ENTRY_HOLE:
    case ENTRY_ZERO:
        return;
    case ENTRY_DATA:
        if (level > 1 || tree_class != TREE_MAP)
            break;
        for (uint64_t i = 0; i < store_span(level); i++)
            enter_data(c, volume, first + i, block + i);
        return;
    case ENTRY_NODE:
        if (level == 0)
            break;
        if (!enter(c, block, hash_place(tree_class, volume, level, first)))
            return;
        int result = store_cache_get(c->store, p, level - 1, tree_class, false, &cached);
        if (result < 0) {
            c->report->bad_blocks++;
            say(c->report, "map block %" G_GUINT64_FORMAT " (level %u, block %" G_GUINT64_FORMAT
                " of volume %u): %s", block, level - 1, first, volume,
                result == -EBADMSG ? "its checksum is wrong" : g_strerror(-result));
            return;
        }
        c->report->map_blocks++;
        walk_block(c, cached, tree_class, volume, first);
        return;
    }
    c->report->bad_blocks++;
    say(c->report, "volume %u has an impossible entry at block %" G_GUINT64_FORMAT, volume, first);
}

static void walk_record(Check *c, StoreRecord *record)
{
    const StorePurge *purge = &c->store->purge;
    bool freeing = record == purge->record;
    for (unsigned i = freeing ? purge->slot : 0; i < record->slot_count; i++) {
        const StoreSlot *slot = &record->slots[i];
        c->cursor = freeing && i == purge->slot ? purge->cursor : 0;
        if (c->cursor < store_span(slot->tree.height) && slot->tree.height)
            walk(c, TREE_MAP, slot->volume, slot->tree.height, 0, slot->tree.root);
    }
    c->cursor = 0;
}

static void walk_all(Check *c)
{
    Store *store = c->store;
    const StoreTree *trees[] = { &store->space_tree, &store->nodes, &store->volumes };
    for (unsigned i = 0; i < G_N_ELEMENTS(trees); i++) {
        if (trees[i]->height)
            walk(c, trees[i]->tree_class, 0, trees[i]->height, 0, trees[i]->root);
    }
    walk_record(c, store->current);
    // What is half freed comes last: a subtree that it shares has been walked whole by then.
    for (unsigned i = 0; i < store->order->len; i++) {
        StoreRecord *record = store->order->pdata[i];
        c->report->nodes += !(record->flags & (NODE_GHOST | NODE_PURGING));
        if (record != store->purge.record)
            walk_record(c, record);
    }
    if (store->purge.record)
        walk_record(c, store->purge.record);
}

static void compare(Check *c, bool repair)
{
    StoreReport *report = c->report;
    uint64_t fixed = STORE_FIXED_CLUSTERS * STORE_CLUSTER_BLOCKS;
    for (uint64_t block = fixed; block < c->shadows->len * (uint64_t)GROUP_BLOCKS; block++) {
        const Shadow *shadow = c->shadows->pdata[block / GROUP_BLOCKS];
        bool used = store_space_used(c->store, block);
        bool referred = shadow && shadow->place[block % GROUP_BLOCKS];
        if (used == referred)
            continue;
        if (used)
            report->leaked_blocks++;
        else
            report->missing_blocks++;
        say(report, used ? "block %" G_GUINT64_FORMAT " is marked used, but nothing refers to it"
                         : "block %" G_GUINT64_FORMAT " is in use, but marked free", block);
        // After a bad map block nobody can tell what it referred to: nothing is freed then.
        if (repair && (!used || report->bad_blocks == 0)) {
            store_space_set_used(c->store, block, referred);
            report->repaired++;
        }
    }
}

bool store_check(Store *store, bool repair, StoreReport *ret_report, GError **error)
{
    StoreReport report = { .messages = g_ptr_array_new_with_free_func(g_free) };
    Check c = { store, &report, g_ptr_array_new_with_free_func(g_free) };
    int result = store->read_only ? 0 : store_commit_now(store, false);
    g_mutex_lock(&store->mutex);
    if (result == 0 && !store->space.loaded)
        result = store_space_load(store);
    bool ok = result == 0 || store_set_errno(error, store, "cannot be checked", result);
    if (ok && repair && store->devices->len) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    "snapshot store '%s' is in use: stop the machine before a repair",
                    store->path);
        ok = false;
    }
    ok = ok && (!repair || store_can_write(store, error));
    if (ok) {
        store_data_hold(store);
        g_ptr_array_set_size(c.shadows, (gint)store->space.groups->len);
        walk_all(&c);
        compare(&c, repair);
        store_cache_trim(store);
        store_data_resume(store);
    }
    g_mutex_unlock(&store->mutex);
    g_ptr_array_unref(c.shadows);
    if (ok && repair && report.repaired) {
        result = store_commit_now(store, true);
        ok = result == 0 || store_set_errno(error, store, "cannot be repaired", result);
    }
    if (ok)
        *ret_report = report;
    else
        store_report_clear(&report);
    return ok;
}

uint64_t store_report_problems(const StoreReport *report)
{
    return report->leaked_blocks + report->missing_blocks + report->wrong_class +
           report->shared_blocks + report->bad_blocks - report->repaired;
}

void store_report_clear(StoreReport *report)
{
    g_clear_pointer(&report->messages, g_ptr_array_unref);
}
