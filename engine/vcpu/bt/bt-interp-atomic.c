// SPDX-License-Identifier: GPL-2.0-or-later
// XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B (SDM vol. 2). Locked ones (XCHG with memory always is) are
// the host's own locked instructions on guest memory, so they are atomic against every vCPU and
// device thread; MMIO and operands that cross pages go under the machine's atomic lock.
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

#define KEEP_FLAGS "\n\tlahf\n\tseto %%al"

// ---- XCHG ----

#define XCHG(bits)                                                                                 \
    static void xchg##bits##_rr(BtCpu *cpu, const BtInsn *insn)                                    \
    {                                                                                              \
        uint##bits##_t first = bt_get##bits(cpu, insn->reg[0]);                                    \
        uint##bits##_t second = bt_get##bits(cpu, insn->reg[1]);                                   \
        bt_set##bits(cpu, insn->reg[0], second);                                                   \
        bt_set##bits(cpu, insn->reg[1], first);                                                    \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void xchg##bits##_m(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        uint##bits##_t mine = bt_get##bits(cpu, insn->reg[1]);                                     \
        uint##bits##_t theirs;                                                                     \
        uint##bits##_t *p = bt_atomic_pointer(cpu, insn->segment, offset, bits / 8);               \
        if (p) {                                                                                   \
            theirs = __atomic_exchange_n(p, mine, __ATOMIC_SEQ_CST);                               \
        } else {                                                                                   \
            bt_atomic_lock(cpu);                                                                   \
            theirs = bt_read##bits(cpu, insn->segment, offset);                                    \
            bt_write##bits(cpu, insn->segment, offset, mine);                                      \
            bt_atomic_unlock(cpu);                                                                 \
        }                                                                                          \
        bt_set##bits(cpu, insn->reg[1], theirs);                                                   \
        BT_NEXT(cpu, insn);                                                                        \
    }

XCHG(8)
XCHG(16)
XCHG(32)
XCHG(64)

// ---- XADD ----

