// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bus/net-offload.h"

#include "engine/base/bytes.h"

#include <glib.h>

// The example of RFC 1071, section 3: the sum is ddf2.
static void rfc_1071_example(void)
{
    static const uint8_t bytes[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
    g_assert_cmphex(net_sum_finish(net_sum(0, bytes, sizeof bytes)), ==, (uint16_t)~0xddf2);
}

// Every length agrees with a sum taken two bytes at a time.
static void any_length(void)
{
    uint8_t bytes[70];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(0xff - i * 29);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        uint32_t sum = 0;
        for (size_t i = 0; i < size; i++)
            sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
        g_assert_cmphex(net_sum_finish(net_sum(0, bytes, size)), ==, net_sum_finish(sum));
    }
}

// Large sums are carried, not lost.
static void carries(void)
{
    g_autofree uint8_t *ones = g_malloc(1 << 20);
    memset(ones, 0xff, 1 << 20);
    g_assert_cmphex(net_sum_finish(net_sum(0, ones, 1 << 20)), ==, 0);
    g_assert_cmphex(net_sum_finish(net_sum(0xffff0001, ones, 1 << 20)), ==, (uint16_t)~1);
}

static void insert_bounds(void)
{
    uint8_t frame[20] = { 0 };
    g_assert_true(net_checksum_insert(frame, 20, 0, 20, 18, false));
    g_assert_false(net_checksum_insert(frame, 20, 0, 21, 0, false));
    g_assert_false(net_checksum_insert(frame, 20, 11, 10, 0, false));
    g_assert_false(net_checksum_insert(frame, 20, 0, 20, 19, false));
    g_assert_false(net_checksum_insert(frame, 20, 0, 20, SIZE_MAX, false));
}

static void udp_never_sends_zero(void)
{
    uint8_t frame[4] = { 0xff, 0xff, 0, 0 };
    g_assert_true(net_checksum_insert(frame, 4, 0, 4, 2, true));
    g_assert_cmphex(be16_read(frame + 2), ==, 0xffff);
    be16_write(frame + 2, 0);
    g_assert_true(net_checksum_insert(frame, 4, 0, 4, 2, false));
    g_assert_cmphex(be16_read(frame + 2), ==, 0);
}

// UDP over IPv6, tagged: found, summed, and refused when a byte changes or the frame is cut.
static void validity_ipv6(void)
{
    uint8_t frame[18 + 40 + 13] = { 0 };
    uint8_t *ip = frame + 18, *udp = ip + 40;
    be16_write(frame + 12, 0x8100);
    be16_write(frame + 16, 0x86dd);
    ip[0] = 0x60;
    be16_write(ip + 4, 13);
    ip[6] = 17;
    ip[8] = 0xfe;
    ip[24] = 0xfd;
    be16_write(udp + 4, 13);
    memcpy(udp + 8, "hello", 5);
    uint8_t pseudo[40] = { 0 };
    memcpy(pseudo, ip + 8, 32);
    pseudo[35] = 13;
    pseudo[39] = 17;
    be16_write(udp + 6, net_sum_finish(net_sum(net_sum(0, pseudo, 40), udp, 13)));
    g_assert_true(net_checksum_valid(frame, sizeof frame));
    g_assert_false(net_checksum_valid(frame, sizeof frame - 1));
    udp[9] ^= 4;
    g_assert_false(net_checksum_valid(frame, sizeof frame));
    be16_write(udp + 6, 0);
    g_assert_false(net_checksum_valid(frame, sizeof frame));
}

static void fragments_are_not_judged(void)
{
    uint8_t frame[64] = { 0 };
    NetTcpLayout layout;
    be16_write(frame + 12, 0x0800);
    frame[14] = 0x45;
    be16_write(frame + 16, 50);
    frame[23] = 6;
    frame[46] = 0x50;
    g_assert_true(net_tcp_layout(frame, 64, &layout));
    g_assert_cmpuint(layout.tcp, ==, 34);
    g_assert_cmpuint(layout.payload, ==, 54);
    be16_write(frame + 20, 0x2000);
    g_assert_false(net_tcp_layout(frame, 64, &layout));
    g_assert_false(net_checksum_valid(frame, 64));
}

static void count_calls(void *opaque, const uint8_t *frame, size_t size)
{
    (*(unsigned *)opaque)++;
}

// A packet without payload is one segment; layers in the wrong order are none.
static void segment_edges(void)
{
    uint8_t frame[54] = { 0 };
    g_autofree uint8_t *segment = g_malloc(NET_FRAME_MAX);
    unsigned calls = 0;
    NetTcpLayout good = { 14, 34, 54 }, bad = { 14, 33, 54 }, past = { 14, 34, 55 };
    frame[14] = 0x45;
    g_assert_true(net_segment_tcp(frame, 54, &good, 1460, segment, count_calls, &calls));
    g_assert_cmpuint(calls, ==, 1);
    g_assert_false(net_segment_tcp(frame, 54, &good, 0, segment, count_calls, &calls));
    g_assert_false(net_segment_tcp(frame, 54, &bad, 1460, segment, count_calls, &calls));
    g_assert_false(net_segment_tcp(frame, 54, &past, 1460, segment, count_calls, &calls));
    frame[14] = 0x55;
    g_assert_false(net_segment_tcp(frame, 54, &good, 1460, segment, count_calls, &calls));
    g_assert_cmpuint(calls, ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net-offload/sum/rfc-1071", rfc_1071_example);
    g_test_add_func("/net-offload/sum/any-length", any_length);
    g_test_add_func("/net-offload/sum/carries", carries);
    g_test_add_func("/net-offload/insert/bounds", insert_bounds);
    g_test_add_func("/net-offload/insert/udp-zero", udp_never_sends_zero);
    g_test_add_func("/net-offload/valid/ipv6", validity_ipv6);
    g_test_add_func("/net-offload/valid/fragments", fragments_are_not_judged);
    g_test_add_func("/net-offload/segment-edges", segment_edges);
    return g_test_run();
}
