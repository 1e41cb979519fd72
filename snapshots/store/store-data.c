// SPDX-License-Identifier: GPL-2.0-or-later
// A request's life: it is planned under the mutex from maps in memory (on the worker, where a map
// block must be read from the file first), its transfers run, its last transfer ends it. Reads are
// here; what changes anything is in store-write.c.
#include "snapshots/store/store-private.h"

#include <errno.h>

static void free_part(gpointer data)
{
    StorePart *part = data;
    g_free(part->iov);
    g_free(part);
}

void store_request_drop_parts(StoreRequest *s)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(s->steps); i++) {
        StoreStep *step = &s->steps[i];
        if (step->count)
            g_clear_pointer(&step->first.iov, g_free);
        g_clear_pointer(&step->more, g_ptr_array_unref);
        step->count = 0;
    }
    s->step = 0;
}

void store_request_free(StoreRequest *s)
{
    store_request_drop_parts(s);
    if (s->content != s->request->iov)
        g_free(s->content);
    g_free(s->head);
    g_free(s->tail);
    if (s->placements)
        g_array_unref(s->placements);
    g_free(s);
}

void store_request_begin(StoreRequest *s, bool write)
{
    Store *store = s->device->store;
    s->txn = store->txn;
    s->counted = true;
    g_atomic_int_inc(&store->in_flight[s->txn % STORE_TXN_SLOTS]);
    s->counted_write = write;
    if (write)
        g_atomic_int_inc(&store->writes_in_flight);
}

// With or without the mutex. True: who waits for a zero is to be told.
static bool end_counting(StoreRequest *s)
{
    Store *store = s->device->store;
    bool last = false;
    if (!s->counted)
        return false;
    s->counted = false;
    if (s->counted_write)
        last = g_atomic_int_dec_and_test(&store->writes_in_flight);
    s->counted_write = false;
    last |= g_atomic_int_dec_and_test(&store->in_flight[s->txn % STORE_TXN_SLOTS]);
    return last && g_atomic_int_get(&store->waiters);
}

void store_request_finish(StoreRequest *s, int result)
{
    Store *store = s->device->store;
    StoreDevice *device = s->device;
    BlockRequest *request = s->request;
    if (end_counting(s)) {
        g_mutex_lock(&store->mutex);
        g_cond_broadcast(&store->changed);
        g_mutex_unlock(&store->mutex);
    }
    // In a submit nothing may be told: the I/O thread does it.
    bool from_submit = !s->may_block && !s->next_step && store->io.threaded;
    store_request_free(s);
    if (from_submit && device->block)
        store->io.ops->post(store->io.io, request, result);
    else
        device->done(request, result);
}

void store_request_reset(StoreRequest *s)
{
    if (end_counting(s))
        g_cond_broadcast(&s->device->store->changed);
    if (s->placements)
        g_array_set_size(s->placements, 0);
    store_request_drop_parts(s);
    s->next_step = NULL;
    s->result = 0;
}

void store_request_defer(StoreRequest *s)
{
    store_request_reset(s);
    g_queue_push_tail_link(&s->device->store->waiting, &s->link);
}

static void run_request(StoreRequest *s);

static void run_on_worker(Store *store, void *data)
{
    StoreRequest *s = data;
    s->may_block = true;
    run_request(s);
}

void store_request_to_worker(StoreRequest *s)
{
    store_worker_push(s->device->store, run_on_worker, s);
}

// --- Transfers ---

static int slice_iov(const struct iovec *iov, int count, uint64_t skip, uint64_t length,
                     struct iovec *ret_iov)
{
    int used = 0;
    for (int i = 0; i < count && length; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        size_t take = MIN(iov[i].iov_len - skip, length);
        ret_iov[used++] = (struct iovec){ (uint8_t *)iov[i].iov_base + skip, take };
        length -= take;
        skip = 0;
    }
    return used;
}

static void part_complete(BlockRequest *block, int result)
{
    StoreRequest *s = ((StorePart *)block->opaque)->owner;
    if (result < 0)
        g_atomic_int_set(&s->result, result);
    if (g_atomic_int_dec_and_test(&s->pending))
        s->next_step(s);
}