#define XADD(bits, suffix)                                                                         \
    static void xadd##bits##_rr(BtCpu *cpu, const BtInsn *insn)                                    \
    {                                                                                              \
        uint##bits##_t to = bt_get##bits(cpu, insn->reg[0]);                                       \
        uint##bits##_t from = bt_get##bits(cpu, insn->reg[1]);                                     \
        uint##bits##_t sum = bt_host_add##bits(to, from, &cpu->flags_status);                      \
        bt_set##bits(cpu, insn->reg[1], to);                                                       \
        bt_set##bits(cpu, insn->reg[0], sum);                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void xadd##bits##_m(BtCpu *cpu, const BtInsn *insn)                                     \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        void *p = bt_any_writable(cpu, insn, offset, bits / 8);                                    \
        uint##bits##_t to =                                                                        \
            p ? bt_host_load##bits(p) : bt_read##bits(cpu, insn->segment, offset);                 \
        uint16_t f;                                                                                \
        uint##bits##_t sum = bt_host_add##bits(to, bt_get##bits(cpu, insn->reg[1]), &f);           \
        if (p)                                                                                     \
            bt_host_store##bits(p, sum);                                                           \
        else                                                                                       \
            bt_write##bits(cpu, insn->segment, offset, sum);                                       \
        bt_set##bits(cpu, insn->reg[1], to);                                                       \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void xadd##bits##_lock(BtCpu *cpu, const BtInsn *insn)                                  \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        uint##bits##_t from = bt_get##bits(cpu, insn->reg[1]);                                     \
        uint16_t f;                                                                                \
        uint##bits##_t *p = bt_atomic_pointer(cpu, insn->segment, offset, bits / 8);               \
        if (p) {                                                                                   \
            __asm__("lock xadd" #suffix " %[from], %[p]" KEEP_FLAGS                                \
                    : [p] "+m"(*p), [from] "+&r"(from), "=&a"(f)                                   \
                    :                                                                              \
                    : "cc", "memory");                                                             \
            bt_set##bits(cpu, insn->reg[1], from);                                                 \
        } else {                                                                                   \
            bt_atomic_lock(cpu);                                                                   \
            uint##bits##_t value = bt_read##bits(cpu, insn->segment, offset);                      \
            bt_write##bits(cpu, insn->segment, offset, bt_host_add##bits(value, from, &f));        \
            bt_atomic_unlock(cpu);                                                                 \
            bt_set##bits(cpu, insn->reg[1], value);                                                \
        }                                                                                          \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

XADD(8, b)
XADD(16, w)
XADD(32, l)
XADD(64, q)

// ---- CMPXCHG ----

// Flags as CMP accumulator, destination. A 32-bit accumulator is written (and extended) only where
// the comparison fails; a destination register only where it succeeds.
#define CMPXCHG(bits, suffix)                                                                      \
    static void cmpxchg##bits##_rr(BtCpu *cpu, const BtInsn *insn)                                 \
    {                                                                                              \
        uint##bits##_t to = bt_get##bits(cpu, insn->reg[0]);                                       \
        uint##bits##_t from = bt_get##bits(cpu, insn->reg[1]);                                     \
        bt_host_cmp##bits(bt_get##bits(cpu, VCPU_RAX), to, &cpu->flags_status);                    \
        if (cpu->flags_status & BT_STATUS_ZF)                                                      \
            bt_set##bits(cpu, insn->reg[0], from);                                                 \
        else                                                                                       \
            bt_set##bits(cpu, VCPU_RAX, to);                                                       \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void cmpxchg##bits##_m(BtCpu *cpu, const BtInsn *insn)                                  \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        void *p = bt_any_writable(cpu, insn, offset, bits / 8);                                    \
        uint##bits##_t to =                                                                        \
            p ? bt_host_load##bits(p) : bt_read##bits(cpu, insn->segment, offset);                 \
        uint##bits##_t from = bt_get##bits(cpu, insn->reg[1]);                                     \
        uint16_t f;                                                                                \
        bt_host_cmp##bits(bt_get##bits(cpu, VCPU_RAX), to, &f);                                    \
        bool equal = f & BT_STATUS_ZF;                                                             \
        if (p)                                                                                     \
            bt_host_store##bits(p, equal ? from : to);                                             \
        else                                                                                       \
            bt_write##bits(cpu, insn->segment, offset, equal ? from : to);                         \
        if (!equal)                                                                                \
            bt_set##bits(cpu, VCPU_RAX, to);                                                       \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void cmpxchg##bits##_lock(BtCpu *cpu, const BtInsn *insn)                               \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        uint##bits##_t from = bt_get##bits(cpu, insn->reg[1]);                                     \
        uint##bits##_t expected = bt_get##bits(cpu, VCPU_RAX);                                     \
        uint##bits##_t to = expected;                                                              \
        uint16_t f;                                                                                \
        uint##bits##_t *p = bt_atomic_pointer(cpu, insn->segment, offset, bits / 8);               \
        if (p) {                                                                                   \
            __atomic_compare_exchange_n(p, &to, from, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);  \
        } else {                                                                                   \
            bt_atomic_lock(cpu);                                                                   \
            to = bt_read##bits(cpu, insn->segment, offset);                                        \
            bt_write##bits(cpu, insn->segment, offset, to == expected ? from : to);                \
            bt_atomic_unlock(cpu);                                                                 \
        }                                                                                          \
        bt_host_cmp##bits(expected, to, &f);                                                       \
        if (!(f & BT_STATUS_ZF))                                                                   \
            bt_set##bits(cpu, VCPU_RAX, to);                                                       \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }

CMPXCHG(8, b)
CMPXCHG(16, w)
CMPXCHG(32, l)
CMPXCHG(64, q)

// ---- CMPXCHG8B, CMPXCHG16B: ZF only ----

static void set_zero_flag(BtCpu *cpu, bool zero)
{
    cpu->flags_status = (uint16_t)((cpu->flags_status & ~BT_STATUS_ZF) | (zero ? BT_STATUS_ZF : 0));
}

static void cmpxchg8b(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t offset = bt_effective_address(cpu, insn);
    uint64_t expected = cpu->gpr[VCPU_RDX] << 32 | (uint32_t)cpu->gpr[VCPU_RAX];
    uint64_t from = cpu->gpr[VCPU_RCX] << 32 | (uint32_t)cpu->gpr[VCPU_RBX];
    uint64_t to = expected;
    uint64_t *p = bt_atomic_pointer(cpu, insn->segment, offset, 8);
    if (p) {
        // Without LOCK too: nobody can tell.
        __atomic_compare_exchange_n(p, &to, from, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    } else {
        bt_atomic_lock(cpu);
        to = bt_read64(cpu, insn->segment, offset);
        bt_write64(cpu, insn->segment, offset, to == expected ? from : to);
        bt_atomic_unlock(cpu);
    }
    if (to != expected) {
        bt_set32(cpu, VCPU_RAX, (uint32_t)to);
        bt_set32(cpu, VCPU_RDX, (uint32_t)(to >> 32));
    }
    set_zero_flag(cpu, to == expected);
    BT_NEXT(cpu, insn);
}

// #GP where the operand is not aligned; so it never crosses a page. In MMIO: two accesses.
static void cmpxchg16b(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t offset = bt_effective_address(cpu, insn);
    uint64_t linear = bt_linear(cpu, insn->segment, offset, 16, true);
    if (linear & 15)
        bt_raise_error(cpu, BT_GP, 0);
    uint64_t low = cpu->gpr[VCPU_RAX];
    uint64_t high = cpu->gpr[VCPU_RDX];
    bool equal;
    unsigned __int128 *p = bt_atomic_pointer(cpu, insn->segment, offset, 16);
    if (p) {
        __asm__("lock cmpxchg16b %[p]"
                : [p] "+m"(*p), "+a"(low), "+d"(high), "=@ccz"(equal)
                : "b"(cpu->gpr[VCPU_RBX]), "c"(cpu->gpr[VCPU_RCX])
                : "memory");
    } else {
        bt_atomic_lock(cpu);
        uint64_t to_low = bt_read64(cpu, insn->segment, offset);
        uint64_t to_high = bt_read64(cpu, insn->segment, offset + 8);
        equal = to_low == low && to_high == high;
        bt_write64(cpu, insn->segment, offset, equal ? cpu->gpr[VCPU_RBX] : to_low);
        bt_write64(cpu, insn->segment, offset + 8, equal ? cpu->gpr[VCPU_RCX] : to_high);
        bt_atomic_unlock(cpu);
        low = to_low;
        high = to_high;
    }
    if (!equal) {
        cpu->gpr[VCPU_RAX] = low;
        cpu->gpr[VCPU_RDX] = high;
    }
    set_zero_flag(cpu, equal);
    BT_NEXT(cpu, insn);
}

#define WIDTHS(op, form) {op##8_##form, op##16_##form, op##32_##form, op##64_##form}

static BtHandler *const xchg_handlers[2][4] = {WIDTHS(xchg, rr), WIDTHS(xchg, m)};
// Register, memory, locked memory.
static BtHandler *const xadd_handlers[3][4] = {WIDTHS(xadd, rr), WIDTHS(xadd, m),
                                               WIDTHS(xadd, lock)};
static BtHandler *const cmpxchg_handlers[3][4] = {WIDTHS(cmpxchg, rr), WIDTHS(cmpxchg, m),
                                                  WIDTHS(cmpxchg, lock)};

static bool select_xchg(const BtDecoded *d, BtInsn *out)
{
    unsigned size = bt_size_index(d->operand[0].size);
    const ZydisDecodedOperand *first = &d->operand[0];
    const ZydisDecodedOperand *second = &d->operand[1];
    bool memory = bt_operand_is_memory(first) || bt_operand_is_memory(second);
    if (bt_operand_is_memory(second)) {
        const ZydisDecodedOperand *swap = first;
        first = second;
        second = swap;
    }
    if (!memory)
        out->reg[0] = bt_operand_register(first);
    out->reg[1] = bt_operand_register(second);
    out->handler = xchg_handlers[memory][size];
    return true;
}

static bool select_locked(BtHandler *const table[3][4], const BtDecoded *d, BtInsn *out)
{
    bool memory = bt_operand_is_memory(&d->operand[0]);
    if (!memory)
        out->reg[0] = bt_operand_register(&d->operand[0]);
    out->reg[1] = bt_operand_register(&d->operand[1]);
    unsigned form = !memory ? 0 : out->flags & BT_INSN_LOCK ? 2 : 1;
    out->handler = table[form][bt_size_index(d->operand[0].size)];
    return true;
}

bool bt_select_atomic(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_XCHG: return select_xchg(d, out);
    case ZYDIS_MNEMONIC_XADD: return select_locked(xadd_handlers, d, out);
    case ZYDIS_MNEMONIC_CMPXCHG: return select_locked(cmpxchg_handlers, d, out);
    case ZYDIS_MNEMONIC_CMPXCHG8B: out->handler = cmpxchg8b; return true;
    case ZYDIS_MNEMONIC_CMPXCHG16B: out->handler = cmpxchg16b; return true;
    default: return false;
    }
}
