// SPDX-License-Identifier: GPL-2.0-or-later
// Persistent maps: radix trees of 4 KiB blocks. A leaf holds 512 entries (2 MiB of a volume) or one
// record; blocks above hold 256 references with checksums. A block that the open transaction did
// not make is never changed: it is copied to a new place, and so is its path up to the root; the
// old one is freed where nobody shares it.
//
// At a transaction's end a leaf whose 512 blocks lie in one run becomes an entry of its parent (a
// run), so that a disk written in order needs 16 bytes of map for 2 MiB; an empty block becomes a
// hole.
#include "snapshots/store/store-private.h"

#include <errno.h>

unsigned store_height_for(uint64_t vblocks)
{
    unsigned height = 1;
    while (store_span(height) < vblocks)
        height++;
    return height;
}

static bool valid_pointer(unsigned level, uint64_t entry)
{
    switch (entry_kind(entry)) {
    case ENTRY_NODE:
        return level > 0;
    case ENTRY_DATA:
        return level <= 1;
    case ENTRY_HOLE:
    case ENTRY_ZERO:
        return true;
    }
    return false;
}

// The reference at `level` (1: a leaf's; up to tree->height: the root's) or, at level 0, an entry
// alone.
static int find(Store *store, const StoreTree *tree, unsigned level, uint64_t vblock,
                bool cached_only, StorePointer *ret_pointer)
{
    StorePointer p = tree->root;
    unsigned at = tree->height;
    if (level > at || vblock >= store_span(at)) {
        *ret_pointer = (StorePointer){ 0 };
        return 0;
    }
    while (at > level) {
        StoreBlock *block;
        EntryKind kind = entry_kind(p.entry);
        if (!valid_pointer(at, p.entry))
            return -EBADMSG;
        if (kind == ENTRY_DATA)
            p.entry += vblock & (STORE_LEAF_ENTRIES - 1);
        if (kind != ENTRY_NODE)
            break;
        at--;
        int result = store_cache_get(store, p, at, tree->tree_class, cached_only, &block);
        if (result < 0)
            return result;
        unsigned index = store_index(vblock, at);
        if (at == 0)
            p = (StorePointer){ block->leaf[index], 0 };
        else
            p = block->node[index];
    }
    if (!valid_pointer(level, p.entry))
        return -EBADMSG;
    *ret_pointer = p;
    return 0;
}

static StoreHint *hint_at(Store *store, const StoreTree *tree, uint64_t number)
{
    uint64_t hash = number ^ entry_block(tree->root.entry) * UINT64_C(0x9e3779b97f4a7c15) >> 48;
    return &store->cache.hints[hash % STORE_HINTS];
}

// The run that a leaf's data lies in for the most part: looked for from a few places of the leaf.
static void find_run(StoreHint *hint)
{
    const uint64_t *leaf = hint->leaf->leaf;
    unsigned most = 0;
    for (unsigned from = 0; from < STORE_LEAF_ENTRIES; from += STORE_LEAF_ENTRIES / 4) {
        uint64_t run = leaf[from] - from;
        unsigned found = 0;
        if (entry_kind(leaf[from]) != ENTRY_DATA || entry_block(leaf[from]) < from)
            continue;
        for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++)
            found += leaf[i] == run + i;
        if (found > most) {
            most = found;
            hint->run = run;
        }
    }
    for (unsigned i = 0; most && i < STORE_LEAF_ENTRIES; i++)
        hint->in_run[i / 64] |= (uint64_t)(leaf[i] == hint->run + i) << (i % 64);
}

static bool is_in_run(const StoreHint *hint, unsigned index)
{
    return hint->in_run[index / 64] >> (index % 64) & 1;
}

// The leaf over vblock is about to change.
static void forget_run(Store *store, const StoreTree *tree, uint64_t vblock)
{
    StoreHint *hint = hint_at(store, tree, vblock >> STORE_LEAF_BITS);
    if (hint->looks == STORE_HINT_LOOKS)
        memset(hint->in_run, 0, sizeof hint->in_run);
    hint->looks = 0;
}

// An entry of a leaf, by the way that was kept, or else from the root; the way is kept then.
static int find_entry(Store *store, const StoreTree *tree, uint64_t vblock, bool cached_only,
                      uint64_t *ret_entry)
{
    uint64_t number = vblock >> STORE_LEAF_BITS;
    unsigned index = store_index(vblock, 0);
    StoreHint *hint = hint_at(store, tree, number);
    if (hint->version != store->cache.version || hint->root != tree->root.entry ||
        hint->number != number) {
        StorePointer p;
        StoreBlock *leaf = NULL;
        int result = find(store, tree, 1, vblock, cached_only, &p);
        if (result == 0 && entry_kind(p.entry) == ENTRY_NODE)
            result = store_cache_get(store, p, 0, tree->tree_class, cached_only, &leaf);
        if (result < 0)
            return result;
        *hint = (StoreHint){ .version = store->cache.version, .root = tree->root.entry,
                             .number = number, .leaf = leaf, .run = p.entry };
    }
    if (hint->leaf && hint->looks < STORE_HINT_LOOKS && ++hint->looks == STORE_HINT_LOOKS)
        find_run(hint);
    uint64_t entry = hint->run;
    if (hint->leaf && !is_in_run(hint, index))
        entry = hint->leaf->leaf[index];
    else if (entry_kind(entry) == ENTRY_DATA)
        entry += index;
    *ret_entry = entry;
    return valid_pointer(0, entry) ? 0 : -EBADMSG;
}

