// SPDX-License-Identifier: GPL-2.0-or-later
// What the selectors of all families share: reading Zydis' operands, and the integer family's own
// selectors.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

// Number of a general register of any width: 0..15; AH CH DH BH are 20..23; -1 for another kind.
static inline int bt_general_register(ZydisRegister reg)
{
    if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
        return (int)(reg - ZYDIS_REGISTER_RAX);
    if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
        return (int)(reg - ZYDIS_REGISTER_EAX);
    if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
        return (int)(reg - ZYDIS_REGISTER_AX);
    if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
        return (int)(reg - ZYDIS_REGISTER_AL);
    if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
        return (int)(reg - ZYDIS_REGISTER_AH) + 20;
    if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_DIL)
        return (int)(reg - ZYDIS_REGISTER_SPL) + 4;
    if (reg >= ZYDIS_REGISTER_R8B && reg <= ZYDIS_REGISTER_R15B)
        return (int)(reg - ZYDIS_REGISTER_R8B) + 8;
    return -1;
}

static inline bool bt_operand_is_general(const ZydisDecodedOperand *operand)
{
    return operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           bt_general_register(operand->reg.value) >= 0;
}

static inline bool bt_operand_is_memory(const ZydisDecodedOperand *operand)
{
    return operand->type == ZYDIS_OPERAND_TYPE_MEMORY;
}

static inline bool bt_operand_is_immediate(const ZydisDecodedOperand *operand)
{
    return operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

// As the integer handlers hold it: 8-bit registers as byte offsets into cpu->gpr, wider ones as
// numbers.
static inline uint8_t bt_operand_register(const ZydisDecodedOperand *operand)
{
    int number = bt_general_register(operand->reg.value);
    if (operand->size != 8)
        return (uint8_t)number;
    return (uint8_t)(number >= 20 ? (number - 20) * 8 + 1 : number * 8);
}

// 0..3 for operands of 8, 16, 32, 64 bits.
static inline unsigned bt_size_index(unsigned bits)
{
    return bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : 3;
}

// Whether the memory operand's segment is flat and its address as wide as flat addresses are, so
// that handlers of the flat kind may be taken.
bool bt_select_is_flat(const BtDecoded *d, const BtInsn *out);
// The kinds of handlers for memory operands (bt-handler.h).
typedef enum { BT_KIND_ANY, BT_KIND_FLAT, BT_KIND_BASE } BtMemoryKind;
BtMemoryKind bt_select_memory_kind(const BtDecoded *d, const BtInsn *out);
// Whether the stack is flat.
bool bt_select_stack_is_flat(const BtDecoded *d);

// Whether the code segment is, so that branch targets need no limit check.
bool bt_select_code_is_flat(const BtDecoded *d);

// Fills out's address parts from a memory operand (bt-decode.c).
void bt_select_memory(const ZydisDecodedOperand *operand, BtInsn *out);

// The parts of the integer family; each is asked for its own mnemonics only (bt-interp-select.c).
bool bt_select_alu(const BtDecoded *d, BtInsn *out);
bool bt_select_move(const BtDecoded *d, BtInsn *out);
bool bt_select_shift(const BtDecoded *d, BtInsn *out);
bool bt_select_muldiv(const BtDecoded *d, BtInsn *out);
bool bt_select_bit(const BtDecoded *d, BtInsn *out);
bool bt_select_string(const BtDecoded *d, BtInsn *out);
bool bt_select_branch(const BtDecoded *d, BtInsn *out);
bool bt_select_stack(const BtDecoded *d, BtInsn *out);
bool bt_select_atomic(const BtDecoded *d, BtInsn *out);
bool bt_select_decimal(const BtDecoded *d, BtInsn *out);
bool bt_select_misc(const BtDecoded *d, BtInsn *out);
