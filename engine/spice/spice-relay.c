// SPDX-License-Identifier: GPL-2.0-or-later
// A link is one connection: the client's socket and our end of the pair, each with what was read
// from it and not yet written to the other, descriptors included (scanouts travel as SCM_RIGHTS).
// Links live in the relay's thread; the lock guards only what other threads look at.
//
//   open      both ends live
//   gone      the client is cut off or left; what libspice says is thrown away
//   ended     gone, and libspice was told by an end of file
//   finished  libspice closed its end; what it said last still goes to the client, if it can
//
// A display channel is special: libspice's worker waits up to 30 seconds for its first message
// (INIT) and crashes on an end of file meanwhile. Where the client does not get to sending it, the
// relay sends one, and the end is told only when libspice has gone on.
#include "engine/spice/spice-relay.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <spice/enums.h>
#include <spice/protocol.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE (128u * 1024)
#define ROUNDS_MAX 16 // before another link gets its turn
#define FDS_MAX 4
#define PATIENCE_US (1 * G_USEC_PER_SEC)
#define SETUP_US (3 * G_USEC_PER_SEC) // for a display channel, from the connection and from its end
// Link layer (spice-protocol, protocol.h): a header whose bytes 12..15 are the size of the message
// behind it; then, from the client, a u32 and a ticket; from the server, a u32.
#define LINK_HEADER 16u
#define LINK_MESSAGE_MAX 4096u
#define LINK_CHANNEL_TYPE 20u // offset of the channel's type in a client's first bytes
#define TICKET_BYTES (4u + SPICE_TICKET_KEY_PAIR_LENGTH / 8)
#define RESULT_BYTES 4u
#define SHORT_HEADER 6u
#define SET_ACK_BYTES (SHORT_HEADER + 8u)

// The first message of a display channel, with caches of common sizes.
static const uint8_t display_init[SHORT_HEADER + 14] = {
    SPICE_MSGC_DISPLAY_INIT, 0, 14, 0, 0, 0,       // type, size
    1, 0, 0, 0x40, 1, 0, 0, 0, 0,                  // pixmap cache: number, size
    1, 0, 0, 0x40, 0,                              // dictionary: number, window
};

// Bytes on their way from one socket to the other.
typedef struct {
    uint8_t *data;
    size_t start, end;
    int fds[FDS_MAX]; // came with the last byte, and go with it
    unsigned fd_count;
} Buffer;

typedef struct {
    GSource source;
    SpiceRelay *relay;
    int client; // -1: gone
    int server; // our end of libspice's pair; -1: finished
    gpointer client_tag, server_tag;
    Buffer to_client, to_server;
    bool ended;
    int64_t stuck_since; // the client's socket is full; monotonic, us; 0: it is not
    int64_t born, gone_at;
    uint64_t up_count;   // bytes that libspice got
    uint64_t down_count; // bytes that libspice sent
    uint8_t up_head[LINK_CHANNEL_TYPE + 1], down_head[LINK_HEADER]; // the first of them
} Link;

struct SpiceRelay {
    GThread *thread;
    GMainContext *context;
    GMainLoop *loop;
    GPtrArray *links; // relay thread only

    GMutex lock;
    unsigned count;   // links
    unsigned telling; // links that are ended and not finished
    bool held;        // between begin and end
};

static void close_fds(Buffer *b)
{
    for (unsigned i = 0; i < b->fd_count; i++)
        close(b->fds[i]);
    b->fd_count = 0;
}

static bool buffer_empty(const Buffer *b)
{
    return b->start == b->end;
}

