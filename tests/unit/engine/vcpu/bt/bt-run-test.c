// SPDX-License-Identifier: GPL-2.0-or-later
// Tests what needs the run loop: branches, the stack, code that changes, code that crosses pages,
// chains over changed page tables, faults inside blocks, and the count of instructions.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-harness.h"

#include "engine/base/bytes.h"

#include <string.h>

// Guest code as the assembler makes it; runs at BT_HARNESS_CODE. AT(label) is a label's address.
#define GUEST(name, bits, text)                                                                    \
    __asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n" text "\n" #name                   \
            "_end:\n.code64\n.popsection\n");                                                      \
    extern const uint8_t name[], name##_end[];
#define AT(name, label) "0x8000 + " #label " - " #name

#define RUN(h, mode, name) run_guest(h, mode, name, (size_t)(name##_end - name))

static VcpuState *run_guest(BtHarness *h, BtHarnessMode mode, const uint8_t *code, size_t size)
{
    VcpuState *s = bt_harness_state(h, mode);
    bt_harness_code(h, BT_HARNESS_CODE, code, size);
    bt_harness_run(h);
    return s;
}

// An IDT at 0x600 whose entry `vector` leads to a HLT at 0x7000 (long mode).
static void catch_vector(BtHarness *h, unsigned vector)
{
    uint8_t *gate = bt_harness_at(h, 0x600 + 16 * vector);
    memset(gate, 0, 16);
    le16_write(gate, 0x7000);
    le16_write(gate + 2, BT_HARNESS_CODE_64);
    gate[5] = 0x8e;
    *(uint8_t *)bt_harness_at(h, 0x7000) = 0xf4;
    h->state.idtr = (VcpuTable){.base = 0x600, .limit = 0x1ff};
}

static uint64_t instructions(BtHarness *h)
{
    VcpuStats stats;
    bt_test_engine()->stats(h->cpu, &stats);
    return stats.instructions;
}

static uint64_t translations(BtHarness *h)
{
    VcpuStats stats;
    bt_test_engine()->stats(h->cpu, &stats);
    return stats.translations;
}

// ---- branches ----

// RBX collects a bit for each condition that is true with the flags in RCX.
GUEST(conditions, 64,
      "xor %ebx, %ebx\n"
      ".macro try cc, bit\n push %rcx\n popfq\n j\\cc 1f\n jmp 2f\n 1: bts $\\bit, %rbx\n 2:\n"
      "push %rcx\n popfq\n set\\cc %al\n movzbl %al, %eax\n shl $\\bit, %rax\n or %rax, %rdx\n"
      ".endm\n"
      "try o 0\n try no 1\n try b 2\n try ae 3\n try e 4\n try ne 5\n try be 6\n try a 7\n"
      "try s 8\n try ns 9\n try p 10\n try np 11\n try l 12\n try ge 13\n try le 14\n try g 15\n"
      ".purgem try")

static void test_conditions(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    for (unsigned flags = 0; flags < 64; flags++) {
        bool cf = flags & 1, zf = flags & 2, sf = flags & 4, of = flags & 8, pf = flags & 16;
        VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
        s->gpr[VCPU_RCX] = 2 | (cf ? 1 : 0) | (zf ? 0x40 : 0) | (sf ? 0x80 : 0) |
                           (of ? 0x800 : 0) | (pf ? 4 : 0) | (flags & 32 ? 0x10 : 0);
        bt_harness_code(h, BT_HARNESS_CODE, conditions, (size_t)(conditions_end - conditions));
        bt_harness_run(h);
        const bool even[8] = {of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of};
        unsigned expected = 0;
        for (unsigned i = 0; i < 8; i++)
            expected |= even[i] ? 1u << (2 * i) : 2u << (2 * i);
        g_assert_cmphex(s->gpr[VCPU_RBX], ==, expected);
        g_assert_cmphex(s->gpr[VCPU_RDX], ==, expected);
    }
}

// Fused pairs, if any, must leave flags and go both ways.
GUEST(compare_and_branch, 64,
      "mov $5, %eax\n mov $7, %ecx\n xor %ebx, %ebx\n"
      "1: add $1, %ebx\n cmp %ecx, %ebx\n jl 1b\n"
      "pushfq\n pop %rdx\n"
      "2: sub $1, %ebx\n test %ebx, %ebx\n jnz 2b\n"
      "pushfq\n pop %rsi\n"
      "movl $3, 0x30000\n"
      "3: inc %edi\n decl 0x30000\n cmpl $0, 0x30000\n jg 3b\n"
      "cmp $5, %al\n ja 4f\n cmpq $4, %rax\n jbe 4f\n mov $99, %r8d\n4:\n")

