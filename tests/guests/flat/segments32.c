// SPDX-License-Identifier: GPL-2.0-or-later
// Protected-mode segmentation (SDM vol. 3A, chapters 3 and 5): limits, types, null selectors,
// presence, privilege, expand-down, LAR/LSL/VERR/VERW, call gates, ring 3 and back.
#include "tests/guests/flat/flat.h"

static uint8_t memory[64] __attribute__((aligned(16)));
static uint32_t tss[26];

// Selectors of our own: GDT entries 9.. of boot.S.
enum {
    SEL_SMALL = 9 * 8, SEL_READ_ONLY = 10 * 8, SEL_DOWN = 11 * 8, SEL_ABSENT = 12 * 8,
    SEL_EXECUTE_ONLY = 13 * 8, SEL_TSS = 14 * 8, SEL_GATE = 15 * 8, SEL_CONFORMING = 16 * 8,
    SEL_LDT = 17 * 8, USER_CODE = 0x23, USER_DATA = 0x2b,
};

static uint16_t selector;

static void load_fs(void)
{
    asm volatile("mov %0, %%fs" ::"r"(selector) : "memory");
}

static void load_ss(void)
{
    asm volatile("mov %%ss, %%ebx; mov %0, %%ss; mov %%ebx, %%ss" ::"r"(selector) : "ebx");
}

static uint32_t offset;

static void read_fs(void)
{
    asm volatile("movl %%fs:(%0), %%eax" ::"r"(offset) : "eax");
}

static void write_fs(void)
{
    asm volatile("movl %%eax, %%fs:(%0)" ::"r"(offset));
}

static void read_cs_execute_only(void)
{
    load_fs();
}

static void test_limits(void)
{
    selector = SEL_SMALL;
    load_fs();
    offset = 12;
    check_no_fault(read_fs, "the last dword within the limit");
    offset = 13;
    check_fault(read_fs, 13, 0, "one byte past the limit");
    offset = 0xfffffffe;
    check_fault(read_fs, 13, 0, "an offset that wraps");
    selector = SEL_READ_ONLY;
    load_fs();
    offset = 0;
    check_no_fault(read_fs, "a read of a read-only segment");
    check_fault(write_fs, 13, 0, "a write to it");
    selector = SEL_DOWN; // expand-down: valid above the limit
    load_fs();
    offset = 0xfff;
    check_fault(read_fs, 13, 0, "expand-down: at the limit");
    offset = 0x1000;
    check_no_fault(read_fs, "expand-down: above the limit");
    selector = 0;
    load_fs();
    offset = 0;
    check_fault(read_fs, 13, 0, "a read through a null selector");
}

static void test_loads(void)
{
    selector = SEL_ABSENT;
    check_fault(load_fs, 11, SEL_ABSENT, "loading a segment that is not present");
    selector = SEL_ABSENT;
    check_fault(load_ss, 12, SEL_ABSENT, "loading it into SS");
    selector = 0x1000;
    check_fault(load_fs, 13, 0x1000, "a selector past the GDT's limit");
    selector = SEL_EXECUTE_ONLY;
    check_fault(read_cs_execute_only, 13, SEL_EXECUTE_ONLY, "an execute-only segment as data");
    selector = 0;
    check_fault(load_ss, 13, 0, "a null selector into SS");
    selector = USER_DATA;
    check_fault(load_ss, 13, USER_DATA & ~3, "SS with the wrong privilege");
    selector = SEL_SMALL | 4;
    check_fault(load_fs, 13, SEL_SMALL | 4, "an LDT selector without an LDT");
}

static void test_accessed(void)
{
    gdt[9] = descriptor((word)memory, 15, 0x92, 4);
    selector = SEL_SMALL;
    load_fs();
    check(gdt[9] >> 40 & 1, "a load sets the descriptor's accessed bit");
}

static void test_inspection(void)
{
    uint32_t value = 0;
    bool ok;
    asm volatile("lar %2, %0; setz %1" : "=r"(value), "=q"(ok) : "r"((uint32_t)0x10));
    check(ok && (value & 0xf0ff00) == 0xc09300, "LAR of the flat data segment");
    asm volatile("lsl %2, %0; setz %1" : "=r"(value), "=q"(ok) : "r"((uint32_t)0x10));
    check(ok && value == 0xffffffff, "LSL of it");
    asm volatile("lsl %2, %0; setz %1" : "=r"(value), "=q"(ok) : "r"((uint32_t)SEL_SMALL));
    check(ok && value == 15, "LSL of a byte-granular segment");
    asm volatile("lar %2, %0; setz %1" : "=r"(value), "=q"(ok) : "r"((uint32_t)0x1000));
    check(!ok, "LAR past the GDT's limit");
    asm volatile("verr %w1; setz %0" : "=q"(ok) : "r"(SEL_EXECUTE_ONLY));
    check(!ok, "VERR of an execute-only segment");
    asm volatile("verw %w1; setz %0" : "=q"(ok) : "r"(SEL_READ_ONLY));
    check(!ok, "VERW of a read-only segment");
    asm volatile("verr %w1; setz %0" : "=q"(ok) : "r"(SEL_READ_ONLY));
    check(ok, "VERR of it");
    uint16_t adjusted = 0x40;
    asm volatile("arpl %w2, %w0; setz %1" : "+r"(adjusted), "=q"(ok) : "r"((uint16_t)3));
    check(ok && adjusted == 0x43, "ARPL raises RPL");
}

