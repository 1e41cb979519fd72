// SPDX-License-Identifier: GPL-2.0-or-later
// Writes, discards and flushes. A block that only the running state has is written in place, as on
// a raw disk. Any other write goes to a new place first and enters the map when it has arrived, so
// that a map never refers to bytes that are not there; a block that is written in part is filled up
// from its old bytes. While a block's new place is being written, other writes and discards of that
// block wait.
#include "snapshots/store/store-private.h"

#include <errno.h>

#define DISCARD_SLICE 16384u // blocks cleared before the mutex is let go: 64 MiB

typedef struct {
    StoreRequest *s;
    StoreSlot *slot;
    BlockDevice *base;
    uint64_t limit; // bytes below which a hole shows the base
    uint64_t first, last; // blocks
    uint64_t *entries;    // of first .. last
} Plan;

static gpointer key_of(const StoreDevice *device, uint64_t vblock)
{
    return GSIZE_TO_POINTER((uint64_t)device->volume << 36 | vblock);
}

static bool is_allocating(const StoreDevice *device, uint64_t first, uint64_t last)
{
    GHashTable *set = device->store->allocating;
    GHashTableIter iter;
    gpointer key;
    if (g_hash_table_size(set) == 0)
        return false;
    if (last - first < g_hash_table_size(set)) {
        for (uint64_t vblock = first; vblock <= last; vblock++) {
            if (g_hash_table_contains(set, key_of(device, vblock)))
                return true;
        }
        return false;
    }
    g_hash_table_iter_init(&iter, set);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (GPOINTER_TO_SIZE(key) >= GPOINTER_TO_SIZE(key_of(device, first)) &&
            GPOINTER_TO_SIZE(key) <= GPOINTER_TO_SIZE(key_of(device, last)))
            return true;
    }
    return false;
}

static uint64_t entry_of(const Plan *p, uint64_t vblock)
{
    return p->entries[vblock - p->first];
}

static bool writes_in_place(const Plan *p, uint64_t vblock)
{
    uint64_t entry = entry_of(p, vblock);
    return entry_kind(entry) == ENTRY_DATA &&
           store_is_own(p->s->device->store, p->s->device->record, p->slot, 0, vblock, entry);
}

static int read_entries(Plan *p)
{
    Store *store = p->s->device->store;
    for (uint64_t vblock = p->first; vblock <= p->last; vblock++) {
        int result = store_map_entry(store, &p->slot->tree, 0, vblock, !p->s->may_block,
                                     &p->entries[vblock - p->first]);
        if (result < 0)
            return result;
    }
    return 0;
}

// --- Content ---

