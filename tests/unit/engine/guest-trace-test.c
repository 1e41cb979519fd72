// SPDX-License-Identifier: GPL-2.0-or-later
// Samples become counts by place; a CPU that did not move counts as waiting; the guest cannot make
// the table grow for ever.
#include "engine/guest-trace.h"

static VcpuSample now[2];

static bool sample(void *opaque, unsigned cpu, VcpuSample *ret_sample)
{
    *ret_sample = now[cpu];
    return true;
}

static bool refuse(void *opaque, unsigned cpu, VcpuSample *ret_sample)
{
    return false;
}

static void be_at(unsigned cpu, uint64_t address, uint8_t ring)
{
    now[cpu] = (VcpuSample){ .number = now[cpu].number + 1, .address = address, .ring = ring,
                             .bits = 64 };
}

static void test_places(void)
{
    g_autoptr(GuestTrace) trace = guest_trace_new(2, sample, NULL);
    for (unsigned i = 0; i < 10; i++) {
        be_at(0, 0x1000, 0);
        be_at(1, i < 3 ? 0x2000 : 0x1000, i < 3 ? 0 : 3);
        guest_trace_look(trace);
    }
    g_assert_cmpuint(guest_trace_looks(trace), ==, 20);
    g_assert_cmpuint(guest_trace_waits(trace), ==, 0);
    g_autoptr(GArray) places = guest_trace_places(trace, 100);
    g_assert_cmpuint(places->len, ==, 3);
    const GuestTracePlace *first = &g_array_index(places, GuestTracePlace, 0);
    g_assert_cmphex(first->address, ==, 0x1000);
    g_assert_cmpuint(first->ring, ==, 0);
    g_assert_cmpuint(first->count, ==, 10);
    g_assert_cmpuint(g_array_index(places, GuestTracePlace, 1).ring, ==, 3);
    g_assert_cmpuint(g_array_index(places, GuestTracePlace, 2).count, ==, 3);
    g_autoptr(GArray) one = guest_trace_places(trace, 1);
    g_assert_cmpuint(one->len, ==, 1);
}

static void test_waits(void)
{
    be_at(0, 0x1000, 0);
    g_autoptr(GuestTrace) trace = guest_trace_new(1, sample, NULL);
    guest_trace_look(trace); // what it was at before the trace began does not count
    be_at(0, 0x1000, 0);
    guest_trace_look(trace);
    guest_trace_look(trace);
    g_assert_cmpuint(guest_trace_looks(trace), ==, 3);
    g_assert_cmpuint(guest_trace_waits(trace), ==, 2);
}

static void test_bounded(void)
{
    g_autoptr(GuestTrace) trace = guest_trace_new(1, sample, NULL);
    for (unsigned i = 0; i < GUEST_TRACE_PLACES + 1000; i++) {
        be_at(0, i, 3);
        guest_trace_look(trace);
    }
    g_autoptr(GArray) places = guest_trace_places(trace, UINT_MAX);
    g_assert_cmpuint(places->len, ==, GUEST_TRACE_PLACES);
    g_assert_cmpuint(guest_trace_looks(trace), ==, GUEST_TRACE_PLACES + 1000);
}

static void test_refused(void)
{
    g_assert_null(guest_trace_new(1, refuse, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-trace/places", test_places);
    g_test_add_func("/guest-trace/waits", test_waits);
    g_test_add_func("/guest-trace/bounded", test_bounded);
    g_test_add_func("/guest-trace/refused", test_refused);
    return g_test_run();
}
