// SPDX-License-Identifier: GPL-2.0-or-later
// qcow2 images with edited headers, L1, L2, refcount tables and blocks.
#include "tests/fuzz/image-fuzz.h"

#define CLUSTER 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // Header, L1, then two clusters of data, L2, refcount table, refcount block.
    static const ImageArea areas[] = {
        { 0, 160 },          { CLUSTER, 16 }, { 4 * CLUSTER, 1200 }, { 5 * CLUSTER, 32 },
        { 6 * CLUSTER, 32 }, { 0, 112 },      { 4 * CLUSTER, 16 },
    };
    static uint8_t *bytes;
    static size_t length;
    if (!bytes)
        bytes = image_fuzz_make("qcow2", &length);
    ImageTemplate t = { "qcow2", bytes, length, areas, G_N_ELEMENTS(areas), NULL };
    image_fuzz(&t, data, size);
    return 0;
}