static StorePart *new_part(StoreRequest *s, BlockOperation operation, BlockDevice *base,
                           uint64_t offset, uint64_t length)
{
    StoreStep *step = &s->steps[s->step];
    StorePart *part = &step->first;
    if (step->count++) {
        part = g_new(StorePart, 1);
        if (!step->more)
            step->more = g_ptr_array_new_with_free_func(free_part);
        g_ptr_array_add(step->more, part);
    }
    memset(part, 0, sizeof *part);
    part->owner = s;
    part->base = base;
    part->block.operation = operation;
    part->block.offset = offset;
    part->block.length = length;
    part->block.complete = part_complete;
    part->block.opaque = part;
    return part;
}

void store_request_add(StoreRequest *s, BlockOperation operation, BlockDevice *base,
                       uint64_t file_offset, uint64_t start, uint64_t length)
{
    StorePart *part = new_part(s, operation, base, file_offset, length);
    uint64_t skip = start - s->content_start;
    if (s->content_count == 1) {
        part->one = (struct iovec){ (uint8_t *)s->content[0].iov_base + skip, length };
        part->block.iov = &part->one;
        part->block.iov_count = 1;
        return;
    }
    part->iov = g_new(struct iovec, s->content_count);
    part->block.iov = part->iov;
    part->block.iov_count = slice_iov(s->content, s->content_count, skip, length, part->iov);
}

void store_request_add_block(StoreRequest *s, uint64_t entry, uint64_t vblock, BlockDevice *base,
                             uint64_t base_limit, uint8_t *buffer)
{
    uint64_t at = vblock << STORE_BLOCK_BITS, length = STORE_BLOCK;
    StorePart *part;
    if (entry_kind(entry) == ENTRY_DATA) {
        part = new_part(s, BLOCK_READ, NULL, entry_block(entry) << STORE_BLOCK_BITS, length);
    } else if (entry_kind(entry) == ENTRY_HOLE && base && at < base_limit) {
        length = MIN(length, base_limit - at);
        part = new_part(s, BLOCK_READ, base, at, length);
    } else {
        return; // the buffer is zeros
    }
    part->one = (struct iovec){ buffer, length };
    part->block.iov = &part->one;
    part->block.iov_count = 1;
}

void store_request_add_flush(StoreRequest *s)
{
    new_part(s, BLOCK_FLUSH, NULL, 0, 0);
}

void store_request_go(StoreRequest *s, unsigned step, void (*next_step)(StoreRequest *s))
{
    Store *store = s->device->store;
    unsigned count = s->steps[step].count;
    if (count == 0) {
        next_step(s);
        return;
    }
    s->next_step = next_step;
    g_atomic_int_set(&s->pending, count);
    // The last completion may free s: nothing of it is touched after the last submission.
    for (unsigned i = 0; i < count; i++) {
        StorePart *part = i ? s->steps[step].more->pdata[i - 1] : &s->steps[step].first;
        if (part->base)
            block_submit(part->base, &part->block);
        else
            store->io.ops->submit(store->io.io, &part->block);
    }
}

// --- Reads ---

BlockDevice *store_slot_base(Store *store, const StoreSlot *slot, uint64_t *ret_limit)
{
    StoreVolumeRecord *volume = store_volume_by_id(store, slot->volume);
    BlockDevice *base = volume ? volume->base_device : NULL;
    *ret_limit = base ? MIN(slot->base_limit, block_size(base)) : 0;
    return base;
}

static void zero_content(StoreRequest *s, uint64_t start, uint64_t length)
{
    g_autofree struct iovec *iov = g_new(struct iovec, s->content_count);
    int count = slice_iov(s->content, s->content_count, start - s->content_start, length, iov);
    for (int i = 0; i < count; i++)
        memset(iov[i].iov_base, 0, iov[i].iov_len);
}

static void read_hole(StoreRequest *s, EntryKind kind, BlockDevice *base, uint64_t limit,
                      uint64_t start, uint64_t length)
{
    uint64_t shown = kind == ENTRY_HOLE && start < limit ? MIN(length, limit - start) : 0;
    if (shown)
        store_request_add(s, BLOCK_READ, base, start, start, shown);
    if (length > shown)
        zero_content(s, start + shown, length - shown);
}

