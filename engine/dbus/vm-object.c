// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-object.h and data/dbus/org.lodge.Vm1.xml. A serial connection is a socket pair: one end
// goes to the caller, the other listens at the port until the caller closes.
#include "engine/dbus/vm-object.h"

#include "data/dbus/lodge-vm1.h"
#include "engine/base/keys.h"
#include "engine/base/write-all.h"
#include "engine/char-stream.h"
#include "engine/dbus/errors.h"
#include "engine/dbus/vm-trace.h"
#include "engine/key-feeder.h"
#include "engine/run-stats.h"

#include <errno.h>
#include <gio/gunixfdlist.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERIAL_CLIENTS_MAX 16

typedef struct {
    VmObject *object;
    unsigned port;
    CharStream *stream;
} SerialClient;

struct VmObject {
    LodgeVm1 *skeleton;
    Lifecycle *lifecycle;
    KeyFeeder *feeder;
    VmTrace *trace;
    GPtrArray *serial_clients; // of SerialClient
    gint64 start;              // us
};

static Machine *machine_of(VmObject *object)
{
    return lifecycle_machine(object->lifecycle);
}

// Finishes a call that has no results.
static gboolean answer(VmObject *object, GDBusMethodInvocation *invocation, bool done,
                       GError *error)
{
    if (done)
        g_dbus_method_invocation_return_value(invocation, NULL);
    else
        errors_return(invocation, error);
    g_clear_error(&error);
    return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static gboolean handle_start(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                             VmObject *object)
{
    GError *error = NULL;
    bool done = lifecycle_start(object->lifecycle, &error);
    return answer(object, invocation, done, error);
}

static gboolean handle_stop(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation, gboolean force,
                            VmObject *object)
{
    GError *error = NULL;
    bool done = lifecycle_stop(object->lifecycle, force, &error);
    return answer(object, invocation, done, error);
}

static gboolean handle_pause(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                             VmObject *object)
{
    GError *error = NULL;
    bool done = lifecycle_pause(object->lifecycle, &error);
    return answer(object, invocation, done, error);
}

static gboolean handle_resume(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                              VmObject *object)
{
    GError *error = NULL;
    bool done = lifecycle_resume(object->lifecycle, &error);
    return answer(object, invocation, done, error);
}

static gboolean handle_suspend(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                               VmObject *object)
{
    GError *error = NULL;
    bool done = lifecycle_suspend(object->lifecycle, &error);
    return answer(object, invocation, done, error);
}

static gboolean handle_reset(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                             VmObject *object)
{
    GError *error = NULL;
    bool done = lifecycle_reset(object->lifecycle, &error);
    return answer(object, invocation, done, error);
}

static gboolean handle_type_text(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                                 const char *text, VmObject *object)
{
    GError *error = NULL;
    g_autoptr(GArray) strokes = keys_from_text(text, &error);
    if (strokes)
        key_feeder_add(object->feeder, strokes);
    return answer(object, invocation, strokes != NULL, error);
}

static gboolean handle_send_keys(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                                 const char *const *chords, VmObject *object)
{
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(KeyStroke));
    for (; *chords; chords++) {
        GError *error = NULL;
        g_autoptr(GArray) strokes = keys_from_chord(*chords, &error);
        if (!strokes)
            return answer(object, invocation, false, error);
        g_array_append_vals(all, strokes->data, strokes->len);
    }
    key_feeder_add(object->feeder, all);
    return answer(object, invocation, true, NULL);
}

static bool write_bytes(int fd, GBytes *bytes, GError **error)
{
    gsize size;
    const char *data = g_bytes_get_data(bytes, &size);
    if (!write_all(fd, data, size)) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    "the picture could not be written: %s", g_strerror(errno));
        return false;
    }
    return true;
}

static bool write_screenshot(VmObject *object, int fd, GError **error)
{
    DisplayPicture picture;
    if (!machine_picture(machine_of(object), &picture)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_INITIALIZED,
                            "the guest has no screen yet; try again in a moment");
        return false;
    }
    g_autoptr(GBytes) png = display_picture_png(&picture, error);
    g_free(picture.rgb);
    return png && write_bytes(fd, png, error);
}

