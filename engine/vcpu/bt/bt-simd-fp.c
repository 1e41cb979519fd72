// SPDX-License-Identifier: GPL-2.0-or-later
// SIMD instructions whose gate is shut: those that must raise #UD or #NM, the first one after the
// host got its own MXCSR back, and all floating-point ones while the guest has exceptions unmasked.
// Follows the SDM vol. 1, 11.5 and appendix E.4, and vol. 2A, 2.4.
//
// Unmasked exceptions: the instruction runs with all of them masked and with clear flags; then the
// flags tell what an unmasked run would have raised, except that underflow is then raised for exact
// tiny results too, which the result itself shows. Where something is raised the destination gets
// its old value back. One flag can be wrong: PE beside an unmasked OE or UE says whether the masked
// result was inexact, where hardware judges the result with unbounded exponent. And the dot
// products compute in steps, of which hardware does not take the later ones; here all flags are one
// set.

#include "engine/vcpu/bt/bt-simd-private.h"

#include <string.h>

enum {
    PRE_COMPUTATION = 7, // IE, DE, ZE: judged on the operands, before anything is computed
    UNDERFLOW = 1 << 4,
    MASK_SHIFT = 7,
};

// What the instruction may have written, to take it back.
typedef struct {
    uint8_t vector[64];
    uint64_t general;
    uint16_t flags;
    uint8_t mmx[16];
} Before;

static unsigned mmx_register(const BtInsn *insn)
{
    return insn->immediate >> BT_SIMD_MMX_SHIFT & 7;
}

static void remember(const BtCpu *cpu, const BtInsn *insn, Before *before)
{
    before->flags = cpu->flags_status;
    if (insn->reg[0] != BT_SIMD_NO_REGISTER)
        memcpy(before->vector, cpu->fpu.vector[insn->reg[0]], sizeof before->vector);
    if (insn->reg[1] != BT_SIMD_NO_REGISTER)
        before->general = cpu->gpr[insn->reg[1]];
    if (insn->immediate & BT_SIMD_MMX)
        memcpy(before->mmx, cpu->fpu.st[mmx_register(insn)], sizeof before->mmx);
}

static void take_back(BtCpu *cpu, const BtInsn *insn, const Before *before)
{
    cpu->flags_status = before->flags;
    if (insn->reg[0] != BT_SIMD_NO_REGISTER)
        memcpy(cpu->fpu.vector[insn->reg[0]], before->vector, sizeof before->vector);
    if (insn->reg[1] != BT_SIMD_NO_REGISTER)
        cpu->gpr[insn->reg[1]] = before->general;
    if (insn->immediate & BT_SIMD_MMX)
        memcpy(cpu->fpu.st[mmx_register(insn)], before->mmx, sizeof before->mmx);
}

// Whether an element of the result is denormal: not zero, with a zero exponent.
static bool has_tiny(const BtCpu *cpu, const BtInsn *insn)
{
    unsigned kind = insn->immediate & BT_SIMD_TINY_KIND;
    const uint8_t *result = insn->reg[0] == BT_SIMD_NO_REGISTER ? cpu->fpu.buffer
                                                                : cpu->fpu.vector[insn->reg[0]];
    if (!kind)
        return false;
    unsigned size = 1u << kind;
    unsigned count = insn->immediate & BT_SIMD_SCALAR ? 1 : (insn->immediate >> 8) / size;
    for (unsigned i = 0; i < count; i++) {
        uint64_t value = 0;
        memcpy(&value, result + i * size, size);
        uint64_t magnitude = value & (UINT64_MAX >> (65 - 8 * size));
        unsigned mantissa = kind == BT_SIMD_TINY16 ? 10 : kind == BT_SIMD_TINY32 ? 23 : 52;
        if (magnitude && magnitude >> mantissa == 0)
            return true;
    }
    return false;
}

void bt_simd_gate(BtCpu *cpu, const BtInsn *insn)
{
    unsigned need = insn->extra;
    const BtFpu *fpu = &cpu->fpu;
    bool undefined;
    if (need & (BT_GATE_AVX | BT_GATE_AVX_FP))
        undefined = !(cpu->cr4 & BT_CR4_OSXSAVE) || (fpu->xcr0 & 6) != 6;
    else if (need & (BT_GATE_SSE | BT_GATE_SSE_FP))
        undefined = (cpu->cr0 & BT_CR0_EM) || !(cpu->cr4 & BT_CR4_OSFXSR);
    else
        undefined = cpu->cr0 & BT_CR0_EM;
    if (undefined)
        bt_raise(cpu, BT_UD);
    if (cpu->cr0 & BT_CR0_TS)
        bt_raise(cpu, BT_NM);
    if (need & (BT_GATE_SSE_FP | BT_GATE_AVX_FP))
        bt_fpu_enter(cpu);
}

// The flags of one run, then their judgement; false: an unmasked exception, nothing is to be
// committed, and raise_simd has to follow.
static bool judge(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    unsigned flags = __builtin_ia32_stmxcsr() & BT_MXCSR_FLAGS;
    unsigned unmasked = ~(fpu->mxcsr >> MASK_SHIFT) & BT_MXCSR_FLAGS;
    if (flags & unmasked & PRE_COMPUTATION)
        flags &= PRE_COMPUTATION;
    else if ((unmasked & UNDERFLOW) && has_tiny(cpu, insn))
        flags |= UNDERFLOW;
    fpu->mxcsr |= flags;
    return !(flags & unmasked);
}

static void clear_host_flags(void)
{
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() & ~BT_MXCSR_FLAGS);
}

static _Noreturn void raise_simd(BtCpu *cpu)
{
    clear_host_flags(); // judge has taken what counts
    bt_raise(cpu, cpu->cr4 & BT_CR4_OSXMMEXCPT ? BT_XM : BT_UD);
}

void bt_simd_careful(BtCpu *cpu, const BtInsn *insn, void *memory)
{
    bt_simd_gate(cpu, insn);
    BtSimdBody *body = (BtSimdBody *)insn->data;
    if (bt_simd_open(cpu, insn)) {
        body(cpu, bt_simd_stop, memory);
        return;
    }
    Before before = {0};
    remember(cpu, insn, &before);
    clear_host_flags();
    body(cpu, bt_simd_stop, memory);
    if (!judge(cpu, insn)) {
        take_back(cpu, insn, &before);
        raise_simd(cpu);
    }
}