// Ring 3 and back.

static volatile uint32_t user_cs, user_flags;
volatile uint32_t gate_argument, gate_cs;

static bool on_user_return(Frame *frame)
{
    user_cs = frame->cs;
    user_flags = frame->flags;
    extern void back_in_ring0(void);
    frame->ip = (word)back_in_ring0;
    frame->cs = 8;
    // IRET to the same ring takes no SS:ESP; the stack is put right at the other end.
    return true;
}

// Runs body in ring 3 until it does INT 80h.
void run_user(void (*body)(void));
uint32_t return_stack;
uint32_t user_stack[1024];

asm("run_user:\n\t"
    "movl 4(%esp), %eax\n\t"
    "pushal\n\t"
    "movl %esp, return_stack\n\t"
    "pushl $0x2b\n\t" // USER_DATA
    "pushl $user_stack + 4000\n\t"
    "pushfl\n\t"
    "pushl $0x23\n\t" // USER_CODE
    "pushl %eax\n\t"
    "iretl\n"
    ".globl back_in_ring0\n"
    "back_in_ring0:\n\t"
    "movl $0x10, %eax\n\t" // the way out to ring 3 has nulled them
    "movl %eax, %ds\n\t"
    "movl %eax, %es\n\t"
    "movl return_stack, %esp\n\t"
    "popal\n\t"
    "ret\n");

static bool user_faulted;

static bool on_gp(Frame *frame)
{
    if ((frame->cs & 3) != 3)
        return false;
    user_faulted = true;
    fault_error = frame->error;
    return on_user_return(frame);
}

static void user_nothing(void)
{
    asm volatile("int $0x80");
}

static void user_cli(void)
{
    asm volatile("cli; int $0x80");
}

static void user_port(void)
{
    asm volatile("outb %%al, $0x80; int $0x80" ::: "memory");
}

static void user_int_kernel(void)
{
    asm volatile("int $0x61; int $0x80");
}

static void user_gate(void)
{
    asm volatile("pushl $0x1234; lcall %0, $0; addl $4, %%esp; int $0x80" ::"i"(SEL_GATE | 3));
}

// Target of the call gate: one parameter was copied to the ring 0 stack.
asm(".globl gate_target\n"
    "gate_target:\n\t"
    "movl $0x10, %eax\n\t"
    "movl %eax, %ds\n\t"
    "movl 8(%esp), %eax\n\t"
    "movl %eax, gate_argument\n\t"
    "movl %cs, %eax\n\t"
    "movl %eax, gate_cs\n\t"
    "lretl $4\n");
extern void gate_target(void);

static void test_rings(void)
{
    static uint8_t kernel_stack[4096];
    tss[1] = (word)kernel_stack + sizeof kernel_stack;
    tss[2] = 0x10;
    tss[25] = 104 << 16; // no I/O bitmap
    gdt[14] = descriptor((word)tss, 103, 0x89, 0);
    asm volatile("ltr %w0" ::"r"(SEL_TSS) : "memory");
    check_equal(gdt[14] >> 40 & 0xff, 0x8b, "LTR marks the TSS busy");
    extern uint8_t entry_stubs[];
    idt_set_gate(0x80, (word)entry_stubs + 0x80 * 16, 8, 0xee, 0);
    handler_set(0x80, on_user_return);
    handler_set(13, on_gp);

    run_user(user_nothing);
    check_equal(user_cs & 3, 3, "ring 3 ran and came back by INT 80h");
    user_faulted = false;
    run_user(user_cli);
    check(user_faulted && fault_error == 0, "CLI in ring 3 with IOPL 0");
    user_faulted = false;
    run_user(user_port);
    check(user_faulted && fault_error == 0, "OUT in ring 3 without a bitmap");
    user_faulted = false;
    run_user(user_int_kernel);
    check(user_faulted && fault_error == (0x61 << 3 | 2), "INT through a ring 0 gate");
    word target = (word)gate_target;
    gdt[15] = (target & 0xffff) | 8 << 16 | (uint64_t)1 << 32 | (uint64_t)0xec << 40 |
              (uint64_t)(target >> 16) << 48;
    user_faulted = false;
    run_user(user_gate);
    check(!user_faulted, "a call gate from ring 3");
    check_equal(gate_argument, 0x1234, "copied its parameter");
    check_equal(gate_cs & 3, 0, "and ran in ring 0");
    handler_set(13, 0);
}

void guest_main(void)
{
    idt_load();
    gdt[9] = descriptor((word)memory, 15, 0x92, 4);
    gdt[10] = descriptor((word)memory, 63, 0x90, 4);
    gdt[11] = descriptor(0, 0xfff, 0x96, 4);
    gdt[12] = descriptor(0, 0xfffff, 0x12, 12);
    gdt[13] = descriptor(0, 0xfffff, 0x98, 12);
    test_limits();
    test_loads();
    test_accessed();
    test_inspection();
    test_rings();
    guest_end();
}
