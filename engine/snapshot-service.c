// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshot-service.h.
#include "engine/snapshot-service.h"

#include "engine/config/vm-folder.h"
#include "engine/config/vm-readers.h"
#include "engine/dbus/snapshots-object.h"
#include "engine/detached.h"
#include "engine/disposable.h"
#include "engine/left-holds.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "lodge-engine"
#define IDLE_SECONDS 3
#define RELEASE_TRIES 300
#define RELEASE_INTERVAL_US (20 * 1000)

typedef struct {
    char *folder;
    Config *config;
    Store *store;
    GMainLoop *loop;
    GDBusConnection *bus;
    SnapshotsObject *object;
    guint idle;     // source: nobody has called for a while
    bool named;
    bool released;  // ends when nothing is under way
} Service;

// ---- When it ends ----

static gboolean be_idle(gpointer opaque)
{
    Service *service = opaque;
    service->idle = 0;
    if (snapshots_object_busy(service->object) == 0)
        g_main_loop_quit(service->loop);
    return G_SOURCE_REMOVE;
}

static void used(void *opaque)
{
    Service *service = opaque;
    if (service->idle)
        g_source_remove(service->idle);
    service->idle = service->released ? g_idle_add(be_idle, service)
                                      : g_timeout_add_seconds(IDLE_SECONDS, be_idle, service);
}

static void release(void *opaque)
{
    Service *service = opaque;
    service->released = true;
    used(service);
}

static bool allows(void *opaque, const char *method, GVariant *arguments, GError **error)
{
    const Service *service = opaque;
    if (strcmp(method, "GoTo") == 0 && vm_folder_has_state(service->folder)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                            "the machine is suspended in the middle of its work with these disks; "
                            "start it, or discard its state (lodgectl stop --discard-state)");
        return false;
    }
    if (strcmp(method, "SetProtected") != 0)
        return true;
    guint64 node;
    gboolean on;
    g_variant_get(arguments, "(tb)", &node, &on);
    return on || vm_readers_check_node(service->config, node, error);
}

static void changed(void *opaque)
{
    Service *service = opaque;
    vm_folder_note_state(service->folder, store_has_state(service->store));
}

// ---- How it begins ----

static void name_acquired(GDBusConnection *connection, const char *name, gpointer opaque)
{
    Service *service = opaque;
    service->named = true;
    g_main_loop_quit(service->loop);
}

static void name_lost(GDBusConnection *connection, const char *name, gpointer opaque)
{
    Service *service = opaque;
    g_main_loop_quit(service->loop);
}

static bool open_store(Service *service, GError **error)
{
    g_autofree char *path = g_build_filename(service->folder, VM_STORE_FILE, NULL);
    StoreOpen options = { .path = path };
    service->store = store_open(&options, error);
    if (!service->store || !disposable_end(service->store, error))
        return false;
    left_holds_end(service->store, service->folder);
    return true;
}

// Two callers at once may start two; the one that has the name serves both.
static bool set_up(Service *service, GError **error)
{
    g_autofree char *path = g_build_filename(service->folder, VM_CONFIG_FILE, NULL);
    service->config = config_load(path, error);
    if (!service->config)
        return false;
    service->bus = g_bus_get_sync(G_BUS_TYPE_SESSION, NULL, NULL);
    if (!service->bus) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                            "there is no session bus; log in to a desktop, or start it from "
                            "dbus-run-session");
        return false;
    }
    g_dbus_connection_set_exit_on_close(service->bus, FALSE);
    if (!open_store(service, error))
        return false;
    SnapshotsObjectHooks hooks = { .used = used, .release = release, .allows = allows,
                                   .changed = changed, .opaque = service };
    service->object = snapshots_object_new(service->bus, service->store, &hooks, error);
    if (!service->object)
        return false;
    g_autofree char *name = vm_store_bus_name(service->config);
    g_bus_own_name_on_connection(service->bus, name, G_BUS_NAME_OWNER_FLAGS_DO_NOT_QUEUE,
                                 name_acquired, name_lost, service, NULL);
    g_main_loop_run(service->loop);
    if (service->named)
        changed(service);
    else
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                            "the machine's snapshots are in use by another process; try again in a "
                            "moment");
    return service->named;
}

static int serve(void *opaque, int news_fd)
{
    Service *service = opaque;
    g_autoptr(GError) error = NULL;
    service->loop = g_main_loop_new(NULL, FALSE);
    bool up = set_up(service, &error);
    detached_tell(&news_fd, up ? "+" : error->message);
    if (up) {
        used(service);
        g_main_loop_run(service->loop);
    }
    snapshots_object_free(service->object);
    store_close(service->store);
    if (service->bus) // the name goes when the store is free
        g_dbus_connection_close_sync(service->bus, NULL, NULL);
    return up ? 0 : 1;
}

int snapshot_service_command(int argc, char **argv)
{
    Service service = { 0 };
    bool foreground = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--foreground") == 0)
            foreground = true;
        else if (!service.folder && *argv[i] != '-')
            service.folder = g_canonicalize_filename(argv[i], NULL);
        else
            argc = -1;
    }
    if (argc < 0 || !service.folder) {
        fprintf(stderr, "%s: wrong arguments; see lodge-engine --help\n", PREFIX);
        return 2;
    }
    return detached_start(PREFIX, "the process that serves the snapshots ended at once", foreground,
                          serve, &service);
}

// ---- For an engine that wants the store ----

static bool has_owner(GDBusConnection *bus, const char *name)
{
    gboolean owned = FALSE;
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
        "NameHasOwner", g_variant_new("(s)", name), G_VARIANT_TYPE("(b)"), G_DBUS_CALL_FLAGS_NONE,
        -1, NULL, NULL);
    if (reply)
        g_variant_get(reply, "(b)", &owned);
    return owned;
}

bool snapshot_service_release(GDBusConnection *bus, const Config *config, GError **error)
{
    g_autofree char *name = vm_store_bus_name(config);
    for (int tries = 0; has_owner(bus, name); tries++) {
        if (tries == RELEASE_TRIES) {
            g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                                "the machine's snapshots are being copied; wait until that is "
                                "done, or cancel it");
            return false;
        }
        if (tries == 0)
            g_dbus_connection_call(bus, name, SNAPSHOTS_OBJECT_PATH, "org.lodge.Snapshots1",
                                   "Release", NULL, NULL, G_DBUS_CALL_FLAGS_NO_AUTO_START, -1, NULL,
                                   NULL, NULL);
        g_usleep(RELEASE_INTERVAL_US);
    }
    return true;
}
