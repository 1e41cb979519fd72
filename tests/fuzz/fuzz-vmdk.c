// SPDX-License-Identifier: GPL-2.0-or-later
// VMDK: descriptors as text, streamOptimized images with edited header, footer, tables, markers
// and grains, and the same as a sparse extent that can be written.
#include "engine/base/bytes.h"
#include "snapshots/formats/vmdk-private.h"
#include "tests/fuzz/image-fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void descriptor(const uint8_t *data, size_t size)
{
    static const char start[] = "# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\n";
    g_autoptr(GByteArray) text = g_byte_array_new();
    g_byte_array_append(text, (const uint8_t *)start, sizeof start - 1);
    g_byte_array_append(text, data, (guint)size);
    image_fuzz_bytes("vmdk", text->data, text->len);
}

// A sparse extent: directory at sector 21, one table behind it, one grain.
static void sparse(const uint8_t *data, size_t size)
{
    enum { BYTES = 256 << 10 };
    static const ImageArea areas[] = { { 0, 80 }, { 21 * 512, 16 }, { 22 * 512, 2048 } };
    static uint8_t image[BYTES];
    if (!image[0]) {
        le32_write(image, VMDK_MAGIC);
        le32_write(image + VMDK_VERSION, 1);
        le32_write(image + VMDK_FLAGS, VMDK_NEWLINES);
        le64_write(image + VMDK_CAPACITY, 16384);
        le64_write(image + VMDK_GRAIN_SIZE, 128);
        le32_write(image + VMDK_GTES_PER_GT, 512);
        le64_write(image + VMDK_GD_OFFSET, 21);
        le64_write(image + VMDK_OVERHEAD, 128);
        memcpy(image + VMDK_END_OF_LINE, "\n \r\n", 4);
        le32_write(image + 21 * 512, 22);
        le32_write(image + 22 * 512 + 4, 128);
    }
    ImageTemplate t = { "vmdk", image, BYTES, areas, G_N_ELEMENTS(areas), NULL };
    image_fuzz(&t, data, size);
}

static void packed(const uint8_t *data, size_t size)
{
    static uint8_t *bytes;
    static size_t length;
    static ImageArea areas[5];
    if (!bytes) {
        bytes = image_fuzz_make("vmdk", &length);
        areas[0] = (ImageArea){ 0, 80 };
        areas[1] = (ImageArea){ 512, 1024 };
        areas[2] = (ImageArea){ 65536, (uint32_t)length - 65536 };
        areas[3] = (ImageArea){ (uint32_t)length - 1024, 80 };
        areas[4] = (ImageArea){ (uint32_t)length - 5120, 4096 };
    }
    ImageTemplate t = { "vmdk", bytes, length, areas, G_N_ELEMENTS(areas), NULL };
    image_fuzz(&t, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        descriptor(data + 1, size - 1);
        break;
    case 1:
        sparse(data + 1, size - 1);
        break;
    default:
        packed(data + 1, size - 1);
        break;
    }
    return 0;
}
