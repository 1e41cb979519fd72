// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/char-tee.h"

#include <string.h>

typedef struct {
    CharBackend backend;
    CharFrontend frontend;
    bool attached;
    GString *heard;
    unsigned rooms;
} Listener;

static size_t listener_write(void *opaque, const uint8_t *data, size_t size)
{
    g_string_append_len(((Listener *)opaque)->heard, (const char *)data, (gssize)size);
    return size;
}

static void listener_attach(void *opaque, const CharFrontend *frontend)
{
    Listener *listener = opaque;
    listener->attached = frontend != NULL;
    if (frontend)
        listener->frontend = *frontend;
}

static void listener_room(void *opaque)
{
    ((Listener *)opaque)->rooms++;
}

static Listener *listener_new(void)
{
    Listener *listener = g_new0(Listener, 1);
    listener->backend = (CharBackend){ listener_write, listener_attach, NULL, listener_room,
                                       listener };
    listener->heard = g_string_new(NULL);
    return listener;
}

static void listener_free(Listener *listener)
{
    g_string_free(listener->heard, TRUE);
    g_free(listener);
}

static size_t device_room(void *opaque)
{
    return 4;
}

static void device_receive(void *opaque, const uint8_t *data, size_t size)
{
    g_string_append_len(opaque, (const char *)data, (gssize)size);
}

static void say(CharTee *tee, const char *text)
{
    const CharBackend *backend = char_tee_backend(tee);
    backend->write(backend->opaque, (const uint8_t *)text, strlen(text));
}

static void all_hear(void)
{
    CharTee *tee = char_tee_new();
    Listener *a = listener_new(), *b = listener_new();
    char_tee_add(tee, &a->backend, false);
    say(tee, "one ");
    char_tee_add(tee, &b->backend, false);
    say(tee, "two");
    g_assert_cmpstr(a->heard->str, ==, "one two");
    g_assert_cmpstr(b->heard->str, ==, "two");
    char_tee_remove(tee, a);
    say(tee, "three");
    g_assert_cmpstr(a->heard->str, ==, "one two");
    g_assert_cmpstr(b->heard->str, ==, "twothree");
    char_tee_free(tee);
    listener_free(a);
    listener_free(b);
}

static void replay(void)
{
    CharTee *tee = char_tee_new();
    g_autofree char *long_text = g_strnfill(70000, 'x');
    say(tee, long_text);
    say(tee, "end");
    Listener *late = listener_new();
    char_tee_add(tee, &late->backend, true);
    g_assert_cmpuint(late->heard->len, ==, 65536);
    g_assert_true(g_str_has_suffix(late->heard->str, "xend"));
    char_tee_free(tee);
    listener_free(late);
}

static void each_may_speak(void)
{
    CharTee *tee = char_tee_new();
    Listener *before = listener_new(), *after = listener_new();
    g_autoptr(GString) device = g_string_new(NULL);
    const CharFrontend frontend = { device_room, device_receive, device };
    char_tee_add(tee, &before->backend, false);
    g_assert_false(before->attached);
    const CharBackend *backend = char_tee_backend(tee);
    backend->attach(backend->opaque, &frontend);
    char_tee_add(tee, &after->backend, false);
    g_assert_true(before->attached && after->attached);
    g_assert_cmpuint(before->frontend.can_receive(before->frontend.opaque), ==, 4);
    before->frontend.receive(before->frontend.opaque, (const uint8_t *)"a", 1);
    after->frontend.receive(after->frontend.opaque, (const uint8_t *)"b", 1);
    g_assert_cmpstr(device->str, ==, "ab");
    backend->room(backend->opaque);
    g_assert_cmpuint(before->rooms, ==, 1);
    backend->attach(backend->opaque, NULL);
    g_assert_false(before->attached || after->attached);
    char_tee_free(tee);
    listener_free(before);
    listener_free(after);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/char-tee/all-hear", all_hear);
    g_test_add_func("/char-tee/replay", replay);
    g_test_add_func("/char-tee/each-may-speak", each_may_speak);
    return g_test_run();
}
