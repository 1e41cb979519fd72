// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/ioapic-82093.h"
#include "engine/devices/chipset/isa-irq.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define BASE 0xfec00000

typedef struct {
    ChipRig rig;
    unsigned messages;
    uint64_t address;
    uint32_t data;
} Board;

static void take_msi(void *opaque, uint64_t address, uint32_t data)
{
    Board *board = opaque;
    board->messages++;
    board->address = address;
    board->data = data;
}

static void plug(Board *board)
{
    *board = (Board){ 0 };
    rig_open(&board->rig);
    board->rig.host.msi = (MsiSink){ take_msi, board };
    rig_plug(&board->rig, &ioapic_82093_ops, &(Ioapic82093Config){ .base = BASE, .id = 5 });
}

static uint32_t get(Board *board, uint8_t reg)
{
    bus_mmio_write(board->rig.host.bus, BASE, 4, reg);
    return (uint32_t)bus_mmio_read(board->rig.host.bus, BASE + 0x10, 4);
}

static void put(Board *board, uint8_t reg, uint32_t value)
{
    bus_mmio_write(board->rig.host.bus, BASE, 4, reg);
    bus_mmio_write(board->rig.host.bus, BASE + 0x10, 4, value);
}

static void entry(Board *board, unsigned pin, uint64_t value)
{
    put(board, (uint8_t)(0x11 + 2 * pin), (uint32_t)(value >> 32));
    put(board, (uint8_t)(0x10 + 2 * pin), (uint32_t)value);
}

static void set(Board *board, unsigned pin, bool level)
{
    IrqLine line = ioapic_82093_line(board->rig.chip, pin);
    irq_set(&line, level);
}

static void registers(void)
{
    Board board;
    plug(&board);
    g_assert_cmphex(get(&board, 0), ==, 0x05000000);
    g_assert_cmphex(get(&board, 1), ==, 0x00170011);
    g_assert_cmphex(get(&board, 2), ==, 0x05000000);
    g_assert_cmphex(get(&board, 0x3e), ==, 0x00010000);
    put(&board, 0x10, 0xffffffff);
    g_assert_cmphex(get(&board, 0x10), ==, 0x0001afff); // status and remote IRR are read-only
    g_assert_cmphex(get(&board, 0x40), ==, 0);
    g_assert_cmphex(bus_mmio_read(board.rig.host.bus, BASE, 4), ==, 0x40);
    rig_close(&board.rig);
}

static void edge(void)
{
    Board board;
    plug(&board);
    set(&board, 4, true); // masked: forgotten
    entry(&board, 4, UINT64_C(3) << 56 | 0x0834);
    g_assert_cmpuint(board.messages, ==, 0);
    set(&board, 4, false);
    set(&board, 4, true);
    set(&board, 4, true);
    g_assert_cmpuint(board.messages, ==, 1);
    g_assert_cmphex(board.address, ==, 0xfee03004); // logical
    g_assert_cmphex(board.data, ==, 0x4034);
    rig_close(&board.rig);
}

static void level(void)
{
    Board board;
    plug(&board);
    entry(&board, 9, 0x18039);
    set(&board, 9, true);
    g_assert_cmpuint(board.messages, ==, 0);
    entry(&board, 9, 0x8039); // unmasked while up
    g_assert_cmpuint(board.messages, ==, 1);
    g_assert_cmphex(board.data, ==, 0xc039);
    g_assert_cmphex(get(&board, 0x10 + 18) & 0x4000, ==, 0x4000);
    ioapic_82093_eoi(board.rig.chip, 0x38); // another vector
    g_assert_cmpuint(board.messages, ==, 1);
    ioapic_82093_eoi(board.rig.chip, 0x39);
    g_assert_cmpuint(board.messages, ==, 2);
    set(&board, 9, false);
    ioapic_82093_eoi(board.rig.chip, 0x39);
    g_assert_cmpuint(board.messages, ==, 2);
    g_assert_cmphex(get(&board, 0x10 + 18) & 0x4000, ==, 0);
    rig_close(&board.rig);
}

static IrqLine pic_line(void *pic, unsigned irq)
{
    return (IrqLine){ rig_set_irq, pic, irq };
}

static void isa_wires(void)
{
    Board board;
    plug(&board);
    IsaIrqWires wires;
    isa_irq_wires_init(&wires, pic_line, &board.rig, ioapic_82093_line, board.rig.chip);
    entry(&board, 2, 0x30);
    IrqLine irq0 = isa_irq_line(&wires, 0), irq2 = isa_irq_line(&wires, 2);
    irq_set(&irq0, true); // arrives at pin 2
    g_assert_cmphex(board.data, ==, 0x4030);
    g_assert_true(board.rig.irq_level[0]);
    irq_set(&irq0, false);
    irq_set(&irq2, true); // the cascade has no pin
    g_assert_cmpuint(board.messages, ==, 1);
    rig_close(&board.rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ioapic-82093/registers", registers);
    g_test_add_func("/ioapic-82093/edge", edge);
    g_test_add_func("/ioapic-82093/level", level);
    g_test_add_func("/ioapic-82093/isa-wires", isa_wires);
    return g_test_run();
}
