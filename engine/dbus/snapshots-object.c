// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshots-object.h and data/dbus/org.lodge.Snapshots1.xml. Every method is one row of a
// table: a function from its arguments to its results that may block. The interface's description
// is the generated one; arguments arrive as it declares them, but their values are a caller's and
// are checked by the store.
#include "engine/dbus/snapshots-object.h"

#include "data/dbus/lodge-snapshots1.h"
#include "engine/dbus/errors.h"

#include <string.h>

#define INTERFACE "org.lodge.Snapshots1"
#define CALLS_AT_ONCE 4
#define PROGRESS_INTERVAL_US (200 * 1000)

struct SnapshotsObject {
    GDBusConnection *connection;
    Store *store;
    SnapshotsObjectHooks hooks;
    guint registration;
    GThreadPool *pool;
    GPtrArray *calls; // SnapshotsCall, under way; main thread only
    gint cloning;     // atomic: at most one
};

// Results, NULL where there are none; on failure error is set.
typedef GVariant *(*Work)(SnapshotsCall *call, GVariant *arguments, GError **error);

typedef struct {
    const char *name;
    Work work;
    bool changes; // TreeChanged is due behind it
} Method;

struct SnapshotsCall {
    SnapshotsObject *object;
    const Method *method;
    GDBusMethodInvocation *invocation;
    GCancellable *cancellable; // by Cancel: gives up what is not done
    gint64 progress_at;        // us, when it was told; the call's thread only
    GVariant *results;
    GError *error;
};

// ---- Reading ----

static GVariant *node_dictionary(SnapshotsObject *object, const StoreNode *node)
{
    GVariantBuilder b;
    StoreSize size = { 0 };
    store_node_size(object->store, node->id, &size, NULL);
    g_variant_builder_init(&b, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&b, "{sv}", "id", g_variant_new_uint64(node->id));
    g_variant_builder_add(&b, "{sv}", "parent", g_variant_new_uint64(node->parent));
    g_variant_builder_add(&b, "{sv}", "name", g_variant_new_string(node->name));
    g_variant_builder_add(&b, "{sv}", "note", g_variant_new_string(node->note ? node->note : ""));
    g_variant_builder_add(&b, "{sv}", "time", g_variant_new_int64(node->time));
    g_variant_builder_add(&b, "{sv}", "protected", g_variant_new_boolean(node->is_protected));
    g_variant_builder_add(&b, "{sv}", "in-bin", g_variant_new_boolean(node->in_bin));
    g_variant_builder_add(&b, "{sv}", "automatic", g_variant_new_boolean(node->automatic));
    g_variant_builder_add(&b, "{sv}", "has-memory", g_variant_new_boolean(node->has_memory));
    g_variant_builder_add(&b, "{sv}", "own", g_variant_new_uint64(size.own));
    g_variant_builder_add(&b, "{sv}", "shared", g_variant_new_uint64(size.shared));
    return g_variant_builder_end(&b);
}

static GVariant *list(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    g_autoptr(GPtrArray) nodes = store_node_list(call->object->store);
    GVariantBuilder b;
    g_variant_builder_init(&b, G_VARIANT_TYPE("aa{sv}"));
    for (guint i = 0; i < nodes->len; i++)
        g_variant_builder_add_value(&b, node_dictionary(call->object, nodes->pdata[i]));
    return g_variant_new("(aa{sv})", &b);
}

static GVariant *forecast(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    const char *operation;
    StoreNodeId id;
    StoreForecast f = { 0 };
    bool done;
    g_variant_get(arguments, "(&st)", &operation, &id);
    if (strcmp(operation, "take") == 0) {
        done = store_forecast_take(call->object->store, 0, &f, error);
    } else if (strcmp(operation, "goto") == 0) {
        done = store_forecast_goto(call->object->store, id, &f, error);
    } else if (strcmp(operation, "delete") == 0) {
        done = store_forecast_delete(call->object->store, id, &f, error);
    } else {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%s is not forecast; take, goto and delete are", operation);
        return NULL;
    }
    return done ? g_variant_new("(ttt)", f.needs, f.frees, f.discards) : NULL;
}