// Neighbouring blocks that lie in a row are one transfer.
static int plan_read(StoreRequest *s, const StoreSlot *slot)
{
    Store *store = s->device->store;
    uint64_t at = s->request->offset, end = at + s->request->length, limit;
    BlockDevice *base = store_slot_base(store, slot, &limit);
    while (at < end) {
        uint64_t first, entry, next = at;
        int result = store_map_entry(store, &slot->tree, 0, at >> STORE_BLOCK_BITS, !s->may_block,
                                     &first);
        if (result < 0)
            return result;
        EntryKind kind = entry_kind(first);
        for (uint64_t n = 0;; n++) {
            next = MIN(end, ((next >> STORE_BLOCK_BITS) + 1) << STORE_BLOCK_BITS);
            if (next == end)
                break;
            result = store_map_entry(store, &slot->tree, 0, next >> STORE_BLOCK_BITS,
                                     !s->may_block, &entry);
            if (result < 0)
                return result;
            if (entry_kind(entry) != kind ||
                (kind == ENTRY_DATA && entry_block(entry) != entry_block(first) + n + 1))
                break;
        }
        if (kind == ENTRY_DATA)
            store_request_add(s, BLOCK_READ, NULL,
                              (entry_block(first) << STORE_BLOCK_BITS) + (at & (STORE_BLOCK - 1)),
                              at, next - at);
        else
            read_hole(s, kind, base, limit, at, next - at);
        at = next;
    }
    return 0;
}

static void read_done(StoreRequest *s)
{
    store_request_finish(s, s->result);
}

static void read_request(StoreRequest *s)
{
    Store *store = s->device->store;
    g_mutex_lock(&store->mutex);
    StoreSlot *slot = store_slot(s->device->record, s->device->volume);
    int result = slot && s->request->offset + s->request->length <= slot->size ? 0 : -EINVAL;
    if (result == 0)
        result = plan_read(s, slot);
    if (result == 0)
        store_request_begin(s, false);
    g_mutex_unlock(&store->mutex);
    if (result == 0) {
        store_request_go(s, 0, read_done);
        return;
    }
    store_request_drop_parts(s);
    if (result == -EAGAIN)
        store_request_to_worker(s);
    else
        store_request_finish(s, result);
}

// --- Requests that go to the file as they are ---

#define LONGEST_PASSED 64u // blocks

// A read of one run of data and a write over one that is not shared, as most are, go to the file
// as they are: only the offset is another meanwhile. False: it must be planned.
static bool pass_on(StoreDevice *device, BlockRequest *request)
{
    Store *store = device->store;
    bool write = request->operation == BLOCK_WRITE;
    uint64_t first = request->offset >> STORE_BLOCK_BITS, entries[LONGEST_PASSED];
    uint64_t last = (request->offset + request->length - 1) >> STORE_BLOCK_BITS;
    if (request->length == 0 || last - first >= LONGEST_PASSED)
        return false;
    unsigned blocks = (unsigned)(last - first) + 1;
    g_mutex_lock(&store->mutex);
    const StoreSlot *slot = store_slot(device->record, device->volume);
    bool whole = slot && request->offset + request->length <= slot->size;
    for (unsigned i = 0; whole && i < blocks; i++)
        whole = store_map_entry(store, &slot->tree, 0, first + i, true, &entries[i]) == 0 &&
                entry_kind(entries[i]) == ENTRY_DATA &&
                entry_block(entries[i]) == entry_block(entries[0]) + i;
    if (whole && write)
        whole = store_write_is_plain(device, slot, first, entries, blocks);
    if (whole) {
        unsigned count = (unsigned)(store->txn % STORE_TXN_SLOTS);
        request->driver_tag = 1 + count + (write ? STORE_TXN_SLOTS : 0);
        request->driver_offset = request->offset;
        request->offset = (entry_block(entries[0]) << STORE_BLOCK_BITS) +
                          (request->offset & (STORE_BLOCK - 1));
        g_atomic_int_inc(&store->in_flight[count]);
        if (write)
            g_atomic_int_inc(&store->writes_in_flight);
    }
    g_mutex_unlock(&store->mutex);
    if (whole)
        store->io.ops->submit(store->io.io, request);
    return whole;
}

static void plan_request(StoreDevice *device, BlockRequest *request);

