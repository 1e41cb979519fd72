// SPDX-License-Identifier: GPL-2.0-or-later
// ADD OR ADC SBB AND SUB XOR CMP TEST, INC DEC NEG NOT (SDM vol. 2), every width and form, locked
// ones included. The host's own instruction does the work (bt-handler.h).
#include "engine/vcpu/bt/bt-fuse.h"
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

// Handlers of one operation, by width (8, 16, 32, 64). First letter: the destination (register or
// memory), second: the source (register, immediate, memory).
typedef struct {
    BtHandler *rr[4], *ri[4];
    BtHandler *rm[3][4], *mr[3][4], *mi[3][4]; // [BtMemoryKind]
    BtHandler *mr_lock[4], *mi_lock[4];
} Binary;

typedef struct {
    BtHandler *r[4], *m[3][4], *m_lock[4];
} Unary;

// A locked host instruction on *p.
#define LOCK_BINARY(op, suffix, source)                                                            \
    __asm__("lock " #op #suffix " %[b], %[p]\n\tlahf\n\tseto %%al"                                 \
            : [p] "+m"(*p), "=&a"(f)                                                               \
            : [b] "r"(source)                                                                      \
            : "cc", "memory")
#define LOCK_CARRY(op, suffix, source)                                                             \
    do {                                                                                           \
        uint16_t before = f;                                                                       \
        __asm__("btw $8, %[f]\n\tlock " #op #suffix " %[b], %[p]\n\tlahf\n\tseto %%al"             \
                : [p] "+m"(*p), "=&a"(f)                                                           \
                : [b] "r"(source), [f] "r"(before)                                                 \
                : "cc", "memory");                                                                 \
    } while (0)
#define LOCK_STEP(op, suffix)                                                                      \
    do {                                                                                           \
        uint16_t before = f;                                                                       \
        __asm__("btw $8, %[f]\n\tlock " #op #suffix " %[p]\n\tlahf\n\tseto %%al"                   \
                : [p] "+m"(*p), "=&a"(f)                                                           \
                : [f] "r"(before)                                                                  \
                : "cc", "memory");                                                                 \
    } while (0)
#define LOCK_NEGATE(op, suffix)                                                                    \
    __asm__("lock " #op #suffix " %[p]\n\tlahf\n\tseto %%al"                                       \
            : [p] "+m"(*p), "=&a"(f)                                                               \
            :                                                                                      \
            : "cc", "memory")
