// SPDX-License-Identifier: GPL-2.0-or-later
// The border between a vCPU and its local APIC. The lapic device fills LocalApicOps; the vCPU
// layer calls it; neither includes the other. All functions: machine lock held, but for `pending`.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// What the local APICs do to CPUs. `cpu` is the vCPU's index. Callable from any thread with the
// machine lock held; the receiver kicks the vCPU where it runs.
typedef struct {
    // The CPU's INTR input: an interrupt (from the local APIC or, through LINT0 in virtual wire
    // mode, from the PICs) waits to be acknowledged, or no longer does.
    void (*interrupt)(void *opaque, unsigned cpu, bool pending);
    void (*nmi)(void *opaque, unsigned cpu);
    void (*smi)(void *opaque, unsigned cpu);
    void (*init)(void *opaque, unsigned cpu);
    void (*startup)(void *opaque, unsigned cpu, uint8_t vector); // SIPI
    // The time-stamp counter of a CPU and its rate, for TSC-deadline mode.
    uint64_t (*tsc)(void *opaque, unsigned cpu);
    uint64_t (*tsc_hz)(void *opaque);
    void *opaque;
} CpuWires;

typedef struct {
    // Registers in the 4 KiB page at the APIC base; offset 0..fff, size 1..8 (the architecture
    // allows only aligned 4).
    uint32_t (*read)(void *lapic, unsigned cpu, uint32_t offset);
    void (*write)(void *lapic, unsigned cpu, uint32_t offset, uint32_t value);
    // IA32_APIC_BASE (1Bh), x2APIC MSRs 800h..8FFh, IA32_TSC_DEADLINE (6E0h).
    // false: the access raises #GP(0).
    bool (*msr_read)(void *lapic, unsigned cpu, uint32_t msr, uint64_t *ret);
    bool (*msr_write)(void *lapic, unsigned cpu, uint32_t msr, uint64_t value);
    // The page's address where the APIC is enabled and in xAPIC mode, else UINT64_MAX.
    uint64_t (*base)(void *lapic, unsigned cpu);
    // CR8: task priority, 0..15.
    unsigned (*get_cr8)(void *lapic, unsigned cpu);
    void (*set_cr8)(void *lapic, unsigned cpu, unsigned value);
    // The CPU accepts an interrupt: returns the vector and moves it to ISR, or -1 where nothing
    // waits any more.
    int (*acknowledge)(void *lapic, unsigned cpu);
} LocalApicOps;

typedef struct {
    const LocalApicOps *ops;
    void *lapic;
} LocalApic;
