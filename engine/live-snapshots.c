// SPDX-License-Identifier: GPL-2.0-or-later
// See live-snapshots.h. A take is a capture (machine-capture.h) into the store (store-taking.h),
// one at a time; going to a node is done at once, with the machine standing still.
#include "engine/live-snapshots.h"

#include "engine/store-state.h"
#include "engine/store-taking.h"
#include "engine/thumbnail.h"

#include <gio/gio.h>
#include <string.h>

struct LiveSnapshots {
    Lifecycle *lifecycle;
    Store *store;
    SnapshotsObject *object;
    StoreTaking *taking; // NULL: none under way
    void (*done)(void *opaque, StoreNodeId id, const GError *error);
    void *done_opaque;
};

typedef struct {
    LiveSnapshots *live;
    StoreNodeId id, kept;
    const StoreTake *keep; // or NULL
} Journey;

// ---- Take ----

// The screen in small; NULL where there is none.
static GBytes *make_thumbnail(LiveSnapshots *live)
{
    DisplayPicture picture;
    if (!machine_picture(lifecycle_machine(live->lifecycle), &picture))
        return NULL;
    g_autoptr(GError) error = NULL;
    GBytes *png = thumbnail_png(&picture, &error);
    if (!png)
        g_info("no thumbnail: %s", error->message);
    g_free(picture.rgb);
    return png;
}

static bool freeze(void *opaque, GError **error)
{
    return store_taking_freeze(((LiveSnapshots *)opaque)->taking, error);
}

static void progress(void *opaque, double fraction)
{
    LiveSnapshots *live = opaque;
    const Config *config = machine_config(lifecycle_machine(live->lifecycle));
    uint64_t total = (uint64_t)config_integer(config, "memory.size");
    snapshots_object_progress(live->object, (uint64_t)((double)total * fraction), total);
}

static void taken(void *opaque, const GError *error, const MachineCaptureStats *stats)
{
    LiveSnapshots *live = opaque;
    g_autoptr(StoreTaking) taking = g_steal_pointer(&live->taking);
    if (!error)
        g_info("snapshot %" G_GUINT64_FORMAT " with memory in %" G_GINT64_FORMAT " ms: the guest "
               "stood still for %.1f ms, %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
               " MiB were new", store_taking_id(taking), stats->duration / 1000,
               (double)stats->longest_pause / 1000.0, store_taking_written(taking) >> 20,
               stats->bytes >> 20);
    live->done(live->done_opaque, store_taking_id(taking), error);
}

void live_snapshots_take(LiveSnapshots *live, const StoreTake *take,
                         void (*done)(void *opaque, StoreNodeId id, const GError *error),
                         void *opaque)
{
    g_autoptr(GError) error = NULL;
    if (live->taking) {
        error = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                                    "a snapshot is being taken already; wait until it is done, or "
                                    "cancel it");
        done(opaque, STORE_CURRENT, error);
        return;
    }
    g_autoptr(GBytes) png = make_thumbnail(live);
    live->taking = store_taking_new(live->store, take, png);
    live->done = done;
    live->done_opaque = opaque;
    MachineCaptureConfig config = {
        .sink = store_taking_sink(live->taking),
        .freeze = freeze,
        .progress = progress,
        .done = taken,
        .opaque = live,
    };
    if (lifecycle_capture(live->lifecycle, &config, &error))
        return;
    g_clear_pointer(&live->taking, store_taking_free);
    done(opaque, STORE_CURRENT, error);
}

static void answer_take(void *opaque, StoreNodeId id, const GError *error)
{
    snapshots_call_end(opaque, error ? NULL : g_variant_new("(t)", id), error);
}

static bool serve_take(LiveSnapshots *live, SnapshotsCall *call, GVariant *arguments)
{
    StoreTake take = { .time = g_get_real_time() };
    gboolean memory;
    g_variant_get(arguments, "(&s&sb)", &take.name, &take.note, &memory);
    LifecycleState state = lifecycle_state(live->lifecycle);
    bool is_on = state == LIFECYCLE_RUNNING || state == LIFECYCLE_PAUSED ||
                 state == LIFECYCLE_STOPPING;
    if (memory && is_on)
        live_snapshots_take(live, &take, answer_take, call);
    return memory && is_on;
}

// ---- Go to ----

static bool swap(void *opaque, GError **error)
{
    Journey *journey = opaque;
    return store_goto(journey->live->store, journey->id, journey->keep, &journey->kept, error);
}

// Before anything is given up for it: whether the machine can be what it was.
static bool check_memory(LiveSnapshots *live, StoreNodeId id, GError **error)
{
    g_autoptr(GBytes) form = store_blob_get(live->store, id, STORE_DEVICE_STATE, error);
    if (form && machine_fits_form(lifecycle_machine(live->lifecycle), form, error))
        return true;
    g_prefix_error(error, "the running machine cannot go there: ");
    return false;
}

static bool go_to(LiveSnapshots *live, Journey *journey, GError **error)
{
    g_autoptr(StoreNode) node = store_node_get(live->store, journey->id, error);
    if (!node || (node->has_memory && !check_memory(live, journey->id, error)))
        return false;
    return lifecycle_go_to(live->lifecycle, swap, journey, node->has_memory, error);
}

static bool serve_go_to(LiveSnapshots *live, SnapshotsCall *call, GVariant *arguments)
{
    StoreTake keep = { .time = g_get_real_time() };
    Journey journey = { .live = live };
    g_autoptr(GError) error = NULL;
    g_variant_get(arguments, "(t&s)", &journey.id, &keep.name);
    journey.keep = *keep.name ? &keep : NULL;
    bool done = go_to(live, &journey, &error);
    snapshots_call_end(call, done ? g_variant_new("(t)", journey.kept) : NULL, error);
    return true;
}

// ---- Public ----

bool live_snapshots_serve(void *opaque, SnapshotsCall *call, const char *method,
                          GVariant *arguments)
{
    if (strcmp(method, "Take") == 0)
        return serve_take(opaque, call, arguments);
    return strcmp(method, "GoTo") == 0 && serve_go_to(opaque, call, arguments);
}

void live_snapshots_cancel(void *opaque)
{
    lifecycle_cancel_capture(((LiveSnapshots *)opaque)->lifecycle);
}

LiveSnapshots *live_snapshots_new(Lifecycle *lifecycle, Store *store)
{
    LiveSnapshots *live = g_new0(LiveSnapshots, 1);
    live->lifecycle = lifecycle;
    live->store = store;
    return live;
}

void live_snapshots_set_object(LiveSnapshots *live, SnapshotsObject *object)
{
    live->object = object;
}

void live_snapshots_free(LiveSnapshots *live)
{
    if (!live)
        return;
    store_taking_free(live->taking);
    g_free(live);
}
