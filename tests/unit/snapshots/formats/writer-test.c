// SPDX-License-Identifier: GPL-2.0-or-later
// New images of every format that is written: qemu-img finds them sound and identical, and so do
// we. What fails or is cancelled leaves nothing behind.
#include "snapshots/formats/image-writer.h"
#include "tests/unit/snapshots/formats/images.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#define SIZE (70 * 1024 * 1024 + 1536) // several grain tables, an odd end
#define DATA (9 * 1024 * 1024)

typedef struct {
    const char *format, *judge, *ending;
    ImagePack pack;
} Kind;

static const Kind kinds[] = {
    { "raw", "raw", "raw", IMAGE_PACK_NONE },       { "qcow2", "qcow2", "qcow2", IMAGE_PACK_NONE },
    { "qcow2", "qcow2", "qcow2", IMAGE_PACK_ZLIB }, { "qcow2", "qcow2", "qcow2", IMAGE_PACK_ZSTD },
    { "vmdk", "vmdk", "vmdk", IMAGE_PACK_NONE },    { "vdi", "vdi", "vdi", IMAGE_PACK_NONE },
    { "vhd", "vpc", "vhd", IMAGE_PACK_NONE },
};

// Data at both ends, holes between.
static uint8_t *make_disk(void)
{
    g_autofree uint8_t *data = images_pattern(DATA, 41);
    uint8_t *bytes = g_malloc0(SIZE);
    memcpy(bytes, data, DATA / 2);
    memcpy(bytes + SIZE - DATA / 2, data + DATA / 2, DATA / 2);
    return bytes;
}

static ImageWriter *begin(const Kind *kind, const char *name)
{
    g_autofree char *path = images_path(name);
    g_autoptr(GError) error = NULL;
    g_unlink(path);
    ImageCreate create = { path, kind->format, SIZE, kind->pack };
    ImageWriter *writer = image_writer_new(&create, &error);
    g_assert_no_error(error);
    return writer;
}

static void test_written(gconstpointer data)
{
    const Kind *kind = data;
    g_autofree uint8_t *bytes = make_disk();
    g_autofree char *source = images_raw("source.raw", bytes, SIZE);
    g_autofree char *name = g_strdup_printf("made.%s", kind->ending);
    g_autoptr(GError) error = NULL;
    ImageWriter *writer = begin(kind, name);
    Image *image = images_open("source.raw", "raw", true);
    g_assert_true(image_copy(image, writer, NULL, NULL, &error));
    g_assert_no_error(error);
    image_close(image);
    g_assert_true(image_writer_finish(writer, &error));
    g_assert_no_error(error);
    image = images_open(name, kind->format, true);
    g_assert_cmpuint(image_size(image), ==, SIZE);
    images_same(image, bytes, SIZE);
    image_close(image);
    if (!images_have_judge())
        return;
    if (g_str_equal(kind->judge, "qcow2") || g_str_equal(kind->judge, "vdi") ||
        g_str_equal(kind->judge, "vmdk"))
        g_assert_true(images_run("qemu-img check -q -f %s %s", kind->judge, name));
    g_assert_true(
        images_run("qemu-img compare -q -f %s -F raw %s source.raw", kind->judge, name));
}

// What was written can be written to again.
static void test_rewritten(gconstpointer data)
{
    const Kind *kind = data;
    g_autofree char *name = g_strdup_printf("again.%s", kind->ending);
    g_autofree uint8_t *bytes = make_disk();
    g_autoptr(GError) error = NULL;
    ImageWriter *writer = begin(kind, name);
    g_assert_true(image_writer_write(writer, 0, bytes, SIZE, &error));
    g_assert_true(image_writer_finish(writer, &error));
    Image *image = images_open(name, kind->format, false);
    images_scribble(image, bytes, SIZE, 43, 100);
    images_same(image, bytes, SIZE);
    g_assert_cmpint(image_close(image), ==, 0);
    g_autofree char *wanted = images_raw("wanted.raw", bytes, SIZE);
    if (images_have_judge())
        g_assert_true(
            images_run("qemu-img compare -q -f %s -F raw %s wanted.raw", kind->judge, name));
}

