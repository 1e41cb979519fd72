// SPDX-License-Identifier: GPL-2.0-or-later
// A machine that lives in a folder, as a process that outlives whoever started it. Three processes:
// the caller's, which returns once the machine is up or cannot be; the engine; its caretaker
// (supervisor.h), which tidies up the runtime folder at the end. News of success or failure goes up
// through a pipe: "+" or a sentence.
#include "engine/vm.h"

#include "engine/auto-snapshots.h"
#include "engine/config/vm-folder.h"
#include "engine/dbus/session-scope.h"
#include "engine/dbus/snapshots-object.h"
#include "engine/dbus/vm-object.h"
#include "engine/detached.h"
#include "engine/engine-log.h"
#include "engine/lifecycle.h"
#include "engine/live-snapshots.h"
#include "engine/snapshot-service.h"
#include "engine/supervisor.h"
#include "engine/suspend-file.h"
#include "snapshots/block.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "lodge-engine"

// An engine says that its machine is off before it has tidied up and gives the name back.
#define OWNER_ENDS_TRIES 50
#define OWNER_ENDS_INTERVAL_US (100 * 1000)
#define OWNER_ANSWER_MS 2000

// What the engine tells its caretaker by its status.
enum { STATUS_DONE = 0, STATUS_FAILED = 1, STATUS_NOT_OURS = 3 };

typedef struct {
    char *folder;
    bool wait, disposable;
    StoreNodeId node; // where a disposable run begins
    Config *config;
    char *runtime_folder;
    char *spice_socket, *scanout_socket;
    int news_fd; // -1 once the news is out

    GMainLoop *loop;
    GDBusConnection *bus;
    guint name_id;
    SuspendFile *state; // NULL: the machine cannot be suspended
    Lifecycle *lifecycle;
    VmObject *object;
    LiveSnapshots *live;        // NULL: no disk is in a store
    SnapshotsObject *snapshots; // likewise
    AutoSnapshots *autos;       // NULL: none are wanted
    guint store_name_id;
    bool named;
} Vm;

static void changed(void *opaque, LifecycleState state, const char *reason)
{
    Vm *vm = opaque;
    g_info("state: %s%s%s", lifecycle_state_name(state), *reason ? ": " : "", reason);
    if (vm->object)
        vm_object_update(vm->object);
    if (state == LIFECYCLE_OFF)
        g_main_loop_quit(vm->loop);
}

static void progress(void *opaque, double fraction)
{
    Vm *vm = opaque;
    if (vm->object)
        vm_object_set_progress(vm->object, fraction);
}

static void firmware_line(void *opaque, const char *line)
{
    engine_log_firmware(line);
}

static void name_acquired(GDBusConnection *connection, const char *name, gpointer opaque)
{
    Vm *vm = opaque;
    vm->named = true;
    g_main_loop_quit(vm->loop);
}

static void name_lost(GDBusConnection *connection, const char *name, gpointer opaque)
{
    Vm *vm = opaque;
    if (!vm->named) // later: the bus went away, the machine runs on
        g_main_loop_quit(vm->loop);
}

static bool try_name(Vm *vm, const char *name)
{
    vm->name_id =
        g_bus_own_name_on_connection(vm->bus, name, G_BUS_NAME_OWNER_FLAGS_DO_NOT_QUEUE,
                                     name_acquired, name_lost, vm, NULL);
    g_main_loop_run(vm->loop);
    if (!vm->named)
        g_bus_unown_name(vm->name_id);
    return vm->named;
}

// Whether the name's owner is an engine whose machine is off, which ends in a moment.
static bool owner_is_ending(GDBusConnection *bus, const char *name)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
        bus, name, VM_OBJECT_PATH, "org.freedesktop.DBus.Properties", "Get",
        g_variant_new("(ss)", "org.lodge.Vm1", "State"), G_VARIANT_TYPE("(v)"),
        G_DBUS_CALL_FLAGS_NO_AUTO_START, OWNER_ANSWER_MS, NULL, &problem);
    if (!reply)
        return !g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_TIMED_OUT); // its object is gone
    g_autoptr(GVariant) state = NULL;
    g_variant_get(reply, "(v)", &state);
    return g_variant_is_of_type(state, G_VARIANT_TYPE_STRING) &&
           strcmp(g_variant_get_string(state, NULL), lifecycle_state_name(LIFECYCLE_OFF)) == 0;
}

