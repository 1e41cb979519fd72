// SPDX-License-Identifier: GPL-2.0-or-later
// Messages to local APICs: from other CPUs (the ICR), from I/O APICs and devices (MSI). SDM vol.
// 3A, 11.6 (IPIs), 11.6.2 (destinations) and 11.11 (message signalled interrupts).
#include "engine/devices/chipset/lapic-private.h"

#include "engine/base/guest-log.h"

#define XAPIC_BROADCAST 0xff

static uint32_t logical_id(const LapicCpu *cpu)
{
    if (cpu_x2apic(cpu))
        return cpu->index >> 4 << 16 | 1u << (cpu->index & 15);
    return cpu->regs->ldr >> 24;
}

static bool matches_logical(const LapicCpu *cpu, uint32_t destination)
{
    uint32_t id = logical_id(cpu);
    if (cpu_x2apic(cpu))
        return id >> 16 == destination >> 16 && (id & destination & 0xffff);
    if (cpu->regs->dfr >> 28 == 0xf) // flat
        return id & destination & 0xff;
    if (cpu->regs->dfr >> 28 == 0) // cluster: bits 7:4 name it, Fh names all
        return (destination >> 4 == id >> 4 || destination >> 4 == 0xf) && (id & destination & 0xf);
    return false;
}

static bool matches(const LapicCpu *cpu, uint32_t destination, bool logical, bool from_msi)
{
    if (!cpu_enabled(cpu))
        return false;
    if (destination == UINT32_MAX)
        return true;
    if (destination == XAPIC_BROADCAST && (from_msi || !cpu_x2apic(cpu)) && !logical)
        return true;
    return logical ? matches_logical(cpu, destination) : destination == cpu->index;
}

static void deliver_to(LapicCpu *cpu, unsigned mode, uint8_t vector, bool level)
{
    const CpuWires *wires = &cpu->lapic->config.wires;
    switch (mode) {
    case DELIVER_FIXED:
    case DELIVER_LOWEST:
        lapic_accept(cpu, vector, level);
        break;
    case DELIVER_SMI:
        if (wires->smi)
            wires->smi(wires->opaque, cpu->index);
        break;
    case DELIVER_NMI:
        if (wires->nmi)
            wires->nmi(wires->opaque, cpu->index);
        break;
    case DELIVER_INIT:
        lapic_init_reset(cpu);
        if (wires->init)
            wires->init(wires->opaque, cpu->index);
        break;
    case DELIVER_STARTUP:
        if (wires->startup)
            wires->startup(wires->opaque, cpu->index, vector);
        break;
    default:
        guest_log_once(lapic_ops.name, "delivery-mode", "mode %u to CPU %u", mode, cpu->index);
        break;
    }
}

// The matching CPU of lowest priority that takes fixed interrupts; equals take turns.
static LapicCpu *arbitrate(Lapic *lapic, uint32_t destination, bool logical, bool from_msi)
{
    LapicCpu *best = NULL;
    for (unsigned i = 1; i <= lapic->config.cpus; i++) {
        LapicCpu *cpu = &lapic->cpus[(lapic->last_lowest + i) % lapic->config.cpus];
        if (!matches(cpu, destination, logical, from_msi) || !(cpu->regs->svr & SVR_ENABLE))
            continue;
        if (!best || lapic_ppr(cpu) < lapic_ppr(best))
            best = cpu;
    }
    return best;
}

void lapic_deliver(Lapic *lapic, uint32_t destination, bool logical, unsigned mode, uint8_t vector,
                   bool level, bool from_msi)
{
    if (mode == DELIVER_LOWEST) {
        LapicCpu *cpu = arbitrate(lapic, destination, logical, from_msi);
        if (cpu) {
            lapic->last_lowest = cpu->index;
            deliver_to(cpu, mode, vector, level);
        }
        return;
    }
    for (unsigned i = 0; i < lapic->config.cpus; i++) {
        if (matches(&lapic->cpus[i], destination, logical, from_msi))
            deliver_to(&lapic->cpus[i], mode, vector, level);
    }
}

void lapic_send_icr(LapicCpu *cpu)
{
    Lapic *lapic = cpu->lapic;
    uint32_t low = (uint32_t)cpu->regs->icr, high = (uint32_t)(cpu->regs->icr >> 32);
    uint32_t destination = cpu_x2apic(cpu) ? high : high >> 24;
    unsigned mode = low >> 8 & 7, shorthand = low >> 18 & 3;
    uint8_t vector = (uint8_t)low;
    bool logical = low >> 11 & 1, assert_level = low >> 14 & 1, level = low >> 15 & 1;
    if (mode == DELIVER_INIT && level && !assert_level)
        return; // INIT level de-assert: only the arbitration IDs of old parts took note
    if ((mode == DELIVER_FIXED || mode == DELIVER_LOWEST) && vector < 16) {
        lapic_error(cpu, ERROR_SEND_ILLEGAL);
        return;
    }
    switch (shorthand) {
    case 0:
        lapic_deliver(lapic, destination, logical, mode, vector, false, false);
        break;
    case 1: // self: fixed is the only legal mode (table 11-3)
        if (mode == DELIVER_FIXED)
            lapic_accept(cpu, vector, false);
        break;
    default: // all, with or without self
        for (unsigned i = 0; i < lapic->config.cpus; i++) {
            LapicCpu *to = &lapic->cpus[i];
            if (cpu_enabled(to) && (to != cpu || shorthand == 2))
                deliver_to(to, mode, vector, false);
        }
        break;
    }
}
