// SPDX-License-Identifier: GPL-2.0-or-later
// Bits: BT BTS BTR BTC, BSF BSR LZCNT TZCNT POPCNT, BMI1, BMI2, ADX, MOVBE, BSWAP, CRC32 (SDM
// vol. 2). The host's own instructions; CPUID offers a guest only those that the host has.
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

#define LOAD_FLAGS "addb $0x7f, %%al\n\tsahf\n\t"
#define KEEP_FLAGS "\n\tlahf\n\tseto %%al"

// ---- BT BTS BTR BTC: only CF is defined ----

#define HOST_BIT(op, bits, suffix)                                                                 \
    static inline uint##bits##_t host_##op##bits(uint##bits##_t a, uint##bits##_t index,           \
                                                 uint16_t *f)                                      \
    {                                                                                              \
        __asm__(LOAD_FLAGS #op #suffix " %[b], %[a]" KEEP_FLAGS                                    \
                : [a] "+r"(a), "+a"(*f)                                                            \
                : [b] "r"((uint##bits##_t)(index & (bits - 1)))                                    \
                : "cc");                                                                           \
        return a;                                                                                  \
    }

// A bit string in memory: the register's whole value counts bits from the operand's address on.
#define STRING_OFFSET(bits)                                                                        \
    ((uint64_t)((int64_t)(int##bits##_t)bt_get##bits(cpu, insn->reg[1]) >>                         \
                (bits == 16 ? 4 : bits == 32 ? 5 : 6))                                             \
     << (bits == 16 ? 1 : bits == 32 ? 2 : 3))

static uint64_t wrap_address(const BtInsn *insn, uint64_t offset)
{
    return insn->address_bits == 64   ? offset
           : insn->address_bits == 32 ? (uint32_t)offset
                                      : (uint16_t)offset;
}

// In memory a plain update runs in one kind only; locked ones go by the host's pointer.
#define BIT_MEMORY(op, bits, suffix, form, index, extra_offset)                                    \
    static void op##bits##_##form(BtCpu *cpu, const BtInsn *insn)                                  \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset =                                                                          \
            wrap_address(insn, bt_effective_address(cpu, insn) + (extra_offset));                  \
        void *p = bt_any_writable(cpu, insn, offset, bits / 8);                                    \
        uint16_t f = cpu->flags_status;                                                            \
        uint##bits##_t value =                                                                     \
            p ? bt_host_load##bits(p) : bt_read##bits(cpu, insn->segment, offset);                 \
        value = host_##op##bits(value, (uint##bits##_t)(index), &f);                               \
        if (p)                                                                                     \
            bt_host_store##bits(p, value);                                                         \
        else                                                                                       \
            bt_write##bits(cpu, insn->segment, offset, value);                                     \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void op##bits##_##form##_lock(BtCpu *cpu, const BtInsn *insn)                           \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset =                                                                          \
            wrap_address(insn, bt_effective_address(cpu, insn) + (extra_offset));                  \
        uint16_t f = cpu->flags_status;                                                            \
        uint##bits##_t bit = (uint##bits##_t)(index) & (bits - 1);                                 \
        uint##bits##_t *p = bt_atomic_pointer(cpu, insn->segment, offset, bits / 8);               \
        if (p) {                                                                                   \
            __asm__(LOAD_FLAGS "lock " #op #suffix " %[b], %[p]" KEEP_FLAGS                        \
                    : [p] "+m"(*p), "+a"(f)                                                        \
                    : [b] "r"(bit)                                                                 \
                    : "cc", "memory");                                                             \
        } else {                                                                                   \
            bt_atomic_lock(cpu);                                                                   \
            uint##bits##_t value = bt_read##bits(cpu, insn->segment, offset);                      \
            value = host_##op##bits(value, bit, &f);                                               \
            bt_write##bits(cpu, insn->segment, offset, value);                                     \
            bt_atomic_unlock(cpu);                                                                 \
        }                                                                                          \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define BIT_READ(op, bits, suffix, form, index, extra_offset)                                      \
    static void op##bits##_##form(BtCpu *cpu, const BtInsn *insn)                                  \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset =                                                                          \
            wrap_address(insn, bt_effective_address(cpu, insn) + (extra_offset));                  \
        uint16_t f = cpu->flags_status;                                                            \
        host_##op##bits(bt_read##bits(cpu, insn->segment, offset), (uint##bits##_t)(index), &f);   \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define BIT_REGISTER(op, bits, form, index)                                                        \
    static void op##bits##_##form(BtCpu *cpu, const BtInsn *insn)                                  \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        bt_set##bits(cpu, insn->reg[0],                                                            \
                     host_##op##bits(bt_get##bits(cpu, insn->reg[0]), (uint##bits##_t)(index),     \
                                     &f));                                                         \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

// BT writes no register: not even the upper half of one.
#define BIT_TEST(op, bits, form, index)                                                            \
    static void op##bits##_##form(BtCpu *cpu, const BtInsn *insn)                                  \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        host_##op##bits(bt_get##bits(cpu, insn->reg[0]), (uint##bits##_t)(index), &f);             \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define BIT_FORMS(op, bits, suffix, MEMORY, REGISTER)                                              \
    HOST_BIT(op, bits, suffix)                                                                     \
    REGISTER(op, bits, rr, bt_get##bits(cpu, insn->reg[1]))                                        \
    REGISTER(op, bits, ri, insn->immediate)                                                        \
    MEMORY(op, bits, suffix, mr, bt_get##bits(cpu, insn->reg[1]), STRING_OFFSET(bits))             \
    MEMORY(op, bits, suffix, mi, insn->immediate, 0)

#define BIT_ALL(op, MEMORY, REGISTER)                                                              \
    BIT_FORMS(op, 16, w, MEMORY, REGISTER)                                                         \
    BIT_FORMS(op, 32, l, MEMORY, REGISTER)                                                         \
    BIT_FORMS(op, 64, q, MEMORY, REGISTER)

BIT_ALL(bt, BIT_READ, BIT_TEST)
BIT_ALL(bts, BIT_MEMORY, BIT_REGISTER)
BIT_ALL(btr, BIT_MEMORY, BIT_REGISTER)
BIT_ALL(btc, BIT_MEMORY, BIT_REGISTER)

// By width 16, 32, 64; [locked].
typedef struct {
    BtHandler *rr[3], *ri[3], *mr[2][3], *mi[2][3];
} Bit;

#define BIT_WIDTHS(op, form) {op##16_##form, op##32_##form, op##64_##form}
#define BIT_TABLE(op)                                                                              \
    static const Bit op##_handlers = {                                                             \
        .rr = BIT_WIDTHS(op, rr),                                                                  \
        .ri = BIT_WIDTHS(op, ri),                                                                  \
        .mr = {BIT_WIDTHS(op, mr), BIT_WIDTHS(op, mr_lock)},                                       \
        .mi = {BIT_WIDTHS(op, mi), BIT_WIDTHS(op, mi_lock)},                                       \
    };

static const Bit bt_handlers = {
    .rr = BIT_WIDTHS(bt, rr),
    .ri = BIT_WIDTHS(bt, ri),
    .mr = {BIT_WIDTHS(bt, mr)},
    .mi = {BIT_WIDTHS(bt, mi)},
};
BIT_TABLE(bts)
BIT_TABLE(btr)
BIT_TABLE(btc)

static bool select_bit(const Bit *table, const BtDecoded *d, BtInsn *out)
{
    unsigned size = bt_size_index(d->operand[0].size) - 1;
    bool locked = out->flags & BT_INSN_LOCK;
    bool constant = bt_operand_is_immediate(&d->operand[1]);
    if (!constant)
        out->reg[1] = bt_operand_register(&d->operand[1]);
    if (bt_operand_is_memory(&d->operand[0])) {
        out->handler = constant ? table->mi[locked][size] : table->mr[locked][size];
    } else {
        out->reg[0] = bt_operand_register(&d->operand[0]);
        out->handler = constant ? table->ri[size] : table->rr[size];
    }
    return out->handler != NULL;
}

// ---- One source, one destination: BSF BSR LZCNT TZCNT POPCNT BLSI BLSMSK BLSR ADCX ADOX ----

// BSF and BSR of zero leave the destination as it is, the upper half of a 32-bit one too.
#define KEEPS_bsf (f & BT_STATUS_ZF)
#define KEEPS_bsr (f & BT_STATUS_ZF)
#define KEEPS_lzcnt false
#define KEEPS_tzcnt false
#define KEEPS_popcnt false
#define KEEPS_adcx false
#define KEEPS_adox false
#define KEEPS_blsi false
#define KEEPS_blsmsk false
#define KEEPS_blsr false

#define TWO_OPERANDS(op, bits, suffix)                                                             \
    static inline uint##bits##_t host_##op##bits(uint##bits##_t to, uint##bits##_t from,           \
                                                 uint16_t *f)                                      \
    {                                                                                              \
        __asm__(LOAD_FLAGS #op #suffix " %[b], %[a]" KEEP_FLAGS                                    \
                : [a] "+&r"(to), "+&a"(*f)                                                         \
                : [b] "rm"(from)                                                                   \
                : "cc");                                                                           \
        return to;                                                                                 \
    }                                                                                              \
    static void op##bits##_rr(BtCpu *cpu, const BtInsn *insn)                                      \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        uint##bits##_t to = host_##op##bits(bt_get##bits(cpu, insn->reg[0]),                       \
                                            bt_get##bits(cpu, insn->reg[1]), &f);                  \
        if (!KEEPS_##op)                                                                           \
            bt_set##bits(cpu, insn->reg[0], to);                                                   \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS(op##bits##_rm, bits, {                                                        \
        uint16_t f = cpu->flags_status;                                                            \
        uint##bits##_t to = host_##op##bits(bt_get##bits(cpu, insn->reg[0]), value, &f);           \
        if (!KEEPS_##op)                                                                           \
            bt_set##bits(cpu, insn->reg[0], to);                                                   \
        cpu->flags_status = f;                                                                     \
    })

typedef struct {
    BtHandler *rr[3], *rm[2][3];
} Two;

#define TWO_TABLE(op, w16, w16_any, w16_flat)                                                      \
    static const Two op##_handlers = {                                                             \
        .rr = {w16, op##32_rr, op##64_rr},                                                         \
        .rm = {{w16_any, op##32_rm_any, op##64_rm_any},                                            \
               {w16_flat, op##32_rm_flat, op##64_rm_flat}},                                        \
    };

#define TWO_WIDE(op)                                                                               \
    TWO_OPERANDS(op, 32, l)                                                                        \
    TWO_OPERANDS(op, 64, q)                                                                        \
    TWO_TABLE(op, NULL, NULL, NULL)
#define TWO_ALL(op)                                                                                \
    TWO_OPERANDS(op, 16, w)                                                                        \
    TWO_OPERANDS(op, 32, l)                                                                        \
    TWO_OPERANDS(op, 64, q)                                                                        \
    TWO_TABLE(op, op##16_rr, op##16_rm_any, op##16_rm_flat)

TWO_ALL(lzcnt)
TWO_ALL(tzcnt)
TWO_ALL(popcnt)
TWO_WIDE(adcx)
TWO_WIDE(adox)
TWO_WIDE(blsi)
TWO_WIDE(blsmsk)
TWO_WIDE(blsr)
TWO_ALL(bsf)
TWO_ALL(bsr)

static bool select_two(const Two *table, const BtDecoded *d, BtInsn *out)
{
    unsigned size = bt_size_index(d->operand[0].size) - 1;
    out->reg[0] = bt_operand_register(&d->operand[0]);
    if (bt_operand_is_memory(&d->operand[1])) {
        out->handler = table->rm[bt_select_is_flat(d, out)][size];
    } else {
        out->reg[1] = bt_operand_register(&d->operand[1]);
        out->handler = table->rr[size];
    }
    return out->handler != NULL;
}

// ---- VEX forms with three operands. reg[0] destination, reg[1] and reg[2] or memory ----

// `first` and `second` as AT&T writes them after the mnemonic; x is the operand that may be in
// memory, y the register one.
#define THREE(op, bits, suffix, order, flags_before, flags_after)                                  \
    static inline uint##bits##_t host_##op##bits(uint##bits##_t x, uint##bits##_t y, uint16_t *f)  \
    {                                                                                              \
        uint##bits##_t to;                                                                         \
        uint16_t status = *f;                                                                      \
        __asm__(flags_before #op #suffix " " order ", %[to]" flags_after                           \
                : [to] "=&r"(to), "+&a"(status)                                                    \
                : [x] "r"(x), [y] "r"(y)                                                           \
                : "cc");                                                                           \
        *f = status;                                                                               \
        return to;                                                                                 \
    }                                                                                              \
    static void op##bits##_r(BtCpu *cpu, const BtInsn *insn)                                       \
    {                                                                                              \
        uint16_t f = cpu->flags_status;                                                            \
        cpu->gpr[insn->reg[0]] = host_##op##bits(bt_get##bits(cpu, insn->reg[1]),                  \
                                                 bt_get##bits(cpu, insn->reg[2]), &f);             \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS(op##bits##_m, bits, {                                                         \
        uint16_t f = cpu->flags_status;                                                            \
        cpu->gpr[insn->reg[0]] = host_##op##bits(value, bt_get##bits(cpu, insn->reg[2]), &f);      \
        cpu->flags_status = f;                                                                     \
    })

typedef struct {
    BtHandler *r[2], *m[2][2]; // 32, 64
    bool second_is_x;          // operand[2] is the one that may be in memory, else operand[1]
} Three;

#define THREE_ALL(op, order, before, after, second)                                                \
    THREE(op, 32, l, order, before, after)                                                         \
    THREE(op, 64, q, order, before, after)                                                         \
    static const Three op##_handlers = {                                                           \
        .r = {op##32_r, op##64_r},                                                                 \
        .m = {{op##32_m_any, op##64_m_any}, {op##32_m_flat, op##64_m_flat}},                       \
        .second_is_x = second,                                                                     \
    };

THREE_ALL(andn, "%[x], %[y]", LOAD_FLAGS, KEEP_FLAGS, true)
THREE_ALL(bextr, "%[y], %[x]", LOAD_FLAGS, KEEP_FLAGS, false)
THREE_ALL(bzhi, "%[y], %[x]", LOAD_FLAGS, KEEP_FLAGS, false)
THREE_ALL(pdep, "%[x], %[y]", "", "", true)
THREE_ALL(pext, "%[x], %[y]", "", "", true)
THREE_ALL(sarx, "%[y], %[x]", "", "", false)
THREE_ALL(shlx, "%[y], %[x]", "", "", false)
THREE_ALL(shrx, "%[y], %[x]", "", "", false)

static bool select_three(const Three *table, const BtDecoded *d, BtInsn *out)
{
    const ZydisDecodedOperand *x = &d->operand[table->second_is_x ? 2 : 1];
    const ZydisDecodedOperand *y = &d->operand[table->second_is_x ? 1 : 2];
    unsigned size = d->operand[0].size == 64;
    out->reg[0] = bt_operand_register(&d->operand[0]);
    out->reg[2] = bt_operand_register(y);
    if (bt_operand_is_memory(x)) {
        out->handler = table->m[bt_select_is_flat(d, out)][size];
    } else {
        out->reg[1] = bt_operand_register(x);
        out->handler = table->r[size];
    }
    return true;
}

// ---- RORX, MULX ----

#define ROTATE(value, bits) ((value) >> n | (value) << ((bits - n) & (bits - 1)))
#define RORX(bits)                                                                                 \
    static void rorx##bits##_r(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        unsigned n = insn->immediate & (bits - 1);                                                 \
        uint##bits##_t value = bt_get##bits(cpu, insn->reg[1]);                                    \
        cpu->gpr[insn->reg[0]] = ROTATE(value, bits);                                              \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS(rorx##bits##_m, bits, {                                                       \
        unsigned n = insn->immediate & (bits - 1);                                                 \
        cpu->gpr[insn->reg[0]] = ROTATE(value, bits);                                              \
    })

RORX(32)
RORX(64)

// The low half first: where both destinations are the same register, it keeps the high half.
static inline void mulx_store32(BtCpu *cpu, const BtInsn *insn, uint32_t value)
{
    uint64_t product = (uint64_t)(uint32_t)cpu->gpr[VCPU_RDX] * value;
    cpu->gpr[insn->reg[1]] = (uint32_t)product;
    cpu->gpr[insn->reg[0]] = product >> 32;
}

static inline void mulx_store64(BtCpu *cpu, const BtInsn *insn, uint64_t value)
{
    unsigned __int128 product = (unsigned __int128)cpu->gpr[VCPU_RDX] * value;
    cpu->gpr[insn->reg[1]] = (uint64_t)product;
    cpu->gpr[insn->reg[0]] = (uint64_t)(product >> 64);
}

#define MULX(bits)                                                                                 \
    static void mulx##bits##_r(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        mulx_store##bits(cpu, insn, bt_get##bits(cpu, insn->reg[2]));                              \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS(mulx##bits##_m, bits, mulx_store##bits(cpu, insn, value))

MULX(32)
MULX(64)

static BtHandler *const rorx_handlers[3][2] = {
    {rorx32_m_any, rorx64_m_any}, {rorx32_m_flat, rorx64_m_flat}, {rorx32_r, rorx64_r}};
static BtHandler *const mulx_handlers[3][2] = {
    {mulx32_m_any, mulx64_m_any}, {mulx32_m_flat, mulx64_m_flat}, {mulx32_r, mulx64_r}};

static bool select_rorx(const BtDecoded *d, BtInsn *out)
{
    bool memory = bt_operand_is_memory(&d->operand[1]);
    out->reg[0] = bt_operand_register(&d->operand[0]);
    if (!memory)
        out->reg[1] = bt_operand_register(&d->operand[1]);
    out->handler = rorx_handlers[memory ? bt_select_is_flat(d, out) : 2][d->operand[0].size == 64];
    return true;
}

static bool select_mulx(const BtDecoded *d, BtInsn *out)
{
    bool memory = bt_operand_is_memory(&d->operand[2]);
    out->reg[0] = bt_operand_register(&d->operand[0]);
    out->reg[1] = bt_operand_register(&d->operand[1]);
    if (!memory)
        out->reg[2] = bt_operand_register(&d->operand[2]);
    out->handler = mulx_handlers[memory ? bt_select_is_flat(d, out) : 2][d->operand[0].size == 64];
    return true;
}

// ---- MOVBE, BSWAP, CRC32 ----

#define MOVBE(bits)                                                                                \
    BT_READ_HANDLERS(movbe##bits##_rm, bits,                                                       \
                     bt_set##bits(cpu, insn->reg[0], __builtin_bswap##bits(value)))                \
    BT_WRITE_HANDLERS(movbe##bits##_mr, bits,                                                      \
                      __builtin_bswap##bits(bt_get##bits(cpu, insn->reg[1])))

MOVBE(16)
MOVBE(32)
MOVBE(64)

static BtHandler *const movbe_rm[2][3] = {
    {movbe16_rm_any, movbe32_rm_any, movbe64_rm_any},
    {movbe16_rm_flat, movbe32_rm_flat, movbe64_rm_flat}};
static BtHandler *const movbe_mr[2][3] = {
    {movbe16_mr_any, movbe32_mr_any, movbe64_mr_any},
    {movbe16_mr_flat, movbe32_mr_flat, movbe64_mr_flat}};

static bool select_movbe(const BtDecoded *d, BtInsn *out)
{
    bool flat = bt_select_is_flat(d, out);
    unsigned size = bt_size_index(d->operand[0].size) - 1;
    if (bt_operand_is_memory(&d->operand[0])) {
        out->reg[1] = bt_operand_register(&d->operand[1]);
        out->handler = movbe_mr[flat][size];
    } else {
        out->reg[0] = bt_operand_register(&d->operand[0]);
        out->handler = movbe_rm[flat][size];
    }
    return true;
}

static void bswap64(BtCpu *cpu, const BtInsn *insn)
{
    cpu->gpr[insn->reg[0]] = __builtin_bswap64(cpu->gpr[insn->reg[0]]);
    BT_NEXT(cpu, insn);
}

static void bswap32(BtCpu *cpu, const BtInsn *insn)
{
    cpu->gpr[insn->reg[0]] = __builtin_bswap32((uint32_t)cpu->gpr[insn->reg[0]]);
    BT_NEXT(cpu, insn);
}

// Undefined by the manual; processors clear the 16 bits.
static void bswap16(BtCpu *cpu, const BtInsn *insn)
{
    bt_set16(cpu, insn->reg[0], 0);
    BT_NEXT(cpu, insn);
}

static bool select_bswap(const BtDecoded *d, BtInsn *out)
{
    out->reg[0] = bt_operand_register(&d->operand[0]);
    out->handler = d->operand[0].size == 64   ? bswap64
                   : d->operand[0].size == 32 ? bswap32
                                              : bswap16;
    return true;
}

#define CRC32(bits, suffix)                                                                        \
    static inline void crc32_step##bits(BtCpu *cpu, const BtInsn *insn, uint##bits##_t value)      \
    {                                                                                              \
        uint64_t crc = (uint32_t)cpu->gpr[insn->reg[0]];                                           \
        __asm__("crc32" #suffix " %[b], %" CRC32_WIDTH_##bits "[a]"                                \
                : [a] "+r"(crc)                                                                    \
                : [b] "rm"(value));                                                                \
        cpu->gpr[insn->reg[0]] = (uint32_t)crc;                                                    \
    }                                                                                              \
    static void crc32_##bits##_r(BtCpu *cpu, const BtInsn *insn)                                   \
    {                                                                                              \
        crc32_step##bits(cpu, insn, bt_get##bits(cpu, insn->reg[1]));                              \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    BT_READ_HANDLERS(crc32_##bits##_m, bits, crc32_step##bits(cpu, insn, value))

#define CRC32_WIDTH_8 "k"
#define CRC32_WIDTH_16 "k"
#define CRC32_WIDTH_32 "k"
#define CRC32_WIDTH_64 "q"

CRC32(8, b)
CRC32(16, w)
CRC32(32, l)
CRC32(64, q)

static BtHandler *const crc32_handlers[3][4] = {
    {crc32_8_m_any, crc32_16_m_any, crc32_32_m_any, crc32_64_m_any},
    {crc32_8_m_flat, crc32_16_m_flat, crc32_32_m_flat, crc32_64_m_flat},
    {crc32_8_r, crc32_16_r, crc32_32_r, crc32_64_r},
};

static bool select_crc32(const BtDecoded *d, BtInsn *out)
{
    bool memory = bt_operand_is_memory(&d->operand[1]);
    out->reg[0] = bt_operand_register(&d->operand[0]);
    if (!memory)
        out->reg[1] = bt_operand_register(&d->operand[1]);
    out->handler = crc32_handlers[memory ? bt_select_is_flat(d, out) : 2]
                                 [bt_size_index(d->operand[1].size)];
    return true;
}

bool bt_select_bit(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_BT: return select_bit(&bt_handlers, d, out);
    case ZYDIS_MNEMONIC_BTS: return select_bit(&bts_handlers, d, out);
    case ZYDIS_MNEMONIC_BTR: return select_bit(&btr_handlers, d, out);
    case ZYDIS_MNEMONIC_BTC: return select_bit(&btc_handlers, d, out);
    case ZYDIS_MNEMONIC_BSF: return select_two(&bsf_handlers, d, out);
    case ZYDIS_MNEMONIC_BSR: return select_two(&bsr_handlers, d, out);
    case ZYDIS_MNEMONIC_LZCNT: return select_two(&lzcnt_handlers, d, out);
    case ZYDIS_MNEMONIC_TZCNT: return select_two(&tzcnt_handlers, d, out);
    case ZYDIS_MNEMONIC_POPCNT: return select_two(&popcnt_handlers, d, out);
    case ZYDIS_MNEMONIC_ADCX: return select_two(&adcx_handlers, d, out);
    case ZYDIS_MNEMONIC_ADOX: return select_two(&adox_handlers, d, out);
    case ZYDIS_MNEMONIC_BLSI: return select_two(&blsi_handlers, d, out);
    case ZYDIS_MNEMONIC_BLSMSK: return select_two(&blsmsk_handlers, d, out);
    case ZYDIS_MNEMONIC_BLSR: return select_two(&blsr_handlers, d, out);
    case ZYDIS_MNEMONIC_ANDN: return select_three(&andn_handlers, d, out);
    case ZYDIS_MNEMONIC_BEXTR: return select_three(&bextr_handlers, d, out);
    case ZYDIS_MNEMONIC_BZHI: return select_three(&bzhi_handlers, d, out);
    case ZYDIS_MNEMONIC_PDEP: return select_three(&pdep_handlers, d, out);
    case ZYDIS_MNEMONIC_PEXT: return select_three(&pext_handlers, d, out);
    case ZYDIS_MNEMONIC_SARX: return select_three(&sarx_handlers, d, out);
    case ZYDIS_MNEMONIC_SHLX: return select_three(&shlx_handlers, d, out);
    case ZYDIS_MNEMONIC_SHRX: return select_three(&shrx_handlers, d, out);
    case ZYDIS_MNEMONIC_RORX: return select_rorx(d, out);
    case ZYDIS_MNEMONIC_MULX: return select_mulx(d, out);
    case ZYDIS_MNEMONIC_MOVBE: return select_movbe(d, out);
    case ZYDIS_MNEMONIC_BSWAP: return select_bswap(d, out);
    case ZYDIS_MNEMONIC_CRC32: return select_crc32(d, out);
    default: return false;
    }
}
