// SPDX-License-Identifier: GPL-2.0-or-later
// What emit-system.c makes of a kernel's instructions, seen from outside: flags, segment bases and
// control registers are what the interpreter gives, and an interrupt that waits is taken where the
// shadow of STI ends, not before and not later.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-harness.h"

#include "engine/base/bytes.h"

enum { IDT = 0x6000, HANDLER = 0x7000, VECTOR = 0x20, IF = 0x200, AC = 0x40000 };

typedef struct {
    const char *name;
    uint8_t code[16];
    unsigned size;
    unsigned taken_at; // what the handler finds as RIP, from the code's beginning
} Window;

static const Window windows[] = {
    { "nop", { 0xfb, 0x90, 0xfa }, 3, 2 },                   // sti; nop; cli
    { "load", { 0xfb, 0x48, 0x8b, 0x04, 0x24, 0xfa }, 6, 5 }, // sti; mov (%rsp), %rax; cli
    { "halt", { 0xfb, 0xf4, 0xfa }, 3, 2 },                  // sti; hlt; cli
    { "called-out", { 0xfb, 0x0f, 0xa2, 0xfa }, 4, 3 },      // sti; cpuid; cli
    { "again", { 0xfb, 0xfb, 0x90, 0xfa }, 4, 2 },           // sti; sti; nop; cli
    { "last", { 0xfb }, 1, 2 },                              // sti; hlt
    // push $CODE + 9; sti; ret; hlt; nop; cli
    { "return", { 0x68, 9, BT_HARNESS_CODE >> 8, 0, 0, 0xfb, 0xc3, 0xf4, 0xf4, 0x90, 0xfa }, 11,
      9 },
};

static void test_window(gconstpointer data)
{
    const Window *window = data;
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *state = bt_harness_state(h, BT_HARNESS_LONG);
    bt_harness_code(h, BT_HARNESS_CODE, window->code, window->size);
    bt_harness_code(h, HANDLER, "\x48\x8b\x1c\x24", 4); // mov (%rsp), %rbx
    uint8_t *gate = bt_harness_at(h, IDT + VECTOR * 16);
    le16_write(gate, HANDLER);
    le16_write(gate + 2, BT_HARNESS_CODE_64);
    le16_write(gate + 4, 0x8e00);
    state->idtr = (VcpuTable){ .base = IDT, .limit = 0x3ff };
    state->rflags = 2;
    h->vector = VECTOR;
    bt_test_engine()->set_interrupt(h->cpu, true);
    bt_harness_run(h);
    g_assert_cmphex(state->gpr[VCPU_RBX], ==, BT_HARNESS_CODE + window->taken_at);
}

static void test_flags(void)
{
    static const uint8_t code[] = {
        0xf9,                         // stc
        0x9c, 0x58,                   // pushfq; pop %rax
        0xfb, 0x9c, 0x5b,             // sti; pushfq; pop %rbx
        0xfa, 0x9c, 0x59,             // cli; pushfq; pop %rcx
        0x0f, 0x01, 0xcb, 0x9c, 0x5a, // stac; pushfq; pop %rdx
        0x0f, 0x01, 0xca, 0x9c, 0x5e, // clac; pushfq; pop %rsi
        0x40, 0x0f, 0x92, 0xc7,       // setc %dil
    };
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *state = bt_harness_state(h, BT_HARNESS_LONG);
    state->rflags = 2;
    bt_harness_code(h, BT_HARNESS_CODE, code, sizeof code);
    bt_harness_run(h);
    g_assert_cmphex(state->gpr[VCPU_RAX], ==, 3);
    g_assert_cmphex(state->gpr[VCPU_RBX], ==, 3 | IF);
    g_assert_cmphex(state->gpr[VCPU_RCX], ==, 3);
    g_assert_cmphex(state->gpr[VCPU_RDX], ==, 3 | AC);
    g_assert_cmphex(state->gpr[VCPU_RSI], ==, 3);
    g_assert_cmphex(state->gpr[VCPU_RDI], ==, 1);
}

static void test_registers(void)
{
    static const uint8_t code[] = {
        0xb9, 0x02, 0x01, 0x00, 0xc0,             // mov $0xc0000102, %ecx: KERNEL_GS_BASE
        0xb8, 8, BT_HARNESS_DATA >> 8 & 0xff, BT_HARNESS_DATA >> 16, 0, // mov $DATA + 8, %eax
        0x31, 0xd2, 0x0f, 0x30,                   // xor %edx, %edx; wrmsr
        0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, // mov %gs:0, %rax
        0x0f, 0x01, 0xf8,                         // swapgs
        0x65, 0x48, 0x8b, 0x1c, 0x25, 0, 0, 0, 0, // mov %gs:0, %rbx
        0x0f, 0x20, 0xd9, 0x41, 0x0f, 0x20, 0xdc, // mov %cr3, %rcx; mov %cr3, %r12
        0x8c, 0xca, 0x41, 0x8c, 0xcd,             // mov %cs, %edx; mov %cs, %r13d
    };
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *state = bt_harness_state(h, BT_HARNESS_LONG);
    state->segment[VCPU_GS].base = BT_HARNESS_DATA;
    state->gpr[VCPU_R13] = UINT64_MAX;
    le64_write(bt_harness_at(h, BT_HARNESS_DATA), 11);
    le64_write(bt_harness_at(h, BT_HARNESS_DATA + 8), 22);
    bt_harness_code(h, BT_HARNESS_CODE, code, sizeof code);
    bt_harness_run(h);
    g_assert_cmpuint(state->gpr[VCPU_RAX], ==, 11);
    g_assert_cmpuint(state->gpr[VCPU_RBX], ==, 22);
    g_assert_cmphex(state->gpr[VCPU_RCX], ==, BT_HARNESS_TABLES);
    g_assert_cmphex(state->gpr[VCPU_R12], ==, BT_HARNESS_TABLES);
    g_assert_cmphex(state->gpr[VCPU_RDX], ==, BT_HARNESS_CODE_64);
    g_assert_cmphex(state->gpr[VCPU_R13], ==, BT_HARNESS_CODE_64);
    g_assert_cmphex(state->segment[VCPU_GS].base, ==, BT_HARNESS_DATA + 8);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(windows); i++) {
        g_autofree char *path = g_strdup_printf("/bt-system-code/window-%s", windows[i].name);
        g_test_add_data_func(path, &windows[i], test_window);
    }
    g_test_add_func("/bt-system-code/flags", test_flags);
    g_test_add_func("/bt-system-code/registers", test_registers);
    return g_test_run();
}