int store_map_entry(Store *store, const StoreTree *tree, unsigned level, uint64_t vblock,
                    bool cached_only, uint64_t *ret_entry)
{
    StorePointer p;
    if (level == 0)
        return find_entry(store, tree, vblock, cached_only, ret_entry);
    int result = find(store, tree, level, vblock, cached_only, &p);
    if (result == 0)
        *ret_entry = p.entry;
    return result;
}

int store_map_pointer(Store *store, const StoreTree *tree, unsigned level, uint64_t vblock,
                      StorePointer *ret_pointer)
{
    return find(store, tree, level, vblock, false, ret_pointer);
}

int store_map_run(Store *store, const StoreTree *tree, uint64_t vblock, uint64_t end,
                  uint64_t *ret_first, uint64_t *ret_end)
{
    uint64_t at = vblock;
    while (at < end) {
        StorePointer p = { 0 };
        unsigned level = MAX(tree->height, 1);
        int result = find(store, tree, level, at, false, &p);
        while (result == 0 && level > 0 && entry_kind(p.entry) == ENTRY_NODE)
            result = find(store, tree, --level, at, false, &p);
        if (result < 0)
            return result;
        if (at == vblock)
            *ret_first = p.entry;
        else if (entry_kind(p.entry) != entry_kind(*ret_first))
            break;
        uint64_t span = store_span(level);
        at = at >= store_span(tree->height) ? end : (at & ~(span - 1)) + span;
    }
    *ret_end = MIN(at, end);
    return 0;
}

int store_map_read_record(Store *store, const StoreTree *tree, uint64_t index,
                          StoreBlock **ret_block)
{
    StorePointer p;
    int result = find(store, tree, 1, index << STORE_LEAF_BITS, false, &p);
    if (result < 0)
        return result;
    if (entry_kind(p.entry) != ENTRY_NODE)
        return -ENOENT;
    return store_cache_get(store, p, 0, tree->tree_class, false, ret_block);
}

// What a new block at `level` begins as, under the reference that it replaces.
static void fill_new(StoreBlock *block, unsigned level, uint64_t entry)
{
    EntryKind kind = entry_kind(entry);
    memset(block->bytes, 0, sizeof block->bytes);
    if (kind == ENTRY_DATA) {
        for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++)
            block->leaf[i] = entry + i;
    } else if (kind == ENTRY_ZERO && level == 0) {
        for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++)
            block->leaf[i] = entry;
    } else if (kind == ENTRY_ZERO) {
        for (unsigned i = 0; i < STORE_NODE_ENTRIES; i++)
            block->node[i].entry = entry;
    }
}

typedef struct {
    Store *store;
    StoreRecord *owner; // NULL: of a tree that nobody shares
    StoreSlot *slot;
    StoreTree *tree;
    uint64_t vblock;
} Change;

// The block at `level` below *p, made one that may be changed.
static int make_own(const Change *c, StorePointer *p, unsigned level, StoreBlock *parent,
                    StoreBlock **ret_block)
{
    Store *store = c->store;
    StoreBlock *old = NULL;
    uint64_t phys, entry = p->entry;
    int result;
    if (!valid_pointer(level + 1, entry))
        return -EBADMSG;
    if (entry_kind(entry) == ENTRY_NODE) {
        result = store_cache_get(store, *p, level, c->tree->tree_class, false, &old);
        if (result < 0)
            return result;
        if (old->dirty && !old->sealed) {
            *ret_block = old;
            return 0;
        }
    }
    result = store_space_new_meta(store, &phys);
    if (result < 0)
        return result;
    StoreBlock *block = store_cache_new(store, phys, level, c->tree->tree_class);
    if (old) {
        memcpy(block->bytes, old->bytes, sizeof block->bytes);
        if (!c->owner || store_is_own(store, c->owner, c->slot, level + 1, c->vblock, entry))
            store_space_free_meta(store, old->phys);
    } else {
        fill_new(block, level, entry);
    }
    block->parent = parent;
    block->index = parent ? store_index(c->vblock, level + 1) : 0;
    block->root = &c->tree->root;
    p->entry = entry_make(ENTRY_NODE, c->owner ? c->owner->stamp : 0, phys);
    p->checksum = 0;
    *ret_block = block;
    return 0;
}

