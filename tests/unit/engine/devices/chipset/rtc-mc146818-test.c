// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/rtc-mc146818.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define START 1709164799 // 2024-02-28 23:59:59, a Wednesday

static const RtcMc146818Config sample = {
    .start_time = START,
    .ram_below_4g = UINT64_C(0xc0000000),
    .ram_above_4g = UINT64_C(0x140000000),
    .cpus = 4,
    .boot_order = { RTC_BOOT_CD, RTC_BOOT_DISK, RTC_BOOT_FLOPPY },
    .floppy_types = 0x40,
};

static void plug(ChipRig *rig)
{
    rig_open(rig);
    RtcMc146818Config config = sample;
    config.irq = rig_line(rig, 8);
    rig_plug(rig, &rtc_mc146818_ops, &config);
}

static uint8_t get(ChipRig *rig, uint8_t index)
{
    outb(rig, 0x70, index);
    return inb(rig, 0x71);
}

static void put(ChipRig *rig, uint8_t index, uint8_t value)
{
    outb(rig, 0x70, index);
    outb(rig, 0x71, value);
}

static void assert_time(ChipRig *rig, const uint8_t want[7]) // year month day weekday h m s
{
    static const uint8_t index[7] = { 9, 8, 7, 6, 4, 2, 0 };
    for (unsigned i = 0; i < 7; i++)
        g_assert_cmphex(get(rig, index[i]), ==, want[i]);
}

static void bcd_and_leap_day(void)
{
    ChipRig rig;
    plug(&rig);
    assert_time(&rig, (uint8_t[]){ 0x24, 0x02, 0x28, 4, 0x23, 0x59, 0x59 });
    g_assert_cmphex(get(&rig, 0x32), ==, 0x20);
    clock_advance(rig.host.clock, NS_PER_SECOND);
    assert_time(&rig, (uint8_t[]){ 0x24, 0x02, 0x29, 5, 0x00, 0x00, 0x00 });
    rig_close(&rig);
}

static void binary_12_hours(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 0x0b, 0x04);
    assert_time(&rig, (uint8_t[]){ 24, 2, 28, 4, 11 | 0x80, 59, 59 });
    clock_advance(rig.host.clock, NS_PER_SECOND);
    g_assert_cmphex(get(&rig, 4), ==, 12); // midnight
    rig_close(&rig);
}

static void set_and_go(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 0x0b, 0x82); // SET
    put(&rig, 9, 0x99);
    put(&rig, 0x32, 0x19);
    put(&rig, 8, 0x12);
    put(&rig, 7, 0x31);
    put(&rig, 4, 0x23);
    put(&rig, 2, 0x59);
    put(&rig, 0, 0x58);
    clock_advance(rig.host.clock, 10 * NS_PER_SECOND);
    g_assert_cmphex(get(&rig, 0), ==, 0x58); // stands still
    put(&rig, 0x0b, 0x02);
    clock_advance(rig.host.clock, 2 * NS_PER_SECOND);
    assert_time(&rig, (uint8_t[]){ 0x00, 0x01, 0x01, 7, 0, 0, 0 });
    g_assert_cmphex(get(&rig, 0x32), ==, 0x20);
    rig_close(&rig);
}

static void divider_reset(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 0x0a, 0x76);
    clock_advance(rig.host.clock, 7 * NS_PER_SECOND);
    g_assert_cmphex(get(&rig, 0), ==, 0x59);
    put(&rig, 0x0a, 0x26);
    clock_advance(rig.host.clock, NS_PER_SECOND / 2 - 1);
    g_assert_cmphex(get(&rig, 0), ==, 0x59);
    clock_advance(rig.host.clock, 1); // the first update comes after half a second
    g_assert_cmphex(get(&rig, 0), ==, 0x00);
    rig_close(&rig);
}

static void update_in_progress(void)
{
    ChipRig rig;
    plug(&rig);
    g_assert_cmphex(get(&rig, 0x0a), ==, 0x26);
    clock_advance(rig.host.clock, NS_PER_SECOND - 2228001);
    g_assert_cmphex(get(&rig, 0x0a), ==, 0x26);
    clock_advance(rig.host.clock, 1);
    g_assert_cmphex(get(&rig, 0x0a), ==, 0xa6);
    g_assert_cmphex(get(&rig, 0), ==, 0x59);
    clock_advance(rig.host.clock, 2228000);
    g_assert_cmphex(get(&rig, 0x0a), ==, 0x26);
    g_assert_cmphex(get(&rig, 0), ==, 0x00);
    rig_close(&rig);
}

static void update_ended_interrupt(void)
{
    ChipRig rig;
    plug(&rig);
    get(&rig, 0x0c);
    put(&rig, 0x0b, 0x12);
    clock_advance(rig.host.clock, NS_PER_SECOND);
    g_assert_true(rig.irq_level[8]);
    g_assert_cmphex(get(&rig, 0x0c) & 0x90, ==, 0x90);
    g_assert_false(rig.irq_level[8]);
    g_assert_cmphex(get(&rig, 0x0c), ==, 0);
    clock_advance(rig.host.clock, NS_PER_SECOND);
    g_assert_cmpuint(rig.irq_edges[8], ==, 2);
    rig_close(&rig);
}

static void alarm_at(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 5, 0x06);
    put(&rig, 3, 0x30);
    put(&rig, 1, 0x15);
    get(&rig, 0x0c);
    put(&rig, 0x0b, 0x22);
    clock_advance(rig.host.clock, (1 + 6 * 3600 + 30 * 60 + 14) * NS_PER_SECOND);
    g_assert_false(rig.irq_level[8]);
    clock_advance(rig.host.clock, NS_PER_SECOND);
    g_assert_true(rig.irq_level[8]);
    g_assert_cmphex(get(&rig, 0x0c) & 0xa0, ==, 0xa0);
    clock_advance(rig.host.clock, 86400 * NS_PER_SECOND);
    g_assert_cmpuint(rig.irq_edges[8], ==, 2);
    rig_close(&rig);
}

