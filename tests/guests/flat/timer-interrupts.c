// SPDX-License-Identifier: GPL-2.0-or-later
// Interrupts through the 8259A pair and the local APIC: PIT ticks, masking by IF, STI's shadow,
// HLT's end, the APIC timer, priority, and a software interrupt.
#include "tests/guests/flat/flat.h"

static volatile unsigned ticks, apic_ticks, soft;
static volatile word tick_ip;

#define APIC ((volatile uint32_t *)0xfee00000)

static bool on_tick(Frame *frame)
{
    ticks++;
    tick_ip = frame->ip;
    outb(0x20, 0x20);
    return true;
}

static bool on_apic(Frame *frame)
{
    apic_ticks++;
    APIC[0xb0 / 4] = 0;
    return true;
}

static bool on_soft(Frame *frame)
{
    soft++;
    return true;
}

static void pic_init(uint8_t mask)
{
    outb(0x20, 0x11);
    outb(0xa0, 0x11);
    outb(0x21, 0x20);
    outb(0xa1, 0x28);
    outb(0x21, 4);
    outb(0xa1, 2);
    outb(0x21, 1);
    outb(0xa1, 1);
    outb(0x21, mask);
    outb(0xa1, 0xff);
}

static void pit_rate(uint16_t divisor)
{
    outb(0x43, 0x34);
    outb(0x40, divisor & 0xff);
    outb(0x40, divisor >> 8);
}

static void test_pit(void)
{
    pic_init(0xfe);
    pit_rate(11932); // 100 Hz
    handler_set(0x20, on_tick);
    ticks = 0;
    asm volatile("sti");
    while (ticks < 3)
        asm volatile("hlt");
    asm volatile("cli");
    check(ticks >= 3, "PIT ticks end HLT");
    unsigned before = ticks;
    for (volatile unsigned i = 0; i < 200000; i++)
        ;
    check_equal(ticks, before, "no tick is taken with IF = 0");
}

// With an interrupt pending, STI lets one more instruction run before it is taken.
static void test_shadow(void)
{
    outb(0x21, 0xfe);
    for (unsigned i = 0; i < 10000000; i++) { // until the PIC asks
        outb(0x20, 0x0a);
        if (inb(0x20) & 1)
            break;
    }
    unsigned before = ticks;
    word after_sti;
    asm volatile("lea 1f, %0; sti; nop; 1: nop; nop; cli" : "=r"(after_sti)::"memory");
    check(ticks > before, "a pending interrupt is taken after STI");
    check_equal(tick_ip, after_sti, "and after the instruction behind STI");
}

static void test_apic_timer(void)
{
    outb(0x21, 0xff);
    handler_set(0x40, on_apic);
    APIC[0xf0 / 4] = 0x1ff;       // enabled, spurious vector FFh
    APIC[0x3e0 / 4] = 0xb;        // divide by 1
    APIC[0x320 / 4] = 0x40;       // one-shot
    APIC[0x380 / 4] = 1000000;
    while (!apic_ticks) // a tick between the look and HLT would be the last
        asm volatile("sti; hlt; cli");
    check_equal(apic_ticks, 1, "the APIC timer fires once in one-shot mode");
    check_equal(APIC[0x390 / 4], 0, "its count stands at 0");
    APIC[0x80 / 4] = 0x50; // TPR above the vector's class
    APIC[0x380 / 4] = 1000;
    asm volatile("sti");
    for (unsigned i = 0; i < 100000000 && !(APIC[0x220 / 4] & 1); i++)
        ;
    for (volatile unsigned i = 0; i < 2000; i++)
        ;
    asm volatile("cli");
    check_equal(apic_ticks, 1, "TPR holds it off");
    check(APIC[0x220 / 4] & 1, "it waits in IRR");
    asm volatile("sti");
    APIC[0x80 / 4] = 0;
    for (volatile unsigned i = 0; i < 1000; i++)
        ;
    asm volatile("cli");
    check_equal(apic_ticks, 2, "and comes when TPR falls");
}

void guest_main(void)
{
    idt_load();
    handler_set(0x60, on_soft);
    asm volatile("int $0x60");
    check_equal(soft, 1, "INT n reaches its handler");
    test_pit();
    test_shadow();
    test_apic_timer();
    guest_end();
}
