// SPDX-License-Identifier: GPL-2.0-or-later
// The SPICE server as a whole: its thread, its sockets, its clients.
//
// libspice's own listener is not used: it takes whoever may connect. Ours is a socket of mode 0600
// in a folder of mode 0700 and looks at the peer's user.
#include "engine/spice/spice-private.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define END_US (4 * G_USEC_PER_SEC)

// channel_event says not whose channel it is.
static GPrivate current_server;

void lodge_spice_post(LodgeSpice *spice, GSourceFunc function, gpointer data)
{
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, function, data, NULL);
    g_source_attach(source, spice->context);
}

typedef struct {
    GSourceFunc function;
    gpointer data;
    GMutex lock;
    GCond done_wake;
    bool done;
} SyncCall;

static gboolean run_sync_call(gpointer data)
{
    SyncCall *call = data;
    call->function(call->data);
    g_mutex_lock(&call->lock);
    call->done = true;
    g_cond_signal(&call->done_wake);
    g_mutex_unlock(&call->lock);
    return G_SOURCE_REMOVE;
}

static void call_and_wait(LodgeSpice *spice, GSourceFunc function, gpointer data)
{
    SyncCall call = { .function = function, .data = data };
    g_mutex_init(&call.lock);
    g_cond_init(&call.done_wake);
    lodge_spice_post(spice, run_sync_call, &call);
    g_mutex_lock(&call.lock);
    while (!call.done)
        g_cond_wait(&call.done_wake, &call.lock);
    g_mutex_unlock(&call.lock);
    g_mutex_clear(&call.lock);
    g_cond_clear(&call.done_wake);
}

// ---- clients: spice thread ----

static void add_client(LodgeSpice *spice, int fd, bool scanout)
{
    if (scanout != spice->display.scanout_wanted) {
        // The new client takes over in any case; the old one cannot follow the change.
        lodge_spice_relay_drop(spice->relay);
        lodge_spice_display_kind(spice, scanout);
    }
    int server_fd = lodge_spice_relay_add(spice->relay, fd);
    if (server_fd < 0) {
        g_warning("no SPICE connection: %s", g_strerror(errno));
    } else if (spice_server_add_client(spice->server, server_fd, TRUE) != 0) {
        g_warning("the SPICE server refused a connection");
        close(server_fd);
    }
}

static gboolean accept_client(int fd, GIOCondition condition, gpointer data)
{
    typeof(((LodgeSpice *)0)->listeners[0]) *listener = data;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0)
        return G_SOURCE_CONTINUE;
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.uid != getuid()) {
        g_warning("another user's connection to %s refused", listener->path);
        close(client);
        return G_SOURCE_CONTINUE;
    }
    add_client(listener->spice, client, listener->scanout);
    return G_SOURCE_CONTINUE;
}

static void channel_event(int event, SpiceChannelEventInfo *info)
{
    LodgeSpice *spice = g_private_get(&current_server);
    if (!spice)
        return;
    if (info->type == SPICE_CHANNEL_DISPLAY && event == SPICE_CHANNEL_EVENT_INITIALIZED)
        lodge_spice_display_viewer(spice, true);
    if (event != SPICE_CHANNEL_EVENT_DISCONNECTED)
        return;
    if (info->type == SPICE_CHANNEL_DISPLAY)
        lodge_spice_display_viewer(spice, false);
    if (info->type == SPICE_CHANNEL_INPUTS)
        lodge_spice_inputs_released(spice);
}

// ---- listening ----

static bool check_folder(const char *path, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    struct stat st;
    if (g_mkdir_with_parents(folder, 0700) < 0 || stat(folder, &st) < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "%s: %s", folder,
                    g_strerror(errno));
        return false;
    }
    if (st.st_uid != getuid() || st.st_mode & 077) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                    "%s: others may look into this folder; a SPICE socket needs one of mode 0700",
                    folder);
        return false;
    }
    return true;
}

static bool open_listener(LodgeSpice *spice, unsigned index, const char *path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (!path)
        return true;
    if (strlen(path) >= sizeof address.sun_path) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG,
                    "%s: longer than the %zu bytes of a socket's path", path,
                    sizeof address.sun_path - 1);
        return false;
    }
    if (!check_folder(path, error))
        return false;
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    // The mode of the socket before bind is the mode of the file after it.
    unlink(path);
    if (fd < 0 || fchmod(fd, 0600) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "%s: %s", path,
                    g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    spice->listeners[index].path = g_strdup(path);
    spice->listeners[index].fd = fd;
    spice->listeners[index].scanout = index == 1;
    spice->listeners[index].spice = spice;
    return true;
}