static gboolean handle_screenshot(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                                  GUnixFDList *fds, GVariant *file, VmObject *object)
{
    GError *error = NULL;
    int fd = fds ? g_unix_fd_list_get(fds, g_variant_get_handle(file), &error) : -1;
    if (fd < 0) {
        if (!error)
            error = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                                        "the call carries no descriptor");
        return answer(object, invocation, false, error);
    }
    bool done = write_screenshot(object, fd, &error);
    close(fd);
    if (!done)
        return answer(object, invocation, false, error);
    lodge_vm1_complete_screenshot(skeleton, invocation, NULL);
    return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static gboolean handle_screen_text(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                                   VmObject *object)
{
    g_autofree char *text = machine_text(machine_of(object));
    lodge_vm1_complete_screen_text(skeleton, invocation, text ? text : "");
    return G_DBUS_METHOD_INVOCATION_HANDLED;
}

// A socket pair: the caller's end as a list to be sent, ours as a descriptor.
static GUnixFDList *make_pair(int *ret_ours, GError **error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "no socket: %s",
                    g_strerror(errno));
        return NULL;
    }
    *ret_ours = pair[0];
    return g_unix_fd_list_new_from_array(&pair[1], 1);
}

static gboolean handle_open_display(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                                    GUnixFDList *fds, gboolean scanout, VmObject *object)
{
    GError *error = NULL;
    int ours;
    g_autoptr(GUnixFDList) reply = make_pair(&ours, &error);
    if (!reply)
        return answer(object, invocation, false, error);
    if (!machine_open_display(machine_of(object), ours, scanout)) {
        error = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_NOT_INITIALIZED,
                                    "this engine has no SPICE server");
        return answer(object, invocation, false, error);
    }
    lodge_vm1_complete_open_display(skeleton, invocation, reply, g_variant_new_handle(0));
    return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void serial_client_free(void *data)
{
    SerialClient *client = data;
    machine_remove_serial(machine_of(client->object), client->port,
                          char_stream_backend(client->stream));
    char_stream_free(client->stream);
    g_free(client);
}

static void serial_closed(void *opaque)
{
    SerialClient *client = opaque;
    g_ptr_array_remove(client->object->serial_clients, client);
}

static bool add_serial_client(VmObject *object, unsigned port, int fd, GError **error)
{
    if (object->serial_clients->len >= SERIAL_CLIENTS_MAX) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_INITIALIZED,
                            "too many connections to serial ports; close one");
        close(fd);
        return false;
    }
    SerialClient *client = g_new0(SerialClient, 1);
    client->object = object;
    client->port = port;
    CharStreamConfig config = {
        .input = fd,
        .output = fd,
        .machine_lock = machine_mutex(machine_of(object)),
        .closed = serial_closed,
        .opaque = client,
    };
    client->stream = char_stream_new(&config);
    if (!machine_add_serial(machine_of(object), port, char_stream_backend(client->stream), true)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "the machine has no serial port %u; set serial%u.mode=console", port, port);
        char_stream_free(client->stream);
        g_free(client);
        return false;
    }
    g_ptr_array_add(object->serial_clients, client);
    return true;
}

