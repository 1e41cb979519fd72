// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshots-client.h.
#include "app/client/snapshots-client.h"

#include "app/client/engine-launcher.h"
#include "app/client/vm-client.h"

// A service that has just ended, or another caller's that is not there yet.
#define TRIES 20
#define INTERVAL_US (100 * 1000)

static LodgeSnapshots1 *connect_to(GDBusConnection *bus, const char *name, GError **error)
{
    g_autoptr(LodgeSnapshots1) proxy = lodge_snapshots1_proxy_new_sync(
        bus, G_DBUS_PROXY_FLAGS_DO_NOT_AUTO_START, name, SNAPSHOTS_CLIENT_PATH, NULL, error);
    if (!proxy)
        return NULL;
    g_autofree char *owner = g_dbus_proxy_get_name_owner(G_DBUS_PROXY(proxy));
    if (!owner)
        return NULL;
    // A clone takes as long as it takes.
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(proxy), G_MAXINT);
    return g_steal_pointer(&proxy);
}

gboolean snapshots_has_store(const char *folder)
{
    g_autofree char *path = g_build_filename(folder, VM_STORE_FILE, NULL);
    return g_file_test(path, G_FILE_TEST_IS_REGULAR);
}

LodgeSnapshots1 *snapshots_connect(const char *folder, GError **error)
{
    g_autoptr(Config) config = vm_client_config(folder, error);
    if (!config)
        return NULL;
    if (!snapshots_has_store(folder)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "the machine %s has no snapshots: none of its disks is in a snapshot store",
                    config_string(config, "machine.name"));
        return NULL;
    }
    g_autoptr(GDBusConnection) bus = vm_client_bus(error);
    if (!bus)
        return NULL;
    g_autofree char *name = vm_store_bus_name(config);
    const char *arguments[] = { "--snapshots", folder, NULL };
    g_autoptr(GError) problem = NULL;
    for (int tries = 0; tries < TRIES; tries++) {
        g_clear_error(&problem);
        LodgeSnapshots1 *proxy = connect_to(bus, name, &problem);
        if (proxy)
            return proxy;
        if (problem || !engine_call(arguments, &problem))
            g_usleep(INTERVAL_US);
    }
    if (problem)
        g_propagate_error(error, g_steal_pointer(&problem));
    else
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                            "the process that serves the snapshots ends as soon as it has started; "
                            "try again");
    return NULL;
}

static void ask_to_cancel(GCancellable *cancellable, gpointer data)
{
    lodge_snapshots1_call_cancel(data, NULL, NULL, NULL);
}

static void answered(GObject *source, GAsyncResult *result, gpointer data)
{
    *(GAsyncResult **)data = g_object_ref(result);
}

GVariant *snapshots_call(LodgeSnapshots1 *proxy, const char *method, GVariant *arguments,
                         GCancellable *cancellable, GError **error)
{
    g_autoptr(GVariant) owned = g_variant_ref_sink(arguments);
    if (g_cancellable_set_error_if_cancelled(cancellable, error))
        return NULL;
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(GAsyncResult) result = NULL;
    g_main_context_push_thread_default(context);
    // Not by the cancellable itself: the service's answer says that nothing is left behind. Cancel
    // is connected to behind the call, so that it does not come before it.
    g_dbus_proxy_call(G_DBUS_PROXY(proxy), method, owned, G_DBUS_CALL_FLAGS_NONE, -1, NULL,
                      answered, &result);
    gulong handler = cancellable ? g_cancellable_connect(cancellable, G_CALLBACK(ask_to_cancel),
                                                         proxy, NULL)
                                 : 0;
    while (!result)
        g_main_context_iteration(context, TRUE);
    g_cancellable_disconnect(cancellable, handler);
    g_main_context_pop_thread_default(context);
    return g_dbus_proxy_call_finish(G_DBUS_PROXY(proxy), result, error);
}

