// SPDX-License-Identifier: GPL-2.0-or-later
// Debug registers and single-step (SDM vol. 3B, chapter 17): TF, instruction and data breakpoints,
// RF, DR6, general detect, MOV SS holding a trap off.
#include "tests/guests/flat/flat.h"

static volatile unsigned traps;
static volatile word trap_ip, trap_dr6;
static volatile bool clear_tf, set_rf;
volatile uint32_t watched;

#define DR(n, value) asm volatile("mov %0, %%dr" #n ::"r"((word)(value)))

static bool on_debug(Frame *frame)
{
    traps++;
    trap_ip = frame->ip;
    trap_dr6 = read_dr6();
    DR(6, 0xffff0ff0);
    if (clear_tf)
        frame->flags &= ~(word)0x100;
    if (set_rf)
        frame->flags |= 0x10000;
    return true;
}

static void steps(void)
{
    // Three instructions run with TF set: the one behind POPF and the two after it.
#ifdef __x86_64__
    asm volatile("pushf; orq $0x100, (%%rsp); popf; nop; nop; pushf; andq $~0x100, (%%rsp); popf"
                 ::: "memory", "cc");
#else
    asm volatile("pushf; orl $0x100, (%%esp); popf; nop; nop; pushf; andl $~0x100, (%%esp); popf"
                 ::: "memory", "cc");
#endif
}

static void test_step(void)
{
    traps = 0;
    steps();
    check_equal(traps, 5, "TF traps after each instruction");
    check_equal(trap_dr6 & 0x4000, 0x4000, "DR6.BS");
}

static void test_step_shadow(void)
{
    traps = 0;
    word after;
    uint16_t ss;
    asm volatile("mov %%ss, %0" : "=r"(ss));
    clear_tf = true;
#ifdef __x86_64__
    asm volatile("lea 1f(%%rip), %0; pushf; orq $0x100, (%%rsp); popf; mov %w1, %%ss; nop; 1: nop"
                 : "=&r"(after) : "r"(ss) : "memory", "cc");
#else
    asm volatile("lea 1f, %0; pushf; orl $0x100, (%%esp); popf; mov %w1, %%ss; nop; 1: nop"
                 : "=&r"(after) : "r"(ss) : "memory", "cc");
#endif
    clear_tf = false;
    check_equal(traps, 1, "one trap");
    check_equal(trap_ip, after, "which MOV SS held off for one instruction");
}

__attribute__((noinline)) static void breakpoint_here(void)
{
    asm volatile(".globl break_at\nbreak_at: nop\n nop" ::: "memory");
}

extern uint8_t break_at[];

static void test_instruction(void)
{
    traps = 0;
    set_rf = true;
    DR(0, break_at);
    DR(7, 0x401);
    breakpoint_here();
    DR(7, 0x400);
    set_rf = false;
    check_equal(traps, 1, "an instruction breakpoint, once with RF set");
    check_equal(trap_ip, (word)break_at, "is a fault");
    check_equal(trap_dr6 & 15, 1, "DR6.B0");
}

static void test_data(void)
{
    traps = 0;
    DR(1, &watched);
    DR(7, 0x400 | 1 << 2 | 0xdu << 20); // L1, write, 4 bytes
    uint32_t value = watched;
    check_equal(traps, 0, "a read does not trigger a write breakpoint");
    watched = value + 1;
    asm volatile("nop");
    DR(7, 0x400);
    check_equal(traps, 1, "a write does");
    check_equal(trap_dr6 & 15, 2, "DR6.B1");
    traps = 0;
    DR(7, 0x400 | 1 << 2 | 0xfu << 20); // read or write
    asm volatile("movb %0, %%al" ::"m"(((volatile uint8_t *)&watched)[3]) : "al");
    asm volatile("nop");
    DR(7, 0x400);
    check_equal(traps, 1, "a byte read within a 4-byte breakpoint");
}

static void test_detect(void)
{
    traps = 0;
    DR(7, 0x2400);
    word value;
    asm volatile("mov %%dr0, %0" : "=r"(value)); // the handler's return clears GD
    check_equal(traps, 1, "general detect");
    check_equal(trap_dr6 & 0x2000, 0x2000, "DR6.BD");
    DR(7, 0x400);
}

void guest_main(void)
{
    idt_load();
    handler_set(1, on_debug);
    test_step();
    test_step_shadow();
    test_instruction();
    test_data();
    test_detect();
    guest_end();
}
