// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-vm.h"

#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <glib/gi18n.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_AGAIN_MS 100

struct _LodgeVm {
    GObject parent_instance;
    char *folder;
    char *name;
    Config *config;
    char *config_problem;
    LodgeVm1 *proxy; // while an engine runs
    guint name_watch;
    guint connect_source;
    gboolean starting; // asked for, the engine is not on the bus yet
    gboolean suspended; // while it is off: it goes on at its start
    GFileMonitor *monitor; // of the folder: somebody else may throw the state away
    GCancellable *cancellable;
};

enum { PROP_0, PROP_FOLDER, PROP_NAME, PROP_STATE, PROP_STATE_TEXT, PROP_REASON, PROP_SUMMARY,
       PROP_COUNT };

static GParamSpec *properties[PROP_COUNT];
static guint show_requested;

G_DEFINE_FINAL_TYPE(LodgeVm, lodge_vm, G_TYPE_OBJECT)

const char *lodge_vm_get_folder(LodgeVm *self)
{
    return self->folder;
}

const char *lodge_vm_get_name(LodgeVm *self)
{
    return self->name;
}

const char *lodge_vm_get_state(LodgeVm *self)
{
    const char *state = self->proxy ? lodge_vm1_get_state(self->proxy) : NULL;
    return state ? state : self->starting ? "starting" : self->suspended ? "suspended" : "off";
}

const char *lodge_vm_get_reason(LodgeVm *self)
{
    const char *reason = self->proxy ? lodge_vm1_get_state_reason(self->proxy) : NULL;
    return reason ? reason : self->config_problem ? self->config_problem : "";
}

gboolean lodge_vm_is_on(LodgeVm *self)
{
    return self->proxy != NULL;
}

gboolean lodge_vm_is_disposable(LodgeVm *self)
{
    return self->proxy && lodge_vm1_get_disposable(self->proxy);
}

const Config *lodge_vm_get_config(LodgeVm *self)
{
    return self->config;
}

static char *state_text(LodgeVm *self)
{
    static const struct {
        const char *state, *text;
    } texts[] = {
        { "off", N_("Powered off") }, { "starting", N_("Starting…") },
        { "running", N_("Running") },  { "paused", N_("Paused") },
        { "stopping", N_("Shutting down…") }, { "suspended", N_("Suspended") },
        { "crashed", N_("Crashed") },
    };
    if (self->config_problem)
        return g_strdup(_("Cannot be used"));
    const char *state = lodge_vm_get_state(self);
    if (strcmp(state, "suspending") == 0)
        return g_strdup_printf(_("Saving its state… %.0f %%"),
                               100 * lodge_vm1_get_suspend_progress(self->proxy));
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (strcmp(texts[i].state, state) == 0)
            state = _(texts[i].text);
    }
    // Translators: what the machine does, like "Running".
    return lodge_vm_is_disposable(self) ? g_strdup_printf(_("%s, changes are not kept"), state)
                                        : g_strdup(state);
}

static char *summary(LodgeVm *self)
{
    if (!self->config)
        return g_strdup("");
    g_autofree char *memory =
        vm_client_format_memory((guint64)config_integer(self->config, "memory.size"));
    guint cpus = (guint)config_integer(self->config, "cpu.count");
    g_autofree char *processors =
        g_strdup_printf(g_dngettext(NULL, "%u processor", "%u processors", cpus), cpus);
    return g_strdup_printf(_("%s memory, %s"), memory, processors);
}

static void notify_state(LodgeVm *self)
{
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_STATE]);
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_STATE_TEXT]);
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_REASON]);
}

// The engine on the bus.

static void on_proxy_changed(GDBusProxy *proxy, GVariant *changed, const char *const *invalidated,
                             LodgeVm *self)
{
    notify_state(self);
}

static void on_show_requested(LodgeVm1 *proxy, LodgeVm *self)
{
    g_signal_emit(self, show_requested, 0);
}

static void drop_proxy(LodgeVm *self)
{
    if (!self->proxy)
        return;
    g_signal_handlers_disconnect_by_data(self->proxy, self);
    g_clear_object(&self->proxy);
}