static gboolean handle_open_serial(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                                   GUnixFDList *fds, guint port, VmObject *object)
{
    GError *error = NULL;
    int ours;
    g_autoptr(GUnixFDList) reply = make_pair(&ours, &error);
    if (!reply || !add_serial_client(object, port, ours, &error))
        return answer(object, invocation, false, error);
    lodge_vm1_complete_open_serial(skeleton, invocation, reply, g_variant_new_handle(0));
    return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static gboolean handle_stats(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                             VmObject *object)
{
    double seconds = (double)(g_get_monotonic_time() - object->start) / 1e6;
    g_autofree char *json = run_stats_json(machine_of(object), seconds, 0);
    lodge_vm1_complete_stats(skeleton, invocation, json);
    return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static gboolean handle_trace(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                             guint milliseconds, VmObject *object)
{
    GError *error = NULL;
    if (!vm_trace_start(object->trace, skeleton, invocation, milliseconds, &error))
        return answer(object, invocation, false, error);
    return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static gboolean handle_show(LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                            VmObject *object)
{
    lodge_vm1_emit_show_requested(skeleton);
    return answer(object, invocation, true, NULL);
}

static void connect_methods(VmObject *object)
{
    const struct {
        const char *signal;
        GCallback handler;
    } methods[] = {
        { "handle-start", G_CALLBACK(handle_start) },
        { "handle-stop", G_CALLBACK(handle_stop) },
        { "handle-pause", G_CALLBACK(handle_pause) },
        { "handle-resume", G_CALLBACK(handle_resume) },
        { "handle-suspend", G_CALLBACK(handle_suspend) },
        { "handle-reset", G_CALLBACK(handle_reset) },
        { "handle-type-text", G_CALLBACK(handle_type_text) },
        { "handle-send-keys", G_CALLBACK(handle_send_keys) },
        { "handle-screenshot", G_CALLBACK(handle_screenshot) },
        { "handle-screen-text", G_CALLBACK(handle_screen_text) },
        { "handle-open-display", G_CALLBACK(handle_open_display) },
        { "handle-open-serial", G_CALLBACK(handle_open_serial) },
        { "handle-stats", G_CALLBACK(handle_stats) },
        { "handle-trace", G_CALLBACK(handle_trace) },
        { "handle-show", G_CALLBACK(handle_show) },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++)
        g_signal_connect(object->skeleton, methods[i].signal, methods[i].handler, object);
}

static void set_properties(VmObject *object, const char *folder, const char *spice_socket)
{
    Machine *machine = machine_of(object);
    const Config *config = machine_config(machine);
    LodgeVm1 *skeleton = object->skeleton;
    lodge_vm1_set_name(skeleton, config_string(config, "machine.name"));
    lodge_vm1_set_uuid(skeleton, config_string(config, "machine.uuid"));
    lodge_vm1_set_folder(skeleton, folder ? folder : "");
    lodge_vm1_set_engine(skeleton, machine_backend_name(machine));
    lodge_vm1_set_engine_reason(skeleton, machine_backend_why(machine));
    lodge_vm1_set_memory(skeleton, (guint64)config_integer(config, "memory.size"));
    lodge_vm1_set_cpus(skeleton, (guint)config_integer(config, "cpu.count"));
    lodge_vm1_set_process_id(skeleton, (guint)getpid());
    lodge_vm1_set_spice_socket(skeleton, spice_socket ? spice_socket : "");
    lodge_vm1_set_serial_ports(skeleton, machine_serial_ports(machine));
    vm_object_update(object);
}

VmObject *vm_object_new(GDBusConnection *connection, Lifecycle *lifecycle, const char *folder,
                        const char *spice_socket, GError **error)
{
    VmObject *object = g_new0(VmObject, 1);
    object->lifecycle = lifecycle;
    object->skeleton = lodge_vm1_skeleton_new();
    object->start = g_get_monotonic_time();
    object->serial_clients = g_ptr_array_new_with_free_func(serial_client_free);
    object->feeder =
        key_feeder_new(machine_input(machine_of(object)), machine_mutex(machine_of(object)));
    object->trace = vm_trace_new(machine_of(object));
    set_properties(object, folder, spice_socket);
    connect_methods(object);
    if (!g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(object->skeleton), connection,
                                          VM_OBJECT_PATH, error)) {
        vm_object_free(object);
        return NULL;
    }
    return object;
}

void vm_object_free(VmObject *object)
{
    if (!object)
        return;
    vm_trace_free(object->trace);
    g_dbus_interface_skeleton_unexport(G_DBUS_INTERFACE_SKELETON(object->skeleton));
    g_object_unref(object->skeleton);
    g_ptr_array_unref(object->serial_clients);
    key_feeder_free(object->feeder);
    g_free(object);
}

void vm_object_set_progress(VmObject *object, double fraction)
{
    lodge_vm1_set_suspend_progress(object->skeleton, fraction);
}

void vm_object_set_disposable(VmObject *object, bool disposable)
{
    lodge_vm1_set_disposable(object->skeleton, disposable);
}

void vm_object_set_resumed(VmObject *object, bool resumed)
{
    lodge_vm1_set_resumed(object->skeleton, resumed);
}

void vm_object_update(VmObject *object)
{
    lodge_vm1_set_state(object->skeleton,
                        lifecycle_state_name(lifecycle_state(object->lifecycle)));
    lodge_vm1_set_state_reason(object->skeleton, lifecycle_reason(object->lifecycle));
    g_dbus_interface_skeleton_flush(G_DBUS_INTERFACE_SKELETON(object->skeleton));
}
