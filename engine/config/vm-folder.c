// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-folder.h.
#include "engine/config/vm-folder.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *vm_folder_root(void)
{
    const char *home = g_getenv("LODGE_HOME");
    if (home && *home)
        return g_canonicalize_filename(home, NULL);
    return g_build_filename(g_get_user_data_dir(), "lodge", NULL);
}

bool vm_name_check(const char *name, GError **error)
{
    bool good = *name && *name != '.' && *name != '-' && strlen(name) <= 64 &&
                g_utf8_validate(name, -1, NULL) && !strchr(name, '/');
    for (const char *p = name; *p && good; p++)
        good = (unsigned char)*p >= 0x20 && *p != 0x7f;
    if (!good)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "\"%s\" cannot be a machine's name; it must have 1 to 64 bytes, no slash, and "
                    "not begin with a dot or a dash", name);
    return good;
}

static char *folder_of(const char *name)
{
    g_autofree char *root = vm_folder_root();
    g_autofree char *file = g_strconcat(name, VM_FOLDER_SUFFIX, NULL);
    return g_build_filename(root, file, NULL);
}

char *vm_folder_find(const char *name, GError **error)
{
    if (!vm_name_check(name, error))
        return NULL;
    g_autofree char *folder = folder_of(name);
    g_autofree char *config = g_build_filename(folder, VM_CONFIG_FILE, NULL);
    if (!g_file_test(config, G_FILE_TEST_IS_REGULAR)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no machine %s; lodgectl list shows those there are", name);
        return NULL;
    }
    return g_steal_pointer(&folder);
}

static int compare_names(const void *a, const void *b)
{
    return g_utf8_collate(*(const char *const *)a, *(const char *const *)b);
}

char **vm_folder_list(void)
{
    g_autofree char *root = vm_folder_root();
    g_autoptr(GDir) dir = g_dir_open(root, 0, NULL);
    GPtrArray *names = g_ptr_array_new();
    for (const char *file; dir && (file = g_dir_read_name(dir));) {
        if (*file == '.' || !g_str_has_suffix(file, VM_FOLDER_SUFFIX))
            continue;
        g_autofree char *config = g_build_filename(root, file, VM_CONFIG_FILE, NULL);
        if (g_file_test(config, G_FILE_TEST_IS_REGULAR))
            g_ptr_array_add(names, g_strndup(file, strlen(file) - strlen(VM_FOLDER_SUFFIX)));
    }
    g_ptr_array_sort(names, compare_names);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

static bool exists_error(const char *name, GError **error)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                "there is a machine %s already; choose another name, or delete it first", name);
    return false;
}

char *vm_folder_prepare(const char *name, GError **error)
{
    if (!vm_name_check(name, error))
        return NULL;
    g_autofree char *folder = folder_of(name);
    if (g_file_test(folder, G_FILE_TEST_EXISTS)) {
        exists_error(name, error);
        return NULL;
    }
    g_autofree char *root = vm_folder_root();
    if (g_mkdir_with_parents(root, 0700) < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    "%s cannot be made: %s; set LODGE_HOME to a folder that you may write to", root,
                    g_strerror(errno));
        return NULL;
    }
    char *prepared = g_build_filename(root, ".new-XXXXXX", NULL);
    if (!g_mkdtemp_full(prepared, 0700)) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    "%s takes no new machine: %s", root, g_strerror(errno));
        g_free(prepared);
        return NULL;
    }
    return prepared;
}

char *vm_folder_commit(const char *prepared, const char *name, GError **error)
{
    g_autofree char *folder = folder_of(name);
    // rename replaces only an empty folder, so a machine that appeared meanwhile is safe.
    if (g_rename(prepared, folder) < 0) {
        int code = errno;
        vm_folder_discard(prepared);
        if (code == ENOTEMPTY || code == EEXIST)
            exists_error(name, error);
        else
            g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code), "%s cannot be made: %s",
                        folder, g_strerror(code));
        return NULL;
    }
    return g_steal_pointer(&folder);
}

