// SPDX-License-Identifier: GPL-2.0-or-later
// Several CPUs (SDM vol. 3A, section 9.4): INIT and startup IPIs wake every processor, locked
// additions lose nothing, IPIs arrive, CPU n sees what CPU 0 wrote, cross-modified code runs new.
#include "tests/guests/flat/flat.h"

#define APIC ((volatile uint32_t *)0xfee00000)
#define TRAMPOLINE 0x8000

extern uint8_t ap_start[], ap_end[], boot_pml4[];
volatile uint32_t cpus_up, counter, released, finished, ipis;
volatile word ap_stack_next;
static uint8_t stacks[16][4096] __attribute__((aligned(16)));

// Copied to 8000h; real mode to the boot CPU's GDT and page tables.
asm(".pushsection .text\n"
    ".globl ap_start, ap_end\n"
    ".code16\n"
    "ap_start:\n\t"
    "cli\n\t"
    "movw $0x1000, %ax\n\t"
    "movw %ax, %ds\n\t"
    "data32 lgdt gdt_real_pointer\n\t"
    "movl %cr0, %eax\n\t"
    "orb $1, %al\n\t"
    "movl %eax, %cr0\n\t"
    "data32 ljmp $8, $ap_32\n"
    "ap_end:\n"
    ".code32\n"
    "ap_32:\n\t"
    "movl $0x10, %eax\n\t"
    "movl %eax, %ds\n\t"
    "movl %eax, %es\n\t"
    "movl %eax, %ss\n\t"
    "movl $-4096, %esp\n\t"
    "lock xaddl %esp, ap_stack_next\n\t"
#ifdef __x86_64__
    "movl $0x620, %eax\n\t"
    "movl %eax, %cr4\n\t"
    "movl $boot_pml4, %eax\n\t"
    "movl %eax, %cr3\n\t"
    "movl $0xc0000080, %ecx\n\t"
    "movl $0x100, %eax\n\t"
    "xorl %edx, %edx\n\t"
    "wrmsr\n\t"
    "movl %cr0, %eax\n\t"
    "orl $0x80000000, %eax\n\t"
    "movl %eax, %cr0\n\t"
    "ljmp $0x18, $ap_64\n"
    ".code64\n"
    "ap_64:\n\t"
    "movl %esp, %esp\n\t"
#endif
    "call ap_main\n"
    ".popsection\n");

static uint8_t code[64] __attribute__((aligned(64)));
static volatile uint32_t code_turn, code_sum;

static void emit_return(uint32_t value)
{
    code[0] = 0xb8;
    for (unsigned i = 0; i < 4; i++)
        code[1 + i] = (uint8_t)(value >> i * 8);
    code[5] = 0xc3;
}

static void work(void)
{
    for (unsigned i = 0; i < 20000; i++)
        asm volatile("lock incl %0" : "+m"(counter)::"memory");
}

static bool on_ipi(Frame *frame)
{
    asm volatile("lock incl %0" : "+m"(ipis)::"memory");
    APIC[0xb0 / 4] = 0;
    return true;
}

void ap_main(void);
void ap_main(void)
{
    idt_load();
    APIC[0xf0 / 4] = 0x1ff;
    uint32_t index = 1;
    asm volatile("lock xaddl %0, %1" : "+r"(index), "+m"(cpus_up)::"memory");
    while (!released)
        asm volatile("pause");
    work();
    // The first of them runs code that the boot CPU rewrites.
    for (uint32_t turn = 1; index == 0 && turn <= 50; turn++) {
        while (code_turn != turn * 2 - 1)
            asm volatile("pause");
        uint32_t r[4];
        cpuid(0, 0, r); // serialises
        uint32_t (*function)(void) = (uint32_t (*)(void))(word)code;
        code_sum += function();
        code_turn = turn * 2;
    }
    asm volatile("lock incl %0" : "+m"(finished)::"memory");
    for (;;)
        asm volatile("sti; hlt");
}

static void ipi(uint32_t low)
{
    APIC[0x310 / 4] = 0;
    APIC[0x300 / 4] = low;
    while (APIC[0x300 / 4] & 1 << 12)
        ;
}

static void delay(void)
{
    for (volatile unsigned i = 0; i < 3000000; i++)
        ;
}

static unsigned cpus_wanted(void)
{
    outb(0x70, 0x5f); // what the firmware leaves there: CPUs - 1
    return inb(0x71) + 1u;
}

void guest_main(void)
{
    idt_load();
    handler_set(0x50, on_ipi);
    ap_stack_next = (word)stacks + sizeof stacks;
    for (unsigned i = 0; i < (unsigned)(ap_end - ap_start); i++)
        ((volatile uint8_t *)TRAMPOLINE)[i] = ap_start[i];
    APIC[0xf0 / 4] = 0x1ff;
    unsigned wanted = cpus_wanted();
    ipi(0xc4500); // INIT to all but self
    delay();
    ipi(0xc4600 | TRAMPOLINE >> 12);
    // A CPU is a thread of a host that may be busy: only what never comes is missed.
    for (unsigned i = 0; i < 2000 && cpus_up < wanted - 1; i++)
        delay();
    check_equal(cpus_up, wanted - 1, "every CPU came up");
    released = 1;
    work();
    for (uint32_t turn = 1; wanted > 1 && turn <= 50; turn++) {
        emit_return(turn);
        code_turn = turn * 2 - 1;
        while (code_turn != turn * 2)
            asm volatile("pause");
    }
    while (finished < wanted - 1)
        asm volatile("pause");
    check_equal(counter, wanted * 20000, "locked additions of all CPUs");
    check_equal(code_sum, wanted > 1 ? 1275 : 0, "code rewritten by another CPU runs new");
    for (unsigned i = 0; i < 10; i++) {
        ipi(0xc4050);
        for (unsigned wait = 0; wait < 200000 && ipis < (i + 1) * (wanted - 1); wait++)
            for (volatile unsigned j = 0; j < 10000; j++)
                ;
    }
    check_equal(ipis, 10 * (wanted - 1), "IPIs to all but self");
    guest_end();
}