static void test_compare_and_branch(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_LONG, compare_and_branch);
    g_assert_cmphex(s->gpr[VCPU_RDX] & 0x8d5, ==, 0x44); // 7 - 7
    g_assert_cmphex(s->gpr[VCPU_RSI] & 0x8d5, ==, 0x44); // 0 & 0
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 0);
    g_assert_cmpuint(s->gpr[VCPU_RDI], ==, 3);
    g_assert_cmpuint(s->gpr[VCPU_R8], ==, 99);
}

GUEST(loops_64, 64,
      "mov $3, %ecx\n 1: inc %eax\n loop 1b\n"
      "mov $9, %ecx\n 2: inc %ebx\n cmp $4, %ebx\n loopne 2b\n"
      "mov $9, %ecx\n 3: inc %edx\n cmp %edx, %edx\n loope 3b\n"
      "mov $0x100000000, %rcx\n jrcxz 4f\n jecxz 5f\n 4: mov $1, %esi\n 5:\n")
GUEST(loops_16, 16,
      "mov $0x10003, %ecx\n 1: inc %ax\n loop 1b\n"
      "mov $2, %ecx\n 2: inc %dx\n addr32 loop 2b\n"
      "jcxz 3f\n mov $7, %bx\n 3:\n")

static void test_loops(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_LONG, loops_64);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 3);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 4);
    g_assert_cmpuint(s->gpr[VCPU_RDX], ==, 9);
    g_assert_cmpuint(s->gpr[VCPU_RSI], ==, 0);
    s = RUN(h, BT_HARNESS_REAL, loops_16);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 3);
    g_assert_cmpuint(s->gpr[VCPU_RDX], ==, 2);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 0);
}

#define CALLS(name, ax, sp)                                                                        \
    "call 1f\n mov $" AT(name, 2f) ", %" ax "\n call *%" ax "\n mov $" AT(name, 3f) ", %" ax       \
    "\n jmp *%" ax "\n 1: add $1, %ebx\n ret\n 2: add $2, %ebx\n ret\n 3: push $5\n"              \
    "call 4f\n jmp 5f\n 4: add $4, %ebx\n ret $8\n 5:\n"

GUEST(calls_64, 64, CALLS(calls_64, "rax", "rsp"))
GUEST(calls_32, 32, CALLS(calls_32, "eax", "esp") "push $1\n")
GUEST(calls_16, 16, CALLS(calls_16, "ax", "sp") "push $1\n push $1\n push $1\n")

static void test_calls(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_LONG, calls_64);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 7);
    g_assert_cmphex(s->gpr[VCPU_RSP], ==, BT_HARNESS_STACK);
    s = RUN(h, BT_HARNESS_PROTECTED_32, calls_32);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 7);
    g_assert_cmphex(s->gpr[VCPU_RSP], ==, BT_HARNESS_STACK);
    s = RUN(h, BT_HARNESS_REAL, calls_16);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 7);
    g_assert_cmphex(s->gpr[VCPU_RSP], ==, 0xf000);
    s = RUN(h, BT_HARNESS_PROTECTED_16, calls_16);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 7);
}

// Flags in RCX pass a call into another page, a jump through memory and a return; RSI and RDX are
// what the target and the caller see of them.
#define FLAGS_KEPT(name, r, s, word)                                                               \
    "mov $4, %ebp\n"                                                                               \
    "1: push %" r "cx\n popf" s "\n push %" r "bx\n call 2f\n"                                     \
    "pushf" s "\n pop %" r "dx\n pop %" r "bx\n dec %ebp\n jnz 1b\n jmp 5f\n"                      \
    ".org " #name " + 0x1000\n"                                                                    \
    "2: nop\n jmp *" AT(name, 4f) "\n"                                                             \
    "3: push %" r "ax\n pushf" s "\n pop %" r "si\n pop %" r "ax\n ret\n"                          \
    "4: " word " " AT(name, 3b) "\n5:\n"

GUEST(flags_kept_64, 64, FLAGS_KEPT(flags_kept_64, "r", "q", ".quad"))
GUEST(flags_kept_32, 32, FLAGS_KEPT(flags_kept_32, "e", "l", ".long"))

