// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/base/keys.h"

#include <gio/gio.h>
#include <string.h>

// "1d e053 -e053 -1d"
static char *spell(GArray *strokes)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < strokes->len; i++) {
        KeyStroke s = g_array_index(strokes, KeyStroke, i);
        g_string_append_printf(text, "%s%s%x", i ? " " : "", s.down ? "" : "-", s.scancode);
    }
    return g_string_free(text, FALSE);
}

static const struct {
    const char *path, *input, *strokes;
    GArray *(*parse)(const char *input, GError **error);
} good[] = {
    { "text/plain", "a1", "1e -1e 2 -2", keys_from_text },
    { "text/shift", "A!", "2a 1e -1e -2a 2a 2 -2 -2a", keys_from_text },
    { "text/quote", "\"", "2a 28 -28 -2a", keys_from_text },
    { "text/space-and-enter", " \n", "39 -39 1c -1c", keys_from_text },
    { "text/last-row", "/?\\|", "35 -35 2a 35 -35 -2a 2b -2b 2a 2b -2b -2a", keys_from_text },
    { "text/empty", "", "", keys_from_text },
    { "escaped/enter", "a\\n", "1e -1e 1c -1c", keys_from_escaped_text },
    { "escaped/backslash", "\\\\n", "2b -2b 31 -31", keys_from_escaped_text },
    { "escaped/no-escape", "\\a", "2b -2b 1e -1e", keys_from_escaped_text },
    { "escaped/chord", "\\<ctrl+c>x", "1d 2e -2e -1d 2d -2d", keys_from_escaped_text },
    { "escaped/down", "\\<down>\\e", "e050 -e050 1 -1", keys_from_escaped_text },
    { "chord/one", "a", "1e -1e", keys_from_chord },
    { "chord/three", "Ctrl-Alt-Delete", "1d 38 e053 -e053 -38 -1d", keys_from_chord },
    { "chord/case", "shift+F10", "2a 44 -44 -2a", keys_from_chord },
    { "chord/digit", "alt-2", "38 3 -3 -38", keys_from_chord },
    { "chord/hyphenated-name", "ctrl-kp-enter", "1d e01c -e01c -1d", keys_from_chord },
    { "chord/minus", "-", "c -c", keys_from_chord },
    { "chord/with-minus", "ctrl--", "1d c -c -1d", keys_from_chord },
    { "chord/pause", "pause", "e11d -e11d", keys_from_chord },
};

static void test_good(gconstpointer data)
{
    size_t i = GPOINTER_TO_SIZE(data);
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) strokes = good[i].parse(good[i].input, &error);
    g_assert_no_error(error);
    g_autofree char *spelled = spell(strokes);
    g_assert_cmpstr(spelled, ==, good[i].strokes);
}

static void test_bad(void)
{
    static const struct {
        const char *input, *named;
        GArray *(*parse)(const char *input, GError **error);
    } bad[] = {
        { "aé", "\"é\"", keys_from_text },
        { "gr\xc3", "US keyboard", keys_from_text }, // cut off in the middle of a character
        { "\x01", "US keyboard", keys_from_text },
        { "a\xc3\xa4", "\"ä\"", keys_from_escaped_text },
        { "\\<foo>", "\"foo\"", keys_from_escaped_text },
        { "", "no key", keys_from_chord },
        { "ctrl-", "no key", keys_from_chord },
        { "ctrl+foo", "\"foo\"", keys_from_chord },
        { "ctrlalt", "\"ctrlalt\"", keys_from_chord },
        { "a+!", "\"!\"", keys_from_chord }, // a key has the name that it has without Shift
        { "\xc3\xa4", "no key", keys_from_chord },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(bad[i].parse(bad[i].input, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
        if (!strstr(error->message, bad[i].named))
            g_error("%s", error->message);
    }
}

static void test_every_printable_character(void)
{
    for (int c = ' '; c < 127; c++) {
        char one[2] = { (char)c, 0 };
        g_autoptr(GError) error = NULL;
        g_autoptr(GArray) strokes = keys_from_text(one, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(strokes->len, >=, 2);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autofree char *path = g_strconcat("/keys/", good[i].path, NULL);
        g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_good);
    }
    g_test_add_func("/keys/bad", test_bad);
    g_test_add_func("/keys/text/every-printable-character", test_every_printable_character);
    return g_test_run();
}
