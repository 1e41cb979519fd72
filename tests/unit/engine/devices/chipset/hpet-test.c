// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/hpet.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define BASE 0xfed00000

typedef struct {
    ChipRig rig;
    unsigned pin_edges[24];
    bool pin_level[24];
} Board;

static void set_pin(void *opaque, unsigned pin, bool level)
{
    Board *board = opaque;
    if (level && !board->pin_level[pin])
        board->pin_edges[pin]++;
    board->pin_level[pin] = level;
}

static void plug(Board *board)
{
    *board = (Board){ 0 };
    rig_open(&board->rig);
    rig_plug(&board->rig, &hpet_ops,
             &(HpetConfig){ .base = BASE, .pins = { set_pin, board, 0 },
                            .irq0 = rig_line(&board->rig, 0), .irq8 = rig_line(&board->rig, 8) });
}

static uint64_t get(Board *board, unsigned offset, unsigned size)
{
    return bus_mmio_read(board->rig.host.bus, BASE + offset, size);
}

static void put(Board *board, unsigned offset, unsigned size, uint64_t value)
{
    bus_mmio_write(board->rig.host.bus, BASE + offset, size, value);
}

static void capabilities(void)
{
    Board board;
    plug(&board);
    g_assert_cmphex(get(&board, 0, 4), ==, 0x8086a201);
    g_assert_cmpuint(get(&board, 4, 4), ==, 10000000); // femtoseconds
    g_assert_cmphex(get(&board, 0x104, 4), ==, 0x00f00000);
    put(&board, 0, 8, 0);
    g_assert_cmphex(get(&board, 0, 4), ==, 0x8086a201);
    rig_close(&board.rig);
}

static void counter(void)
{
    Board board;
    plug(&board);
    clock_advance(board.rig.host.clock, 1000);
    g_assert_cmpuint(get(&board, 0xf0, 8), ==, 0);
    put(&board, 0x10, 4, 1);
    clock_advance(board.rig.host.clock, 1000);
    g_assert_cmpuint(get(&board, 0xf0, 8), ==, 100);
    put(&board, 0x10, 4, 0);
    clock_advance(board.rig.host.clock, 1000);
    g_assert_cmpuint(get(&board, 0xf0, 8), ==, 100);
    put(&board, 0xf0, 8, UINT64_C(0x1fffffff0));
    put(&board, 0x10, 4, 1);
    clock_advance(board.rig.host.clock, 200);
    g_assert_cmphex(get(&board, 0xf0, 8), ==, UINT64_C(0x200000004));
    g_assert_cmphex(get(&board, 0xf4, 4), ==, 2);
    g_assert_cmphex(get(&board, 0xf0, 4), ==, 4);
    rig_close(&board.rig);
}

static void one_shot(void)
{
    Board board;
    plug(&board);
    put(&board, 0x140, 4, 0x04 | 21 << 9); // timer 2, pin 21, edge
    put(&board, 0x148, 8, 5000);
    put(&board, 0x10, 4, 1);
    clock_advance(board.rig.host.clock, 49990);
    g_assert_cmpuint(board.pin_edges[21], ==, 0);
    clock_advance(board.rig.host.clock, 10);
    g_assert_cmpuint(board.pin_edges[21], ==, 1);
    clock_advance(board.rig.host.clock, 100 * NS_PER_SECOND);
    g_assert_cmpuint(board.pin_edges[21], ==, 1);
    rig_close(&board.rig);
}

static void one_shot_written_late(void)
{
    Board board;
    plug(&board);
    put(&board, 0x140, 4, 0x104 | 21 << 9); // 32 bits
    put(&board, 0x10, 4, 1);
    clock_advance(board.rig.host.clock, 1000000);
    put(&board, 0x148, 4, 99000); // 10 us ago
    clock_advance(board.rig.host.clock, 0);
    g_assert_cmpuint(board.pin_edges[21], ==, 1);
    clock_advance(board.rig.host.clock, INT64_C(42949672960)); // 2^32 ticks: comes round
    g_assert_cmpuint(board.pin_edges[21], ==, 2);
    rig_close(&board.rig);
}

static void periodic(void)
{
    Board board;
    plug(&board);
    put(&board, 0x10, 4, 1);
    put(&board, 0x100, 4, 0x4c | 20 << 9); // periodic, VAL_SET
    put(&board, 0x108, 4, 150000);         // first match
    put(&board, 0x108, 4, 100000);         // period: 1 ms
    clock_advance(board.rig.host.clock, 1499990);
    g_assert_cmpuint(board.pin_edges[20], ==, 0);
    clock_advance(board.rig.host.clock, 10);
    g_assert_cmpuint(board.pin_edges[20], ==, 1);
    clock_advance(board.rig.host.clock, 10000000);
    g_assert_cmpuint(board.pin_edges[20], ==, 11);
    g_assert_cmpuint(get(&board, 0x108, 8), ==, 150000 + 11 * 100000);
    rig_close(&board.rig);
}