static void alarm_wildcards(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 5, 0xff);
    put(&rig, 3, 0xc0);
    put(&rig, 1, 0x30); // every minute at :30
    put(&rig, 0x0b, 0x22);
    for (unsigned i = 0; i < 180; i++) {
        clock_advance(rig.host.clock, NS_PER_SECOND);
        get(&rig, 0x0c);
    }
    g_assert_cmpuint(rig.irq_edges[8], ==, 3);
    rig_close(&rig);
}

static void alarm_never(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 5, 0x25); // no such hour
    put(&rig, 0x0b, 0x22);
    clock_advance(rig.host.clock, 3 * 86400 * NS_PER_SECOND);
    g_assert_cmpuint(rig.irq_edges[8], ==, 0);
    rig_close(&rig);
}

static void periodic(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 0x0a, 0x26); // 1024 Hz
    get(&rig, 0x0c);
    put(&rig, 0x0b, 0x42);
    for (unsigned i = 0; i < 1000; i++) {
        clock_advance(rig.host.clock, NS_PER_SECOND / 1000);
        if (rig.irq_level[8])
            g_assert_cmphex(get(&rig, 0x0c) & 0xc0, ==, 0xc0);
    }
    g_assert_cmpuint(rig.irq_edges[8], >=, 990);
    g_assert_cmpuint(rig.irq_edges[8], <=, 1025);
    rig_close(&rig);
}

static void periodic_unread_is_one_interrupt(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 0x0a, 0x2a); // 64 Hz
    put(&rig, 0x0b, 0x42);
    clock_advance(rig.host.clock, 160 * 1000000);
    g_assert_cmpuint(rig.irq_edges[8], ==, 1);
    // The nine that could not be seen are made up for as the guest takes them.
    for (unsigned i = 0; i < 100; i++) {
        get(&rig, 0x0c);
        clock_advance(rig.host.clock, 4000000);
    }
    g_assert_cmpuint(rig.irq_edges[8], ==, (160 + 400) * 64 / 1000);
    rig_close(&rig);
}

static void memory(void)
{
    ChipRig rig;
    plug(&rig);
    static const uint8_t want[][2] = {
        { 0x10, 0x40 }, { 0x14, 0x07 }, { 0x15, 0x80 }, { 0x16, 0x02 }, { 0x17, 0xff },
        { 0x18, 0xff }, { 0x30, 0xff }, { 0x31, 0xff }, { 0x34, 0x00 }, { 0x35, 0xbf },
        { 0x38, 0x11 }, { 0x3d, 0x23 }, { 0x5b, 0x00 }, { 0x5c, 0x40 }, { 0x5d, 0x01 },
        { 0x5f, 0x03 }, { 0x0d, 0x80 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++)
        g_assert_cmphex(get(&rig, want[i][0]), ==, want[i][1]);
    put(&rig, 0x0f, 0x0a);
    rig.ops->reset(rig.chip, RESET_WARM);
    g_assert_cmphex(get(&rig, 0x8f), ==, 0x0a); // bit 7 is the NMI gate, not the index
    rig_close(&rig);
}

static void set_time_by_the_machine(void)
{
    ChipRig rig;
    plug(&rig);
    clock_advance(rig.host.clock, NS_PER_SECOND / 3);
    rtc_mc146818_set_time(rig.chip, START + 3661);
    g_assert_cmpint(rtc_mc146818_time(rig.chip), ==, START + 3661);
    assert_time(&rig, (uint8_t[]){ 0x24, 0x02, 0x29, 5, 0x01, 0x01, 0x00 });
    rig_close(&rig);
}

static void far_years(void)
{
    ChipRig rig;
    plug(&rig);
    put(&rig, 0x32, 0x99);
    put(&rig, 9, 0x99);
    put(&rig, 8, 0xff);
    put(&rig, 7, 0xff);
    clock_advance(rig.host.clock, 86400 * 40 * NS_PER_SECOND);
    get(&rig, 0);
    g_assert_cmpint(rtc_mc146818_time(rig.chip), >, INT64_C(250000000000));
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rtc-mc146818/time/bcd-and-leap-day", bcd_and_leap_day);
    g_test_add_func("/rtc-mc146818/time/binary-12-hours", binary_12_hours);
    g_test_add_func("/rtc-mc146818/time/set", set_and_go);
    g_test_add_func("/rtc-mc146818/time/divider-reset", divider_reset);
    g_test_add_func("/rtc-mc146818/time/by-machine", set_time_by_the_machine);
    g_test_add_func("/rtc-mc146818/time/far-years", far_years);
    g_test_add_func("/rtc-mc146818/update/in-progress", update_in_progress);
    g_test_add_func("/rtc-mc146818/update/interrupt", update_ended_interrupt);
    g_test_add_func("/rtc-mc146818/alarm/once-a-day", alarm_at);
    g_test_add_func("/rtc-mc146818/alarm/wildcards", alarm_wildcards);
    g_test_add_func("/rtc-mc146818/alarm/never", alarm_never);
    g_test_add_func("/rtc-mc146818/periodic/1024-hz", periodic);
    g_test_add_func("/rtc-mc146818/periodic/lost-ticks", periodic_unread_is_one_interrupt);
    g_test_add_func("/rtc-mc146818/cmos", memory);
    return g_test_run();
}
