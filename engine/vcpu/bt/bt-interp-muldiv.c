// SPDX-License-Identifier: GPL-2.0-or-later
// MUL IMUL DIV IDIV (SDM vol. 2). The host's instruction, flags loaded before it
// (some processors keep those that the manual calls undefined). A division that would fault on
// the host is found before it is tried.
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

#define LOAD_FLAGS "addb $0x7f, %%al\n\tsahf\n\t"
#define KEEP_FLAGS "\n\tlahf\n\tseto %%al"

// ---- Two and three operands ----

#define HOST_IMUL(bits, suffix)                                                                    \
    static inline uint##bits##_t host_imul##bits(uint##bits##_t a, uint##bits##_t b, uint16_t *f)  \
    {                                                                                              \
        __asm__(LOAD_FLAGS "imul" #suffix " %[b], %[a]" KEEP_FLAGS                                 \
                : [a] "+&r"(a), "+&a"(*f)                                                          \
                : [b] "rm"(b)                                                                      \
                : "cc");                                                                           \
        return a;                                                                                  \
    }                                                                                              \
    static void imul##bits##_rr(BtCpu *cpu, const BtInsn *insn)                                    \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_imul##bits(bt_get##bits(cpu, insn->reg[0]),                              \
                                     bt_get##bits(cpu, insn->reg[1]), &f));                        \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void imul##bits##_rri(BtCpu *cpu, const BtInsn *insn)                                   \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_imul##bits(bt_get##bits(cpu, insn->reg[1]),                              \
                                     (uint##bits##_t)insn->immediate, &f));                        \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS(imul##bits##_rm, bits, {                                                      \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_imul##bits(bt_get##bits(cpu, insn->reg[0]), value, &f));                 \
        cpu->flags_status = f;                                                                     \
    })                                                                                             \
    BT_READ_HANDLERS(imul##bits##_rmi, bits, {                                                     \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_imul##bits(value, (uint##bits##_t)insn->immediate, &f));                 \
        cpu->flags_status = f;                                                                     \
    })

HOST_IMUL(16, w)
HOST_IMUL(32, l)
HOST_IMUL(64, q)

// ---- One operand: rDX:rAX = rAX * source ----

#define HOST_WIDE(op, bits, suffix, ax)                                                            \
    static inline void host_##op##_wide##bits(BtCpu *cpu, uint##bits##_t b)                        \
    {                                                                                              \
        uint64_t a = cpu->flags_status; /* AX, then the product's low half */                      \
        uint##bits##_t low, high;                                                                  \
        uint##bits##_t factor = bt_get##bits(cpu, VCPU_RAX);                                       \
        __asm__(LOAD_FLAGS "mov" #suffix " %[x], %%" #ax "\n\t" #op #suffix                        \
                           " %[b]\n\tmov" #suffix " %%" #ax ", %[low]" KEEP_FLAGS                  \
                : "+&a"(a), "=&d"(high), [low] "=&r"(low)                                          \
                : [x] "r"(factor), [b] "r"(b)                                                      \
                : "cc");                                                                           \
        bt_set##bits(cpu, VCPU_RAX, low);                                                          \
        bt_set##bits(cpu, VCPU_RDX, high);                                                         \
        cpu->flags_status = (uint16_t)a;                                                           \
    }

#define HOST_BYTE(op)                                                                              \
    static inline void host_##op##_wide8(BtCpu *cpu, uint8_t b)                                    \
    {                                                                                              \
        uint64_t a = cpu->flags_status;                                                            \
        uint16_t product;                                                                          \
        uint8_t factor = bt_get8(cpu, 0);                                                          \
        __asm__(LOAD_FLAGS "movb %[x], %%al\n\t" #op "b %[b]\n\tmovw %%ax, %[product]" KEEP_FLAGS  \
                : "+&a"(a), [product] "=&r"(product)                                               \
                : [x] "r"(factor), [b] "r"(b)                                                      \
                : "cc");                                                                           \
        bt_set16(cpu, VCPU_RAX, product);                                                          \
        cpu->flags_status = (uint16_t)a;                                                           \
    }

HOST_BYTE(mul)
HOST_WIDE(mul, 16, w, ax)
HOST_WIDE(mul, 32, l, eax)
HOST_WIDE(mul, 64, q, rax)
HOST_BYTE(imul)
HOST_WIDE(imul, 16, w, ax)
HOST_WIDE(imul, 32, l, eax)
HOST_WIDE(imul, 64, q, rax)

