// SPDX-License-Identifier: GPL-2.0-or-later
// One thread moves frames from lodge-netd to the device and reads control lines; frames from the
// device go straight to the socket from whoever sends, and wait in a bounded queue only where the
// socket is full. Frames that the device cannot take yet wait in another; while that is full the
// socket is not read, so that the network process slows its connections down.
//
// Lock order: machine lock, then `lock`. The thread holds neither while it polls.
#include "engine/netd/net-nat.h"

#include "engine/base/program-path.h"
#include "engine/netd/netd-protocol.h"

#include <errno.h>
#include <gio/gio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    RECEIVE_QUEUE_MAX = 128,             // frames
    SEND_QUEUE_MAX = 1024 * 1024,        // bytes
    SOCKET_BUFFER = 1024 * 1024,         // bytes, as far as the host lets us
    ANSWER_SECONDS = 5,
    END_MILLISECONDS = 2000,
};

struct NetNat {
    NetBackend backend;
    GMutex *machine_lock;
    NetFrontend frontend; // machine lock
    bool attached;        // machine lock
    bool link_up;         // machine lock
    bool starved;         // machine lock: frames wait for room in the device
    GQueue receive_queue; // of GBytes; the thread's own
    int frames_fd;
    int control_fd;
    int wake_fd; // eventfd
    GPid pid;
    GThread *thread;
    uint8_t *buffer; // one frame; the thread's own

    GMutex lock;
    GCond answered;
    bool quit;
    bool greeted;      // a "hello" has come
    bool ended;        // the control socket ended
    GQueue send_queue; // of GBytes
    size_t send_bytes;
    GPtrArray *forwards; // of the "PROTOCOL HOST HOST_PORT GUEST GUEST_PORT" that hold
    guint64 next_id;
    guint64 waiting_id; // request that a caller waits for, 0 for none
    bool answer_ready;
    char *answer_error; // NULL: ok
};

