// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/char-stream.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    GMutex lock;
    int peer;
    CharStream *stream;
    size_t room;
    GString *device;
    bool closed;
} Port;

static size_t device_room(void *opaque)
{
    return ((Port *)opaque)->room;
}

static void device_receive(void *opaque, const uint8_t *data, size_t size)
{
    Port *port = opaque;
    g_string_append_len(port->device, (const char *)data, (gssize)size);
    port->room -= size;
}

static void stream_closed(void *opaque)
{
    ((Port *)opaque)->closed = true;
}

static bool no_x(void *opaque, uint8_t byte)
{
    return byte != 'x';
}

static void set_up(Port *port, gconstpointer filter)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    g_mutex_init(&port->lock);
    port->peer = pair[1];
    port->room = 1000;
    port->device = g_string_new(NULL);
    CharStreamConfig config = { .input = pair[0], .output = pair[0], .machine_lock = &port->lock,
                                .filter = filter ? no_x : NULL, .closed = stream_closed,
                                .opaque = port };
    port->stream = char_stream_new(&config);
    const CharFrontend frontend = { device_room, device_receive, port };
    const CharBackend *backend = char_stream_backend(port->stream);
    backend->attach(backend->opaque, &frontend);
}

static void tear_down(Port *port, gconstpointer unused)
{
    char_stream_free(port->stream);
    if (port->peer >= 0)
        close(port->peer);
    g_string_free(port->device, TRUE);
    g_mutex_clear(&port->lock);
}

static void send_text(Port *port, const char *text)
{
    g_assert_cmpint(write(port->peer, text, strlen(text)), ==, strlen(text));
}

// Runs the main loop until what was sent has arrived.
static void wait_for(Port *port, const char *text)
{
    while (strcmp(port->device->str, text) != 0)
        g_main_context_iteration(NULL, TRUE);
}

static void both_ways(Port *port, gconstpointer unused)
{
    send_text(port, "to the guest");
    wait_for(port, "to the guest");
    const CharBackend *backend = char_stream_backend(port->stream);
    g_assert_cmpuint(backend->write(backend->opaque, (const uint8_t *)"from it", 7), ==, 7);
    char text[8] = { 0 };
    for (size_t size = 0; size < 7;)
        size += (size_t)read(port->peer, text + size, 7 - size);
    g_assert_cmpstr(text, ==, "from it");
}

static void full_device(Port *port, gconstpointer unused)
{
    port->room = 3;
    send_text(port, "abcdef");
    wait_for(port, "abc");
    while (g_main_context_iteration(NULL, FALSE)) // no more comes
        ;
    g_assert_cmpstr(port->device->str, ==, "abc");
    port->room = 100;
    const CharBackend *backend = char_stream_backend(port->stream);
    backend->room(backend->opaque);
    wait_for(port, "abcdef");
    send_text(port, "g");
    wait_for(port, "abcdefg");
}

static void filtered(Port *port, gconstpointer unused)
{
    send_text(port, "axbxc");
    wait_for(port, "abc");
}

static void peer_leaves(Port *port, gconstpointer unused)
{
    close(port->peer);
    port->peer = -1;
    while (!port->closed)
        g_main_context_iteration(NULL, TRUE);
    const CharBackend *backend = char_stream_backend(port->stream);
    g_assert_cmpuint(backend->write(backend->opaque, (const uint8_t *)"lost", 4), ==, 4);
}

// A reader that never reads holds up neither the guest nor the end.
static void stuck_reader(Port *port, gconstpointer unused)
{
    g_autofree uint8_t *data = g_malloc0(1 << 20);
    const CharBackend *backend = char_stream_backend(port->stream);
    for (int i = 0; i < 16; i++)
        g_assert_cmpuint(backend->write(backend->opaque, data, 1 << 20), ==, 1 << 20);
}

// A terminal's descriptor is shared with the shell, which would stumble over O_NONBLOCK.
static void flags_stay(Port *port, gconstpointer unused)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    CharStreamConfig config = { .input = dup(pair[0]), .output = -1, .machine_lock = &port->lock };
    CharStream *stream = char_stream_new(&config);
    g_assert_cmpint(fcntl(pair[0], F_GETFL) & O_NONBLOCK, ==, 0);
    char_stream_free(stream);
    close(pair[0]);
    close(pair[1]);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
#define ADD(path, filter, function) g_test_add(path, Port, filter, set_up, function, tear_down)
    ADD("/char-stream/both-ways", NULL, both_ways);
    ADD("/char-stream/full-device", NULL, full_device);
    ADD("/char-stream/filtered", "", filtered);
    ADD("/char-stream/peer-leaves", NULL, peer_leaves);
    ADD("/char-stream/stuck-reader", NULL, stuck_reader);
    ADD("/char-stream/flags-stay", NULL, flags_stay);
    return g_test_run();
}