static void tell_progress(uint64_t done, uint64_t total, void *opaque)
{
    SnapshotsCall *call = opaque;
    gint64 now = g_get_monotonic_time();
    if (done < total && now - call->progress_at < PROGRESS_INTERVAL_US)
        return;
    call->progress_at = now;
    snapshots_object_progress(call->object, done, total);
}

static bool add_disk_diff(SnapshotsCall *call, const StoreDiff *diff, GVariantBuilder *b,
                          GError **error)
{
    GError *problem = NULL;
    g_autoptr(GArray) ranges = store_diff(call->object->store, diff, &problem);
    if (g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
        g_error_free(problem); // only other nodes have it
        return true;
    }
    if (!ranges) {
        g_propagate_error(error, problem);
        return false;
    }
    g_variant_builder_open(b, G_VARIANT_TYPE("{sa(tt)}"));
    g_variant_builder_add(b, "s", diff->volume);
    g_variant_builder_open(b, G_VARIANT_TYPE("a(tt)"));
    for (guint i = 0; i < ranges->len; i++) {
        const StoreRange *range = &g_array_index(ranges, StoreRange, i);
        g_variant_builder_add(b, "(tt)", range->offset, range->length);
    }
    g_variant_builder_close(b);
    g_variant_builder_close(b);
    return true;
}

static bool check_node(SnapshotsObject *object, StoreNodeId id, GError **error)
{
    StoreNode *node = id == STORE_CURRENT ? NULL : store_node_get(object->store, id, error);
    bool found = id == STORE_CURRENT || node;
    store_node_free(node);
    return found;
}

static GVariant *compare(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreDiff diff = { .progress = tell_progress, .opaque = call,
                       .cancellable = call->cancellable };
    g_variant_get(arguments, "(tt)", &diff.from, &diff.to);
    if (!check_node(call->object, diff.from, error) || !check_node(call->object, diff.to, error))
        return NULL;
    g_autoptr(GPtrArray) volumes = store_volume_list(call->object->store);
    GVariantBuilder b;
    g_variant_builder_init(&b, G_VARIANT_TYPE("a{sa(tt)}"));
    for (guint i = 0; i < volumes->len; i++) {
        const StoreVolume *volume = volumes->pdata[i];
        diff.volume = volume->name;
        if (volume->kind == STORE_DISK && !add_disk_diff(call, &diff, &b, error)) {
            g_variant_builder_clear(&b);
            return NULL;
        }
    }
    return g_variant_new("(a{sa(tt)})", &b);
}

static GVariant *thumbnail(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreNodeId id;
    g_variant_get(arguments, "(t)", &id);
    g_autoptr(GBytes) png = store_blob_get(call->object->store, id, STORE_THUMBNAIL, error);
    if (!png)
        return NULL;
    GVariant *bytes = g_variant_new_from_bytes(G_VARIANT_TYPE("ay"), png, TRUE);
    return g_variant_new("(@ay)", bytes);
}

// ---- Changing ----

static GVariant *take(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreTake take = { .time = g_get_real_time() };
    StoreNodeId id;
    gboolean memory; // a machine that is on sees to it itself
    g_variant_get(arguments, "(&s&sb)", &take.name, &take.note, &memory);
    return store_take(call->object->store, &take, &id, error) ? g_variant_new("(t)", id) : NULL;
}

static GVariant *go_to(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreTake keep = { .time = g_get_real_time() };
    StoreNodeId id, kept = STORE_CURRENT;
    g_variant_get(arguments, "(t&s)", &id, &keep.name);
    bool done = store_goto(call->object->store, id, *keep.name ? &keep : NULL, &kept, error);
    return done ? g_variant_new("(t)", kept) : NULL;
}

static GVariant *discard_state(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    store_remove_state(call->object->store, error);
    return NULL;
}

static GVariant *delete_node(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreNodeId id;
    g_variant_get(arguments, "(t)", &id);
    store_delete(call->object->store, id, error);
    return NULL;
}

static GVariant *undelete(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreNodeId id;
    g_variant_get(arguments, "(t)", &id);
    store_undelete(call->object->store, id, error);
    return NULL;
}