// Errors are left for the last rmdir to report.
static void remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return;
    if (!S_ISDIR(st.st_mode)) {
        g_unlink(path);
        return;
    }
    GDir *dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        remove_tree(child);
    }
    if (dir)
        g_dir_close(dir);
    g_rmdir(path);
}

void vm_folder_discard(const char *prepared)
{
    remove_tree(prepared);
}

bool vm_folder_delete(const char *folder, GError **error)
{
    // Out of the list first, as one step; then at leisure.
    g_autofree char *root = g_path_get_dirname(folder);
    g_autofree char *doomed = g_build_filename(root, ".old-XXXXXX", NULL);
    if (!g_mkdtemp_full(doomed, 0700) || g_rename(folder, doomed) < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "%s cannot be removed: %s",
                    folder, g_strerror(errno));
        g_rmdir(doomed);
        return false;
    }
    remove_tree(doomed);
    if (g_file_test(doomed, G_FILE_TEST_EXISTS)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the machine is gone from the list, but some of its files could not be removed "
                    "and are left in %s", doomed);
        return false;
    }
    return true;
}

char *vm_folder_state_path(const char *folder, int index)
{
    g_autofree char *name = g_strdup_printf("suspended-%d", index);
    return g_build_filename(folder, VM_STATE_FOLDER, name, NULL);
}

bool vm_folder_state_counts(const char *path)
{
    char mark[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool counts = fd >= 0 && read(fd, mark, sizeof mark) == sizeof mark &&
                  memcmp(mark, VM_STATE_MAGIC, sizeof mark) == 0;
    if (fd >= 0)
        close(fd);
    return counts;
}

bool vm_folder_has_state(const char *folder)
{
    bool found = false;
    for (int i = 0; i < VM_STATE_FILES && !found; i++) {
        g_autofree char *path = vm_folder_state_path(folder, i);
        found = vm_folder_state_counts(path);
    }
    return found;
}

static char *note_path(const char *folder)
{
    return g_build_filename(folder, VM_STATE_FOLDER, "at-snapshot", NULL);
}

bool vm_folder_is_at_snapshot(const char *folder)
{
    g_autofree char *path = note_path(folder);
    return g_file_test(path, G_FILE_TEST_IS_REGULAR);
}

void vm_folder_note_state(const char *folder, bool at_work)
{
    g_autofree char *path = note_path(folder);
    g_autofree char *state = g_build_filename(folder, VM_STATE_FOLDER, NULL);
    if (at_work &&
        (g_mkdir_with_parents(state, 0700) < 0 || !g_file_set_contents(path, "", 0, NULL)))
        g_info("%s cannot be made: %s", path, g_strerror(errno));
    if (!at_work && g_unlink(path) == 0)
        g_rmdir(state); // fails where a state is in it
}

bool vm_folder_is_suspended(const char *folder)
{
    return vm_folder_has_state(folder) || vm_folder_is_at_snapshot(folder);
}

bool vm_folder_discard_state(const char *folder, GError **error)
{
    for (int i = 0; i < VM_STATE_FILES; i++) {
        g_autofree char *path = vm_folder_state_path(folder, i);
        if (g_unlink(path) < 0 && errno != ENOENT) {
            g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "%s cannot be removed: %s",
                        path, g_strerror(errno));
            return false;
        }
    }
    g_autofree char *state = g_build_filename(folder, VM_STATE_FOLDER, NULL);
    g_rmdir(state); // whatever else is in it stays
    return true;
}

static char *name_by_uuid(const char *prefix, const Config *config)
{
    const char *uuid = config_string(config, "machine.uuid");
    GString *name = g_string_new(prefix);
    for (const char *p = uuid; *p; p++) {
        if (*p != '-')
            g_string_append_c(name, *p);
    }
    return g_string_free(name, FALSE);
}

char *vm_bus_name(const Config *config)
{
    return name_by_uuid("org.lodge.Vm.m", config);
}

char *vm_store_bus_name(const Config *config)
{
    return name_by_uuid("org.lodge.Store.m", config);
}

char *vm_runtime_folder(const Config *config)
{
    return g_build_filename(g_get_user_runtime_dir(), "lodge",
                            config_string(config, "machine.uuid"), NULL);
}
