// SPDX-License-Identifier: GPL-2.0-or-later
// See char-tee.h. The guest is never held up: a listener that does not take all bytes loses the
// rest (each listener has a buffer of its own for that).
#include "engine/char-tee.h"

#define HISTORY_SIZE 65536u

struct CharTee {
    CharBackend backend;
    CharFrontend frontend;
    bool attached;
    GArray *listeners; // of CharBackend
    uint8_t history[HISTORY_SIZE]; // a ring
    uint64_t sent;                 // bytes ever; the next goes to sent mod HISTORY_SIZE
};

static size_t tee_can_receive(void *opaque)
{
    CharTee *tee = opaque;
    return tee->attached ? tee->frontend.can_receive(tee->frontend.opaque) : 0;
}

static void tee_receive(void *opaque, const uint8_t *data, size_t size)
{
    CharTee *tee = opaque;
    if (tee->attached)
        tee->frontend.receive(tee->frontend.opaque, data, size);
}

static void attach_listener(CharTee *tee, const CharBackend *listener, bool there)
{
    const CharFrontend frontend = { tee_can_receive, tee_receive, tee };
    if (listener->attach)
        listener->attach(listener->opaque, there ? &frontend : NULL);
}

static size_t backend_write(void *opaque, const uint8_t *data, size_t size)
{
    CharTee *tee = opaque;
    for (size_t i = 0; i < size; i++)
        tee->history[tee->sent++ % HISTORY_SIZE] = data[i];
    for (guint i = 0; i < tee->listeners->len; i++) {
        const CharBackend *listener = &g_array_index(tee->listeners, CharBackend, i);
        listener->write(listener->opaque, data, size);
    }
    return size;
}

static void backend_attach(void *opaque, const CharFrontend *frontend)
{
    CharTee *tee = opaque;
    tee->attached = frontend != NULL;
    if (frontend)
        tee->frontend = *frontend;
    for (guint i = 0; i < tee->listeners->len; i++)
        attach_listener(tee, &g_array_index(tee->listeners, CharBackend, i), tee->attached);
}

static void backend_room(void *opaque)
{
    CharTee *tee = opaque;
    for (guint i = 0; i < tee->listeners->len; i++) {
        const CharBackend *listener = &g_array_index(tee->listeners, CharBackend, i);
        if (listener->room)
            listener->room(listener->opaque);
    }
}

CharTee *char_tee_new(void)
{
    CharTee *tee = g_new0(CharTee, 1);
    tee->backend = (CharBackend){ .write = backend_write, .attach = backend_attach,
                                  .room = backend_room, .opaque = tee };
    tee->listeners = g_array_new(FALSE, FALSE, sizeof(CharBackend));
    return tee;
}

void char_tee_free(CharTee *tee)
{
    if (!tee)
        return;
    g_array_unref(tee->listeners);
    g_free(tee);
}

const CharBackend *char_tee_backend(CharTee *tee)
{
    return &tee->backend;
}

void char_tee_add(CharTee *tee, const CharBackend *listener, bool replay)
{
    size_t end = tee->sent % HISTORY_SIZE;
    if (replay && tee->sent > HISTORY_SIZE)
        listener->write(listener->opaque, tee->history + end, HISTORY_SIZE - end);
    if (replay && end > 0)
        listener->write(listener->opaque, tee->history, end);
    g_array_append_val(tee->listeners, *listener);
    if (tee->attached)
        attach_listener(tee, listener, true);
}

void char_tee_remove(CharTee *tee, void *opaque)
{
    for (guint i = tee->listeners->len; i-- > 0;) {
        CharBackend *listener = &g_array_index(tee->listeners, CharBackend, i);
        if (listener->opaque == opaque) {
            attach_listener(tee, listener, false);
            g_array_remove_index(tee->listeners, i);
        }
    }
}
