// SPDX-License-Identifier: GPL-2.0-or-later
// The ISA bridge: PIRQ routing, reset, A20, the firmware's debug port.
#pragma once

#include "engine/bus/char-backend.h"
#include "engine/bus/pci.h"

typedef struct {
    // A20 as the CPU sees it: on where port 92h or the keyboard controller asks for it.
    void (*a20_changed)(void *opaque, bool on);
    void *a20_opaque;
    // Port 402h: where firmware writes its log. Bytes go to debug_console where that is set (bytes
    // it does not take are dropped), else whole lines (without newline) to debug_line. Either may
    // be NULL.
    const CharBackend *debug_console;
    void (*debug_line)(void *opaque, const char *line);
    void *debug_opaque;
} IsaPiix3Config;

// Function 01.0. Takes the PCI bus's PIRQ wires and drives DeviceHost.isa_irq with them.
extern const DeviceOps isa_piix3_ops;

// The A20 gate of the keyboard controller.
IrqLine isa_piix3_a20_line(void *piix3);
