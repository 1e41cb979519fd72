// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/pit-8254.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

static bool tick_is_waiting(void *opaque)
{
    return *(bool *)opaque;
}

static void plug(ChipRig *rig)
{
    rig_open(rig);
    rig_plug(rig, &pit_8254_ops, &(Pit8254Config){ .irq = rig_line(rig, 0) });
}

// Moves the clock to just past tick `tick` of the PIT's clock.
static void to_tick(ChipRig *rig, int64_t tick)
{
    int64_t ns = (tick * NS_PER_SECOND + PIT_HZ - 1) / PIT_HZ;
    clock_advance(rig->host.clock, ns - clock_now(rig->host.clock));
}

static void program(ChipRig *rig, unsigned counter, unsigned mode, uint16_t count)
{
    outb(rig, 0x43, (uint8_t)(counter << 6 | 3 << 4 | mode << 1));
    outb(rig, (uint16_t)(0x40 + counter), (uint8_t)count);
    outb(rig, (uint16_t)(0x40 + counter), (uint8_t)(count >> 8));
}

static uint16_t latched(ChipRig *rig, unsigned counter)
{
    outb(rig, 0x43, (uint8_t)(counter << 6));
    uint8_t low = inb(rig, (uint16_t)(0x40 + counter));
    return (uint16_t)(inb(rig, (uint16_t)(0x40 + counter)) << 8 | low);
}

static uint8_t status(ChipRig *rig, unsigned counter)
{
    outb(rig, 0x43, (uint8_t)(0xe0 | 2 << counter));
    return inb(rig, (uint16_t)(0x40 + counter));
}

static void mode_0(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 0, 0, 1000);
    g_assert_false(rig.irq_level[0]);
    to_tick(&rig, 400);
    g_assert_cmpuint(latched(&rig, 0), ==, 600);
    g_assert_cmphex(status(&rig, 0), ==, 0x30);
    to_tick(&rig, 999);
    g_assert_false(rig.irq_level[0]);
    to_tick(&rig, 1000);
    g_assert_true(rig.irq_level[0]);
    g_assert_cmphex(status(&rig, 0), ==, 0xb0);
    to_tick(&rig, 1010);
    g_assert_cmpuint(latched(&rig, 0), ==, 65536 - 10); // wraps and goes on
    rig_close(&rig);
}

static void mode_0_first_byte_stops(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 0, 0, 1000);
    outb(&rig, 0x40, 0x10);
    to_tick(&rig, 2000);
    g_assert_false(rig.irq_level[0]);
    outb(&rig, 0x40, 0);
    to_tick(&rig, 2016);
    g_assert_true(rig.irq_level[0]);
    rig_close(&rig);
}

static void mode_1(void)
{
    ChipRig rig;
    plug(&rig);
    outb(&rig, 0x61, 0);
    program(&rig, 2, 1, 500);
    to_tick(&rig, 100);
    g_assert_true(inb(&rig, 0x61) & 0x20); // waits for the gate
    outb(&rig, 0x61, 1);
    g_assert_false(inb(&rig, 0x61) & 0x20);
    to_tick(&rig, 400);
    outb(&rig, 0x61, 0);
    outb(&rig, 0x61, 1); // retriggers
    to_tick(&rig, 850);
    g_assert_false(inb(&rig, 0x61) & 0x20);
    to_tick(&rig, 901);
    g_assert_true(inb(&rig, 0x61) & 0x20);
    rig_close(&rig);
}

static void mode_2(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 0, 2, 1000);
    unsigned edges = rig.irq_edges[0];
    to_tick(&rig, 250);
    g_assert_cmpuint(latched(&rig, 0), ==, 750);
    to_tick(&rig, 999);
    g_assert_cmphex(status(&rig, 0) & 0x80, ==, 0); // low in the last clock
    to_tick(&rig, 10500);
    g_assert_cmpuint(rig.irq_edges[0] - edges, ==, 10);
    g_assert_cmpuint(latched(&rig, 0), ==, 500);
    rig_close(&rig);
}

static void mode_2_reload(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 0, 2, 1000);
    unsigned edges = rig.irq_edges[0];
    to_tick(&rig, 300);
    outb(&rig, 0x40, 0xf4);
    outb(&rig, 0x40, 0x01); // 500, from the next cycle on
    g_assert_cmphex(status(&rig, 0) & 0x40, ==, 0x40); // null count
    g_assert_cmpuint(latched(&rig, 0), ==, 700);
    to_tick(&rig, 1001);
    g_assert_cmphex(status(&rig, 0) & 0x40, ==, 0);
    g_assert_cmpuint(latched(&rig, 0), ==, 499);
    to_tick(&rig, 3250);
    g_assert_cmpuint(rig.irq_edges[0] - edges, ==, 1 + 4);
    rig_close(&rig);
}