static void test_flags_kept(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    for (unsigned i = 0; i < 32; i++) {
        uint64_t flags = 2 | (i & 1) | (i & 2) << 1 | (i & 4) << 4 | (i & 8) << 4 | (i & 16) << 7;
        VcpuState *s = bt_harness_state(h, i & 1 ? BT_HARNESS_PROTECTED_32 : BT_HARNESS_LONG);
        s->gpr[VCPU_RCX] = flags;
        if (i & 1)
            bt_harness_code(h, BT_HARNESS_CODE, flags_kept_32,
                            (size_t)(flags_kept_32_end - flags_kept_32));
        else
            bt_harness_code(h, BT_HARNESS_CODE, flags_kept_64,
                            (size_t)(flags_kept_64_end - flags_kept_64));
        bt_harness_run(h);
        g_assert_cmphex(s->gpr[VCPU_RSI], ==, flags);
        g_assert_cmphex(s->gpr[VCPU_RDX], ==, flags);
    }
}

// ---- the stack ----

#define PUSH_MEMORY(r)                                                                             \
    "mov $0x30000, %eax\n movl $0x11223344, (%eax)\n movl $0, 4(%eax)\n"                           \
    "stc\n push (%" r "ax)\n setc %dl\n pop %" r "bx\n"                                            \
    "pushw 2(%eax)\n popw %cx\n"                                                                   \
    "push $7\n push (%" r "sp)\n pop %" r "si\n pop %" r "di\n"                                    \
    "mov $8, %ebp\n push -8(%" r "ax, %" r "bp)\n pop 8(%" r "ax)\n"
GUEST(push_memory_64, 64, PUSH_MEMORY("r"))
GUEST(push_memory_32, 32, PUSH_MEMORY("e"))

static void test_push_memory(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    for (unsigned i = 0; i < 2; i++) {
        VcpuState *s = i ? RUN(h, BT_HARNESS_PROTECTED_32, push_memory_32)
                         : RUN(h, BT_HARNESS_LONG, push_memory_64);
        g_assert_cmphex(s->gpr[VCPU_RBX], ==, 0x11223344);
        g_assert_cmphex(s->gpr[VCPU_RCX] & 0xffff, ==, 0x1122);
        g_assert_cmphex(s->gpr[VCPU_RDX] & 0xff, ==, 1);
        g_assert_cmphex(s->gpr[VCPU_RSI], ==, 7);
        g_assert_cmphex(s->gpr[VCPU_RDI], ==, 7);
        g_assert_cmphex(le32_read(bt_harness_at(h, 0x30008)), ==, 0x11223344);
        g_assert_cmphex(s->gpr[VCPU_RSP], ==, BT_HARNESS_STACK);
    }
}

// LODS back and forth; CF is live over both changes of DF.
GUEST(direction, 64,
      "mov $0x30010, %esi\n stc\n std\n pushfq\n pop %rbx\n lodsl\n setc %cl\n cld\n setc %dl\n"
      "pushfq\n pop %rdi\n lodsw\n")

static void test_direction(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_LONG, direction);
    g_assert_cmphex(s->gpr[VCPU_RBX] & 0x401, ==, 0x401);
    g_assert_cmphex(s->gpr[VCPU_RDI] & 0x401, ==, 1);
    g_assert_cmphex(s->gpr[VCPU_RCX] & 0xff, ==, 1);
    g_assert_cmphex(s->gpr[VCPU_RDX] & 0xff, ==, 1);
    g_assert_cmphex(s->gpr[VCPU_RSI], ==, 0x3000e);
}


GUEST(stack_64, 64,
      "mov $0x1122334455667788, %rax\n push %rax\n push $-2\n pushw $3\n popw %bx\n pop %rcx\n"
      "pop 0x30000\n mov 0x30000, %rdx\n"
      "push %rsp\n pop %rsi\n" // the old value
      "mov $0x30100, %rdi\n push $77\n push $88\n pop 8(%rsp)\n pop %r8\n"
      "enter $32, $0\n mov %rbp, %r9\n mov %rsp, %r10\n leave\n")

static void test_stack_long(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_LONG, stack_64);
    g_assert_cmphex(s->gpr[VCPU_RBX], ==, 3);
    g_assert_cmphex(s->gpr[VCPU_RCX], ==, UINT64_C(-2));
    g_assert_cmphex(s->gpr[VCPU_RDX], ==, UINT64_C(0x1122334455667788));
    g_assert_cmphex(s->gpr[VCPU_RSI], ==, BT_HARNESS_STACK);
    // POP 8(%rsp): the address is computed with RSP of after the pop, one slot higher.
    g_assert_cmpuint(s->gpr[VCPU_R8], ==, 77);
    g_assert_cmpuint(le64_read(bt_harness_at(h, BT_HARNESS_STACK)), ==, 88);
    g_assert_cmphex(s->gpr[VCPU_R9], ==, BT_HARNESS_STACK - 8);
    g_assert_cmphex(s->gpr[VCPU_R10], ==, BT_HARNESS_STACK - 40);
    g_assert_cmphex(s->gpr[VCPU_RSP], ==, BT_HARNESS_STACK);
}

