// SPDX-License-Identifier: GPL-2.0-or-later
// Arithmetic and the conditional branch behind it in one handler: CMP, TEST, ADD, SUB, AND, INC,
// DEC with Jcc. The host branches on the flags of its own instruction. Flags are kept all the same,
// because what comes next may want them. `data` is the handler of the first instruction alone, for
// memory that the TLB does not hit.
#include "engine/vcpu/bt/bt-fuse.h"
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

// As BT_CONDITIONS, but for overflow and parity, which compilers do not branch on.
#define CONDITIONS(X, ...)                                                                         \
    X(2, b, __VA_ARGS__)                                                                           \
    X(3, ae, __VA_ARGS__)                                                                          \
    X(4, e, __VA_ARGS__)                                                                           \
    X(5, ne, __VA_ARGS__)                                                                          \
    X(6, be, __VA_ARGS__)                                                                          \
    X(7, a, __VA_ARGS__)                                                                           \
    X(8, s, __VA_ARGS__)                                                                           \
    X(9, ns, __VA_ARGS__)                                                                          \
    X(12, l, __VA_ARGS__)                                                                          \
    X(13, ge, __VA_ARGS__)                                                                         \
    X(14, le, __VA_ARGS__)                                                                         \
    X(15, g, __VA_ARGS__)

// Runs the host's instruction; `taken` and `f` come out of it.
#define RUN_COMPARE(op, suffix, cc, a_, b_)                                                        \
    __asm__(#op #suffix " %[b], %[a]\n\tlahf\n\tseto %%al"                                         \
            : "=&a"(f), "=@cc" #cc(taken)                                                          \
            : [a] "r"(a_), [b] "rm"(b_))
#define RUN_BINARY(op, suffix, cc, a_, b_)                                                         \
    __asm__(#op #suffix " %[b], %[a]\n\tlahf\n\tseto %%al"                                         \
            : [a] "+r"(a_), "=&a"(f), "=@cc" #cc(taken)                                            \
            : [b] "rm"(b_))
#define RUN_STEP(op, suffix, cc, a_)                                                               \
    __asm__("btw $8, %[f]\n\t" #op #suffix " %[a]\n\tlahf\n\tseto %%al"                            \
            : [a] "+&r"(a_), "=&a"(f), "=@cc" #cc(taken)                                           \
            : [f] "rm"(cpu->flags_status))

#define GO_ON                                                                                      \
    do {                                                                                           \
        cpu->flags_status = f;                                                                     \
        if (taken)                                                                                 \
            BT_CHAIN(cpu, 1, (cpu->block_rip + insn[1].immediate) & cpu->rip_mask);                \
        BT_CHAIN(cpu, 0, (cpu->block_rip + (uint64_t)insn[1].displacement) & cpu->rip_mask);       \
    } while (0)

#define BASE_OPERAND(bits)                                                                         \
    uint64_t linear = bt_base_address(cpu, insn);                                                  \
    const BtTlbEntry *entry = bt_flat_entry(cpu, linear);                                          \
    if (BT_UNLIKELY(entry->read != BT_LAST_PAGE(linear, bits / 8)))                                \
        return ((BtHandler *)insn->data)(cpu, insn);                                               \
    uint##bits##_t value = bt_host_load##bits((const void *)(linear + entry->addend))

#define HANDLER(name, body)                                                                        \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        uint16_t f;                                                                                \
        bool taken;                                                                                \
        body;                                                                                      \
        GO_ON;                                                                                     \
    }

