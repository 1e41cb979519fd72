// SPDX-License-Identifier: GPL-2.0-or-later
// SYSCALL, SYSRET, SYSENTER, SYSEXIT: transfers to fixed flat segments without descriptors (SDM
// vol. 2; vol. 3A, 5.8.7 and 5.8.8). As on Intel's processors, SYSCALL and SYSRET exist only in
// 64-bit mode, SYSENTER and SYSEXIT in every protected mode.
#include "engine/vcpu/bt/bt-debug.h"
#include "engine/vcpu/bt/bt-far.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

enum { CODE_32 = BT_ACCESS_DB, CODE_64 = BT_ACCESS_L };

// CS and SS flat, at `cpl`; code_size: CODE_32 or CODE_64.
static void set_flat(BtCpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, uint16_t code_size)
{
    uint16_t access = (uint16_t)(BT_ACCESS_P | BT_ACCESS_S | BT_ACCESS_G | BT_ACCESS_ACCESSED |
                                 cpl << BT_ACCESS_DPL_SHIFT);
    cpu->segment[VCPU_CS] = (BtSegment){
        .limit = UINT32_MAX, .selector = cs,
        .access = (uint16_t)(access | BT_ACCESS_CODE | BT_ACCESS_READABLE | code_size),
    };
    cpu->segment[VCPU_SS] = (BtSegment){
        .limit = UINT32_MAX, .selector = ss,
        .access = (uint16_t)(access | BT_ACCESS_WRITABLE | BT_ACCESS_DB),
    };
    cpu->cpl = (uint8_t)cpl;
    bt_segment_update(cpu, VCPU_CS);
    bt_segment_update(cpu, VCPU_SS);
}

void bt_op_syscall(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (cpu->mode != BT_MODE_LONG || !(cpu->efer & BT_EFER_SCE))
        bt_raise(cpu, BT_UD);
    uint64_t flags = bt_rflags_get(cpu);
    cpu->gpr[VCPU_RCX] = bt_next_rip(cpu, insn);
    cpu->gpr[VCPU_R11] = flags & ~(uint64_t)BT_FLAG_RF;
    uint16_t cs = (uint16_t)(cpu->msr_star >> 32) & 0xfffc;
    set_flat(cpu, cs, (uint16_t)(cs + 8), 0, CODE_64);
    bt_rflags_set(cpu, (flags & ~cpu->msr_fmask & ~(uint64_t)BT_FLAG_RF) | BT_FLAG_ONE);
    cpu->rip = cpu->msr_lstar;
    bt_debug_step_by_new_tf(cpu);
    bt_debug_update(cpu);
    bt_update_mode(cpu);
}

void bt_op_sysret(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bool to_64 = insn->operand_size == 8;
    if (cpu->mode != BT_MODE_LONG || !(cpu->efer & BT_EFER_SCE))
        bt_raise(cpu, BT_UD);
    if (cpu->cpl != 0 || (to_64 && !bt_is_canonical(cpu->gpr[VCPU_RCX])))
        bt_raise_error(cpu, BT_GP, 0);
    // With TF in R11 the single step is due after this very instruction.
    if (cpu->gpr[VCPU_R11] & BT_FLAG_TF)
        bt_debug_run_alone(cpu);
    uint16_t base = (uint16_t)(cpu->msr_star >> 48);
    set_flat(cpu, (uint16_t)((to_64 ? base + 16 : base) | 3), (uint16_t)((base + 8) | 3), 3,
             to_64 ? CODE_64 : CODE_32);
    uint64_t keep = BT_FLAGS_DEFINED & ~(uint64_t)(BT_FLAG_RF | BT_FLAG_VM);
    bt_rflags_set(cpu, (cpu->gpr[VCPU_R11] & keep) | BT_FLAG_ONE);
    cpu->rip = to_64 ? cpu->gpr[VCPU_RCX] : (uint32_t)cpu->gpr[VCPU_RCX];
    bt_debug_step_by_new_tf(cpu);
    bt_debug_update(cpu);
    bt_update_mode(cpu);
}

void bt_op_sysenter(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (cpu->mode == BT_MODE_REAL || (cpu->msr_sysenter_cs & 0xfffc) == 0)
        bt_raise_error(cpu, BT_GP, 0);
    bool long_mode = bt_long_mode(cpu);
    uint64_t flags = bt_rflags_get(cpu);
    uint16_t cs = cpu->msr_sysenter_cs & 0xfffc;
    bt_rflags_set(cpu, flags & ~(uint64_t)(BT_FLAG_VM | BT_FLAG_IF | BT_FLAG_RF));
    set_flat(cpu, cs, (uint16_t)(cs + 8), 0, long_mode ? CODE_64 : CODE_32);
    cpu->gpr[VCPU_RSP] = long_mode ? cpu->msr_sysenter_esp : (uint32_t)cpu->msr_sysenter_esp;
    cpu->rip = long_mode ? cpu->msr_sysenter_eip : (uint32_t)cpu->msr_sysenter_eip;
    bt_debug_update(cpu);
    bt_update_mode(cpu);
}

void bt_op_sysexit(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bool to_64 = insn->operand_size == 8;
    uint64_t rip = cpu->gpr[VCPU_RDX], sp = cpu->gpr[VCPU_RCX];
    if (cpu->mode == BT_MODE_REAL || (cpu->msr_sysenter_cs & 0xfffc) == 0 || cpu->cpl != 0 ||
        (to_64 && (!bt_is_canonical(rip) || !bt_is_canonical(sp))))
        bt_raise_error(cpu, BT_GP, 0);
    uint16_t cs = (uint16_t)((cpu->msr_sysenter_cs & 0xfffc) + (to_64 ? 32 : 16));
    set_flat(cpu, cs | 3, (uint16_t)(cs + 8) | 3, 3, to_64 ? CODE_64 : CODE_32);
    cpu->rip = to_64 ? rip : (uint32_t)rip;
    cpu->gpr[VCPU_RSP] = to_64 ? sp : (uint32_t)sp;
    bt_update_mode(cpu);
}