GUEST(stack_32, 32,
      "mov $1, %eax\n mov $2, %ecx\n mov $3, %edx\n mov $4, %ebx\n mov $5, %ebp\n mov $6, %esi\n"
      "mov $7, %edi\n pusha\n pushaw\n popaw\n xor %eax, %eax\n mov %eax, %edi\n popa\n"
      "push %esp\n pop %esp\n")
GUEST(enter_nested, 32,
      "mov $0x18000, %ebp\n movl $0x111, -4(%ebp)\n movl $0x222, -8(%ebp)\n enter $16, $3\n")

static void test_stack_protected(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_PROTECTED_32, stack_32);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 1);
    g_assert_cmpuint(s->gpr[VCPU_RDI], ==, 7);
    g_assert_cmphex(s->gpr[VCPU_RSP], ==, BT_HARNESS_STACK);
    s = RUN(h, BT_HARNESS_PROTECTED_32, enter_nested);
    g_assert_cmphex(s->gpr[VCPU_RBP], ==, BT_HARNESS_STACK - 4);
    g_assert_cmphex(s->gpr[VCPU_RSP], ==, BT_HARNESS_STACK - 32);
    g_assert_cmphex(le32_read(bt_harness_at(h, BT_HARNESS_STACK - 4)), ==, 0x18000);
    g_assert_cmphex(le32_read(bt_harness_at(h, BT_HARNESS_STACK - 8)), ==, 0x111);
    g_assert_cmphex(le32_read(bt_harness_at(h, BT_HARNESS_STACK - 12)), ==, 0x222);
    g_assert_cmphex(le32_read(bt_harness_at(h, BT_HARNESS_STACK - 16)), ==, BT_HARNESS_STACK - 4);
}

// By FS and GS with a base, to the last byte of 4 GiB and beyond it, and through a small limit.
GUEST(thread_data, 32,
      "mov $100, %ecx\n 1: addl $3, %fs:0x10\n mov %gs:0x20, %eax\n add %eax, %ebx\n"
      "mov %gs:0xfffffffc, %eax\n add %eax, %edx\n call *%fs:0x18\n dec %ecx\n jnz 1b\n"
      "jmp 3f\n 2: inc %esi\n ret\n 3:\n")
GUEST(over_the_limit, 32, "inc %edi\n mov %gs:0xfffffffd, %eax\n inc %edi\n")
GUEST(small_limit, 32, "inc %edi\n mov %fs:0x10, %eax\n inc %edi\n mov %fs:0x18, %eax\n")

static void set_thread_segments(VcpuState *s, uint32_t fs_limit)
{
    s->segment[VCPU_FS] = s->segment[VCPU_GS] = s->segment[VCPU_DS];
    s->segment[VCPU_FS].base = BT_HARNESS_DATA;
    s->segment[VCPU_FS].limit = fs_limit;
    s->segment[VCPU_GS].base = BT_HARNESS_DATA + 0x100;
}

static void test_thread_data(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = bt_harness_state(h, BT_HARNESS_PROTECTED_32);
    set_thread_segments(s, UINT32_MAX);
    le32_write(bt_harness_at(h, BT_HARNESS_DATA + 0x120), 7);
    le32_write(bt_harness_at(h, BT_HARNESS_DATA + 0xfc), 5);
    size_t size = (size_t)(thread_data_end - thread_data);
    le32_write(bt_harness_at(h, BT_HARNESS_DATA + 0x18), (uint32_t)(BT_HARNESS_CODE + size - 2));
    bt_harness_code(h, BT_HARNESS_CODE, thread_data, size);
    bt_harness_run(h);
    g_assert_cmpuint(le32_read(bt_harness_at(h, BT_HARNESS_DATA + 0x10)), ==, 300);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 700);
    g_assert_cmpuint(s->gpr[VCPU_RDX], ==, 500);
    g_assert_cmpuint(s->gpr[VCPU_RSI], ==, 100);
}

