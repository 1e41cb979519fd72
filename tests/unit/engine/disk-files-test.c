// SPDX-License-Identifier: GPL-2.0-or-later
// Changed files of a store's disks, as text, as JSON and for a program, with a name that is made to
// harm.
#include "engine/disk-files.h"

#include <glib/gstdio.h>
#include <string.h>

static char *folder;

static bool run(const char *line)
{
    g_auto(GStrv) argv = NULL;
    int status = -1;
    g_assert_true(g_shell_parse_argv(line, NULL, &argv, NULL));
    return g_spawn_sync(folder, argv, NULL,
                        G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL |
                            G_SPAWN_STDERR_TO_DEV_NULL,
                        NULL, NULL, NULL, NULL, &status, NULL) &&
           g_spawn_check_wait_status(status, NULL);
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void write_disk(Store *store, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL), *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    BlockDevice *disk = store_volume_open(store, STORE_CURRENT, "disk0", NULL, NULL);
    g_assert_nonnull(disk);
    g_assert_cmpint(block_write_sync(disk, 0, bytes, size), ==, 0);
    block_close(disk);
}

static StoreNodeId take(Store *store, const char *name)
{
    StoreTake options = { .name = name };
    StoreNodeId id;
    g_assert_true(store_take(store, &options, &id, NULL));
    return id;
}

static void test_compare(void)
{
    if (!run("sh -c 'PATH=$PATH:/usr/sbin:/sbin; mke2fs -q -F -t ext4 -d tree before 4M'")) {
        g_test_skip("mke2fs is not installed (package e2fsprogs)");
        return;
    }
    write_file("tree/a\033[31mb", "new");
    g_assert_true(run("sh -c 'PATH=$PATH:/usr/sbin:/sbin; mke2fs -q -F -t ext4 -d tree after "
                      "4M'"));
    g_autofree char *path = g_build_filename(folder, "store", NULL);
    g_assert_true(store_create(path, NULL));
    StoreOpen options = { .path = path };
    Store *store = store_open(&options, NULL);
    g_assert_nonnull(store);
    g_assert_true(store_volume_add(store, "disk0", STORE_DISK, 4 << 20, NULL, NULL));
    write_disk(store, "before");
    StoreNodeId before = take(store, "before");
    write_disk(store, "after");
    StoreNodeId after = take(store, "after");
    store_close(store);

    g_autoptr(GError) error = NULL;
    g_autofree char *text = disk_files_compare(path, before, after, false, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, "disk0: ext4\nA /a\\x1B[31mb\n");
    g_autofree char *json = disk_files_compare(path, before, after, true, &error);
    g_assert_no_error(error);
    g_assert_nonnull(strstr(json, "\"filesystem\": \"ext4\", \"notes\": [], \"changes\": [\n"
                                  "        { \"change\": \"added\", \"directory\": false, "
                                  "\"path\": \"/a\\u001b[31mb\" }] }]"));
    g_autoptr(GVariant) variant = disk_files_compare_variant(path, before, after, &error);
    g_assert_no_error(error);
    g_autofree char *printed = g_variant_print(variant, FALSE);
    g_assert_cmpstr(printed, ==, "[('disk0', [], [(0, 'ext4', [], [(0x41, false, "
                                 "'/a\\u001b[31mb', '')])])]");
    g_autofree char *none = disk_files_compare(path, before, before, false, &error);
    g_assert_cmpstr(none, ==, "disk0: ext4\n");
}

static void test_no_store(void)
{
    g_autofree char *path = g_build_filename(folder, "missing", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(disk_files_compare(path, 1, 2, true, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_null(disk_files_compare_variant(path, 1, 2, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("lodge-files-XXXXXX", NULL);
    g_autofree char *tree = g_build_filename(folder, "tree", NULL);
    g_assert_cmpint(g_mkdir(tree, 0755), ==, 0);
    g_test_add_func("/engine/disk-files/compare", test_compare);
    g_test_add_func("/engine/disk-files/no-store", test_no_store);
    int result = g_test_run();
    g_autofree char *line = g_strdup_printf("rm -rf %s", folder);
    run(line);
    g_free(folder);
    return result;
}
