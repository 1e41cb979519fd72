// SPDX-License-Identifier: GPL-2.0-or-later
// SHL SHR SAR ROL ROR RCL RCR and SHLD SHRD (SDM vol. 2). The host's own instruction runs with the
// guest's flags loaded before it, because a count of zero keeps them all, rotates keep most of
// them and RCL and RCR take CF.
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

// Sets the host's six status flags from `status` in AX: OF by an overflowing add, the rest by SAHF.
#define LOAD_FLAGS "addb $0x7f, %%al\n\tsahf\n\t"
#define KEEP_FLAGS "\n\tlahf\n\tseto %%al"

#define HOST_SHIFT(op, bits, suffix)                                                               \
    static inline uint##bits##_t host_##op##bits(uint##bits##_t a, uint8_t count, uint16_t *f)     \
    {                                                                                              \
        __asm__(LOAD_FLAGS #op #suffix " %%cl, %[a]" KEEP_FLAGS                                    \
                : [a] "+r"(a), "+a"(*f)                                                            \
                : "c"(count)                                                                       \
                : "cc");                                                                           \
        return a;                                                                                  \
    }

// SHL, SHR and SAR by 1 to 31 (63) write every flag.
#define HOST_SHIFT_NOT_ZERO(op, bits, suffix)                                                      \
    static inline uint##bits##_t host_##op##bits##_not_zero(uint##bits##_t a, uint8_t count,       \
                                                            uint16_t *f)                           \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__(#op #suffix " %%cl, %[a]" KEEP_FLAGS                                               \
                : [a] "+&r"(a), "=&a"(status)                                                      \
                : "c"(count)                                                                       \
                : "cc");                                                                           \
        *f = status;                                                                               \
        return a;                                                                                  \
    }

#define HOST_DOUBLE(op, bits, suffix)                                                              \
    static inline uint##bits##_t host_##op##bits(uint##bits##_t a, uint##bits##_t b,               \
                                                 uint8_t count, uint16_t *f)                       \
    {                                                                                              \
        __asm__(LOAD_FLAGS #op #suffix " %%cl, %[b], %[a]" KEEP_FLAGS                              \
                : [a] "+r"(a), "+a"(*f)                                                            \
                : [b] "r"(b), "c"(count)                                                           \
                : "cc");                                                                           \
        return a;                                                                                  \
    }

// `count` of each form: constant, or CL.
#define SHIFT_FORMS(op, bits)                                                                      \
    static void op##bits##_ri(BtCpu *cpu, const BtInsn *insn)                                      \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_##op##bits(bt_get##bits(cpu, insn->reg[0]), insn->extra, &f));           \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void op##bits##_rc(BtCpu *cpu, const BtInsn *insn)                                      \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_##op##bits(bt_get##bits(cpu, insn->reg[0]),                              \
                                     (uint8_t)cpu->gpr[VCPU_RCX], &f));                            \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_MODIFY_HANDLERS(op##bits##_mi, bits, value = host_##op##bits(value, insn->extra, &f))       \
    BT_MODIFY_HANDLERS(op##bits##_mc, bits,                                                        \
                       value = host_##op##bits(value, (uint8_t)cpu->gpr[VCPU_RCX], &f))

#define SHIFT_NOT_ZERO_FORM(op, bits)                                                              \
    static void op##bits##_rn(BtCpu *cpu, const BtInsn *insn)                                      \
    {                                                                                              \
        uint16_t f;                                                                                \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_##op##bits##_not_zero(bt_get##bits(cpu, insn->reg[0]), insn->extra,      \
                                                &f));                                              \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define DOUBLE_FORMS(op, bits)                                                                     \
    static void op##bits##_r(BtCpu *cpu, const BtInsn *insn)                                       \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        uint8_t count = insn->reg[2] ? (uint8_t)cpu->gpr[VCPU_RCX] : insn->extra;                  \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_##op##bits(bt_get##bits(cpu, insn->reg[0]),                              \
                                     bt_get##bits(cpu, insn->reg[1]), count, &f));                 \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_MODIFY_HANDLERS(op##bits##_m, bits, {                                                       \
        uint8_t count = insn->reg[2] ? (uint8_t)cpu->gpr[VCPU_RCX] : insn->extra;                  \
        value = host_##op##bits(value, bt_get##bits(cpu, insn->reg[1]), count, &f);                \
    })

#define SHIFT(op, bits, suffix) HOST_SHIFT(op, bits, suffix) SHIFT_FORMS(op, bits)
#define SHIFT_PLAIN(op, bits, suffix)                                                              \
    SHIFT(op, bits, suffix)                                                                        \
    HOST_SHIFT_NOT_ZERO(op, bits, suffix)                                                          \
    SHIFT_NOT_ZERO_FORM(op, bits)
#define DOUBLE(op, bits, suffix) HOST_DOUBLE(op, bits, suffix) DOUBLE_FORMS(op, bits)

