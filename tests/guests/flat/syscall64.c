// SPDX-License-Identifier: GPL-2.0-or-later
// Long mode's own (SDM vol. 2 and vol. 3A, sections 5.8 and 6.14): SYSCALL and SYSRET, SWAPGS,
// FS and GS bases, IST stacks, compatibility mode, a double fault, IRET to ring 3.
#include "tests/guests/flat/flat.h"

enum { SEL_TSS = 10 * 8 };

static struct __attribute__((packed)) {
    uint32_t reserved;
    uint64_t rsp[3];
    uint64_t reserved2;
    uint64_t ist[7];
    uint64_t reserved3;
    uint16_t reserved4, iomap;
} tss;

static uint8_t kernel_stack[4096] __attribute__((aligned(16)));
static uint8_t ist_stack[4096] __attribute__((aligned(16)));
uint8_t user_stack[4096] __attribute__((aligned(16)));
volatile uint64_t seen_rcx, seen_r11, seen_cs, seen_flags, user_cs, saved_stack;

void syscall_entry(void);
void run_user(void (*body)(void));
// STAR: SYSCALL loads CS 18h, SS 20h (not used as such); SYSRET loads CS 20h + 16 = 30h and
// SS 20h + 8 = 28h.
asm("syscall_entry:\n\t"
    "movq %rcx, seen_rcx\n\t"
    "movq %r11, seen_r11\n\t"
    "movl %cs, %eax\n\t"
    "movq %rax, seen_cs\n\t"
    "pushfq\n\t"
    "popq seen_flags\n\t"
    "cmpq $1, %rdi\n\t"
    "je 1f\n\t"
    "sysretq\n"
    "1:\n\t"
    "movl $0x10, %eax\n\t" // SYSCALL left SS = 20h, which is not a data segment here
    "movl %eax, %ss\n\t"
    "movq saved_stack, %rsp\n\t"
    "popq %r15\n\t"
    "popq %r14\n\t"
    "popq %r13\n\t"
    "popq %r12\n\t"
    "popq %rbp\n\t"
    "popq %rbx\n\t"
    "ret\n"
    "run_user:\n\t"
    "pushq %rbx\n\t"
    "pushq %rbp\n\t"
    "pushq %r12\n\t"
    "pushq %r13\n\t"
    "pushq %r14\n\t"
    "pushq %r15\n\t"
    "movq %rsp, saved_stack\n\t"
    "pushq $0x2b\n\t"
    "pushq $user_stack + 4000\n\t"
    "pushq $0x202\n\t"
    "pushq $0x33\n\t"
    "pushq %rdi\n\t"
    "iretq\n");

__attribute__((naked)) static void user_syscall(void)
{
    asm volatile("xorl %edi, %edi\n\t"
                 "syscall\n\t"
                 "movl %cs, %eax\n\t"
                 "movq %rax, user_cs\n\t"
                 "movl $1, %edi\n\t"
                 "syscall\n");
}

static void test_syscall(void)
{
    extern uint64_t boot_pml4[], boot_pdpt[], boot_pd[];
    boot_pml4[0] |= 4;
    boot_pdpt[0] |= 4;
    boot_pd[0] |= 4;
    write_cr3(read_cr3());
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
    wrmsr(0xc0000081, (uint64_t)0x20 << 48 | (uint64_t)0x18 << 32);
    wrmsr(0xc0000082, (word)syscall_entry);
    wrmsr(0xc0000084, 0x200); // clears IF
    run_user(user_syscall);
    check_equal(user_cs, 0x33, "SYSRET came back to ring 3");
    check_equal(seen_cs & 3, 0, "SYSCALL ran in ring 0");
    check(seen_r11 & 0x200, "R11 holds the user's flags");
    check(!(seen_flags & 0x200), "FMASK cleared IF");
    check(seen_rcx > (word)user_syscall && seen_rcx < (word)user_syscall + 64,
          "RCX is behind SYSCALL");
}

static void load_null_fs(void)
{
    uint16_t null = 0;
    asm volatile("mov %w0, %%fs" ::"r"(null));
}

