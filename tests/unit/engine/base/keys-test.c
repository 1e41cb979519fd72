// SPDX-License-Identifier: GPL-2.0-or-later
// engine/base/keys.c.
#include "engine/base/keys.h"

#include <gio/gio.h>

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

static void assert_chord(const char *chord, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) strokes = keys_from_chord(chord, &error);
    g_assert_no_error(error);
    g_autofree char *spelled = spell(strokes);
    g_assert_cmpstr(spelled, ==, expected);
}

static void test_chords(void)
{
    assert_chord("a", "1e -1e");
    assert_chord("Ctrl-Alt-Delete", "1d 38 e053 -e053 -38 -1d");
    assert_chord("shift+F10", "2a 44 -44 -2a");
    assert_chord("kp-enter", "e01c -e01c");
    assert_chord("ctrl-kp-enter", "1d e01c -e01c -1d");
    assert_chord("-", "c -c");
    assert_chord("ctrl--", "1d c -c -1d");
    assert_chord("alt-2", "38 3 -3 -38");
}

static void test_bad_chords(void)
{
    static const char *const bad[] = { "", "ctrl-", "ctrl-foo", "foo", "ctrlalt", "\xc3\xa4" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(keys_from_chord(bad[i], &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    }
}

static void test_text(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) strokes = keys_from_text("a\"B\n", &error);
    g_assert_no_error(error);
    g_autofree char *spelled = spell(strokes);
    g_assert_cmpstr(spelled, ==, "1e -1e 2a 28 -28 -2a 2a 30 -30 -2a 1c -1c");
    for (int c = ' '; c < 127; c++) { // every printable character has a key
        char one[2] = { (char)c, 0 };
        g_autoptr(GArray) each = keys_from_text(one, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(each->len, >=, 2);
    }
    g_assert_null(keys_from_text("gr\xc3\xbc\xc3\x9f", &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keys/chords", test_chords);
    g_test_add_func("/keys/bad-chords", test_bad_chords);
    g_test_add_func("/keys/text", test_text);
    return g_test_run();
}
