// SPDX-License-Identifier: GPL-2.0-or-later
// Code that is written again and again, until its page is checked at each entry instead of being
// protected from stores, and again after it is protected: what runs is always what is there.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-harness.h"

#define GUEST(name, bits, text)                                                                    \
    __asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n" text "\n" #name "_end:\n"         \
            ".code64\n.popsection\n");                                                            \
    extern const uint8_t name[], name##_end[];

enum { FUNCTION = 0x9000 };

static BtHarness *begin(BtHarnessMode mode, const uint8_t *code, const uint8_t *end)
{
    BtHarness *h = bt_harness_new();
    bt_harness_state(h, mode);
    bt_harness_code(h, BT_HARNESS_CODE, code, (size_t)(end - code));
    return h;
}

static uint64_t dropped(BtHarness *h)
{
    VcpuStats stats;
    bt_test_engine()->stats(h->cpu, &stats);
    return stats.units[VCPU_UNIT_DROPPED];
}

static bool translates(void)
{
    return bt_test_engine() == &vcpu_backend_translator;
}

// Each round writes the immediate that it adds.
GUEST(immediate, 64, "mov $2000, %ebp\n mov $0x9000, %esi\n"
                     "1: mov %ebp, 1(%rsi)\n mov %ebp, 9(%rsi)\n call *%rsi\n dec %ebp\n jnz 1b\n")
GUEST(adder, 64, "mov $0, %eax\n add %rax, %r8\n .byte 5\n .long 0\n add %rax, %r8\n ret\n")

static void test_immediate(void)
{
    g_autoptr(BtHarness) h = begin(BT_HARNESS_LONG, immediate, immediate_end);
    bt_harness_code(h, FUNCTION, adder, (size_t)(adder_end - adder));
    bt_harness_run(h);
    g_assert_cmpuint(h->state.gpr[VCPU_R8], ==, 3 * 2000 * 2001 / 2);
    if (translates()) // each time, were it not for immediates that are read
        g_assert_cmpuint(dropped(h), <, 200);
}

// The same, of 64 bits from 32, in a register whose number takes a prefix, and with the flags.
GUEST(extended, 64, "mov $2000, %ebp\n mov $0x9000, %esi\n"
                    "1: neg %ebp\n mov %ebp, 3(%rsi)\n neg %ebp\n mov %ebp, 10(%rsi)\n"
                    "call *%rsi\n dec %ebp\n jnz 1b\n")
GUEST(extender, 64, "add $-0x1000000, %r9\n mov $0x1000000, %r10\n adc %r10, %r8\n ret\n")

static void test_extended_immediate(void)
{
    g_autoptr(BtHarness) h = begin(BT_HARNESS_LONG, extended, extended_end);
    bt_harness_code(h, FUNCTION, extender, (size_t)(extender_end - extender));
    bt_harness_run(h);
    const VcpuState *s = &h->state;
    g_assert_cmpint((int64_t)s->gpr[VCPU_R9], ==, -2000 * 2001 / 2);
    g_assert_cmpuint(s->gpr[VCPU_R8], ==, 2000 * 2001 / 2 + 1999); // the first sum has no carry
}

// Data beside code, and a counter that the code itself has beside it.
GUEST(beside, 64, "mov $2000, %ebp\n mov $0x9000, %esi\n"
                  "1: add %ebp, 0x800(%rsi)\n call *%rsi\n dec %ebp\n jnz 1b\n"
                  "mov 0x800(%rsi), %r8d\n mov 0x900(%rsi), %r9d\n")
GUEST(counter, 64, "incl 0x900(%rsi)\n mov %rsp, %rax\n push %rax\n pop %rax\n ret\n")

static void test_data_beside_code(void)
{
    g_autoptr(BtHarness) h = begin(BT_HARNESS_LONG, beside, beside_end);
    bt_harness_code(h, FUNCTION, counter, (size_t)(counter_end - counter));
    bt_harness_run(h);
    g_assert_cmpuint(h->state.gpr[VCPU_R8], ==, 2000 * 2001 / 2);
    g_assert_cmpuint(h->state.gpr[VCPU_R9], ==, 2000);
}

// Code that changes the instruction behind the store, in the same run of instructions.
GUEST(caller, 64, "mov $2000, %ebp\n mov $0x9000, %esi\n 1: call *%rsi\n dec %ebp\n jnz 1b\n")

