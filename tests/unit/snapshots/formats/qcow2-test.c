// SPDX-License-Identifier: GPL-2.0-or-later
// qcow2 images of every option that qemu-img makes: read back identical, written and then judged by
// qemu-img check and compare, repaired, resized.
#include "tests/unit/snapshots/formats/images.h"

#include "engine/base/bytes.h"

#include <glib/gstdio.h>
#include <string.h>

#define SIZE (6 * 1024 * 1024 + 5 * 512)

// Options of qemu-img convert for images that are read and written.
static const char *const layouts[] = {
    "-o compat=0.10",
    "-o compat=1.1",
    "-o cluster_size=512",
    "-o cluster_size=4096",
    "-o cluster_size=2M",
    "-o refcount_bits=1",
    "-o refcount_bits=2",
    "-o refcount_bits=4",
    "-o refcount_bits=8",
    "-o refcount_bits=32",
    "-o refcount_bits=64",
    "-o cluster_size=512,refcount_bits=64",
    "-o lazy_refcounts=on",
    "-o preallocation=metadata",
    "-o preallocation=falloc",
    "-o extended_l2=on",
    "-o extended_l2=on,cluster_size=16k",
    "-o extended_l2=on,cluster_size=2M",
    "-c",
    "-c -o cluster_size=512",
    "-c -o cluster_size=2M",
    "-c -o compression_type=zstd",
    "-c -o compression_type=zstd,extended_l2=on",
};

static void judge(const char *name, const uint8_t *bytes)
{
    g_autofree char *raw = images_raw("wanted.raw", bytes, SIZE);
    g_assert_true(images_run("qemu-img check -q -f qcow2 %s", name));
    g_assert_true(images_run("qemu-img compare -q -f qcow2 -F raw %s wanted.raw", name));
}

static void convert(const char *options, const uint8_t *bytes, const char *name)
{
    g_autofree char *raw = images_raw("source.raw", bytes, SIZE);
    g_assert_true(
        images_run("qemu-img convert -q -f raw -O qcow2 %s source.raw %s", options, name));
}

static void test_layout(gconstpointer data)
{
    const char *options = data;
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 1);
    convert(options, bytes, "layout.qcow2");
    Image *image = images_open("layout.qcow2", NULL, true);
    g_assert_cmpstr(image_format(image), ==, "qcow2");
    images_same(image, bytes, SIZE);
    g_assert_cmpint(image_close(image), ==, 0);
    for (uint32_t turn = 0; turn < 2; turn++) {
        image = images_open("layout.qcow2", "qcow2", false);
        images_scribble(image, bytes, SIZE, turn, 120);
        images_same(image, bytes, SIZE);
        g_assert_cmpint(image_close(image), ==, 0);
        judge("layout.qcow2", bytes);
    }
}

// An empty image filled by us, so that every table is ours.
static void test_fill(gconstpointer data)
{
    const char *options = data;
    if (!images_have_judge())
        return;
    g_assert_true(images_run("qemu-img create -q -f qcow2 %s fill.qcow2 %d", options, SIZE));
    g_autofree uint8_t *bytes = images_pattern(SIZE, 3);
    Image *image = images_open("fill.qcow2", "qcow2", false);
    for (size_t at = 0; at < SIZE; at += 12288)
        g_assert_cmpint(image_write(image, at, bytes + at, MIN(12288, SIZE - at)), ==, 0);
    g_assert_cmpint(image_close(image), ==, 0);
    judge("fill.qcow2", bytes);
}

// Over a backing image that is shorter; what is discarded must not let it shine through.
static void test_backing(gconstpointer data)
{
    const char *options = data;
    if (!images_have_judge())
        return;
    const size_t below = SIZE / 2 - 512 * 3;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 5);
    memset(bytes + below, 0, SIZE - below);
    g_autofree char *raw = images_raw("base.raw", bytes, below);
    g_assert_true(images_run("qemu-img convert -q -c -f raw -O qcow2 base.raw base.qcow2"));
    g_assert_true(
        images_run("qemu-img create -q -f qcow2 %s -b base.qcow2 -F qcow2 middle.qcow2 %zu",
                   options, below + 512 * 8));
    g_assert_true(images_run("qemu-img create -q -f qcow2 %s -b middle.qcow2 -F qcow2 top.qcow2 %d",
                             options, SIZE));
    Image *image = images_open("top.qcow2", "qcow2", false);
    images_same(image, bytes, SIZE);
    images_scribble(image, bytes, SIZE, 7, 200);
    images_same(image, bytes, SIZE);
    g_assert_cmpint(image_close(image), ==, 0);
    judge("top.qcow2", bytes);
}

