// SPDX-License-Identifier: GPL-2.0-or-later
// MOVS CMPS STOS LODS SCAS with REP, REPE, REPNE (SDM vol. 2). Registers are brought up to date
// after every element or run of elements, so a fault or an interrupt in the middle finds what the
// manual wants. Where DF is 0 and a run lies in plain RAM within one page on both sides, the host's
// memmove or a fill loop does it.
#include "engine/vcpu/bt/bt-follow.h"
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

#include <glib.h>

static inline uint64_t address_mask(const BtInsn *insn)
{
    return insn->address_bits == 64   ? UINT64_MAX
           : insn->address_bits == 32 ? UINT32_MAX
                                      : UINT16_MAX;
}

// Writes an address or count register at the instruction's address size.
static inline void set_register(BtCpu *cpu, const BtInsn *insn, unsigned reg, uint64_t value)
{
    if (insn->address_bits == 16)
        bt_set16(cpu, reg, (uint16_t)value);
    else
        cpu->gpr[reg] = value & address_mask(insn);
}

static inline void advance(BtCpu *cpu, const BtInsn *insn, unsigned reg, int64_t bytes)
{
    if (bytes == 0) // nothing was done yet: the upper half stays
        return;
    set_register(cpu, insn, reg, cpu->gpr[reg] + (uint64_t)bytes);
}

static inline uint64_t count_left(const BtCpu *cpu, const BtInsn *insn)
{
    return cpu->gpr[VCPU_RCX] & address_mask(insn);
}

static inline int64_t step_of(const BtCpu *cpu, unsigned size)
{
    return cpu->rflags_rest & BT_FLAG_DF ? -(int64_t)size : (int64_t)size;
}

static inline bool must_poll(const BtCpu *cpu)
{
    return __atomic_load_n(&cpu->request, __ATOMIC_RELAXED) & cpu->request_mask &
           bt_follow_string_requests(cpu);
}

// Bytes from `offset` up that lie in one page, in the segment and below the address wrap, and their
// host address; 0 where the element path must look.
static uint64_t run_at(BtCpu *cpu, const BtInsn *insn, unsigned segment, uint64_t offset,
                       bool write, uint8_t **ret_host)
{
    const BtSegment *s = &cpu->segment[segment];
    uint64_t linear = offset + s->base;
    uint64_t room = 0x1000 - (linear & 0xfff);
    if (cpu->mode != BT_MODE_LONG) {
        if (offset < s->low || offset > s->high ||
            !(s->allows & (write ? BT_ALLOW_WRITE : BT_ALLOW_READ)))
            return 0;
        linear = (uint32_t)linear;
        room = MIN(room, s->high - offset + 1);
    }
    uint64_t to_wrap = address_mask(insn) - offset;
    if (to_wrap < room)
        room = to_wrap + 1;
    *ret_host = write ? bt_flat_writable(cpu, linear, 1)
                      : (uint8_t *)bt_flat_readable(cpu, linear, 1);
    return *ret_host ? room : 0;
}

// ---- MOVS ----

static uint64_t move_run(BtCpu *cpu, const BtInsn *insn, uint64_t count, unsigned size)
{
    uint8_t *from, *to;
    uint64_t mask = address_mask(insn);
    uint64_t from_room =
        run_at(cpu, insn, insn->segment, cpu->gpr[VCPU_RSI] & mask, false, &from);
    if (!from_room)
        return 0;
    uint64_t to_room = run_at(cpu, insn, VCPU_ES, cpu->gpr[VCPU_RDI] & mask, true, &to);
    uint64_t n = MIN(count, MIN(from_room, to_room) / size);
    uint64_t bytes = n * size;
    // A destination inside the source repeats what was just written.
    if (n == 0 || (to > from && to < from + bytes))
        return 0;
    memmove(to, from, bytes);
    advance(cpu, insn, VCPU_RSI, (int64_t)bytes);
    advance(cpu, insn, VCPU_RDI, (int64_t)bytes);
    return n;
}

#define MOVS(bits)                                                                                 \
    static inline void movs_one##bits(BtCpu *cpu, const BtInsn *insn, int64_t step)                \
    {                                                                                              \
        uint64_t mask = address_mask(insn);                                                        \
        uint##bits##_t value = bt_read##bits(cpu, insn->segment, cpu->gpr[VCPU_RSI] & mask);       \
        bt_write##bits(cpu, VCPU_ES, cpu->gpr[VCPU_RDI] & mask, value);                            \
        advance(cpu, insn, VCPU_RSI, step);                                                        \
        advance(cpu, insn, VCPU_RDI, step);                                                        \
    }                                                                                              \
    static void movs##bits(BtCpu *cpu, const BtInsn *insn)                                         \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        movs_one##bits(cpu, insn, step_of(cpu, bits / 8));                                         \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void rep_movs##bits(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        int64_t step = step_of(cpu, bits / 8);                                                     \
        for (uint64_t count = count_left(cpu, insn); count;) {                                     \
            uint64_t done = step > 0 ? move_run(cpu, insn, count, bits / 8) : 0;                   \
            if (done == 0) {                                                                       \
                movs_one##bits(cpu, insn, step);                                                   \
                done = 1;                                                                          \
            }                                                                                      \
            count -= done;                                                                         \
            set_register(cpu, insn, VCPU_RCX, count);                                              \
            if (count && must_poll(cpu))                                                           \
                return bt_stop_before(cpu, insn);                                                  \
        }                                                                                          \
        BT_NEXT(cpu, insn);                                                                        \
    }

