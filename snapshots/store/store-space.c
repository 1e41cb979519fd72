// SPDX-License-Identifier: GPL-2.0-or-later
// Room in the file: which blocks are used, which clusters hold metadata, and where new data and
// metadata go. A block is `used` from the moment a map refers to it until the map does not; it is
// `busy`, not to be given out, also while its first write is in flight, while it is reserved, and
// after it was freed until store_space_release finds that nothing can look at it any more.
//
// Where data goes: the first write to an untouched 2 MiB of a volume reserves 2 MiB of the file for
// it, so that it lies as it would in a raw image; what is written again beside a snapshot is packed
// together in the order of writing.
#include "snapshots/store/store-private.h"

#include <errno.h>

#define RESERVATIONS      1024u // 2 MiB each
#define META_SPARE        528u  // free metadata blocks beyond which clusters are given back
#define GROUP_BLOCKS      (STORE_GROUP_CLUSTERS * STORE_CLUSTER_BLOCKS)
#define REGION_CLUSTERS   (STORE_LEAF_ENTRIES / STORE_CLUSTER_BLOCKS)
#define PARTIAL_THRESHOLD (UINT64_C(1) << 18) // blocks; see want_partial

typedef struct {
    uint64_t key;
    uint64_t phys;
    uint8_t taken[STORE_LEAF_ENTRIES / 8];
} StoreReservation;

static uint64_t cluster_of(uint64_t phys)
{
    return phys / STORE_CLUSTER_BLOCKS;
}

static StoreGroup *group_of(const StoreSpace *space, uint64_t cluster, unsigned *ret_index)
{
    uint64_t number = cluster / STORE_GROUP_CLUSTERS;
    *ret_index = (unsigned)(cluster % STORE_GROUP_CLUSTERS);
    return number < space->groups->len ? space->groups->pdata[number] : NULL;
}

static bool cluster_is_meta(const StoreGroup *group, unsigned index)
{
    return group->meta[index / 64] >> (index % 64) & 1;
}

static void touch(Store *store, StoreGroup *group)
{
    if (group->dirty)
        return;
    group->dirty = true;
    store->space.dirty_groups++;
}

void store_space_init(StoreSpace *space)
{
    space->groups = g_ptr_array_new_with_free_func(g_free);
    space->partial = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    space->frees = g_array_new(FALSE, FALSE, sizeof(StoreFree));
    space->reservations = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    g_queue_init(&space->reservation_order);
    space->max_groups = (unsigned)((UINT64_C(1) << ENTRY_BLOCK_BITS) / GROUP_BLOCKS);
}

void store_space_clear(StoreSpace *space)
{
    if (!space->groups)
        return;
    g_ptr_array_unref(space->groups);
    g_array_unref(space->partial);
    g_array_unref(space->frees);
    g_queue_clear(&space->reservation_order);
    g_hash_table_unref(space->reservations);
    space->groups = NULL;
}

static StoreGroup *add_group(StoreSpace *space)
{
    if (space->groups->len >= space->max_groups)
        return NULL;
    StoreGroup *group = g_new0(StoreGroup, 1);
    group->free_clusters = group->run_hint = STORE_GROUP_CLUSTERS;
    if (space->groups->len == 0) {
        group->meta[0] = (1u << STORE_FIXED_CLUSTERS) - 1;
        group->free_clusters -= STORE_FIXED_CLUSTERS;
        for (unsigned i = 0; i < STORE_FIXED_CLUSTERS; i++)
            group->used[i] = group->busy[i] = UINT16_MAX;
        group->scan_from = STORE_FIXED_CLUSTERS;
    }
    g_ptr_array_add(space->groups, group);
    return group;
}

static void count_loaded(StoreSpace *space, StoreGroup *group, uint64_t number)
{
    group->free_clusters = 0;
    for (unsigned i = 0; i < STORE_GROUP_CLUSTERS; i++) {
        unsigned used = (unsigned)__builtin_popcount(group->used[i]);
        uint64_t cluster = number * STORE_GROUP_CLUSTERS + i;
        group->busy[i] = group->used[i];
        if (!cluster_is_meta(group, i)) {
            space->data_used += used;
            group->free_clusters += used == 0;
        } else if (cluster >= STORE_FIXED_CLUSTERS) {
            space->meta_used += used;
            space->meta_free += STORE_CLUSTER_BLOCKS - used;
            if (used < STORE_CLUSTER_BLOCKS)
                g_array_append_val(space->partial, cluster);
        }
    }
}