// The name is also what keeps a machine from being started twice.
static bool take_name(Vm *vm, GError **error)
{
    vm->bus = g_bus_get_sync(G_BUS_TYPE_SESSION, NULL, NULL);
    if (!vm->bus) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                            "there is no session bus; log in to a desktop, or start it from "
                            "dbus-run-session");
        return false;
    }
    g_dbus_connection_set_exit_on_close(vm->bus, FALSE);
    g_autofree char *name = vm_bus_name(vm->config);
    for (int tries = 0; tries < OWNER_ENDS_TRIES; tries++) {
        if (try_name(vm, name))
            return true;
        if (!owner_is_ending(vm->bus, name))
            break;
        g_usleep(OWNER_ENDS_INTERVAL_US);
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                "the machine %s is running already; lodgectl show %s says more",
                config_string(vm->config, "machine.name"),
                config_string(vm->config, "machine.name"));
    return false;
}

static bool load_config(Vm *vm, GError **error)
{
    g_autofree char *path = g_build_filename(vm->folder, VM_CONFIG_FILE, NULL);
    vm->config = config_load(path, error);
    if (!vm->config)
        return false;
    if (!*config_string(vm->config, "machine.uuid")) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "%s: machine.uuid is not set; set it to the output of uuidgen", path);
        return false;
    }
    vm->runtime_folder = vm_runtime_folder(vm->config);
    vm->spice_socket = g_build_filename(vm->runtime_folder, "spice", NULL);
    vm->scanout_socket = g_build_filename(vm->runtime_folder, "scanout", NULL);
    return true;
}

static bool make_runtime_folder(Vm *vm, GError **error)
{
    if (g_mkdir_with_parents(vm->runtime_folder, 0700) == 0)
        return true;
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                "%s cannot be made: %s; set XDG_RUNTIME_DIR to a folder of yours",
                vm->runtime_folder, g_strerror(errno));
    return false;
}

static void open_log(Vm *vm)
{
    g_autofree char *path = g_build_filename(vm->folder, "engine.log", NULL);
    engine_log_init(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
}

static gboolean on_signal(gpointer opaque)
{
    Vm *vm = opaque;
    lifecycle_stop(vm->lifecycle, true, NULL);
    return G_SOURCE_CONTINUE;
}

// Where the folder cannot be written the machine runs all the same, and cannot be suspended.
static bool open_state(Vm *vm, GError **error)
{
    g_autoptr(GError) problem = NULL;
    vm->state = suspend_file_open(vm->folder, &problem);
    if (vm->state)
        return true;
    if (vm_folder_has_state(vm->folder) || problem->code == G_IO_ERROR_BUSY) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return false;
    }
    g_info("the machine cannot be suspended: %s", problem->message);
    return true;
}

// It is locked in and cannot look who reads from a snapshot; those who ask do.
static bool allows_while_running(void *opaque, const char *method, GVariant *arguments,
                                 GError **error)
{
    const char *why = strcmp(method, "DiscardState") == 0
                          ? "the machine is on; its state is what it does"
                      : strcmp(method, "Clone") == 0 ? "the machine is on; stop it, then clone it"
                                                     : NULL;
    if (why)
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, why);
    return !why;
}

