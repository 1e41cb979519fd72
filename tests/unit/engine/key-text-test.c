// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/key-text.h"

#include <gio/gio.h>
#include <string.h>

// "1e+ 1e-" and so on.
static char *describe(GArray *events)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < events->len; i++) {
        KeyEvent event = g_array_index(events, KeyEvent, i);
        g_string_append_printf(text, "%s%x%c", i ? " " : "", event.scancode,
                               event.down ? '+' : '-');
    }
    g_array_unref(events);
    return g_string_free(text, FALSE);
}

static const struct {
    const char *path, *input, *events;
    GArray *(*parse)(const char *text, GError **error);
} good[] = {
    { "text/plain", "a1", "1e+ 1e- 2+ 2-", key_text_parse },
    { "text/shift", "A!", "2a+ 1e+ 1e- 2a- 2a+ 2+ 2- 2a-", key_text_parse },
    { "text/space-and-enter", " \n", "39+ 39- 1c+ 1c-", key_text_parse },
    { "text/last-row", "/?\\|", "35+ 35- 2a+ 35+ 35- 2a- 2b+ 2b- 2a+ 2b+ 2b- 2a-",
      key_text_parse },
    { "text/empty", "", "", key_text_parse },
    { "escaped/enter", "a\\n", "1e+ 1e- 1c+ 1c-", key_text_parse_escaped },
    { "escaped/backslash", "\\\\n", "2b+ 2b- 31+ 31-", key_text_parse_escaped },
    { "escaped/chord", "\\<ctrl+c>x", "1d+ 2e+ 2e- 1d- 2d+ 2d-", key_text_parse_escaped },
    { "escaped/down", "\\<down>\\e", "e050+ e050- 1+ 1-", key_text_parse_escaped },
    { "chord/three", "ctrl+alt+delete", "1d+ 38+ e053+ e053- 38- 1d-", key_chord_parse },
    { "chord/case", "Ctrl+Alt+F2", "1d+ 38+ 3c+ 3c- 38- 1d-", key_chord_parse },
    { "chord/minus", "-", "c+ c-", key_chord_parse },
    { "chord/pause", "pause", "e11d+ e11d-", key_chord_parse },
};

static void test_good(gconstpointer data)
{
    size_t i = GPOINTER_TO_SIZE(data);
    GError *error = NULL;
    GArray *events = good[i].parse(good[i].input, &error);
    g_assert_no_error(error);
    g_autofree char *text = describe(events);
    g_assert_cmpstr(text, ==, good[i].events);
}

static void bad(void)
{
    static const struct {
        const char *input, *message;
        GArray *(*parse)(const char *text, GError **error);
    } rows[] = {
        { "aé", "\"é\"", key_text_parse },        { "\x01", "US keyboard", key_text_parse },
        { "ctrl+foo", "\"foo\"", key_chord_parse }, { "", "no key", key_chord_parse },
        { "A+!", "\"!\"", key_chord_parse },       { "\\<foo>", "\"foo\"", key_text_parse_escaped },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(rows[i].parse(rows[i].input, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
        if (!strstr(error->message, rows[i].message))
            g_error("%s", error->message);
    }
}

static void take_key(void *opaque, uint16_t scancode, bool down)
{
    g_string_append_printf(opaque, "%x%c ", scancode, down ? '+' : '-');
}

static void feeder(void)
{
    GMutex lock;
    g_mutex_init(&lock);
    g_autoptr(GString) taken = g_string_new(NULL);
    InputRouter *router = input_router_new();
    input_router_add(router, &(InputHandler){ .key = take_key, .opaque = taken });
    KeyFeeder *keys = key_feeder_new(router, &lock);
    g_assert_true(key_feeder_idle(keys));
    for (int i = 0; i < 2; i++) {
        g_autoptr(GArray) events = key_text_parse("a", NULL);
        key_feeder_add(keys, events);
    }
    g_assert_false(key_feeder_idle(keys));
    while (!key_feeder_idle(keys))
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpstr(taken->str, ==, "1e+ 1e- 1e+ 1e- ");
    key_feeder_free(keys);
    input_router_free(router);
    g_mutex_clear(&lock);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autofree char *path = g_strconcat("/key-text/", good[i].path, NULL);
        g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_good);
    }
    g_test_add_func("/key-text/bad", bad);
    g_test_add_func("/key-text/feeder", feeder);
    return g_test_run();
}