MOVS(8)
MOVS(16)
MOVS(32)
MOVS(64)

// ---- STOS ----

// The value of `bits` bits as often as it fits into 64.
static inline uint64_t repeated(uint64_t value, unsigned bits)
{
    for (; bits < 64; bits *= 2)
        value |= value << bits;
    return value;
}

// bytes: of whole elements.
static void fill(uint8_t *to, uint64_t bytes, uint64_t pattern)
{
    if (pattern == repeated(pattern & 0xff, 8)) {
        memset(to, (int)(pattern & 0xff), bytes);
        return;
    }
    uint64_t chunk[8];
    for (unsigned i = 0; i < G_N_ELEMENTS(chunk); i++)
        chunk[i] = pattern;
    for (; bytes >= sizeof chunk; to += sizeof chunk, bytes -= sizeof chunk)
        memcpy(to, chunk, sizeof chunk);
    memcpy(to, chunk, bytes);
}

#define STOS(bits)                                                                                 \
    static inline void stos_one##bits(BtCpu *cpu, const BtInsn *insn, int64_t step)                \
    {                                                                                              \
        bt_write##bits(cpu, VCPU_ES, cpu->gpr[VCPU_RDI] & address_mask(insn),                      \
                       bt_get##bits(cpu, VCPU_RAX));                                               \
        advance(cpu, insn, VCPU_RDI, step);                                                        \
    }                                                                                              \
    static uint64_t store_run##bits(BtCpu *cpu, const BtInsn *insn, uint64_t count)                \
    {                                                                                              \
        uint8_t *to;                                                                               \
        uint64_t room =                                                                            \
            run_at(cpu, insn, VCPU_ES, cpu->gpr[VCPU_RDI] & address_mask(insn), true, &to);        \
        uint64_t n = MIN(count, room / (bits / 8));                                                \
        if (n)                                                                                     \
            fill(to, n * (bits / 8), repeated(bt_get##bits(cpu, VCPU_RAX), bits));                 \
        advance(cpu, insn, VCPU_RDI, (int64_t)(n * (bits / 8)));                                   \
        return n;                                                                                  \
    }                                                                                              \
    static void stos##bits(BtCpu *cpu, const BtInsn *insn)                                         \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        stos_one##bits(cpu, insn, step_of(cpu, bits / 8));                                         \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void rep_stos##bits(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        int64_t step = step_of(cpu, bits / 8);                                                     \
        for (uint64_t count = count_left(cpu, insn); count;) {                                     \
            uint64_t done = step > 0 ? store_run##bits(cpu, insn, count) : 0;                      \
            if (done == 0) {                                                                       \
                stos_one##bits(cpu, insn, step);                                                   \
                done = 1;                                                                          \
            }                                                                                      \
            count -= done;                                                                         \
            set_register(cpu, insn, VCPU_RCX, count);                                              \
            if (count && must_poll(cpu))                                                           \
                return bt_stop_before(cpu, insn);                                                  \
        }                                                                                          \
        BT_NEXT(cpu, insn);                                                                        \
    }

STOS(8)
STOS(16)
STOS(32)
STOS(64)

// ---- LODS: REP keeps the last element only, but reads them all ----

#define LODS(bits)                                                                                 \
    static inline void lods_one##bits(BtCpu *cpu, const BtInsn *insn, int64_t step)                \
    {                                                                                              \
        uint##bits##_t value =                                                                     \
            bt_read##bits(cpu, insn->segment, cpu->gpr[VCPU_RSI] & address_mask(insn));            \
        bt_set##bits(cpu, VCPU_RAX, value);                                                        \
        advance(cpu, insn, VCPU_RSI, step);                                                        \
    }                                                                                              \
    static void lods##bits(BtCpu *cpu, const BtInsn *insn)                                         \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        lods_one##bits(cpu, insn, step_of(cpu, bits / 8));                                         \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void rep_lods##bits(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        int64_t step = step_of(cpu, bits / 8);                                                     \
        for (uint64_t count = count_left(cpu, insn); count;) {                                     \
            lods_one##bits(cpu, insn, step);                                                       \
            set_register(cpu, insn, VCPU_RCX, --count);                                            \
            if (count && must_poll(cpu))                                                           \
                return bt_stop_before(cpu, insn);                                                  \
        }                                                                                          \
        BT_NEXT(cpu, insn);                                                                        \
    }

