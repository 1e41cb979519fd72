// SPDX-License-Identifier: GPL-2.0-or-later
// Checksums (RFC 1071), TCP segmentation over IPv4 (RFC 791) and IPv6 (RFC 8200).
#include "engine/bus/net-offload.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"

#include <glib.h>

enum {
    ETHER_HEADER = 14,
    ETHER_IPV4 = 0x0800,
    ETHER_IPV6 = 0x86dd,
    ETHER_VLAN = 0x8100,
    ETHER_VLAN_OUTER = 0x88a8,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    IPV6_HEADER = 40,
    TCP_SEQUENCE = 4,
    TCP_OFFSET = 12,
    TCP_FLAGS = 13,
    TCP_CHECKSUM = 16,
    UDP_CHECKSUM = 6,
    TCP_FIN_PSH = 0x01 | 0x08,
    TCP_CWR = 0x80,
    MSS_MIN = 64,
};

uint32_t net_sum(uint32_t sum, const uint8_t *data, size_t size)
{
    uint64_t wide = sum;
    size_t i = 0;
    // Four bytes at a time; a 64-bit accumulator takes 2^32 of them without overflow.
    for (; i + 4 <= size; i += 4)
        wide += be32_read(data + i);
    if (i + 2 <= size) {
        wide += be16_read(data + i);
        i += 2;
    }
    if (i < size)
        wide += (uint32_t)data[i] << 8;
    while (wide >> 16 > 0xffff)
        wide = (wide & 0xffff) + (wide >> 16);
    return (uint32_t)wide;
}

