// SPDX-License-Identifier: GPL-2.0-or-later
// The FPU state as a whole: reset, the gate byte, the host's MXCSR, and the XSAVE image that other
// backends and saved machines use. Instructions that load and store images are in bt-xsave.c.
// Follows the SDM vol. 1, chapters 8 to 13 (order 325462-080).
//
// x87: see bt-x87-host.c. MXCSR: SIMD instructions run on the host under the guest's rounding mode,
// DAZ and FTZ with every exception masked. To load the host's register for each of them would cost
// more than most of them do, so it is loaded once (fpu.live) and stays until the vCPU leaves guest
// execution; the host then also collects the guest's sticky flags. fpu.mxcsr is complete only after
// bt_fpu_collect.

#include "engine/vcpu/bt/bt-fpu.h"
#include "engine/vcpu/bt/bt-fpu-private.h"

#include "engine/base/bytes.h"

#include <string.h>

// FTZ acts only while underflow is masked (SDM vol. 1, 10.2.3.3), and here all are.
static uint32_t host_mxcsr(uint32_t guest)
{
    if (!(guest & BT_MXCSR_UM))
        guest &= ~BT_MXCSR_FTZ;
    return guest | BT_MXCSR_ALL_MASKED;
}

static void update_gate(BtCpu *cpu)
{
    BtFpu *fpu = &cpu->fpu;
    bool em = cpu->cr0 & BT_CR0_EM, ts = cpu->cr0 & BT_CR0_TS;
    bool quiet = (fpu->live & BT_LIVE_MXCSR) &&
                 (fpu->mxcsr & BT_MXCSR_ALL_MASKED) == BT_MXCSR_ALL_MASKED;
    uint8_t gate = 0;
    if (!em && !ts) {
        gate |= BT_GATE_MMX | BT_GATE_X87;
        if (fpu->live & BT_LIVE_X87)
            gate |= BT_GATE_X87_FAST;
        if (cpu->cr4 & BT_CR4_OSFXSR)
            gate |= BT_GATE_SSE | (quiet ? BT_GATE_SSE_FP : 0);
    }
    if (!ts && (cpu->cr4 & BT_CR4_OSXSAVE) && (fpu->xcr0 & 6) == 6)
        gate |= BT_GATE_AVX | (quiet ? BT_GATE_AVX_FP : 0);
    fpu->gate = gate;
    fpu->shut = (uint8_t)~(fpu->resident ? gate : gate & ~BT_GATE_SIMD);
}

void bt_fpu_update(BtCpu *cpu)
{
    update_gate(cpu);
}

void bt_fpu_enter(BtCpu *cpu)
{
    BtFpu *fpu = &cpu->fpu;
    if (!(fpu->live & BT_LIVE_MXCSR)) {
        __builtin_ia32_ldmxcsr(host_mxcsr(fpu->mxcsr));
        fpu->live |= BT_LIVE_MXCSR;
        update_gate(cpu);
    }
}

unsigned bt_fpu_possible(const BtCpu *cpu)
{
    const BtFpu *fpu = &cpu->fpu;
    unsigned possible = fpu->gate & (BT_GATE_SSE | BT_GATE_AVX);
    if ((fpu->mxcsr & BT_MXCSR_ALL_MASKED) == BT_MXCSR_ALL_MASKED)
        possible |= possible << 1; // the _FP bits
    if ((fpu->gate & BT_GATE_X87) && !(fpu->status & BT_X87_ES) && bt_x87_all_masked(fpu))
        possible |= BT_GATE_X87_FAST;
    return possible;
}

_Static_assert(BT_GATE_SSE_FP == BT_GATE_SSE << 1 && BT_GATE_AVX_FP == BT_GATE_AVX << 1,
               "bt_fpu_possible");

bool bt_fpu_open(BtCpu *cpu, unsigned classes)
{
    BtFpu *fpu = &cpu->fpu;
    if (classes & ~bt_fpu_possible(cpu))
        return false;
    if (classes & BT_GATE_X87_FAST)
        bt_x87_enter(cpu);
    if (classes & BT_GATE_SIMD) {
        bt_fpu_enter(cpu);
        fpu->resident = true;
        update_gate(cpu);
    }
    return true;
}

void bt_fpu_collect(BtCpu *cpu)
{
    if (cpu->fpu.live & BT_LIVE_MXCSR)
        cpu->fpu.mxcsr |= __builtin_ia32_stmxcsr() & BT_MXCSR_FLAGS;
}

