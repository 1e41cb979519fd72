// SPDX-License-Identifier: GPL-2.0-or-later
// Virtual-8086 mode (SDM vol. 3A, chapter 21): entry by IRET, addressing, IOPL-sensitive
// instructions, ports by the I/O bitmap, interrupts through ring 0.
#include "tests/guests/flat/flat.h"

#define V86_CODE ((uint8_t *)0x2000)
#define V86_DATA ((volatile uint16_t *)0x3000)

enum { SEL_TSS = 9 * 8, VM = 1 << 17 };

static struct {
    uint32_t fields[26];
    uint8_t bitmap[8193];
} tss __attribute__((aligned(16)));

static uint8_t kernel_stack[4096] __attribute__((aligned(16)));
static Frame left; // how the v86 code came back
static uint32_t left_segments[4]; // ES DS FS GS as pushed
uint32_t v86_flags;

void v86_run(void);
void v86_back(void);
uint32_t v86_stack;
// Enters 0200:0000 with SS:SP = 0300:1000 and DS = ES = 0300.
asm("v86_run:\n\t"
    "pushal\n\t"
    "movl %esp, v86_stack\n\t"
    "pushl $0x300\n\t" // GS FS DS ES
    "pushl $0x300\n\t"
    "pushl $0x300\n\t"
    "pushl $0x300\n\t"
    "pushl $0x300\n\t" // SS
    "pushl $0x1000\n\t"
    "pushl v86_flags\n\t"
    "pushl $0x200\n\t" // CS
    "pushl $0\n\t"
    "iretl\n"
    "v86_back:\n\t"
    "movl $0x10, %eax\n\t"
    "movl %eax, %ds\n\t"
    "movl %eax, %es\n\t"
    "movl v86_stack, %esp\n\t"
    "popal\n\t"
    "ret\n");

static bool on_leave(Frame *frame)
{
    if (!(frame->flags & VM))
        return false;
    left = *frame;
    const uint32_t *segments = (const uint32_t *)(&frame->ss + 1);
    for (unsigned i = 0; i < 4; i++)
        left_segments[i] = segments[i];
    frame->ip = (word)v86_back;
    frame->cs = 8;
    frame->flags = 2;
    return true;
}

static void run(const uint8_t *code, unsigned size, uint32_t flags)
{
    for (unsigned i = 0; i < size; i++)
        V86_CODE[i] = code[i];
    v86_flags = flags | VM | 2;
    left = (Frame){ 0 };
    v86_run();
}

#define RUN(flags, ...)                                                                            \
    do {                                                                                           \
        static const uint8_t code[] = { __VA_ARGS__ };                                             \
        run(code, sizeof code, flags);                                                             \
    } while (0)

enum { IOPL0 = 0, IOPL3 = 3 << 12 };

static void test_addressing(void)
{
    V86_DATA[0] = 0x1234;
    // mov ax, [0]; mov [2], ax; int 80h
    RUN(IOPL3, 0xa1, 0, 0, 0xa3, 2, 0, 0xcd, 0x80);
    check_equal(left.vector, 0x80, "code ran and left by INT 80h");
    check_equal(V86_DATA[1], 0x1234, "data at DS * 16");
    check_equal(left.cs, 0x200, "CS is a paragraph");
    check_equal(left.ip, 8, "IP is behind INT");
    check_equal(left_segments[1], 0x300, "DS was pushed");
    check(left.flags & VM, "VM is set in the pushed flags");
    // mov ax, ds; add ax, 1; mov es, ax; mov ax, es:[0]; int 80h: another paragraph
    V86_DATA[8] = 0xbeef;
    RUN(IOPL3, 0x8c, 0xd8, 0x40, 0x8e, 0xc0, 0x26, 0xa1, 0, 0, 0xcd, 0x80);
    check_equal(left.eax & 0xffff, 0xbeef, "a segment load takes no descriptor");
    check_equal(left_segments[0], 0x301, "ES was pushed as loaded");
}

static void test_sensitive(void)
{
    RUN(IOPL0, 0xfa, 0xcd, 0x80); // cli
    check_equal(left.vector << 8 | left.error, 13 << 8, "CLI with IOPL 0");
    check_equal(left.ip, 0, "faults at itself");
    RUN(IOPL0, 0x9c, 0xcd, 0x80); // pushf
    check_equal(left.vector, 13, "PUSHF with IOPL 0");
    RUN(IOPL0, 0xcd, 0x80); // int
    check_equal(left.vector << 8 | left.error, 13 << 8, "INT with IOPL 0");
    RUN(IOPL3, 0x9c, 0x58, 0xcd, 0x80); // pushf; pop ax
    check_equal(left.vector, 0x80, "PUSHF with IOPL 3");
    RUN(IOPL3, 0xf4); // hlt
    check_equal(left.vector << 8 | left.error, 13 << 8, "HLT is never allowed");
    RUN(IOPL3, 0x0f, 0x00, 0xc8, 0xcd, 0x80); // str ax
    check_equal(left.vector, 6, "STR is undefined");
    RUN(IOPL3, 0xcc); // int3
    check_equal(left.vector, 3, "INT3 takes vector 3");
}

static void test_ports(void)
{
    tss.bitmap[0x80 / 8] = 0xfe; // port 80h allowed, 81h not
    RUN(IOPL0, 0xe6, 0x80, 0xf4); // out 80h, al; hlt
    check_equal(left.ip, 2, "OUT to a port that the bitmap allows");
    RUN(IOPL3, 0xe6, 0x81, 0xf4);
    check_equal(left.vector << 8 | left.ip, 13 << 8, "and to one that it does not, whatever IOPL");
}

static void test_limit(void)
{
    RUN(IOPL3, 0xa1, 0xff, 0xff, 0xcd, 0x80); // mov ax, [ffff]
    check_equal(left.vector << 8 | left.error, 13 << 8, "a word at offset FFFFh");
}

void guest_main(void)
{
    idt_load();
    tss.fields[1] = (word)kernel_stack + sizeof kernel_stack;
    tss.fields[2] = 0x10;
    tss.fields[25] = 104u << 16;
    for (unsigned i = 0; i < sizeof tss.bitmap; i++)
        tss.bitmap[i] = 0xff;
    gdt[SEL_TSS / 8] = descriptor((word)&tss, sizeof tss - 1, 0x89, 0);
    asm volatile("ltr %w0" ::"r"(SEL_TSS) : "memory");
    extern uint8_t entry_stubs[];
    idt_set_gate(0x80, (word)entry_stubs + 0x80 * 16, 8, 0xee, 0);
    idt_set_gate(3, (word)entry_stubs + 3 * 16, 8, 0xee, 0);
    handler_set(0x80, on_leave);
    handler_set(3, on_leave);
    handler_set(6, on_leave);
    handler_set(13, on_leave);
    test_addressing();
    test_sensitive();
    test_ports();
    test_limit();
    guest_end();
}
