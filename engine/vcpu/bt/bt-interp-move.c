// SPDX-License-Identifier: GPL-2.0-or-later
// MOV (general registers and memory), MOVZX MOVSX MOVSXD, LEA, CMOVcc, SETcc, XLAT and the sign
// extensions CBW..CQO (SDM vol. 2). No flags are written.
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

// ---- MOV ----

#define MOVE(bits)                                                                                 \
    static void mov##bits##_rr(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        bt_set##bits(cpu, insn->reg[0], bt_get##bits(cpu, insn->reg[1]));                          \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void mov##bits##_ri(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        bt_set##bits(cpu, insn->reg[0], (uint##bits##_t)insn->immediate);                          \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS_3(mov##bits##_rm, bits, bt_set##bits(cpu, insn->reg[0], value))               \
    BT_WRITE_HANDLERS_3(mov##bits##_mr, bits, bt_get##bits(cpu, insn->reg[1]))                     \
    BT_WRITE_HANDLERS_3(mov##bits##_mi, bits, insn->immediate)

MOVE(8)
MOVE(16)
MOVE(32)
MOVE(64)

#define WIDTHS(form) {mov8_##form, mov16_##form, mov32_##form, mov64_##form}

#define KINDS(form) {WIDTHS(form##_any), WIDTHS(form##_flat), WIDTHS(form##_base)}

static BtHandler *const mov_rr[4] = WIDTHS(rr);
static BtHandler *const mov_ri[4] = WIDTHS(ri);
static BtHandler *const mov_rm[3][4] = KINDS(rm);
static BtHandler *const mov_mr[3][4] = KINDS(mr);
static BtHandler *const mov_mi[3][4] = KINDS(mi);

static bool select_mov(const BtDecoded *d, BtInsn *out)
{
    const ZydisDecodedOperand *to = &d->operand[0];
    const ZydisDecodedOperand *from = &d->operand[1];
    unsigned size = bt_size_index(to->size);
    BtMemoryKind kind = bt_select_memory_kind(d, out);
    if (bt_operand_is_memory(to)) {
        if (bt_operand_is_immediate(from)) {
            out->handler = mov_mi[kind][size];
            return true;
        }
        if (!bt_operand_is_general(from))
            return false; // segment register
        out->reg[1] = bt_operand_register(from);
        out->handler = mov_mr[kind][size];
        return true;
    }
    if (!bt_operand_is_general(to))
        return false; // segment, control or debug register
    out->reg[0] = bt_operand_register(to);
    if (bt_operand_is_immediate(from)) {
        out->handler = mov_ri[size];
    } else if (bt_operand_is_memory(from)) {
        out->handler = mov_rm[kind][size];
    } else {
        if (!bt_operand_is_general(from))
            return false;
        out->reg[1] = bt_operand_register(from);
        out->handler = mov_rr[size];
    }
    return true;
}

// ---- MOVZX, MOVSX, MOVSXD ----

#define EXTEND(name, to, from, type)                                                               \
    static void name##to##_##from##_rr(BtCpu *cpu, const BtInsn *insn)                             \
    {                                                                                              \
        bt_set##to(cpu, insn->reg[0], (uint##to##_t)(type)bt_get##from(cpu, insn->reg[1]));        \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS_3(name##to##_##from##_rm, from,                                               \
                     bt_set##to(cpu, insn->reg[0], (uint##to##_t)(type)value))

EXTEND(movzx, 16, 8, uint8_t)
EXTEND(movzx, 32, 8, uint8_t)
EXTEND(movzx, 64, 8, uint8_t)
EXTEND(movzx, 16, 16, uint16_t)
EXTEND(movzx, 32, 16, uint16_t)
EXTEND(movzx, 64, 16, uint16_t)
EXTEND(movsx, 16, 8, int8_t)
EXTEND(movsx, 32, 8, int8_t)
EXTEND(movsx, 64, 8, int8_t)
EXTEND(movsx, 16, 16, int16_t)
EXTEND(movsx, 32, 16, int16_t)
EXTEND(movsx, 64, 16, int16_t)
EXTEND(movsx, 16, 32, int32_t) // MOVSXD with 66 reads 32 bits on some processors
EXTEND(movsx, 32, 32, int32_t) // MOVSXD without REX.W moves
EXTEND(movsx, 64, 32, int32_t)

// [source width][destination width], by bt_size_index.
typedef struct {
    BtHandler *rr, *rm[3]; // [BtMemoryKind]
} Extend;

#define EXTEND_ROW(name, to, from)                                                                 \
    {name##to##_##from##_rr,                                                                       \
     {name##to##_##from##_rm_any, name##to##_##from##_rm_flat, name##to##_##from##_rm_base}}

static const Extend movzx_handlers[2][4] = {
    {{0}, EXTEND_ROW(movzx, 16, 8), EXTEND_ROW(movzx, 32, 8), EXTEND_ROW(movzx, 64, 8)},
    {{0}, EXTEND_ROW(movzx, 16, 16), EXTEND_ROW(movzx, 32, 16), EXTEND_ROW(movzx, 64, 16)},
};
static const Extend movsx_handlers[3][4] = {
    {{0}, EXTEND_ROW(movsx, 16, 8), EXTEND_ROW(movsx, 32, 8), EXTEND_ROW(movsx, 64, 8)},
    {{0}, EXTEND_ROW(movsx, 16, 16), EXTEND_ROW(movsx, 32, 16), EXTEND_ROW(movsx, 64, 16)},
    {{0}, EXTEND_ROW(movsx, 16, 32), EXTEND_ROW(movsx, 32, 32), EXTEND_ROW(movsx, 64, 32)},
};

static bool select_extend(const BtDecoded *d, BtInsn *out)
{
    const ZydisDecodedOperand *from = &d->operand[1];
    unsigned to_size = bt_size_index(d->operand[0].size);
    unsigned from_size = bt_size_index(from->size);
    const Extend *row;
    if (d->insn.mnemonic == ZYDIS_MNEMONIC_MOVZX)
        row = from_size < 2 ? &movzx_handlers[from_size][to_size] : NULL;
    else
        row = from_size < 3 ? &movsx_handlers[from_size][to_size] : NULL;
    if (!row || !row->rr)
        return false;
    out->reg[0] = bt_operand_register(&d->operand[0]);
    if (bt_operand_is_memory(from)) {
        out->handler = row->rm[bt_select_memory_kind(d, out)];
    } else {
        out->reg[1] = bt_operand_register(from);
        out->handler = row->rr;
    }
    return true;
}

// ---- LEA ----

#define LEA(bits)                                                                                  \
    static void lea##bits(BtCpu *cpu, const BtInsn *insn)                                          \
    {                                                                                              \
        bt_set##bits(cpu, insn->reg[0], (uint##bits##_t)bt_effective_address(cpu, insn));          \
        BT_NEXT(cpu, insn);                                                                        \
    }

LEA(16)
LEA(32)
LEA(64)

// Addresses as wide as the destination or wider need no cut of their own.
static void lea64_wide(BtCpu *cpu, const BtInsn *insn)
{
    cpu->gpr[insn->reg[0]] = cpu->gpr[insn->base] + (cpu->gpr[insn->index] << insn->scale) +
                             (uint64_t)insn->displacement;
    BT_NEXT(cpu, insn);
}

static void lea64_base(BtCpu *cpu, const BtInsn *insn)
{
    cpu->gpr[insn->reg[0]] = cpu->gpr[insn->base] + (uint64_t)insn->displacement;
    BT_NEXT(cpu, insn);
}

static void lea32_wide(BtCpu *cpu, const BtInsn *insn)
{
    cpu->gpr[insn->reg[0]] =
        (uint32_t)(cpu->gpr[insn->base] + (cpu->gpr[insn->index] << insn->scale) +
                   (uint64_t)insn->displacement);
    BT_NEXT(cpu, insn);
}

static bool select_lea(const BtDecoded *d, BtInsn *out)
{
    out->reg[0] = bt_operand_register(&d->operand[0]);
    switch (d->operand[0].size) {
    case 16:
        out->handler = lea16;
        return true;
    case 32:
        out->handler = out->address_bits >= 32 ? lea32_wide : lea32;
        return true;
    default:
        out->handler = out->address_bits != 64            ? lea64
                       : out->index == BT_REG_ZERO ? lea64_base
                                                          : lea64_wide;
        return true;
    }
}

// ---- CMOVcc, SETcc ----

// Without a branch: guests use CMOV where a branch would be hard to predict.
#define SELECT(condition, bits, yes, no)                                                           \
    (uint##bits##_t)((no) ^ (((no) ^ (yes)) & (uint##bits##_t)-(uint##bits##_t)!!(condition)))

// The memory operand is read, and a 32-bit destination is extended, either way.
#define CMOV(n, cc, condition, bits)                                                               \
    static void cmov##cc##bits##_rr(BtCpu *cpu, const BtInsn *insn)                                \
    {                                                                                              \
        unsigned f = cpu->flags_status;                                                            \
        uint##bits##_t value = bt_get##bits(cpu, insn->reg[1]);                                    \
        uint##bits##_t old = bt_get##bits(cpu, insn->reg[0]);                                      \
        bt_set##bits(cpu, insn->reg[0], SELECT(condition, bits, value, old));                      \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS(cmov##cc##bits##_rm, bits, {                                                  \
        unsigned f = cpu->flags_status;                                                            \
        uint##bits##_t old = bt_get##bits(cpu, insn->reg[0]);                                      \
        bt_set##bits(cpu, insn->reg[0], SELECT(condition, bits, value, old));                      \
    })

#define SET(n, cc, condition)                                                                      \
    static void set##cc##_r(BtCpu *cpu, const BtInsn *insn)                                        \
    {                                                                                              \
        unsigned f = cpu->flags_status;                                                            \
        bt_set8(cpu, insn->reg[0], !!(condition));                                                 \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void set##cc##_m(BtCpu *cpu, const BtInsn *insn)                                        \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        unsigned f = cpu->flags_status;                                                            \
        bt_write8(cpu, insn->segment, bt_effective_address(cpu, insn), !!(condition));             \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define CMOV16(n, cc, condition) CMOV(n, cc, condition, 16)
#define CMOV32(n, cc, condition) CMOV(n, cc, condition, 32)
#define CMOV64(n, cc, condition) CMOV(n, cc, condition, 64)

BT_CONDITIONS(CMOV16)
BT_CONDITIONS(CMOV32)
BT_CONDITIONS(CMOV64)
BT_CONDITIONS(SET)

typedef struct {
    BtHandler *rr[3], *rm[2][3]; // 16, 32, 64
    BtHandler *set_r, *set_m;
} Conditional;

#define CONDITIONAL_ROW(n, cc, condition)                                                          \
    [n] = {                                                                                        \
        .rr = {cmov##cc##16_rr, cmov##cc##32_rr, cmov##cc##64_rr},                                 \
        .rm = {{cmov##cc##16_rm_any, cmov##cc##32_rm_any, cmov##cc##64_rm_any},                    \
               {cmov##cc##16_rm_flat, cmov##cc##32_rm_flat, cmov##cc##64_rm_flat}},                \
        .set_r = set##cc##_r,                                                                      \
        .set_m = set##cc##_m,                                                                      \
    },

static const Conditional conditionals[16] = {BT_CONDITIONS(CONDITIONAL_ROW)};

static bool select_conditional(const BtDecoded *d, BtInsn *out)
{
    // 0F 40..4F and 0F 90..9F.
    const Conditional *row = &conditionals[d->insn.opcode & 15];
    if ((d->insn.opcode & 0xf0) == 0x90) {
        if (bt_operand_is_memory(&d->operand[0])) {
            out->handler = row->set_m;
        } else {
            out->reg[0] = bt_operand_register(&d->operand[0]);
            out->handler = row->set_r;
        }
        return true;
    }
    unsigned size = bt_size_index(d->operand[0].size) - 1;
    out->reg[0] = bt_operand_register(&d->operand[0]);
    if (bt_operand_is_memory(&d->operand[1])) {
        out->handler = row->rm[bt_select_is_flat(d, out)][size];
    } else {
        out->reg[1] = bt_operand_register(&d->operand[1]);
        out->handler = row->rr[size];
    }
    return true;
}

// ---- CBW CWDE CDQE, CWD CDQ CQO, XLAT ----

#define SIMPLE(name, statement)                                                                    \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        statement;                                                                                 \
        BT_NEXT(cpu, insn);                                                                        \
    }

SIMPLE(cbw, bt_set16(cpu, VCPU_RAX, (uint16_t)(int8_t)cpu->gpr[VCPU_RAX]))
SIMPLE(cwde, bt_set32(cpu, VCPU_RAX, (uint32_t)(int16_t)cpu->gpr[VCPU_RAX]))
SIMPLE(cdqe, cpu->gpr[VCPU_RAX] = (uint64_t)(int32_t)cpu->gpr[VCPU_RAX])
SIMPLE(cwd, bt_set16(cpu, VCPU_RDX, (uint16_t)((int16_t)cpu->gpr[VCPU_RAX] >> 15)))
SIMPLE(cdq, bt_set32(cpu, VCPU_RDX, (uint32_t)((int32_t)cpu->gpr[VCPU_RAX] >> 31)))
SIMPLE(cqo, cpu->gpr[VCPU_RDX] = (uint64_t)((int64_t)cpu->gpr[VCPU_RAX] >> 63))

static void xlat(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t offset = cpu->gpr[VCPU_RBX] + (uint8_t)cpu->gpr[VCPU_RAX];
    if (insn->address_bits == 32)
        offset = (uint32_t)offset;
    else if (insn->address_bits == 16)
        offset = (uint16_t)offset;
    bt_set8(cpu, 0, bt_read8(cpu, insn->segment, offset));
    BT_NEXT(cpu, insn);
}

static bool take(BtInsn *out, BtHandler *handler)
{
    out->handler = handler;
    return true;
}

static bool select_any(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOV: return select_mov(d, out);
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD: return select_extend(d, out);
    case ZYDIS_MNEMONIC_LEA: return select_lea(d, out);
    case ZYDIS_MNEMONIC_CBW: return take(out, cbw);
    case ZYDIS_MNEMONIC_CWDE: return take(out, cwde);
    case ZYDIS_MNEMONIC_CDQE: return take(out, cdqe);
    case ZYDIS_MNEMONIC_CWD: return take(out, cwd);
    case ZYDIS_MNEMONIC_CDQ: return take(out, cdq);
    case ZYDIS_MNEMONIC_CQO: return take(out, cqo);
    case ZYDIS_MNEMONIC_XLAT:
        bt_select_memory(&d->operand[0], out);
        return take(out, xlat);
    default: return select_conditional(d, out);
    }
}

bool bt_select_move(const BtDecoded *d, BtInsn *out)
{
    if (!select_any(d, out))
        return false;
    bool conditional = d->insn.cpu_flags->tested != 0;
    if (!conditional && d->insn.mnemonic != ZYDIS_MNEMONIC_XLAT &&
        (!(out->flags & BT_INSN_HAS_MEMORY) || d->insn.mnemonic == ZYDIS_MNEMONIC_LEA))
        out->flags |= BT_INSN_QUIET;
    return true;
}
