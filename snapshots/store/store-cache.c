// SPDX-License-Identifier: GPL-2.0-or-later
// Metadata blocks in memory, by their place in the file. Clean ones are kept in the order of their
// last use and forgotten beyond a limit; dirty ones wait for the open transaction's end. A block
// whose checksum, level or kind is not what its reference says is never used.
#include "snapshots/store/store-private.h"

#include <errno.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define CACHE_BLOCKS 32768u // 128 MiB: the leaves of 64 GiB of scattered data

static gpointer key_of(uint64_t phys)
{
    return GSIZE_TO_POINTER(phys);
}

void store_cache_init(StoreCache *cache)
{
    cache->blocks = g_hash_table_new(g_direct_hash, g_direct_equal);
    g_queue_init(&cache->clean);
    g_queue_init(&cache->dirty);
    cache->limit = CACHE_BLOCKS;
}

void store_cache_clear(StoreCache *cache)
{
    GHashTableIter iter;
    gpointer value;
    if (!cache->blocks)
        return;
    g_hash_table_iter_init(&iter, cache->blocks);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_free(value);
    g_hash_table_unref(cache->blocks);
    cache->blocks = NULL;
}

uint64_t store_checksum(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

static StoreBlock *insert(Store *store, uint64_t phys, unsigned level, StoreTreeClass tree_class)
{
    StoreBlock *block = g_new(StoreBlock, 1);
    memset(block, 0, offsetof(StoreBlock, leaf));
    block->link.data = block;
    block->phys = phys;
    block->level = (uint8_t)level;
    block->tree_class = (uint8_t)tree_class;
    g_hash_table_insert(store->cache.blocks, key_of(phys), block);
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
    if (store_checksum(bytes, sizeof bytes) != pointer.checksum)
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
    StoreBlock *block = g_hash_table_lookup(store->cache.blocks,
                                            key_of(entry_block(pointer.entry)));
    if (!block)
        return cached_only ? -EAGAIN : load(store, pointer, level, tree_class, ret_block);
    if (block->level != level || block->tree_class != tree_class)
        return -EBADMSG;
    if (!block->dirty && store->cache.clean.tail != &block->link) {
        g_queue_unlink(&store->cache.clean, &block->link);
        g_queue_push_tail_link(&store->cache.clean, &block->link);
    }
    *ret_block = block;
    return 0;
}

StoreBlock *store_cache_new(Store *store, uint64_t phys, unsigned level, StoreTreeClass tree_class)
{
    StoreBlock *block = insert(store, phys, level, tree_class);
    block->dirty = true;
    block->txn = store->txn;
    g_queue_push_tail_link(&store->cache.dirty, &block->link);
    store_mark_dirty(store);
    return block;
}

static void forget(StoreCache *cache, StoreBlock *block)
{
    g_queue_unlink(block->dirty ? &cache->dirty : &cache->clean, &block->link);
    g_hash_table_remove(cache->blocks, key_of(block->phys));
    g_free(block);
}

void store_cache_drop(Store *store, uint64_t phys)
{
    StoreBlock *block = g_hash_table_lookup(store->cache.blocks, key_of(phys));
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
    GList *link = cache->clean.head;
    while (link && cache->clean.length > cache->limit) {
        StoreBlock *block = link->data;
        link = link->next;
        if (block->txn <= store->durable)
            forget(cache, block);
    }
}