static void test_thread_data_limits(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    for (unsigned small = 0; small < 2; small++) {
        VcpuState *s = bt_harness_state(h, BT_HARNESS_PROTECTED_32);
        set_thread_segments(s, small ? 0x17 : UINT32_MAX);
        s->gpr[VCPU_RDI] = 0;
        s->idtr = (VcpuTable){ .base = 0, .limit = 0 }; // a fault ends in a triple fault
        if (small)
            bt_harness_code(h, BT_HARNESS_CODE, small_limit,
                            (size_t)(small_limit_end - small_limit));
        else
            bt_harness_code(h, BT_HARNESS_CODE, over_the_limit,
                            (size_t)(over_the_limit_end - over_the_limit));
        bt_harness_run_any(h);
        g_assert_cmpuint(h->exit.reason, ==, VCPU_EXIT_SHUTDOWN);
        g_assert_cmpuint(s->gpr[VCPU_RDI], ==, small ? 2 : 1);
    }
}

GUEST(popf_bits, 64,
      "pushfq\n pop %rax\n"
      "push $0x3ff0d5\n andq $~0x20100, (%rsp)\n popfq\n pushfq\n pop %rbx\n push $2\n popfq\n")

static void test_popf(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_LONG, popf_bits);
    g_assert_cmphex(s->gpr[VCPU_RAX], ==, 2);
    // VIP and VIF do not change, RF reads as 0.
    g_assert_cmphex(s->gpr[VCPU_RBX], ==, 0x2470d7);
}

// ---- code that changes ----

// The MOV's immediate is changed by the instruction before it, in the same block.
GUEST(patch_next, 64, "movb $42, 1f+1(%rip)\n 1: mov $1, %al\n movzbl %al, %eax\n")
// A loop whose body counts in its own immediate.
GUEST(patch_loop, 64, "mov $100, %ecx\n 1: mov $0, %eax\n incl 1b+1(%rip)\n dec %ecx\n jnz 1b\n")
// REP STOS over the instructions behind it: NOPs become DEC EBX.
GUEST(patch_string, 64,
      "lea 1f(%rip), %rdi\n mov $5, %ebx\n mov $0xcbff, %eax\n mov $2, %ecx\n rep stosw\n"
      "1: nop\n nop\n nop\n nop\n")

static void test_patch_next(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    for (unsigned i = 0; i < 3; i++) {
        VcpuState *s = RUN(h, BT_HARNESS_LONG, patch_next);
        g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 42);
    }
}

static void test_patch_loop(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    uint64_t before = instructions(h);
    VcpuState *s = RUN(h, BT_HARNESS_LONG, patch_loop);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 99);
    g_assert_cmpuint(instructions(h) - before, ==, 1 + 4 * 100 + 1);
}

static void test_patch_string(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_LONG, patch_string);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 3);
}

// A store beside the block takes the marks off its page; the next one, into the block, must
// still be noticed.
GUEST(patch_after_neighbour, 64,
      "xor %eax, %eax\n jmp 1f\n .balign 64\n 1: movb $1, 3f(%rip)\n movb $5, 2f+1(%rip)\n"
      " 2: mov $1, %al\n jmp 4f\n 3: .byte 0\n 4:\n")

static void test_patch_after_neighbour(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = RUN(h, BT_HARNESS_LONG, patch_after_neighbour);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 5);
}

// Data on the page of the loop that writes it: no new blocks for every store.
GUEST(data_beside_code, 64,
      "mov $1000, %ecx\n 1: incl data_word(%rip)\n dec %ecx\n jnz 1b\n jmp 2f\n"
      ".balign 64\n data_word: .long 0\n .balign 64\n 2:\n")

static void test_data_beside_code(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    uint64_t before = translations(h);
    RUN(h, BT_HARNESS_LONG, data_beside_code);
    g_assert_cmpuint(translations(h) - before, <, 20);
}

// All units that were dropped have a cause, and it is this one. The interpreter has none.
static void check_dropped(BtHarness *h, VcpuUnitCounter cause)
{
    VcpuStats stats;
    bt_test_engine()->stats(h->cpu, &stats);
    g_assert_cmpuint(stats.units[cause], ==, stats.units[VCPU_UNIT_DROPPED]);
    if (stats.units[VCPU_UNIT_ENTRIES])
        g_assert_cmpuint(stats.units[cause], >, 0);
}

// A device writes over code that has run.
static void test_device_writes_code(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    static const uint8_t code[] = {0xb8, 1, 0, 0, 0};
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    bt_harness_code(h, BT_HARNESS_CODE, code, sizeof code);
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 1);
    uint8_t two = 2;
    guest_memory_write(h->memory, BT_HARNESS_CODE + 1, &two, 1);
    s->rip = BT_HARNESS_CODE;
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 2);
    check_dropped(h, VCPU_UNIT_DROPPED_DEVICE);
}

