// SPDX-License-Identifier: GPL-2.0-or-later
// Between lapic.c (the device, registers and MSRs), lapic-ipi.c (messages between CPUs) and
// lapic-timer.c.
#pragma once

#include "engine/devices/chipset/lapic.h"

#include <assert.h>

// Register numbers: offset >> 4 in the xAPIC page, MSR - 800h in x2APIC mode (SDM vol. 3A, table
// 11-1 and 11-6).
enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32, // ..37h
    REG_INITIAL_COUNT = 0x38,
    REG_CURRENT_COUNT = 0x39,
    REG_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};

// Rows of the local vector table, in the order of the registers.
enum { LVT_TIMER, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

#define LVT_MASKED          (1u << 16)
#define LVT_TIMER_MODE(lvt) ((lvt) >> 17 & 3)
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_TSC_DEADLINE };

// Delivery modes (SDM vol. 3A, 11.6.1).
enum {
    DELIVER_FIXED,
    DELIVER_LOWEST,
    DELIVER_SMI,
    DELIVER_RESERVED,
    DELIVER_NMI,
    DELIVER_INIT,
    DELIVER_STARTUP,
    DELIVER_EXTINT,
};

#define SVR_ENABLE (1u << 8)

#define BASE_BSP    (UINT64_C(1) << 8)
#define BASE_X2APIC (UINT64_C(1) << 10)
#define BASE_ENABLE (UINT64_C(1) << 11)

// ESR bits.
enum {
    ERROR_SEND_ILLEGAL = 1 << 5,
    ERROR_RECEIVE_ILLEGAL = 1 << 6,
    ERROR_ILLEGAL_REGISTER = 1 << 7,
};

typedef struct Lapic Lapic;

// The architectural state of one local APIC, saved as it is.
typedef struct {
    uint64_t base_msr;
    uint64_t icr;
    uint64_t tsc_deadline;
    int64_t count_start; // virtual ns at which the timer began to count initial_count
    int64_t deadline;    // of the timer, brought up to date before a save; -1: not armed
    uint32_t tpr, ldr, dfr, svr, esr, esr_latched, divide, initial_count;
    uint32_t isr[8], tmr[8], irr[8], lvt[LVT_COUNT];
} LapicRegisters;

static_assert(sizeof(LapicRegisters) == 40 + 32 + 96 + 24, "saved as bytes: no padding");

typedef struct {
    Lapic *lapic;
    LapicRegisters *regs; // within lapic->regs
    unsigned index;
    Timer *timer;
    bool output; // INTR as last driven
} LapicCpu;

struct Lapic {
    DeviceHost host;
    LapicConfig config;
    LapicCpu cpus[LAPIC_MAX_CPUS];
    LapicRegisters regs[LAPIC_MAX_CPUS];
    uint32_t last_lowest; // round robin among equals for lowest priority
    bool pic_level;
    int (*pic_acknowledge)(void *opaque);
    void *pic_opaque;
    void (*eoi)(void *opaque, uint8_t vector);
    void *eoi_opaque;
};

static inline bool cpu_enabled(const LapicCpu *cpu)
{
    return cpu->regs->base_msr & BASE_ENABLE;
}

static inline bool cpu_x2apic(const LapicCpu *cpu)
{
    return (cpu->regs->base_msr & (BASE_ENABLE | BASE_X2APIC)) == (BASE_ENABLE | BASE_X2APIC);
}

// lapic.c
void lapic_update(LapicCpu *cpu);
void lapic_accept(LapicCpu *cpu, uint8_t vector, bool level);
void lapic_error(LapicCpu *cpu, uint32_t bit);
uint32_t lapic_ppr(const LapicCpu *cpu);
void lapic_init_reset(LapicCpu *cpu);
// Raises what the row says, unless it is masked.
void lapic_local_interrupt(LapicCpu *cpu, unsigned row);

// lapic-ipi.c
// Sends to every CPU that destination names. from_msi: destination is 8 bits wide.
void lapic_deliver(Lapic *lapic, uint32_t destination, bool logical, unsigned mode, uint8_t vector,
                   bool level, bool from_msi);
void lapic_send_icr(LapicCpu *cpu);

// lapic-timer.c
void lapic_timer_expired(void *opaque);
void lapic_timer_write_count(LapicCpu *cpu, uint32_t value);
uint32_t lapic_timer_read_count(const LapicCpu *cpu);
void lapic_timer_write_divide(LapicCpu *cpu, uint32_t value);
// The LVT row was written; old is what it held.
void lapic_timer_lvt_changed(LapicCpu *cpu, uint32_t old);
void lapic_timer_write_deadline(LapicCpu *cpu, uint64_t tsc);
