// SPDX-License-Identifier: GPL-2.0-or-later
// VMDK, VDI, VHD and VHDX images that qemu-img makes: read back identical; those that we write are
// judged by qemu-img afterwards.
#include "tests/unit/snapshots/formats/images.h"

#include <string.h>

#define SIZE (9 * 1024 * 1024)

typedef struct {
    const char *format; // ours
    const char *judge;  // qemu-img's name
    const char *ending;
    const char *options; // of qemu-img convert
    bool writable;
} Kind;

static const Kind kinds[] = {
    { "vmdk", "vmdk", "vmdk", "-o subformat=monolithicSparse", true },
    { "vmdk", "vmdk", "vmdk", "-o subformat=monolithicSparse,zeroed_grain=on", true },
    { "vmdk", "vmdk", "vmdk", "-o subformat=monolithicFlat", true },
    { "vmdk", "vmdk", "vmdk", "-o subformat=twoGbMaxExtentSparse", true },
    { "vmdk", "vmdk", "vmdk", "-o subformat=twoGbMaxExtentFlat", true },
    { "vmdk", "vmdk", "vmdk", "-o subformat=streamOptimized", false },
    { "vmdk", "vmdk", "vmdk", "-o adapter_type=lsilogic,hwversion=8", true },
    { "vmdk", "vmdk", "vmdk", "-o compat6=on", true },
    { "vdi", "vdi", "vdi", "", true },
    { "vdi", "vdi", "vdi", "-o static=on", true },
    { "vhd", "vpc", "vhd", "-o subformat=dynamic,force_size=on", true },
    { "vhd", "vpc", "vhd", "-o subformat=fixed,force_size=on", true },
    { "vhd", "vpc", "vhd", "-o subformat=dynamic", true },
    { "vhdx", "vhdx", "vhdx", "-o subformat=dynamic", false },
    { "vhdx", "vhdx", "vhdx", "-o subformat=dynamic,block_size=1M,log_size=2M", false },
    { "vhdx", "vhdx", "vhdx", "-o subformat=fixed", false },
    { "vhdx", "vhdx", "vhdx", "-o block_state_zero=off", false },
    { "vhdx", "vhdx", "vhdx", "-o block_size=256M", false },
};

static void judge(const Kind *kind, const char *name, const uint8_t *bytes)
{
    g_autofree char *raw = images_raw("wanted.raw", bytes, SIZE);
    if (g_str_equal(kind->judge, "vdi") || g_str_equal(kind->judge, "vmdk"))
        g_assert_true(images_run("qemu-img check -q -f %s %s", kind->judge, name));
    g_assert_true(images_run("qemu-img compare -q -f %s -F raw %s wanted.raw", kind->judge, name));
}

static void test_kind(gconstpointer data)
{
    const Kind *kind = data;
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 31);
    g_autofree char *raw = images_raw("source.raw", bytes, SIZE);
    g_autofree char *name = g_strdup_printf("image.%s", kind->ending);
    g_assert_true(
        images_run("rm -f image.%s image-s001.vmdk image-f001.vmdk image-flat.vmdk", kind->ending));
    g_assert_true(images_run("qemu-img convert -q -f raw -O %s %s source.raw %s", kind->judge,
                             kind->options, name));
    Image *image = images_open(name, NULL, true);
    g_assert_cmpstr(image_format(image), ==, kind->format);
    images_same(image, bytes, SIZE);
    ImageInfo info;
    image_info(image, &info);
    g_assert_cmpint(info.writable, ==, kind->writable);
    image_info_clear(&info);
    ImageCheck check;
    g_assert_true(image_check(image, false, &check, NULL));
    g_assert_cmpuint(check.errors, ==, 0);
    image_check_clear(&check);
    g_assert_cmpint(image_close(image), ==, 0);
    if (!kind->writable) {
        images_refused(name, kind->format, false, "only be read|convert");
        return;
    }
    for (uint32_t turn = 0; turn < 2; turn++) {
        image = images_open(name, kind->format, false);
        images_scribble(image, bytes, SIZE, turn, 200);
        images_same(image, bytes, SIZE);
        g_assert_cmpint(image_close(image), ==, 0);
        judge(kind, name, bytes);
    }
}

// Over a parent, which must stay as it is.
static void test_vmdk_delta(void)
{
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 33);
    g_autofree char *raw = images_raw("source.raw", bytes, SIZE);
    g_assert_true(images_run("qemu-img convert -q -f raw -O vmdk source.raw parent.vmdk"));
    g_assert_true(images_run("qemu-img create -q -f vmdk -b parent.vmdk -F vmdk child.vmdk"));
    Image *image = images_open("child.vmdk", "vmdk", false);
    images_same(image, bytes, SIZE);
    images_scribble(image, bytes, SIZE, 35, 100);
    images_same(image, bytes, SIZE);
    g_assert_cmpint(image_close(image), ==, 0);
    g_assert_true(images_run("qemu-img compare -q -f vmdk -F raw parent.vmdk source.raw"));
    g_autofree char *wanted = images_raw("wanted.raw", bytes, SIZE);
    g_assert_true(images_run("qemu-img compare -q -f vmdk -F raw child.vmdk wanted.raw"));
    // A parent that changed since is another disk.
    image = images_open("parent.vmdk", "vmdk", false);
    g_assert_cmpint(image_write(image, 0, "changed", 7), ==, 0);
    g_assert_cmpint(image_close(image), ==, 0);
    images_refused("child.vmdk", "vmdk", true, "changed since|CID");
}

