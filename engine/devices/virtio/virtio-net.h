// SPDX-License-Identifier: GPL-2.0-or-later
// virtio network device on PCI.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/net-backend.h"

typedef struct {
    uint8_t devfn;
    bool modern_only;
    uint8_t mac[6];
    // Where frames go; copied, what it points at must outlive the device. All NULL: a card with no
    // cable.
    NetBackend backend;
    const uint8_t *rom; // option ROM (pxe-virtio.rom) or NULL; copied
    size_t rom_size;
} VirtioNetConfig;

extern const DeviceOps virtio_net_ops;
