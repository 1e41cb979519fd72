// SPDX-License-Identifier: GPL-2.0-or-later
// The same code at many linear addresses, called in turns: whatever depends on where it lies (RIP
// in all its uses, links, call-outs, sites) is right at each of them, and code that is written
// through one of them changes at all.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-harness.h"

#include "engine/base/bytes.h"

#include <string.h>

#define GUEST(name, text)                                                                          \
    __asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n");          \
    extern const uint8_t name[], name##_end[];

enum { FUNCTION = 0x9000, PLACES = 9, ROUNDS = 100, IN_LOOP = 50 };

// All of memory is at n << 39 too. RDI = that, RBX = n.
GUEST(caller, "mov $100, %ebp\n"
              "1: xor %ebx, %ebx\n"
              "2: mov %rbx, %rdi\n shl $39, %rdi\n lea 0x9000(%rdi), %rsi\n call *%rsi\n"
              "inc %ebx\n cmp $9, %ebx\n jb 2b\n dec %ebp\n jnz 1b\n")

// R13 counts what is wrong.
GUEST(function,
      ".balign 64\n"
      "function_begin: lea function_begin(%rip), %rax\n"
      "sub %rdi, %rax\n cmp $0x9000, %rax\n jne function_bad\n"
      "addq $1, function_data(%rip)\n"
      "call 3f\n"
      "function_return: sub %rdi, %rax\n"
      "cmp $(0x9000 + function_return - function_begin), %rax\n jne function_bad\n"
      "xor %eax, %eax\n xor %edx, %edx\n cmpxchg16b function_pair(%rip)\n"
      "cmp $1234, %eax\n jne function_bad\n"
      "cmp $5678, %edx\n jne function_bad\n"
      "jmp function_far\n"
      "function_bad: inc %r13\n ret\n"
      "3: mov (%rsp), %rax\n ret\n"
      ".balign 16\n"
      "function_pair: .quad 1234, 5678\n"
      "function_data: .quad 0\n"
      ".fill 0x1000, 1, 0xcc\n"
      "function_far: mov $50, %ecx\n"
      "4: add function_value(%rip), %r8\n dec %ecx\n jnz 4b\n"
      "ret\n"
      "function_value: .quad 3\n")

static BtHarness *begin(const uint8_t *code, const uint8_t *end)
{
    BtHarness *h = bt_harness_new();
    bt_harness_state(h, BT_HARNESS_LONG);
    for (unsigned i = 1; i < PLACES; i++)
        le64_write(bt_harness_at(h, BT_HARNESS_TABLES + 8 * i), (BT_HARNESS_TABLES + 0x1000) | 7);
    bt_harness_code(h, BT_HARNESS_CODE, code, (size_t)(end - code));
    return h;
}

static void test_all_of_rip(void)
{
    g_autoptr(BtHarness) h = begin(caller, caller_end);
    // From function_begin on, which the assembler has aligned.
    const uint8_t *from = (const uint8_t *)(((uintptr_t)function + 63) & ~(uintptr_t)63);
    bt_harness_code(h, FUNCTION, from, (size_t)(function_end - from));
    bt_harness_run(h);
    const VcpuState *s = &h->state;
    g_assert_cmpuint(s->gpr[VCPU_R13], ==, 0);
    g_assert_cmpuint(s->gpr[VCPU_R8], ==, 3u * IN_LOOP * PLACES * ROUNDS);
    VcpuStats stats;
    bt_test_engine()->stats(h->cpu, &stats);
    if (bt_test_engine() == &vcpu_backend_translator)
        g_assert_cmpuint(stats.units[VCPU_UNIT_RELOCATED], >, 0);
}

// mov $imm, %eax; add %rax, %r8; ret: each round writes the constant anew, at the place before the
// one that runs it.
GUEST(writer, "mov $100, %ebp\n"
              "1: xor %ebx, %ebx\n"
              "2: mov %rbx, %rdi\n shl $39, %rdi\n lea 0x9000(%rdi), %rsi\n"
              "test $3, %ebp\n jnz 3f\n mov %bpl, 1(%rsi)\n"
              "3: btc $39, %rsi\n call *%rsi\n"
              "inc %ebx\n cmp $8, %ebx\n jb 2b\n dec %ebp\n jnz 1b\n")
GUEST(written, "mov $100, %eax\n add %rax, %r8\n ret\n")

static void test_written(void)
{
    g_autoptr(BtHarness) h = begin(writer, writer_end);
    bt_harness_code(h, FUNCTION, written, (size_t)(written_end - written));
    bt_harness_run(h);
    uint64_t sum = 0;
    for (unsigned round = ROUNDS; round > 0; round--)
        sum += 8 * ((round + 3) & ~3u);
    g_assert_cmpuint(h->state.gpr[VCPU_R8], ==, sum);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/relocate/all-uses-of-rip", test_all_of_rip);
    g_test_add_func("/relocate/written-code", test_written);
    return g_test_run();
}