// groups: as many as the root record says; 0 for a new store.
int store_space_load(Store *store)
{
    StoreSpace *space = &store->space;
    unsigned count = store->group_count;
    g_ptr_array_set_size(space->groups, 0);
    g_array_set_size(space->partial, 0);
    space->data_used = space->meta_used = space->meta_free = 0;
    for (unsigned number = 0; number < MAX(count, 1); number++) {
        StoreBlock *block;
        StoreGroup *group = add_group(space);
        if (!group)
            return -EBADMSG;
        if (number >= count)
            break;
        int result = store_map_read_record(store, &store->space_tree, number, &block);
        if (result == -ENOENT && number > 0)
            continue; // nothing was ever used in it
        if (result < 0)
            return result;
        memcpy(group->used, block->bytes, sizeof group->used);
        memcpy(group->meta, block->bytes + sizeof group->used, sizeof group->meta);
        count_loaded(space, group, number);
    }
    space->loaded = true;
    StoreGroup *first = space->groups->pdata[0];
    bool fixed = (first->meta[0] & 7) == 7;
    for (unsigned i = 0; i < STORE_FIXED_CLUSTERS; i++)
        fixed = fixed && first->used[i] == UINT16_MAX;
    return fixed ? 0 : -EBADMSG;
}

void store_space_touch_first(Store *store)
{
    touch(store, store->space.groups->pdata[0]);
}

int store_space_store(Store *store)
{
    StoreSpace *space = &store->space;
    StoreBlock *block;
    bool again = true;
    int result;
    // A record that moves marks and frees a place, which may touch another group.
    while (again) {
        again = false;
        for (unsigned number = 0; number < space->groups->len; number++) {
            StoreGroup *group = space->groups->pdata[number];
            if (!group->dirty || group->relocated)
                continue;
            result = store_map_record(store, &store->space_tree, number, &block);
            if (result < 0)
                return result;
            group->relocated = again = true;
        }
    }
    for (unsigned number = 0; number < space->groups->len; number++) {
        StoreGroup *group = space->groups->pdata[number];
        if (!group->dirty)
            continue;
        result = store_map_record(store, &store->space_tree, number, &block);
        if (result < 0)
            return result;
        memset(block->bytes, 0, STORE_BLOCK);
        memcpy(block->bytes, group->used, sizeof group->used);
        memcpy(block->bytes + sizeof group->used, group->meta, sizeof group->meta);
        group->dirty = group->relocated = false;
    }
    space->dirty_groups = 0;
    store->group_count = space->groups->len;
    return 0;
}

// --- Marks ---

static void set_busy(StoreSpace *space, uint64_t phys, uint64_t count, bool busy)
{
    while (count) {
        unsigned index, bit = (unsigned)(phys % STORE_CLUSTER_BLOCKS);
        unsigned n = (unsigned)MIN(count, STORE_CLUSTER_BLOCKS - bit);
        uint16_t mask = (uint16_t)(((1u << n) - 1) << bit);
        StoreGroup *group = group_of(space, cluster_of(phys), &index);
        uint16_t before = group->busy[index];
        uint16_t after = busy ? before | mask : before & (uint16_t)~mask;
        group->busy[index] = after;
        if (!cluster_is_meta(group, index) && !before != !after) {
            group->free_clusters += after ? -1u : 1u;
            if (!after) {
                group->run_hint = STORE_GROUP_CLUSTERS;
                group->scan_from = MIN(group->scan_from, index);
                unsigned number = (unsigned)(cluster_of(phys) / STORE_GROUP_CLUSTERS);
                space->search_from = MIN(space->search_from, number);
            }
        }
        phys += n;
        count -= n;
    }
}

static void set_used(Store *store, uint64_t phys, uint64_t count, bool used)
{
    while (count) {
        unsigned index, bit = (unsigned)(phys % STORE_CLUSTER_BLOCKS);
        unsigned n = (unsigned)MIN(count, STORE_CLUSTER_BLOCKS - bit);
        uint16_t mask = (uint16_t)(((1u << n) - 1) << bit);
        StoreGroup *group = group_of(&store->space, cluster_of(phys), &index);
        if (used)
            group->used[index] |= mask;
        else
            group->used[index] &= (uint16_t)~mask;
        touch(store, group);
        phys += n;
        count -= n;
    }
}