static void copy_iov(const BlockRequest *request, uint64_t from, uint64_t length, uint8_t *to)
{
    for (int i = 0; i < request->iov_count && length; i++) {
        const struct iovec *v = &request->iov[i];
        if (from >= v->iov_len) {
            from -= v->iov_len;
            continue;
        }
        size_t take = MIN(v->iov_len - from, length);
        memcpy(to, (const uint8_t *)v->iov_base + from, take);
        to += take;
        length -= take;
        from = 0;
    }
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

// Whether the whole block is in the request and zero.
static bool block_is_zero(const BlockRequest *request, uint64_t vblock)
{
    uint64_t at = vblock << STORE_BLOCK_BITS, length = STORE_BLOCK;
    if (at < request->offset || at + length > request->offset + request->length)
        return false;
    uint64_t from = at - request->offset;
    for (int i = 0; i < request->iov_count && length; i++) {
        const struct iovec *v = &request->iov[i];
        if (from >= v->iov_len) {
            from -= v->iov_len;
            continue;
        }
        size_t take = MIN(v->iov_len - from, length);
        if (!is_zero((const uint8_t *)v->iov_base + from, take))
            return false;
        length -= take;
        from = 0;
    }
    return true;
}

// Puts whole blocks in place of what the request has of its first and last one, as needed.
static void widen_content(StoreRequest *s, bool head, bool tail)
{
    const BlockRequest *request = s->request;
    uint64_t start = request->offset, end = start + request->length;
    uint64_t inner_start = start, inner_end = end;
    struct iovec *content = g_new(struct iovec, request->iov_count + 2);
    int count = 0;
    if (head) {
        s->content_start = start & ~(uint64_t)(STORE_BLOCK - 1);
        inner_start = MIN(end, s->content_start + STORE_BLOCK);
        content[count++] = (struct iovec){ s->head, STORE_BLOCK };
    }
    if (tail)
        inner_end = end & ~(uint64_t)(STORE_BLOCK - 1);
    uint64_t skip = inner_start - start, left = MAX(inner_end, inner_start) - inner_start;
    for (int i = 0; i < request->iov_count && left; i++) {
        const struct iovec *v = &request->iov[i];
        if (skip >= v->iov_len) {
            skip -= v->iov_len;
            continue;
        }
        size_t take = MIN(v->iov_len - skip, left);
        content[count++] = (struct iovec){ (uint8_t *)v->iov_base + skip, take };
        left -= take;
        skip = 0;
    }
    if (tail)
        content[count++] = (struct iovec){ s->tail, STORE_BLOCK };
    s->content = content;
    s->content_count = count;
}

// --- Completion ---

static void place_blocks(Store *store, StoreRequest *s, StoreSlot *slot, StoreBlock *leaf,
                         uint64_t vblock, uint64_t phys, unsigned count, uint64_t base_blocks)
{
    unsigned index = store_index(vblock, 0);
    for (unsigned i = 0; i < count; i++) {
        uint64_t old = leaf->leaf[index + i];
        if (entry_kind(old) == ENTRY_DATA) {
            slot->mapped--;
            // Its other holders may have gone since the write began.
            if (store_is_own(store, s->device->record, slot, 0, vblock + i, old))
                store_space_free(store, entry_block(old), 1);
        }
        if (phys) {
            slot->mapped++;
            leaf->leaf[index + i] = entry_make(ENTRY_DATA, s->device->record->stamp, phys + i);
        } else {
            leaf->leaf[index + i] = vblock + i < base_blocks ? entry_make(ENTRY_ZERO, 0, 0) : 0;
        }
    }
    if (phys)
        store_space_use(store, phys, count);
}

// Puts what has been written into the map. *ret_placed: blocks of `placement` that are in it.
static int publish(StoreRequest *s, const StorePlacement *placement, uint64_t *ret_placed)
{
    Store *store = s->device->store;
    StoreSlot *slot = store_slot(s->device->record, s->device->volume);
    uint64_t limit;
    *ret_placed = 0;
    if (!slot)
        return -EIO;
    store_slot_base(store, slot, &limit);
    while (*ret_placed < placement->count) {
        uint64_t vblock = placement->vblock + *ret_placed;
        uint64_t left = STORE_LEAF_ENTRIES - store_index(vblock, 0);
        unsigned count = (unsigned)MIN(placement->count - *ret_placed, left);
        StoreBlock *leaf;
        int result = store_map_modify(store, s->device->record, slot, &slot->tree, vblock, &leaf);
        if (result < 0)
            return result;
        place_blocks(store, s, slot, leaf, vblock,
                     placement->phys ? placement->phys + *ret_placed : 0, count,
                     (limit + STORE_BLOCK - 1) >> STORE_BLOCK_BITS);
        *ret_placed += count;
    }
    return 0;
}

// Ends what the placements began. result < 0: nothing (more) enters the map.
static int settle_placements(StoreRequest *s, int result)
{
    Store *store = s->device->store;
    for (unsigned i = 0; s->placements && i < s->placements->len; i++) {
        const StorePlacement *placement = &g_array_index(s->placements, StorePlacement, i);
        uint64_t placed = 0;
        if (result == 0)
            result = publish(s, placement, &placed);
        if (placement->phys && placed < placement->count)
            store_space_give_back(store, placement->phys + placed, placement->count - placed);
        for (uint64_t n = 0; n < placement->count; n++)
            g_hash_table_remove(store->allocating, key_of(s->device, placement->vblock + n));
    }
    return result;
}

// Whether room is being made, so that a write that found none is worth another try.
static bool room_is_coming(Store *store)
{
    StoreRecord *binned = NULL;
    if (!store->worker || store->closing || store->purge_failed)
        return false;
    for (unsigned i = 0; i < store->order->len; i++) {
        StoreRecord *record = store->order->pdata[i];
        if (record->flags & NODE_PURGING && record->open_devices == 0)
            return true;
        if (!binned && record->flags & NODE_IN_BIN && record->open_devices == 0)
            binned = record;
    }
    if (!binned)
        return false;
    g_message("snapshot store '%s': the deleted snapshot '%s' is freed for want of room",
              store->path, binned->name);
    uint32_t flags = binned->flags;
    binned->flags = (flags & ~NODE_IN_BIN) | NODE_PURGING;
    if (store_record_save(store, binned) == 0)
        return true;
    binned->flags = flags;
    return false;
}

// What becomes of a write that found no room.
typedef enum {
    FINISH,     // nothing was wrong, or nothing helps
    WAIT,       // it is in the queue until room has been made
    COMMIT,     // what was freed is room once that is in the file
    RESERVE,    // it may have some of what is set aside
} Remedy;

// The end of a write, with the mutex.
static Remedy remedy_for(StoreRequest *s, int result)
{
    Store *store = s->device->store;
    if (result != -ENOSPC)
        return FINISH;
    if (!s->committed && store->worker && !store->error && store_space_has_freed(store)) {
        s->committed = true;
        store_request_reset(s);
        return COMMIT;
    }
    if (!s->from_reserve && store_reserve_is_for(store, s->device->volume)) {
        s->from_reserve = true;
        store_request_reset(s);
        return RESERVE;
    }
    if (room_is_coming(store)) {
        store_request_defer(s);
        store_worker_wake(store);
        return WAIT;
    }
    store->full = true;
    return FINISH;
}

static void write_after_commit(Store *store, void *data)
{
    StoreRequest *s = data;
    store_commit_now(store, false);
    s->may_block = true;
    store_write(s);
}

// Without the mutex.
static void apply_remedy(StoreRequest *s, Remedy remedy, int result)
{
    if (remedy == FINISH)
        store_request_finish(s, result);
    else if (remedy == COMMIT)
        store_worker_push(s->device->store, write_after_commit, s);
    else if (remedy == RESERVE)
        store_write(s);
}

static void commit_soon(Store *store, void *data)
{
    g_mutex_lock(&store->mutex);
    store->commit_queued = false;
    g_mutex_unlock(&store->mutex);
    store_commit_now(store, false);
}

static void write_done(StoreRequest *s)
{
    Store *store = s->device->store;
    if (store_is_no_room(s->result))
        s->result = -ENOSPC;
    g_mutex_lock(&store->mutex);
    int result = settle_placements(s, s->result);
    bool had_placements = s->placements && s->placements->len;
    if (result == 0 && had_placements && !s->from_reserve)
        store->full = false;
    bool retry = had_placements && store->waiting.length && !store->hold;
    Remedy remedy = remedy_for(s, result);
    store_cache_trim(store);
    bool commit = store->worker && !store->commit_queued &&
                  store->cache.dirty.length > STORE_DIRTY_LIMIT;
    store->commit_queued |= commit;
    g_mutex_unlock(&store->mutex);
    apply_remedy(s, remedy, result);
    if (commit)
        store_worker_push(store, commit_soon, NULL);
    if (retry)
        store_retry_waiting(store);
}

// --- Planning ---

static void add_placement(StoreRequest *s, uint64_t vblock, uint64_t phys, uint64_t count)
{
    Store *store = s->device->store;
    StorePlacement *last = NULL;
    if (!s->placements)
        s->placements = g_array_new(FALSE, FALSE, sizeof(StorePlacement));
    for (uint64_t n = 0; n < count; n++)
        g_hash_table_add(store->allocating, key_of(s->device, vblock + n));
    if (s->placements->len)
        last = &g_array_index(s->placements, StorePlacement, s->placements->len - 1);
    if (last && last->vblock + last->count == vblock && !last->phys == !phys &&
        (!phys || last->phys + last->count == phys)) {
        last->count += count;
        return;
    }
    StorePlacement placement = { vblock, phys, count };
    g_array_append_val(s->placements, placement);
}

// What the request has of blocks [vblock, vblock + count), as it goes to the file at phys.
static void add_write(Plan *p, uint64_t vblock, uint64_t count, uint64_t phys)
{
    StoreRequest *s = p->s;
    uint64_t content_end = s->content_start;
    for (int i = 0; i < s->content_count; i++)
        content_end += s->content[i].iov_len;
    uint64_t block_start = vblock << STORE_BLOCK_BITS;
    uint64_t start = MAX(block_start, s->content_start);
    uint64_t end = MIN((vblock + count) << STORE_BLOCK_BITS, content_end);
    store_request_add(s, BLOCK_WRITE, NULL, (phys << STORE_BLOCK_BITS) + (start - block_start),
                      start, end - start);
}

static uint64_t hint_for(Plan *p, uint64_t vblock)
{
    Store *store = p->s->device->store;
    uint64_t entry;
    if (vblock % STORE_LEAF_ENTRIES == 0 ||
        store_map_entry(store, &p->slot->tree, 0, vblock - 1, true, &entry) < 0 ||
        entry_kind(entry) != ENTRY_DATA ||
        entry_birth(entry) != p->s->device->record->stamp)
        return 0;
    return entry_block(entry) + 1;
}

static int place_run(Plan *p, uint64_t vblock, uint64_t count)
{
    StoreRequest *s = p->s;
    Store *store = s->device->store;
    uint64_t hint = hint_for(p, vblock);
    while (count) {
        uint64_t above, phys, got;
        int result = store_map_entry(store, &p->slot->tree, 1, vblock, true, &above);
        bool fresh = result == 0 && entry_kind(above) != ENTRY_NODE &&
                     entry_kind(above) != ENTRY_DATA &&
                     p->slot->size >= STORE_LEAF_ENTRIES * (uint64_t)STORE_BLOCK;
        uint64_t want = MIN(count, STORE_LEAF_ENTRIES - store_index(vblock, 0));
        result = s->from_reserve
                     ? store_reserve_take(store, want, &phys, &got)
                     : store_space_new_data(store, s->device->volume, vblock, want, hint, fresh,
                                            &phys, &got);
        if (result < 0)
            return result;
        add_placement(s, vblock, phys, got);
        add_write(p, vblock, got, phys);
        hint = phys + got;
        vblock += got;
        count -= got;
    }
    return 0;
}

// How a block is written: into its own place, as a hole, to a new place, or not at all (zeros over
// zeros).
typedef enum { IN_PLACE, AS_ZEROS, NEW_PLACE, NO_CHANGE } Way;

static Way way_of(const Plan *p, uint64_t vblock)
{
    const BlockRequest *request = p->s->request;
    StoreVolumeRecord *volume = store_volume_by_id(p->s->device->store, p->slot->volume);
    bool own = writes_in_place(p, vblock);
    bool eager = volume && volume->kind != STORE_DISK; // memory gives zeroed pages back
    if ((own && !eager) || !block_is_zero(request, vblock))
        return own ? IN_PLACE : NEW_PLACE;
    EntryKind kind = entry_kind(entry_of(p, vblock));
    bool zero = kind == ENTRY_ZERO ||
                (kind == ENTRY_HOLE && vblock << STORE_BLOCK_BITS >= p->limit);
    return zero ? NO_CHANGE : AS_ZEROS;
}

static int plan_blocks(Plan *p)
{
    Store *store = p->s->device->store;
    for (uint64_t vblock = p->first; vblock <= p->last;) {
        Way way = way_of(p, vblock);
        uint64_t count = 1, phys = entry_block(entry_of(p, vblock));
        while (vblock + count <= p->last && way_of(p, vblock + count) == way &&
               (way != IN_PLACE || entry_block(entry_of(p, vblock + count)) == phys + count))
            count++;
        int result = 0;
        if (way == IN_PLACE && !store_space_is_data(store, phys, count))
            result = -EBADMSG;
        else if (way == IN_PLACE)
            add_write(p, vblock, count, phys);
        else if (way == AS_ZEROS)
            add_placement(p->s, vblock, 0, count);
        else if (way == NEW_PLACE)
            result = place_run(p, vblock, count);
        if (result < 0)
            return result;
        vblock += count;
    }
    return 0;
}

// The second step of a write that filled its ends from old bytes.
static void merge_and_write(StoreRequest *s)
{
    const BlockRequest *request = s->request;
    uint64_t end = request->offset + request->length;
    if (s->result < 0) {
        write_done(s);
        return;
    }
    if (s->head) {
        uint64_t inside = request->offset & (STORE_BLOCK - 1);
        copy_iov(request, 0, MIN(STORE_BLOCK - inside, request->length), s->head + inside);
    }
    if (s->tail) {
        uint64_t inside = end & (STORE_BLOCK - 1);
        copy_iov(request, request->length - inside, inside, s->tail);
    }
    store_request_go(s, 1, write_done);
}

// Old bytes for ends that are written in part and not in place.
static bool plan_ends(Plan *p)
{
    StoreRequest *s = p->s;
    uint64_t start = s->request->offset, end = start + s->request->length;
    bool one = p->first == p->last;
    bool head = start & (STORE_BLOCK - 1) || (one && end & (STORE_BLOCK - 1));
    bool tail = !one && end & (STORE_BLOCK - 1);
    head = head && !writes_in_place(p, p->first);
    tail = tail && !writes_in_place(p, p->last);
    if (!head && !tail)
        return false;
    if (head)
        s->head = g_malloc0(STORE_BLOCK);
    if (tail)
        s->tail = g_malloc0(STORE_BLOCK);
    widen_content(s, head, tail);
    if (head)
        store_request_add_block(s, entry_of(p, p->first), p->first, p->base, p->limit, s->head);
    if (tail)
        store_request_add_block(s, entry_of(p, p->last), p->last, p->base, p->limit, s->tail);
    return true;
}

static void drop_plan(StoreRequest *s)
{
    store_request_drop_parts(s);
    g_clear_pointer(&s->head, g_free);
    g_clear_pointer(&s->tail, g_free);
    if (s->content != s->request->iov)
        g_free(s->content);
    s->content = s->request->iov;
    s->content_count = s->request->iov_count;
    s->content_start = s->request->offset;
    if (s->placements)
        g_array_set_size(s->placements, 0);
}

// Writes whose places are not in the map yet: each may need a new path.
static unsigned waiting_to_publish(Store *store)
{
    return (unsigned)g_atomic_int_get(&store->writes_in_flight);
}

// With the mutex. 0; -EAGAIN: maps must be read; -EBUSY: it waits in the queue; -errno.
static int plan_write(StoreRequest *s)
{
    Store *store = s->device->store;
    StoreSlot *slot = store_slot(s->device->record, s->device->volume);
    const BlockRequest *request = s->request;
    if (store->error || !s->device->writable)
        return store->error ? store->error : -EROFS;
    if (!slot || request->offset + request->length > slot->size)
        return -EINVAL;
    Plan p = { s, slot, .first = request->offset >> STORE_BLOCK_BITS,
               .last = (request->offset + request->length - 1) >> STORE_BLOCK_BITS };
    if (store->hold || is_allocating(s->device, p.first, p.last)) {
        store_request_defer(s);
        return -EBUSY;
    }
    p.base = store_slot_base(store, slot, &p.limit);
    uint64_t few[16], count = p.last - p.first + 1;
    g_autofree uint64_t *many = count > G_N_ELEMENTS(few) ? g_new(uint64_t, count) : NULL;
    p.entries = many ? many : few;
    int result = read_entries(&p);
    if (result < 0)
        return result;
    s->step = plan_ends(&p) ? 1 : 0;
    result = plan_blocks(&p);
    unsigned kept = s->from_reserve ? STORE_RESERVE / 2 : STORE_RESERVE;
    if (result == 0 && s->placements && s->placements->len)
        result = store_space_ensure(store, kept + 2 * store->space.dirty_groups +
                                               STORE_MAX_HEIGHT * waiting_to_publish(store));
    if (result < 0)
        settle_placements(s, result);
    return result;
}

bool store_write_is_plain(StoreDevice *device, const StoreSlot *slot, uint64_t first,
                          const uint64_t *entries, unsigned count)
{
    Store *store = device->store;
    StoreVolumeRecord *volume = store_volume_by_id(store, slot->volume);
    if (store->error || store->hold || !device->writable || !volume ||
        volume->kind != STORE_DISK || is_allocating(device, first, first + count - 1) ||
        !store_space_is_data(store, entry_block(entries[0]), count))
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (!store_is_own(store, device->record, slot, 0, first + i, entries[i]))
            return false;
    }
    return true;
}