static void connect_proxy(LodgeVm *self);

static gboolean on_connect_again(gpointer user_data)
{
    LodgeVm *self = user_data;
    self->connect_source = 0;
    connect_proxy(self);
    return G_SOURCE_REMOVE;
}

static void on_proxy_ready(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeVm) self = user_data;
    LodgeVm1 *proxy = lodge_vm1_proxy_new_for_bus_finish(result, NULL);
    if (!proxy)
        return;
    // The name is there before the object: look again in a moment.
    if (!lodge_vm1_get_state(proxy)) {
        g_object_unref(proxy);
        if (!self->connect_source && self->name_watch)
            self->connect_source = g_timeout_add(CONNECT_AGAIN_MS, on_connect_again, self);
        return;
    }
    drop_proxy(self);
    self->proxy = proxy;
    self->starting = FALSE;
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(proxy), 60 * 1000);
    g_signal_connect(proxy, "g-properties-changed", G_CALLBACK(on_proxy_changed), self);
    g_signal_connect(proxy, "show-requested", G_CALLBACK(on_show_requested), self);
    notify_state(self);
}

static void connect_proxy(LodgeVm *self)
{
    g_autofree char *name = vm_bus_name(self->config);
    lodge_vm1_proxy_new_for_bus(G_BUS_TYPE_SESSION, G_DBUS_PROXY_FLAGS_DO_NOT_AUTO_START, name,
                                VM_CLIENT_PATH, self->cancellable, on_proxy_ready,
                                g_object_ref(self));
}

static void on_name_appeared(GDBusConnection *bus, const char *name, const char *owner,
                             gpointer user_data)
{
    connect_proxy(user_data);
}

static void look_for_state(LodgeVm *self)
{
    gboolean suspended = vm_folder_is_suspended(self->folder);
    if (suspended == self->suspended)
        return;
    self->suspended = suspended;
    notify_state(self);
}

static void on_folder_changed(GFileMonitor *monitor, GFile *file, GFile *other,
                              GFileMonitorEvent event, LodgeVm *self)
{
    look_for_state(self);
}

static void on_name_vanished(GDBusConnection *bus, const char *name, gpointer user_data)
{
    LodgeVm *self = user_data;
    g_clear_handle_id(&self->connect_source, g_source_remove);
    self->starting = FALSE;
    drop_proxy(self);
    self->suspended = vm_folder_is_suspended(self->folder);
    notify_state(self);
}

static void watch_folder(LodgeVm *self)
{
    g_autoptr(GFile) folder = g_file_new_for_path(self->folder);
    self->suspended = vm_folder_is_suspended(self->folder);
    self->monitor = g_file_monitor_directory(folder, G_FILE_MONITOR_NONE, NULL, NULL);
    if (self->monitor)
        g_signal_connect(self->monitor, "changed", G_CALLBACK(on_folder_changed), self);
}

static void load_config(LodgeVm *self)
{
    g_autoptr(GError) error = NULL;
    self->config = vm_client_config(self->folder, &error);
    if (!self->config) {
        self->config_problem = g_strdup(error->message);
        self->name = g_path_get_basename(self->folder);
        if (g_str_has_suffix(self->name, VM_FOLDER_SUFFIX))
            self->name[strlen(self->name) - strlen(VM_FOLDER_SUFFIX)] = 0;
        return;
    }
    self->name = g_strdup(config_string(self->config, "machine.name"));
    watch_folder(self);
    g_autofree char *bus_name = vm_bus_name(self->config);
    self->name_watch =
        g_bus_watch_name(G_BUS_TYPE_SESSION, bus_name, G_BUS_NAME_WATCHER_FLAGS_NONE,
                         on_name_appeared, on_name_vanished, self, NULL);
}

// Actions.

static void on_started(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GTask) task = user_data;
    LodgeVm *self = g_task_get_source_object(task);
    GError *error = NULL;
    if (engine_start_finish(result, &error)) {
        g_task_return_boolean(task, TRUE);
    } else {
        self->starting = FALSE;
        notify_state(self);
        g_task_return_error(task, error);
    }
}