bool store_space_used(const Store *store, uint64_t phys)
{
    unsigned index;
    StoreGroup *group = group_of(&store->space, cluster_of(phys), &index);
    return group && group->used[index] >> (phys % STORE_CLUSTER_BLOCKS) & 1;
}

void store_space_set_used(Store *store, uint64_t phys, bool used)
{
    StoreSpace *space = &store->space;
    bool meta = store_space_is_meta(store, phys);
    set_used(store, phys, 1, used);
    set_busy(space, phys, 1, used);
    *(meta ? &space->meta_used : &space->data_used) += used ? 1u : -UINT64_C(1);
    if (meta)
        space->meta_free += used ? -UINT64_C(1) : 1u;
    store_mark_dirty(store);
}

bool store_space_is_meta(const Store *store, uint64_t phys)
{
    unsigned index;
    StoreGroup *group = group_of(&store->space, cluster_of(phys), &index);
    return group && cluster_is_meta(group, index);
}

bool store_space_is_data(const Store *store, uint64_t phys, uint64_t count)
{
    for (uint64_t cluster = cluster_of(phys); cluster <= cluster_of(phys + count - 1); cluster++) {
        unsigned index;
        StoreGroup *group = group_of(&store->space, cluster, &index);
        if (!group || cluster_is_meta(group, index) || !group->busy[index])
            return false;
    }
    return true;
}

static void add_free(Store *store, uint64_t phys, uint64_t count, bool punch)
{
    GArray *frees = store->space.frees;
    StoreFree *last = frees->len ? &g_array_index(frees, StoreFree, frees->len - 1) : NULL;
    if (last && last->txn == store->txn && last->phys + last->count == phys &&
        last->punch == punch) {
        last->count += count;
        return;
    }
    StoreFree f = { phys, count, store->txn, punch };
    g_array_append_val(frees, f);
}

// --- Free clusters ---

static bool scan_group(StoreGroup *group, unsigned want, unsigned *ret_index)
{
    unsigned run = 0, longest = 0;
    bool seen = false;
    for (unsigned i = group->scan_from; i < STORE_GROUP_CLUSTERS; i++) {
        bool is_free = !group->busy[i] && !cluster_is_meta(group, i);
        if (is_free && !seen) {
            seen = true;
            group->scan_from = i;
        }
        run = is_free ? run + 1 : 0;
        longest = MAX(longest, run);
        if (run == want) {
            *ret_index = i + 1 - want;
            return true;
        }
    }
    group->run_hint = longest;
    return false;
}

// `want` free clusters in a row, from the front of the file on. False: the file cannot grow more.
static bool find_clusters(StoreSpace *space, unsigned want, uint64_t *ret_cluster)
{
    bool seen = false;
    unsigned index;
    for (unsigned number = space->search_from; number < space->groups->len; number++) {
        StoreGroup *group = space->groups->pdata[number];
        if (group->free_clusters && !seen) {
            seen = true;
            space->search_from = number;
        }
        if (group->free_clusters >= want && group->run_hint >= want &&
            scan_group(group, want, &index)) {
            *ret_cluster = (uint64_t)number * STORE_GROUP_CLUSTERS + index;
            return true;
        }
    }
    StoreGroup *group = add_group(space);
    if (!group)
        return false;
    *ret_cluster = (uint64_t)(space->groups->len - 1) * STORE_GROUP_CLUSTERS + group->scan_from;
    return true;
}

int store_space_promise(Store *store, uint64_t blocks, uint64_t *ret_phys)
{
    uint64_t cluster;
    if (!find_clusters(&store->space, (unsigned)(blocks / STORE_CLUSTER_BLOCKS), &cluster))
        return -ENOSPC;
    uint64_t phys = cluster * STORE_CLUSTER_BLOCKS;
    int result = store->io.ops->allocate(store->io.io, phys << STORE_BLOCK_BITS,
                                         blocks << STORE_BLOCK_BITS);
    if (result < 0)
        return result;
    set_busy(&store->space, phys, blocks, true);
    *ret_phys = phys;
    return 0;
}

