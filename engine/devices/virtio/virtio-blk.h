// SPDX-License-Identifier: GPL-2.0-or-later
// virtio block device on PCI over the block layer.
#pragma once

#include "engine/bus/device.h"
#include "snapshots/block.h"

typedef struct {
    uint8_t devfn;
    bool modern_only;
    // The disk; stays the machine's. The machine waits for requests in flight (block_drain) before
    // it resets, saves or destroys the device. NULL: an empty disk of 0 sectors.
    BlockDevice *block;
    const char *serial;   // at most 20 bytes are shown to the guest; NULL for none
    const uint8_t *rom;   // option ROM or NULL; copied
    size_t rom_size;
} VirtioBlkConfig;

extern const DeviceOps virtio_blk_ops;
