// SPDX-License-Identifier: GPL-2.0-or-later
// VHD images with edited footer, header, table and bitmaps; checksums are right unless the input's
// first byte is odd.
#include "engine/base/bytes.h"
#include "snapshots/formats/vhd-private.h"
#include "tests/fuzz/image-fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *image, size_t size)
{
    uint8_t *footer = image + size - VHD_FOOTER_BYTES, *header = image + VHD_FOOTER_BYTES;
    be32_write(footer + VHD_CHECKSUM, vhd_checksum(footer, VHD_FOOTER_BYTES, VHD_CHECKSUM));
    be32_write(header + VHD_HEADER_CHECKSUM,
               vhd_checksum(header, VHD_HEADER_BYTES, VHD_HEADER_CHECKSUM));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *bytes;
    static size_t length;
    static ImageArea areas[5];
    if (!bytes) {
        bytes = image_fuzz_make("vhd", &length);
        areas[0] = (ImageArea){ (uint32_t)length - VHD_FOOTER_BYTES, 88 };
        areas[1] = (ImageArea){ VHD_FOOTER_BYTES, 640 };
        areas[2] = (ImageArea){ VHD_FOOTER_BYTES + VHD_HEADER_BYTES, 32 };
        areas[3] = (ImageArea){ VHD_FOOTER_BYTES + VHD_HEADER_BYTES + 512, 512 };
        areas[4] = (ImageArea){ (uint32_t)length - VHD_FOOTER_BYTES, 88 };
    }
    if (size == 0)
        return 0;
    ImageTemplate t = {
        "vhd", bytes, length, areas, G_N_ELEMENTS(areas), data[0] & 1 ? NULL : seal
    };
    image_fuzz(&t, data + 1, size - 1);
    return 0;
}