// --- Metadata ---

static int claim_meta(Store *store)
{
    StoreSpace *space = &store->space;
    uint64_t cluster;
    unsigned index;
    if (!find_clusters(space, 1, &cluster))
        return -ENOSPC;
    int result = store->io.ops->allocate(store->io.io,
                                         cluster * STORE_CLUSTER_BLOCKS << STORE_BLOCK_BITS,
                                         STORE_CLUSTER_BLOCKS << STORE_BLOCK_BITS);
    if (result < 0 && result != -EOPNOTSUPP && result != -ENOSYS)
        return result == -EFBIG || result == -EDQUOT ? -ENOSPC : result;
    StoreGroup *group = group_of(space, cluster, &index);
    group->meta[index / 64] |= UINT64_C(1) << (index % 64);
    group->free_clusters--;
    touch(store, group);
    space->meta_free += STORE_CLUSTER_BLOCKS;
    g_array_append_val(space->partial, cluster);
    return 0;
}

int store_space_ensure(Store *store, uint64_t blocks)
{
    while (store->space.meta_free < blocks) {
        int result = claim_meta(store);
        if (result < 0)
            return result;
    }
    return 0;
}

static bool has_meta_room(const StoreSpace *space, uint64_t cluster)
{
    unsigned index;
    StoreGroup *group = group_of(space, cluster, &index);
    return cluster && group && cluster_is_meta(group, index) && group->busy[index] != UINT16_MAX;
}

int store_space_new_meta(Store *store, uint64_t *ret_phys)
{
    StoreSpace *space = &store->space;
    while (!has_meta_room(space, space->meta_cluster)) {
        if (space->partial->len == 0) {
            int result = claim_meta(store);
            if (result < 0)
                return result;
        }
        space->meta_cluster = g_array_index(space->partial, uint64_t, space->partial->len - 1);
        g_array_set_size(space->partial, space->partial->len - 1);
    }
    unsigned index;
    StoreGroup *group = group_of(space, space->meta_cluster, &index);
    unsigned bit = (unsigned)__builtin_ctz(~(unsigned)group->busy[index]);
    uint64_t phys = space->meta_cluster * STORE_CLUSTER_BLOCKS + bit;
    set_busy(space, phys, 1, true);
    set_used(store, phys, 1, true);
    space->meta_free--;
    space->meta_used++;
    *ret_phys = phys;
    return 0;
}

// A map that frees what is not its own is damaged: nothing more is written then.
static bool may_free(Store *store, uint64_t phys, uint64_t count, bool meta)
{
    for (uint64_t i = 0; i < count; i++) {
        if (store_space_used(store, phys + i) && store_space_is_meta(store, phys + i) == meta)
            continue;
        if (!store->error)
            g_warning("snapshot store '%s': a map frees block %" G_GUINT64_FORMAT ", which is not "
                      "its own: run a check", store->path, phys + i);
        store->error = -EBADMSG;
        return false;
    }
    return true;
}

void store_space_free_meta(Store *store, uint64_t phys)
{
    if (!may_free(store, phys, 1, true))
        return;
    store_cache_drop(store, phys);
    set_used(store, phys, 1, false);
    store->space.meta_used--;
    add_free(store, phys, 1, false);
    store_mark_dirty(store);
}

// --- Data ---

static uint64_t free_run_at(const StoreSpace *space, uint64_t phys, uint64_t want)
{
    uint64_t count = 0;
    while (count < want) {
        unsigned index;
        StoreGroup *group = group_of(space, cluster_of(phys + count), &index);
        if (!group || cluster_is_meta(group, index) ||
            group->busy[index] >> ((phys + count) % STORE_CLUSTER_BLOCKS) & 1)
            break;
        count++;
    }
    return count;
}

static void drop_reservation(StoreSpace *space, StoreReservation *r)
{
    for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++) {
        if (!(r->taken[i / 8] >> (i % 8) & 1))
            set_busy(space, r->phys + i, 1, false);
    }
    g_queue_remove(&space->reservation_order, r);
    g_hash_table_remove(space->reservations, &r->key);
}