#define ALL(KIND, op) KIND(op, 8, b) KIND(op, 16, w) KIND(op, 32, l) KIND(op, 64, q)

ALL(SHIFT_PLAIN, shl)
ALL(SHIFT_PLAIN, shr)
ALL(SHIFT_PLAIN, sar)
ALL(SHIFT, rol)
ALL(SHIFT, ror)
ALL(SHIFT, rcl)
ALL(SHIFT, rcr)
DOUBLE(shld, 16, w)
DOUBLE(shld, 32, l)
DOUBLE(shld, 64, q)
DOUBLE(shrd, 16, w)
DOUBLE(shrd, 32, l)
DOUBLE(shrd, 64, q)

// By width; rn: by a constant that is not zero, or NULL.
typedef struct {
    BtHandler *ri[4], *rc[4], *rn[4], *mi[2][4], *mc[2][4];
} Shift;

typedef struct {
    BtHandler *r[4], *m[2][4];
} Double;

#define WIDTHS(op, form) {op##8_##form, op##16_##form, op##32_##form, op##64_##form}
#define SHIFT_TABLE(op, ...)                                                                       \
    static const Shift op##_handlers = {                                                           \
        .ri = WIDTHS(op, ri),                                                                      \
        .rc = WIDTHS(op, rc),                                                                      \
        .mi = {WIDTHS(op, mi_any), WIDTHS(op, mi_flat)},                                           \
        .mc = {WIDTHS(op, mc_any), WIDTHS(op, mc_flat)},                                           \
        __VA_ARGS__                                                                                \
    };
#define DOUBLE_TABLE(op)                                                                           \
    static const Double op##_handlers = {                                                          \
        .r = {NULL, op##16_r, op##32_r, op##64_r},                                                 \
        .m = {{NULL, op##16_m_any, op##32_m_any, op##64_m_any},                                    \
              {NULL, op##16_m_flat, op##32_m_flat, op##64_m_flat}},                                \
    };

SHIFT_TABLE(shl, .rn = WIDTHS(shl, rn))
SHIFT_TABLE(shr, .rn = WIDTHS(shr, rn))
SHIFT_TABLE(sar, .rn = WIDTHS(sar, rn))
SHIFT_TABLE(rol)
SHIFT_TABLE(ror)
SHIFT_TABLE(rcl)
SHIFT_TABLE(rcr)
DOUBLE_TABLE(shld)
DOUBLE_TABLE(shrd)

static bool select_shift(const Shift *table, const BtDecoded *d, BtInsn *out)
{
    unsigned size = bt_size_index(d->operand[0].size);
    bool constant = bt_operand_is_immediate(&d->operand[1]);
    if (constant)
        out->extra = (uint8_t)d->operand[1].imm.value.u;
    if (bt_operand_is_memory(&d->operand[0])) {
        bool flat = bt_select_is_flat(d, out);
        out->handler = constant ? table->mi[flat][size] : table->mc[flat][size];
        return true;
    }
    out->reg[0] = bt_operand_register(&d->operand[0]);
    unsigned mask = d->operand[0].size == 64 ? 63 : 31;
    if (constant && table->rn[size] && (out->extra & mask) != 0) {
        out->handler = table->rn[size];
        out->reg[2] = true; // writes all flags (bt-fuse.c)
        return true;
    }
    out->handler = constant ? table->ri[size] : table->rc[size];
    return true;
}

static bool select_double(const Double *table, const BtDecoded *d, BtInsn *out)
{
    unsigned size = bt_size_index(d->operand[0].size);
    out->reg[1] = bt_operand_register(&d->operand[1]);
    out->reg[2] = !bt_operand_is_immediate(&d->operand[2]);
    if (!out->reg[2])
        out->extra = (uint8_t)d->operand[2].imm.value.u;
    if (bt_operand_is_memory(&d->operand[0])) {
        out->handler = table->m[bt_select_is_flat(d, out)][size];
    } else {
        out->reg[0] = bt_operand_register(&d->operand[0]);
        out->handler = table->r[size];
    }
    return true;
}

bool bt_select_shift(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_SHL: return select_shift(&shl_handlers, d, out);
    case ZYDIS_MNEMONIC_SHR: return select_shift(&shr_handlers, d, out);
    case ZYDIS_MNEMONIC_SAR: return select_shift(&sar_handlers, d, out);
    case ZYDIS_MNEMONIC_ROL: return select_shift(&rol_handlers, d, out);
    case ZYDIS_MNEMONIC_ROR: return select_shift(&ror_handlers, d, out);
    case ZYDIS_MNEMONIC_RCL: return select_shift(&rcl_handlers, d, out);
    case ZYDIS_MNEMONIC_RCR: return select_shift(&rcr_handlers, d, out);
    case ZYDIS_MNEMONIC_SHLD: return select_double(&shld_handlers, d, out);
    case ZYDIS_MNEMONIC_SHRD: return select_double(&shrd_handlers, d, out);
    default: return false;
    }
}