static void test_bases(void)
{
    static uint64_t a = 0xaaaa, b = 0xbbbb;
    uint64_t value;
    wrmsr(0xc0000101, (word)&a);
    wrmsr(0xc0000102, (word)&b);
    asm volatile("movq %%gs:0, %0" : "=r"(value));
    check_equal(value, 0xaaaa, "GS base");
    asm volatile("swapgs; movq %%gs:0, %0; swapgs" : "=r"(value));
    check_equal(value, 0xbbbb, "SWAPGS");
    wrmsr(0xc0000100, (word)&b);
    asm volatile("movq %%fs:0, %0" : "=r"(value));
    check_equal(value, 0xbbbb, "FS base");
    check_no_fault(load_null_fs, "a null FS can be loaded");
}

static void write_bad_base(void)
{
    wrmsr(0xc0000101, 0x800000000000);
}

static void write_unknown_msr(void)
{
    wrmsr(0xdeadbeef, 0);
}

static volatile uint64_t ist_rsp, frame_ss, frame_sp;

static bool on_ist(Frame *frame)
{
    ist_rsp = (word)frame;
    frame_sp = frame->sp;
    frame_ss = frame->ss;
    return true;
}

static void test_ist(void)
{
    extern uint8_t entry_stubs[];
    tss.ist[2] = (word)ist_stack + sizeof ist_stack;
    idt_set_gate(0x55, (word)entry_stubs + 0x55 * 16, 0x18, 0x8e, 3);
    handler_set(0x55, on_ist);
    uint64_t rsp;
    asm volatile("movq %%rsp, %0; int $0x55" : "=r"(rsp)::"memory");
    check(ist_rsp > (word)ist_stack && ist_rsp < (word)ist_stack + sizeof ist_stack,
          "a gate with IST 3 switches stacks in ring 0");
    check_equal(frame_sp, rsp, "the old RSP was pushed");
}

// #NP while delivering #GP is a double fault (SDM vol. 3A, table 6-5).
static void cause_double_fault(void)
{
    wrmsr(0xdeadbeef, 0);
}

static void test_double_fault(void)
{
    extern uint8_t entry_stubs[];
    idt_set_gate(13, (word)entry_stubs + 13 * 16, 0x18, 0x0e, 0); // not present
    check_fault(cause_double_fault, 8, 0, "#NP within #GP gives #DF with error 0");
    idt_set_gate(13, (word)entry_stubs + 13 * 16, 0x18, 0x8e, 0);
}

volatile uint32_t compat_value;
static void test_compat(void)
{
    // A far call to the 32-bit code segment 08h; there 48h is DEC EAX, not REX.W.
    static struct __attribute__((packed)) {
        uint32_t offset;
        uint16_t selector;
    } pointer;
    extern uint8_t compat_code[];
    pointer.offset = (uint32_t)(word)compat_code;
    pointer.selector = 8;
    // IRETQ to ring 3 has nulled DS, which counts again in compatibility mode.
    asm volatile("movl $0x10, %%eax; movl %%eax, %%ds; lcall *%0" ::"m"(pointer)
                 : "rax", "memory");
    check_equal(compat_value, 0x100, "48h is DEC in compatibility mode");
}

asm(".code32\n"
    "compat_code:\n\t"
    "movl $0x101, %eax\n\t"
    ".byte 0x48\n\t"
    "nop\n\t"
    "movl %eax, compat_value\n\t"
    "lretl\n"
    ".code64\n");

void guest_main(void)
{
    idt_load();
    tss.rsp[0] = (word)kernel_stack + sizeof kernel_stack;
    tss.iomap = sizeof tss;
    gdt[10] = descriptor((uint32_t)(word)&tss, sizeof tss - 1, 0x89, 0);
    gdt[11] = (word)&tss >> 32;
    asm volatile("ltr %w0" ::"r"(SEL_TSS) : "memory");
    test_syscall();
    test_bases();
    check_fault(write_bad_base, 13, 0, "a non-canonical GS base");
    check_fault(write_unknown_msr, 13, 0, "an MSR that does not exist");
    test_ist();
    test_double_fault();
    test_compat();
    guest_end();
}