// Internal snapshots share clusters and tables with the disk; theirs must stay.
static void test_snapshot(gconstpointer data)
{
    const char *options = data;
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 9);
    g_autofree uint8_t *before = g_memdup2(bytes, SIZE);
    convert(options, bytes, "snap.qcow2");
    g_assert_true(images_run("qemu-img snapshot -c one snap.qcow2"));
    Image *image = images_open("snap.qcow2", "qcow2", false);
    images_scribble(image, bytes, SIZE, 11, 200);
    g_assert_cmpint(image_close(image), ==, 0);
    judge("snap.qcow2", bytes);
    g_assert_true(images_run("qemu-img snapshot -a one snap.qcow2"));
    judge("snap.qcow2", before);
    g_assert_true(images_run("qemu-img snapshot -d one snap.qcow2"));
    judge("snap.qcow2", before);
}

static void test_data_file(void)
{
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 13);
    convert("-o data_file=outside.bin", bytes, "outer.qcow2");
    Image *image = images_open("outer.qcow2", NULL, true);
    images_same(image, bytes, SIZE);
    image_close(image);
    images_refused("outer.qcow2", "qcow2", false, "external file|read-only");
}

static void test_resize(void)
{
    if (!images_have_judge())
        return;
    g_autoptr(GError) error = NULL;
    g_assert_true(images_run("qemu-img create -q -f qcow2 -o cluster_size=512 grow.qcow2 1M"));
    Image *image = images_open("grow.qcow2", "qcow2", false);
    g_assert_false(image_resize(image, 512, &error));
    g_assert_nonnull(strstr(error->message, "smaller"));
    g_clear_error(&error);
    g_assert_true(image_resize(image, SIZE, &error));
    g_assert_no_error(error);
    g_autofree uint8_t *bytes = images_pattern(SIZE, 15);
    g_assert_cmpint(image_write(image, 0, bytes, SIZE), ==, 0);
    g_assert_cmpint(image_close(image), ==, 0);
    judge("grow.qcow2", bytes);
}

// A backing image that is longer than the disk must not appear when the disk grows.
static void test_resize_backing(void)
{
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 17);
    g_autofree char *raw = images_raw("long.raw", bytes, SIZE);
    g_assert_true(images_run("qemu-img create -q -f qcow2 -b long.raw -F raw short.qcow2 1M"));
    Image *image = images_open("short.qcow2", "qcow2", false);
    g_assert_true(image_resize(image, SIZE, NULL));
    memset(bytes + (1 << 20), 0, SIZE - (1 << 20));
    images_same(image, bytes, SIZE);
    g_assert_cmpint(image_close(image), ==, 0);
    judge("short.qcow2", bytes);
}

static ImageCheck check_image(const char *name, bool repair)
{
    g_autofree char *path = images_path(name);
    g_autoptr(GError) error = NULL;
    ImageOpen options = {
        .path = path, .fd = -1, .read_only = !repair, .format = "qcow2", .for_check = true
    };
    Image *image = image_open(&options, &error);
    g_assert_no_error(error);
    ImageCheck check;
    g_assert_true(image_check(image, repair, &check, &error));
    g_assert_no_error(error);
    image_close(image);
    return check;
}

static void test_check_clean(gconstpointer data)
{
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 19);
    convert(data, bytes, "clean.qcow2");
    g_assert_true(images_run("qemu-img snapshot -c one clean.qcow2"));
    ImageCheck check = check_image("clean.qcow2", false);
    g_assert_cmpuint(check.errors, ==, 0);
    g_assert_cmpuint(check.leaks, ==, 0);
    image_check_clear(&check);
}

static void poke(const char *name, uint64_t offset, const void *bytes, size_t size)
{
    g_autofree char *path = images_path(name);
    FILE *file = g_fopen(path, "r+b");
    g_assert_nonnull(file);
    g_assert_cmpint(fseek(file, (long)offset, SEEK_SET), ==, 0);
    g_assert_cmpuint(fwrite(bytes, 1, size, file), ==, size);
    fclose(file);
}

static uint64_t peek64(const char *name, uint64_t offset)
{
    g_autofree char *path = images_path(name);
    uint8_t bytes[8];
    FILE *file = g_fopen(path, "rb");
    g_assert_nonnull(file);
    g_assert_cmpint(fseek(file, (long)offset, SEEK_SET), ==, 0);
    g_assert_cmpuint(fread(bytes, 1, 8, file), ==, 8);
    fclose(file);
    return be64_read(bytes);
}

