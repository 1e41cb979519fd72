// SPDX-License-Identifier: GPL-2.0-or-later
// Metadata blocks in memory, by their place in the file. Clean ones stand in a queue and are
// forgotten beyond a limit, those that were used lately at the second look; dirty ones wait for
// the open transaction's end. A block whose checksum, level or kind is not what its reference says
// is never used.
#include "snapshots/store/store-private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define CACHE_BLOCKS 32768u // 128 MiB: the leaves of 64 GiB of scattered data

#define BUCKETS      (1u << 16)
#define PLAIN_BLOCKS 128u // of a small store
#define ARENA_BYTES  (2u * 1024 * 1024)

// Neighbouring blocks are common, and fall into neighbouring buckets.
static StoreBlock **bucket_of(const StoreCache *cache, uint64_t phys)
{
    return &cache->buckets[(phys ^ phys >> 16) & (BUCKETS - 1)];
}

static StoreBlock *lookup(const StoreCache *cache, uint64_t phys)
{
    StoreBlock *block = *bucket_of(cache, phys);
    while (block && block->phys != phys)
        block = block->next;
    return block;
}

// A store of some size has thousands of blocks, looked at in no order: on large pages each look
// misses the TLB less often.
static StoreBlock *new_block(StoreCache *cache)
{
    StoreBlock *block;
    void *arena;
    if (!cache->unused && cache->plain < PLAIN_BLOCKS) {
        block = g_new(StoreBlock, 1);
        memset(block, 0, offsetof(StoreBlock, leaf));
        block->plain = true;
        cache->plain++;
        return block;
    }
    if (!cache->unused) {
        if (posix_memalign(&arena, ARENA_BYTES, ARENA_BYTES))
            g_error("no memory for %u bytes", ARENA_BYTES);
        madvise(arena, ARENA_BYTES, MADV_HUGEPAGE); // a hint
        g_ptr_array_add(cache->arenas, arena);
        for (unsigned i = 0; i < ARENA_BYTES / sizeof(StoreBlock); i++) {
            block = (StoreBlock *)arena + i;
            block->next = cache->unused;
            cache->unused = block;
        }
    }
    block = cache->unused;
    cache->unused = block->next;
    memset(block, 0, offsetof(StoreBlock, leaf));
    return block;
}

static void free_block(StoreCache *cache, StoreBlock *block)
{
    if (block->plain) {
        cache->plain--;
        g_free(block);
        return;
    }
    block->next = cache->unused;
    cache->unused = block;
}

void store_cache_init(StoreCache *cache)
{
    cache->buckets = g_new0(StoreBlock *, BUCKETS);
    cache->hints = g_new0(StoreHint, STORE_HINTS);
    cache->version = 1;
    cache->arenas = g_ptr_array_new_with_free_func(free);
    g_queue_init(&cache->clean);
    g_queue_init(&cache->dirty);
    cache->limit = CACHE_BLOCKS;
}

void store_cache_clear(StoreCache *cache)
{
    GQueue *queues[] = { &cache->clean, &cache->dirty };
    for (unsigned i = 0; i < G_N_ELEMENTS(queues); i++) {
        while (queues[i]->head)
            free_block(cache, g_queue_pop_head_link(queues[i])->data);
    }
    g_clear_pointer(&cache->arenas, g_ptr_array_unref);
    g_clear_pointer(&cache->buckets, g_free);
    g_clear_pointer(&cache->hints, g_free);
}

uint64_t store_checksum(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

static StoreBlock *insert(Store *store, uint64_t phys, unsigned level, StoreTreeClass tree_class)
{
    StoreBlock *block = new_block(&store->cache);
    block->link.data = block;
    block->phys = phys;
    block->level = (uint8_t)level;
    block->tree_class = (uint8_t)tree_class;
    StoreBlock **bucket = bucket_of(&store->cache, phys);
    block->next = *bucket;
    *bucket = block;
    return block;
}

static int load(Store *store, StorePointer pointer, unsigned level, StoreTreeClass tree_class,
                StoreBlock **ret_block)
{
    uint64_t phys = entry_block(pointer.entry);
    uint8_t bytes[STORE_BLOCK];
    if (store->space.loaded && !store_space_is_meta(store, phys))
        return -EBADMSG;
    int result = store->io.ops->read(store->io.io, phys << STORE_BLOCK_BITS, bytes, sizeof bytes);
    if (result < 0)
        return result;
    if (!store->io.unchecked && store_checksum(bytes, sizeof bytes) != pointer.checksum)
        return -EBADMSG;
    StoreBlock *block = insert(store, phys, level, tree_class);
    memcpy(block->bytes, bytes, sizeof bytes);
    g_queue_push_tail_link(&store->cache.clean, &block->link);
    *ret_block = block;
    return 0;
}

int store_cache_get(Store *store, StorePointer pointer, unsigned level, StoreTreeClass tree_class,
                    bool cached_only, StoreBlock **ret_block)
{
    StoreBlock *block = lookup(&store->cache, entry_block(pointer.entry));
    if (!block)
        return cached_only ? -EAGAIN : load(store, pointer, level, tree_class, ret_block);
    if (block->level != level || block->tree_class != tree_class)
        return -EBADMSG;
    if (!block->recent)
        block->recent = true;
    *ret_block = block;
    return 0;
}

StoreBlock *store_cache_new(Store *store, uint64_t phys, unsigned level, StoreTreeClass tree_class)
{
    StoreBlock *block = insert(store, phys, level, tree_class);
    block->dirty = true;
    block->txn = store->txn;
    store->cache.version++;
    g_queue_push_tail_link(&store->cache.dirty, &block->link);
    store_mark_dirty(store);
    return block;
}

static void forget(StoreCache *cache, StoreBlock *block)
{
    cache->version++;
    g_queue_unlink(block->dirty ? &cache->dirty : &cache->clean, &block->link);
    StoreBlock **at = bucket_of(cache, block->phys);
    while (*at != block)
        at = &(*at)->next;
    *at = block->next;
    free_block(cache, block);
}

void store_cache_drop(Store *store, uint64_t phys)
{
    StoreBlock *block = lookup(&store->cache, phys);
    if (block)
        forget(&store->cache, block);
}

void store_cache_clean(Store *store, StoreBlock *block)
{
    g_queue_unlink(&store->cache.dirty, &block->link);
    block->dirty = false;
    block->sealed = false;
    block->parent = NULL;
    block->root = NULL;
    g_queue_push_tail_link(&store->cache.clean, &block->link);
}

// Those that are not in the file yet stay: they could not be read back.
void store_cache_trim(Store *store)
{
    StoreCache *cache = &store->cache;
    unsigned looks = 2 * cache->clean.length;
    while (cache->clean.length > cache->limit && looks--) {
        StoreBlock *block = cache->clean.head->data;
        if (!block->recent && block->txn <= store->durable) {
            forget(cache, block);
            continue;
        }
        block->recent = false;
        g_queue_unlink(&cache->clean, &block->link);
        g_queue_push_tail_link(&cache->clean, &block->link);
    }
}
