// SPDX-License-Identifier: GPL-2.0-or-later
// What network cards do for their drivers and backends do not: Internet checksums (RFC 1071) and
// the cutting of large TCP segments into frames. Shared by every network device, since a
// NetBackend takes plain frames only. Pure functions over bytes that a guest chose: every offset is
// checked against the frame.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_FRAME_MAX 65550 // largest frame that goes to a backend, bytes without FCS

// One's complement sum of `size` bytes added to `sum`, not folded. Bytes are paired from `data` on.
uint32_t net_sum(uint32_t sum, const uint8_t *data, size_t size);
// Folded and complemented: what goes into a checksum field (big-endian).
uint16_t net_sum_finish(uint32_t sum);

// Sums [start, end) and stores the result at `field` (2 bytes, big-endian). udp: 0 is sent as FFFFh
// (RFC 768). False, nothing stored, where the offsets do not lie within `size`.
bool net_checksum_insert(uint8_t *frame, size_t size, size_t start, size_t end, size_t field,
                         bool udp);

// Whether the frame is an unfragmented TCP or UDP packet over IPv4 or IPv6 whose checksum is right.
bool net_checksum_valid(const uint8_t *frame, size_t size);

// Where the layers of a TCP frame begin, for segmentation.
typedef struct {
    size_t ip;      // offset of the IP header
    size_t tcp;     // offset of the TCP header
    size_t payload; // offset of the TCP payload
} NetTcpLayout;

// Finds the layers of an Ethernet frame (with up to two VLAN tags). False where it is not TCP over
// IPv4 or IPv6 or is cut short.
bool net_tcp_layout(const uint8_t *frame, size_t size, NetTcpLayout *ret);

// Sends the frame as segments of at most `mss` payload bytes each, with lengths, IPv4
// identification, sequence numbers, flags and checksums set anew. `frame` is scratch afterwards;
// `segment` holds one frame (NET_FRAME_MAX). False, nothing sent, where mss is 0, a segment would
// not fit, or the layers do not follow each other. At most 65550 / mss calls of send; an mss below
// 64 is raised to 64, so that a guest cannot turn one frame into tens of thousands.
bool net_segment_tcp(uint8_t *frame, size_t size, const NetTcpLayout *layout, size_t mss,
                     uint8_t *segment,
                     void (*send)(void *opaque, const uint8_t *frame, size_t size), void *opaque);
