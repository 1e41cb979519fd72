// SPDX-License-Identifier: GPL-2.0-or-later
// A board without a CPU for tests of storage devices: bus, PCI, 4 MiB of memory, counted interrupt
// lines, and images in a temporary folder. The test is the CPU and holds the machine lock.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/pci.h"
#include "engine/memory/ram.h"
#include "snapshots/block.h"

#define FIXTURE_RAM (4u << 20)

typedef struct {
    DeviceHost host;
    RamBlock *ram;
    uint8_t *memory; // guest-physical 0
    bool irq[16];
    unsigned irq_rises[16];
    GPtrArray *blocks;
    GPtrArray *paths;
} Fixture;

void fixture_set_up(Fixture *f);
void fixture_tear_down(Fixture *f); // the device is gone already

// An image of `size` bytes whose sector n begins with n as a 32-bit number, rest patterned.
BlockDevice *fixture_image(Fixture *f, uint64_t size, bool read_only);
uint8_t fixture_byte(uint64_t offset); // what the image holds at an offset
// Lets requests finish: gives up the lock and drains.
void fixture_wait(Fixture *f);

void fixture_out(Fixture *f, uint16_t port, unsigned size, uint32_t value);
uint32_t fixture_in(Fixture *f, uint16_t port, unsigned size);

// Creates and resets; the config must be good.
void *fixture_create(Fixture *f, const DeviceOps *ops, const void *config);
// Saves, loads into a second device and saves again; both records must be equal.
void fixture_check_state(Fixture *f, const DeviceOps *ops, void *device);
