// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/pic-8259.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

// irq_level[0] of the rig is INTR.
static void plug(ChipRig *rig, uint8_t master_icw4, uint8_t slave_icw4)
{
    rig_open(rig);
    rig_plug(rig, &pic_8259_ops, &(Pic8259Config){ rig_line(rig, 0) });
    const uint8_t bases[2] = { 0x20, 0x28 }, icw3[2] = { 4, 2 };
    const uint8_t icw4[2] = { master_icw4, slave_icw4 };
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = i ? 0xa0 : 0x20;
        outb(rig, port, 0x11);
        outb(rig, port + 1, bases[i]);
        outb(rig, port + 1, icw3[i]);
        outb(rig, port + 1, icw4[i]);
    }
}

static void set(ChipRig *rig, unsigned irq, bool level)
{
    IrqLine line = pic_8259_line(rig->chip, irq);
    irq_set(&line, level);
}

static void pulse(ChipRig *rig, unsigned irq)
{
    set(rig, irq, true);
    set(rig, irq, false);
}

static uint8_t read_isr(ChipRig *rig, uint16_t port)
{
    outb(rig, port, 0x0b);
    return inb(rig, port);
}

static void fixed_priority(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    pulse(&rig, 4);
    g_assert_true(rig.irq_level[0]);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x24);
    g_assert_false(rig.irq_level[0]);
    pulse(&rig, 5); // lower: waits
    g_assert_false(rig.irq_level[0]);
    pulse(&rig, 1); // higher: nests
    g_assert_true(rig.irq_level[0]);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x21);
    g_assert_cmphex(read_isr(&rig, 0x20), ==, 0x12);
    outb(&rig, 0x20, 0x20); // non-specific: the highest in service
    g_assert_cmphex(read_isr(&rig, 0x20), ==, 0x10);
    outb(&rig, 0x20, 0x64); // specific
    g_assert_true(rig.irq_level[0]);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x25);
    rig_close(&rig);
}

static void cascade(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    pulse(&rig, 12);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x2c);
    g_assert_cmphex(read_isr(&rig, 0x20), ==, 0x04);
    g_assert_cmphex(read_isr(&rig, 0xa0), ==, 0x10);
    pulse(&rig, 8); // the master has its slave in service: waits
    g_assert_false(rig.irq_level[0]);
    outb(&rig, 0xa0, 0x20);
    outb(&rig, 0x20, 0x20);
    g_assert_true(rig.irq_level[0]);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x28);
    rig_close(&rig);
}

static void special_fully_nested(void)
{
    ChipRig rig;
    plug(&rig, 0x11, 1);
    pulse(&rig, 12);
    pic_8259_acknowledge(rig.chip);
    pulse(&rig, 8);
    g_assert_true(rig.irq_level[0]);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x28);
    rig_close(&rig);
}

static void mask(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    outb(&rig, 0x21, 0x08);
    pulse(&rig, 3);
    g_assert_false(rig.irq_level[0]);
    g_assert_false(pic_8259_waits(rig.chip, 3));
    outb(&rig, 0x20, 0x0a);
    g_assert_cmphex(inb(&rig, 0x20), ==, 0x08); // IRR shows it all the same
    outb(&rig, 0x21, 0);
    g_assert_true(rig.irq_level[0]);
    g_assert_true(pic_8259_waits(rig.chip, 3));
    g_assert_cmphex(inb(&rig, 0x21), ==, 0);
    rig_close(&rig);
}

static void special_mask(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    pulse(&rig, 2 + 1);
    pic_8259_acknowledge(rig.chip);
    pulse(&rig, 6);
    g_assert_false(rig.irq_level[0]);
    outb(&rig, 0x21, 0x08); // mask what is in service
    outb(&rig, 0x20, 0x68); // special mask mode: lower ones come through
    g_assert_true(rig.irq_level[0]);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x26);
    outb(&rig, 0x20, 0x48);
    rig_close(&rig);
}

static void rotation(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    pulse(&rig, 0);
    pulse(&rig, 1);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x20);
    outb(&rig, 0x20, 0xa0); // rotate on non-specific EOI: 0 is the lowest now
    pulse(&rig, 0);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x21);
    outb(&rig, 0x20, 0x61);
    outb(&rig, 0x20, 0xc5); // set priority: 6 is the highest
    pulse(&rig, 6);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x26);
    rig_close(&rig);
}

static void auto_eoi(void)
{
    ChipRig rig;
    plug(&rig, 3, 3);
    outb(&rig, 0x20, 0x80); // rotate in automatic EOI mode
    pulse(&rig, 3);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x23);
    g_assert_cmphex(read_isr(&rig, 0x20), ==, 0);
    pulse(&rig, 3);
    pulse(&rig, 7);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x27);
    rig_close(&rig);
}

static void level_triggered(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    outb(&rig, 0x4d1, 0xff);
    g_assert_cmphex(inb(&rig, 0x4d1), ==, 0xde); // 8 and 13 stay edge triggered
    outb(&rig, 0x4d0, 0xff);
    g_assert_cmphex(inb(&rig, 0x4d0), ==, 0xf8);
    set(&rig, 10, true);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x2a);
    outb(&rig, 0xa0, 0x20);
    outb(&rig, 0x20, 0x20);
    g_assert_true(rig.irq_level[0]); // still high: again
    set(&rig, 10, false);
    g_assert_false(rig.irq_level[0]);
    rig_close(&rig);
}

static void spurious(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x27);
    g_assert_cmphex(read_isr(&rig, 0x20), ==, 0);
    rig_close(&rig);
}

static void poll(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    pulse(&rig, 5);
    outb(&rig, 0x20, 0x0c);
    g_assert_cmphex(inb(&rig, 0x20), ==, 0x85);
    g_assert_cmphex(read_isr(&rig, 0x20), ==, 0x20);
    outb(&rig, 0x20, 0x0c);
    g_assert_cmphex(inb(&rig, 0x20), ==, 0);
    rig_close(&rig);
}

static void icw1_forgets_edges(void)
{
    ChipRig rig;
    plug(&rig, 1, 1);
    set(&rig, 3, true);
    outb(&rig, 0x20, 0x11);
    outb(&rig, 0x21, 0x40);
    outb(&rig, 0x21, 4);
    outb(&rig, 0x21, 1);
    g_assert_false(rig.irq_level[0]);
    set(&rig, 3, false);
    set(&rig, 3, true);
    g_assert_cmphex(pic_8259_acknowledge(rig.chip), ==, 0x43);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pic-8259/fixed-priority", fixed_priority);
    g_test_add_func("/pic-8259/cascade", cascade);
    g_test_add_func("/pic-8259/special-fully-nested", special_fully_nested);
    g_test_add_func("/pic-8259/mask", mask);
    g_test_add_func("/pic-8259/special-mask", special_mask);
    g_test_add_func("/pic-8259/rotation", rotation);
    g_test_add_func("/pic-8259/auto-eoi", auto_eoi);
    g_test_add_func("/pic-8259/level", level_triggered);
    g_test_add_func("/pic-8259/spurious", spurious);
    g_test_add_func("/pic-8259/poll", poll);
    g_test_add_func("/pic-8259/icw1", icw1_forgets_edges);
    return g_test_run();
}
