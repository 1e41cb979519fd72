// SPDX-License-Identifier: GPL-2.0-or-later
// Debug exceptions: single-step, instruction, data and I/O breakpoints (SDM vol. 3B, chapter 17).
//
// While BT_REQUEST_STEP is set the run loop executes blocks of one instruction and calls
// bt_debug_before and bt_debug_after around each. A data breakpoint costs nothing until it hits:
// its page has no TLB tags (bt-mmu.c), the slow path calls bt_debug_watch, and only the instruction
// that hits is run again alone.
#include "engine/vcpu/bt/bt-debug.h"

#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-registers.h"

enum { BREAK_EXECUTE, BREAK_WRITE, BREAK_PORT, BREAK_ACCESS };

// In cpu->debug_hits beside DR6.B0..B3.
enum {
    STEP_BY_NEW_TF = 1 << 6,
    SKIP_STEP = 1 << 7,
};

static bool enabled(const BtCpu *cpu, unsigned i)
{
    return cpu->dr7 >> (2 * i) & 3;
}

static unsigned kind(const BtCpu *cpu, unsigned i)
{
    return cpu->dr7 >> (16 + 4 * i) & 3;
}

// Bytes watched; DR7.LEN 2 means 8.
static unsigned length(const BtCpu *cpu, unsigned i)
{
    static const uint8_t lengths[4] = { 1, 2, 8, 4 };
    return lengths[cpu->dr7 >> (18 + 4 * i) & 3];
}

static bool overlaps(const BtCpu *cpu, unsigned i, uint64_t address, unsigned size)
{
    uint64_t watched = cpu->dr[i] & ~(uint64_t)(length(cpu, i) - 1);
    return address < watched + length(cpu, i) && watched < address + size;
}

static void note_hits(BtCpu *cpu, unsigned hits)
{
    if (!hits)
        return;
    bt_debug_run_alone(cpu);
    cpu->debug_hits |= hits;
}

void bt_debug_run_alone(BtCpu *cpu)
{
    if (__atomic_fetch_or(&cpu->request, BT_REQUEST_STEP, __ATOMIC_SEQ_CST) & BT_REQUEST_STEP)
        return;
    if (!cpu->insn)
        return; // between instructions: reported after the next one
    cpu->rip = bt_insn_rip(cpu, cpu->insn);
    cpu->insn = NULL;
    bt_leave(cpu, BT_LEAVE_RETRY_ALONE);
}

void bt_debug_watch(BtCpu *cpu, uint64_t linear, unsigned size, bool write)
{
    unsigned hits = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (enabled(cpu, i) &&
            (kind(cpu, i) == BREAK_ACCESS || (write && kind(cpu, i) == BREAK_WRITE)) &&
            overlaps(cpu, i, linear, size))
            hits |= 1u << i;
    }
    note_hits(cpu, hits);
}

void bt_debug_watch_port(BtCpu *cpu, uint16_t port, unsigned size)
{
    if (!(cpu->dr7 & BT_DR7_ENABLED) || !(cpu->cr4 & BT_CR4_DE))
        return;
    unsigned hits = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (enabled(cpu, i) && kind(cpu, i) == BREAK_PORT && overlaps(cpu, i, port, size))
            hits |= 1u << i;
    }
    note_hits(cpu, hits);
}

void bt_debug_step_by_new_tf(BtCpu *cpu)
{
    if (cpu->stepping) // not the request, which goes by TF as it is by now
        cpu->debug_hits |= STEP_BY_NEW_TF;
}

void bt_debug_skip_step(BtCpu *cpu)
{
    if (cpu->stepping)
        cpu->debug_hits |= SKIP_STEP;
}

void bt_debug_merge(BtCpu *cpu)
{
    unsigned hits = cpu->debug_hits & BT_DR6_B;
    if (hits)
        cpu->dr6 = (cpu->dr6 & ~(uint64_t)BT_DR6_B) | hits;
    cpu->debug_hits &= (uint8_t)~BT_DR6_B;
}

_Noreturn void bt_debug_raise(BtCpu *cpu, uint64_t dr6_bits)
{
    // What MOV SS held off is part of it (an instruction's own hits are in dr6_bits already).
    cpu->dr6 = (cpu->dr6 & ~(uint64_t)BT_DR6_B) | dr6_bits | (cpu->debug_hits & BT_DR6_B);
    cpu->dr7 &= ~(uint64_t)BT_DR7_GD;
    cpu->debug_hits = 0;
    bt_debug_update(cpu);
    bt_raise(cpu, BT_DB);
}

void bt_debug_before(BtCpu *cpu)
{
    if (cpu->rflags_rest & BT_FLAG_RF) {
        cpu->rflags_rest &= ~(uint64_t)BT_FLAG_RF;
        return;
    }
    // After MOV SS an instruction breakpoint may be passed over (vol. 3B, 17.3.1.1), and is.
    if (!(cpu->dr7 & BT_DR7_ENABLED) || cpu->shadow == BT_SHADOW_MOV_SS)
        return;
    uint64_t linear = cpu->mode == BT_MODE_LONG
                          ? cpu->rip : (uint32_t)(cpu->segment[VCPU_CS].base + cpu->rip);
    unsigned hits = 0;
    for (unsigned i = 0; i < 4; i++) {
        if (enabled(cpu, i) && kind(cpu, i) == BREAK_EXECUTE && cpu->dr[i] == linear)
            hits |= 1u << i;
    }
    if (hits)
        bt_debug_raise(cpu, hits);
}

void bt_debug_after(BtCpu *cpu, bool tf)
{
    if (cpu->shadow == BT_SHADOW_MOV_SS)
        return; // held until after the next instruction (vol. 3A, 6.8.3)
    if (cpu->debug_hits & STEP_BY_NEW_TF)
        tf = cpu->rflags_rest & BT_FLAG_TF;
    if (cpu->debug_hits & SKIP_STEP)
        tf = false;
    uint64_t bits = cpu->debug_hits & BT_DR6_B;
    if (tf)
        bits |= BT_DR6_BS;
    cpu->debug_hits = 0;
    bt_debug_update(cpu);
    if (bits)
        bt_debug_raise(cpu, bits);
}

void bt_debug_update(BtCpu *cpu)
{
    bool step = (cpu->rflags_rest & (BT_FLAG_TF | BT_FLAG_RF)) ||
                (cpu->debug_hits & BT_DR6_B) || bt_debug_code_breakpoints(cpu);
    if (step)
        __atomic_fetch_or(&cpu->request, BT_REQUEST_STEP, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(&cpu->request, ~(uint32_t)BT_REQUEST_STEP, __ATOMIC_SEQ_CST);
}
