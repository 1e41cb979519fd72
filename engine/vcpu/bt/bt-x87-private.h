// SPDX-License-Identifier: GPL-2.0-or-later
// What the bt-x87*.c files share. How an x87 instruction runs is told at the top of bt-x87.c.
//
// Use of BtInsn's fields by this family: reg[0] = i of ST(i), immediate = the 11-bit opcode
// (FOP: low three bits of the first byte, then ModRM), extra = 1 where the memory operand is
// written, data = the compiled exact form.
#pragma once

#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-fpu-private.h"
#include "engine/vcpu/bt/bt-memory.h"

// An 80-bit register as the memory operand of host instructions.
typedef struct {
    uint8_t bytes[10];
} X87Value;

static inline X87Value *x87_st(BtFpu *fpu, unsigned i)
{
    return (X87Value *)fpu->st[(bt_x87_top(fpu) + i) & 7];
}

static inline bool x87_in_use(const BtFpu *fpu, unsigned i)
{
    return fpu->tags >> ((bt_x87_top(fpu) + i) & 7) & 1;
}

static inline void x87_set_top(BtFpu *fpu, unsigned top)
{
    fpu->status = (uint16_t)((fpu->status & ~(7u << BT_X87_TOP_SHIFT)) |
                             (top & 7) << BT_X87_TOP_SHIFT);
}

static inline void x87_pop(BtFpu *fpu)
{
    unsigned top = bt_x87_top(fpu);
    fpu->tags &= (uint8_t)~(1u << top);
    x87_set_top(fpu, top + 1);
}

// The register that a push fills, which the caller has found free; it is then ST(0).
static inline X87Value *x87_push(BtFpu *fpu)
{
    unsigned top = (bt_x87_top(fpu) - 1) & 7;
    fpu->tags |= (uint8_t)(1u << top);
    x87_set_top(fpu, top);
    return (X87Value *)fpu->st[top];
}

// C1 and the exception flags from the host's status word after an operation.
static inline void x87_merge(BtFpu *fpu, uint16_t host_status)
{
    fpu->status = (uint16_t)((fpu->status & ~BT_X87_C1) |
                             (host_status & (BT_X87_EXCEPTIONS | BT_X87_C1)));
}

static inline void x87_clear_c1(BtFpu *fpu)
{
    fpu->status &= (uint16_t)~BT_X87_C1;
}

// What FNSTENV will tell about the last instruction that was not a control instruction.
static inline void x87_track(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    fpu->instruction_pointer = bt_insn_rip(cpu, insn);
    fpu->instruction_selector = cpu->segment[VCPU_CS].selector;
    fpu->opcode = (uint16_t)insn->immediate;
}

static inline void x87_track_memory(BtCpu *cpu, const BtInsn *insn, uint64_t offset)
{
    x87_track(cpu, insn);
    cpu->fpu.data_pointer = offset;
    cpu->fpu.data_selector = cpu->segment[insn->segment].selector;
}

// bt-x87-exact.c. Raises #NM or a pending #MF, else gives the host the guest's control word.
void bt_x87_enter(BtCpu *cpu);
// Runs the instruction from the guest's whole state, whatever it may raise. A handler.
void bt_x87_exact(BtCpu *cpu, const BtInsn *insn);
// Compiles the exact form; NULL where there is no room.
void *bt_x87_compile(BtCpu *cpu, const BtInsn *insn);

// Begins a waiting instruction. True: every exception is masked and the host is ready, so that a
// handler whose stack registers are as it wants them may go on by itself; else bt_x87_exact.
static inline bool x87_begin(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (__builtin_expect(cpu->fpu.gate & BT_GATE_X87_FAST, 1))
        return true;
    bt_x87_enter(cpu);
    return cpu->fpu.gate & BT_GATE_X87_FAST;
}

// Begins a non-waiting (control) instruction.
static inline void x87_begin_control(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (__builtin_expect(!(cpu->fpu.gate & BT_GATE_X87), 0))
        bt_raise(cpu, BT_NM);
}

// Begins a waiting control instruction.
static inline void x87_begin_waiting(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    if (cpu->fpu.status & BT_X87_ES)
        bt_raise(cpu, BT_MF);
}

// Host address for a store of `size` bytes, or NULL where it is not RAM that can be written at
// once. Raises what the address alone raises.
static inline void *x87_writable(BtCpu *cpu, const BtInsn *insn, uint64_t offset, unsigned size)
{
    uint64_t linear = bt_linear(cpu, insn->segment, offset, size, true);
    const BtTlbEntry *e = &cpu->tlb[cpu->mmu_index].entry[linear >> 12 & (BT_TLB_SIZE - 1)];
    return e->write == ((linear + size - 1) & ~UINT64_C(0xfff)) ? (void *)(linear + e->addend)
                                                                : NULL;
}

// Handlers of one opcode (escape: the first byte - D8h), NULL where the file has none.
BtHandler *bt_x87_arithmetic(unsigned escape, unsigned modrm);
BtHandler *bt_x87_environment(unsigned escape, unsigned modrm);
