// SPDX-License-Identifier: GPL-2.0-or-later
// A machine around one virtio device, and the driver's half of the rings, for tests: RAM, buses, a
// manual clock, a recorder of messages and wires.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/pci.h"

#define RIG_RAM_SIZE (8u << 20)
#define RIG_DEVFN    PCI_DEVFN(3, 0)

typedef struct {
    Bus *bus;
    GuestMemory *memory;
    Clock *clock;
    PciBus *pci;
    DeviceHost host;
    uint8_t *ram; // guest-physical 0 .. RIG_RAM_SIZE
    bool pirq[4];
    unsigned msi_count;
    uint32_t msi_last; // data
    const DeviceOps *ops;
    void *device;
    // Found by rig_probe.
    uint64_t common, isr, config, notify;
    uint32_t notify_multiplier;
    uint16_t ports;
} Rig;

typedef struct {
    Rig *rig;
    unsigned queue;
    uint16_t size;
    uint64_t descriptors, available, used;
    uint16_t next_descriptor;
    uint16_t available_index;
    uint16_t used_seen;
} RigRing;

typedef struct {
    uint64_t address;
    uint32_t length;
} RigBuffer;

void rig_init(Rig *rig);
void rig_clear(Rig *rig);
// Creates and resets the device on RIG_DEVFN.
void rig_add(Rig *rig, const DeviceOps *ops, const void *config);

// What firmware and driver do first: assign BARs, enable the device, walk the capabilities.
void rig_probe(Rig *rig);
uint32_t rig_pci_read(Rig *rig, unsigned offset, unsigned size);
void rig_pci_write(Rig *rig, unsigned offset, unsigned size, uint32_t value);
uint64_t rig_read(Rig *rig, uint64_t address, unsigned size);
void rig_write(Rig *rig, uint64_t address, unsigned size, uint64_t value);

// Modern status dance up to FEATURES_OK, with VERSION_1 added; asserts that the device agreed.
void rig_negotiate(Rig *rig, uint64_t features);
void rig_driver_ok(Rig *rig);
uint64_t rig_offered(Rig *rig);
// Sets up a ring of the queue's own size at `address` (needs 64 KiB) through the modern registers.
void rig_ring_start(Rig *rig, RigRing *ring, unsigned queue, uint64_t address);
// The same through the legacy registers; address is a multiple of 4096.
void rig_ring_start_legacy(Rig *rig, RigRing *ring, unsigned queue, uint64_t address);

// Offers a chain of `out` readable, then `in` writable buffers. Returns its head.
uint16_t rig_ring_add(RigRing *ring, const RigBuffer *buffers, unsigned out, unsigned in);
void rig_ring_kick(RigRing *ring);
// The next used entry, or false where there is none.
bool rig_ring_used(RigRing *ring, uint32_t *ret_head, uint32_t *ret_written);
void rig_descriptor(Rig *rig, uint64_t table, unsigned index, uint64_t address, uint32_t length,
                    uint16_t flags, uint16_t next);
// Whether the device's INTA# is up.
bool rig_intx(const Rig *rig);