void lodge_vm_start_async(LodgeVm *self, const EngineStart *how, GAsyncReadyCallback done,
                          gpointer user_data)
{
    GTask *task = g_task_new(self, self->cancellable, done, user_data);
    if (self->config_problem) {
        g_task_return_new_error(task, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s",
                                self->config_problem);
        g_object_unref(task);
        return;
    }
    self->starting = TRUE;
    notify_state(self);
    engine_start_async(self->folder, how, self->cancellable, on_started, task);
}

gboolean lodge_vm_start_finish(LodgeVm *self, GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

static void on_acted(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GTask) task = user_data;
    GError *error = NULL;
    g_autoptr(GVariant) reply = g_dbus_proxy_call_finish(G_DBUS_PROXY(source), result, &error);
    if (reply) {
        g_task_return_boolean(task, TRUE);
    } else {
        vm_client_strip_error(error);
        g_task_return_error(task, error);
    }
}

void lodge_vm_act_async(LodgeVm *self, LodgeVmAction action, GAsyncReadyCallback done,
                        gpointer user_data)
{
    static const char *const methods[] = {
        [LODGE_VM_PAUSE] = "Pause",    [LODGE_VM_RESUME] = "Resume",  [LODGE_VM_RESET] = "Reset",
        [LODGE_VM_SHUT_DOWN] = "Stop", [LODGE_VM_POWER_OFF] = "Stop",
        [LODGE_VM_SUSPEND] = "Suspend",
    };
    GTask *task = g_task_new(self, self->cancellable, done, user_data);
    if (!self->proxy) {
        g_task_return_new_error(task, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                                _("“%s” is powered off. Start it first."), self->name);
        g_object_unref(task);
        return;
    }
    GVariant *arguments = NULL;
    if (action == LODGE_VM_SHUT_DOWN || action == LODGE_VM_POWER_OFF)
        arguments = g_variant_new("(b)", action == LODGE_VM_POWER_OFF);
    g_dbus_proxy_call(G_DBUS_PROXY(self->proxy), methods[action], arguments, G_DBUS_CALL_FLAGS_NONE,
                      -1, self->cancellable, on_acted, task);
}

gboolean lodge_vm_act_finish(LodgeVm *self, GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

void lodge_vm_send_chord(LodgeVm *self, const char *chord)
{
    const char *chords[] = { chord, NULL };
    if (self->proxy)
        lodge_vm1_call_send_keys(self->proxy, chords, self->cancellable, NULL, NULL);
}

// Sockets.

typedef struct {
    LodgeSocketReady ready;
    gpointer ready_data;
} SocketRequest;

static void on_socket(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autofree SocketRequest *request = user_data;
    g_autoptr(GUnixFDList) list = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) reply = g_dbus_proxy_call_with_unix_fd_list_finish(
        G_DBUS_PROXY(source), &list, result, &error);
    if (!reply)
        g_info("no socket yet: %s", error->message);
    int fd = -1;
    if (reply && list) {
        gint32 handle;
        g_variant_get(reply, "(h)", &handle);
        fd = g_unix_fd_list_get(list, handle, NULL);
    }
    request->ready(request->ready_data, fd);
}

static void open_socket(LodgeVm *self, const char *method, GVariant *arguments,
                        LodgeSocketReady ready, gpointer ready_data)
{
    if (!self->proxy) {
        g_variant_unref(g_variant_ref_sink(arguments));
        ready(ready_data, -1);
        return;
    }
    SocketRequest *request = g_new(SocketRequest, 1);
    *request = (SocketRequest){ ready, ready_data };
    g_dbus_proxy_call_with_unix_fd_list(G_DBUS_PROXY(self->proxy), method, arguments,
                                        G_DBUS_CALL_FLAGS_NONE, -1, NULL, NULL, on_socket, request);
}

void lodge_vm_open_display(gpointer vm, LodgeSocketReady ready, gpointer ready_data)
{
    open_socket(vm, "OpenDisplay", g_variant_new("(b)", TRUE), ready, ready_data);
}

void lodge_vm_open_serial(gpointer vm, LodgeSocketReady ready, gpointer ready_data)
{
    open_socket(vm, "OpenSerial", g_variant_new("(u)", 0), ready, ready_data);
}

