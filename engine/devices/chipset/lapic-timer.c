// SPDX-License-Identifier: GPL-2.0-or-later
// The local APIC's timer: one-shot, periodic and TSC-deadline (SDM vol. 3A, 11.5.4). Virtual time
// is in nanoseconds and the bus runs at 1 GHz, so a count is nanoseconds over the divisor. A
// periodic timer whose host was late fires once and goes on in step: the vector's IRR bit would
// merge the rest anyway.
#include "engine/devices/chipset/lapic-private.h"

// A guest cannot make the host wake up more often than this, ns.
#define SHORTEST_PERIOD 20000

static unsigned divisor(uint32_t divide)
{
    // Bits 3, 1 and 0: 2, 4 .. 128, then 1 (figure 11-10).
    unsigned code = (divide & 3) | (divide >> 1 & 4);
    return 1u << ((code + 1) & 7);
}

static int64_t period_ns(const LapicCpu *cpu)
{
    return (int64_t)cpu->regs->initial_count * divisor(cpu->regs->divide);
}

static unsigned timer_mode(const LapicCpu *cpu)
{
    return LVT_TIMER_MODE(cpu->regs->lvt[LVT_TIMER]);
}

static void arm_count(LapicCpu *cpu)
{
    LapicRegisters *r = cpu->regs;
    if (!r->initial_count || timer_mode(cpu) >= TIMER_TSC_DEADLINE) {
        timer_cancel(cpu->timer);
        return;
    }
    int64_t now = clock_now(cpu->lapic->host.clock), period = period_ns(cpu);
    int64_t deadline = r->count_start + period;
    if (deadline <= now) {
        if (timer_mode(cpu) == TIMER_ONE_SHOT) {
            timer_cancel(cpu->timer);
            return;
        }
        r->count_start += (now - r->count_start) / period * period;
        deadline = r->count_start + period;
    }
    if (timer_mode(cpu) == TIMER_PERIODIC)
        deadline = MAX(deadline, now + SHORTEST_PERIOD);
    timer_arm(cpu->timer, deadline);
}

static void arm_tsc_deadline(LapicCpu *cpu)
{
    const CpuWires *wires = &cpu->lapic->config.wires;
    LapicRegisters *r = cpu->regs;
    if (!r->tsc_deadline || !wires->tsc || !wires->tsc_hz) {
        timer_cancel(cpu->timer);
        return;
    }
    uint64_t tsc = wires->tsc(wires->opaque, cpu->index), hz = wires->tsc_hz(wires->opaque);
    int64_t now = clock_now(cpu->lapic->host.clock), wait = 0;
    if (r->tsc_deadline > tsc && hz) {
        __int128 ns = (__int128)(r->tsc_deadline - tsc) * NS_PER_SECOND / hz + 1;
        wait = ns > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)ns;
    }
    timer_arm(cpu->timer, now > INT64_MAX - wait ? INT64_MAX : now + wait);
}

void lapic_timer_expired(void *opaque)
{
    LapicCpu *cpu = opaque;
    unsigned mode = timer_mode(cpu);
    if (mode == TIMER_TSC_DEADLINE)
        cpu->regs->tsc_deadline = 0;
    else if (mode == TIMER_PERIODIC)
        arm_count(cpu);
    lapic_local_interrupt(cpu, LVT_TIMER);
}

void lapic_timer_write_count(LapicCpu *cpu, uint32_t value)
{
    if (timer_mode(cpu) == TIMER_TSC_DEADLINE)
        return;
    cpu->regs->initial_count = value;
    cpu->regs->count_start = clock_now(cpu->lapic->host.clock);
    arm_count(cpu);
}

uint32_t lapic_timer_read_count(const LapicCpu *cpu)
{
    const LapicRegisters *r = cpu->regs;
    int64_t period = period_ns(cpu);
    int64_t elapsed = clock_now(cpu->lapic->host.clock) - r->count_start;
    if (!period || elapsed < 0 || timer_mode(cpu) >= TIMER_TSC_DEADLINE)
        return 0;
    if (timer_mode(cpu) == TIMER_PERIODIC)
        elapsed %= period;
    else if (elapsed >= period)
        return 0;
    return r->initial_count - (uint32_t)(elapsed / divisor(r->divide));
}

void lapic_timer_write_divide(LapicCpu *cpu, uint32_t value)
{
    // The count goes on from where it is, at the new rate.
    uint32_t count = lapic_timer_read_count(cpu);
    bool runs = timer_deadline(cpu->timer) >= 0 && timer_mode(cpu) < TIMER_TSC_DEADLINE;
    cpu->regs->divide = value & 0xb;
    if (!runs)
        return;
    cpu->regs->count_start = clock_now(cpu->lapic->host.clock) -
                             (int64_t)(cpu->regs->initial_count - count) *
                                 divisor(cpu->regs->divide);
    arm_count(cpu);
}

void lapic_timer_lvt_changed(LapicCpu *cpu, uint32_t old)
{
    unsigned before = LVT_TIMER_MODE(old), now = timer_mode(cpu);
    if (before == now)
        return;
    // A change to or from TSC-deadline mode disarms (11.5.4.1); the other two share a count.
    if (before == TIMER_TSC_DEADLINE || now >= TIMER_TSC_DEADLINE) {
        cpu->regs->tsc_deadline = 0;
        cpu->regs->initial_count = 0;
        timer_cancel(cpu->timer);
    } else {
        arm_count(cpu);
    }
}

void lapic_timer_write_deadline(LapicCpu *cpu, uint64_t tsc)
{
    if (timer_mode(cpu) != TIMER_TSC_DEADLINE)
        return;
    cpu->regs->tsc_deadline = tsc;
    arm_tsc_deadline(cpu);
}
