// SPDX-License-Identifier: GPL-2.0-or-later
// virtio entropy device on PCI.
#pragma once

#include "engine/bus/device.h"

typedef struct {
    uint8_t devfn;
    bool modern_only;
    // Fills a buffer with random bytes and never blocks; NULL for the host's getrandom.
    void (*fill)(void *opaque, void *buffer, size_t size);
    void *opaque;
    uint32_t bytes_per_second; // 0 for 1 MiB
} VirtioRngConfig;

extern const DeviceOps virtio_rng_ops;