// While the machine is on, this process has its store and answers for it.
static bool offer_snapshots(Vm *vm, GError **error)
{
    Store *store = machine_store(lifecycle_machine(vm->lifecycle));
    if (!store)
        return true;
    vm->live = live_snapshots_new(vm->lifecycle, store);
    SnapshotsObjectHooks hooks = {
        .allows = allows_while_running,
        .serves = live_snapshots_serve,
        .cancel = live_snapshots_cancel,
        .opaque = vm->live,
    };
    vm->snapshots = snapshots_object_new(vm->bus, store, &hooks, error);
    live_snapshots_set_object(vm->live, vm->snapshots);
    if (vm->snapshots)
        vm->autos = auto_snapshots_new(vm->live, vm->lifecycle, store, vm->snapshots);
    g_autofree char *name = vm_store_bus_name(vm->config);
    vm->store_name_id = g_bus_own_name_on_connection(
        vm->bus, name, G_BUS_NAME_OWNER_FLAGS_NONE, NULL, NULL, NULL, NULL);
    return vm->snapshots != NULL;
}

static bool build(Vm *vm, GError **error)
{
    if (!snapshot_service_release(vm->bus, vm->config, error))
        return false;
    if (!open_state(vm, error))
        return false;
    if (vm->disposable && vm_folder_has_state(vm->folder)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                            "the machine is suspended, and going on would use its state up; start "
                            "it as it is, or discard its state first (lodgectl stop "
                            "--discard-state)");
        return false;
    }
    LifecycleConfig config = {
        .machine = {
            .config = vm->config,
            .folder = vm->folder,
            .debug_exit_port = -1,
            .spice = true,
            .spice_socket = vm->spice_socket,
            .scanout_socket = vm->scanout_socket,
            .disposable = vm->disposable,
            .node = vm->node,
            .resume = vm->state ? suspend_file_source(vm->state) : NULL,
            .firmware_line = firmware_line,
        },
        .suspend_to = vm->state ? suspend_file_sink(vm->state) : NULL,
        .progress = progress,
        .changed = changed,
        .opaque = vm,
    };
    vm->lifecycle = lifecycle_new(&config, error);
    if (!vm->lifecycle)
        return false;
    Machine *machine = lifecycle_machine(vm->lifecycle);
    g_info("engine %s: %s", machine_backend_name(machine), machine_backend_why(machine));
    vm->object = vm_object_new(vm->bus, vm->lifecycle, vm->folder, vm->spice_socket, error);
    if (!vm->object)
        return false;
    vm_object_set_disposable(vm->object, vm->disposable);
    vm_object_set_resumed(vm->object, machine_is_resumed(machine));
    if (!offer_snapshots(vm, error))
        return false;
    vm_folder_note_state(vm->folder, false); // the state is this machine's now
    return machine_enter_sandbox(machine, error);
}

static bool set_up(Vm *vm, GError **error)
{
    if (!take_name(vm, error) || !make_runtime_folder(vm, error))
        return false;
    open_log(vm);
    session_scope_enter(vm->bus, config_string(vm->config, "machine.uuid"),
                        config_string(vm->config, "machine.name"));
    return build(vm, error);
}

static int engine_process(void *opaque)
{
    Vm *vm = opaque;
    g_autoptr(GError) error = NULL;
    vm->loop = g_main_loop_new(NULL, FALSE);
    int status = STATUS_DONE;
    if (!set_up(vm, &error)) {
        detached_tell(&vm->news_fd, error->message);
        status = vm->named ? STATUS_FAILED : STATUS_NOT_OURS;
    } else {
        g_unix_signal_add(SIGTERM, on_signal, vm);
        g_unix_signal_add(SIGINT, on_signal, vm);
        bool started = vm->wait || lifecycle_start(vm->lifecycle, &error);
        detached_tell(&vm->news_fd, started ? "+" : error->message);
        if (started)
            g_main_loop_run(vm->loop);
        else
            status = STATUS_FAILED;
    }
    vm_object_free(vm->object);
    if (vm->store_name_id)
        g_bus_unown_name(vm->store_name_id);
    auto_snapshots_free(vm->autos);
    snapshots_object_free(vm->snapshots);
    live_snapshots_free(vm->live);
    lifecycle_free(vm->lifecycle);
    suspend_file_close(vm->state);
    if (vm->bus)
        g_dbus_connection_flush_sync(vm->bus, NULL, NULL);
    return status;
}

