// SPDX-License-Identifier: GPL-2.0-or-later
// What a node costs, and what an operation would cost. Sizes come from walks over what is unique
// (store-walk.c) and are kept until the tree, or a neighbour that is written, changes.
#include "snapshots/store/store-private.h"

// Records, their paths and a root, generously.
#define OPERATION_BYTES (16u * STORE_BLOCK)

static uint64_t key_for(Store *store, StoreRecord *record)
{
    bool live = record == store->current || record == store->pending;
    g_autoptr(GPtrArray) neighbours = store_neighbours(store, record, true);
    for (unsigned i = 0; i < neighbours->len && !live; i++)
        live = neighbours->pdata[i] == store->current || neighbours->pdata[i] == store->pending;
    return store->tree_version << 32 | (live ? store->txn & UINT32_MAX : 0);
}

// With the mutex, which is let go in between; the record stays.
static int measure(Store *store, StoreRecord *record)
{
    uint64_t key = key_for(store, record), mapped = 0, own, own_data;
    if (record->size_key == key && record != store->current)
        return 0;
    record->open_devices++;
    int result = store_walk_own(store, record, &own, &own_data);
    record->open_devices--;
    store_worker_wake(store);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < record->slot_count; i++)
        mapped += record->slots[i].mapped * STORE_BLOCK;
    record->size = (StoreSize){ own, mapped > own_data ? mapped - own_data : 0 };
    record->size_key = key;
    return 0;
}

bool store_node_size(Store *store, StoreNodeId id, StoreSize *ret_size, GError **error)
{
    int result = 0;
    g_mutex_lock(&store->mutex);
    StoreRecord *record = id == STORE_CURRENT ? store->current : store_record_find(store, id);
    if (record) {
        result = measure(store, record);
        if (result == 0)
            *ret_size = record->size;
    }
    g_mutex_unlock(&store->mutex);
    if (!record) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no snapshot %" G_GUINT64_FORMAT ": list the snapshots", id);
        return false;
    }
    return result == 0 || store_set_errno(error, store, "cannot be measured", result);
}

bool store_forecast_take(Store *store, uint64_t memory_bytes, StoreForecast *ret, GError **error)
{
    *ret = (StoreForecast){ .needs = memory_bytes + OPERATION_BYTES };
    return true;
}

bool store_forecast_goto(Store *store, StoreNodeId id, StoreForecast *ret, GError **error)
{
    StoreSize current, target;
    if (!store_node_size(store, id, &target, error) ||
        !store_node_size(store, STORE_CURRENT, &current, error))
        return false;
    *ret = (StoreForecast){ OPERATION_BYTES, current.own, current.own };
    return true;
}

bool store_forecast_delete(Store *store, StoreNodeId id, StoreForecast *ret, GError **error)
{
    StoreSize size;
    if (!store_node_size(store, id, &size, error))
        return false;
    *ret = (StoreForecast){ OPERATION_BYTES, size.own, 0 };
    return true;
}
