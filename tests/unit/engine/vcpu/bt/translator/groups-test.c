// SPDX-License-Identifier: GPL-2.0-or-later
// Accesses that one check serves: over a page's end, into a page that is not there or read-only,
// and after the pages changed. Each program stores or loads neighbours in a loop, so that the unit
// is entered many times at places that its window does not fit.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-harness.h"

#include "engine/base/bytes.h"

#include <string.h>

#define GUEST(name, text)                                                                          \
    __asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n");          \
    extern const uint8_t name[], name##_end[];

enum {
    IDT = 0x600,
    HANDLER = 0x7000,
    PAGE_TABLE = 0x10000, // of the 2 MiB at WINDOW
    WINDOW = 0x200000,
    FRAMES = 0x800000,    // page n of the window is frame 2 * n: no two lie together
};

static void map(BtHarness *h, unsigned page, uint64_t flags)
{
    le64_write(bt_harness_at(h, PAGE_TABLE + 8 * page), (FRAMES + 0x2000 * (uint64_t)page) | flags);
}

static VcpuState *begin(BtHarness *h, const uint8_t *code, const uint8_t *end)
{
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    memset(bt_harness_at(h, PAGE_TABLE), 0, 0x1000);
    for (unsigned i = 0; i < 4; i++) {
        map(h, i, 3);
        memset(bt_harness_at(h, FRAMES + 0x2000 * i), 0, 0x2000);
    }
    le64_write(bt_harness_at(h, BT_HARNESS_TABLES + 0x2000 + 8 * (WINDOW >> 21)), PAGE_TABLE | 3);
    uint8_t *gate = bt_harness_at(h, IDT + 16 * 14);
    memset(gate, 0, 16);
    le16_write(gate, HANDLER);
    le16_write(gate + 2, BT_HARNESS_CODE_64);
    gate[5] = 0x8e;
    *(uint8_t *)bt_harness_at(h, HANDLER) = 0xf4;
    s->idtr = (VcpuTable){ .base = IDT, .limit = 0x1ff };
    bt_harness_code(h, BT_HARNESS_CODE, code, (size_t)(end - code));
    s->gpr[VCPU_RDI] = WINDOW;
    return s;
}

static uint64_t at(BtHarness *h, unsigned offset) // in the window
{
    return le64_read(bt_harness_at(h, FRAMES + 0x2000 * (offset >> 12) + (offset & 0xfff)));
}

// Each step of 8 bytes writes three neighbours, and reads two of them back.
GUEST(walk, "mov $1000, %ecx\n1: mov %rcx, (%rdi)\n mov %rcx, 8(%rdi)\n mov %rdi, 16(%rdi)\n"
            "add 8(%rdi), %rax\n add 16(%rdi), %rax\n add $8, %rdi\n dec %ecx\n jnz 1b\n")

static void test_walk(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h, walk, walk_end);
    bt_harness_run(h);
    uint64_t sum = 0;
    for (unsigned i = 0; i < 1000; i++)
        sum += 1000 - i + WINDOW + 8 * i;
    g_assert_cmphex(s->gpr[VCPU_RAX], ==, sum);
    for (unsigned i = 0; i < 1000; i++)
        g_assert_cmpuint(at(h, 8 * i), ==, 1000 - i);
    g_assert_cmpuint(at(h, 8000), ==, 1);
    g_assert_cmpuint(at(h, 8008), ==, WINDOW + 8 * 999);
    for (unsigned i = 0; i < 3; i++) // what lies behind the frames is not the window's
        g_assert_cmpuint(le64_read(bt_harness_at(h, FRAMES + 0x2000 * i + 0x1000)), ==, 0);
}

// The second neighbour is the one that may not be accessed.
static void check_fault(uint64_t flags, uint32_t error)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h, walk, walk_end);
    map(h, 1, flags);
    bt_harness_run(h);
    g_assert_cmphex(s->cr2, ==, WINDOW + 0x1000);
    g_assert_cmphex(le64_read(bt_harness_at(h, s->gpr[VCPU_RSP])), ==, error);
    g_assert_cmphex(s->gpr[VCPU_RDI], ==, WINDOW + 0xff0); // 16(%rdi) faults
    g_assert_cmpuint(at(h, 0xff8), ==, s->gpr[VCPU_RCX]);
}

static void test_absent(void)
{
    check_fault(0, 2);
}

static void test_read_only(void)
{
    check_fault(1, 3);
}

// The frame is exchanged between two entries: the unit must not go on with the old one.
GUEST(exchange, "mov $100, %ecx\n1: mov %rcx, (%rdi)\n mov %rcx, 8(%rdi)\n addq $1, 16(%rdi)\n"
                "mov 0x10000, %rdx\n xor $0x2000, %rdx\n mov %rdx, 0x10000\n invlpg (%rdi)\n"
                "dec %ecx\n jnz 1b\n")

static void test_exchange(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    begin(h, exchange, exchange_end);
    bt_harness_run(h);
    g_assert_cmpuint(le64_read(bt_harness_at(h, FRAMES + 16)), ==, 50);
    g_assert_cmpuint(le64_read(bt_harness_at(h, FRAMES + 0x2000 + 16)), ==, 50);
    g_assert_cmpuint(le64_read(bt_harness_at(h, FRAMES + 8)), ==, 2);
    g_assert_cmpuint(le64_read(bt_harness_at(h, FRAMES + 0x2000 + 8)), ==, 1);
}

// A stack that grows over the end of a page.
GUEST(stack, "mov $300, %ecx\n lea 0x2800(%rdi), %rsp\n"
             "1: push %rcx\n push %rdi\n push %rcx\n pop %rdx\n add %rdx, %rax\n"
             "pop %rsi\n dec %ecx\n jnz 1b\n")

static void test_stack(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h, stack, stack_end);
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RAX], ==, 300 * 301 / 2);
    g_assert_cmphex(s->gpr[VCPU_RSI], ==, WINDOW);
    for (unsigned i = 0; i < 300; i++)
        g_assert_cmpuint(at(h, 0x2800 - 8 - 8 * i), ==, 300 - i);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/groups/walk-over-page-ends", test_walk);
    g_test_add_func("/groups/second-page-absent", test_absent);
    g_test_add_func("/groups/second-page-read-only", test_read_only);
    g_test_add_func("/groups/frame-exchanged", test_exchange);
    g_test_add_func("/groups/stack-over-page-ends", test_stack);
    return g_test_run();
}