// Leaves no sockets behind, but those of a machine that another engine runs.
static void tidy(void *opaque, int status)
{
    Vm *vm = opaque;
    if (status == STATUS_NOT_OURS)
        return;
    g_unlink(vm->spice_socket);
    g_unlink(vm->scanout_socket);
    g_rmdir(vm->runtime_folder);
    suspend_file_tidy(vm->folder);
}

static int supervised(void *opaque, int news_fd)
{
    Vm *vm = opaque;
    vm->news_fd = news_fd;
    return supervise(engine_process, tidy, vm, PREFIX);
}

static int wrong_usage(void)
{
    fprintf(stderr, "%s: wrong arguments; see lodge-engine --help\n", PREFIX);
    return 2;
}

int vm_command(int argc, char **argv)
{
    Vm vm = { .news_fd = -1 };
    bool foreground = false;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--wait") == 0)
            vm.wait = true;
        else if (strcmp(argv[i], "--foreground") == 0)
            foreground = true;
        else if (strcmp(argv[i], "--disposable") == 0)
            vm.disposable = true;
        else if (strcmp(argv[i], "--node") == 0 && i + 1 < argc &&
                 g_ascii_string_to_unsigned(argv[i + 1], 10, 1, G_MAXUINT64, &vm.node, NULL))
            i++;
        else if (!vm.folder && *argv[i] != '-')
            vm.folder = g_canonicalize_filename(argv[i], NULL);
        else
            return wrong_usage();
    }
    if (!vm.folder || (vm.node && !vm.disposable))
        return wrong_usage();
    g_autoptr(GError) error = NULL;
    if (!load_config(&vm, &error)) {
        fprintf(stderr, "%s: %s\n", PREFIX, error->message);
        return 1;
    }
    return detached_start(PREFIX, "the engine ended before the machine was up; see engine.log",
                          foreground, supervised, &vm);
}

static void ignore_event(void *opaque, MachineEvent event, uint32_t value, const char *text)
{
}

int vm_check_command(int argc, char **argv)
{
    if (argc != 1)
        return wrong_usage();
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(argv[0], VM_CONFIG_FILE, NULL);
    g_autoptr(Config) config = config_load(path, &error);
    if (config) {
        MachineOptions options = { .config = config, .folder = argv[0], .debug_exit_port = -1,
                                   .event = ignore_event };
        machine_check_files(&options, &error);
    }
    if (error)
        fprintf(stderr, "%s: %s\n", PREFIX, error->message);
    return error ? 1 : 0;
}

// Bytes, or 0 and error.
static uint64_t parse_disk_size(const char *text, GError **error)
{
    int64_t size;
    if (config_size_parse(text, &size) && size > 0)
        return (uint64_t)size;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "%s is no disk size; give one with a unit, like 20G", text);
    return 0;
}

static bool create_volume(const char *path, const char *name, uint64_t size, GError **error)
{
    if (!g_file_test(path, G_FILE_TEST_EXISTS) && !store_create(path, error))
        return false;
    StoreOpen options = { .path = path };
    Store *store = store_open(&options, error);
    bool done = store && store_volume_add(store, name, STORE_DISK, size, NULL, error) &&
                store_commit(store, error);
    store_close(store);
    return done;
}

int vm_create_volume_command(int argc, char **argv)
{
    if (argc != 3)
        return wrong_usage();
    g_autoptr(GError) error = NULL;
    uint64_t size = parse_disk_size(argv[2], &error);
    if (size && !create_volume(argv[0], argv[1], size, &error))
        g_prefix_error(&error, "%s: ", argv[0]);
    if (error)
        fprintf(stderr, "%s: %s\n", PREFIX, error->message);
    return error ? 1 : 0;
}

int vm_create_disk_command(int argc, char **argv)
{
    if (argc != 2)
        return wrong_usage();
    g_autoptr(GError) error = NULL;
    uint64_t size = parse_disk_size(argv[1], &error);
    if (size)
        block_create_raw(argv[0], size, &error);
    if (error)
        fprintf(stderr, "%s: %s\n", PREFIX, error->message);
    return error ? 1 : 0;
}