// The memory map changes under code that has run.
static void test_map_changes_code(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    g_autoptr(RamBlock) other = ram_block_new("other", 4096, NULL);
    static const uint8_t code[] = {0xb8, 1, 0, 0, 0};
    memcpy(other->host, "\xb8\x02\0\0\0\xf4", 6);
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    bt_harness_code(h, BT_HARNESS_CODE, code, sizeof code);
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 1);
    GuestSlot *slot = guest_memory_map(h->memory, "other", BT_HARNESS_CODE, 4096, other->host,
                                       GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    s->rip = BT_HARNESS_CODE;
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 2);
    guest_memory_unmap(h->memory, slot);
    s->rip = BT_HARNESS_CODE;
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 1);
    check_dropped(h, VCPU_UNIT_DROPPED_MAP);
}

// Two address spaces with other code at the same linear address; a loop that jumps between them.
// Page tables: the second PD maps linear 4 MiB to physical 6 MiB instead of 4 MiB.
GUEST(switch_spaces, 64,
      "mov $10, %ecx\n 1: mov %r8, %cr3\n mov $0x400000, %edx\n call *%rdx\n add %eax, %ebx\n"
      "mov %r9, %cr3\n call *%rdx\n add %eax, %ebx\n dec %ecx\n jnz 1b\n")

static void test_switch_spaces(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    bt_harness_code(h, 0x400000, "\xb8\x01\0\0\0\xc3", 6);
    bt_harness_code(h, 0x600000, "\xb8\x64\0\0\0\xc3", 6);
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    le64_write(bt_harness_at(h, 0x10000), 0x11007);
    le64_write(bt_harness_at(h, 0x11000), 0x12007);
    memcpy(bt_harness_at(h, 0x12000), bt_harness_at(h, BT_HARNESS_TABLES + 0x2000), 64);
    le64_write(bt_harness_at(h, 0x12000 + 16), 0x600087);
    s->gpr[VCPU_R8] = BT_HARNESS_TABLES;
    s->gpr[VCPU_R9] = 0x10000;
    bt_harness_code(h, BT_HARNESS_CODE, switch_spaces,
                    (size_t)(switch_spaces_end - switch_spaces));
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 10 * 101);
}

// RIPs that are not canonical lead nowhere, also those that differ from one that has a unit, or
// from 0, in what the translator's jump table might tell address spaces apart by.
GUEST(not_canonical, 64,
      "mov $100, %ecx\n mov $0x400000, %edx\n"
      "1: mov %r8, %cr3\n call *%rdx\n dec %ecx\n jnz 1b\n mov %r8, %cr3\n jmp *%r9\n")

static void test_not_canonical(void)
{
    for (unsigned bit = 1; bit < 8; bit++) {
        for (unsigned zero = 0; zero < 2; zero++) {
            g_autoptr(BtHarness) h = bt_harness_new();
            VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
            catch_vector(h, 13);
            bt_harness_code(h, 0x400000, "\xff\xc3\xc3", 3); // inc %ebx; ret
            s->gpr[VCPU_R8] = BT_HARNESS_TABLES;
            s->gpr[VCPU_R9] = (zero ? 0 : 0x400000) ^ ((UINT64_C(1) << bit) - 1) << 48;
            bt_harness_code(h, BT_HARNESS_CODE, not_canonical,
                            (size_t)(not_canonical_end - not_canonical));
            bt_harness_run(h);
            g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 100);
            g_assert_cmphex(s->rip, ==, 0x7001);
        }
    }
}

// ---- page boundaries ----

// MOV EAX, imm32 at every distance from the page's end, the next page elsewhere in memory.
static void test_crossing(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    for (unsigned first = 1; first < 5; first++) {
        VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
        bt_harness_code(h, 0x8fff + 1 - first, "\xb8\x78\x56\x34\x12\x40\x90", 5);
        s->rip = 0x9000 - first;
        bt_harness_run(h);
        g_assert_cmphex(s->gpr[VCPU_RAX], ==, 0x12345678);
        // And again, with the part in the second page changed.
        *(uint8_t *)bt_harness_at(h, 0x9000) ^= 0xff;
        guest_memory_written(h->memory, 0x9000, 1);
        s->rip = 0x9000 - first;
        bt_harness_run(h);
        g_assert_cmphex(s->gpr[VCPU_RAX], ==, 0x12345678 ^ 0xffu << 8 * (first - 1));
    }
}

// Long mode with 4 KiB pages for the first 2 MiB; `absent` is not mapped.
static void small_pages(BtHarness *h, uint64_t absent)
{
    for (unsigned i = 0; i < 512; i++)
        le64_write(bt_harness_at(h, 0x40000 + 8 * i),
                   (uint64_t)i << 12 == absent ? 0 : (uint64_t)i << 12 | 7);
    le64_write(bt_harness_at(h, BT_HARNESS_TABLES + 0x2000), 0x40007);
}