// ---- Division. false: #DE ----

// Whether a signed division by `divisor` fits: |dividend| / |divisor| is below 2^(bits-1), or equal
// to it with a negative quotient.
static inline bool signed_fits(__int128 dividend, int64_t divisor, unsigned bits)
{
    if (divisor == 0)
        return false;
    unsigned __int128 d =
        dividend < 0 ? -(unsigned __int128)dividend : (unsigned __int128)dividend;
    uint64_t by = divisor < 0 ? -(uint64_t)divisor : (uint64_t)divisor;
    uint64_t limit = (UINT64_C(1) << (bits - 1)) - ((dividend < 0) == (divisor < 0) ? 1 : 0);
    // quotient <= limit: d < (limit + 1) * by
    return d < ((unsigned __int128)limit + 1) * by;
}

static bool fits16(uint16_t high, uint16_t low, uint16_t divisor)
{
    return signed_fits((int32_t)((uint32_t)high << 16 | low), (int16_t)divisor, 16);
}

static bool fits32(uint32_t high, uint32_t low, uint32_t divisor)
{
    return signed_fits((int64_t)((uint64_t)high << 32 | low), (int32_t)divisor, 32);
}

static bool fits64(uint64_t high, uint64_t low, uint64_t divisor)
{
    // -2^127 has no magnitude in 127 bits, but it cannot fit either.
    return signed_fits((__int128)((unsigned __int128)high << 64 | low), (int64_t)divisor, 64);
}

#define HOST_DIVIDE(op, bits, suffix, ax, fits)                                                    \
    static inline bool host_##op##_wide##bits(BtCpu *cpu, uint##bits##_t divisor)                  \
    {                                                                                              \
        uint##bits##_t low = bt_get##bits(cpu, VCPU_RAX);                                          \
        uint##bits##_t high = bt_get##bits(cpu, VCPU_RDX);                                         \
        if (BT_UNLIKELY(!(fits)))                                                                  \
            return false;                                                                          \
        uint64_t a = cpu->flags_status;                                                            \
        uint##bits##_t quotient;                                                                   \
        __asm__(LOAD_FLAGS "mov" #suffix " %[low], %%" #ax "\n\t" #op #suffix                      \
                           " %[divisor]\n\tmov" #suffix " %%" #ax ", %[q]" KEEP_FLAGS              \
                : "+&a"(a), "+&d"(high), [q] "=&r"(quotient)                                       \
                : [low] "r"(low), [divisor] "r"(divisor)                                           \
                : "cc");                                                                           \
        bt_set##bits(cpu, VCPU_RAX, quotient);                                                     \
        bt_set##bits(cpu, VCPU_RDX, high);                                                         \
        cpu->flags_status = (uint16_t)a;                                                           \
        return true;                                                                               \
    }

#define HOST_DIVIDE_BYTE(op, fits)                                                                 \
    static inline bool host_##op##_wide8(BtCpu *cpu, uint8_t divisor)                              \
    {                                                                                              \
        uint16_t dividend = bt_get16(cpu, VCPU_RAX);                                               \
        if (BT_UNLIKELY(!(fits)))                                                                  \
            return false;                                                                          \
        uint64_t a = cpu->flags_status;                                                            \
        uint16_t result;                                                                           \
        __asm__(LOAD_FLAGS "movw %[dividend], %%ax\n\t" #op                                        \
                           "b %[divisor]\n\tmovw %%ax, %[result]" KEEP_FLAGS                       \
                : "+&a"(a), [result] "=&r"(result)                                                 \
                : [dividend] "r"(dividend), [divisor] "r"(divisor)                                 \
                : "cc");                                                                           \
        bt_set16(cpu, VCPU_RAX, result);                                                           \
        cpu->flags_status = (uint16_t)a;                                                           \
        return true;                                                                               \
    }

