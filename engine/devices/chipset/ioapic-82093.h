// SPDX-License-Identifier: GPL-2.0-or-later
// The I/O APIC: its inputs, and the EOIs that come back from the local APICs.
#pragma once

#include "engine/bus/device.h"

#define IOAPIC_PINS 24

typedef struct {
    uint64_t base; // FEC00000h
    uint8_t id;    // what the ID register holds after reset
} Ioapic82093Config;

// Sends through DeviceHost.msi, as the APIC bus's messages have the same fields.
extern const DeviceOps ioapic_82093_ops;

IrqLine ioapic_82093_line(void *ioapic, unsigned pin);
// A local APIC broadcasts the end of a level-triggered interrupt. opaque: the device; the form
// fits lapic_connect_ioapic.
void ioapic_82093_eoi(void *opaque, uint8_t vector);
