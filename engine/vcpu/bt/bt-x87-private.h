// SPDX-License-Identifier: GPL-2.0-or-later
// What the bt-x87*.c files share. How an x87 instruction runs is told at the top of bt-x87.c.
//
// Use of BtInsn's fields by this family: immediate = the 11-bit opcode as FOP has it (low three
// bits of the first byte, then ModRM), and from X87_DISTANCE_SHIFT how far the exact form is behind
// the body; extra = X87_STORES where the memory operand is written; data = the exact form.
#pragma once

#include "engine/vcpu/bt/bt-fpu-private.h"
#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-simd-private.h"

enum { X87_STORES = 1 };
enum { X87_DISTANCE_SHIFT = 16 };

// rdi: image as FXSAVE64 has it, esi: flags in the form of bt-flags.h, rdx: memory operand. Runs
// the instruction on that state, which may have exceptions unmasked. Returns flags.
typedef uint32_t X87Exact(uint8_t *image, uint32_t flags, void *memory);

typedef struct {
    BtHandler *handler; // NULL: the memory operand is not in a flat segment
    BtSimdBody *body;
    X87Exact *exact;
} X87Form;

static inline unsigned x87_fop(const BtInsn *insn)
{
    return insn->immediate & 0x7ff;
}

// What FNSTENV will tell about the last instruction that was not a control instruction.
static inline void x87_track(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    fpu->instruction_pointer = bt_insn_rip(cpu, insn);
    fpu->instruction_selector = cpu->segment[VCPU_CS].selector;
    fpu->opcode = (uint16_t)x87_fop(insn);
    if (insn->flags & BT_INSN_HAS_MEMORY) {
        fpu->data_pointer = bt_effective_address(cpu, insn);
        fpu->data_selector = cpu->segment[insn->segment].selector;
    }
}

// bt-x87-compile.c: everything of `insn` but handler and data is set; any: see bt_emit_way_out.
// False where there is no room.
bool bt_x87_compile(BtCpu *cpu, const BtInsn *insn, bool flat, BtHandler *any, X87Form *form);
// The forms of an instruction that found no room when it was decoded.
X87Form bt_x87_spare_form(BtCpu *cpu, const BtInsn *insn);

static inline X87Form x87_form(BtCpu *cpu, const BtInsn *insn)
{
    if (__builtin_expect(!insn->data, 0))
        return bt_x87_spare_form(cpu, insn);
    uint8_t *exact = insn->data;
    return (X87Form){.exact = (X87Exact *)exact,
                     .body = (BtSimdBody *)(exact - (insn->immediate >> X87_DISTANCE_SHIFT))};
}

// bt-x87-host.c
void bt_x87_store_image(const BtFpu *fpu, uint8_t image[512]);
void bt_x87_load_image(BtFpu *fpu, const uint8_t image[512]);

// bt-x87-exact.c: runs the instruction on the guest's state in memory.
void bt_x87_exact(BtCpu *cpu, const BtInsn *insn);

// bt-x87-control.c: the handler of a control instruction, or NULL.
BtHandler *bt_x87_control_handler(unsigned fop);
void bt_x87_fnstsw_ax(BtCpu *cpu, const BtInsn *insn);
void bt_x87_fwait(BtCpu *cpu, const BtInsn *insn);
// bt-x87-environment.c
BtHandler *bt_x87_environment(unsigned fop);

// Begins a non-waiting (control) instruction.
static inline void x87_begin_control(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (__builtin_expect(!(cpu->fpu.gate & BT_GATE_X87), 0))
        bt_raise(cpu, BT_NM);
}

// Begins a waiting control instruction. ES is never set while the host's FPU is lent.
static inline void x87_begin_waiting(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    if (!(cpu->fpu.live & BT_LIVE_X87) && (cpu->fpu.status & BT_X87_ES))
        bt_raise(cpu, BT_MF);
}
