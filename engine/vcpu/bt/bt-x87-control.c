// SPDX-License-Identifier: GPL-2.0-or-later
// x87 control instructions, which do not compute: FLDCW, FNSTCW, FNSTSW, FNCLEX, FNINIT, FWAIT. SDM
// vol. 1, 8.1.8 and 8.3.11. The environment has its own file.

#include "engine/vcpu/bt/bt-x87-private.h"

static void fldcw(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_waiting(cpu, insn);
    uint16_t value = bt_read16(cpu, insn->segment, bt_effective_address(cpu, insn));
    BtFpu *fpu = &cpu->fpu;
    uint16_t masks = (fpu->control ^ value) & BT_X87_EXCEPTIONS;
    if (masks)
        bt_x87_leave(cpu);
    fpu->control = bt_x87_control(value);
    if (masks)
        bt_x87_changed(cpu);
    else if (fpu->live & BT_LIVE_X87)
        __asm__ volatile("fldcw %0" : : "m"(fpu->control)); // all are masked
    BT_NEXT(cpu, insn);
}

static void fnstcw(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    bt_write16(cpu, insn->segment, bt_effective_address(cpu, insn), cpu->fpu.control);
    BT_NEXT(cpu, insn);
}

static uint16_t current_status(const BtFpu *fpu)
{
    if (!(fpu->live & BT_LIVE_X87))
        return fpu->status;
    uint16_t status;
    __asm__ volatile("fnstsw %0" : "=a"(status));
    return status;
}

static void fnstsw_memory(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    bt_write16(cpu, insn->segment, bt_effective_address(cpu, insn), current_status(&cpu->fpu));
    BT_NEXT(cpu, insn);
}

void bt_x87_fnstsw_ax(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    cpu->gpr[VCPU_RAX] = (cpu->gpr[VCPU_RAX] & ~UINT64_C(0xffff)) | current_status(&cpu->fpu);
    BT_NEXT(cpu, insn);
}

static void fnclex(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    if (cpu->fpu.live & BT_LIVE_X87) {
        __asm__ volatile("fnclex");
    } else {
        cpu->fpu.status &= (uint16_t)~(BT_X87_EXCEPTIONS | BT_X87_SF);
        bt_x87_changed(cpu);
    }
    BT_NEXT(cpu, insn);
}

static void fninit(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    bt_x87_leave(cpu); // the registers keep their contents
    bt_x87_init(&cpu->fpu);
    bt_x87_changed(cpu);
    BT_NEXT(cpu, insn);
}

void bt_x87_fwait(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if ((cpu->cr0 & (BT_CR0_MP | BT_CR0_TS)) == (BT_CR0_MP | BT_CR0_TS))
        bt_raise(cpu, BT_NM);
    if (!(cpu->fpu.live & BT_LIVE_X87) && (cpu->fpu.status & BT_X87_ES))
        bt_raise(cpu, BT_MF);
    BT_NEXT(cpu, insn);
}

// FNENI, FNDISI, FNSETPM: the 8087's and 287's, ignored since.
static void ignored(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    BT_NEXT(cpu, insn);
}

BtHandler *bt_x87_control_handler(unsigned fop)
{
    switch (fop) {
    case 0x3e0:
    case 0x3e1:
    case 0x3e4: return ignored;
    case 0x3e2: return fnclex;
    case 0x3e3: return fninit;
    case 0x7e0: return bt_x87_fnstsw_ax;
    default: break;
    }
    if ((fop & 0xff) >= 0xc0)
        return NULL;
    switch (fop >> 8 << 4 | (fop >> 3 & 7)) { // first byte, ModRM.reg
    case 0x15: return fldcw;
    case 0x17: return fnstcw;
    case 0x57: return fnstsw_memory;
    default: return bt_x87_environment(fop);
    }
}