static void start_listener(LodgeSpice *spice, unsigned index)
{
    if (spice->listeners[index].fd < 0)
        return;
    GSource *source = g_unix_fd_source_new(spice->listeners[index].fd, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(accept_client), &spice->listeners[index], NULL);
    g_source_attach(source, spice->context);
    spice->listeners[index].source = source;
}

static void close_listener(LodgeSpice *spice, unsigned index)
{
    if (spice->listeners[index].source) {
        g_source_destroy(spice->listeners[index].source);
        g_source_unref(spice->listeners[index].source);
    }
    if (spice->listeners[index].fd >= 0) {
        close(spice->listeners[index].fd);
        unlink(spice->listeners[index].path);
    }
    g_free(spice->listeners[index].path);
}

// ---- the thread ----

static bool has_serial(const LodgeSpice *spice, unsigned index)
{
    return index < LODGE_SPICE_SERIAL_MAX && spice->serial_mask >> index & 1;
}

static bool open_server(LodgeSpice *spice)
{
    static const uint8_t no_uuid[16];
    spice->server = spice_server_new();
    spice_server_set_name(spice->server, spice->name);
    if (memcmp(spice->uuid, no_uuid, sizeof no_uuid))
        spice_server_set_uuid(spice->server, spice->uuid);
    spice_server_set_noauth(spice->server);
    // The client is on this machine: pixels go as they are.
    spice_server_set_image_compression(spice->server, SPICE_IMAGE_COMPRESSION_OFF);
    spice_server_set_streaming_video(spice->server, SPICE_STREAM_VIDEO_OFF);
    spice_server_set_playback_compression(spice->server, 0);
    spice_server_set_agent_mouse(spice->server, 0);
    lodge_spice_core_fill(&spice->core);
    spice->core.channel_event = channel_event;
    if (spice_server_init(spice->server, &spice->core) != 0)
        return false;
    if (!lodge_spice_display_open(spice) || !lodge_spice_inputs_open(spice))
        return false;
    for (unsigned i = 0; i < LODGE_SPICE_SERIAL_MAX; i++)
        if (has_serial(spice, i) && !lodge_spice_serial_open(spice, i))
            return false;
    spice_server_vm_start(spice->server);
    return true;
}

typedef struct {
    LodgeSpice *spice;
    GMutex lock;
    GCond started_wake;
    bool started;
    bool ok;
} Start;

// Stopping the server waits for clients; there must be none.
static void drop_and_wait(LodgeSpice *spice)
{
    int64_t end = g_get_monotonic_time() + END_US;
    lodge_spice_relay_drop(spice->relay);
    while (!lodge_spice_relay_empty(spice->relay) && g_get_monotonic_time() < end)
        if (!g_main_context_iteration(spice->context, FALSE))
            g_usleep(1000);
}

static gpointer thread_main(gpointer data)
{
    Start *start = data;
    LodgeSpice *spice = start->spice;
    // A client that goes away must not kill the engine; the worker inherits this.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);

    g_main_context_push_thread_default(spice->context);
    g_private_set(&current_server, spice);
    bool ok = open_server(spice);
    for (unsigned i = 0; ok && i < G_N_ELEMENTS(spice->listeners); i++)
        start_listener(spice, i);

    g_mutex_lock(&start->lock);
    start->ok = ok;
    start->started = true;
    g_cond_signal(&start->started_wake);
    g_mutex_unlock(&start->lock);
    if (ok)
        g_main_loop_run(spice->loop);

    lodge_spice_display_close(spice);
    lodge_spice_inputs_close(spice);
    if (ok) {
        drop_and_wait(spice);
        spice_server_vm_stop(spice->server);
    }
    g_private_set(&current_server, NULL);
    spice_server_destroy(spice->server);
    lodge_spice_display_free(spice);
    g_main_context_pop_thread_default(spice->context);
    return NULL;
}

static bool start_thread(LodgeSpice *spice)
{
    Start start = { .spice = spice };
    g_mutex_init(&start.lock);
    g_cond_init(&start.started_wake);
    spice->thread = g_thread_new("spice", thread_main, &start);
    g_mutex_lock(&start.lock);
    while (!start.started)
        g_cond_wait(&start.started_wake, &start.lock);
    g_mutex_unlock(&start.lock);
    g_mutex_clear(&start.lock);
    g_cond_clear(&start.started_wake);
    return start.ok;
}

