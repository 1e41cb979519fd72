// SPDX-License-Identifier: GPL-2.0-or-later
// A machine in the foreground, in two processes (three with a window). The one that was started
// opens everything, locks itself in and runs the guest. Its caretaker (supervisor.h) holds the
// terminal's settings, waits, puts the terminal back and removes screenshots that were never taken,
// whatever happened to the other.
#include "engine/run.h"

#include "engine/base/keys.h"
#include "engine/base/program-path.h"
#include "engine/base/write-all.h"
#include "engine/char-stream.h"
#include "engine/config/vm-folder.h"
#include "engine/engine-log.h"
#include "engine/key-feeder.h"
#include "engine/lifecycle.h"
#include "engine/run-stats.h"
#include "engine/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

enum {
    STATUS_FAILED = 1,
    STATUS_TIMEOUT = 124,
    STATUS_INTERRUPTED = 130,
};

#define ESCAPE_KEY 1 // Ctrl+A

typedef struct Run Run;

typedef struct {
    Run *run;
    int fd;
} Screenshot;

typedef struct {
    Run *run;
    GArray *strokes;
} TypedText;

struct Run {
    const RunOptions *options;
    const char *prefix;
    GMainLoop *loop;
    Lifecycle *lifecycle;
    KeyFeeder *feeder;
    CharStream *terminal;
    bool terminal_escaped; // Ctrl+A was seen
    bool terminal_is_tty;
    char *spice_socket, *scanout_socket; // may be NULL
    int display_fd;
    int stats_fd;
    GArray *screenshots; // of Screenshot
    GArray *texts;       // of TypedText
    gint64 start;        // us
    int status;
};

static void complain(const char *prefix, const char *message)
{
    fprintf(stderr, "%s: %s\n", prefix, message);
}

static void finish(Run *run, int status)
{
    run->status = status;
    g_main_loop_quit(run->loop);
}

static void changed(void *opaque, LifecycleState state, const char *reason)
{
    Run *run = opaque;
    if (state == LIFECYCLE_CRASHED) {
        complain(run->prefix, reason);
        finish(run, STATUS_FAILED);
    } else if (state == LIFECYCLE_OFF) {
        if (lifecycle_end(run->lifecycle) == LIFECYCLE_DEBUG_EXIT)
            finish(run, (int)((lifecycle_debug_value(run->lifecycle) << 1 | 1) & 0xff));
        else
            finish(run, 0);
    }
}

static void firmware_line(void *opaque, const char *line)
{
    engine_log_firmware(line);
}

static gboolean on_timeout(gpointer opaque)
{
    finish(opaque, STATUS_TIMEOUT);
    return G_SOURCE_REMOVE;
}

static gboolean on_signal(gpointer opaque)
{
    finish(opaque, STATUS_INTERRUPTED);
    return G_SOURCE_CONTINUE;
}

static void store_picture(Run *run, int fd)
{
    DisplayPicture picture;
    g_autoptr(GError) error = NULL;
    if (!machine_picture(lifecycle_machine(run->lifecycle), &picture)) {
        complain(run->prefix, "the guest has no screen yet: no picture was taken");
        return;
    }
    g_autoptr(GBytes) png = display_picture_png(&picture, &error);
    g_free(picture.rgb);
    gsize size;
    const char *data = png ? g_bytes_get_data(png, &size) : NULL;
    if (png && !write_all(fd, data, size)) {
        g_autofree char *message =
            g_strdup_printf("a picture could not be written: %s", g_strerror(errno));
        complain(run->prefix, message);
    }
    if (!png)
        complain(run->prefix, error->message);
}

static gboolean take_screenshot(gpointer opaque)
{
    Screenshot *screenshot = opaque;
    store_picture(screenshot->run, screenshot->fd);
    return G_SOURCE_REMOVE;
}

static gboolean type_text(gpointer opaque)
{
    TypedText *text = opaque;
    key_feeder_add(text->run->feeder, text->strokes);
    return G_SOURCE_REMOVE;
}

// Ctrl+A x ends, Ctrl+A twice is one Ctrl+A for the guest.
static bool terminal_filter(void *opaque, uint8_t byte)
{
    Run *run = opaque;
    if (!run->terminal_is_tty)
        return true;
    if (run->terminal_escaped) {
        run->terminal_escaped = false;
        if (byte == 'x' || byte == 'X') {
            finish(run, STATUS_INTERRUPTED);
            return false;
        }
        return true;
    }
    run->terminal_escaped = byte == ESCAPE_KEY;
    return !run->terminal_escaped;
}

