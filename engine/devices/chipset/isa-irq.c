// SPDX-License-Identifier: GPL-2.0-or-later
// See isa-irq.h.
#include "engine/devices/chipset/isa-irq.h"

static void set_both(void *opaque, unsigned irq, bool level)
{
    const IsaIrqWires *wires = opaque;
    irq_set(&wires->pic[irq], level);
    irq_set(&wires->ioapic[irq], level);
}

void isa_irq_wires_init(IsaIrqWires *wires, IrqLine (*pic_line)(void *pic, unsigned irq), void *pic,
                        IrqLine (*ioapic_line)(void *ioapic, unsigned pin), void *ioapic)
{
    for (unsigned irq = 0; irq < 16; irq++) {
        wires->pic[irq] = pic_line(pic, irq);
        wires->ioapic[irq] = irq == 2 ? (IrqLine){ 0 } : ioapic_line(ioapic, irq == 0 ? 2 : irq);
    }
}

IrqLine isa_irq_line(IsaIrqWires *wires, unsigned irq)
{
    return (IrqLine){ set_both, wires, irq & 15 };
}