HOST_DIVIDE_BYTE(div, divisor > dividend >> 8)
HOST_DIVIDE(div, 16, w, ax, high < divisor)
HOST_DIVIDE(div, 32, l, eax, high < divisor)
HOST_DIVIDE(div, 64, q, rax, high < divisor)
HOST_DIVIDE_BYTE(idiv, signed_fits((int16_t)dividend, (int8_t)divisor, 8))
HOST_DIVIDE(idiv, 16, w, ax, fits16(high, low, divisor))
HOST_DIVIDE(idiv, 32, l, eax, fits32(high, low, divisor))
HOST_DIVIDE(idiv, 64, q, rax, fits64(high, low, divisor))

#define WIDE_FORMS(op, bits, call)                                                                 \
    static void op##bits##_r(BtCpu *cpu, const BtInsn *insn)                                       \
    {                                                                                              \
        uint##bits##_t value = bt_get##bits(cpu, insn->reg[0]);                                    \
        call;                                                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void op##bits##_m(BtCpu *cpu, const BtInsn *insn)                                       \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint##bits##_t value =                                                                     \
            bt_read##bits(cpu, insn->segment, bt_effective_address(cpu, insn));                    \
        call;                                                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define MULTIPLY(op, bits) WIDE_FORMS(op, bits, host_##op##_wide##bits(cpu, value))
#define DIVIDE(op, bits)                                                                           \
    WIDE_FORMS(op, bits, if (BT_UNLIKELY(!host_##op##_wide##bits(cpu, value))) {                   \
        BT_BEGIN(cpu, insn);                                                                       \
        bt_raise(cpu, BT_DE);                                                                      \
    })
#define ALL(KIND, op) KIND(op, 8) KIND(op, 16) KIND(op, 32) KIND(op, 64)

ALL(MULTIPLY, mul)
ALL(MULTIPLY, imul)
ALL(DIVIDE, div)
ALL(DIVIDE, idiv)

#define WIDTHS(op, form) {op##8_##form, op##16_##form, op##32_##form, op##64_##form}
#define FORMS(op) {WIDTHS(op, r), WIDTHS(op, m)}

static BtHandler *const mul_handlers[2][4] = FORMS(mul);
static BtHandler *const imul_handlers[2][4] = FORMS(imul);
static BtHandler *const div_handlers[2][4] = FORMS(div);
static BtHandler *const idiv_handlers[2][4] = FORMS(idiv);
static BtHandler *const imul_rr[4] = {NULL, imul16_rr, imul32_rr, imul64_rr};
static BtHandler *const imul_rri[4] = {NULL, imul16_rri, imul32_rri, imul64_rri};
static BtHandler *const imul_rm[2][4] = {{NULL, imul16_rm_any, imul32_rm_any, imul64_rm_any},
                                         {NULL, imul16_rm_flat, imul32_rm_flat, imul64_rm_flat}};
static BtHandler *const imul_rmi[2][4] = {
    {NULL, imul16_rmi_any, imul32_rmi_any, imul64_rmi_any},
    {NULL, imul16_rmi_flat, imul32_rmi_flat, imul64_rmi_flat}};

static bool select_wide(BtHandler *const table[2][4], const BtDecoded *d, BtInsn *out)
{
    unsigned size = bt_size_index(d->operand[0].size);
    bool memory = bt_operand_is_memory(&d->operand[0]);
    if (!memory)
        out->reg[0] = bt_operand_register(&d->operand[0]);
    out->handler = table[memory][size];
    return true;
}

static bool select_imul(const BtDecoded *d, BtInsn *out)
{
    if (d->insn.operand_count_visible == 1)
        return select_wide(imul_handlers, d, out);
    unsigned size = bt_size_index(d->operand[0].size);
    bool three = d->insn.operand_count_visible == 3;
    out->reg[0] = bt_operand_register(&d->operand[0]);
    if (bt_operand_is_memory(&d->operand[1])) {
        bool flat = bt_select_is_flat(d, out);
        out->handler = three ? imul_rmi[flat][size] : imul_rm[flat][size];
    } else {
        out->reg[1] = bt_operand_register(&d->operand[1]);
        out->handler = three ? imul_rri[size] : imul_rr[size];
    }
    return true;
}

bool bt_select_muldiv(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_MUL: return select_wide(mul_handlers, d, out);
    case ZYDIS_MNEMONIC_IMUL: return select_imul(d, out);
    case ZYDIS_MNEMONIC_DIV: return select_wide(div_handlers, d, out);
    case ZYDIS_MNEMONIC_IDIV: return select_wide(idiv_handlers, d, out);
    default: return false;
    }
}
