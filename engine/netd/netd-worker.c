// SPDX-License-Identifier: GPL-2.0-or-later
// One thread, one poll: frames from the engine into the stack, frames from the stack to the engine
// through a bounded queue, control lines answered in order.
#include "engine/netd/netd-worker.h"

#include "engine/netd/netd-protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    FRAMES_PER_TURN = 64,
    QUEUE_BYTES_MAX = 2 * 1024 * 1024,
    RESOLVER_CHECK_SECONDS = 2,
};

#define RESOLVER "/etc/resolv.conf"

typedef struct {
    int frames_fd;
    int control_fd;
    NatStack *stack;
    GQueue queue; // of GBytes, for the engine
    size_t queue_bytes;
    uint8_t *buffer; // one frame
    bool ended;
    struct stat resolver;
    time_t resolver_checked;
    bool renew;
} Worker;

static bool send_now(Worker *w, const void *frame, size_t size)
{
    return send(w->frames_fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static bool send_frame(void *opaque, const uint8_t *frame, size_t size)
{
    Worker *w = opaque;
    if (!w->queue_bytes && send_now(w, frame, size))
        return true;
    if (w->queue_bytes + size > QUEUE_BYTES_MAX)
        return false;
    g_queue_push_tail(&w->queue, g_bytes_new(frame, size));
    w->queue_bytes += size;
    return true;
}

static void flush_queue(Worker *w)
{
    GBytes *frame;
    while ((frame = g_queue_peek_head(&w->queue))) {
        gsize size;
        const void *data = g_bytes_get_data(frame, &size);
        if (!send_now(w, data, size) && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
            return;
        w->queue_bytes -= size;
        g_bytes_unref(g_queue_pop_head(&w->queue));
    }
}

static void receive_frames(Worker *w)
{
    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        ssize_t size = recv(w->frames_fd, w->buffer, NETD_FRAME_MAX, MSG_DONTWAIT);
        if (size == 0)
            w->ended = true;
        if (size <= 0)
            return;
        nat_stack_input(w->stack, w->buffer, (size_t)size);
    }
}

G_GNUC_PRINTF(2, 3) static void say(Worker *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    // The engine reads its control socket at once; if it does not, it is gone or stuck, and an
    // answer late is as good as none.
    send(w->control_fd, line, MIN(strlen(line), NETD_LINE_MAX - 1), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool parse_port(const char *text, uint16_t *ret)
{
    guint64 value;
    if (!g_ascii_string_to_unsigned(text, 10, 0, 65535, &value, NULL))
        return false;
    *ret = (uint16_t)value;
    return true;
}

static void answer(Worker *w, const char *id, char *error)
{
    if (error)
        say(w, "error %s %s", id, error);
    else
        say(w, "ok %s", id);
    g_free(error);
}

static void handle_line(Worker *w, const char *line)
{
    g_auto(GStrv) word = g_strsplit(line, " ", -1);
    guint count = g_strv_length(word);
    NatForward forward = { .guest = "-" };
    if (count < 2)
        return;
    const char *id = word[1];
    bool known = count >= 5 && (!strcmp(word[2], "tcp") || !strcmp(word[2], "udp"));
    if (known) {
        forward.udp = word[2][0] == 'u';
        forward.host = word[3];
    }
    if (!strcmp(word[0], "ping")) {
        answer(w, id, NULL);
    } else if (!strcmp(word[0], "add") && count == 7 && known &&
               parse_port(word[4], &forward.host_port) &&
               parse_port(word[6], &forward.guest_port)) {
        forward.guest = word[5];
        answer(w, id, nat_stack_add_forward(w->stack, &forward));
    } else if (!strcmp(word[0], "remove") && count == 5 && known &&
               parse_port(word[4], &forward.host_port)) {
        answer(w, id, nat_stack_remove_forward(w->stack, &forward));
    } else {
        answer(w, id, g_strdup("the request is not understood"));
    }
}

static void receive_lines(Worker *w)
{
    char line[NETD_LINE_MAX];
    for (;;) {
        ssize_t size = recv(w->control_fd, line, sizeof line - 1, MSG_DONTWAIT);
        if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
            w->ended = true;
        if (size <= 0)
            return;
        line[size] = 0;
        handle_line(w, line);
    }
}

// Landlock allows the file that resolv.conf was at the start. Programs replace it by a new one when
// the network changes; the worker then asks to be started again, which allows the new one.
static void check_resolver(Worker *w)
{
    struct stat now;
    time_t seconds = time(NULL);
    if (seconds - w->resolver_checked < RESOLVER_CHECK_SECONDS && seconds >= w->resolver_checked)
        return;
    w->resolver_checked = seconds;
    if (stat(RESOLVER, &now) ||
        (now.st_dev == w->resolver.st_dev && now.st_ino == w->resolver.st_ino))
        return;
    w->resolver = now;
    int fd = open(RESOLVER, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    else if (errno == EACCES)
        w->renew = true;
}

static void turn(Worker *w, NatPollSet *set)
{
    int timeout_ms = -1;
    set->count = 0;
    size_t frames = nat_poll_set_add(set, w->frames_fd,
                                     (short)(POLLIN | (w->queue_bytes ? POLLOUT : 0)));
    size_t control = nat_poll_set_add(set, w->control_fd, POLLIN);
    nat_stack_fill(w->stack, set, &timeout_ms);
    int ready = poll(set->fds, set->count, timeout_ms);
    if (ready < 0 && errno == EINTR)
        return;
    nat_stack_dispatch(w->stack, set, ready < 0);
    if (ready <= 0)
        return;
    // Lines first: what the engine asked for before it sent a frame holds for that frame.
    if (set->fds[control].revents & (POLLIN | POLLHUP | POLLERR))
        receive_lines(w);
    if (set->fds[frames].revents & POLLOUT)
        flush_queue(w);
    if (set->fds[frames].revents & (POLLIN | POLLHUP | POLLERR))
        receive_frames(w);
    check_resolver(w);
}

int netd_worker_run(int frames_fd, int control_fd, const NatStackConfig *config)
{
    Worker w = { .frames_fd = frames_fd, .control_fd = control_fd };
    NatPollSet set = { 0 };
    NatStackConfig stack = *config;
    stack.send = send_frame;
    stack.opaque = &w;
    g_queue_init(&w.queue);
    w.buffer = g_malloc(NETD_FRAME_MAX);
    w.stack = nat_stack_new(&stack);
    if (stat(RESOLVER, &w.resolver))
        memset(&w.resolver, 0, sizeof w.resolver);
    say(&w, "hello");
    while (!w.ended && !w.renew)
        turn(&w, &set);
    nat_stack_free(w.stack);
    g_queue_clear_full(&w.queue, (GDestroyNotify)g_bytes_unref);
    g_free(w.buffer);
    g_free(set.fds);
    return w.ended ? 0 : NETD_EXIT_RENEW;
}