static GVariant *purge(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreNodeId id;
    g_variant_get(arguments, "(t)", &id);
    if (id == STORE_CURRENT)
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "0 is no snapshot; EmptyBin frees all that are in the bin");
    else
        store_purge(call->object->store, id, error);
    return NULL;
}

static GVariant *empty_bin(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    store_purge(call->object->store, STORE_CURRENT, error);
    return NULL;
}

static GVariant *rename_node(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreNodeId id;
    const char *name;
    g_variant_get(arguments, "(t&s)", &id, &name);
    store_rename(call->object->store, id, name, error);
    return NULL;
}

static GVariant *set_note(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreNodeId id;
    const char *note;
    g_variant_get(arguments, "(t&s)", &id, &note);
    store_set_note(call->object->store, id, note, error);
    return NULL;
}

static GVariant *set_protected(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreNodeId id;
    gboolean is_protected;
    g_variant_get(arguments, "(tb)", &id, &is_protected);
    store_set_protected(call->object->store, id, is_protected, error);
    return NULL;
}

static GVariant *clone_store(SnapshotsCall *call, GVariant *arguments, GError **error)
{
    StoreNodeId id;
    const char *path;
    gboolean linked;
    g_variant_get(arguments, "(t&sb)", &id, &path, &linked);
    if (!g_path_is_absolute(path)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%s is not an absolute path", path);
        return NULL;
    }
    if (!g_atomic_int_compare_and_exchange(&call->object->cloning, 0, 1)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                            "a clone is being made already; wait for it or cancel it");
        return NULL;
    }
    if (linked)
        store_clone_linked(call->object->store, id, path, error);
    else
        store_clone_full(call->object->store, id, path, tell_progress, call, call->cancellable,
                         error);
    g_atomic_int_set(&call->object->cloning, 0);
    return NULL;
}

static const Method methods[] = {
    { "List", list, false },
    { "Forecast", forecast, false },
    { "Diff", compare, false },
    { "Thumbnail", thumbnail, false },
    { "Take", take, true },
    { "GoTo", go_to, true },
    { "DiscardState", discard_state, true },
    { "Delete", delete_node, true },
    { "Undelete", undelete, true },
    { "Purge", purge, true },
    { "EmptyBin", empty_bin, true },
    { "Rename", rename_node, true },
    { "SetNote", set_note, true },
    { "SetProtected", set_protected, true },
    { "Clone", clone_store, true }, // takes or protects a node
};

// ---- Calls ----

static void used(SnapshotsObject *object)
{
    if (object->hooks.used)
        object->hooks.used(object->hooks.opaque);
}

void snapshots_object_changed(SnapshotsObject *object)
{
    g_dbus_connection_emit_signal(object->connection, NULL, SNAPSHOTS_OBJECT_PATH, INTERFACE,
                                  "TreeChanged", NULL, NULL);
}

// Main thread, with the results there.
static gboolean finish_call(gpointer data)
{
    SnapshotsCall *call = data;
    SnapshotsObject *object = call->object;
    g_ptr_array_remove_fast(object->calls, call);
    if (call->error) {
        errors_return(call->invocation, call->error);
    } else {
        if (call->method->changes && object->hooks.changed)
            object->hooks.changed(object->hooks.opaque);
        g_dbus_method_invocation_return_value(call->invocation, call->results);
        if (call->method->changes)
            snapshots_object_changed(object);
    }
    g_clear_error(&call->error);
    g_object_unref(call->cancellable);
    g_free(call);
    used(object);
    return G_SOURCE_REMOVE;
}

static void work(gpointer data, gpointer user_data)
{
    SnapshotsCall *call = data;
    GVariant *arguments = g_dbus_method_invocation_get_parameters(call->invocation);
    if (!g_cancellable_set_error_if_cancelled(call->cancellable, &call->error))
        call->results = call->method->work(call, arguments, &call->error);
    g_main_context_invoke(NULL, finish_call, call);
}

static void cancel_calls(SnapshotsObject *object)
{
    for (guint i = 0; i < object->calls->len; i++)
        g_cancellable_cancel(((SnapshotsCall *)object->calls->pdata[i])->cancellable);
}