// The second page is not there: no fault while its bytes are not needed, then one with its address.
static void test_crossing_faults(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    small_pages(h, 0x9000);
    catch_vector(h, 14);
    bt_harness_code(h, 0x8ff9, "\xb8\x01\0\0\0\xeb", 6); // MOV EAX, 1; JMP over the end
    *(uint8_t *)bt_harness_at(h, 0x8fff) = 0xb8; // JMP's offset is B8
    s->rip = 0x8ff9;
    // JMP -72: back to 0x8fb8, which is HLT
    *(uint8_t *)bt_harness_at(h, 0x9000 - 72) = 0xf4;
    guest_memory_written(h->memory, 0x8000, 0x1000);
    uint64_t before = instructions(h);
    bt_harness_run(h);
    g_assert_cmphex(s->rip, ==, 0x9000 - 72 + 1);
    g_assert_cmpuint(instructions(h) - before, ==, 3);

    s->rip = 0x8fff; // MOV EAX, imm32 with the immediate on the absent page
    before = instructions(h);
    bt_harness_run(h);
    g_assert_cmphex(s->rip, ==, 0x7001);
    g_assert_cmphex(s->cr2, ==, 0x9000);
    g_assert_cmphex(le64_read(bt_harness_at(h, s->gpr[VCPU_RSP] + 8)), ==, 0x8fff);
    g_assert_cmphex(le64_read(bt_harness_at(h, s->gpr[VCPU_RSP])), ==, 0x10); // a fetch
    g_assert_cmpuint(instructions(h) - before, ==, 1);
}

// ---- faults inside blocks ----

GUEST(fault_inside, 64, "mov $1, %eax\n mov $2, %ebx\n mov 0x9000, %rcx\n mov $3, %ebx\n")

static void test_fault_inside(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    small_pages(h, 0x9000);
    catch_vector(h, 14);
    bt_harness_code(h, BT_HARNESS_CODE, fault_inside, (size_t)(fault_inside_end - fault_inside));
    uint64_t before = instructions(h);
    bt_harness_run(h);
    g_assert_cmphex(s->cr2, ==, 0x9000);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 2);
    g_assert_cmphex(le64_read(bt_harness_at(h, s->gpr[VCPU_RSP] + 8)), ==, 0x800a);
    g_assert_cmpuint(instructions(h) - before, ==, 3); // two MOVs and the handler's HLT
}

typedef struct {
    const char *name, *code;
    unsigned size, vector;
    BtHarnessMode mode;
} Refused;

static const Refused refused[] = {
    {"ud2", "\x0f\x0b", 2, 6, BT_HARNESS_LONG},
    {"lock-mov", "\xf0\x89\x03", 3, 6, BT_HARNESS_LONG},
    {"lock-add-register", "\xf0\x01\xc0", 3, 6, BT_HARNESS_LONG},
    {"lock-cmp", "\xf0\x39\x03", 3, 6, BT_HARNESS_LONG},
    {"pusha", "\x60", 1, 6, BT_HARNESS_LONG},
    {"too-long", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", 16, 13,
     BT_HARNESS_LONG},
    {"vmcall", "\x0f\x01\xc1", 3, 6, BT_HARNESS_LONG},
    {"xbegin", "\xc7\xf8\0\0\0\0", 6, 6, BT_HARNESS_LONG},
    {"evex", "\x62\xf1\x7c\x48\x58\xc1", 6, 6, BT_HARNESS_LONG},
    {"jump-to-hole", "\x48\xb8\0\0\0\0\0\0\0\x80\xff\xe0", 12, 13, BT_HARNESS_LONG},
    {"divide-by-zero", "\x31\xc9\xf7\xf1", 4, 0, BT_HARNESS_LONG},
    {"cmpxchg16b-alignment", "\xbb\x08\x00\x03\x00\x48\x0f\xc7\x0b", 9, 13, BT_HARNESS_LONG},
};

static void test_refused(gconstpointer data)
{
    const Refused *r = data;
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = bt_harness_state(h, r->mode);
    catch_vector(h, r->vector);
    bt_harness_code(h, BT_HARNESS_CODE, r->code, r->size);
    bt_harness_run(h);
    g_assert_cmphex(s->rip, ==, 0x7001);
}

// ---- requests ----

static gpointer kick_soon(gpointer data)
{
    BtHarness *h = data;
    g_usleep(20000);
    bt_test_engine()->kick(h->cpu);
    return NULL;
}

