// SPDX-License-Identifier: GPL-2.0-or-later
// See auto-snapshots.h. What a node has for itself grows when its neighbours go, because what they
// shared with it alone is its own then; so sizes are asked for anew after each.
#include "engine/auto-snapshots.h"

#include <gio/gio.h>

struct AutoSnapshots {
    LiveSnapshots *live;
    Lifecycle *lifecycle;
    Store *store;
    SnapshotsObject *object;
    bool memory;
    uint64_t budget;
    guint timer;
    bool busy;
    GThreadPool *pool; // one thread: takes of disks, and trimming
};

typedef struct {
    AutoSnapshots *autos;
    char *name;     // of one to be taken without memory; NULL: it was taken
    StoreNodeId id; // the one that was taken
} Job;

// ---- Room ----

static bool is_ours(const StoreNode *node, StoreNodeId keep)
{
    return node->automatic && !node->is_protected && !node->in_bin && node->id != keep;
}

bool auto_snapshots_trim(Store *store, uint64_t budget, StoreNodeId keep, GError **error)
{
    for (;;) {
        g_autoptr(GPtrArray) nodes = store_node_list(store);
        const StoreNode *oldest = NULL;
        uint64_t total = 0;
        for (guint i = 0; i < nodes->len; i++) {
            const StoreNode *node = nodes->pdata[i];
            StoreSize size;
            if (!is_ours(node, keep))
                continue;
            if (!store_node_size(store, node->id, &size, error))
                return false;
            total += size.own;
            if (!oldest || node->time < oldest->time)
                oldest = node;
        }
        if (!oldest || total <= budget)
            return true;
        g_info("the automatic snapshot '%s' goes: all of them take up %" G_GUINT64_FORMAT " MiB",
               oldest->name, total >> 20);
        if (!store_delete(store, oldest->id, error) || !store_purge(store, oldest->id, error))
            return false;
    }
}

// ---- Jobs ----

static gboolean job_done(gpointer data)
{
    AutoSnapshots *autos = data;
    autos->busy = false;
    snapshots_object_changed(autos->object);
    return G_SOURCE_REMOVE;
}

static void work(gpointer data, gpointer user_data)
{
    Job *job = data;
    AutoSnapshots *autos = job->autos;
    g_autoptr(GError) error = NULL;
    StoreTake take = { .name = job->name, .automatic = true, .time = g_get_real_time() };
    if ((job->name && !store_take(autos->store, &take, &job->id, &error)) ||
        !auto_snapshots_trim(autos->store, autos->budget, job->id, &error))
        g_warning("no automatic snapshot: %s", error->message);
    g_free(job->name);
    g_free(job);
    g_idle_add(job_done, autos);
}

static void push(AutoSnapshots *autos, const char *name, StoreNodeId id)
{
    Job *job = g_new0(Job, 1);
    *job = (Job){ autos, g_strdup(name), id };
    g_thread_pool_push(autos->pool, job, NULL);
}

static void taken(void *opaque, StoreNodeId id, const GError *error)
{
    AutoSnapshots *autos = opaque;
    if (!error) {
        push(autos, NULL, id);
        return;
    }
    g_info("no automatic snapshot this time: %s", error->message);
    autos->busy = false;
}

static gboolean due(gpointer data)
{
    AutoSnapshots *autos = data;
    // A paused guest does nothing that is worth another one.
    if (autos->busy || lifecycle_state(autos->lifecycle) != LIFECYCLE_RUNNING)
        return G_SOURCE_CONTINUE;
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *name = g_date_time_format(now, "Automatic, %Y-%m-%d %H:%M");
    StoreTake take = { .name = name, .automatic = true, .time = g_get_real_time() };
    autos->busy = true;
    if (autos->memory)
        live_snapshots_take(autos->live, &take, taken, autos);
    else
        push(autos, name, STORE_CURRENT);
    return G_SOURCE_CONTINUE;
}

// ---- Life ----

// Milliseconds.
static guint minute(void)
{
    const char *text = g_getenv("LODGE_SNAPSHOT_MINUTE");
    guint64 length;
    bool given = text && g_ascii_string_to_unsigned(text, 10, 1, 60000, &length, NULL);
    return given ? (guint)length : 60000;
}

static guint start_timer(AutoSnapshots *autos, guint minutes)
{
    uint64_t milliseconds = (uint64_t)minutes * minute();
    return milliseconds < 60000 ? g_timeout_add((guint)milliseconds, due, autos)
                                : g_timeout_add_seconds((guint)(milliseconds / 1000), due, autos);
}

AutoSnapshots *auto_snapshots_new(LiveSnapshots *live, Lifecycle *lifecycle, Store *store,
                                  SnapshotsObject *object)
{
    const Config *config = machine_config(lifecycle_machine(lifecycle));
    int64_t minutes = config_integer(config, "snapshots.interval");
    if (minutes == 0)
        return NULL;
    AutoSnapshots *autos = g_new0(AutoSnapshots, 1);
    autos->live = live;
    autos->lifecycle = lifecycle;
    autos->store = store;
    autos->object = object;
    autos->memory = config_boolean(config, "snapshots.memory");
    autos->budget = (uint64_t)config_integer(config, "snapshots.budget");
    autos->pool = g_thread_pool_new(work, NULL, 1, FALSE, NULL);
    autos->timer = start_timer(autos, (guint)minutes);
    return autos;
}

void auto_snapshots_free(AutoSnapshots *autos)
{
    if (!autos)
        return;
    g_source_remove(autos->timer);
    g_thread_pool_free(autos->pool, FALSE, TRUE);
    while (g_idle_remove_by_data(autos))
        ;
    g_free(autos);
}
