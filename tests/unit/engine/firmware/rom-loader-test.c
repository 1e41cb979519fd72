// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/firmware/rom-loader.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

static void override_comes_first(void)
{
    g_autofree char *folder = g_dir_make_tmp("lodge-rom-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "bios-256k.bin", NULL);
    g_autofree char *bytes = g_malloc0(256 * 1024);
    strcpy(bytes, "ours");
    g_assert_true(g_file_set_contents(path, bytes, 256 * 1024, NULL));
    g_setenv("LODGE_FIRMWARE_PATH", folder, TRUE);
    g_autoptr(GBytes) rom = rom_load(ROM_BIOS, NULL);
    g_assert_nonnull(rom);
    g_assert_cmpstr(g_bytes_get_data(rom, NULL), ==, "ours");
    g_auto(GStrv) folders = rom_folders();
    g_assert_cmpstr(folders[0], ==, folder);
    g_unsetenv("LODGE_FIRMWARE_PATH");
    g_unlink(path);
    g_rmdir(folder);
}

static void wrong_size_is_refused(void)
{
    g_autofree char *folder = g_dir_make_tmp("lodge-rom-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "bios-256k.bin", NULL);
    g_assert_true(g_file_set_contents(path, "tiny", 4, NULL));
    g_setenv("LODGE_FIRMWARE_PATH", folder, TRUE);
    g_autoptr(GError) error = NULL;
    g_assert_null(rom_load(ROM_BIOS, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    g_assert_nonnull(strstr(error->message, "package seabios"));
    g_unsetenv("LODGE_FIRMWARE_PATH");
    g_unlink(path);
    g_rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rom-loader/override-comes-first", override_comes_first);
    g_test_add_func("/rom-loader/wrong-size-is-refused", wrong_size_is_refused);
    return g_test_run();
}
