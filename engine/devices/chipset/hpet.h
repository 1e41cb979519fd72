// SPDX-License-Identifier: GPL-2.0-or-later
// The high precision event timer, between PIT and RTC and their interrupts.
#pragma once

#include "engine/bus/device.h"

typedef struct {
    uint64_t base; // FED00000h
    // I/O APIC inputs: pins.line is ignored, the pin is passed as line. May be {0}.
    IrqLine pins;
    // What the PIT and the RTC drive while legacy replacement is off, and timers 0 and 1 while it
    // is on: IRQ 0 and IRQ 8 as wired to the PIC and the I/O APIC.
    IrqLine irq0, irq8;
    // As in Pit8254Config, for timer 0 in place of the PIT. May be NULL.
    bool (*tick_waits)(void *opaque);
    void *tick_opaque;
} HpetConfig;

extern const DeviceOps hpet_ops;

// Inputs for the PIT's counter 0 (which = 0) and the RTC's interrupt (which = 1), so that legacy
// replacement can cut them off.
IrqLine hpet_legacy_input(void *hpet, unsigned which);