bool snapshots_take(LodgeSnapshots1 *proxy, const char *name, const char *note, bool memory,
                    GCancellable *cancellable, guint64 *ret_id, GError **error)
{
    g_autoptr(GVariant) reply = snapshots_call(proxy, "Take",
                                               g_variant_new("(ssb)", name, note, memory),
                                               cancellable, error);
    if (reply)
        g_variant_get(reply, "(t)", ret_id);
    return reply != NULL;
}

bool snapshots_discard_state(const char *folder, GError **error)
{
    if (vm_folder_is_at_snapshot(folder)) {
        g_autoptr(LodgeSnapshots1) proxy = snapshots_connect(folder, error);
        if (!proxy || !lodge_snapshots1_call_discard_state_sync(proxy, NULL, error))
            return false;
    }
    return vm_folder_discard_state(folder, error);
}

static void node_free(gpointer data)
{
    SnapshotNode *node = data;
    g_free(node->name);
    g_free(node->note);
    g_free(node);
}

static bool lookup_flag(GVariantDict *dict, const char *key)
{
    gboolean value = FALSE;
    g_variant_dict_lookup(dict, key, "b", &value);
    return value;
}

static SnapshotNode *node_from_variant(GVariant *dictionary)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(dictionary);
    SnapshotNode *node = g_new0(SnapshotNode, 1);
    g_variant_dict_lookup(&dict, "id", "t", &node->id);
    g_variant_dict_lookup(&dict, "parent", "t", &node->parent);
    g_variant_dict_lookup(&dict, "time", "x", &node->time);
    g_variant_dict_lookup(&dict, "own", "t", &node->own);
    g_variant_dict_lookup(&dict, "shared", "t", &node->shared);
    if (!g_variant_dict_lookup(&dict, "name", "s", &node->name))
        node->name = g_strdup("");
    if (!g_variant_dict_lookup(&dict, "note", "s", &node->note))
        node->note = g_strdup("");
    node->is_protected = lookup_flag(&dict, "protected");
    node->in_bin = lookup_flag(&dict, "in-bin");
    node->automatic = lookup_flag(&dict, "automatic");
    node->has_memory = lookup_flag(&dict, "has-memory");
    return node;
}

char *snapshot_node_time(const SnapshotNode *node, const char *format)
{
    g_autoptr(GDateTime) utc = g_date_time_new_from_unix_utc(node->time / G_USEC_PER_SEC);
    g_autoptr(GDateTime) local = utc ? g_date_time_to_local(utc) : NULL;
    return local ? g_date_time_format(local, format) : g_strdup("?");
}

GPtrArray *snapshots_nodes_from_variant(GVariant *nodes)
{
    GPtrArray *all = g_ptr_array_new_with_free_func(node_free);
    for (gsize i = 0; i < g_variant_n_children(nodes); i++) {
        g_autoptr(GVariant) dictionary = g_variant_get_child_value(nodes, i);
        g_ptr_array_add(all, node_from_variant(dictionary));
    }
    return all;
}

static const SnapshotNode *find_id(GPtrArray *nodes, guint64 id)
{
    for (guint i = 0; i < nodes->len; i++) {
        const SnapshotNode *node = nodes->pdata[i];
        if (node->id == id)
            return node;
    }
    return NULL;
}

const SnapshotNode *snapshots_find(GPtrArray *nodes, const char *text, GError **error)
{
    const SnapshotNode *found = NULL;
    guint64 id;
    if (g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT64, &id, NULL) &&
        (found = find_id(nodes, id)))
        return found;
    for (guint i = 0; i < nodes->len; i++) {
        const SnapshotNode *node = nodes->pdata[i];
        if (!g_str_equal(node->name, text))
            continue;
        if (found) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "several snapshots are named %s; give an identifier, "
                        "like %" G_GUINT64_FORMAT " or %" G_GUINT64_FORMAT, text, found->id,
                        node->id);
            return NULL;
        }
        found = node;
    }
    if (!found)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no snapshot %s; lodgectl snapshot list tells what there is", text);
    return found;
}