// Damages counts, then repairs: a refcount block of zeros, one that is not there, a dirty mark.
static void test_repair(gconstpointer data)
{
    const char *damage = data;
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 21);
    convert("", bytes, "broken.qcow2");
    uint64_t table = peek64("broken.qcow2", 48), block = peek64("broken.qcow2", table);
    static const uint8_t zeros[65536];
    if (g_str_equal(damage, "zeros")) {
        poke("broken.qcow2", block, zeros, sizeof zeros);
        images_refused("broken.qcow2", "qcow2", false, "contradict|--repair");
    } else if (g_str_equal(damage, "block")) {
        poke("broken.qcow2", table, "\x7f\xff\xff\xff\xff\xff\x00\x00", 8);
        images_refused("broken.qcow2", "qcow2", false, "refcount block|--repair");
    } else if (g_str_equal(damage, "leak")) {
        poke("broken.qcow2", block + 2 * 3000, "\0\1", 2);
    } else {
        poke("broken.qcow2", 79, "\1", 1);
        poke("broken.qcow2", block, zeros, sizeof zeros);
    }
    ImageCheck check = check_image("broken.qcow2", false);
    g_assert_cmpuint(check.errors + check.leaks, >, 0);
    g_assert_cmpuint(check.messages->len, >, 0);
    image_check_clear(&check);
    if (!g_str_equal(damage, "dirty")) {
        check = check_image("broken.qcow2", true);
        g_assert_cmpuint(check.errors + check.leaks, ==, check.repaired);
        image_check_clear(&check);
    }
    Image *image = images_open("broken.qcow2", "qcow2", false); // repairs what is only dirty
    images_scribble(image, bytes, SIZE, 23, 60);
    g_assert_cmpint(image_close(image), ==, 0);
    judge("broken.qcow2", bytes);
}

static void test_autoclear(void)
{
    if (!images_have_judge())
        return;
    g_assert_true(images_run("qemu-img create -q -f qcow2 bits.qcow2 1M"));
    g_assert_true(images_run("qemu-img bitmap --add bits.qcow2 map"));
    g_assert_cmpuint(peek64("bits.qcow2", 88), ==, 1);
    ImageCheck check = check_image("bits.qcow2", false);
    g_assert_cmpuint(check.errors + check.leaks, ==, 0);
    image_check_clear(&check);
    Image *image = images_open("bits.qcow2", "qcow2", false);
    g_assert_cmpint(image_close(image), ==, 0);
    g_assert_cmpuint(peek64("bits.qcow2", 88), ==, 1); // nothing was written
    image = images_open("bits.qcow2", "qcow2", false);
    g_assert_cmpint(image_write(image, 0, "12345678", 8), ==, 0);
    g_assert_cmpint(image_close(image), ==, 0);
    g_assert_cmpuint(peek64("bits.qcow2", 88), ==, 0);
}

static void test_terabyte(void)
{
    if (!images_have_judge())
        return;
    g_assert_true(images_run("qemu-img create -q -f qcow2 huge.qcow2 1T"));
    Image *image = images_open("huge.qcow2", "qcow2", false);
    g_assert_cmpuint(image_size(image), ==, UINT64_C(1) << 40);
    uint8_t byte = 7;
    g_assert_cmpint(image_write(image, (UINT64_C(1) << 40) - 1, &byte, 1), ==, 0);
    g_assert_cmpint(image_discard(image, 0, UINT64_C(1) << 40), ==, 0);
    ImageExtent extent;
    g_assert_cmpint(image_extent(image, 0, UINT64_C(1) << 40, &extent), ==, 0);
    g_assert_false(extent.data);
    g_assert_cmpint(image_close(image), ==, 0);
    g_assert_true(images_run("qemu-img check -q -f qcow2 huge.qcow2"));
}

static void add(const char *name, const char *options, void (*test)(gconstpointer data))
{
    g_autofree char *words = g_strdelimit(g_strdup(*options ? options : "plain"), " /", '_');
    g_autofree char *path = g_strdup_printf("/qcow2/%s/%s", name, words);
    g_test_add_data_func(path, options, test);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    images_init();
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++)
        add("layout", layouts[i], test_layout);
    add("fill", "-o cluster_size=512", test_fill);
    add("fill", "-o cluster_size=512,refcount_bits=64", test_fill);
    add("fill", "-o extended_l2=on", test_fill);
    add("backing", "-o compat=0.10", test_backing);
    add("backing", "-o compat=1.1", test_backing);
    add("backing", "-o extended_l2=on", test_backing);
    add("snapshot", "", test_snapshot);
    add("snapshot", "-c", test_snapshot);
    add("snapshot", "-o extended_l2=on,cluster_size=16k", test_snapshot);
    g_test_add_func("/qcow2/data-file", test_data_file);
    g_test_add_func("/qcow2/resize", test_resize);
    g_test_add_func("/qcow2/resize-backing", test_resize_backing);
    add("check-clean", "", test_check_clean);
    add("check-clean", "-c", test_check_clean);
    add("check-clean", "-o extended_l2=on", test_check_clean);
    add("check-clean", "-o refcount_bits=64,cluster_size=4k", test_check_clean);
    add("repair", "zeros", test_repair);
    add("repair", "block", test_repair);
    add("repair", "leak", test_repair);
    add("repair", "dirty", test_repair);
    g_test_add_func("/qcow2/autoclear", test_autoclear);
    g_test_add_func("/qcow2/terabyte", test_terabyte);
    int status = g_test_run();
    images_remove();
    return status;
}
