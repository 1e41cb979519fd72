// SPDX-License-Identifier: GPL-2.0-or-later
// A block layer in memory whose completions a test lets happen: snapshots/block.h for one disk.
#pragma once

#include "snapshots/block.h"

#define FAKE_DISK_SIZE (64u * 512)

struct BlockDevice {
    uint8_t data[FAKE_DISK_SIZE];
    bool read_only;
    int fail;       // errno of what completes next, 0 for success
    GQueue pending; // of BlockRequest, oldest first
    unsigned flushes;
    unsigned discards, zeroings;
    bool cannot_zero; // WRITE_ZEROES is not supported
};

// Completes the oldest request. False where there is none.
bool fake_block_complete(BlockDevice *block);
void fake_block_complete_all(BlockDevice *block);