static int add_level(const Change *c)
{
    StoreTree *tree = c->tree;
    c->store->cache.version++;
    if (tree->height == 0 || tree->root.entry == 0) {
        tree->height++;
        return 0;
    }
    uint64_t phys;
    StoreBlock *child = NULL;
    if (entry_kind(tree->root.entry) == ENTRY_NODE) {
        int result = store_cache_get(c->store, tree->root, tree->height - 1, tree->tree_class,
                                     false, &child);
        if (result < 0)
            return result;
    }
    int result = store_space_new_meta(c->store, &phys);
    if (result < 0)
        return result;
    StoreBlock *top = store_cache_new(c->store, phys, tree->height, tree->tree_class);
    memset(top->bytes, 0, sizeof top->bytes);
    top->node[0] = tree->root;
    top->root = &tree->root;
    if (child && child->dirty && !child->sealed) {
        child->parent = top;
        child->index = 0;
    }
    tree->root = (StorePointer){ entry_make(ENTRY_NODE, c->owner ? c->owner->stamp : 0, phys), 0 };
    tree->height++;
    return 0;
}

// Copies the path down to the block at `bottom` over c->vblock.
static int modify(const Change *c, unsigned bottom, StoreBlock **ret_block)
{
    while (c->tree->height <= bottom || c->vblock >= store_span(c->tree->height)) {
        int result = add_level(c);
        if (result < 0)
            return result;
    }
    StorePointer *p = &c->tree->root;
    StoreBlock *block = NULL;
    for (unsigned level = c->tree->height; level-- > bottom;) {
        int result = make_own(c, p, level, block, &block);
        if (result < 0)
            return result;
        if (level > 0)
            p = &block->node[store_index(c->vblock, level)];
    }
    if (bottom == 0)
        forget_run(c->store, c->tree, c->vblock);
    *ret_block = block;
    return 0;
}

int store_map_modify(Store *store, StoreRecord *owner, StoreSlot *slot, StoreTree *tree,
                     uint64_t vblock, StoreBlock **ret_leaf)
{
    Change c = { store, owner, slot, tree, vblock };
    return modify(&c, 0, ret_leaf);
}

int store_map_record(Store *store, StoreTree *tree, uint64_t index, StoreBlock **ret_block)
{
    Change c = { store, NULL, NULL, tree, index << STORE_LEAF_BITS };
    return modify(&c, 0, ret_block);
}

static int each_record(Store *store, const StoreTree *tree, StorePointer p, unsigned level,
                       uint64_t first,
                       int (*visit)(Store *store, uint64_t index, StoreBlock *block))
{
    StoreBlock *block;
    if (entry_kind(p.entry) == ENTRY_HOLE)
        return 0;
    if (entry_kind(p.entry) != ENTRY_NODE || level == 0)
        return -EBADMSG;
    int result = store_cache_get(store, p, level - 1, tree->tree_class, false, &block);
    if (result < 0)
        return result;
    if (level == 1)
        return visit(store, first, block);
    for (unsigned i = 0; i < STORE_NODE_ENTRIES && result == 0; i++)
        result = each_record(store, tree, block->node[i], level - 1,
                             first + ((uint64_t)i << (STORE_NODE_BITS * (level - 2))), visit);
    return result;
}

int store_map_each_record(Store *store, const StoreTree *tree,
                          int (*visit)(Store *store, uint64_t index, StoreBlock *block))
{
    return each_record(store, tree, tree->root, tree->height, 0, visit);
}

// --- Clearing ---

static void drop_data(const Change *c, uint64_t vblock, uint64_t entry)
{
    if (entry_kind(entry) != ENTRY_DATA)
        return;
    c->slot->mapped--;
    if (store_is_own(c->store, c->owner, c->slot, 0, vblock, entry))
        store_space_free(c->store, entry_block(entry), 1);
}

// Everything in the leaf or run that stands for vblock's 2 MiB.
static int clear_whole(Change *c, StorePointer p, uint64_t empty)
{
    StoreBlock *leaf = NULL, *parent;
    uint64_t first = c->vblock;
    int result = modify(c, 1, &parent);
    if (result < 0)
        return result;
    if (entry_kind(p.entry) == ENTRY_NODE) {
        result = store_cache_get(c->store, p, 0, TREE_MAP, false, &leaf);
        if (result < 0)
            return result;
    }
    if (entry_kind(p.entry) != ENTRY_HOLE) {
        for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++)
            drop_data(c, first + i, leaf ? leaf->leaf[i] : p.entry + i);
    }
    if (leaf && store_is_own(c->store, c->owner, c->slot, 1, first, p.entry))
        store_space_free_meta(c->store, leaf->phys);
    parent->node[store_index(first, 1)] = (StorePointer){ empty, 0 };
    c->store->cache.version++;
    return 0;
}