#define LOCK_NOT(op, suffix)                                                                       \
    __asm__("lock " #op #suffix " %[p]" : [p] "+m"(*p) : : "memory")

// Register destination; what is the same for operations with and without a result.
#define SOURCE_REGISTER(bits) bt_get##bits(cpu, insn->reg[1])
#define SOURCE_IMMEDIATE(bits) ((uint##bits##_t)insn->immediate)

#define REGISTER_HANDLER(op, bits, form, source)                                                   \
    static void op##bits##_##form(BtCpu *cpu, const BtInsn *insn)                                  \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     bt_host_##op##bits(bt_get##bits(cpu, insn->reg[0]), source, &f));             \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define COMPARE_HANDLER(op, bits, form, source)                                                    \
    static void op##bits##_##form(BtCpu *cpu, const BtInsn *insn)                                  \
    {                                                                                              \
        uint16_t f;                                                                                \
        bt_host_##op##bits(bt_get##bits(cpu, insn->reg[0]), source, &f);                           \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define BINARY(op, bits, suffix, LOCKED)                                                           \
    REGISTER_HANDLER(op, bits, rr, SOURCE_REGISTER(bits))                                          \
    REGISTER_HANDLER(op, bits, ri, SOURCE_IMMEDIATE(bits))                                         \
    BT_READ_HANDLERS_3(op##bits##_rm, bits, {                                                      \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     bt_host_##op##bits(bt_get##bits(cpu, insn->reg[0]), value, &f));              \
        cpu->flags_status = f;                                                                     \
    })                                                                                             \
    BT_MODIFY_HANDLERS_3(op##bits##_mr, bits,                                                      \
                       value = bt_host_##op##bits(value, SOURCE_REGISTER(bits), &f))               \
    BT_MODIFY_HANDLERS_3(op##bits##_mi, bits,                                                      \
                       value = bt_host_##op##bits(value, SOURCE_IMMEDIATE(bits), &f))              \
    BT_LOCK_HANDLER(op##bits##_mr, bits, LOCKED(op, suffix, SOURCE_REGISTER(bits)),                \
                    value = bt_host_##op##bits(value, SOURCE_REGISTER(bits), &f))                  \
    BT_LOCK_HANDLER(op##bits##_mi, bits, LOCKED(op, suffix, SOURCE_IMMEDIATE(bits)),               \
                    value = bt_host_##op##bits(value, SOURCE_IMMEDIATE(bits), &f))

#define COMPARE(op, bits)                                                                          \
    COMPARE_HANDLER(op, bits, rr, SOURCE_REGISTER(bits))                                           \
    COMPARE_HANDLER(op, bits, ri, SOURCE_IMMEDIATE(bits))                                          \
    BT_READ_HANDLERS_3(op##bits##_rm, bits, {                                                      \
        uint16_t f;                                                                                \
        bt_host_##op##bits(bt_get##bits(cpu, insn->reg[0]), value, &f);                            \
        cpu->flags_status = f;                                                                     \
    })                                                                                             \
    BT_READ_HANDLERS_3(op##bits##_mr, bits, {                                                      \
        uint16_t f;                                                                                \
        bt_host_##op##bits(value, SOURCE_REGISTER(bits), &f);                                      \
        cpu->flags_status = f;                                                                     \
    })                                                                                             \
    BT_READ_HANDLERS_3(op##bits##_mi, bits, {                                                      \
        uint16_t f;                                                                                \
        bt_host_##op##bits(value, SOURCE_IMMEDIATE(bits), &f);                                     \
        cpu->flags_status = f;                                                                     \
    })

#define UNARY(op, bits, suffix, LOCKED)                                                            \
    static void op##bits##_r(BtCpu *cpu, const BtInsn *insn)                                       \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     bt_host_##op##bits(bt_get##bits(cpu, insn->reg[0]), &f));                     \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_MODIFY_HANDLERS_3(op##bits##_m, bits, value = bt_host_##op##bits(value, &f))                \
    BT_LOCK_HANDLER(op##bits##_m, bits, LOCKED(op, suffix),                                        \
                    value = bt_host_##op##bits(value, &f))

#define WIDTHS(op, form) {op##8_##form, op##16_##form, op##32_##form, op##64_##form}

#define KINDS(op, form)                                                                            \
    {WIDTHS(op, form##_any), WIDTHS(op, form##_flat), WIDTHS(op, form##_base)}

#define BINARY_ALL(op, LOCKED)                                                                     \
    BINARY(op, 8, b, LOCKED)                                                                       \
    BINARY(op, 16, w, LOCKED)                                                                      \
    BINARY(op, 32, l, LOCKED)                                                                      \
    BINARY(op, 64, q, LOCKED)                                                                      \
    static const Binary op##_handlers = {                                                          \
        .rr = WIDTHS(op, rr), .ri = WIDTHS(op, ri),                                                \
        .rm = KINDS(op, rm),                                                                       \
        .mr = KINDS(op, mr),                                                                       \
        .mi = KINDS(op, mi),                                                                       \
        .mr_lock = WIDTHS(op, mr_lock), .mi_lock = WIDTHS(op, mi_lock),                            \
    };

#define COMPARE_ALL(op)                                                                            \
    COMPARE(op, 8)                                                                                 \
    COMPARE(op, 16)                                                                                \
    COMPARE(op, 32)                                                                                \
    COMPARE(op, 64)                                                                                \
    static const Binary op##_handlers = {                                                          \
        .rr = WIDTHS(op, rr), .ri = WIDTHS(op, ri),                                                \
        .rm = KINDS(op, rm),                                                                       \
        .mr = KINDS(op, mr),                                                                       \
        .mi = KINDS(op, mi),                                                                       \
    };

#define UNARY_ALL(op, LOCKED)                                                                      \
    UNARY(op, 8, b, LOCKED)                                                                        \
    UNARY(op, 16, w, LOCKED)                                                                       \
    UNARY(op, 32, l, LOCKED)                                                                       \
    UNARY(op, 64, q, LOCKED)                                                                       \
    static const Unary op##_handlers = {                                                           \
        .r = WIDTHS(op, r), .m = KINDS(op, m),                                                     \
        .m_lock = WIDTHS(op, m_lock),                                                              \
    };

BINARY_ALL(add, LOCK_BINARY)
BINARY_ALL(or, LOCK_BINARY)
BINARY_ALL(and, LOCK_BINARY)
BINARY_ALL(sub, LOCK_BINARY)
BINARY_ALL(xor, LOCK_BINARY)
BINARY_ALL(adc, LOCK_CARRY)
BINARY_ALL(sbb, LOCK_CARRY)
COMPARE_ALL(cmp)
COMPARE_ALL(test)
UNARY_ALL(inc, LOCK_STEP)
UNARY_ALL(dec, LOCK_STEP)
UNARY_ALL(neg, LOCK_NEGATE)
UNARY_ALL(not, LOCK_NOT)

static bool select_binary(const Binary *table, const BtDecoded *d, BtInsn *out)
{
    const ZydisDecodedOperand *to = &d->operand[0];
    const ZydisDecodedOperand *from = &d->operand[1];
    unsigned size = bt_size_index(to->size);
    BtMemoryKind kind = bt_select_memory_kind(d, out);
    if (bt_operand_is_memory(to)) {
        bool locked = out->flags & BT_INSN_LOCK;
        if (!locked && kind == BT_KIND_BASE)
            out->extra = bt_operand_is_immediate(from) ? BT_FORM_MI : BT_FORM_MR;
        if (bt_operand_is_immediate(from)) {
            out->handler = locked ? table->mi_lock[size] : table->mi[kind][size];
        } else {
            out->reg[1] = bt_operand_register(from);
            out->handler = locked ? table->mr_lock[size] : table->mr[kind][size];
        }
        return out->handler != NULL;
    }
    out->reg[0] = bt_operand_register(to);
    if (bt_operand_is_memory(from)) {
        out->extra = kind == BT_KIND_BASE ? BT_FORM_RM : BT_FORM_NONE;
        out->handler = table->rm[kind][size];
    } else if (bt_operand_is_immediate(from)) {
        out->extra = BT_FORM_RI;
        out->handler = table->ri[size];
    } else {
        out->extra = BT_FORM_RR;
        out->reg[1] = bt_operand_register(from);
        out->handler = table->rr[size];
    }
    return true;
}

static bool select_unary(const Unary *table, const BtDecoded *d, BtInsn *out)
{
    unsigned size = bt_size_index(d->operand[0].size);
    if (bt_operand_is_memory(&d->operand[0])) {
        out->handler = out->flags & BT_INSN_LOCK
                           ? table->m_lock[size]
                           : table->m[bt_select_memory_kind(d, out)][size];
    } else {
        out->extra = BT_FORM_RR;
        out->reg[0] = bt_operand_register(&d->operand[0]);
        out->handler = table->r[size];
    }
    return true;
}

bool bt_select_alu(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_ADD: return select_binary(&add_handlers, d, out);
    case ZYDIS_MNEMONIC_OR: return select_binary(&or_handlers, d, out);
    case ZYDIS_MNEMONIC_ADC: return select_binary(&adc_handlers, d, out);
    case ZYDIS_MNEMONIC_SBB: return select_binary(&sbb_handlers, d, out);
    case ZYDIS_MNEMONIC_AND: return select_binary(&and_handlers, d, out);
    case ZYDIS_MNEMONIC_SUB: return select_binary(&sub_handlers, d, out);
    case ZYDIS_MNEMONIC_XOR: return select_binary(&xor_handlers, d, out);
    case ZYDIS_MNEMONIC_CMP: return select_binary(&cmp_handlers, d, out);
    case ZYDIS_MNEMONIC_TEST: return select_binary(&test_handlers, d, out);
    case ZYDIS_MNEMONIC_INC: return select_unary(&inc_handlers, d, out);
    case ZYDIS_MNEMONIC_DEC: return select_unary(&dec_handlers, d, out);
    case ZYDIS_MNEMONIC_NEG: return select_unary(&neg_handlers, d, out);
    case ZYDIS_MNEMONIC_NOT: return select_unary(&not_handlers, d, out);
    default: return false;
    }
}
