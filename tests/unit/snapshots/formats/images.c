// SPDX-License-Identifier: GPL-2.0-or-later
// See images.h.
#include "tests/unit/snapshots/formats/images.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

static char *folder;

void images_init(void)
{
    g_autoptr(GError) error = NULL;
    folder = g_dir_make_tmp("lodge-formats-XXXXXX", &error);
    g_assert_no_error(error);
}

static void remove_tree(const char *path)
{
    g_autoptr(GDir) dir =
        g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        remove_tree(child);
    }
    g_remove(path);
}

void images_remove(void)
{
    remove_tree(folder);
    g_clear_pointer(&folder, g_free);
}

bool images_have_judge(void)
{
    g_autofree char *tool = g_find_program_in_path("qemu-img");
    if (!tool)
        g_test_skip("qemu-img is not installed (package qemu-utils)");
    return tool != NULL;
}

char *images_path(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

const char *images_folder(void)
{
    return folder;
}

uint8_t *images_pattern(size_t size, uint32_t seed)
{
    uint8_t *bytes = g_malloc0(size);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    for (size_t at = 0; at < size;) {
        size_t length = (size_t)g_rand_int_range(rand, 1, 400) * 512;
        length = MIN(length, size - at);
        unsigned kind = g_rand_int(rand) % 4;
        for (size_t i = 0; i < length && kind < 3; i++) {
            if (kind == 0) // does not compress
                bytes[at + i] = (uint8_t)g_rand_int(rand);
            else if (kind == 1)
                bytes[at + i] = (uint8_t)((at + i) / 7);
            else
                bytes[at + i] = (uint8_t)(at / 512 + 1);
        }
        at += length;
    }
    return bytes;
}

char *images_raw(const char *name, const uint8_t *bytes, size_t size)
{
    char *path = images_path(name);
    g_autoptr(GError) error = NULL;
    g_file_set_contents(path, (const char *)bytes, (gssize)size, &error);
    g_assert_no_error(error);
    return path;
}

bool images_run(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *line = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_auto(GStrv) words = NULL;
    g_autofree char *out = NULL, *err = NULL;
    g_autoptr(GError) error = NULL;
    int status;
    g_assert_true(g_shell_parse_argv(line, NULL, &words, NULL));
    if (!g_spawn_sync(folder, words, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status,
                      &error))
        g_error("%s: %s", line, error->message);
    if (g_spawn_check_wait_status(status, NULL))
        return true;
    g_test_message("%s\n%s%s", line, out, err);
    g_printerr("# %s\n# %s# %s\n", line, out, err);
    return false;
}

Image *images_open(const char *name, const char *format, bool read_only)
{
    g_autofree char *path = images_path(name);
    g_autoptr(GError) error = NULL;
    ImageOpen options = { .path = path, .fd = -1, .read_only = read_only, .format = format };
    Image *image = image_open(&options, &error);
    g_assert_no_error(error);
    g_assert_nonnull(image);
    return image;
}

void images_refused(const char *name, const char *format, bool read_only, const char *words)
{
    g_autofree char *path = images_path(name);
    g_autoptr(GError) error = NULL;
    ImageOpen options = { .path = path, .fd = -1, .read_only = read_only, .format = format };
    Image *image = image_open(&options, &error);
    if (image)
        g_error("%s was opened", name);
    g_assert_nonnull(error);
    g_auto(GStrv) parts = g_strsplit(words, "|", -1);
    for (char **part = parts; *part; part++) {
        if (!strstr(error->message, *part))
            g_error("message '%s' lacks '%s'", error->message, *part);
    }
    g_assert_null(strchr(error->message, '\n'));
    g_assert_cmpuint(strlen(error->message), <, 2000);
}

void images_same(Image *image, const uint8_t *bytes, size_t size)
{
    static const size_t steps[] = { 65536, 512, 1 << 20, 3584, 4096 };
    g_assert_cmpuint(image_size(image), >=, size);
    g_autofree uint8_t *buffer = g_malloc(1 << 20);
    unsigned turn = 0;
    for (size_t at = 0; at < size; turn++) {
        size_t count = MIN(steps[turn % G_N_ELEMENTS(steps)], size - at);
        g_assert_cmpint(image_read(image, at, buffer, count), ==, 0);
        if (memcmp(buffer, bytes + at, count) != 0) {
            size_t i = 0;
            while (buffer[i] == bytes[at + i])
                i++;
            g_error("%s differs at %zu: %02x, not %02x", image_path(image), at + i, buffer[i],
                    bytes[at + i]);
        }
        at += count;
    }
    for (uint64_t at = 0; at < size;) { // what is said to be zero is zero
        ImageExtent extent;
        g_assert_cmpint(image_extent(image, at, size - at, &extent), ==, 0);
        for (uint64_t i = 0; !extent.data && i < extent.length; i++)
            g_assert_cmpuint(bytes[at + i], ==, 0);
        at += extent.length;
    }
}

void images_scribble(Image *image, uint8_t *bytes, size_t size, uint32_t seed, unsigned steps)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autofree uint8_t *buffer = g_malloc(256 * 1024);
    for (unsigned step = 0; step < steps; step++) {
        size_t sectors = size / 512;
        size_t at = (size_t)g_rand_int_range(rand, 0, (gint32)sectors);
        if (g_rand_int(rand) % 6 == 0)
            at %= 16; // beside the tables
        size_t most = g_rand_int(rand) % 4 ? 16 : 512;
        size_t count = (size_t)g_rand_int_range(rand, 1, (gint32)most + 1);
        count = MIN(count, sectors - at);
        unsigned kind = g_rand_int(rand) % 16;
        if (kind == 0) {
            g_assert_cmpint(image_flush(image), ==, 0);
        } else if (kind == 1) {
            g_assert_cmpint(image_discard(image, at * 512, count * 512), ==, 0);
            g_assert_cmpint(image_read(image, at * 512, buffer, count * 512), ==, 0);
            for (size_t i = 0; i < count * 512; i++) {
                uint8_t *byte = &bytes[at * 512 + i];
                g_assert_true(buffer[i] == 0 || buffer[i] == *byte);
                *byte = buffer[i];
            }
        } else {
            for (size_t i = 0; i < count * 512; i++)
                buffer[i] = kind == 2 ? 0 : (uint8_t)g_rand_int(rand);
            memcpy(bytes + at * 512, buffer, count * 512);
            g_assert_cmpint(image_write(image, at * 512, buffer, count * 512), ==, 0);
        }
    }
}
