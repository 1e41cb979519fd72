// SPDX-License-Identifier: GPL-2.0-or-later
// The store's one thread: commits for flushes, requests whose maps must be read first, discards,
// and the freeing of what deleted nodes had, in slices between the others. Also closes a
// transaction that has been open for long, so that a killed engine loses little that was never
// flushed.
#include "snapshots/store/store-private.h"

#include <errno.h>

#define COMMIT_INTERVAL (5 * G_TIME_SPAN_SECOND)
#define PURGE_INTERVAL  (250 * G_TIME_SPAN_MILLISECOND) // of freeing between commits, at most
#define PURGE_GROUPS    20u                             // changed groups that end it sooner

bool store_has_purge(const Store *store)
{
    if (store->error)
        return false;
    if (store->purge.record)
        return true;
    for (unsigned i = 0; i < store->order->len; i++) {
        const StoreRecord *record = store->order->pdata[i];
        if (record->flags & NODE_PURGING && record->open_devices == 0)
            return true;
    }
    return false;
}

// Slices until a commit is due. Without the mutex. 0 or -errno.
static int purge_some(Store *store)
{
    int64_t end = g_get_monotonic_time() + PURGE_INTERVAL;
    bool more = true, stop = false;
    int result = 0;
    while (result == 0 && more && !stop) {
        g_mutex_lock(&store->mutex);
        result = store_space_ensure(store, 2 * store->space.dirty_groups + 48);
        if (result == 0)
            result = store_purge_slice(store, &more);
        store_cache_trim(store);
        stop = store->jobs.length || store->closing || store->space.dirty_groups > PURGE_GROUPS ||
               g_get_monotonic_time() > end;
        g_mutex_unlock(&store->mutex);
    }
    int committed = store_commit_now(store, false);
    return result < 0 ? result : committed;
}

static void purge(Store *store)
{
    int result = purge_some(store);
    g_mutex_lock(&store->mutex);
    store->purge_failed = result < 0;
    g_mutex_unlock(&store->mutex);
    store_retry_waiting(store);
    g_mutex_lock(&store->mutex);
    if (result < 0 && result != -ENOSPC && store->purge.record) {
        // Its map cannot be read: what it had stays used, a check can tell.
        g_warning("snapshot store '%s': the space of node %" G_GUINT64_FORMAT " cannot be freed: "
                  "%s", store->path, store->purge.record->id, g_strerror(-result));
    }
    g_cond_broadcast(&store->changed);
    g_mutex_unlock(&store->mutex);
}

int store_purge_all(Store *store)
{
    int result = 0;
    while (result == 0) {
        g_mutex_lock(&store->mutex);
        bool more = store_has_purge(store);
        g_mutex_unlock(&store->mutex);
        if (!more)
            break;
        result = purge_some(store);
    }
    return result;
}

static gpointer worker_thread(gpointer data)
{
    Store *store = data;
    int64_t last_commit = g_get_monotonic_time(), next_purge = 0;
    g_mutex_lock(&store->mutex);
    for (;;) {
        StoreJob *job = g_queue_pop_head(&store->jobs);
        bool freeing = !job && !store->closing && g_get_monotonic_time() >= next_purge &&
                       store_has_purge(store);
        bool old = !job && !freeing && store->dirty && !store->error &&
                   g_get_monotonic_time() - last_commit > COMMIT_INTERVAL;
        if (!job && store->closing)
            break;
        if (!job && !freeing && !old) {
            g_cond_wait_until(&store->work, &store->mutex,
                              g_get_monotonic_time() + COMMIT_INTERVAL);
            continue;
        }
        g_mutex_unlock(&store->mutex);
        if (job)
            job->run(store, job->data);
        else if (freeing)
            purge(store);
        else
            store_commit_now(store, false);
        g_free(job);
        if (!job)
            last_commit = g_get_monotonic_time();
        g_mutex_lock(&store->mutex);
        if (freeing) // what could not be freed is tried again, but not at once
            next_purge = store->purge_failed ? last_commit + COMMIT_INTERVAL : 0;
    }
    g_mutex_unlock(&store->mutex);
    return NULL;
}

void store_worker_start(Store *store)
{
    store->worker = g_thread_new("store", worker_thread, store);
}

void store_worker_stop(Store *store)
{
    if (!store->worker)
        return;
    g_mutex_lock(&store->mutex);
    store->closing = true;
    g_cond_broadcast(&store->work);
    g_mutex_unlock(&store->mutex);
    g_thread_join(g_steal_pointer(&store->worker));
}

void store_worker_push(Store *store, void (*run)(Store *store, void *data), void *data)
{
    if (!store->worker) {
        run(store, data);
        return;
    }
    StoreJob *job = g_new(StoreJob, 1);
    *job = (StoreJob){ run, data };
    g_mutex_lock(&store->mutex);
    g_queue_push_tail(&store->jobs, job);
    g_cond_signal(&store->work);
    g_mutex_unlock(&store->mutex);
}

void store_worker_wake(Store *store)
{
    g_cond_broadcast(&store->work);
}
