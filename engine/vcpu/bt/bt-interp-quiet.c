// SPDX-License-Identifier: GPL-2.0-or-later
// Register arithmetic without flags, for where bt-fuse.c has shown that nobody sees them.
#include "engine/vcpu/bt/bt-fuse.h"
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

#define QUIET(name, bits, expression)                                                              \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        uint##bits##_t a = bt_get##bits(cpu, insn->reg[0]);                                        \
        cpu->gpr[insn->reg[0]] = (uint##bits##_t)(expression);                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define BINARY(op, bits, operator)                                                                 \
    QUIET(op##bits##_rr, bits, a operator bt_get##bits(cpu, insn->reg[1]))                         \
    QUIET(op##bits##_ri, bits, a operator(uint##bits##_t) insn->immediate)

// The count, in `extra`, is below the width.
#define SHIFTS(bits)                                                                               \
    QUIET(shl##bits, bits, a << (insn->extra & (bits - 1)))                                        \
    QUIET(shr##bits, bits, a >> (insn->extra & (bits - 1)))                                        \
    QUIET(sar##bits, bits, (int##bits##_t)a >> (insn->extra & (bits - 1)))

BINARY(add, 32, +)
BINARY(add, 64, +)
BINARY(sub, 32, -)
BINARY(sub, 64, -)
BINARY(and, 32, &)
BINARY(and, 64, &)
BINARY(or, 32, |)
BINARY(or, 64, |)
BINARY(xor, 32, ^)
BINARY(xor, 64, ^)
QUIET(inc32, 32, a + 1)
QUIET(inc64, 64, a + 1)
QUIET(dec32, 32, a - 1)
QUIET(dec64, 64, a - 1)
QUIET(neg32, 32, -a)
QUIET(neg64, 64, -a)
SHIFTS(32)
SHIFTS(64)

static BtHandler *choose(const BtInsn *insn, BtHandler *rr32, BtHandler *rr64, BtHandler *ri32,
                         BtHandler *ri64)
{
    bool wide = insn->operand_size == 8;
    if (insn->extra == BT_FORM_RR)
        return wide ? rr64 : rr32;
    return insn->extra == BT_FORM_RI ? (wide ? ri64 : ri32) : NULL;
}

#define CHOOSE_BINARY(op) choose(insn, op##32_rr, op##64_rr, op##32_ri, op##64_ri)
#define CHOOSE_UNARY(op) choose(insn, op##32, op##64, NULL, NULL)
#define CHOOSE_SHIFT(op) (!insn->reg[2] ? NULL : insn->operand_size == 8 ? op##64 : op##32)

BtHandler *bt_quiet_handler(const BtInsn *insn)
{
    if (insn->operand_size < 4)
        return NULL;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_ADD: return CHOOSE_BINARY(add);
    case ZYDIS_MNEMONIC_SUB: return CHOOSE_BINARY(sub);
    case ZYDIS_MNEMONIC_AND: return CHOOSE_BINARY(and);
    case ZYDIS_MNEMONIC_OR: return CHOOSE_BINARY(or);
    case ZYDIS_MNEMONIC_XOR: return CHOOSE_BINARY(xor);
    case ZYDIS_MNEMONIC_INC: return CHOOSE_UNARY(inc);
    case ZYDIS_MNEMONIC_DEC: return CHOOSE_UNARY(dec);
    case ZYDIS_MNEMONIC_NEG: return CHOOSE_UNARY(neg);
    case ZYDIS_MNEMONIC_SHL: return CHOOSE_SHIFT(shl);
    case ZYDIS_MNEMONIC_SHR: return CHOOSE_SHIFT(shr);
    case ZYDIS_MNEMONIC_SAR: return CHOOSE_SHIFT(sar);
    default: return NULL;
    }
}