// Writes across the border of two extents of 2 GB; as many as are needed for 5 GiB.
static void test_vmdk_split(gconstpointer data)
{
    const uint64_t size = UINT64_C(5) << 30, border = UINT64_C(2) << 30;
    if (!images_have_judge())
        return;
    g_assert_true(
        images_run("qemu-img create -q -f vmdk -o subformat=%s split.vmdk 5G", (const char *)data));
    uint8_t out[8192], in[8192];
    memset(out, 0x5a, sizeof out);
    Image *image = images_open("split.vmdk", "vmdk", false);
    g_assert_cmpuint(image_size(image), ==, size);
    g_assert_cmpint(image_write(image, border - 4096, out, sizeof out), ==, 0);
    g_assert_cmpint(image_write(image, size - sizeof out, out, sizeof out), ==, 0);
    g_assert_cmpint(image_read(image, border - 4096, in, sizeof in), ==, 0);
    g_assert_true(memcmp(in, out, sizeof in) == 0);
    g_assert_cmpint(image_close(image), ==, 0);
    g_assert_true(images_run("qemu-img convert -q -f vmdk -O raw split.vmdk split.raw"));
    image = images_open("split.raw", "raw", true);
    uint64_t places[] = { border - 4096, size - sizeof out };
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_assert_cmpint(image_read(image, places[i], in, sizeof in), ==, 0);
        g_assert_true(memcmp(in, out, sizeof in) == 0);
    }
    image_close(image);
    g_assert_true(images_run("sh -c 'rm -f split*'"));
}

static void test_grow(void)
{
    if (!images_have_judge())
        return;
    g_autoptr(GError) error = NULL;
    g_assert_true(images_run("qemu-img create -q -f vdi grow.vdi 1M"));
    Image *image = images_open("grow.vdi", "vdi", false);
    g_assert_true(image_resize(image, SIZE, &error));
    g_assert_no_error(error);
    g_autofree uint8_t *bytes = images_pattern(SIZE, 37);
    g_assert_cmpint(image_write(image, 0, bytes, SIZE), ==, 0);
    g_assert_cmpint(image_close(image), ==, 0);
    g_autofree char *wanted = images_raw("wanted.raw", bytes, SIZE);
    g_assert_true(images_run("qemu-img compare -q -f vdi -F raw grow.vdi wanted.raw"));
}

static void test_terabyte(gconstpointer data)
{
    const char *format = data;
    if (!images_have_judge())
        return;
    const char *name = g_str_equal(format, "vpc") ? "vhd" : format;
    g_assert_true(images_run("qemu-img create -q -f %s huge.%s 1T", format, name));
    g_autofree char *file = g_strdup_printf("huge.%s", name);
    Image *image = images_open(file, name, true);
    g_assert_cmpuint(image_size(image), >=, UINT64_C(1) << 40);
    ImageExtent extent;
    uint8_t sector[512];
    g_assert_cmpint(image_extent(image, 0, image_size(image), &extent), ==, 0);
    g_assert_false(extent.data);
    g_assert_cmpint(image_read(image, image_size(image) - 512, sector, 512), ==, 0);
    g_assert_cmpint(image_close(image), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    images_init();
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *words = g_strdelimit(g_strdup(kinds[i].options), " /", '_');
        g_autofree char *path =
            g_strdup_printf("/formats/%s/%s", kinds[i].format, *words ? words : "plain");
        g_test_add_data_func(path, &kinds[i], test_kind);
    }
    g_test_add_func("/formats/vmdk/delta", test_vmdk_delta);
    g_test_add_data_func("/formats/vmdk/split-sparse", "twoGbMaxExtentSparse", test_vmdk_split);
    g_test_add_data_func("/formats/vmdk/split-flat", "twoGbMaxExtentFlat", test_vmdk_split);
    g_test_add_func("/formats/vdi/grow", test_grow);
    g_test_add_data_func("/formats/terabyte/vmdk", "vmdk", test_terabyte);
    g_test_add_data_func("/formats/terabyte/vdi", "vdi", test_terabyte);
    g_test_add_data_func("/formats/terabyte/vhdx", "vhdx", test_terabyte);
    g_test_add_data_func("/formats/terabyte/vhd", "vpc", test_terabyte);
    int status = g_test_run();
    images_remove();
    return status;
}
