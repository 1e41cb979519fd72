// SPDX-License-Identifier: GPL-2.0-or-later
// A board for one chip: buses, a clock that the test moves, and interrupt wires that count edges.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/pci.h"

typedef struct {
    DeviceHost host;
    const DeviceOps *ops;
    void *chip;
    bool irq_level[16];
    unsigned irq_edges[16]; // rising
    unsigned resets, power_offs, sleeps;
} ChipRig;

static inline void rig_set_irq(void *opaque, unsigned line, bool level)
{
    ChipRig *rig = opaque;
    if (level && !rig->irq_level[line])
        rig->irq_edges[line]++;
    rig->irq_level[line] = level;
}

static inline void rig_reset(void *opaque)
{
    ((ChipRig *)opaque)->resets++;
}

static inline void rig_power_off(void *opaque)
{
    ((ChipRig *)opaque)->power_offs++;
}

static inline void rig_sleep(void *opaque)
{
    ((ChipRig *)opaque)->sleeps++;
}

// A wire into the rig's counters.
static inline IrqLine rig_line(ChipRig *rig, unsigned line)
{
    return (IrqLine){ rig_set_irq, rig, line };
}

static inline void rig_open(ChipRig *rig)
{
    *rig = (ChipRig){ 0 };
    rig->host = (DeviceHost){
        .bus = bus_new(),
        .memory = guest_memory_new(UINT64_C(1) << 36),
        .clock = clock_new_manual(),
        .request_reset = rig_reset,
        .request_power_off = rig_power_off,
        .request_sleep = rig_sleep,
        .request_opaque = rig,
    };
    for (unsigned i = 0; i < 16; i++)
        rig->host.isa_irq[i] = rig_line(rig, i);
    rig->host.pci = pci_bus_new(&rig->host, (IrqLine){ 0 });
}

// Creates the chip under test and resets it.
static inline void rig_plug(ChipRig *rig, const DeviceOps *ops, const void *config)
{
    GError *error = NULL;
    rig->ops = ops;
    rig->chip = ops->create(config, &rig->host, &error);
    g_assert_no_error(error);
    ops->reset(rig->chip, RESET_COLD);
}

static inline void rig_close(ChipRig *rig)
{
    if (rig->ops)
        rig->ops->destroy(rig->chip);
    pci_bus_free(rig->host.pci);
    clock_free(rig->host.clock);
    guest_memory_free(rig->host.memory);
    bus_free(rig->host.bus);
}

static inline uint8_t inb(ChipRig *rig, uint16_t port)
{
    return (uint8_t)bus_port_read(rig->host.bus, port, 1);
}

static inline void outb(ChipRig *rig, uint16_t port, uint8_t value)
{
    bus_port_write(rig->host.bus, port, 1, value);
}
