// SPDX-License-Identifier: GPL-2.0-or-later
// What a device is: one file, one private state struct, one const DeviceOps at the file's end, one
// header with its config struct, one row in device-table.c.
//
// A device sees the world only through its DeviceHost and its config: buses, memory, time and
// wires. It never locks, never blocks, never asks the operating system. Every entry (ops, bus
// accesses, timers, completions) happens with the machine lock held.
#pragma once

#include "engine/base/state-table.h"
#include "engine/bus/bus.h"
#include "engine/bus/irq.h"
#include "engine/bus/msi.h"
#include "engine/loop/clock.h"
#include "engine/memory/guest-memory.h"

#include <glib.h>

typedef struct PciBus PciBus;

typedef struct {
    Bus *bus;
    GuestMemory *memory;
    Clock *clock;
    PciBus *pci; // NULL on a board without one and in tests of devices that need none
    // ISA interrupt requests 0..15, already routed to PIC and IOAPIC. line is ignored.
    IrqLine isa_irq[16];
    MsiSink msi;
    // The machine does what a chip asks for; each may be NULL. Only notes the wish, never blocks.
    void (*request_reset)(void *opaque);
    void (*request_power_off)(void *opaque);
    void (*request_sleep)(void *opaque);
    void *request_opaque;
} DeviceHost;

typedef enum {
    RESET_COLD, // power on
    RESET_WARM, // reset line; memory and what a chip keeps over a reset stay
} ResetKind;

typedef struct DeviceOps {
    const char *name; // "pit-8254"
    const char *spec; // the document it follows, with revision
    // config: the struct that the device's header declares. Copies what it needs. On failure NULL
    // and error; otherwise the state, owned by the caller, released by destroy. Registers its bus
    // regions here. The device is not reset: reset(RESET_COLD) follows.
    void *(*create)(const void *config, const DeviceHost *host, GError **error);
    void (*reset)(void *device, ResetKind kind);
    // The machine starts to run, or pauses: for what runs beside the clock. May be NULL.
    void (*start)(void *device);
    void (*stop)(void *device);
    const StateTable *state; // object = the device
    // Removes the regions and timers. NULL is allowed.
    void (*destroy)(void *device);
} DeviceOps;

// One created device, in creation order within a machine.
typedef struct {
    const DeviceOps *ops;
    void *state;
} Device;

