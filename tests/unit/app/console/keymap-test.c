// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/console/keymap.h"

#include <linux/input-event-codes.h>

// As GTK gives them.
static guint scancode_of(guint key)
{
    return keymap_scancode(key + 8);
}

static void test_plain(void)
{
    g_assert_cmphex(scancode_of(KEY_ESC), ==, 0x01);
    g_assert_cmphex(scancode_of(KEY_A), ==, 0x1e);
    g_assert_cmphex(scancode_of(KEY_F10), ==, 0x44);
    g_assert_cmphex(scancode_of(KEY_F11), ==, 0x57);
    g_assert_cmphex(scancode_of(KEY_102ND), ==, 0x56);
}

static void test_extended(void)
{
    g_assert_cmphex(scancode_of(KEY_DELETE), ==, 0x153);
    g_assert_cmphex(scancode_of(KEY_RIGHTALT), ==, 0x138);
    g_assert_cmphex(scancode_of(KEY_LEFTMETA), ==, 0x15b);
    g_assert_cmphex(scancode_of(KEY_KPENTER), ==, 0x11c);
}

static void test_none(void)
{
    g_assert_cmphex(keymap_scancode(0), ==, 0);
    g_assert_cmphex(keymap_scancode(8), ==, 0);
    g_assert_cmphex(keymap_scancode(G_MAXUINT), ==, 0);
    g_assert_cmphex(scancode_of(KEY_BRIGHTNESSUP), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keymap/plain", test_plain);
    g_test_add_func("/keymap/extended", test_extended);
    g_test_add_func("/keymap/none", test_none);
    return g_test_run();
}