#define COMPARE_REGISTERS(n, cc, op, bits, suffix)                                                 \
    HANDLER(op##bits##_rr_##cc, RUN_COMPARE(op, suffix, cc, bt_get##bits(cpu, insn->reg[0]),       \
                                            bt_get##bits(cpu, insn->reg[1])))                      \
    HANDLER(op##bits##_ri_##cc, RUN_COMPARE(op, suffix, cc, bt_get##bits(cpu, insn->reg[0]),       \
                                            (uint##bits##_t)insn->immediate))
#define COMPARE_MEMORY_IMMEDIATE(n, cc, op, bits, suffix)                                          \
    HANDLER(op##bits##_mi_##cc, BASE_OPERAND(bits);                                                \
            RUN_COMPARE(op, suffix, cc, value, (uint##bits##_t)insn->immediate))
#define COMPARE_MEMORY(n, cc, op, bits, suffix)                                                    \
    COMPARE_MEMORY_IMMEDIATE(n, cc, op, bits, suffix)                                              \
    HANDLER(op##bits##_rm_##cc, BASE_OPERAND(bits);                                                \
            RUN_COMPARE(op, suffix, cc, bt_get##bits(cpu, insn->reg[0]), value))                   \
    HANDLER(op##bits##_mr_##cc, BASE_OPERAND(bits);                                                \
            RUN_COMPARE(op, suffix, cc, value, bt_get##bits(cpu, insn->reg[1])))
#define BINARY(n, cc, op, bits, suffix)                                                            \
    HANDLER(op##bits##_rr_##cc, uint##bits##_t a = bt_get##bits(cpu, insn->reg[0]);                \
            RUN_BINARY(op, suffix, cc, a, bt_get##bits(cpu, insn->reg[1]));                        \
            bt_set##bits(cpu, insn->reg[0], a))                                                    \
    HANDLER(op##bits##_ri_##cc, uint##bits##_t a = bt_get##bits(cpu, insn->reg[0]);                \
            RUN_BINARY(op, suffix, cc, a, (uint##bits##_t)insn->immediate);                        \
            bt_set##bits(cpu, insn->reg[0], a))
#define STEP(n, cc, op, bits, suffix)                                                              \
    HANDLER(op##bits##_rr_##cc, uint##bits##_t a = bt_get##bits(cpu, insn->reg[0]);                \
            RUN_STEP(op, suffix, cc, a); bt_set##bits(cpu, insn->reg[0], a))

CONDITIONS(COMPARE_REGISTERS, cmp, 8, b)
CONDITIONS(COMPARE_REGISTERS, cmp, 16, w)
CONDITIONS(COMPARE_REGISTERS, cmp, 32, l)
CONDITIONS(COMPARE_REGISTERS, cmp, 64, q)
CONDITIONS(COMPARE_MEMORY, cmp, 8, b)
CONDITIONS(COMPARE_MEMORY, cmp, 32, l)
CONDITIONS(COMPARE_MEMORY, cmp, 64, q)
CONDITIONS(COMPARE_REGISTERS, test, 8, b)
CONDITIONS(COMPARE_REGISTERS, test, 16, w)
CONDITIONS(COMPARE_REGISTERS, test, 32, l)
CONDITIONS(COMPARE_REGISTERS, test, 64, q)
CONDITIONS(COMPARE_MEMORY_IMMEDIATE, test, 8, b)
CONDITIONS(COMPARE_MEMORY_IMMEDIATE, test, 32, l)
CONDITIONS(BINARY, add, 32, l)
CONDITIONS(BINARY, add, 64, q)
CONDITIONS(BINARY, sub, 32, l)
CONDITIONS(BINARY, sub, 64, q)
CONDITIONS(BINARY, and, 32, l)
CONDITIONS(BINARY, and, 64, q)
CONDITIONS(STEP, inc, 32, l)
CONDITIONS(STEP, inc, 64, q)
CONDITIONS(STEP, dec, 32, l)
CONDITIONS(STEP, dec, 64, q)

// By width and condition.
typedef BtHandler *Row[16];
typedef Row Widths[4];

#define ENTRY(n, cc, name) [n] = name##_##cc,
#define ROW(name) {CONDITIONS(ENTRY, name)}
#define NARROW(op, form)                                                                           \
    {ROW(op##8_##form), ROW(op##16_##form), ROW(op##32_##form), ROW(op##64_##form)}
#define WIDE(op, form) {{0}, {0}, ROW(op##32_##form), ROW(op##64_##form)}
#define NOT_16(op, form) {ROW(op##8_##form), {0}, ROW(op##32_##form), ROW(op##64_##form)}

static const Widths cmp_fused[BT_FORM_COUNT] = {
    [BT_FORM_RR] = NARROW(cmp, rr), [BT_FORM_RI] = NARROW(cmp, ri),
    [BT_FORM_RM] = NOT_16(cmp, rm), [BT_FORM_MR] = NOT_16(cmp, mr),
    [BT_FORM_MI] = NOT_16(cmp, mi),
};
static const Widths test_fused[BT_FORM_COUNT] = {
    [BT_FORM_RR] = NARROW(test, rr), [BT_FORM_RI] = NARROW(test, ri),
    [BT_FORM_MI] = {ROW(test8_mi), {0}, ROW(test32_mi)},
};
static const Widths add_fused[BT_FORM_COUNT] = {
    [BT_FORM_RR] = WIDE(add, rr), [BT_FORM_RI] = WIDE(add, ri)};
static const Widths sub_fused[BT_FORM_COUNT] = {
    [BT_FORM_RR] = WIDE(sub, rr), [BT_FORM_RI] = WIDE(sub, ri)};
static const Widths and_fused[BT_FORM_COUNT] = {
    [BT_FORM_RR] = WIDE(and, rr), [BT_FORM_RI] = WIDE(and, ri)};
static const Widths inc_fused[BT_FORM_COUNT] = {[BT_FORM_RR] = WIDE(inc, rr)};
static const Widths dec_fused[BT_FORM_COUNT] = {[BT_FORM_RR] = WIDE(dec, rr)};

BtHandler *bt_fused_branch(const BtInsn *first, unsigned condition)
{
    unsigned size = bt_size_index(first->operand_size * 8u);
    switch (first->mnemonic) {
    case ZYDIS_MNEMONIC_CMP: return cmp_fused[first->extra][size][condition];
    case ZYDIS_MNEMONIC_TEST: return test_fused[first->extra][size][condition];
    case ZYDIS_MNEMONIC_ADD: return add_fused[first->extra][size][condition];
    case ZYDIS_MNEMONIC_SUB: return sub_fused[first->extra][size][condition];
    case ZYDIS_MNEMONIC_AND: return and_fused[first->extra][size][condition];
    case ZYDIS_MNEMONIC_INC: return inc_fused[first->extra][size][condition];
    case ZYDIS_MNEMONIC_DEC: return dec_fused[first->extra][size][condition];
    default: return NULL;
    }
}
