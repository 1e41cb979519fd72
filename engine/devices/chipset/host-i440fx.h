// SPDX-License-Identifier: GPL-2.0-or-later
// The host bridge: where RAM and firmware are seen in the memory map.
#pragma once

#include "engine/bus/pci.h"

// Where the hole for PCI starts when there is more RAM than fits below it. A board's promise: do
// not change it for classic-1.
#define I440FX_HOLE_START UINT64_C(0xc0000000)

typedef struct {
    uint8_t *ram; // owned by the machine, lives longer than the device
    uint64_t ram_size; // bytes, a multiple of 4096, at least 1 MiB
    uint8_t *bios; // the firmware image, mapped at the top of 4 GiB; owned by the machine
    uint64_t bios_size; // bytes, a multiple of 65536, 128 KiB to 8 MiB
} HostI440fxConfig;

// Function 00.0; maps RAM and ROM into DeviceHost.memory.
extern const DeviceOps host_i440fx_ops;

// How the RAM lies: bytes below the hole, and bytes from 4 GiB up.
uint64_t host_i440fx_ram_below_4g(uint64_t ram_size);
uint64_t host_i440fx_ram_above_4g(uint64_t ram_size);
