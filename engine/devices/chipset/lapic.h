// SPDX-License-Identifier: GPL-2.0-or-later
// All local APICs of a machine, in one device: index = vCPU = APIC ID.
#pragma once

#include "engine/bus/apic.h"
#include "engine/bus/device.h"

#define LAPIC_MAX_CPUS 64
#define LAPIC_TIMER_HZ 1000000000 // before the divider; one tick a nanosecond of virtual time

typedef struct {
    unsigned cpus;    // 1..LAPIC_MAX_CPUS; 0 is the bootstrap processor
    bool x2apic;      // CPUID.1:ECX[21]
    bool tsc_deadline; // CPUID.1:ECX[24]
    CpuWires wires;
} LapicConfig;

extern const DeviceOps lapic_ops;

// What the vCPU layer calls; lives as long as the device.
LocalApic lapic_border(void *lapic);
// For DeviceHost.msi.
MsiSink lapic_msi_sink(void *lapic);
// The PICs' INTR output; it reaches every CPU whose LINT0 is an unmasked ExtINT.
IrqLine lapic_pic_line(void *lapic);
// Where the CPU's INTA cycles for an ExtINT go. Called once, before the machine starts.
void lapic_connect_pic(void *lapic, int (*acknowledge)(void *opaque), void *opaque);
// Where EOIs of level-triggered vectors go. Called once, before the machine starts.
void lapic_connect_ioapic(void *lapic, void (*eoi)(void *opaque, uint8_t vector), void *opaque);
// The board's NMI wire: LINT1 of every CPU.
void lapic_nmi(void *lapic);
// Whether `vector` was sent to some CPU and not taken by it yet (lost tick detection).
bool lapic_vector_waits(void *lapic, uint8_t vector);
