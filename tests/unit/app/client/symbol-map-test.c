// SPDX-License-Identifier: GPL-2.0-or-later
// System.map: functions are found by any address in them; what is no function is left out; a file
// without one is refused in a sentence.
#include "app/client/symbol-map.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

static const char map_text[] =
    "ffffffff81000200 t later\n"
    "ffffffff81000000 T _text\n"
    "ffffffff81000000 T startup_64\n"
    "ffffffff81000100 D some_data\n"
    "                 U undefined\n"
    "ffffffff81000180\tW\tweak\n"
    "nonsense\n"
    "12345678901234567 T too_long\n"
    "ffffffff81000300 T last with more";

static void check(const SymbolMap *map, uint64_t address, const char *name, uint64_t offset)
{
    uint64_t found = 0;
    const char *got = symbol_map_find(map, address, &found);
    g_assert_cmpstr(got, ==, name);
    if (name)
        g_assert_cmphex(found, ==, offset);
}

static void test_find(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(SymbolMap) map = symbol_map_new(map_text, strlen(map_text), &error);
    g_assert_no_error(error);
    check(map, 0xffffffff81000000, "_text", 0);
    check(map, 0xffffffff81000120, "_text", 0x120);
    check(map, 0xffffffff81000180, "weak", 0);
    check(map, 0xffffffff810002ff, "later", 0xff);
    check(map, 0xffffffff81000305, "last", 5);
    check(map, 0xffffffff80ffffff, NULL, 0);
    check(map, 0, NULL, 0);
    check(map, 0xffffffff82000000, NULL, 0);
}

static void test_none(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(symbol_map_new("no symbols\n\n", 12, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
}

static void test_read(void)
{
    g_autofree char *path = g_build_filename(g_get_tmp_dir(), "lodge-symbols-XXXXXX", NULL);
    int fd = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_close(fd, NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(symbol_map_read(path, &error)); // empty
    g_assert_nonnull(strstr(error->message, path));
    g_clear_error(&error);
    g_assert_true(g_file_set_contents(path, map_text, -1, &error));
    g_autoptr(SymbolMap) map = symbol_map_read(path, &error);
    g_assert_no_error(error);
    check(map, 0xffffffff81000200, "later", 0);
    g_unlink(path);
    g_assert_null(symbol_map_read(path, &error));
    g_assert_nonnull(strstr(error->message, path));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/symbol-map/find", test_find);
    g_test_add_func("/symbol-map/none", test_none);
    g_test_add_func("/symbol-map/read", test_read);
    return g_test_run();
}