static void periodic_late_host(void)
{
    Board board;
    plug(&board);
    put(&board, 0x10, 4, 1);
    put(&board, 0x100, 4, 0x14c | 20 << 9);
    put(&board, 0x108, 4, 1000000); // 10 ms
    put(&board, 0x108, 4, 1000000);
    clock_set(board.rig.host.clock, 55000000);
    clock_advance(board.rig.host.clock, 0);
    g_assert_cmpuint(board.pin_edges[20], ==, 1);
    clock_advance(board.rig.host.clock, 60000000);
    g_assert_cmpuint(board.pin_edges[20], ==, 11);
    rig_close(&board.rig);
}

static void periodic_far_late_host(void)
{
    Board board;
    plug(&board);
    put(&board, 0x10, 4, 1);
    put(&board, 0x100, 4, 0x4c | 20 << 9);
    put(&board, 0x108, 4, 1000000);
    put(&board, 0x108, 4, 1000000);
    clock_set(board.rig.host.clock, 3600 * NS_PER_SECOND);
    clock_advance(board.rig.host.clock, 10 * NS_PER_SECOND);
    g_assert_cmpuint(board.pin_edges[20], >=, 1000);
    g_assert_cmpuint(board.pin_edges[20], <=, 1102);
    rig_close(&board.rig);
}

static void level(void)
{
    Board board;
    plug(&board);
    put(&board, 0x120, 4, 0x06 | 22 << 9);
    put(&board, 0x128, 8, 10);
    put(&board, 0x10, 4, 1);
    clock_advance(board.rig.host.clock, 100);
    g_assert_true(board.pin_level[22]);
    g_assert_cmphex(get(&board, 0x20, 4), ==, 2);
    put(&board, 0x20, 4, 1);
    g_assert_true(board.pin_level[22]);
    put(&board, 0x20, 4, 2);
    g_assert_false(board.pin_level[22]);
    rig_close(&board.rig);
}

static void route_not_offered(void)
{
    Board board;
    plug(&board);
    put(&board, 0x100, 4, 23 << 9);
    put(&board, 0x100, 4, 4 << 9);
    g_assert_cmphex(get(&board, 0x100, 4) >> 9 & 31, ==, 23);
    rig_close(&board.rig);
}

static void legacy_replacement(void)
{
    Board board;
    plug(&board);
    IrqLine pit = hpet_legacy_input(board.rig.chip, 0), rtc = hpet_legacy_input(board.rig.chip, 1);
    irq_set(&pit, true);
    irq_set(&rtc, true);
    g_assert_true(board.rig.irq_level[0] && board.rig.irq_level[8]);
    put(&board, 0x10, 4, 2);
    g_assert_false(board.rig.irq_level[0] || board.rig.irq_level[8]);
    irq_set(&pit, false);
    irq_set(&pit, true);
    g_assert_false(board.rig.irq_level[0]);
    put(&board, 0x100, 4, 0x04);
    put(&board, 0x108, 8, 10);
    put(&board, 0x120, 4, 0x04);
    put(&board, 0x128, 8, 20);
    unsigned edges[2] = { board.rig.irq_edges[0], board.rig.irq_edges[8] };
    put(&board, 0x10, 4, 3);
    clock_advance(board.rig.host.clock, 1000);
    g_assert_cmpuint(board.rig.irq_edges[0] - edges[0], ==, 1);
    g_assert_cmpuint(board.rig.irq_edges[8] - edges[1], ==, 1);
    put(&board, 0x10, 4, 0);
    g_assert_true(board.rig.irq_level[0] && board.rig.irq_level[8]);
    rig_close(&board.rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hpet/capabilities", capabilities);
    g_test_add_func("/hpet/counter", counter);
    g_test_add_func("/hpet/one-shot/match", one_shot);
    g_test_add_func("/hpet/one-shot/late", one_shot_written_late);
    g_test_add_func("/hpet/periodic/ticks", periodic);
    g_test_add_func("/hpet/periodic/late-host", periodic_late_host);
    g_test_add_func("/hpet/periodic/far-late-host", periodic_far_late_host);
    g_test_add_func("/hpet/level", level);
    g_test_add_func("/hpet/route", route_not_offered);
    g_test_add_func("/hpet/legacy", legacy_replacement);
    return g_test_run();
}