void store_write(StoreRequest *s)
{
    Store *store = s->device->store;
    g_mutex_lock(&store->mutex);
    drop_plan(s);
    int result = plan_write(s);
    Remedy remedy = result == -EBUSY ? WAIT : FINISH;
    if (result == 0)
        store_request_begin(s, true);
    else if (result != -EBUSY)
        remedy = remedy_for(s, result);
    g_mutex_unlock(&store->mutex);
    if (result == 0)
        store_request_go(s, 0, s->step ? merge_and_write : write_done);
    else if (result == -EAGAIN)
        store_request_to_worker(s);
    else
        apply_remedy(s, remedy, result);
}

// --- Discards ---

static int clear_slice(StoreRequest *s, uint64_t first, uint64_t count)
{
    Store *store = s->device->store;
    StoreSlot *slot = store_slot(s->device->record, s->device->volume);
    if (!slot || store->error)
        return store->error ? store->error : -EINVAL;
    uint64_t limit;
    store_slot_base(store, slot, &limit);
    uint64_t base_blocks = (limit + STORE_BLOCK - 1) >> STORE_BLOCK_BITS;
    uint64_t over_base = first < base_blocks ? MIN(count, base_blocks - first) : 0;
    // Freeing must also work when the disk is full: only the commands' reserve is left alone.
    int result = store_space_ensure(store, STORE_RESERVE / 2 + 2 * store->space.dirty_groups);
    if (result == 0 && over_base)
        result = store_map_clear(store, s->device->record, slot, first, over_base, true);
    if (result == 0 && count > over_base)
        result = store_map_clear(store, s->device->record, slot, first + over_base,
                                 count - over_base, false);
    store_cache_trim(store);
    return result;
}