LodgeSpice *lodge_spice_new(const LodgeSpiceConfig *config, GError **error)
{
    g_autoptr(LodgeSpice) spice = g_new0(LodgeSpice, 1);
    spice->name = g_strdup(config->name ? config->name : "Lodge");
    memcpy(spice->uuid, config->uuid, sizeof spice->uuid);
    spice->machine_lock = config->machine_lock;
    spice->input = config->input;
    spice->serial_mask = config->serial_mask;
    spice->context = g_main_context_new();
    spice->loop = g_main_loop_new(spice->context, FALSE);
    spice->relay = lodge_spice_relay_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(spice->listeners); i++)
        spice->listeners[i].fd = -1;
    for (unsigned i = 0; i < LODGE_SPICE_SERIAL_MAX; i++)
        if (has_serial(spice, i))
            lodge_spice_serial_prepare(spice, i);
    if (!open_listener(spice, 0, config->socket_path, error) ||
        !open_listener(spice, 1, config->scanout_path, error))
        return NULL;
    if (!start_thread(spice)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "the SPICE server does not start");
        return NULL;
    }
    return g_steal_pointer(&spice);
}

static gboolean quit_loop(gpointer data)
{
    g_main_loop_quit(data);
    return G_SOURCE_REMOVE;
}

void lodge_spice_free(LodgeSpice *spice)
{
    if (!spice)
        return;
    if (spice->thread) {
        lodge_spice_post(spice, quit_loop, spice->loop);
        g_thread_join(spice->thread);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(spice->listeners); i++)
        close_listener(spice, i);
    for (unsigned i = 0; i < LODGE_SPICE_SERIAL_MAX; i++)
        if (has_serial(spice, i))
            lodge_spice_serial_free(spice, i);
    lodge_spice_relay_free(spice->relay);
    g_main_loop_unref(spice->loop);
    g_main_context_unref(spice->context);
    g_free(spice->name);
    g_free(spice);
}

const DisplaySink *lodge_spice_display_sink(LodgeSpice *spice)
{
    return &spice->display.sink;
}

typedef struct {
    LodgeSpice *spice;
    DisplaySource source;
} AttachSource;

static gboolean attach_source(gpointer data)
{
    g_autofree AttachSource *call = data;
    call->spice->display.source = call->source;
    call->spice->display.has_source = true;
    lodge_spice_display_wake(call->spice);
    return G_SOURCE_REMOVE;
}

static gboolean detach_source(gpointer data)
{
    ((LodgeSpice *)data)->display.has_source = false;
    return G_SOURCE_REMOVE;
}

void lodge_spice_set_display_source(LodgeSpice *spice, const DisplaySource *source)
{
    if (!source) {
        call_and_wait(spice, detach_source, spice);
        return;
    }
    AttachSource call = { spice, *source };
    lodge_spice_post(spice, attach_source, g_memdup2(&call, sizeof call));
}

const CharBackend *lodge_spice_serial(LodgeSpice *spice, unsigned index)
{
    return has_serial(spice, index) ? &spice->serial[index].backend : NULL;
}

typedef struct {
    LodgeSpice *spice;
    int fd;
    bool scanout;
} OpenClient;

static gboolean open_client(gpointer data)
{
    g_autofree OpenClient *call = data;
    add_client(call->spice, call->fd, call->scanout);
    return G_SOURCE_REMOVE;
}

void lodge_spice_open_client(LodgeSpice *spice, int fd, bool scanout)
{
    OpenClient call = { spice, fd, scanout };
    lodge_spice_post(spice, open_client, g_memdup2(&call, sizeof call));
}

static gboolean set_paused(gpointer data)
{
    ((LodgeSpice *)data)->display.paused = true;
    return G_SOURCE_REMOVE;
}

static gboolean set_running(gpointer data)
{
    LodgeSpice *spice = data;
    spice->display.paused = false;
    lodge_spice_display_wake(spice);
    return G_SOURCE_REMOVE;
}

void lodge_spice_pause(LodgeSpice *spice)
{
    lodge_spice_post(spice, set_paused, spice);
}

void lodge_spice_resume(LodgeSpice *spice)
{
    lodge_spice_post(spice, set_running, spice);
}

bool lodge_spice_has_viewer(LodgeSpice *spice)
{
    return g_atomic_int_get(&spice->display.viewers) > 0;
}