static void wake(NetNat *nat)
{
    guint64 one = 1;
    // Full only when the thread is about to wake anyway.
    if (write(nat->wake_fd, &one, sizeof one) < 0)
        return;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool send_now(NetNat *nat, const void *frame, size_t size)
{
    return send(nat->frames_fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void backend_send(void *opaque, const uint8_t *frame, size_t size)
{
    NetNat *nat = opaque;
    bool queued = false;
    if (size < 14 || size > NETD_FRAME_MAX)
        return;
    g_mutex_lock(&nat->lock);
    if (nat->send_bytes || !send_now(nat, frame, size)) {
        if (nat->send_bytes + size <= SEND_QUEUE_MAX) {
            queued = nat->send_bytes == 0;
            g_queue_push_tail(&nat->send_queue, g_bytes_new(frame, size));
            nat->send_bytes += size;
        }
    }
    g_mutex_unlock(&nat->lock);
    if (queued)
        wake(nat);
}

static void backend_attach(void *opaque, const NetFrontend *frontend)
{
    NetNat *nat = opaque;
    nat->attached = frontend != NULL;
    if (!frontend)
        return;
    nat->frontend = *frontend;
    frontend->link_changed(frontend->opaque, nat->link_up);
}

static void backend_room(void *opaque)
{
    NetNat *nat = opaque;
    if (nat->starved)
        wake(nat);
}

static void flush_send_queue(NetNat *nat)
{
    GBytes *frame;
    g_mutex_lock(&nat->lock);
    while ((frame = g_queue_peek_head(&nat->send_queue))) {
        gsize size;
        const void *data = g_bytes_get_data(frame, &size);
        if (!send_now(nat, data, size) &&
            (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
            break;
        nat->send_bytes -= size;
        g_bytes_unref(g_queue_pop_head(&nat->send_queue));
    }
    g_mutex_unlock(&nat->lock);
}

// Hands what waits to the device, as far as it has room.
static void deliver(NetNat *nat)
{
    if (!nat->receive_queue.length)
        return;
    g_mutex_lock(nat->machine_lock);
    while (nat->receive_queue.length) {
        if (nat->attached && nat->link_up &&
            !nat->frontend.can_receive(nat->frontend.opaque))
            break;
        g_autoptr(GBytes) frame = g_queue_pop_head(&nat->receive_queue);
        gsize size;
        const uint8_t *data = g_bytes_get_data(frame, &size);
        if (nat->attached && nat->link_up)
            nat->frontend.receive(nat->frontend.opaque, data, size);
    }
    nat->starved = nat->receive_queue.length > 0;
    g_mutex_unlock(nat->machine_lock);
}

static void receive_frames(NetNat *nat)
{
    while (nat->receive_queue.length < RECEIVE_QUEUE_MAX) {
        ssize_t size = recv(nat->frames_fd, nat->buffer, NETD_FRAME_MAX, MSG_DONTWAIT);
        if (size <= 0)
            return;
        g_queue_push_tail(&nat->receive_queue, g_bytes_new(nat->buffer, (gsize)size));
    }
}

static void set_link(NetNat *nat, bool up)
{
    g_mutex_lock(nat->machine_lock);
    if (nat->link_up != up) {
        nat->link_up = up;
        if (nat->attached)
            nat->frontend.link_changed(nat->frontend.opaque, up);
    }
    g_mutex_unlock(nat->machine_lock);
}

G_GNUC_PRINTF(2, 3) static bool say(NetNat *nat, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    return strlen(line) < NETD_LINE_MAX &&
           send(nat->control_fd, line, strlen(line), MSG_NOSIGNAL) >= 0;
}

// A new stack: it knows no forwards. Request 0 is one whose answer nobody waits for.
static void greeted(NetNat *nat)
{
    g_mutex_lock(&nat->lock);
    for (guint i = 0; i < nat->forwards->len; i++)
        say(nat, "add 0 %s", (const char *)nat->forwards->pdata[i]);
    nat->greeted = true;
    g_cond_broadcast(&nat->answered);
    g_mutex_unlock(&nat->lock);
    set_link(nat, true);
}

static void take_answer(NetNat *nat, const char *rest, bool ok)
{
    char *words;
    guint64 id = g_ascii_strtoull(rest, &words, 10);
    while (*words == ' ')
        words++;
    if (id == 0) {
        if (!ok)
            g_warning("network: a forward was not restored: %s", words);
        return;
    }
    g_mutex_lock(&nat->lock);
    if (id == nat->waiting_id) {
        nat->answer_error = ok ? NULL : g_strdup(words);
        nat->answer_ready = true;
        g_cond_broadcast(&nat->answered);
    }
    g_mutex_unlock(&nat->lock);
}

// False when the socket has ended.
static bool receive_lines(NetNat *nat)
{
    char line[NETD_LINE_MAX];
    for (;;) {
        ssize_t size = recv(nat->control_fd, line, sizeof line - 1, MSG_DONTWAIT);
        if (size <= 0)
            return size < 0 && (errno == EAGAIN || errno == EINTR);
        line[size] = 0;
        if (g_str_equal(line, "hello")) {
            greeted(nat);
        } else if (g_str_has_prefix(line, "down ")) {
            g_warning("network: %s; it is started again", line + 5);
            set_link(nat, false);
        } else if (g_str_has_prefix(line, "ok ")) {
            take_answer(nat, line + 3, true);
        } else if (g_str_has_prefix(line, "error ")) {
            take_answer(nat, line + 6, false);
        }
    }
}

static void control_ended(NetNat *nat)
{
    g_mutex_lock(&nat->lock);
    bool expected = nat->quit;
    nat->ended = true;
    g_cond_broadcast(&nat->answered);
    g_mutex_unlock(&nat->lock);
    if (!expected)
        g_warning("network: the network process has gone; the guest's link is down");
    set_link(nat, false);
}

static gpointer thread_main(gpointer opaque)
{
    NetNat *nat = opaque;
    bool ended = false;
    for (;;) {
        g_mutex_lock(&nat->lock);
        bool quit = nat->quit, sending = nat->send_bytes > 0;
        g_mutex_unlock(&nat->lock);
        if (quit)
            return NULL;
        bool full = nat->receive_queue.length >= RECEIVE_QUEUE_MAX;
        struct pollfd fds[3] = {
            { nat->wake_fd, POLLIN, 0 },
            { ended ? -1 : nat->control_fd, POLLIN, 0 },
            { ended ? -1 : nat->frames_fd,
              (short)((full ? 0 : POLLIN) | (sending ? POLLOUT : 0)), 0 },
        };
        if (poll(fds, G_N_ELEMENTS(fds), -1) < 0)
            continue;
        guint64 count;
        if ((fds[0].revents & POLLIN) && read(nat->wake_fd, &count, sizeof count) < 0)
            continue;
        if (fds[1].revents && !receive_lines(nat)) {
            ended = true;
            control_ended(nat);
        }
        if (fds[2].revents & POLLOUT)
            flush_send_queue(nat);
        if (fds[2].revents & POLLIN)
            receive_frames(nat);
        deliver(nat);
    }
}

static bool socket_pair(int ret[2], GError **error)
{
    int size = SOCKET_BUFFER;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret)) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    "no sockets for the network process: %s", g_strerror(errno));
        return false;
    }
    for (int i = 0; i < 2; i++)
        setsockopt(ret[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return true;
}

static bool spawn(NetNat *nat, const NetNatConfig *config, int frames, int control,
                  GError **error)
{
    g_autofree char *program =
        config->program ? g_strdup(config->program) : program_path("lodge-netd");
    g_autoptr(GError) failure = NULL;
    if (!program) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "the network program lodge-netd is neither beside lodge-engine nor in PATH; "
                    "install it, or create the machine without a network");
        return false;
    }
    const char *argv[8] = { program };
    int count = 1;
    if (config->no_ipv6)
        argv[count++] = "--no-ipv6";
    if (config->restricted)
        argv[count++] = "--restricted";
    if (config->hostname) {
        argv[count++] = "--hostname";
        argv[count++] = config->hostname;
    }
    const int source[] = { frames, control }, target[] = { NETD_FRAMES_FD, NETD_CONTROL_FD };
    if (g_spawn_async_with_pipes_and_fds(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                                         -1, -1, -1, source, target, 2, &nat->pid, NULL, NULL,
                                         NULL, &failure))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "the network program cannot be started: %s",
                failure->message);
    return false;
}

