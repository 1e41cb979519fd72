// SPDX-License-Identifier: GPL-2.0-or-later
// The host code of an x87 instruction, three pieces behind one another (bt-emit.h tells what a form
// is): the handler (gate, address, what FNSTENV will tell), the body (the guest's own opcode on the
// lent registers), and the exact form, which loads the whole state first and stores it afterwards.

#include "engine/vcpu/bt/bt-x87-private.h"

#include "engine/vcpu/bt/bt-emit.h"

#include <stddef.h>

enum {
    FNSTSW_AX = 0x7e0,
    FREG = 0xc0, // ModRM of register forms
};

// FCMOVcc: DA and DB, /0 to /3.
static bool reads_flags(unsigned fop)
{
    return (fop & 0xff) >= FREG && (fop >> 8 == 2 || fop >> 8 == 3) && (fop >> 3 & 7) < 4;
}

// FUCOMI, FCOMI: DB /5 and /6; with a pop: DF.
static bool writes_flags(unsigned fop)
{
    unsigned reg = fop >> 3 & 7;
    return (fop & 0xff) >= FREG && (fop >> 8 == 3 || fop >> 8 == 7) && (reg == 5 || reg == 6);
}

// As x87_track.
static void emit_track(BtEmitter *e, const BtInsn *insn)
{
    EMIT_CPU(e, offsetof(BtCpu, block_rip), 0x48, 0x8b, 0x87); // mov rax, [block_rip]
    EMIT(e, 0x0f, 0xb7, 0x4e, offsetof(BtInsn, offset));       // movzx ecx, word [rsi + offset]
    EMIT(e, 0x48, 0x01, 0xc8);                                 // add rax, rcx
    EMIT_CPU(e, offsetof(BtCpu, fpu.instruction_pointer), 0x48, 0x89, 0x87);
    EMIT(e, 0xb8); // mov eax, opcode; mov [opcode], ax
    bt_emit32(e, x87_fop(insn));
    EMIT_CPU(e, offsetof(BtCpu, fpu.opcode), 0x66, 0x89, 0x87);
    EMIT_CPU(e, offsetof(BtCpu, segment[VCPU_CS].selector), 0x0f, 0xb7, 0x87); // movzx eax, word
    EMIT_CPU(e, offsetof(BtCpu, fpu.instruction_selector), 0x66, 0x89, 0x87);
    if (insn->flags & BT_INSN_HAS_MEMORY) {
        size_t segment = offsetof(BtCpu, segment) + insn->segment * sizeof(BtSegment);
        EMIT_CPU(e, segment + offsetof(BtSegment, selector), 0x0f, 0xb7, 0x87);
        EMIT_CPU(e, offsetof(BtCpu, fpu.data_selector), 0x66, 0x89, 0x87);
    }
}

static void emit_opcode(BtEmitter *e, unsigned fop)
{
    uint8_t modrm = (uint8_t)fop;
    if (modrm < FREG)
        modrm = (uint8_t)((modrm & 0x38) | 2); // [rdx]
    EMIT(e, (uint8_t)(0xd8 | fop >> 8), modrm);
}

static void emit_body(BtEmitter *e, unsigned fop)
{
    if (reads_flags(fop)) {
        EMIT_CPU(e, offsetof(BtCpu, flags_status), 0x0f, 0xb7, 0x87); // movzx eax, word
        EMIT(e, 0x9e);                                                // sahf
    }
    emit_opcode(e, fop);
    if (writes_flags(fop))
        bt_emit_flags(e);
    if (fop == FNSTSW_AX) { // all of RAX is stored, for a later load's sake
        EMIT_CPU(e, offsetof(BtCpu, gpr), 0x48, 0x8b, 0x8f); // mov rcx, [rax]
        EMIT(e, 0x66, 0x89, 0xc1);                           // mov cx, ax
        EMIT_CPU(e, offsetof(BtCpu, gpr), 0x48, 0x89, 0x8f);
    }
    bt_emit_next(e);
}

static void emit_exact(BtEmitter *e, unsigned fop)
{
    EMIT(e, 0x89, 0xf0,            // mov eax, esi
         0x04, 0x7f,               // add al, 127: OF = bit 0
         0x9e,                     // sahf
         0x48, 0x0f, 0xae, 0x0f);  // fxrstor64 [rdi]
    emit_opcode(e, fop);
    EMIT(e, 0x48, 0x0f, 0xae, 0x07, // fxsave64 [rdi]; what is pending there does not trap
         0xdb, 0xe3,                // fninit
         0x9f, 0x0f, 0x90, 0xc0,    // lahf; seto al
         0xc3);
}

bool bt_x87_compile(BtCpu *cpu, const BtInsn *insn, bool flat, BtHandler *any, X87Form *form)
{
    BtEmitter e = {.length = 0};
    bool memory = insn->flags & BT_INSN_HAS_MEMORY;
    bool handler = !memory || flat;
    if (handler) {
        bt_emit_gate(&e, BT_GATE_X87_FAST);
        if (memory)
            bt_emit_address(&e, cpu, insn, insn->extra & X87_STORES, true);
        if (x87_fop(insn) != FNSTSW_AX)
            emit_track(&e, insn);
    }
    unsigned body = e.length;
    emit_body(&e, x87_fop(insn));
    if (handler)
        bt_emit_way_out(&e, any);
    unsigned exact = e.length;
    emit_exact(&e, x87_fop(insn));
    const BtSimd *simd = cpu->simd_private;
    uint8_t *code = bt_code_memory_add(simd->code, e.code, e.length);
    if (!code)
        return false;
    form->handler = handler ? (BtHandler *)code : NULL;
    form->body = (BtSimdBody *)(code + body);
    form->exact = (X87Exact *)(code + exact);
    return true;
}

X87Form bt_x87_spare_form(BtCpu *cpu, const BtInsn *insn)
{
    X87Form form = {NULL};
    BtSimd *simd = cpu->simd_private;
    BtCodeMemory *blocks = simd->code;
    simd->code = simd->spare;
    if (!bt_x87_compile(cpu, insn, false, NULL, &form)) {
        bt_code_memory_reset(simd->spare);
        bt_x87_compile(cpu, insn, false, NULL, &form);
    }
    simd->code = blocks;
    return form;
}
