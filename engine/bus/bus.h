// SPDX-License-Identifier: GPL-2.0-or-later
// I/O ports and memory-mapped registers: who answers at an address. RAM and ROM are not here but
// in engine/memory; an MMIO region covers whatever pages the memory map leaves open.
//
// Everything runs with the machine lock held (bus_lock). A device is never entered while it is
// already running (an engaged flag per device): a bus access from its own DMA or from a callback
// reads all ones and drops the write, and is reported once. This closes the DMA-to-own-registers
// class of holes.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Bus Bus;
typedef struct BusRegion BusRegion;

// size: 1, 2, 4 or 8 bytes. offset: from the region's start. Values are little-endian and
// zero-extended. An access that crosses a region's end or is wider than max_access is split by the
// bus, lowest address first.
typedef struct {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
    uint8_t max_access; // widest access the device takes in one piece: 1, 2, 4 or 8; 0 means 4
} BusOps;

Bus *bus_new(void);
void bus_free(Bus *bus);

// The machine lock. Taken by a vCPU at an exit, by timers, and by I/O completions.
GMutex *bus_mutex(Bus *bus);
void bus_lock(Bus *bus);
void bus_unlock(Bus *bus);

// Answers at [base, base + size). name: the device's name, for logs and for the engaged flag's
// message; must outlive the region. engaged: the device's flag, shared by all its regions, or
// NULL for a device that may be re-entered (pure routing). Later regions cover earlier ones.
// Owned by the bus; remove with bus_remove.
BusRegion *bus_add_ports(Bus *bus, const char *name, uint16_t base, unsigned size,
                         const BusOps *ops, void *opaque, bool *engaged);
BusRegion *bus_add_mmio(Bus *bus, const char *name, uint64_t base, uint64_t size,
                        const BusOps *ops, void *opaque, bool *engaged);
// NULL is allowed.
void bus_remove(Bus *bus, BusRegion *region);
// Moves a region (PCI BARs); enabled = false hides it.
void bus_move(Bus *bus, BusRegion *region, uint64_t base, bool enabled);

// An access by a CPU. Unclaimed reads give all ones, unclaimed writes go nowhere; each unclaimed
// address is reported once per run. Machine lock held.
uint64_t bus_port_read(Bus *bus, uint16_t port, unsigned size);
void bus_port_write(Bus *bus, uint16_t port, unsigned size, uint64_t value);
uint64_t bus_mmio_read(Bus *bus, uint64_t address, unsigned size);
void bus_mmio_write(Bus *bus, uint64_t address, unsigned size, uint64_t value);

// REP INS/OUTS of `count` elements to one port; the default is a loop, a region whose ops are
// wrapped with bus_set_block_io takes the block at once (IDE data port). Machine lock held.
typedef struct {
    void (*read)(void *opaque, uint64_t offset, unsigned size, uint32_t count, void *data);
    void (*write)(void *opaque, uint64_t offset, unsigned size, uint32_t count, const void *data);
} BusBlockOps;
void bus_set_block_io(BusRegion *region, const BusBlockOps *ops);
void bus_port_read_block(Bus *bus, uint16_t port, unsigned size, uint32_t count, void *data);
void bus_port_write_block(Bus *bus, uint16_t port, unsigned size, uint32_t count, const void *data);

// Every region in order of address, for dumps and for the fuzzer and the garbage-writing guest.
typedef struct {
    const char *name;
    uint64_t base;
    uint64_t size;
    bool port;
} BusRange;
void bus_for_each(Bus *bus, void (*visit)(void *opaque, const BusRange *range), void *opaque);