static void method_call(GDBusConnection *connection, const char *sender, const char *path,
                        const char *interface, const char *name, GVariant *arguments,
                        GDBusMethodInvocation *invocation, gpointer opaque)
{
    SnapshotsObject *object = opaque;
    used(object);
    g_autoptr(GError) error = NULL;
    if (object->hooks.allows &&
        !object->hooks.allows(object->hooks.opaque, name, arguments, &error)) {
        errors_return(invocation, error);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
        if (strcmp(methods[i].name, name) != 0)
            continue;
        SnapshotsCall *call = g_new0(SnapshotsCall, 1);
        call->object = object;
        call->method = &methods[i];
        call->invocation = invocation;
        call->cancellable = g_cancellable_new();
        g_ptr_array_add(object->calls, call);
        if (!object->hooks.serves ||
            !object->hooks.serves(object->hooks.opaque, call, name, arguments))
            g_thread_pool_push(object->pool, call, NULL);
        return;
    }
    if (strcmp(name, "Cancel") == 0) {
        cancel_calls(object);
        if (object->hooks.cancel)
            object->hooks.cancel(object->hooks.opaque);
    } else if (object->hooks.release) { // "Release": there is no other method
        object->hooks.release(object->hooks.opaque);
    }
    g_dbus_method_invocation_return_value(invocation, NULL);
}

static GVariant *get_property(GDBusConnection *connection, const char *sender, const char *path,
                              const char *interface, const char *name, GError **error,
                              gpointer opaque)
{
    SnapshotsObject *object = opaque;
    if (strcmp(name, "Position") == 0)
        return g_variant_new_uint64(store_position(object->store));
    if (strcmp(name, "HasChanges") == 0)
        return g_variant_new_boolean(store_is_changed(object->store));
    StoreInfo info;
    store_info(object->store, &info);
    if (strcmp(name, "FileSize") == 0)
        return g_variant_new_uint64(info.file_size);
    if (strcmp(name, "BinSize") == 0)
        return g_variant_new_uint64(info.bin_bytes);
    return g_variant_new_boolean(info.full); // "Full"
}

// ---- Public ----

SnapshotsObject *snapshots_object_new(GDBusConnection *connection, Store *store,
                                      const SnapshotsObjectHooks *hooks, GError **error)
{
    static const GDBusInterfaceVTable vtable = { method_call, get_property, NULL, { NULL } };
    SnapshotsObject *object = g_new0(SnapshotsObject, 1);
    object->connection = g_object_ref(connection);
    object->store = store;
    object->hooks = *hooks;
    object->calls = g_ptr_array_new();
    object->pool = g_thread_pool_new(work, object, CALLS_AT_ONCE, FALSE, NULL);
    object->registration = g_dbus_connection_register_object(
        connection, SNAPSHOTS_OBJECT_PATH, lodge_snapshots1_interface_info(), &vtable, object, NULL,
        error);
    if (object->registration)
        return object;
    snapshots_object_free(object);
    return NULL;
}

void snapshots_call_end(SnapshotsCall *call, GVariant *results, const GError *error)
{
    call->results = results;
    call->error = error ? g_error_copy(error) : NULL;
    finish_call(call);
}

void snapshots_object_progress(SnapshotsObject *object, uint64_t done, uint64_t total)
{
    g_dbus_connection_emit_signal(object->connection, NULL, SNAPSHOTS_OBJECT_PATH, INTERFACE,
                                  "Progress", g_variant_new("(tt)", done, total), NULL);
}

unsigned snapshots_object_busy(const SnapshotsObject *object)
{
    return object->calls->len;
}

void snapshots_object_free(SnapshotsObject *object)
{
    if (!object)
        return;
    if (object->registration)
        g_dbus_connection_unregister_object(object->connection, object->registration);
    cancel_calls(object);
    g_thread_pool_free(object->pool, FALSE, TRUE);
    while (object->calls->len > 0) // what has ended is still to be answered
        g_main_context_iteration(NULL, TRUE);
    g_ptr_array_unref(object->calls);
    g_object_unref(object->connection);
    g_free(object);
}