void store_discard(StoreRequest *s)
{
    Store *store = s->device->store;
    const BlockRequest *request = s->request;
    uint64_t end = request->offset + request->length;
    uint64_t first = (request->offset + STORE_BLOCK - 1) >> STORE_BLOCK_BITS;
    g_mutex_lock(&store->mutex);
    StoreSlot *slot = store_slot(s->device->record, s->device->volume);
    int result = !slot || end > slot->size ? -EINVAL : !s->device->writable ? -EROFS : 0;
    uint64_t stop = slot && end == slot->size ? (end + STORE_BLOCK - 1) >> STORE_BLOCK_BITS
                                              : end >> STORE_BLOCK_BITS;
    bool waits = result == 0 && first < stop &&
                 (store->hold || is_allocating(s->device, first, stop - 1));
    if (waits)
        store_request_defer(s);
    else if (result == 0 && first < stop && !s->may_block)
        result = -EAGAIN; // maps may have to be read, and there may be much to clear
    else if (result == 0)
        store_request_begin(s, true);
    while (!waits && result == 0 && first < stop) {
        uint64_t count = MIN(stop - first, DISCARD_SLICE);
        result = clear_slice(s, first, count);
        first += count;
        g_mutex_unlock(&store->mutex);
        g_mutex_lock(&store->mutex);
    }
    g_mutex_unlock(&store->mutex);
    if (result == -EAGAIN)
        store_request_to_worker(s);
    else if (!waits)
        store_request_finish(s, result);
}

