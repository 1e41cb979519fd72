// SPDX-License-Identifier: GPL-2.0-or-later
// The board's wiring of the sixteen ISA interrupt requests: each leads to the PIC pair and to the
// I/O APIC. IRQ 0 comes in at pin 2 of the I/O APIC, as the MADT's override and the MP table say.
// Holds no state of its own; the levels are in the chips.
#pragma once

#include "engine/bus/irq.h"

typedef struct {
    IrqLine pic[16];
    IrqLine ioapic[16]; // by ISA number, the override already applied
} IsaIrqWires;

// Fills the wires from the two chips' line getters.
void isa_irq_wires_init(IsaIrqWires *wires, IrqLine (*pic_line)(void *pic, unsigned irq), void *pic,
                        IrqLine (*ioapic_line)(void *ioapic, unsigned pin), void *ioapic);
// What goes into DeviceHost.isa_irq[irq]. wires must outlive every user.
IrqLine isa_irq_line(IsaIrqWires *wires, unsigned irq);
