// SPDX-License-Identifier: GPL-2.0-or-later
// The end of a transaction. In memory, under the mutex: checksums from the leaves up, the records
// of a pending node, the space map, the root record; all of it is copied out, and the next
// transaction opens. Then, without the mutex: metadata to its new places, a sync (which covers the
// guest's data as well), the root record into its slot of the ring, a sync. Before the second sync
// has come back nothing that the transaction freed is touched.
#include "snapshots/store/store-private.h"

#include <errno.h>

typedef struct {
    uint64_t phys;
    uint8_t bytes[STORE_BLOCK];
} StoreWrite;

// What the closing of a transaction may need beyond two blocks a changed group.
#define CLOSING_BLOCKS 40u
#define LARGEST_WRITE  (1024u * 1024u) // bytes

void store_mark_dirty(Store *store)
{
    store->dirty = true;
}

static int compare_writes(gconstpointer a, gconstpointer b)
{
    const StoreWrite *x = *(StoreWrite *const *)a, *y = *(StoreWrite *const *)b;
    return x->phys < y->phys ? -1 : x->phys > y->phys;
}

static void free_transaction(StoreTransaction *t)
{
    g_ptr_array_unref(t->blocks);
    g_free(t);
}

static int settle_trees(Store *store)
{
    int result = store_space_ensure(store, 2 * store->space.dirty_groups + CLOSING_BLOCKS);
    if (result < 0)
        return result;
    store_map_seal(store, TREE_MAP);
    if (store->pending) {
        result = store_record_save(store, store->pending);
        if (result < 0)
            return result;
    }
    store_map_seal(store, TREE_NODES);
    store_map_seal(store, TREE_VOLUMES);
    result = store_space_store(store);
    store_map_seal(store, TREE_SPACE);
    return result;
}

static int close_transaction(Store *store, StoreTransaction **ret_transaction)
{
    store_data_settle(store, &store->in_flight[(store->txn + 1) % STORE_TXN_SLOTS]);
    int result = settle_trees(store);
    if (result < 0)
        return result;
    StoreTransaction *t = g_new0(StoreTransaction, 1);
    t->blocks = g_ptr_array_new_with_free_func(g_free);
    t->txn = store->txn;
    t->root_phys = STORE_RING + store->txn % STORE_RING_SLOTS;
    store_root_write(store, t->root);
    while (store->cache.dirty.head) {
        StoreBlock *block = store->cache.dirty.head->data;
        StoreWrite *w = g_new(StoreWrite, 1);
        w->phys = block->phys;
        memcpy(w->bytes, block->bytes, STORE_BLOCK);
        g_ptr_array_add(t->blocks, w);
        store_cache_clean(store, block);
    }
    g_ptr_array_sort(t->blocks, compare_writes);
    store->txn++;
    store->dirty = false;
    *ret_transaction = t;
    return 0;
}

static int write_blocks(Store *store, const GPtrArray *blocks)
{
    g_autofree uint8_t *buffer = NULL;
    for (unsigned i = 0; i < blocks->len;) {
        const StoreWrite *first = blocks->pdata[i];
        unsigned count = 1;
        while (i + count < blocks->len && count < LARGEST_WRITE / STORE_BLOCK &&
               ((StoreWrite *)blocks->pdata[i + count])->phys == first->phys + count)
            count++;
        const uint8_t *bytes = first->bytes;
        if (count > 1) {
            if (!buffer)
                buffer = g_malloc(LARGEST_WRITE);
            for (unsigned at = 0; at < count; at++)
                memcpy(buffer + at * STORE_BLOCK, ((StoreWrite *)blocks->pdata[i + at])->bytes,
                       STORE_BLOCK);
            bytes = buffer;
        }
        int result = store->io.ops->write(store->io.io, first->phys << STORE_BLOCK_BITS, bytes,
                                          (size_t)count * STORE_BLOCK);
        if (result < 0)
            return result;
        i += count;
    }
    return 0;
}

// A sync that failed may have lost what it was to keep: there is no second try.
static int sync_file(Store *store)
{
    int result = store->io.ops->sync(store->io.io);
    return result == -ENOSPC || result == -EAGAIN ? -EIO : result;
}

static int write_transaction(Store *store, const StoreTransaction *t)
{
    int result = write_blocks(store, t->blocks);
    if (result == 0)
        result = sync_file(store);
    if (result == 0)
        result = store->io.ops->write(store->io.io, t->root_phys << STORE_BLOCK_BITS, t->root,
                                      STORE_BLOCK);
    return result == 0 ? sync_file(store) : result;
}

// Room that is missing can be made: the transaction is kept and tried again. Anything else ends
// all writing; the file stays as of the last root record.
static int write_out(Store *store)
{
    while (!g_queue_is_empty(&store->unwritten)) {
        StoreTransaction *t = g_queue_peek_head(&store->unwritten);
        int result = store->error ? store->error : write_transaction(store, t);
        g_mutex_lock(&store->mutex);
        if (result == 0)
            store->durable = t->txn;
        else if (result != -ENOSPC && !store->error) {
            store->error = result;
            g_warning("snapshot store '%s' cannot be written (%s): it stays as it was committed "
                      "last", store->path, g_strerror(-result));
        }
        g_cond_broadcast(&store->changed);
        store_cache_trim(store);
        g_mutex_unlock(&store->mutex);
        if (result < 0)
            return result;
        free_transaction(g_queue_pop_head(&store->unwritten));
    }
    return 0;
}

int store_commit_now(Store *store, bool sync)
{
    g_mutex_lock(&store->commit_lock);
    int result = write_out(store);
    g_mutex_lock(&store->mutex);
    if (result == 0)
        result = store->error;
    bool dirty = store->dirty;
    if (result == 0 && dirty) {
        StoreTransaction *t;
        result = close_transaction(store, &t);
        if (result == 0)
            g_queue_push_tail(&store->unwritten, t);
        else if (result != -ENOSPC)
            store->error = result;
    }
    g_mutex_unlock(&store->mutex);
    if (result == 0)
        result = dirty ? write_out(store) : sync ? sync_file(store) : 0;
    store_space_release(store);
    if (result == 0 && store->options.reserve) {
        g_mutex_lock(&store->mutex);
        store_reserve_fill(store);
        g_mutex_unlock(&store->mutex);
    }
    g_mutex_unlock(&store->commit_lock);
    return result;
}

void store_commit_give_up(Store *store)
{
    while (!g_queue_is_empty(&store->unwritten))
        free_transaction(g_queue_pop_head(&store->unwritten));
}