LODS(8)
LODS(16)
LODS(32)
LODS(64)

// ---- SCAS, CMPS ----

#define SCAS_ONE(bits)                                                                             \
    static inline void scas_one##bits(BtCpu *cpu, const BtInsn *insn, int64_t step)                \
    {                                                                                              \
        uint##bits##_t value =                                                                     \
            bt_read##bits(cpu, VCPU_ES, cpu->gpr[VCPU_RDI] & address_mask(insn));                  \
        bt_host_cmp##bits(bt_get##bits(cpu, VCPU_RAX), value, &cpu->flags_status);                 \
        advance(cpu, insn, VCPU_RDI, step);                                                        \
    }
#define CMPS_ONE(bits)                                                                             \
    static inline void cmps_one##bits(BtCpu *cpu, const BtInsn *insn, int64_t step)                \
    {                                                                                              \
        uint64_t mask = address_mask(insn);                                                        \
        uint##bits##_t first = bt_read##bits(cpu, insn->segment, cpu->gpr[VCPU_RSI] & mask);       \
        uint##bits##_t second = bt_read##bits(cpu, VCPU_ES, cpu->gpr[VCPU_RDI] & mask);            \
        bt_host_cmp##bits(first, second, &cpu->flags_status);                                      \
        advance(cpu, insn, VCPU_RSI, step);                                                        \
        advance(cpu, insn, VCPU_RDI, step);                                                        \
    }

// REPE goes on while ZF is 1, REPNE while it is 0.
#define COMPARING(op, bits)                                                                        \
    static void op##bits(BtCpu *cpu, const BtInsn *insn)                                           \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        op##_one##bits(cpu, insn, step_of(cpu, bits / 8));                                         \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void rep_##op##bits(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        int64_t step = step_of(cpu, bits / 8);                                                     \
        unsigned goes_on = insn->flags & BT_INSN_REPNE ? 0 : BT_STATUS_ZF;                         \
        for (uint64_t count = count_left(cpu, insn); count;) {                                     \
            op##_one##bits(cpu, insn, step);                                                       \
            set_register(cpu, insn, VCPU_RCX, --count);                                            \
            if ((cpu->flags_status & BT_STATUS_ZF) != goes_on)                                     \
                break;                                                                             \
            if (count && must_poll(cpu))                                                           \
                return bt_stop_before(cpu, insn);                                                  \
        }                                                                                          \
        BT_NEXT(cpu, insn);                                                                        \
    }

SCAS_ONE(8)
SCAS_ONE(16)
SCAS_ONE(32)
SCAS_ONE(64)
CMPS_ONE(8)
CMPS_ONE(16)
CMPS_ONE(32)
CMPS_ONE(64)
COMPARING(scas, 8)
COMPARING(scas, 16)
COMPARING(scas, 32)
COMPARING(scas, 64)
COMPARING(cmps, 8)
COMPARING(cmps, 16)
COMPARING(cmps, 32)
COMPARING(cmps, 64)

#define ROW(op)                                                                                    \
    {{op##8, op##16, op##32, op##64}, {rep_##op##8, rep_##op##16, rep_##op##32, rep_##op##64}}

// [with a repeat prefix][width]
static BtHandler *const movs_handlers[2][4] = ROW(movs);
static BtHandler *const stos_handlers[2][4] = ROW(stos);
static BtHandler *const lods_handlers[2][4] = ROW(lods);
static BtHandler *const scas_handlers[2][4] = ROW(scas);
static BtHandler *const cmps_handlers[2][4] = ROW(cmps);

static bool take(BtHandler *const table[2][4], const BtDecoded *d, BtInsn *out)
{
    bool repeat = out->flags & (BT_INSN_REP | BT_INSN_REPNE);
    out->handler = table[repeat][bt_size_index(d->insn.operand_width)];
    // The source's segment; the destination's is always ES.
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        const ZydisDecodedOperand *operand = &d->operand[i];
        int base = bt_operand_is_memory(operand) ? bt_general_register(operand->mem.base) : -1;
        if (base == VCPU_RSI)
            bt_select_memory(operand, out);
    }
    return true;
}

bool bt_select_string(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ: return take(movs_handlers, d, out);
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ: return take(stos_handlers, d, out);
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ: return take(lods_handlers, d, out);
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ: return take(scas_handlers, d, out);
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ: return take(cmps_handlers, d, out);
    default: return false;
    }
}