bool store_data_passed(StoreDevice *device, BlockRequest *request, int result)
{
    Store *store = device->store;
    bool write = request->driver_tag > STORE_TXN_SLOTS, last = false;
    gint *count = &store->in_flight[(request->driver_tag - 1) % STORE_TXN_SLOTS];
    request->offset = request->driver_offset;
    request->driver_tag = 0;
    if (write)
        last = g_atomic_int_dec_and_test(&store->writes_in_flight);
    last |= g_atomic_int_dec_and_test(count);
    if (last && g_atomic_int_get(&store->waiters)) {
        g_mutex_lock(&store->mutex);
        g_cond_broadcast(&store->changed);
        g_mutex_unlock(&store->mutex);
    }
    if (!write || !store_is_no_room(result))
        return true;
    plan_request(device, request);
    return false;
}

// --- All requests ---

static void run_request(StoreRequest *s)
{
    switch (s->request->operation) {
    case BLOCK_READ:
        read_request(s);
        break;
    case BLOCK_WRITE:
        store_write(s);
        break;
    case BLOCK_DISCARD:
        store_discard(s);
        break;
    case BLOCK_WRITE_ZEROES:
        // A discard of whole blocks is just that.
        if ((s->request->offset | s->request->length) & (STORE_BLOCK - 1))
            store_request_finish(s, -EOPNOTSUPP);
        else
            store_discard(s);
        break;
    case BLOCK_FLUSH:
        store_flush(s);
        break;
    }
}

static void plan_request(StoreDevice *device, BlockRequest *request)
{
    // The parts are set as they are added.
    StoreRequest *s = g_new(StoreRequest, 1);
    memset(s, 0, offsetof(StoreRequest, steps));
    s->steps[0].count = s->steps[1].count = 0;
    s->steps[0].more = s->steps[1].more = NULL;
    s->step = 0;
    s->placements = NULL;
    s->link.data = s;
    s->device = device;
    s->request = request;
    s->content = request->iov;
    s->content_count = request->iov_count;
    s->content_start = request->offset;
    s->may_block = !device->store->io.threaded;
    run_request(s);
}

void store_data_submit(StoreDevice *device, BlockRequest *request)
{
    bool transfer = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
    if (!transfer || !device->block || !device->store->io.threaded || !pass_on(device, request))
        plan_request(device, request);
}

void store_retry_waiting(Store *store)
{
    g_mutex_lock(&store->mutex);
    GQueue waiting = store->waiting;
    g_queue_init(&store->waiting);
    g_mutex_unlock(&store->mutex);
    while (waiting.head) {
        StoreRequest *s = g_queue_pop_head_link(&waiting)->data;
        run_request(s);
    }
}

void store_data_settle(Store *store, const gint *count)
{
    g_atomic_int_inc(&store->waiters);
    while (g_atomic_int_get(count))
        g_cond_wait(&store->changed, &store->mutex);
    g_atomic_int_add(&store->waiters, -1);
}

void store_data_hold(Store *store)
{
    store->hold++;
    store_data_settle(store, &store->writes_in_flight);
}

void store_data_resume(Store *store)
{
    if (--store->hold)
        return;
    g_mutex_unlock(&store->mutex);
    store_retry_waiting(store);
    g_mutex_lock(&store->mutex);
}

typedef struct {
    StoreDevice device;
    GMutex mutex;
    GCond cond;
    bool done;
    int result;
} SyncRequest;

static void sync_done(BlockRequest *request, int result)
{
    SyncRequest *sync = request->opaque;
    g_mutex_lock(&sync->mutex);
    sync->result = result;
    sync->done = true;
    g_cond_signal(&sync->cond);
    g_mutex_unlock(&sync->mutex);
}

int store_data_sync(StoreDevice *device, BlockOperation operation, uint64_t offset, void *buffer,
                    uint64_t size)
{
    SyncRequest sync = { .device = *device };
    struct iovec iov = { buffer, size };
    BlockRequest request = { .operation = operation, .offset = offset, .length = size,
                             .iov = &iov, .iov_count = 1, .opaque = &sync };
    sync.device.done = sync_done;
    sync.device.block = NULL;
    g_mutex_init(&sync.mutex);
    g_cond_init(&sync.cond);
    store_data_submit(&sync.device, &request);
    g_mutex_lock(&sync.mutex);
    while (!sync.done)
        g_cond_wait(&sync.cond, &sync.mutex);
    g_mutex_unlock(&sync.mutex);
    g_mutex_clear(&sync.mutex);
    g_cond_clear(&sync.cond);
    return sync.result;
}