// Opens a file that something will be written to later. Relative names are as the user meant them.
static int open_output(Run *run, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        g_autofree char *message = g_strdup_printf(
            "%s cannot be written: %s; choose another file", path, g_strerror(errno));
        complain(run->prefix, message);
    }
    return fd;
}

static bool open_outputs(Run *run)
{
    const RunOptions *options = run->options;
    run->display_fd = run->stats_fd = -1;
    if (options->display == RUN_DISPLAY_PICTURE &&
        (run->display_fd = open_output(run, options->display_path)) < 0)
        return false;
    if (options->stats_path && (run->stats_fd = open_output(run, options->stats_path)) < 0)
        return false;
    for (guint i = 0; i < options->screenshots->len; i++) {
        Screenshot screenshot = {
            .run = run,
            .fd = open_output(run, g_array_index(options->screenshots, RunTimed, i).what),
        };
        if (screenshot.fd < 0)
            return false;
        g_array_append_val(run->screenshots, screenshot);
    }
    return true;
}

static bool parse_texts(Run *run)
{
    for (guint i = 0; i < run->options->texts->len; i++) {
        g_autoptr(GError) error = NULL;
        TypedText text = {
            .run = run,
            .strokes = keys_from_escaped_text(
                g_array_index(run->options->texts, RunTimed, i).what, &error),
        };
        if (!text.strokes) {
            g_autofree char *message = g_strdup_printf("--type: %s", error->message);
            complain(run->prefix, message);
            return false;
        }
        g_array_append_val(run->texts, text);
    }
    return true;
}

static void attach_terminal(Run *run)
{
    if (run->options->serial != RUN_SERIAL_STDIO)
        return;
    run->terminal_is_tty = isatty(STDIN_FILENO);
    CharStreamConfig config = {
        .input = dup(STDIN_FILENO),
        .output = dup(STDOUT_FILENO),
        .machine_lock = machine_mutex(lifecycle_machine(run->lifecycle)),
        .filter = terminal_filter,
        .opaque = run,
    };
    run->terminal = char_stream_new(&config);
    machine_add_serial(lifecycle_machine(run->lifecycle), 0, char_stream_backend(run->terminal),
                       false);
}

static void schedule(Run *run)
{
    const RunOptions *options = run->options;
    for (guint i = 0; i < run->screenshots->len; i++)
        g_timeout_add((guint)(g_array_index(options->screenshots, RunTimed, i).seconds * 1000),
                      take_screenshot, &g_array_index(run->screenshots, Screenshot, i));
    for (guint i = 0; i < run->texts->len; i++)
        g_timeout_add((guint)(g_array_index(options->texts, RunTimed, i).seconds * 1000), type_text,
                      &g_array_index(run->texts, TypedText, i));
    if (options->timeout > 0)
        g_timeout_add((guint)(options->timeout * 1000), on_timeout, run);
    g_unix_signal_add(SIGINT, on_signal, run);
    g_unix_signal_add(SIGTERM, on_signal, run);
    g_unix_signal_add(SIGHUP, on_signal, run);
}

// The window is a program of its own: ours, else any SPICE client.

static void die_with_parent(gpointer unused)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static gboolean window_closed(gint fd, GIOCondition condition, gpointer opaque)
{
    finish(opaque, STATUS_INTERRUPTED);
    return G_SOURCE_REMOVE;
}

static bool open_window(Run *run, GError **error)
{
    if (run->options->display != RUN_DISPLAY_WINDOW)
        return true;
    g_autofree char *lodge = program_path("lodge");
    g_autofree char *viewer = g_find_program_in_path("remote-viewer");
    g_autofree char *address = g_strconcat("spice+unix://", run->spice_socket, NULL);
    const char *const ours[] = { lodge, "--attach", run->scanout_socket, NULL };
    const char *const other[] = { viewer, address, NULL };
    if (!lodge && !viewer) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                            "there is no program to show a window with; install lodge or package "
                            "virt-viewer");
        return false;
    }
    GPid pid;
    if (!g_spawn_async(NULL, (char **)(lodge ? ours : other), NULL,
                       G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDIN_FROM_DEV_NULL, die_with_parent,
                       NULL, &pid, error))
        return false;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0)
        g_unix_fd_add(fd, G_IO_IN, window_closed, run);
    return true;
}