static void mode_3(void)
{
    ChipRig rig;
    plug(&rig);
    outb(&rig, 0x61, 1);
    program(&rig, 2, 3, 1001);
    to_tick(&rig, 500);
    g_assert_true(inb(&rig, 0x61) & 0x20); // (1001 + 1) / 2 clocks high
    to_tick(&rig, 501);
    g_assert_false(inb(&rig, 0x61) & 0x20);
    to_tick(&rig, 1001);
    g_assert_true(inb(&rig, 0x61) & 0x20);
    program(&rig, 2, 3, 1000);
    to_tick(&rig, 1001 + 100);
    g_assert_cmpuint(latched(&rig, 2), ==, 800); // down by two
    rig_close(&rig);
}

static void mode_3_gate(void)
{
    ChipRig rig;
    plug(&rig);
    outb(&rig, 0x61, 1);
    program(&rig, 2, 3, 1000);
    to_tick(&rig, 700);
    outb(&rig, 0x61, 0);
    g_assert_true(inb(&rig, 0x61) & 0x20);
    to_tick(&rig, 5000);
    outb(&rig, 0x61, 1);
    to_tick(&rig, 5400);
    g_assert_true(inb(&rig, 0x61) & 0x20); // began anew at 5000
    to_tick(&rig, 5600);
    g_assert_false(inb(&rig, 0x61) & 0x20);
    rig_close(&rig);
}

static void mode_4(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 0, 4, 100);
    unsigned edges = rig.irq_edges[0];
    to_tick(&rig, 100);
    g_assert_cmphex(status(&rig, 0) & 0x80, ==, 0);
    to_tick(&rig, 5000);
    g_assert_cmpuint(rig.irq_edges[0] - edges, ==, 1);
    rig_close(&rig);
}

static void mode_5(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 2, 5, 100);
    to_tick(&rig, 300);
    outb(&rig, 0x61, 1);
    to_tick(&rig, 399);
    g_assert_true(inb(&rig, 0x61) & 0x20);
    to_tick(&rig, 400);
    g_assert_false(inb(&rig, 0x61) & 0x20);
    to_tick(&rig, 401);
    g_assert_true(inb(&rig, 0x61) & 0x20);
    rig_close(&rig);
}

static void gate_pauses_mode_0(void)
{
    ChipRig rig;
    plug(&rig);
    outb(&rig, 0x61, 1);
    program(&rig, 2, 0, 1000);
    to_tick(&rig, 400);
    outb(&rig, 0x61, 0);
    to_tick(&rig, 3000);
    g_assert_cmpuint(latched(&rig, 2), ==, 600);
    outb(&rig, 0x61, 1);
    to_tick(&rig, 3599);
    g_assert_false(inb(&rig, 0x61) & 0x20);
    to_tick(&rig, 3601);
    g_assert_true(inb(&rig, 0x61) & 0x20);
    rig_close(&rig);
}

static void bcd(void)
{
    ChipRig rig;
    plug(&rig);
    outb(&rig, 0x43, 0x31);
    outb(&rig, 0x40, 0x00);
    outb(&rig, 0x40, 0x10); // 1000 decimal
    to_tick(&rig, 1);
    g_assert_cmphex(latched(&rig, 0), ==, 0x0999);
    to_tick(&rig, 1000);
    g_assert_true(rig.irq_level[0]);
    to_tick(&rig, 1001);
    g_assert_cmphex(latched(&rig, 0), ==, 0x9999);
    rig_close(&rig);
}

static void read_back(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 0, 2, 1000);
    to_tick(&rig, 10);
    outb(&rig, 0x43, 0xc2); // latch count and status of counter 0
    to_tick(&rig, 20);
    outb(&rig, 0x43, 0xc2); // the second has no effect
    g_assert_cmphex(inb(&rig, 0x40), ==, 0xb4); // status first
    g_assert_cmphex(inb(&rig, 0x40), ==, 990 & 0xff);
    g_assert_cmphex(inb(&rig, 0x40), ==, 990 >> 8);
    g_assert_cmphex(inb(&rig, 0x40), ==, 980 & 0xff); // live again
    rig_close(&rig);
}

static void access_modes(void)
{
    ChipRig rig;
    plug(&rig);
    outb(&rig, 0x43, 0x90); // counter 2, low byte only, mode 0
    outb(&rig, 0x61, 1);
    outb(&rig, 0x42, 50);
    g_assert_cmpuint(inb(&rig, 0x42), ==, 50);
    to_tick(&rig, 50);
    g_assert_true(inb(&rig, 0x61) & 0x20);
    outb(&rig, 0x43, 0xa0); // high byte only
    outb(&rig, 0x42, 2);
    to_tick(&rig, 50 + 300);
    g_assert_cmpuint(inb(&rig, 0x42), ==, (512 - 300) >> 8);
    rig_close(&rig);
}