static void take_fds(Buffer *b, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (b->fd_count < FDS_MAX)
                b->fds[b->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

// Fills an empty buffer: bytes, 0 at the end, -1 (errno). The kernel ends a read behind the message
// that brought descriptors, and SPICE sends them with a message of one byte: so they belong to the
// last byte read, and its reader looks for them nowhere else.
static ssize_t fill(Buffer *b, int fd)
{
    char control[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    struct iovec span = { b->data, BUFFER_SIZE };
    struct msghdr message = { .msg_iov = &span, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof control };
    ssize_t count = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count >= 0)
        take_fds(b, &message);
    b->start = 0;
    b->end = count > 0 ? (size_t)count : 0;
    if (count == 0)
        close_fds(b);
    return count;
}

static ssize_t drain(Buffer *b, int fd)
{
    char control[CMSG_SPACE(sizeof(int) * FDS_MAX)] = { 0 };
    struct iovec span = { b->data + b->start, b->end - b->start };
    struct msghdr message = { .msg_iov = &span, .msg_iovlen = 1 };
    if (b->fd_count && span.iov_len > 1) {
        span.iov_len--;
    } else if (b->fd_count) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * b->fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * b->fd_count);
        memcpy(CMSG_DATA(c), b->fds, sizeof(int) * b->fd_count);
    }
    ssize_t count = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) {
        if (message.msg_control)
            close_fds(b);
        b->start += (size_t)count;
    }
    return count;
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void unwatch(Link *link, gpointer *tag)
{
    if (*tag)
        g_source_remove_unix_fd(&link->source, *tag);
    *tag = NULL;
}

static void watch(Link *link, gpointer *tag, int fd, GIOCondition condition)
{
    // An unwanted socket is not watched at all: poll would report its end over and over.
    if (fd < 0 || !condition)
        unwatch(link, tag);
    else if (*tag)
        g_source_modify_unix_fd(&link->source, *tag, condition);
    else
        *tag = g_source_add_unix_fd(&link->source, fd, condition);
}

static void note_head(uint8_t *head, size_t head_size, uint64_t count, const uint8_t *data,
                      size_t size)
{
    if (count < head_size)
        memcpy(head + count, data, MIN(size, head_size - count));
}

// Bytes from the client up to the end of its link layer; UINT64_MAX where that is not known yet.
static uint64_t link_bytes(const Link *link)
{
    uint32_t size = le32_read(link->up_head + 12);
    if (link->up_count < sizeof link->up_head || size > LINK_MESSAGE_MAX)
        return UINT64_MAX;
    return LINK_HEADER + size + TICKET_BYTES;
}

static bool is_display(const Link *link)
{
    return link->up_count >= sizeof link->up_head &&
           link->up_head[LINK_CHANNEL_TYPE] == SPICE_CHANNEL_DISPLAY;
}

static bool needs_init(const Link *link)
{
    uint64_t linked = link_bytes(link);
    return is_display(link) && link->up_count >= linked &&
           link->up_count < linked + sizeof display_init;
}

// Whether libspice may still be setting up the channel.
static bool in_setup(const Link *link)
{
    uint64_t answered = LINK_HEADER + le32_read(link->down_head + 12) + RESULT_BYTES;
    return is_display(link) && link->up_count >= link_bytes(link) &&
           link->down_count <= answered + SET_ACK_BYTES;
}

// Tells libspice of a client's end, unless that must wait.
static void tell_end(Link *link)
{
    SpiceRelay *relay = link->relay;
    Buffer *b = &link->to_server;
    if (link->ended || link->client >= 0 || link->server < 0 || !buffer_empty(b))
        return;
    if (needs_init(link)) {
        uint64_t sent = link->up_count - link_bytes(link);
        b->start = 0;
        b->end = sizeof display_init - sent;
        memcpy(b->data, display_init + sent, b->end);
        return;
    }
    if (in_setup(link) && g_get_monotonic_time() < link->gone_at + SETUP_US)
        return;
    g_mutex_lock(&relay->lock);
    if (!relay->held) {
        link->ended = true;
        relay->telling++;
        shutdown(link->server, SHUT_WR);
    }
    g_mutex_unlock(&relay->lock);
}

static void client_gone(Link *link)
{
    if (link->client < 0)
        return;
    unwatch(link, &link->client_tag);
    close(link->client);
    link->client = -1;
    link->stuck_since = 0;
    link->gone_at = g_get_monotonic_time();
    close_fds(&link->to_client);
    link->to_client.start = link->to_client.end = 0;
}