static void on_screenshot(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GTask) task = user_data;
    GError *error = NULL;
    if (lodge_vm1_call_screenshot_finish(LODGE_VM1(source), NULL, result, &error)) {
        g_task_return_boolean(task, TRUE);
    } else {
        unlink(g_task_get_task_data(task));
        vm_client_strip_error(error);
        g_task_return_error(task, error);
    }
}

void lodge_vm_screenshot_async(LodgeVm *self, const char *path, GAsyncReadyCallback done,
                               gpointer user_data)
{
    GTask *task = g_task_new(self, self->cancellable, done, user_data);
    g_task_set_task_data(task, g_strdup(path), g_free);
    int fd = self->proxy ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (fd < 0) {
        g_task_return_new_error(task, G_IO_ERROR, G_IO_ERROR_FAILED, _("“%s” cannot be written."),
                                path);
        g_object_unref(task);
        return;
    }
    g_autoptr(GUnixFDList) list = g_unix_fd_list_new_from_array(&fd, 1);
    lodge_vm1_call_screenshot(self->proxy, g_variant_new_handle(0), list, self->cancellable,
                              on_screenshot, task);
}

gboolean lodge_vm_screenshot_finish(LodgeVm *self, GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}

// The object.

static void lodge_vm_dispose(GObject *object)
{
    LodgeVm *self = LODGE_VM(object);
    g_cancellable_cancel(self->cancellable);
    g_clear_handle_id(&self->name_watch, g_bus_unwatch_name);
    g_clear_handle_id(&self->connect_source, g_source_remove);
    drop_proxy(self);
    if (self->monitor)
        g_signal_handlers_disconnect_by_data(self->monitor, self);
    g_clear_object(&self->monitor);
    G_OBJECT_CLASS(lodge_vm_parent_class)->dispose(object);
}

static void lodge_vm_finalize(GObject *object)
{
    LodgeVm *self = LODGE_VM(object);
    g_clear_object(&self->cancellable);
    config_free(self->config);
    g_free(self->config_problem);
    g_free(self->folder);
    g_free(self->name);
    G_OBJECT_CLASS(lodge_vm_parent_class)->finalize(object);
}

static void lodge_vm_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    LodgeVm *self = LODGE_VM(object);
    switch (id) {
    case PROP_FOLDER:
        g_value_set_string(value, self->folder);
        break;
    case PROP_NAME:
        g_value_set_string(value, self->name);
        break;
    case PROP_STATE:
        g_value_set_string(value, lodge_vm_get_state(self));
        break;
    case PROP_STATE_TEXT:
        g_value_take_string(value, state_text(self));
        break;
    case PROP_REASON:
        g_value_set_string(value, lodge_vm_get_reason(self));
        break;
    case PROP_SUMMARY:
        g_value_take_string(value, summary(self));
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void lodge_vm_class_init(LodgeVmClass *klass)
{
    static const struct {
        guint id;
        const char *name;
    } strings[] = {
        { PROP_FOLDER, "folder" },         { PROP_NAME, "name" },     { PROP_STATE, "state" },
        { PROP_STATE_TEXT, "state-text" }, { PROP_REASON, "reason" }, { PROP_SUMMARY, "summary" },
    };
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    object_class->dispose = lodge_vm_dispose;
    object_class->finalize = lodge_vm_finalize;
    object_class->get_property = lodge_vm_get_property;
    for (guint i = 0; i < G_N_ELEMENTS(strings); i++)
        properties[strings[i].id] = g_param_spec_string(
            strings[i].name, NULL, NULL, NULL, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object_class, PROP_COUNT, properties);
    show_requested = g_signal_new("show-requested", LODGE_TYPE_VM, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                  NULL, G_TYPE_NONE, 0);
}

static void lodge_vm_init(LodgeVm *self)
{
    self->cancellable = g_cancellable_new();
}

LodgeVm *lodge_vm_new(const char *folder)
{
    LodgeVm *self = g_object_new(LODGE_TYPE_VM, NULL);
    self->folder = g_strdup(folder);
    load_config(self);
    return self;
}