void bt_fpu_leave_slow(BtCpu *cpu)
{
    bt_fpu_collect(cpu);
    if (cpu->fpu.live & BT_LIVE_MXCSR)
        __builtin_ia32_ldmxcsr(BT_MXCSR_DEFAULT);
    bt_x87_leave(cpu);
    cpu->fpu.live = 0;
    update_gate(cpu);
}

void bt_fpu_set_mxcsr(BtCpu *cpu, uint32_t value)
{
    cpu->fpu.mxcsr = value;
    if (cpu->fpu.live & BT_LIVE_MXCSR)
        __builtin_ia32_ldmxcsr(host_mxcsr(value));
    update_gate(cpu);
}

void bt_x87_init(BtFpu *fpu)
{
    fpu->control = 0x37f;
    fpu->status = 0;
    fpu->tags = 0;
    fpu->opcode = 0;
    fpu->instruction_pointer = fpu->data_pointer = 0;
    fpu->instruction_selector = fpu->data_selector = 0;
}

void bt_fpu_reset(BtCpu *cpu)
{
    bt_fpu_leave(cpu);
    BtFpu *fpu = &cpu->fpu;
    memset(fpu->vector, 0, sizeof fpu->vector);
    memset(fpu->st, 0, sizeof fpu->st);
    bt_x87_init(fpu);
    fpu->control = 0x40; // FNINIT makes it 37Fh; RESET leaves every register a valid zero
    fpu->tags = 0xff;
    fpu->mxcsr = BT_MXCSR_DEFAULT;
    fpu->xcr0 = 1;
    update_gate(cpu);
}

void bt_fpu_get(const BtCpu *cpu, uint8_t area[VCPU_XSAVE_SIZE])
{
    BtFpu copy = cpu->fpu;
    const BtFpu *fpu = &copy;
    bt_x87_sync(&copy);
    uint32_t mxcsr = fpu->mxcsr;
    if (fpu->live & BT_LIVE_MXCSR)
        mxcsr |= __builtin_ia32_stmxcsr() & BT_MXCSR_FLAGS;
    memset(area, 0, VCPU_XSAVE_SIZE);
    le16_write(area, fpu->control);
    le16_write(area + 2, fpu->status);
    area[4] = fpu->tags;
    le16_write(area + 6, fpu->opcode);
    le64_write(area + 8, fpu->instruction_pointer);
    le64_write(area + 16, fpu->data_pointer);
    le32_write(area + 24, mxcsr);
    le32_write(area + 28, BT_MXCSR_MASK);
    for (unsigned i = 0; i < 8; i++)
        memcpy(area + 32 + 16 * i, fpu->st[(bt_x87_top(fpu) + i) & 7], 10);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(area + 160 + 16 * i, fpu->vector[i], 16);
        memcpy(area + BT_XSAVE_AVX_OFFSET + 16 * i, fpu->vector[i] + 16, 16);
    }
    le64_write(area + BT_XSAVE_HEADER_OFFSET, BT_XCR0_MASK);
}

bool bt_fpu_set(BtCpu *cpu, const uint8_t area[VCPU_XSAVE_SIZE])
{
    uint64_t present = le64_read(area + BT_XSAVE_HEADER_OFFSET);
    if (le64_read(area + BT_XSAVE_HEADER_OFFSET + 8) || (present & ~BT_XCR0_MASK))
        return false;
    uint32_t mxcsr = present & 6 ? le32_read(area + 24) : BT_MXCSR_DEFAULT;
    if (mxcsr & ~BT_MXCSR_MASK)
        return false;

    BtFpu *fpu = &cpu->fpu;
    memset(fpu->st, 0, sizeof fpu->st);
    bt_x87_init(fpu);
    if (present & 1) {
        fpu->control = bt_x87_control(le16_read(area));
        fpu->status = le16_read(area + 2);
        fpu->tags = area[4];
        fpu->opcode = le16_read(area + 6) & 0x7ff;
        fpu->instruction_pointer = le64_read(area + 8);
        fpu->data_pointer = le64_read(area + 16);
        for (unsigned i = 0; i < 8; i++)
            memcpy(fpu->st[(bt_x87_top(fpu) + i) & 7], area + 32 + 16 * i, 10);
    }
    bt_x87_changed(cpu);
    for (unsigned i = 0; i < 16; i++) {
        memset(fpu->vector[i], 0, sizeof fpu->vector[i]);
        if (present & 2)
            memcpy(fpu->vector[i], area + 160 + 16 * i, 16);
        if (present & 4)
            memcpy(fpu->vector[i] + 16, area + BT_XSAVE_AVX_OFFSET + 16 * i, 16);
    }
    bt_fpu_set_mxcsr(cpu, mxcsr);
    return true;
}
