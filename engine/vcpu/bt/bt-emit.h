// SPDX-License-Identifier: GPL-2.0-or-later
// What compiled forms (bt-simd-compile.c, bt-x87-compile.c) are made of: an encoder into a buffer,
// and the part in front of a form's body that makes it a handler. Encodings: SDM vol. 2A, 2.
//
// A form sees rdi = BtCpu, rsi = BtInsn; its body also rdx = host address of the memory operand. It
// may change what the System V ABI lets a function change, and uses no stack.
#pragma once

#include "engine/vcpu/bt/bt-simd-private.h"

enum { BT_EMIT_SIZE = 384, BT_EMIT_JUMPS = 3 };

typedef struct {
    uint8_t code[BT_EMIT_SIZE];
    unsigned length;
    unsigned jump[BT_EMIT_JUMPS], jumps; // where the 32-bit distances to the way out are
} BtEmitter;

// The longest form has 6 operands of 17 bytes and 150 bytes of the rest.
static inline void bt_emit(BtEmitter *e, const uint8_t *bytes, unsigned count)
{
    g_assert(e->length + count <= BT_EMIT_SIZE);
    memcpy(e->code + e->length, bytes, count);
    e->length += count;
}

#define EMIT(e, ...)                                                                               \
    bt_emit(e, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static inline void bt_emit32(BtEmitter *e, uint32_t value)
{
    bt_emit(e, (const uint8_t *)&value, sizeof value);
}

// An instruction whose ModRM byte ends in [rdi + disp32], the displacement being `offset`.
#define EMIT_CPU(e, offset, ...)                                                                   \
    do {                                                                                           \
        EMIT(e, __VA_ARGS__);                                                                      \
        bt_emit32(e, (uint32_t)(offset));                                                          \
    } while (0)

// Goes on at the way out unless the gate bit is set.
void bt_emit_gate(BtEmitter *e, unsigned gate);

// rdx = host address of the memory operand, which lies in a flat segment; to the way out where the
// TLB does not have it. data_pointer: also notes the address in BtFpu.
void bt_emit_address(BtEmitter *e, const BtCpu *cpu, const BtInsn *insn, bool write,
                     bool data_pointer);

// Stores the host's status flags as the guest's: lahf; seto al; mov [flags_status], ax.
void bt_emit_flags(BtEmitter *e);

// To the next instruction's handler.
void bt_emit_next(BtEmitter *e);

// The way out: a handler in C that can do everything. Last, where anything leads to it.
void bt_emit_way_out(BtEmitter *e, BtHandler *to);