// --- Flushes ---

static void flush_all(Store *store, void *data)
{
    g_mutex_lock(&store->mutex);
    GQueue flushes = store->flushes;
    g_queue_init(&store->flushes);
    store->flush_queued = false;
    g_mutex_unlock(&store->mutex);
    int result = store_commit_now(store, true);
    while (flushes.head) {
        StoreRequest *s = g_queue_pop_head_link(&flushes)->data;
        s->may_block = true; // told from here
        store_request_finish(s, result);
    }
}

static void flush_done(StoreRequest *s)
{
    store_request_finish(s, s->result);
}

// Where no map changed since the last commit, a sync of the file is all.
void store_flush(StoreRequest *s)
{
    Store *store = s->device->store;
    g_mutex_lock(&store->mutex);
    int error = store->error;
    bool plain = !store->dirty && store->durable + 1 == store->txn;
    bool queue = false;
    if (!error && s->device->writable && !plain) {
        g_queue_push_tail_link(&store->flushes, &s->link);
        queue = !store->flush_queued;
        store->flush_queued = true;
        s = NULL;
    }
    g_mutex_unlock(&store->mutex);
    if (queue)
        store_worker_push(store, flush_all, NULL);
    if (!s)
        return;
    if (error || !s->device->writable) {
        store_request_finish(s, error);
        return;
    }
    store_request_add_flush(s);
    store_request_go(s, 0, flush_done);
}
