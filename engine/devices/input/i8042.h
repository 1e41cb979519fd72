// SPDX-License-Identifier: GPL-2.0-or-later
// The PS/2 keyboard controller, between the two PS/2 ports and the bus.
#pragma once

#include "engine/bus/device.h"
#include "engine/devices/input/ps2-port.h"

typedef struct {
    Ps2Port keyboard, mouse; // {0} where nothing is plugged in; both outlive the controller
    IrqLine a20;             // the A20 gate: isa_piix3_a20_line
} I8042Config;

// IRQ 1 and 12 of DeviceHost.isa_irq; DeviceHost.request_reset for the reset pulse.
extern const DeviceOps i8042_ops;
