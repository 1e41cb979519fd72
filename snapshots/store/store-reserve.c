// SPDX-License-Identifier: GPL-2.0-or-later
// Room that guests' disks leave alone (StoreOpen.reserve), so that a machine whose disk found no
// more can still be saved: clusters that the file system has promised, busy, in no map. Volumes
// other than disks are written there once the store is full. What was used is promised again with a
// later commit; what is left is given back at the end. After a crash it is free room like any.
#include "snapshots/store/store-private.h"

#include <errno.h>

#define RUN_BLOCKS 512u // 2 MiB

typedef struct {
    uint64_t phys, count;
} Run;

uint64_t store_reserve_left(const Store *store)
{
    uint64_t blocks = 0;
    for (unsigned i = 0; store->reserve && i < store->reserve->len; i++)
        blocks += g_array_index(store->reserve, Run, i).count;
    return blocks;
}

void store_reserve_fill(Store *store)
{
    uint64_t want = store->options.reserve >> STORE_BLOCK_BITS;
    if (!want || store->read_only || store->full || store->closing)
        return;
    if (!store->reserve)
        store->reserve = g_array_new(FALSE, FALSE, sizeof(Run));
    // What is missing stays so until the next commit.
    while (store_reserve_left(store) < want) {
        Run run = { 0, RUN_BLOCKS };
        if (store_space_promise(store, run.count, &run.phys) < 0)
            break;
        g_array_append_val(store->reserve, run);
    }
}

bool store_reserve_is_for(Store *store, uint32_t volume)
{
    const StoreVolumeRecord *record = store_volume_by_id(store, volume);
    return record && record->kind != STORE_DISK && store_reserve_left(store) > 0;
}

int store_reserve_take(Store *store, uint64_t want, uint64_t *ret_phys, uint64_t *ret_count)
{
    if (!store->reserve || !store->reserve->len)
        return -ENOSPC;
    Run *last = &g_array_index(store->reserve, Run, store->reserve->len - 1);
    uint64_t count = MIN(want, last->count);
    *ret_phys = last->phys;
    *ret_count = count;
    last->phys += count;
    last->count -= count;
    if (!last->count)
        g_array_set_size(store->reserve, store->reserve->len - 1);
    return 0;
}

void store_reserve_drop(Store *store)
{
    for (unsigned i = 0; store->reserve && i < store->reserve->len; i++) {
        const Run *run = &g_array_index(store->reserve, Run, i);
        store->io.ops->punch(store->io.io, run->phys << STORE_BLOCK_BITS,
                             run->count << STORE_BLOCK_BITS);
        store_space_give_back(store, run->phys, run->count);
    }
    g_clear_pointer(&store->reserve, g_array_unref);
}

void store_reserve_release(Store *store)
{
    g_mutex_lock(&store->mutex);
    store_reserve_drop(store);
    store->options.reserve = 0;
    g_mutex_unlock(&store->mutex);
}
