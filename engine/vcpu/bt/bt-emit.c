// SPDX-License-Identifier: GPL-2.0-or-later
// See bt-emit.h.

#include "engine/vcpu/bt/bt-emit.h"

#include <stddef.h>

enum { JZ = 0x84, JNZ = 0x85 };

static void leave_if(BtEmitter *e, uint8_t condition)
{
    EMIT(e, 0x0f, condition);
    e->jump[e->jumps++] = e->length;
    bt_emit32(e, 0);
}

void bt_emit_gate(BtEmitter *e, unsigned gate)
{
    EMIT_CPU(e, offsetof(BtCpu, fpu.gate), 0xf6, 0x87); // test byte [gate], bit
    EMIT(e, (uint8_t)gate);
    leave_if(e, JZ);
}

void bt_emit_address(BtEmitter *e, const BtCpu *cpu, const BtInsn *insn, bool write,
                     bool data_pointer)
{
    size_t gpr = offsetof(BtCpu, gpr);
    EMIT_CPU(e, gpr + 8 * insn->base, 0x48, 0x8b, 0x87); // mov rax, [base]
    if (insn->index != BT_REG_ZERO) {
        EMIT_CPU(e, gpr + 8 * insn->index, 0x48, 0x8b, 0x8f);             // mov rcx, [index]
        EMIT(e, 0x48, 0x8d, 0x04, (uint8_t)(insn->scale << 6 | 1 << 3)); // lea rax, [rax+rcx*s]
    }
    EMIT(e, 0x48, 0x03, 0x46, offsetof(BtInsn, displacement)); // add rax, [rsi + displacement]
    if (cpu->mode != BT_MODE_LONG)
        EMIT_CPU(e, offsetof(BtCpu, flat_mask), 0x48, 0x23, 0x87); // and rax, [flat_mask]
    // As bt_flat_readable (bt-handler.h): the page of the last byte against the first's entry.
    EMIT(e, 0x48, 0x8d, 0x48, (uint8_t)(insn->memory_size - 1)); // lea rcx, [rax + size - 1]
    EMIT(e, 0x48, 0x89, 0xc2, 0x48, 0xc1, 0xea,
         12 - BT_TLB_ENTRY_SHIFT);                               // mov rdx, rax; shr rdx, 7
    EMIT(e, 0x81, 0xe2);                                         // and edx, index mask
    bt_emit32(e, (BT_TLB_SIZE - 1) << BT_TLB_ENTRY_SHIFT);
    EMIT_CPU(e, offsetof(BtCpu, data_tlb), 0x48, 0x03, 0x97); // add rdx, [data_tlb]
    EMIT(e, 0x48, 0x81, 0xe1, 0x00, 0xf0, 0xff, 0xff);        // and rcx, -4096
    EMIT(e, 0x48, 0x3b, 0x4a,                                 // cmp rcx, [rdx + tag]
         (uint8_t)(write ? offsetof(BtTlbEntry, write) : offsetof(BtTlbEntry, read)));
    leave_if(e, JNZ);
    if (insn->reg[2]) {
        EMIT(e, 0xa8, insn->reg[2]); // test al, alignment
        leave_if(e, JNZ);
    }
    if (data_pointer)
        EMIT_CPU(e, offsetof(BtCpu, fpu.data_pointer), 0x48, 0x89, 0x87); // mov [dp], rax
    EMIT(e, 0x48, 0x03, 0x42, offsetof(BtTlbEntry, addend));              // add rax, [rdx+addend]
    EMIT(e, 0x48, 0x89, 0xc2);                                            // mov rdx, rax
}

void bt_emit_flags(BtEmitter *e)
{
    EMIT(e, 0x9f, 0x0f, 0x90, 0xc0);
    EMIT_CPU(e, offsetof(BtCpu, flags_status), 0x66, 0x89, 0x87); // the form of bt-flags.h
}

void bt_emit_next(BtEmitter *e)
{
    EMIT(e, 0x48, 0x83, 0xc6, sizeof(BtInsn), 0xff, 0x26); // add rsi, 64; jmp [rsi]
}

void bt_emit_way_out(BtEmitter *e, BtHandler *to)
{
    for (unsigned i = 0; i < e->jumps; i++) {
        uint32_t distance = e->length - (e->jump[i] + 4);
        memcpy(e->code + e->jump[i], &distance, sizeof distance);
    }
    uint64_t address = (uintptr_t)to;
    EMIT(e, 0x48, 0xb8); // mov rax, to; jmp rax
    bt_emit(e, (const uint8_t *)&address, sizeof address);
    EMIT(e, 0xff, 0xe0);
}

G_STATIC_ASSERT(offsetof(BtInsn, handler) == 0);
G_STATIC_ASSERT(sizeof(BtInsn) == 64);
G_STATIC_ASSERT(offsetof(BtTlb, entry) == 0);
G_STATIC_ASSERT(offsetof(BtInsn, displacement) < 128);
