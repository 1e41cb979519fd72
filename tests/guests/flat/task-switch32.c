// SPDX-License-Identifier: GPL-2.0-or-later
// Hardware task switches (SDM vol. 3A, chapter 8): JMP and CALL to a TSS, IRET with NT, a task
// gate in the IDT, the saved state, busy bits, the back link, TS.
#include "tests/guests/flat/flat.h"

enum { SEL_MAIN = 9 * 8, SEL_OTHER = 10 * 8, SEL_TASK_GATE = 11 * 8 };

typedef struct {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt, iomap;
} Tss;

static Tss main_tss, other_tss;
static uint8_t other_stack[4096];
volatile uint32_t other_runs, other_eax, other_nt, other_link, other_ts;

void other_task(void);
// Runs as the other task; comes back by IRET as long as NT is set, else by a far jump.
asm("other_task:\n"
    "1:\n\t"
    "movl %eax, other_eax\n\t"
    "incl other_runs\n\t"
    "pushfl\n\t"
    "popl %eax\n\t"
    "shrl $14, %eax\n\t"
    "andl $1, %eax\n\t"
    "movl %eax, other_nt\n\t"
    "movl %cr0, %eax\n\t"
    "shrl $3, %eax\n\t"
    "andl $1, %eax\n\t"
    "movl %eax, other_ts\n\t"
    "movl $0x1111, %eax\n\t"
    "cmpl $0, other_nt\n\t"
    "je 2f\n\t"
    "iretl\n\t"
    "jmp 1b\n"
    "2:\n\t"
    "ljmp $0x48, $0\n\t"
    "jmp 1b\n");

static unsigned busy(unsigned selector)
{
    asm volatile("" ::: "memory");
    return gdt[selector / 8] >> 41 & 1;
}

static void reset_other(void)
{
    other_tss = (Tss){ .eip = (word)other_task, .eflags = 2, .eax = 0x4321,
                       .esp = (word)other_stack + sizeof other_stack, .es = 0x10, .cs = 8,
                       .ss = 0x10, .ds = 0x10, .iomap = 104u << 16 };
    gdt[SEL_OTHER / 8] = descriptor((word)&other_tss, 103, 0x89, 0);
    asm volatile("clts" ::: "memory");
}

static void test_jump(void)
{
    reset_other();
    asm volatile("ljmp %0, $0" ::"i"(SEL_OTHER) : "memory", "cc");
    check_equal(other_runs, 1, "JMP to a TSS runs the task");
    check_equal(other_eax, 0x4321, "with its EAX");
    check_equal(other_nt, 0, "and NT clear");
    check_equal(other_ts, 1, "and CR0.TS set");
    check_equal(busy(SEL_MAIN), 1, "the main task is busy again");
    check_equal(busy(SEL_OTHER), 0, "the other is not");
    check_equal(other_tss.eax, 0x1111, "its EAX was saved");
}

static void test_call(void)
{
    reset_other();
    uint32_t kept = 0x5678;
    asm volatile("lcall %1, $0" : "+b"(kept) : "i"(SEL_OTHER) : "memory", "cc");
    check_equal(other_runs, 2, "CALL to a TSS runs the task");
    check_equal(other_nt, 1, "with NT set");
    check_equal(other_tss.link, SEL_MAIN, "and the back link");
    check_equal(kept, 0x5678, "IRET brings the caller's registers back");
    check_equal(busy(SEL_OTHER), 0, "and leaves the task not busy");
    check_equal(other_tss.eflags >> 14 & 1, 0, "its saved NT is clear");
}

static void test_gate(void)
{
    reset_other();
    gdt[SEL_TASK_GATE / 8] = (uint64_t)SEL_OTHER << 16 | (uint64_t)0x85 << 40;
    asm volatile("lcall %0, $0" ::"i"(SEL_TASK_GATE) : "memory", "cc");
    check_equal(other_runs, 3, "CALL through a task gate");
    reset_other();
    idt_set_gate(0x70, 0, SEL_OTHER, 0x85, 0);
    asm volatile("int $0x70" ::: "memory", "cc");
    check_equal(other_runs, 4, "INT through a task gate");
    check_equal(other_nt, 1, "which nests");
}

static void jump_busy(void)
{
    asm volatile("ljmp %0, $0" ::"i"(SEL_OTHER) : "memory");
}

static void test_faults(void)
{
    reset_other();
    gdt[SEL_OTHER / 8] = descriptor((word)&other_tss, 103, 0x8b, 0);
    check_fault(jump_busy, 13, SEL_OTHER, "a jump to a busy task");
    gdt[SEL_OTHER / 8] = descriptor((word)&other_tss, 102, 0x89, 0);
    check_fault(jump_busy, 10, SEL_OTHER, "a TSS that is too small");
    gdt[SEL_OTHER / 8] = descriptor((word)&other_tss, 103, 0x09, 0);
    check_fault(jump_busy, 11, SEL_OTHER, "a TSS that is not present");
}

void guest_main(void)
{
    idt_load();
    gdt[SEL_MAIN / 8] = descriptor((word)&main_tss, 103, 0x89, 0);
    main_tss.iomap = 104u << 16;
    asm volatile("ltr %w0" ::"r"(SEL_MAIN) : "memory");
    test_jump();
    test_call();
    test_gate();
    test_faults();
    guest_end();
}
