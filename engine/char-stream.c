// SPDX-License-Identifier: GPL-2.0-or-later
// See char-stream.h. Two directions that share nothing but the descriptors:
//
// Output: write() (machine lock held) appends to a buffer; a thread takes it and writes, blocking.
// When the buffer is full, new bytes are dropped and counted, as on a wire nobody reads. A
// writer that is stuck at the end is woken where the descriptor is a socket; else it is left.
//
// Input: a source on the main context reads what the device has room for and hands it over under
// the machine lock; while the device is full the source is off, and `room` turns it on again. The
// descriptor is not made non-blocking: it may be a terminal, whose other users share that flag.
#include "engine/char-stream.h"

#include "engine/base/write-all.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER_MAX = 4 * 1024 * 1024,
    INPUT_CHUNK = 512,
};

struct CharStream {
    CharStreamConfig config;
    CharBackend backend;

    GThread *thread;
    GMutex lock;
    GCond changed;
    GByteArray *buffer;
    guint64 dropped;
    bool quit;
    bool broken;

    // Main thread, but for `frontend` and `attached`: machine lock.
    GSource *source;
    CharFrontend frontend;
    bool attached;
    uint8_t waiting[INPUT_CHUNK];
    size_t waiting_size;
    gint room_posted; // atomic
};

static void *write_thread(void *opaque)
{
    CharStream *stream = opaque;
    g_mutex_lock(&stream->lock);
    while (!stream->broken) {
        while (stream->buffer->len == 0 && !stream->quit)
            g_cond_wait(&stream->changed, &stream->lock);
        if (stream->buffer->len == 0)
            break;
        GByteArray *taken = stream->buffer;
        stream->buffer = g_byte_array_new();
        g_mutex_unlock(&stream->lock);
        bool good = write_all(stream->config.output, taken->data, taken->len);
        g_byte_array_unref(taken);
        g_mutex_lock(&stream->lock);
        stream->broken = !good;
        g_cond_broadcast(&stream->changed);
    }
    stream->broken = true; // nothing is written any more
    g_cond_broadcast(&stream->changed);
    g_mutex_unlock(&stream->lock);
    return NULL;
}

static size_t backend_write(void *opaque, const uint8_t *data, size_t size)
{
    CharStream *stream = opaque;
    if (stream->config.output < 0)
        return size;
    g_mutex_lock(&stream->lock);
    size_t room = stream->broken ? 0 : BUFFER_MAX - MIN(stream->buffer->len, BUFFER_MAX);
    size_t taken = MIN(room, size);
    if (taken > 0) {
        g_byte_array_append(stream->buffer, data, (guint)taken);
        g_cond_signal(&stream->changed);
    }
    stream->dropped += size - taken;
    g_mutex_unlock(&stream->lock);
    return size;
}

static void backend_attach(void *opaque, const CharFrontend *frontend)
{
    CharStream *stream = opaque;
    stream->attached = frontend != NULL;
    if (frontend)
        stream->frontend = *frontend;
}

static void stop_input(CharStream *stream)
{
    if (stream->source) {
        g_source_destroy(stream->source);
        g_source_unref(stream->source);
        stream->source = NULL;
    }
}

// Hands over what waits. Main thread.
static void deliver(CharStream *stream)
{
    g_mutex_lock(stream->config.machine_lock);
    size_t taken = stream->waiting_size; // bytes for a port that is not there are lost
    if (stream->attached) {
        taken = MIN(stream->frontend.can_receive(stream->frontend.opaque), stream->waiting_size);
        if (taken > 0)
            stream->frontend.receive(stream->frontend.opaque, stream->waiting, taken);
    }
    g_mutex_unlock(stream->config.machine_lock);
    stream->waiting_size -= taken;
    memmove(stream->waiting, stream->waiting + taken, stream->waiting_size);
}

static gboolean input_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    CharStream *stream = opaque;
    uint8_t chunk[INPUT_CHUNK];
    ssize_t n = read(fd, chunk, sizeof(chunk));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        g_source_unref(stream->source);
        stream->source = NULL;
        if (stream->config.closed)
            stream->config.closed(stream->config.opaque);
        return G_SOURCE_REMOVE;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (!stream->config.filter || stream->config.filter(stream->config.opaque, chunk[i]))
            stream->waiting[stream->waiting_size++] = chunk[i];
    }
    deliver(stream);
    if (stream->waiting_size == 0)
        return G_SOURCE_CONTINUE;
    g_source_unref(stream->source);
    stream->source = NULL; // until `room`
    return G_SOURCE_REMOVE;
}

static void start_input(CharStream *stream)
{
    stream->source = g_unix_fd_source_new(stream->config.input, G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_callback(stream->source, G_SOURCE_FUNC(input_ready), stream, NULL);
    g_source_attach(stream->source, NULL);
}

static gboolean room_again(gpointer opaque)
{
    CharStream *stream = opaque;
    g_atomic_int_set(&stream->room_posted, 0);
    if (stream->waiting_size > 0) {
        deliver(stream);
        if (stream->waiting_size == 0 && !stream->source)
            start_input(stream);
    }
    return G_SOURCE_REMOVE;
}

static void backend_room(void *opaque)
{
    CharStream *stream = opaque;
    if (stream->config.input >= 0 &&
        g_atomic_int_compare_and_exchange(&stream->room_posted, 0, 1))
        g_idle_add_full(G_PRIORITY_DEFAULT, room_again, stream, NULL);
}

CharStream *char_stream_new(const CharStreamConfig *config)
{
    CharStream *stream = g_new0(CharStream, 1);
    stream->config = *config;
    stream->backend = (CharBackend){ .write = backend_write, .attach = backend_attach,
                                     .room = backend_room, .opaque = stream };
    g_mutex_init(&stream->lock);
    g_cond_init(&stream->changed);
    stream->buffer = g_byte_array_new();
    if (config->output >= 0)
        stream->thread = g_thread_new("serial", write_thread, stream);
    if (config->input >= 0) {
        start_input(stream);
    }
    return stream;
}

void char_stream_free(CharStream *stream)
{
    if (!stream)
        return;
    stop_input(stream);
    while (g_idle_remove_by_data(stream))
        ;
    if (stream->thread) {
        gint64 deadline = g_get_monotonic_time() + G_TIME_SPAN_SECOND;
        g_mutex_lock(&stream->lock);
        stream->quit = true;
        g_cond_broadcast(&stream->changed);
        bool drained = true;
        while (!stream->broken && drained)
            drained = g_cond_wait_until(&stream->changed, &stream->lock, deadline);
        bool done = stream->broken;
        g_mutex_unlock(&stream->lock);
        if (!done && stream->config.input == stream->config.output)
            done = shutdown(stream->config.output, SHUT_RDWR) == 0; // a stuck write then fails
        if (!done)
            return; // the reader is stuck: the thread keeps the stream, the process is ending
        g_thread_join(stream->thread);
    }
    if (stream->dropped)
        g_info("a serial port's reader was too slow: %" G_GUINT64_FORMAT " bytes were dropped",
               stream->dropped);
    if (stream->config.input >= 0 && stream->config.input != stream->config.output)
        close(stream->config.input);
    if (stream->config.output >= 0)
        close(stream->config.output);
    g_byte_array_unref(stream->buffer);
    g_mutex_clear(&stream->lock);
    g_cond_clear(&stream->changed);
    g_free(stream);
}

const CharBackend *char_stream_backend(CharStream *stream)
{
    return &stream->backend;
}