static int clear_part(Change *c, uint64_t count, uint64_t empty)
{
    StoreBlock *leaf;
    uint64_t first = c->vblock;
    int result = modify(c, 0, &leaf);
    if (result < 0)
        return result;
    unsigned index = store_index(first, 0);
    for (unsigned i = 0; i < count; i++) {
        drop_data(c, first + i, leaf->leaf[index + i]);
        leaf->leaf[index + i] = empty;
    }
    return 0;
}

// The level at which vblock's entry ends, and that entry.
static int find_end(const Change *c, unsigned *ret_level, StorePointer *ret_pointer)
{
    for (unsigned level = c->tree->height; level >= 1; level--) {
        int result = find(c->store, c->tree, level, c->vblock, false, ret_pointer);
        if (result < 0)
            return result;
        *ret_level = level;
        if (entry_kind(ret_pointer->entry) != ENTRY_NODE)
            break;
    }
    return 0;
}

// One step of a clearing; *ret_done: blocks that it covered.
static int clear_step(Change *c, uint64_t count, uint64_t empty, uint64_t *ret_done)
{
    unsigned level = 1;
    StorePointer p = { 0 };
    int result = find_end(c, &level, &p);
    if (result < 0)
        return result;
    EntryKind kind = entry_kind(p.entry);
    uint64_t span = store_span(level), in_span = c->vblock & (span - 1);
    uint64_t left = MIN(count, span - in_span);
    if (kind == ENTRY_ZERO || (kind == ENTRY_HOLE && empty == 0)) {
        *ret_done = left;
        return 0;
    }
    if (level > 1 && left == span) { // a hole that becomes zeros at once
        StoreBlock *block;
        result = modify(c, level, &block);
        if (result == 0)
            block->node[store_index(c->vblock, level)] = (StorePointer){ empty, 0 };
        c->store->cache.version++;
        *ret_done = left;
        return result;
    }
    span = STORE_LEAF_ENTRIES;
    left = MIN(count, span - (c->vblock & (span - 1)));
    *ret_done = left;
    return left == span && level == 1 && c->tree->height > 1 ? clear_whole(c, p, empty)
                                                             : clear_part(c, left, empty);
}

int store_map_clear(Store *store, StoreRecord *owner, StoreSlot *slot, uint64_t first,
                    uint64_t count, bool zero)
{
    Change c = { store, owner, slot, &slot->tree, first };
    uint64_t empty = zero ? entry_make(ENTRY_ZERO, 0, 0) : 0;
    while (zero && slot->tree.height && store_span(slot->tree.height) < first + count) {
        int result = add_level(&c);
        if (result < 0)
            return result;
    }
    if (zero && slot->tree.height == 0)
        slot->tree.height = store_height_for(first + count);
    uint64_t end = MIN(first + count, slot->tree.height ? store_span(slot->tree.height) : 0);
    while (c.vblock < end) {
        uint64_t done;
        int result = clear_step(&c, end - c.vblock, empty, &done);
        if (result < 0)
            return result;
        c.vblock += done;
    }
    return 0;
}

// --- Sealing ---

static bool is_run(const StoreBlock *block)
{
    uint64_t first = block->leaf[0];
    if (entry_kind(first) != ENTRY_DATA || block->leaf[STORE_LEAF_ENTRIES - 1] != first + 511)
        return false;
    for (unsigned i = 1; i < STORE_LEAF_ENTRIES; i++) {
        if (block->leaf[i] != first + i)
            return false;
    }
    return true;
}

static bool is_empty(const StoreBlock *block)
{
    for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++) {
        if (block->leaf[i])
            return false;
    }
    return true;
}

static void seal_block(Store *store, StoreBlock *block)
{
    StorePointer *p = block->parent ? &block->parent->node[block->index] : block->root;
    bool run = block->level == 0 && block->tree_class == TREE_MAP && is_run(block);
    // Not so in the space map, which must not change while it is written.
    if (run || (block->tree_class != TREE_SPACE && is_empty(block))) {
        *p = (StorePointer){ run ? block->leaf[0] : 0, 0 };
        store->cache.version++;
        store_space_free_meta(store, block->phys);
        return;
    }
    p->checksum = store_checksum(block->bytes, STORE_BLOCK);
    block->sealed = true;
}

void store_map_seal(Store *store, StoreTreeClass tree_class)
{
    for (unsigned level = 0; level < STORE_MAX_HEIGHT; level++) {
        GList *link = store->cache.dirty.head;
        while (link) {
            StoreBlock *block = link->data;
            link = link->next;
            if (block->tree_class == tree_class && block->level == level && !block->sealed)
                seal_block(store, block);
        }
    }
}