// Waits for the condition's change; false after the time allowed or once the process has gone.
static bool wait_until(NetNat *nat, const bool *flag)
{
    gint64 deadline = g_get_monotonic_time() + ANSWER_SECONDS * G_TIME_SPAN_SECOND;
    while (!*flag && !nat->ended) {
        if (!g_cond_wait_until(&nat->answered, &nat->lock, deadline))
            break;
    }
    return *flag;
}

static char *forward_words(const NetForward *f, bool with_guest)
{
    const char *host = f->host_address ? f->host_address : "127.0.0.1";
    const char *guest = f->guest_address ? f->guest_address : "-";
    const char *protocol = f->udp ? "udp" : "tcp";
    if (!with_guest)
        return g_strdup_printf("%s %s %u", protocol, host, f->host_port);
    return g_strdup_printf("%s %s %u %s %u", protocol, host, f->host_port, guest, f->guest_port);
}

// Addresses go into a line of words: a space in one would change the line's meaning.
static bool check_forward(const NetForward *f, GError **error)
{
    const char *texts[] = { f->host_address, f->guest_address };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (texts[i] && !g_hostname_is_ip_address(texts[i])) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "'%s' is not an IP address; choose 127.0.0.1", texts[i]);
            return false;
        }
    }
    return true;
}

// Sends "VERB ID WORDS" and waits for the answer.
static bool request(NetNat *nat, const char *verb, const char *words, GError **error)
{
    g_mutex_lock(&nat->lock);
    while (nat->waiting_id) // one at a time
        g_cond_wait(&nat->answered, &nat->lock);
    guint64 id = nat->waiting_id = ++nat->next_id;
    nat->answer_ready = false;
    say(nat, "%s %" G_GUINT64_FORMAT " %s", verb, id, words);
    bool answered = wait_until(nat, &nat->answer_ready);
    g_autofree char *failure = answered ? g_steal_pointer(&nat->answer_error)
                                        : g_strdup("the network process does not answer; "
                                                   "restart the machine");
    nat->waiting_id = 0;
    g_cond_broadcast(&nat->answered);
    g_mutex_unlock(&nat->lock);
    if (!failure)
        return true;
    bool taken = strstr(failure, "already taken") != NULL;
    g_set_error_literal(error, G_IO_ERROR,
                        taken ? G_IO_ERROR_ADDRESS_IN_USE : G_IO_ERROR_FAILED, failure);
    return false;
}