static void server_finished(Link *link)
{
    unwatch(link, &link->server_tag);
    close(link->server);
    link->server = -1;
    g_mutex_lock(&link->relay->lock);
    if (link->ended)
        link->relay->telling--;
    link->ended = false;
    g_mutex_unlock(&link->relay->lock);
}

// libspice to client.
static void pump_down(Link *link)
{
    Buffer *b = &link->to_client;
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (buffer_empty(b)) {
            if (link->server < 0)
                return;
            ssize_t count = fill(b, link->server);
            if (count == 0 || (count < 0 && !would_block()))
                server_finished(link);
            if (count <= 0)
                return;
            note_head(link->down_head, sizeof link->down_head, link->down_count, b->data, b->end);
            link->down_count += b->end;
        }
        if (link->client < 0) { // nobody listens
            close_fds(b);
            b->start = b->end;
            continue;
        }
        if (drain(b, link->client) < 0) {
            if (!would_block())
                client_gone(link);
            else if (!link->stuck_since)
                link->stuck_since = g_get_monotonic_time();
            if (link->client >= 0)
                return;
        } else {
            link->stuck_since = 0;
        }
    }
}

// Client to libspice. What a client sent before it left still arrives.
static void pump_up(Link *link)
{
    Buffer *b = &link->to_server;
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (buffer_empty(b) && link->client >= 0) {
            ssize_t count = fill(b, link->client);
            if (count == 0 || (count < 0 && !would_block()))
                client_gone(link);
        }
        tell_end(link);
        if (buffer_empty(b) || link->server < 0)
            return;
        const uint8_t *from = b->data + b->start;
        ssize_t count = drain(b, link->server);
        if (count < 0)
            return; // full, or libspice hung up: pump_down finds out
        note_head(link->up_head, sizeof link->up_head, link->up_count, from, (size_t)count);
        link->up_count += (uint64_t)count;
    }
}

static void link_free(gpointer data)
{
    Link *link = data;
    client_gone(link);
    if (link->server >= 0)
        server_finished(link);
    g_free(link->to_client.data);
    g_free(link->to_server.data);
    g_mutex_lock(&link->relay->lock);
    link->relay->count--;
    g_mutex_unlock(&link->relay->lock);
    g_source_destroy(&link->source);
    g_source_unref(&link->source);
}

// After any change. The link may be gone when this returns.
static void update(Link *link)
{
    SpiceRelay *relay = link->relay;
    bool down = !buffer_empty(&link->to_client), up = !buffer_empty(&link->to_server);
    if (link->server < 0 && (link->client < 0 || !down)) {
        g_ptr_array_remove_fast(relay->links, link);
        return;
    }
    watch(link, &link->client_tag, link->client,
          (up || link->server < 0 ? 0 : G_IO_IN) | (down ? G_IO_OUT : 0));
    watch(link, &link->server_tag, link->server, (down ? 0 : G_IO_IN) | (up ? G_IO_OUT : 0));

    g_mutex_lock(&relay->lock);
    bool hurry = relay->held || link->server < 0;
    g_mutex_unlock(&relay->lock);
    int64_t wake = -1;
    if (link->stuck_since && hurry)
        wake = link->stuck_since + PATIENCE_US;
    else if (link->client >= 0 && needs_init(link))
        wake = link->born + SETUP_US;
    else if (link->client < 0 && !link->ended && in_setup(link))
        wake = link->gone_at + SETUP_US;
    g_source_set_ready_time(&link->source, wake);
}

static gboolean link_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    Link *link = (Link *)source;
    int64_t wake = g_source_get_ready_time(source);
    if (wake >= 0 && g_get_monotonic_time() >= wake && link->client >= 0) {
        g_message("a SPICE client does not keep up: cut off");
        client_gone(link);
    }
    pump_down(link);
    pump_up(link);
    update(link);
    return G_SOURCE_CONTINUE;
}

