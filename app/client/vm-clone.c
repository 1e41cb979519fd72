// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-clone.h.
#include "app/client/vm-clone.h"

#include "app/client/snapshots-client.h"
#include "app/client/vm-client.h"
#include "app/client/vm-create.h"
#include "engine/config/vm-readers.h"

typedef struct {
    const char *source;
    Config *settings;
    guint64 node;
    bool linked;
    GCancellable *cancellable;
} Clone;

// Its identity is the new machine's own.
static bool is_identity(const char *name)
{
    return g_str_equal(name, "machine.name") || g_str_equal(name, "machine.uuid") ||
           g_str_equal(name, VM_LINKED_TO) || g_str_equal(name, VM_LINKED_NODE) ||
           g_str_has_suffix(name, ".mac");
}

// Files that stay where they are are named absolutely; an image in the source's folder that is not
// in its store would be written by two machines.
static bool set_path(const char *source, VmCloneKind kind, Config *config, const char *name,
                     const char *value, GError **error)
{
    if (g_str_has_suffix(value, ".store"))
        return config_set(config, name, value, error);
    if (kind == VM_CLONE_BRANCH && g_str_has_prefix(name, "serial")) {
        g_autofree char *file = g_path_get_basename(value);
        return config_set(config, name, file, error);
    }
    if (g_str_has_prefix(name, "disk") || g_str_has_prefix(name, "floppy")) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "%s is the image %s, which is not in the snapshot store and cannot be cloned; "
                    "take it out of the machine first", name, value);
        return false;
    }
    g_autofree char *path = config_resolve_path(source, value);
    return config_set(config, name, path, error);
}

bool vm_clone_settings(const char *source, const Config *settings, VmCloneKind kind, Config *config,
                       GError **error)
{
    for (size_t i = 0; i < config_key_count; i++) {
        for (unsigned instance = 0; instance < config_keys[i].instances; instance++) {
            g_autofree char *name = config_key_name(&config_keys[i], instance);
            const char *value = config_string(settings, name);
            if (is_identity(name) ||
                (kind == VM_CLONE_BRANCH && g_str_has_suffix(name, ".forward")))
                continue;
            bool path = config_keys[i].type == CONFIG_PATH && *value;
            if (!(path ? set_path(source, kind, config, name, value, error)
                       : config_set(config, name, value, error)))
                return false;
        }
    }
    return kind == VM_CLONE_WHOLE ||
           config_set(config, VM_LINKED_TO, config_string(settings, "machine.uuid"), error);
}

guint64 vm_clone_room(const char *folder)
{
    g_autoptr(GFile) file = g_file_new_for_path(folder);
    guint64 bytes = 0;
    g_file_measure_disk_usage(file, G_FILE_MEASURE_NONE, NULL, NULL, NULL, &bytes, NULL, NULL,
                              NULL);
    return bytes;
}

bool vm_clone_set_node(Config *config, guint64 node, GError **error)
{
    g_autofree char *number = g_strdup_printf("%" G_GUINT64_FORMAT, node);
    return config_set(config, VM_LINKED_NODE, number, error);
}

// Of current a node was taken, where the source stands now.
static bool note_node(const Clone *clone, LodgeSnapshots1 *proxy, Config *config, GError **error)
{
    guint64 node = clone->node;
    if (!node) {
        g_autoptr(GVariant) reply = g_dbus_proxy_call_sync(
            G_DBUS_PROXY(proxy), "org.freedesktop.DBus.Properties.Get",
            g_variant_new("(ss)", "org.lodge.Snapshots1", "Position"), G_DBUS_CALL_FLAGS_NONE, -1,
            NULL, error);
        if (!reply)
            return false;
        g_autoptr(GVariant) value = NULL;
        g_variant_get(reply, "(v)", &value);
        node = g_variant_get_uint64(value);
    }
    return vm_clone_set_node(config, node, error);
}

static bool fill(Config *config, const char *folder, void *data, GError **error)
{
    Clone *clone = data;
    g_autoptr(LodgeSnapshots1) proxy = snapshots_connect(clone->source, error);
    VmCloneKind kind = clone->linked ? VM_CLONE_LINKED : VM_CLONE_WHOLE;
    if (!proxy || !vm_clone_settings(clone->source, clone->settings, kind, config, error))
        return false;
    g_autofree char *path = g_build_filename(folder, VM_STORE_FILE, NULL);
    g_autoptr(GVariant) done =
        snapshots_call(proxy, "Clone", g_variant_new("(tsb)", clone->node, path, clone->linked),
                       clone->cancellable, error);
    return done && (!clone->linked || note_node(clone, proxy, config, error));
}

char *vm_clone(const char *source, guint64 node, const char *name, bool linked,
               GCancellable *cancellable, GError **error)
{
    g_autoptr(Config) settings = vm_client_config(source, error);
    if (!settings)
        return NULL;
    Clone clone = { .source = source, .settings = settings, .node = node, .linked = linked,
                    .cancellable = cancellable };
    return vm_create(name, fill, &clone, error);
}
