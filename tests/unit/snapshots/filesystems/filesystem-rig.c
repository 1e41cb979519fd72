// SPDX-License-Identifier: GPL-2.0-or-later
// See filesystem-rig.h.
#include "tests/unit/snapshots/filesystems/filesystem-rig.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

static char *folder;

static int read_disk(void *opaque, uint64_t offset, void *buffer, size_t size)
{
    const Disk *disk = opaque;
    g_assert_cmpuint(offset + size, <=, disk->size);
    memcpy(buffer, disk->bytes + offset, size);
    return 0;
}

void rig_begin(const char *pattern)
{
    const char *path = g_getenv("PATH");
    g_autofree char *wider = g_strconcat(path ? path : "", ":/usr/sbin:/sbin", NULL);
    g_setenv("PATH", wider, TRUE);
    folder = g_dir_make_tmp(pattern, NULL);
    g_assert_nonnull(folder);
}

int rig_end(int result)
{
    run("rm -rf %s", folder);
    g_clear_pointer(&folder, g_free);
    return result;
}

bool have_tools(const char *package, ...)
{
    bool all = true;
    va_list names;
    va_start(names, package);
    for (const char *name = va_arg(names, const char *); name; name = va_arg(names, const char *)) {
        g_autofree char *path = g_find_program_in_path(name);
        if (all && !path) {
            g_autofree char *why = g_strdup_printf("%s is not installed (package %s)", name,
                                                   package);
            g_test_skip(why);
            all = false;
        }
    }
    va_end(names);
    return all;
}

void run(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = NULL;
    g_autofree char *out = NULL, *err = NULL;
    int status;
    g_assert_true(g_shell_parse_argv(line, NULL, &argv, &error));
    g_spawn_sync(folder, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status, &error);
    g_assert_no_error(error);
    if (!g_spawn_check_wait_status(status, NULL))
        g_error("%s: %s%s", line, out, err);
}

void write_file(const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

void save(const char *name, const void *bytes, gsize size)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_assert_true(g_file_set_contents(path, bytes, (gssize)size, NULL));
}

void make_folder(const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_assert_cmpint(g_mkdir_with_parents(path, 0755), ==, 0);
}

Disk load(const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    Disk disk;
    g_assert_true(g_file_get_contents(path, &disk.bytes, &disk.size, NULL));
    return disk;
}

Disk load_kept(const char *name)
{
    g_autofree char *path = g_build_filename(KEPT_FOLDER, name, NULL);
    g_autoptr(GFile) file = g_file_new_for_path(path);
    g_autoptr(GError) error = NULL;
    g_autoptr(GFileInputStream) packed = g_file_read(file, NULL, &error);
    g_assert_no_error(error);
    g_autoptr(GConverter) unpack =
        G_CONVERTER(g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP));
    g_autoptr(GInputStream) stream = g_converter_input_stream_new(G_INPUT_STREAM(packed), unpack);
    g_autoptr(GOutputStream) out = g_memory_output_stream_new_resizable();
    g_output_stream_splice(out, stream, G_OUTPUT_STREAM_SPLICE_CLOSE_TARGET, NULL, &error);
    g_assert_no_error(error);
    GMemoryOutputStream *memory = G_MEMORY_OUTPUT_STREAM(out);
    gsize size = g_memory_output_stream_get_data_size(memory);
    return (Disk){ g_memory_output_stream_steal_data(memory), size };
}

void disk_clear(Disk *disk)
{
    g_clear_pointer(&disk->bytes, g_free);
}

DiskChanges *compare(Disk *before, Disk *after)
{
    g_autoptr(DiskReader) a = disk_reader_new(read_disk, before, before->size);
    g_autoptr(DiskReader) b = disk_reader_new(read_disk, after, after->size);
    return disk_compare(a, b);
}

char *text_of(const PartitionChanges *partition)
{
    GString *text = g_string_new("");
    for (guint i = 0; i < partition->changes->len; i++) {
        const FileChange *change = partition->changes->pdata[i];
        g_string_append_printf(text, "%c %s%s", "ADMR"[change->kind], change->path,
                               change->is_directory ? "/" : "");
        if (change->old_path)
            g_string_append_printf(text, " from %s", change->old_path);
        g_string_append_c(text, '\n');
    }
    return g_string_free(text, FALSE);
}

const PartitionChanges *only(const DiskChanges *changes)
{
    g_assert_cmpuint(changes->problems->len, ==, 0);
    g_assert_cmpuint(changes->partitions->len, ==, 1);
    return changes->partitions->pdata[0];
}

void assert_no_problems(const PartitionChanges *partition)
{
    for (guint i = 0; i < partition->problems->len; i++)
        g_test_message("%s", (const char *)partition->problems->pdata[i]);
    g_assert_cmpuint(partition->problems->len, ==, 0);
}

void assert_problem(const PartitionChanges *partition, const char *words)
{
    if (partition->problems->len != 1)
        g_error("%u sentences, and not one with '%s'", partition->problems->len, words);
    const char *problem = partition->problems->pdata[0];
    if (!strstr(problem, words))
        g_error("'%s' does not say '%s'", problem, words);
}