static StoreReservation *reserve(StoreSpace *space, uint64_t key)
{
    uint64_t cluster;
    if (space->reservation_order.length >= RESERVATIONS)
        drop_reservation(space, g_queue_peek_head(&space->reservation_order));
    if (!find_clusters(space, REGION_CLUSTERS, &cluster))
        return NULL;
    StoreReservation *r = g_new0(StoreReservation, 1);
    r->key = key;
    r->phys = cluster * STORE_CLUSTER_BLOCKS;
    set_busy(space, r->phys, STORE_LEAF_ENTRIES, true);
    g_hash_table_insert(space->reservations, &r->key, r);
    g_queue_push_tail(&space->reservation_order, r);
    return r;
}

static uint64_t take_reserved(StoreSpace *space, StoreReservation *r, unsigned index,
                              uint64_t want)
{
    unsigned count = 0, left = 0;
    while (count < want && index + count < STORE_LEAF_ENTRIES) {
        unsigned at = index + count;
        if (r->taken[at / 8] >> (at % 8) & 1)
            break;
        r->taken[at / 8] |= (uint8_t)(1u << (at % 8));
        count++;
    }
    for (unsigned i = 0; i < sizeof r->taken; i++)
        left |= r->taken[i] ^ UINT8_MAX;
    if (!left)
        drop_reservation(space, r);
    return count;
}

// Whole free clusters come first; once more than half of the file's length is unused (and 1 GiB of
// it), clusters that are partly free are filled up instead, so that it does not only grow.
static bool want_partial(const StoreSpace *space)
{
    uint64_t length = (uint64_t)space->groups->len * GROUP_BLOCKS;
    return length > 2 * (space->data_used + space->meta_used) + PARTIAL_THRESHOLD;
}

static bool find_partial(StoreSpace *space, uint64_t *ret_phys)
{
    uint64_t clusters = (uint64_t)space->groups->len * STORE_GROUP_CLUSTERS;
    for (uint64_t i = 0; i < clusters; i++) {
        uint64_t cluster = (space->partial_from + i) % clusters;
        unsigned index;
        StoreGroup *group = group_of(space, cluster, &index);
        uint16_t busy = group->busy[index];
        if (!busy || busy == UINT16_MAX || cluster_is_meta(group, index))
            continue;
        space->partial_from = cluster;
        *ret_phys = cluster * STORE_CLUSTER_BLOCKS + (unsigned)__builtin_ctz(~(unsigned)busy);
        return true;
    }
    return false;
}

static bool find_scattered(StoreSpace *space, uint64_t want, uint64_t *ret_phys)
{
    uint64_t cluster, clusters = want / STORE_CLUSTER_BLOCKS;
    if (clusters > 1 && find_clusters(space, (unsigned)MIN(clusters, 64), &cluster)) {
        *ret_phys = cluster * STORE_CLUSTER_BLOCKS;
        return true;
    }
    *ret_phys = space->frontier;
    if (space->frontier && free_run_at(space, space->frontier, 1))
        return true;
    if (want_partial(space) && find_partial(space, ret_phys))
        return true;
    if (find_clusters(space, 1, &cluster)) {
        *ret_phys = cluster * STORE_CLUSTER_BLOCKS;
        return true;
    }
    return find_partial(space, ret_phys);
}

int store_space_new_data(Store *store, uint32_t volume, uint64_t vblock, uint64_t want,
                         uint64_t hint, bool fresh, uint64_t *ret_phys, uint64_t *ret_count)
{
    StoreSpace *space = &store->space;
    unsigned index = vblock & (STORE_LEAF_ENTRIES - 1);
    uint64_t key = (uint64_t)volume << 40 | vblock >> STORE_LEAF_BITS;
    uint64_t count = 0, phys = 0;
    StoreReservation *r = g_hash_table_lookup(space->reservations, &key);
    if (!r && fresh)
        r = reserve(space, key);
    if (r) {
        phys = r->phys + index;
        count = take_reserved(space, r, index, want);
    }
    if (!count && hint) {
        phys = hint;
        count = free_run_at(space, phys, want);
    }
    while (!count) {
        if (find_scattered(space, want, &phys)) {
            count = free_run_at(space, phys, want);
            space->frontier = phys + count;
        } else if (space->reservation_order.length) {
            drop_reservation(space, g_queue_peek_head(&space->reservation_order));
        } else {
            return -ENOSPC;
        }
    }
    set_busy(space, phys, count, true);
    *ret_phys = phys;
    *ret_count = count;
    return 0;
}

