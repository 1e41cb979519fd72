// SPDX-License-Identifier: GPL-2.0-or-later
// The pair of 8259A interrupt controllers: its inputs, and the vector for an INTA.
#pragma once

#include "engine/bus/device.h"

typedef struct {
    IrqLine interrupt; // the INTR output of the master
} Pic8259Config;

extern const DeviceOps pic_8259_ops;

// Input irq 0..15 of the pair; 2 is the cascade and leads nowhere.
IrqLine pic_8259_line(void *pic, unsigned irq);
// The CPU's two INTA cycles: the vector. With nothing waiting that is the spurious IRQ 7's.
// opaque: the device; the form fits lapic_connect_pic.
int pic_8259_acknowledge(void *opaque);
// Whether irq is raised, not masked, and the CPU has not taken it yet.
bool pic_8259_waits(void *pic, unsigned irq);