// A loop of one block, a long REP, and an endless chain of two blocks can all be left.
static void test_kick(void)
{
    static const struct {
        const char *code;
        unsigned size;
    } endless[] = {
        {"\xeb\xfe", 2},
        {"\xb9\xff\xff\xff\xff\xbe\0\0\x03\0\xf3\xac\xeb\xfc", 14}, // rep lodsb
        {"\xeb\x00\xeb\xfc", 4},
        // 2: or $1,%eax; jnz 8; hlt; 8: nop; jmp 2. A unit that begins at 8 goes on at lower
        // addresses: its way back to itself leads forward.
        {"\xeb\x06\x83\xc8\x01\x75\x01\xf4\x90\xeb\xf7", 11},
    };
    g_autoptr(BtHarness) h = bt_harness_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(endless); i++) {
        bt_harness_state(h, BT_HARNESS_PROTECTED_32);
        bt_harness_code(h, BT_HARNESS_CODE, endless[i].code, endless[i].size);
        GThread *thread = g_thread_new("kick", kick_soon, h);
        bt_harness_run_any(h);
        g_assert_cmpint(h->exit.reason, ==, VCPU_EXIT_KICK);
        g_thread_join(thread);
    }
}

// A kick before run is not lost.
static void test_kick_remembered(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    bt_harness_state(h, BT_HARNESS_LONG);
    bt_harness_code(h, BT_HARNESS_CODE, "\xeb\xfe", 2);
    bt_test_engine()->kick(h->cpu);
    bt_harness_run_any(h);
    g_assert_cmpint(h->exit.reason, ==, VCPU_EXIT_KICK);
    g_assert_cmphex(h->state.rip, ==, BT_HARNESS_CODE);
}

// More blocks than the arena holds.
static void test_many_blocks(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    enum { JUMPS = 400000 };
    uint8_t *at = bt_harness_at(h, 0x100000);
    for (unsigned i = 0; i < JUMPS; i++) { // JMP +0
        at[2 * i] = 0xeb;
        at[2 * i + 1] = 0;
    }
    bt_harness_code(h, 0x100000 + 2 * JUMPS, "\xff\xc0", 2);
    s->rip = 0x100000;
    uint64_t before = instructions(h);
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 1);
    g_assert_cmpuint(instructions(h) - before, ==, JUMPS + 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt-run/branches/conditions", test_conditions);
    g_test_add_func("/bt-run/branches/compare-and-branch", test_compare_and_branch);
    g_test_add_func("/bt-run/branches/loops", test_loops);
    g_test_add_func("/bt-run/branches/calls", test_calls);
    g_test_add_func("/bt-run/branches/flags-kept", test_flags_kept);
    g_test_add_func("/bt-run/stack/push-memory", test_push_memory);
    g_test_add_func("/bt-run/direction", test_direction);
    g_test_add_func("/bt-run/stack/long", test_stack_long);
    g_test_add_func("/bt-run/stack/protected", test_stack_protected);
    g_test_add_func("/bt-run/stack/popf", test_popf);
    g_test_add_func("/bt-run/segments/thread-data", test_thread_data);
    g_test_add_func("/bt-run/segments/thread-data-limits", test_thread_data_limits);
    g_test_add_func("/bt-run/changed-code/next-instruction", test_patch_next);
    g_test_add_func("/bt-run/changed-code/loop", test_patch_loop);
    g_test_add_func("/bt-run/changed-code/string", test_patch_string);
    g_test_add_func("/bt-run/changed-code/after-neighbour", test_patch_after_neighbour);
    g_test_add_func("/bt-run/changed-code/data-beside-code", test_data_beside_code);
    g_test_add_func("/bt-run/changed-code/device", test_device_writes_code);
    g_test_add_func("/bt-run/changed-code/memory-map", test_map_changes_code);
    g_test_add_func("/bt-run/changed-code/address-space", test_switch_spaces);
    g_test_add_func("/bt-run/pages/crossing", test_crossing);
    g_test_add_func("/bt-run/pages/second-page-absent", test_crossing_faults);
    g_test_add_func("/bt-run/faults/not-canonical", test_not_canonical);
    g_test_add_func("/bt-run/faults/inside-block", test_fault_inside);
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autofree char *path = g_strdup_printf("/bt-run/faults/%s", refused[i].name);
        g_test_add_data_func(path, &refused[i], test_refused);
    }
    g_test_add_func("/bt-run/requests/kick", test_kick);
    g_test_add_func("/bt-run/requests/kick-remembered", test_kick_remembered);
    g_test_add_func("/bt-run/cache/many-blocks", test_many_blocks);
    return g_test_run();
}
