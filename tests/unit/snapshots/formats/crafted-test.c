// SPDX-License-Identifier: GPL-2.0-or-later
// What qemu-img cannot make: a VHDX whose log was not yet written back, differencing VHD and VHDX
// disks, sparse VMDK extents over raw ones. Made here byte by byte after the specifications.
#include "engine/base/bytes.h"
#include "snapshots/formats/image-writer.h"
#include "snapshots/formats/vhd-private.h"
#include "snapshots/formats/vhdx-private.h"
#include "tests/unit/snapshots/formats/images.h"

#include <glib/gstdio.h>
#include <string.h>

#define SIZE (4u << 20)

static GByteArray *load(const char *name)
{
    g_autofree char *path = images_path(name);
    char *bytes;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    return g_byte_array_new_take((guint8 *)bytes, size);
}

static void save(const char *name, const GByteArray *bytes)
{
    g_autofree char *path = images_raw(name, bytes->data, bytes->len);
}

static void make_vhdx(const char *name, const uint8_t *bytes)
{
    g_autofree char *raw = images_raw("source.raw", bytes, SIZE);
    g_assert_true(
        images_run("qemu-img convert -q -f raw -O vhdx -o block_size=1M source.raw %s", name));
}

// Of the newer header: where it is, and of the region table: where the block table lies.
static uint8_t *vhdx_header(GByteArray *image)
{
    uint8_t *one = image->data + VHDX_HEADER_1, *two = image->data + VHDX_HEADER_2;
    return le64_read(one + 8) > le64_read(two + 8) ? one : two;
}

static uint64_t vhdx_bat(const GByteArray *image)
{
    const uint8_t *row = image->data + VHDX_REGIONS_1 + 16;
    return le64_read(row + (le32_read(row) == 0x2dc27766 ? 16 : 48));
}

static void seal_header(uint8_t *header)
{
    le32_write(header + 4, vhdx_checksum(header, VHDX_HEADER_BYTES, 4));
}

// An entry with one sector of data, [MS-VHDX] 2.3.1.
static void put_entry(uint8_t *entry, uint64_t sequence, uint32_t tail, const uint8_t *guid,
                      uint64_t offset, const uint8_t *sector, uint64_t file_size)
{
    memset(entry, 0, 8192);
    memcpy(entry, "loge", 4);
    le32_write(entry + 8, 8192);
    le32_write(entry + 12, tail);
    le64_write(entry + 16, sequence);
    le32_write(entry + 24, 1);
    memcpy(entry + 32, guid, 16);
    le64_write(entry + 48, file_size);
    le64_write(entry + 56, file_size);
    uint8_t *descriptor = entry + 64;
    memcpy(descriptor, "desc", 4);
    memcpy(descriptor + 4, sector + 4092, 4);
    memcpy(descriptor + 8, sector, 8);
    le64_write(descriptor + 16, offset);
    le64_write(descriptor + 24, sequence);
    memcpy(entry + 4096, "data", 4);
    le32_write(entry + 4100, (uint32_t)(sequence >> 32));
    memcpy(entry + 4104, sector + 8, 4084);
    le32_write(entry + 8188, (uint32_t)sequence);
    le32_write(entry + 4, vhdx_checksum(entry, 8192, 4));
}

// The block table's sector is lost from its place and stands in the log only. `stale`: an older
// entry before it says something else; `wrap`: the entry goes around the end of the log.
static void test_log(gconstpointer data)
{
    bool wrap = GPOINTER_TO_INT(data) & 1, stale = GPOINTER_TO_INT(data) & 2;
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 71);
    make_vhdx("log.vhdx", bytes);
    g_autoptr(GByteArray) image = load("log.vhdx");
    uint8_t *header = vhdx_header(image);
    uint64_t log = le64_read(header + 72), bat = vhdx_bat(image);
    uint32_t size = le32_read(header + 68);
    static const uint8_t guid[16] = "a log's identity", zeros[4096];
    g_autofree uint8_t *table = g_memdup2(image->data + bat, 4096);
    memset(image->data + bat, 0xee, 4096);
    memset(image->data + log, 0, size);
    memcpy(header + 48, guid, 16);
    seal_header(header);
    g_autofree uint8_t *ring = g_malloc0(size);
    uint64_t at = wrap ? size - 4096 : 16384, sequence = UINT64_C(0x1fffffffe);
    uint32_t tail = (uint32_t)at;
    uint8_t entry[8192];
    for (int i = stale ? 0 : 1; i < 2; i++) {
        put_entry(entry, sequence + (uint64_t)i, tail, guid, bat, i ? table : zeros, image->len);
        for (size_t b = 0; b < sizeof entry; b++)
            ring[(at + b) % size] = entry[b];
        at = (at + sizeof entry) % size;
    }
    memcpy(image->data + log, ring, size);
    save("log.vhdx", image);
    Image *opened = images_open("log.vhdx", NULL, true);
    images_same(opened, bytes, SIZE);
    image_close(opened);
    g_autoptr(GByteArray) after = load("log.vhdx");
    g_assert_true(memcmp(after->data, image->data, image->len) == 0); // only read
}

