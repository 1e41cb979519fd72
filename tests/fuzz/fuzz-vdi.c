// SPDX-License-Identifier: GPL-2.0-or-later
// VDI images with edited header and block map.
#include "tests/fuzz/image-fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ImageArea areas[] = { { 0x40, 0x18 }, { 0x154, 0x40 }, { 512, 32 } };
    static uint8_t *bytes;
    static size_t length;
    if (!bytes)
        bytes = image_fuzz_make("vdi", &length);
    ImageTemplate t = { "vdi", bytes, length, areas, G_N_ELEMENTS(areas), NULL };
    image_fuzz(&t, data, size);
    return 0;
}