static int run_in_process(Run *run)
{
    const RunOptions *options = run->options;
    LifecycleConfig config = {
        .machine = {
            .config = options->config,
            .debug_exit_port = options->debug_exit_port,
            .spice = run->spice_socket != NULL,
            .spice_socket = run->spice_socket,
            .scanout_socket = run->scanout_socket,
            .firmware_line = firmware_line,
        },
        .changed = changed,
        .opaque = run,
    };
    g_autoptr(GError) error = NULL;
    run->lifecycle = lifecycle_new(&config, &error);
    if (!run->lifecycle) {
        complain(run->prefix, error->message);
        return STATUS_FAILED;
    }
    Machine *machine = lifecycle_machine(run->lifecycle);
    run->feeder = key_feeder_new(machine_input(machine), machine_mutex(machine));
    attach_terminal(run);
    g_info("engine %s: %s", machine_backend_name(machine), machine_backend_why(machine));
    if (!open_window(run, &error) || !machine_enter_sandbox(machine, &error)) {
        complain(run->prefix, error->message);
        return STATUS_FAILED;
    }
    schedule(run);
    run->start = g_get_monotonic_time();
    lifecycle_start(run->lifecycle, NULL);
    g_main_loop_run(run->loop);

    if (machine_is_running(machine))
        machine_pause(machine);
    if (run->display_fd >= 0)
        store_picture(run, run->display_fd);
    if (run->stats_fd >= 0)
        run_stats_write(run->stats_fd, machine, (g_get_monotonic_time() - run->start) / 1e6,
                        run->status);
    return run->status;
}

static void close_run(Run *run)
{
    if (run->terminal)
        machine_remove_serial(lifecycle_machine(run->lifecycle), 0,
                              char_stream_backend(run->terminal));
    char_stream_free(run->terminal);
    key_feeder_free(run->feeder);
    lifecycle_free(run->lifecycle);
}

// A window's sockets are below XDG_RUNTIME_DIR.
static void name_sockets(const RunOptions *options, char **ret_spice, char **ret_scanout)
{
    if (options->display == RUN_DISPLAY_WINDOW) {
        g_autofree char *folder = vm_runtime_folder(options->config);
        *ret_spice = g_build_filename(folder, "spice", NULL);
        *ret_scanout = g_build_filename(folder, "scanout", NULL);
    }
    if (options->spice_path) {
        g_free(*ret_spice);
        *ret_spice = g_strdup(options->spice_path);
    }
}

static int machine_process(const RunOptions *options, const char *prefix)
{
    int log_fd = -1;
    Run run = {
        .options = options,
        .prefix = prefix,
        .loop = g_main_loop_new(NULL, FALSE),
        .screenshots = g_array_new(FALSE, FALSE, sizeof(Screenshot)),
        .texts = g_array_new(FALSE, FALSE, sizeof(TypedText)),
        .status = STATUS_FAILED,
    };
    if (options->log_path)
        log_fd = strcmp(options->log_path, "-") == 0 ? dup(STDERR_FILENO)
                                                     : open_output(&run, options->log_path);
    if ((options->log_path && log_fd < 0) || !open_outputs(&run) || !parse_texts(&run))
        return STATUS_FAILED;
    engine_log_init(log_fd);
    name_sockets(options, &run.spice_socket, &run.scanout_socket);
    int status = run_in_process(&run);
    close_run(&run);
    return status;
}

// Before and after.

static bool set_raw(struct termios *ret_saved)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, ret_saved) < 0)
        return false;
    struct termios raw = *ret_saved;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST | ONLCR; // our own messages; the guest's \r\n is not harmed
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void remove_empty(const char *path)
{
    struct stat st;
    if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0)
        g_unlink(path);
}

static void remove_sockets(const RunOptions *options)
{
    g_autofree char *spice = NULL, *scanout = NULL;
    g_autofree char *folder = vm_runtime_folder(options->config);
    name_sockets(options, &spice, &scanout);
    if (spice)
        g_unlink(spice);
    if (scanout)
        g_unlink(scanout);
    g_rmdir(folder);
}

static void remove_unused_outputs(const RunOptions *options)
{
    remove_empty(options->display_path);
    remove_empty(options->stats_path);
    for (guint i = 0; i < options->screenshots->len; i++)
        remove_empty(g_array_index(options->screenshots, RunTimed, i).what);
}

typedef struct {
    const RunOptions *options;
    const char *prefix;
    bool raw;
    struct termios saved; // the terminal as it was
} Start;

static int start_machine(void *opaque)
{
    const Start *start = opaque;
    return machine_process(start->options, start->prefix);
}

static void tidy(void *opaque, int status)
{
    const Start *start = opaque;
    if (start->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &start->saved);
    remove_unused_outputs(start->options);
    remove_sockets(start->options);
}

int run_machine(const RunOptions *options, const char *prefix)
{
    Start start = { .options = options, .prefix = prefix };
    start.raw = options->serial == RUN_SERIAL_STDIO && set_raw(&start.saved);
    return supervise(start_machine, tidy, &start, prefix);
}