// A log of an older session, or one whose entry is torn, must not be believed.
static void test_log_torn(void)
{
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 73);
    make_vhdx("torn.vhdx", bytes);
    g_autoptr(GByteArray) image = load("torn.vhdx");
    uint8_t *header = vhdx_header(image);
    static const uint8_t guid[16] = "a log's identity";
    memcpy(header + 48, guid, 16);
    seal_header(header);
    uint64_t log = le64_read(header + 72);
    put_entry(image->data + log, 5, 0, guid, vhdx_bat(image), image->data, image->len);
    image->data[log + 5000] ^= 1;
    save("torn.vhdx", image);
    images_refused("torn.vhdx", "vhdx", true, "log is not valid|Hyper-V");
}

static char *guid_text(const uint8_t *g)
{
    return g_strdup_printf("{%08X-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X}", le32_read(g),
                           le16_read(g + 4), le16_read(g + 6), g[8], g[9], g[10], g[11], g[12],
                           g[13], g[14], g[15]);
}

static size_t put_utf16(uint8_t *at, const char *text)
{
    for (size_t i = 0; text[i]; i++)
        le16_write(at + i * 2, (uint16_t)text[i]);
    return strlen(text) * 2;
}

// [MS-VHDX] 2.6.2.6: two keys. Returns the item's length.
static uint32_t put_locator(uint8_t *item, const char *linkage, const char *path)
{
    const char *pairs[] = { "parent_linkage", linkage, "relative_path", path };
    static const uint8_t type[16] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
                                      0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13 };
    memcpy(item, type, 16);
    le16_write(item + 18, 2);
    uint32_t at = 20 + 2 * 12;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *row = item + 20 + i / 2 * 12;
        size_t length = put_utf16(item + at, pairs[i]);
        le32_write(row + i % 2 * 4, at);
        le16_write(row + 8 + i % 2 * 2, (uint16_t)length);
        at += (uint32_t)length;
    }
    return at;
}

static uint8_t *find_metadata(GByteArray *image)
{
    const uint8_t *row = image->data + VHDX_REGIONS_1 + 16;
    return image->data + le64_read(row + (le32_read(row) == 0x8b7ca206 ? 16 : 48));
}

// A child made of an empty image: block 0 is partly its own, block 1 wholly, the rest the parent's.
static void test_vhdx_child(void)
{
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 75);
    make_vhdx("parent.vhdx", bytes);
    g_assert_true(images_run("qemu-img create -q -f vhdx -o block_size=1M child.vhdx %u", SIZE));
    g_autoptr(GByteArray) parent = load("parent.vhdx");
    g_autoptr(GByteArray) child = load("child.vhdx");
    guint end = (child->len + (1u << 20) - 1) & ~((1u << 20) - 1);
    guint old = child->len;
    g_byte_array_set_size(child, end + (3u << 20)); // bitmap, block 0, block 1
    memset(child->data + old, 0, child->len - old);
    uint8_t *metadata = find_metadata(child);
    uint16_t count = le16_read(metadata + 10);
    for (uint16_t i = 0; i < count; i++) {
        uint8_t *row = metadata + 32 + i * 32u;
        if (le32_read(row) == 0xcaa16737) // file parameters: has a parent
            metadata[le32_read(row + 16) + 4] |= 2;
    }
    static const uint8_t locator[16] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                         0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c };
    uint8_t *row = metadata + 32 + count * 32u;
    g_autofree char *linkage = guid_text(vhdx_header(parent) + 32);
    memcpy(row, locator, 16);
    le32_write(row + 16, 128 << 10);
    le32_write(row + 20, put_locator(metadata + (128 << 10), linkage, ".\\parent.vhdx"));
    le32_write(row + 24, 4);
    le16_write(metadata + 10, (uint16_t)(count + 1));
    uint8_t *bat = child->data + vhdx_bat(child);
    uint64_t chunk = (UINT64_C(1) << 23) * 512 / (1u << 20);
    memset(bat, 0, SIZE / (1u << 20) * 8); // qemu-img says "zero"
    le64_write(bat, (end + (1u << 20)) | 7);
    le64_write(bat + 8, (end + (2u << 20)) | 6);
    le64_write(bat + chunk * 8, (uint64_t)end | 6);
    for (unsigned sector = 3; sector < 700; sector++) {
        child->data[end + sector / 8] |= (uint8_t)(1u << sector % 8);
        memset(child->data + end + (1u << 20) + sector * 512, 0xc0, 512);
        memset(bytes + sector * 512, 0xc0, 512);
    }
    memset(child->data + end + (2u << 20), 0xc1, 1u << 20);
    memset(bytes + (1u << 20), 0xc1, 1u << 20);
    save("child.vhdx", child);
    Image *image = images_open("child.vhdx", NULL, true);
    images_same(image, bytes, SIZE);
    image_close(image);
    vhdx_header(parent)[32] ^= 1; // another parent
    seal_header(vhdx_header(parent));
    save("parent.vhdx", parent);
    images_refused("child.vhdx", "vhdx", true, "another parent|identity");
}