uint16_t net_sum_finish(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

bool net_checksum_insert(uint8_t *frame, size_t size, size_t start, size_t end, size_t field,
                         bool udp)
{
    if (start > end || end > size || !range_within(field, 2, size))
        return false;
    uint16_t value = net_sum_finish(net_sum(0, frame + start, end - start));
    be16_write(frame + field, udp && !value ? 0xffff : value);
    return true;
}

// Offset of the IP header and its EtherType; false where the frame is cut short.
static bool find_ip(const uint8_t *frame, size_t size, size_t *ret_ip, uint16_t *ret_type)
{
    size_t at = ETHER_HEADER;
    if (size < at)
        return false;
    uint16_t type = be16_read(frame + 12);
    for (int tags = 0; tags < 2 && (type == ETHER_VLAN || type == ETHER_VLAN_OUTER); tags++) {
        if (!range_within(at, 4, size))
            return false;
        type = be16_read(frame + at + 2);
        at += 4;
    }
    *ret_ip = at;
    *ret_type = type;
    return true;
}

// Extension headers before TCP are rare and short; a chain of them is not followed here.
static bool find_transport(const uint8_t *frame, size_t size, size_t *ret_ip, size_t *ret_transport,
                           size_t *ret_end, uint8_t *ret_protocol)
{
    size_t ip;
    uint16_t type;
    if (!find_ip(frame, size, &ip, &type))
        return false;
    const uint8_t *p = frame + ip;
    if (type == ETHER_IPV4 && range_within(ip, 20, size)) {
        size_t header = (size_t)(p[0] & 15) * 4, total = be16_read(p + 2);
        bool fragment = be16_read(p + 6) & 0x3fff;
        if (p[0] >> 4 != 4 || header < 20 || total < header || fragment ||
            !range_within(ip, header, size))
            return false;
        *ret_transport = ip + header;
        *ret_end = ip + total;
        *ret_protocol = p[9];
    } else if (type == ETHER_IPV6 && range_within(ip, IPV6_HEADER, size)) {
        *ret_transport = ip + IPV6_HEADER;
        *ret_end = ip + IPV6_HEADER + be16_read(p + 4);
        *ret_protocol = p[6];
    } else {
        return false;
    }
    *ret_ip = ip;
    return true;
}

// Sum of the pseudo header (RFC 793, 3.1; RFC 8200, 8.1).
static uint32_t pseudo_sum(const uint8_t *ip, uint8_t protocol, size_t length)
{
    uint32_t sum = net_sum(0, ip[0] >> 4 == 4 ? ip + 12 : ip + 8, ip[0] >> 4 == 4 ? 8 : 32);
    uint8_t tail[8] = { [7] = protocol };
    be32_write(tail, (uint32_t)length);
    return net_sum(sum, tail, sizeof tail);
}

bool net_checksum_valid(const uint8_t *frame, size_t size)
{
    size_t ip, transport, end;
    uint8_t protocol;
    if (!find_transport(frame, size, &ip, &transport, &end, &protocol) || end > size)
        return false;
    size_t length = end - transport;
    if (protocol == PROTOCOL_TCP ? length < 20 : protocol != PROTOCOL_UDP || length < 8)
        return false;
    // UDP over IPv4 without a checksum proves nothing.
    if (protocol == PROTOCOL_UDP && !be16_read(frame + transport + UDP_CHECKSUM))
        return false;
    uint32_t sum = pseudo_sum(frame + ip, protocol, length);
    return net_sum_finish(net_sum(sum, frame + transport, length)) == 0;
}

bool net_tcp_layout(const uint8_t *frame, size_t size, NetTcpLayout *ret)
{
    size_t ip, tcp, end;
    uint8_t protocol;
    if (!find_transport(frame, size, &ip, &tcp, &end, &protocol) || protocol != PROTOCOL_TCP ||
        !range_within(tcp, 20, size))
        return false;
    size_t header = (size_t)(frame[tcp + TCP_OFFSET] >> 4) * 4;
    if (header < 20 || !range_within(tcp, header, size))
        return false;
    *ret = (NetTcpLayout){ ip, tcp, tcp + header };
    return true;
}

// Fills in what depends on the segment's place: `size` bytes at `segment`, number `index`.
static void finish_segment(uint8_t *segment, size_t size, const NetTcpLayout *layout,
                           unsigned index, uint32_t sequence, bool last)
{
    uint8_t *ip = segment + layout->ip, *tcp = segment + layout->tcp;
    if (ip[0] >> 4 == 4) {
        be16_write(ip + 2, (uint16_t)(size - layout->ip));
        be16_write(ip + 4, (uint16_t)(be16_read(ip + 4) + index));
        be16_write(ip + 10, 0);
        be16_write(ip + 10, net_sum_finish(net_sum(0, ip, layout->tcp - layout->ip)));
    } else {
        be16_write(ip + 4, (uint16_t)(size - layout->ip - IPV6_HEADER));
    }
    be32_write(tcp + TCP_SEQUENCE, sequence);
    if (!last)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_FIN_PSH;
    if (index)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    be16_write(tcp + TCP_CHECKSUM, 0);
    uint32_t sum = pseudo_sum(ip, PROTOCOL_TCP, size - layout->tcp);
    be16_write(tcp + TCP_CHECKSUM, net_sum_finish(net_sum(sum, tcp, size - layout->tcp)));
}

// A card's driver names the layers itself: they must follow each other with room for the headers.
static bool layout_sound(const uint8_t *frame, size_t size, const NetTcpLayout *l)
{
    if (l->payload > size || l->ip >= size)
        return false;
    unsigned version = frame[l->ip] >> 4;
    size_t ip_header = version == 4 ? 20 : IPV6_HEADER;
    return (version == 4 || version == 6) && l->tcp >= l->ip + ip_header &&
           l->payload >= l->tcp + 20;
}

bool net_segment_tcp(uint8_t *frame, size_t size, const NetTcpLayout *layout, size_t mss,
                     uint8_t *segment,
                     void (*send)(void *opaque, const uint8_t *frame, size_t size), void *opaque)
{
    if (!mss || !layout_sound(frame, size, layout))
        return false;
    mss = MAX(mss, MSS_MIN);
    size_t header = layout->payload, payload = size - header;
    // A segment's IP packet is at most 65535 bytes.
    if (header - layout->ip + MIN(mss, payload) > 0xffff || header > NET_FRAME_MAX)
        return false;
    uint32_t sequence = be32_read(frame + layout->tcp + TCP_SEQUENCE);
    unsigned index = 0;
    size_t done = 0;
    do {
        size_t piece = MIN(mss, payload - done);
        memcpy(segment, frame, header);
        memcpy(segment + header, frame + header + done, piece);
        finish_segment(segment, header + piece, layout, index, sequence + (uint32_t)done,
                       done + piece == payload);
        send(opaque, segment, header + piece);
        done += piece;
        index++;
    } while (done < payload);
    return true;
}
