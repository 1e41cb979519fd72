// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/config/vm-folder.h"
#include "engine/config/vm-readers.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static char *home;

static void make(const char *name)
{
    GError *error = NULL;
    g_autofree char *prepared = vm_folder_prepare(name, &error);
    g_assert_no_error(error);
    g_autofree char *path = g_build_filename(prepared, VM_CONFIG_FILE, NULL);
    g_autoptr(Config) config = config_new();
    g_assert_true(config_save(config, path, NULL));
    g_autofree char *folder = vm_folder_commit(prepared, name, &error);
    g_assert_no_error(error);
}

static void make_list_delete(void)
{
    make("beta");
    make("alpha two");
    g_auto(GStrv) names = vm_folder_list();
    g_assert_cmpuint(g_strv_length(names), ==, 2);
    g_assert_cmpstr(names[0], ==, "alpha two");
    g_autofree char *folder = vm_folder_find("beta", NULL);
    g_assert_true(vm_folder_delete(folder, NULL));
    g_autofree char *other = vm_folder_find("alpha two", NULL);
    g_assert_true(vm_folder_delete(other, NULL));
    g_auto(GStrv) none = vm_folder_list();
    g_assert_cmpuint(g_strv_length(none), ==, 0);
    g_autoptr(GDir) dir = g_dir_open(home, 0, NULL);
    g_assert_null(g_dir_read_name(dir));
}

static void existing_is_refused(void)
{
    make("one");
    g_autoptr(GError) error = NULL;
    g_assert_null(vm_folder_prepare("one", &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS);
    g_autofree char *folder = vm_folder_find("one", NULL);
    g_assert_true(vm_folder_delete(folder, NULL));
}

static void links_are_not_followed(void)
{
    make("linked");
    g_autofree char *outside = g_build_filename(g_get_tmp_dir(), "lodge-outside-XXXXXX", NULL);
    g_assert_nonnull(g_mkdtemp(outside));
    g_autofree char *kept = g_build_filename(outside, "kept", NULL);
    g_assert_true(g_file_set_contents(kept, "x", 1, NULL));
    g_autofree char *folder = vm_folder_find("linked", NULL);
    g_autofree char *link = g_build_filename(folder, "link", NULL);
    g_assert_cmpint(symlink(outside, link), ==, 0);
    g_assert_true(vm_folder_delete(folder, NULL));
    g_assert_true(g_file_test(kept, G_FILE_TEST_EXISTS));
    g_unlink(kept);
    g_rmdir(outside);
}

#define UUID "11111111-2222-4333-8444-555555555555"

// A linked clone keeps what it stands on, one of another machine does not.
static void readers(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Config) source = config_new(), reader = config_new();
    g_assert_true(config_set(source, "machine.uuid", UUID, NULL));
    make("reader");
    g_assert_true(vm_readers_check_none(source, &error));
    g_autofree char *folder = vm_folder_find("reader", NULL);
    g_autofree char *path = g_build_filename(folder, VM_CONFIG_FILE, NULL);
    g_assert_true(config_set(reader, VM_LINKED_TO, UUID, NULL));
    g_assert_true(config_set(reader, VM_LINKED_NODE, "7", NULL));
    g_assert_true(config_save(reader, path, NULL));
    g_assert_false(vm_readers_check_none(source, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_BUSY);
    g_assert_nonnull(strstr(error->message, "reader"));
    g_assert_false(vm_readers_check_node(source, 7, NULL));
    g_assert_true(vm_readers_check_node(source, 8, NULL));
    g_assert_true(config_set(reader, VM_LINKED_NODE, "0", NULL)); // nobody knows which
    g_assert_true(config_save(reader, path, NULL));
    g_assert_false(vm_readers_check_node(source, 8, NULL));
    g_assert_true(vm_folder_delete(folder, NULL));
    g_assert_true(vm_readers_check_none(source, NULL));
}

static void names(void)
{
    static const char *const bad[] = { "", ".hidden", "a/b", "-x", "a\nb", "../up" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(vm_name_check(bad[i], NULL));
    g_assert_true(vm_name_check("Debian 12 (test)", NULL));
    g_autoptr(GError) error = NULL;
    g_assert_null(vm_folder_find("nobody", &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    home = g_dir_make_tmp("lodge-home-XXXXXX", NULL);
    g_setenv("LODGE_HOME", home, TRUE);
    g_test_add_func("/vm-folder/make-list-delete", make_list_delete);
    g_test_add_func("/vm-folder/existing-is-refused", existing_is_refused);
    g_test_add_func("/vm-folder/links-are-not-followed", links_are_not_followed);
    g_test_add_func("/vm-folder/names", names);
    g_test_add_func("/vm-readers/what-they-keep", readers);
    int status = g_test_run();
    g_rmdir(home);
    g_free(home);
    return status;
}