static void make_vhd(const char *name, const uint8_t *bytes)
{
    g_autofree char *path = images_path(name);
    ImageCreate create = { .path = path, .format = "vhd", .size = SIZE };
    ImageWriter *writer = image_writer_new(&create, NULL);
    if (bytes)
        g_assert_true(image_writer_write(writer, 0, bytes, SIZE, NULL));
    g_assert_true(image_writer_finish(writer, NULL));
}

// An empty image becomes a child, which we then write to: sectors are its own one by one.
static void test_vhd_child(void)
{
    g_autofree uint8_t *bytes = images_pattern(SIZE, 77);
    make_vhd("parent.vhd", bytes);
    make_vhd("child.vhd", NULL);
    g_autoptr(GByteArray) parent = load("parent.vhd");
    g_autoptr(GByteArray) child = load("child.vhd");
    uint8_t *header = child->data + VHD_FOOTER_BYTES;
    memcpy(header + VHD_PARENT_UUID, parent->data + VHD_UUID, 16);
    static const char name[] = "C:\\disks\\parent.vhd";
    for (size_t i = 0; name[i]; i++)
        be16_write(header + VHD_PARENT_NAME + i * 2, (uint16_t)name[i]);
    be32_write(header + VHD_HEADER_CHECKSUM,
               vhd_checksum(header, VHD_HEADER_BYTES, VHD_HEADER_CHECKSUM));
    uint8_t *footers[] = { child->data, child->data + child->len - VHD_FOOTER_BYTES };
    for (int i = 0; i < 2; i++) {
        be32_write(footers[i] + VHD_TYPE, VHD_DIFFERENCING);
        be32_write(footers[i] + VHD_CHECKSUM,
                   vhd_checksum(footers[i], VHD_FOOTER_BYTES, VHD_CHECKSUM));
    }
    save("child.vhd", child);
    for (uint32_t turn = 0; turn < 2; turn++) {
        Image *image = images_open("child.vhd", "vhd", false);
        images_scribble(image, bytes, SIZE, turn, 60);
        images_same(image, bytes, SIZE);
        g_assert_cmpint(image_close(image), ==, 0);
    }
    g_autoptr(GByteArray) after = load("parent.vhd");
    g_assert_cmpuint(after->len, ==, parent->len);
    g_assert_true(memcmp(after->data, parent->data, parent->len) == 0);
    parent->data[parent->len - VHD_FOOTER_BYTES + VHD_UUID] ^= 1;
    uint8_t *footer = parent->data + parent->len - VHD_FOOTER_BYTES;
    be32_write(footer + VHD_CHECKSUM, vhd_checksum(footer, VHD_FOOTER_BYTES, VHD_CHECKSUM));
    save("parent.vhd", parent);
    images_refused("child.vhd", "vhd", true, "another parent|identity");
}

// Flat, zero and sparse extents in one disk.
static void test_vmdk_extents(void)
{
    if (!images_have_judge())
        return;
    g_autofree uint8_t *bytes = images_pattern(SIZE, 79);
    memset(bytes + SIZE / 4, 0, SIZE / 4);
    g_autofree char *flat = images_raw("part-flat.vmdk", bytes, SIZE / 4);
    g_autofree char *rest = images_raw("rest.raw", bytes + SIZE / 2, SIZE / 2);
    g_assert_true(images_run("qemu-img convert -q -f raw -O vmdk rest.raw part-s.vmdk"));
    g_autofree char *text = g_strdup_printf("# Disk DescriptorFile\r\nversion=1\r\nCID=00000001\r\n"
                                            "parentCID=ffffffff\r\ncreateType=\"custom\"\r\n\r\n"
                                            "RW %u FLAT \"part-flat.vmdk\" 0\r\n"
                                            "RW %u ZERO\r\n"
                                            "RW %u SPARSE \"part-s.vmdk\"\r\n",
                                            SIZE / 4 / 512, SIZE / 4 / 512, SIZE / 2 / 512);
    g_autofree char *path = images_raw("parts.vmdk", (const uint8_t *)text, strlen(text));
    Image *image = images_open("parts.vmdk", NULL, true);
    images_same(image, bytes, SIZE);
    image_close(image);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    images_init();
    g_test_add_data_func("/crafted/vhdx/log", GINT_TO_POINTER(0), test_log);
    g_test_add_data_func("/crafted/vhdx/log-wrapped", GINT_TO_POINTER(1), test_log);
    g_test_add_data_func("/crafted/vhdx/log-two-entries", GINT_TO_POINTER(2), test_log);
    g_test_add_data_func("/crafted/vhdx/log-two-wrapped", GINT_TO_POINTER(3), test_log);
    g_test_add_func("/crafted/vhdx/log-torn", test_log_torn);
    g_test_add_func("/crafted/vhdx/child", test_vhdx_child);
    g_test_add_func("/crafted/vhd/child", test_vhd_child);
    g_test_add_func("/crafted/vmdk/extents", test_vmdk_extents);
    int status = g_test_run();
    images_remove();
    return status;
}