// A client that had been stuck before anybody waited for it has its second from then on.
static gboolean look_at_all(gpointer data)
{
    SpiceRelay *relay = data;
    for (guint i = relay->links->len; i-- > 0;) {
        Link *link = relay->links->pdata[i];
        if (link->stuck_since)
            link->stuck_since = g_get_monotonic_time();
        pump_up(link);
        update(link);
    }
    return G_SOURCE_REMOVE;
}

static void post(SpiceRelay *relay, GSourceFunc function, gpointer data)
{
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, function, data, NULL);
    g_source_attach(source, relay->context);
    g_source_unref(source);
}

static gboolean add_link(gpointer data)
{
    Link *link = data;
    g_ptr_array_add(link->relay->links, link);
    g_source_attach(&link->source, link->relay->context);
    update(link);
    return G_SOURCE_REMOVE;
}

int lodge_spice_relay_add(SpiceRelay *relay, int client)
{
    static GSourceFuncs functions = { .dispatch = link_dispatch };
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        int error = errno;
        close(client);
        errno = error;
        return -1;
    }
    Link *link = (Link *)g_source_new(&functions, sizeof(Link));
    link->relay = relay;
    link->client = client;
    link->server = pair[0];
    link->born = g_get_monotonic_time();
    link->to_client.data = g_malloc(BUFFER_SIZE);
    link->to_server.data = g_malloc(BUFFER_SIZE);
    g_mutex_lock(&relay->lock);
    relay->count++;
    g_mutex_unlock(&relay->lock);
    post(relay, add_link, link);
    return pair[1];
}

static gboolean drop_links(gpointer data)
{
    SpiceRelay *relay = data;
    for (guint i = relay->links->len; i-- > 0;) {
        Link *link = relay->links->pdata[i];
        client_gone(link);
        pump_up(link);
        update(link);
    }
    return G_SOURCE_REMOVE;
}

void lodge_spice_relay_drop(SpiceRelay *relay)
{
    post(relay, drop_links, relay);
}

bool lodge_spice_relay_empty(SpiceRelay *relay)
{
    g_mutex_lock(&relay->lock);
    bool empty = relay->count == 0;
    g_mutex_unlock(&relay->lock);
    return empty;
}

bool lodge_spice_relay_begin(SpiceRelay *relay)
{
    g_mutex_lock(&relay->lock);
    bool ok = relay->telling == 0;
    relay->held = ok;
    g_mutex_unlock(&relay->lock);
    if (ok)
        post(relay, look_at_all, relay);
    return ok;
}

void lodge_spice_relay_end(SpiceRelay *relay)
{
    g_mutex_lock(&relay->lock);
    relay->held = false;
    g_mutex_unlock(&relay->lock);
    post(relay, look_at_all, relay);
}

static gpointer relay_main(gpointer data)
{
    SpiceRelay *relay = data;
    g_main_context_push_thread_default(relay->context);
    g_main_loop_run(relay->loop);
    g_ptr_array_set_size(relay->links, 0);
    g_main_context_pop_thread_default(relay->context);
    return NULL;
}

SpiceRelay *lodge_spice_relay_new(void)
{
    SpiceRelay *relay = g_new0(SpiceRelay, 1);
    relay->context = g_main_context_new();
    relay->loop = g_main_loop_new(relay->context, FALSE);
    relay->links = g_ptr_array_new_with_free_func(link_free);
    g_mutex_init(&relay->lock);
    relay->thread = g_thread_new("spice-relay", relay_main, relay);
    return relay;
}

static gboolean quit_loop(gpointer data)
{
    g_main_loop_quit(data);
    return G_SOURCE_REMOVE;
}

void lodge_spice_relay_free(SpiceRelay *relay)
{
    if (!relay)
        return;
    post(relay, quit_loop, relay->loop);
    g_thread_join(relay->thread);
    g_ptr_array_unref(relay->links);
    g_main_loop_unref(relay->loop);
    g_main_context_unref(relay->context);
    g_mutex_clear(&relay->lock);
    g_free(relay);
}