void store_space_use(Store *store, uint64_t phys, uint64_t count)
{
    set_used(store, phys, count, true);
    store->space.data_used += count;
}

void store_space_give_back(Store *store, uint64_t phys, uint64_t count)
{
    set_busy(&store->space, phys, count, false);
}

void store_space_free(Store *store, uint64_t phys, uint64_t count)
{
    if (!may_free(store, phys, count, false))
        return;
    set_used(store, phys, count, false);
    store->space.data_used -= count;
    add_free(store, phys, count, true);
    store_mark_dirty(store);
}

bool store_space_has_freed(const Store *store)
{
    for (unsigned i = store->space.frees->len; i-- > 0;) {
        if (g_array_index(store->space.frees, StoreFree, i).punch)
            return true;
    }
    return false;
}

// --- Giving out again ---

static void release_meta(Store *store, uint64_t phys)
{
    StoreSpace *space = &store->space;
    unsigned index;
    uint64_t cluster = cluster_of(phys);
    StoreGroup *group = group_of(space, cluster, &index);
    bool was_full = group->busy[index] == UINT16_MAX;
    set_busy(space, phys, 1, false);
    space->meta_free++;
    if (group->busy[index] == 0 && space->meta_free > META_SPARE &&
        cluster != space->meta_cluster) {
        group->busy[index] = UINT16_MAX; // data may have it once that is in the file
        group->meta[index / 64] &= ~(UINT64_C(1) << (index % 64));
        touch(store, group);
        space->meta_free -= STORE_CLUSTER_BLOCKS;
        add_free(store, cluster * STORE_CLUSTER_BLOCKS, STORE_CLUSTER_BLOCKS, true);
    } else if (was_full) {
        g_array_append_val(space->partial, cluster);
    }
}

// The last transaction that no request in flight is as old as.
static uint64_t settled(const Store *store)
{
    uint64_t oldest = store->txn >= STORE_TXN_SLOTS ? store->txn - STORE_TXN_SLOTS + 1 : 0;
    for (uint64_t txn = oldest; txn <= store->durable; txn++) {
        if (g_atomic_int_get(&store->in_flight[txn % STORE_TXN_SLOTS]))
            return txn - 1;
    }
    return store->durable;
}

static int compare_frees(gconstpointer a, gconstpointer b)
{
    const StoreFree *x = a, *y = b;
    return x->phys < y->phys ? -1 : x->phys > y->phys;
}

static void punch(Store *store, const GArray *frees)
{
    for (unsigned i = 0; i < frees->len;) {
        const StoreFree *f = &g_array_index(frees, StoreFree, i++);
        uint64_t phys = f->phys, count = f->count;
        if (!f->punch)
            continue;
        for (; i < frees->len; i++) {
            const StoreFree *next = &g_array_index(frees, StoreFree, i);
            if (!next->punch || next->phys != phys + count)
                break;
            count += next->count;
        }
        // A hole that could not be made costs room, nothing else.
        store->io.ops->punch(store->io.io, phys << STORE_BLOCK_BITS, count << STORE_BLOCK_BITS);
    }
}

void store_space_release(Store *store)
{
    StoreSpace *space = &store->space;
    g_autoptr(GArray) ready = g_array_new(FALSE, FALSE, sizeof(StoreFree));
    g_mutex_lock(&store->mutex);
    uint64_t limit = settled(store);
    unsigned count = 0;
    while (count < space->frees->len &&
           g_array_index(space->frees, StoreFree, count).txn <= limit)
        count++;
    g_array_append_vals(ready, space->frees->data, count);
    g_array_remove_range(space->frees, 0, count);
    g_mutex_unlock(&store->mutex);
    if (!count)
        return;
    g_array_sort(ready, compare_frees);
    punch(store, ready);
    g_mutex_lock(&store->mutex);
    for (unsigned i = 0; i < ready->len; i++) {
        const StoreFree *f = &g_array_index(ready, StoreFree, i);
        if (f->punch)
            set_busy(space, f->phys, f->count, false);
        for (uint64_t at = 0; !f->punch && at < f->count; at++)
            release_meta(store, f->phys + at);
    }
    g_mutex_unlock(&store->mutex);
}