static void test_store_ahead(void)
{
    g_autoptr(BtHarness) h = begin(BT_HARNESS_LONG, caller, caller_end);
    // inc %r9d; mov %ebp, 9(%rsi); xor %eax, %eax; add $imm32, %eax; add %rax, %r8; ret
    static const uint8_t code[] = { 0x41, 0xff, 0xc1, 0x89, 0x6e, 0x09, 0x31, 0xc0, 0x05, 0, 0, 0,
                                    0, 0x49, 0x01, 0xc0, 0xc3 };
    bt_harness_code(h, FUNCTION, code, sizeof code);
    bt_harness_run(h);
    g_assert_cmpuint(h->state.gpr[VCPU_R9], ==, 2000);
    g_assert_cmpuint(h->state.gpr[VCPU_R8], ==, 2000 * 2001 / 2);
}

// Code that sets the flags takes turns with code that reads those of what jumps there.
GUEST(turns, 64, "mov $4000, %ebp\n mov $0x9000, %esi\n xor %r8, %r8\n"
                 "1: mov $0x90c031, %eax\n test $64, %ebp\n jz 2f\n mov $0xc0920f, %eax\n"
                 "2: mov %ax, 0x100(%rsi)\n shr $16, %eax\n mov %al, 0x102(%rsi)\n"
                 "xor %eax, %eax\n call *%rsi\n add %rax, %r8\n dec %ebp\n jnz 1b\n")
GUEST(taker, 64, "nop\n nop\n nop\n ret\n")

static void test_flags_over_the_check(void)
{
    g_autoptr(BtHarness) h = begin(BT_HARNESS_LONG, turns, turns_end);
    // cmp $5000, %ebp, which is below; jmp 0x9100
    static const uint8_t compare[] = { 0x81, 0xfd, 0x88, 0x13, 0, 0, 0xe9, 0xf5, 0, 0, 0 };
    bt_harness_code(h, FUNCTION, compare, sizeof compare);
    bt_harness_code(h, FUNCTION + 0x100, taker, (size_t)(taker_end - taker));
    bt_harness_run(h);
    unsigned taken = 0;
    for (unsigned round = 1; round <= 4000; round++)
        taken += (round & 64) != 0;
    g_assert_cmpuint(h->state.gpr[VCPU_R8], ==, taken);
}

// Written often, then run for long, then written again.
GUEST(again, 64, "mov $3, %ebx\n mov $0x9000, %esi\n"
                 "1: mov $100, %ebp\n 2: mov %ebp, 1(%rsi)\n call *%rsi\n dec %ebp\n jnz 2b\n"
                 "mov $50000, %ebp\n 3: call *%rsi\n dec %ebp\n jnz 3b\n dec %ebx\n jnz 1b\n")
GUEST(summer, 64, "mov $0, %eax\n add %rax, %r8\n ret\n")

static void test_protected_again(void)
{
    g_autoptr(BtHarness) h = begin(BT_HARNESS_LONG, again, again_end);
    bt_harness_code(h, FUNCTION, summer, (size_t)(summer_end - summer));
    bt_harness_run(h);
    g_assert_cmpuint(h->state.gpr[VCPU_R8], ==, 3 * (100 * 101 / 2 + 50000));
}

// In real mode, where nothing is translated.
GUEST(old, 16, "mov $2000, %bp\n 1: mov %bp, 0x9001\n addw %bp, 0x9800\n mov $0x9000, %si\n"
               "call *%si\n dec %bp\n jnz 1b\n mov 0x9800, %cx\n")
GUEST(old_adder, 16, "mov $0, %ax\n add %ax, %bx\n adc $0, %di\n ret\n")

static void test_real_mode(void)
{
    g_autoptr(BtHarness) h = begin(BT_HARNESS_REAL, old, old_end);
    bt_harness_code(h, FUNCTION, old_adder, (size_t)(old_adder_end - old_adder));
    bt_harness_run(h);
    const VcpuState *s = &h->state;
    uint32_t sum = 2000 * 2001 / 2;
    g_assert_cmpuint(s->gpr[VCPU_RDI] << 16 | (s->gpr[VCPU_RBX] & 0xffff), ==, sum);
    g_assert_cmpuint(s->gpr[VCPU_RCX] & 0xffff, ==, sum & 0xffff);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/checked/immediate", test_immediate);
    g_test_add_func("/checked/extended-immediate", test_extended_immediate);
    g_test_add_func("/checked/data-beside-code", test_data_beside_code);
    g_test_add_func("/checked/store-ahead", test_store_ahead);
    g_test_add_func("/checked/flags-over-the-check", test_flags_over_the_check);
    g_test_add_func("/checked/protected-again", test_protected_again);
    g_test_add_func("/checked/real-mode", test_real_mode);
    return g_test_run();
}