gboolean net_nat_add_forward(NetNat *nat, const NetForward *forward, GError **error)
{
    if (!check_forward(forward, error))
        return FALSE;
    g_autofree char *words = forward_words(forward, true);
    if (!request(nat, "add", words, error))
        return FALSE;
    g_mutex_lock(&nat->lock);
    g_ptr_array_add(nat->forwards, g_steal_pointer(&words));
    g_mutex_unlock(&nat->lock);
    return TRUE;
}

gboolean net_nat_remove_forward(NetNat *nat, const NetForward *forward, GError **error)
{
    if (!check_forward(forward, error))
        return FALSE;
    g_autofree char *words = forward_words(forward, false);
    if (!request(nat, "remove", words, error))
        return FALSE;
    g_autofree char *prefix = g_strconcat(words, " ", NULL);
    g_mutex_lock(&nat->lock);
    for (guint i = nat->forwards->len; i-- > 0;) {
        if (g_str_has_prefix(nat->forwards->pdata[i], prefix))
            g_ptr_array_remove_index(nat->forwards, i);
    }
    g_mutex_unlock(&nat->lock);
    return TRUE;
}

static bool wait_for_greeting(NetNat *nat, GError **error)
{
    g_mutex_lock(&nat->lock);
    bool up = wait_until(nat, &nat->greeted);
    g_mutex_unlock(&nat->lock);
    if (!up)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the network program has started but does not answer; its message, if any, "
                    "stands above");
    return up;
}

NetNat *net_nat_new(const NetNatConfig *config, GMutex *machine_lock, GError **error)
{
    int frames[2] = { -1, -1 }, control[2] = { -1, -1 };
    NetNat *nat = g_new0(NetNat, 1);
    nat->backend = (NetBackend){ backend_send, backend_attach, backend_room, nat };
    nat->machine_lock = machine_lock;
    nat->link_up = true;
    nat->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    nat->buffer = g_malloc(NETD_FRAME_MAX);
    nat->forwards = g_ptr_array_new_with_free_func(g_free);
    nat->frames_fd = nat->control_fd = -1;
    g_mutex_init(&nat->lock);
    g_cond_init(&nat->answered);
    g_queue_init(&nat->receive_queue);
    g_queue_init(&nat->send_queue);
    bool ok = socket_pair(frames, error) && socket_pair(control, error) &&
              spawn(nat, config, frames[1], control[1], error);
    nat->frames_fd = frames[0];
    nat->control_fd = control[0];
    close_fd(&frames[1]);
    close_fd(&control[1]);
    if (ok) {
        nat->thread = g_thread_new("nat", thread_main, nat);
        ok = wait_for_greeting(nat, error);
    }
    for (size_t i = 0; ok && i < config->forward_count; i++)
        ok = net_nat_add_forward(nat, &config->forwards[i], error);
    if (!ok) {
        net_nat_free(nat);
        return NULL;
    }
    return nat;
}

// The process ends when its sockets do; one that hangs is killed.
static void reap(GPid pid)
{
    for (int waited = 0; waited < END_MILLISECONDS; waited += 5) {
        pid_t rc = waitpid(pid, NULL, WNOHANG);
        if (rc == pid || (rc < 0 && errno == ECHILD))
            return;
        g_usleep(5000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

void net_nat_free(NetNat *nat)
{
    if (!nat)
        return;
    if (nat->thread) {
        g_mutex_lock(&nat->lock);
        nat->quit = true;
        g_mutex_unlock(&nat->lock);
        wake(nat);
        g_thread_join(nat->thread);
    }
    close_fd(&nat->frames_fd);
    close_fd(&nat->control_fd);
    close_fd(&nat->wake_fd);
    if (nat->pid)
        reap(nat->pid);
    g_queue_clear_full(&nat->receive_queue, (GDestroyNotify)g_bytes_unref);
    g_queue_clear_full(&nat->send_queue, (GDestroyNotify)g_bytes_unref);
    g_ptr_array_unref(nat->forwards);
    g_free(nat->answer_error);
    g_free(nat->buffer);
    g_mutex_clear(&nat->lock);
    g_cond_clear(&nat->answered);
    g_free(nat);
}

const NetBackend *net_nat_backend(NetNat *nat)
{
    return &nat->backend;
}

GPid net_nat_pid(const NetNat *nat)
{
    return nat->pid;
}