static bool nothing_like(const char *part)
{
    g_autoptr(GDir) dir = g_dir_open(images_folder(), 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        if (strstr(name, part))
            return false;
    }
    return true;
}

static void test_cancelled(gconstpointer data)
{
    const Kind *kind = data;
    ImageWriter *writer = begin(kind, "cancelled");
    g_autofree uint8_t *bytes = make_disk();
    g_assert_true(image_writer_write(writer, 0, bytes, SIZE / 2, NULL));
    image_writer_cancel(writer);
    g_assert_true(nothing_like("cancelled"));
}

static bool stop_halfway(void *opaque, uint64_t done)
{
    return done < SIZE / 2;
}

static void test_stopped(void)
{
    g_autofree uint8_t *bytes = make_disk();
    g_autofree char *source = images_raw("source.raw", bytes, SIZE);
    g_autoptr(GError) error = NULL;
    ImageWriter *writer = begin(&kinds[1], "stopped");
    Image *image = images_open("source.raw", "raw", true);
    g_assert_false(image_copy(image, writer, stop_halfway, NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    image_close(image);
    image_writer_cancel(writer);
    g_assert_true(nothing_like("stopped"));
}

static void refused(const char *name, const char *format, uint64_t size, ImagePack pack,
                    const char *word)
{
    g_autofree char *path = images_path(name);
    g_autoptr(GError) error = NULL;
    ImageCreate create = { path, format, size, pack };
    g_assert_null(image_writer_new(&create, &error));
    if (!strstr(error->message, word))
        g_error("message '%s' lacks '%s'", error->message, word);
}

static void test_refused(void)
{
    g_autofree char *path = images_raw("there.qcow2", (const uint8_t *)"x", 1);
    refused("there.qcow2", "qcow2", 1 << 20, IMAGE_PACK_NONE, "exists already");
    refused("no/folder.qcow2", "qcow2", 1 << 20, IMAGE_PACK_NONE, "folder does not exist");
    refused("new.vhdx", "vhdx", 1 << 20, IMAGE_PACK_NONE, "use qcow2");
    refused("new.vhd", "vhd", UINT64_C(3) << 40, IMAGE_PACK_NONE, "2,040 GiB");
    refused("new.vdi", "vdi", 1 << 20, IMAGE_PACK_ZSTD, "compression");
    g_assert_true(nothing_like("new."));
}

static void test_ascending(void)
{
    ImageWriter *writer = begin(&kinds[1], "order.qcow2");
    g_assert_true(image_writer_write(writer, 4096, "12345678", 8, NULL));
    g_assert_false(image_writer_write(writer, 0, "12345678", 8, NULL));
    g_assert_false(image_writer_write(writer, SIZE, "12345678", 8, NULL));
    image_writer_cancel(writer);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    images_init();
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const Kind *kind = &kinds[i];
        g_autofree char *written =
            g_strdup_printf("/writer/written/%s-%d", kind->format, kind->pack);
        g_autofree char *again = g_strdup_printf("/writer/again/%s-%d", kind->format, kind->pack);
        g_autofree char *cancelled =
            g_strdup_printf("/writer/cancelled/%s-%d", kind->format, kind->pack);
        g_test_add_data_func(written, kind, test_written);
        g_test_add_data_func(cancelled, kind, test_cancelled);
        if (!g_str_equal(kind->format, "vmdk") && !g_str_equal(kind->format, "raw"))
            g_test_add_data_func(again, kind, test_rewritten);
    }
    g_test_add_func("/writer/stopped", test_stopped);
    g_test_add_func("/writer/refused", test_refused);
    g_test_add_func("/writer/ascending", test_ascending);
    int status = g_test_run();
    images_remove();
    return status;
}