static void port_61(void)
{
    ChipRig rig;
    plug(&rig);
    uint8_t before = inb(&rig, 0x61);
    clock_advance(rig.host.clock, 15085);
    g_assert_cmphex((inb(&rig, 0x61) ^ before) & 0x10, ==, 0x10);
    g_assert_cmpuint(pit_8254_speaker_hz(rig.chip), ==, 0);
    program(&rig, 2, 3, 1193);
    outb(&rig, 0x61, 3);
    g_assert_cmphex(inb(&rig, 0x61) & 0x0f, ==, 3);
    g_assert_cmpuint(pit_8254_speaker_hz(rig.chip), ==, 1000);
    rig_close(&rig);
}

// A clock that jumped shows as one tick, then one extra between every two until all are given.
static void late_host(void)
{
    ChipRig rig;
    rig_open(&rig);
    rig_plug(&rig, &pit_8254_ops, &(Pit8254Config){ .irq = rig_line(&rig, 0) });
    program(&rig, 0, 2, 11932); // 100 Hz
    unsigned edges = rig.irq_edges[0];
    clock_set(rig.host.clock, 55 * NS_PER_SECOND / 1000);
    clock_advance(rig.host.clock, 0);
    g_assert_cmpuint(rig.irq_edges[0] - edges, ==, 1); // five were due
    clock_advance(rig.host.clock, 60 * NS_PER_SECOND / 1000);
    g_assert_cmpuint(rig.irq_edges[0] - edges, ==, 11);
    clock_advance(rig.host.clock, NS_PER_SECOND);
    g_assert_cmpuint(rig.irq_edges[0] - edges, ==, 111);
    rig_close(&rig);
}

static void slow_guest(void)
{
    ChipRig rig;
    bool waiting = false;
    rig_open(&rig);
    rig_plug(&rig, &pit_8254_ops,
             &(Pit8254Config){ .irq = rig_line(&rig, 0), .tick_waits = tick_is_waiting,
                               .tick_opaque = &waiting });
    program(&rig, 0, 2, 11932);
    clock_advance(rig.host.clock, 15000000);
    waiting = true; // the ticks at 20 and 30 ms meet one that was not taken
    clock_advance(rig.host.clock, 20000000);
    waiting = false;
    unsigned edges = rig.irq_edges[0];
    clock_advance(rig.host.clock, 30000000);
    g_assert_cmpuint(rig.irq_edges[0] - edges, ==, 3 + 2);
    rig_close(&rig);
}

static void debt_is_bounded(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 0, 2, 11932);
    unsigned edges = rig.irq_edges[0];
    clock_set(rig.host.clock, 3600 * NS_PER_SECOND);
    clock_advance(rig.host.clock, 10 * NS_PER_SECOND);
    unsigned got = rig.irq_edges[0] - edges;
    g_assert_cmpuint(got, >=, 1000);
    g_assert_cmpuint(got, <=, 1000 + 101);
    rig_close(&rig);
}

static void shortest_period(void)
{
    ChipRig rig;
    plug(&rig);
    program(&rig, 0, 2, 2);
    unsigned edges = rig.irq_edges[0];
    clock_advance(rig.host.clock, NS_PER_SECOND / 100);
    g_assert_cmpuint(rig.irq_edges[0] - edges, <=, 500); // 20 us apart, not 1.7
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pit-8254/mode-0/counts", mode_0);
    g_test_add_func("/pit-8254/mode-0/first-byte", mode_0_first_byte_stops);
    g_test_add_func("/pit-8254/mode-0/gate", gate_pauses_mode_0);
    g_test_add_func("/pit-8254/mode-1/trigger", mode_1);
    g_test_add_func("/pit-8254/mode-2/ticks", mode_2);
    g_test_add_func("/pit-8254/mode-2/reload", mode_2_reload);
    g_test_add_func("/pit-8254/mode-3/halves", mode_3);
    g_test_add_func("/pit-8254/mode-3/gate", mode_3_gate);
    g_test_add_func("/pit-8254/mode-4/strobe", mode_4);
    g_test_add_func("/pit-8254/mode-5/strobe", mode_5);
    g_test_add_func("/pit-8254/bcd", bcd);
    g_test_add_func("/pit-8254/read-back", read_back);
    g_test_add_func("/pit-8254/access", access_modes);
    g_test_add_func("/pit-8254/port-61", port_61);
    g_test_add_func("/pit-8254/lost-ticks/late-host", late_host);
    g_test_add_func("/pit-8254/lost-ticks/slow-guest", slow_guest);
    g_test_add_func("/pit-8254/lost-ticks/bounded", debt_is_bounded);
    g_test_add_func("/pit-8254/shortest-period", shortest_period);
    return g_test_run();
}
