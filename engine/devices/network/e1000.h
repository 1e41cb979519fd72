// SPDX-License-Identifier: GPL-2.0-or-later
// Intel 82540EM Gigabit Ethernet controller (PRO/1000 MT Desktop) on PCI.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/net-backend.h"

typedef struct {
    uint8_t devfn;
    uint8_t mac[6];
    // Where frames go; copied, what it points at must outlive the device. All NULL: a card with no
    // cable.
    NetBackend backend;
    const uint8_t *rom; // option ROM (pxe-e1000.rom) or NULL; copied
    size_t rom_size;
} E1000Config;

extern const DeviceOps e1000_ops;
