// SPDX-License-Identifier: GPL-2.0-or-later
// VHDX images with edited header, regions, metadata, block table and log; checksums are right
// unless the input's first byte is odd. Bit 1 of that byte: the log is to be replayed.
#include "engine/base/bytes.h"
#include "snapshots/formats/vhdx-private.h"
#include "tests/fuzz/image-fuzz.h"

#define BYTES    (5u << 20)
#define LOG      (1u << 20)
#define METADATA (2u << 20)
#define BAT      (3u << 20)
#define DATA     (4u << 20)
#define ENTRY    8192u // bytes of the log's entry: one sector of data

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t guid_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                      0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
static const uint8_t guid_metadata[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                           0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
static const uint8_t guid_parameters[16] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                             0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
static const uint8_t guid_size[16] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                       0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
static const uint8_t guid_sector[16] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                         0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };

static void put_region(uint8_t *row, const uint8_t *guid, uint64_t offset)
{
    memcpy(row, guid, 16);
    le64_write(row + 16, offset);
    le32_write(row + 24, 1 << 20);
    le32_write(row + 28, 1);
}

static void put_item(uint8_t *image, unsigned index, const uint8_t *guid, uint64_t value)
{
    uint8_t *row = image + METADATA + 32 + index * 32;
    memcpy(row, guid, 16);
    le32_write(row + 16, 65536 + index * 8);
    le32_write(row + 20, 8);
    le32_write(row + 24, 4);
    le64_write(image + METADATA + 65536 + index * 8, value);
}

static void put_log(uint8_t *image)
{
    uint8_t *entry = image + LOG;
    memcpy(entry, "loge", 4);
    le32_write(entry + 8, ENTRY);
    le64_write(entry + 16, 1);
    le32_write(entry + 24, 2);
    memset(entry + 32, 'L', 16);
    le64_write(entry + 48, BYTES);
    le64_write(entry + 56, BYTES);
    memcpy(entry + 64, "zero", 4);
    le64_write(entry + 72, 4096);
    le64_write(entry + 80, DATA);
    le64_write(entry + 88, 1);
    memcpy(entry + 96, "desc", 4);
    le64_write(entry + 112, BAT);
    le64_write(entry + 120, 1);
    memcpy(entry + 4096, "data", 4);
    le32_write(entry + ENTRY - 4, 1);
}

static void make(uint8_t *image)
{
    memcpy(image, "vhdxfile", 8);
    uint8_t *head = image + VHDX_HEADER_1;
    memcpy(head, "head", 4);
    le64_write(head + 8, 1);
    le16_write(head + 66, 1);
    le32_write(head + 68, 1 << 20);
    le64_write(head + 72, LOG);
    uint8_t *regions = image + VHDX_REGIONS_1;
    memcpy(regions, "regi", 4);
    le32_write(regions + 8, 2);
    put_region(regions + 16, guid_bat, BAT);
    put_region(regions + 48, guid_metadata, METADATA);
    memcpy(image + METADATA, "metadata", 8);
    le16_write(image + METADATA + 10, 3);
    put_item(image, 0, guid_parameters, 1 << 20);
    put_item(image, 1, guid_size, 8 << 20);
    put_item(image, 2, guid_sector, 512);
    le64_write(image + BAT, DATA | 6);
    put_log(image);
}

static void seal(uint8_t *image, size_t size)
{
    uint32_t length = le32_read(image + LOG + 8);
    le32_write(image + VHDX_HEADER_1 + 4,
               vhdx_checksum(image + VHDX_HEADER_1, VHDX_HEADER_BYTES, 4));
    le32_write(image + VHDX_REGIONS_1 + 4,
               vhdx_checksum(image + VHDX_REGIONS_1, VHDX_REGIONS_BYTES, 4));
    if (length <= 1 << 20)
        le32_write(image + LOG + 4, vhdx_checksum(image + LOG, length, 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ImageArea areas[] = {
        { VHDX_HEADER_1 + 8, 72 },
        { VHDX_REGIONS_1 + 8, 72 },
        { METADATA + 8, 160 },
        { METADATA + 65536, 24 },
        { BAT, 80 },
        { LOG + 8, 128 },
        { LOG + 4096, 32 },
    };
    static uint8_t *image;
    if (!image) {
        image = g_malloc0(BYTES);
        make(image);
    }
    if (size == 0)
        return 0;
    memset(image + VHDX_HEADER_1 + 48, data[0] & 2 ? 'L' : 0, 16);
    ImageTemplate t = {
        "vhdx", image, BYTES, areas, G_N_ELEMENTS(areas), data[0] & 1 ? NULL : seal
    };
    image_fuzz(&t, data + 1, size - 1);
    return 0;
}
