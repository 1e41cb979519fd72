// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/engine/netd/tiny-guest.h"

#include "engine/base/bytes.h"

enum { FIN = 1, SYN = 2, PSH = 8, ACK = 16, ETHER = 14, IP = 20, TCP = 20, UDP = 8 };

static bool can_receive(void *opaque)
{
    return ((TinyGuest *)opaque)->has_room;
}

static void receive(void *opaque, const uint8_t *frame, size_t size)
{
    g_async_queue_push(((TinyGuest *)opaque)->frames, g_bytes_new(frame, size));
}

static void link_changed(void *opaque, bool up)
{
    g_async_queue_push(((TinyGuest *)opaque)->links, (gpointer)(up ? "up" : "down"));
}

void tiny_guest_init(TinyGuest *guest, const NetBackend *backend, GMutex *machine_lock)
{
    *guest = (TinyGuest){ .backend = backend, .machine_lock = machine_lock, .has_room = true,
                          .mac = { 0x52, 0x54, 0, 1, 2, 3 }, .port = 40000 };
    guest->frames = g_async_queue_new_full((GDestroyNotify)g_bytes_unref);
    guest->links = g_async_queue_new();
    g_mutex_lock(machine_lock);
    backend->attach(backend->opaque,
                    &(NetFrontend){ can_receive, receive, link_changed, guest });
    g_mutex_unlock(machine_lock);
    g_assert_cmpstr(tiny_guest_next_link(guest), ==, "up");
}

void tiny_guest_clear(TinyGuest *guest)
{
    g_mutex_lock(guest->machine_lock);
    guest->backend->attach(guest->backend->opaque, NULL);
    g_mutex_unlock(guest->machine_lock);
    g_async_queue_unref(guest->frames);
    g_async_queue_unref(guest->links);
}

void tiny_guest_set_room(TinyGuest *guest, bool room)
{
    g_mutex_lock(guest->machine_lock);
    guest->has_room = room;
    if (room)
        guest->backend->room(guest->backend->opaque);
    g_mutex_unlock(guest->machine_lock);
}

void tiny_guest_send_frame(TinyGuest *guest, const uint8_t *frame, size_t size)
{
    g_mutex_lock(guest->machine_lock);
    guest->backend->send(guest->backend->opaque, frame, size);
    g_mutex_unlock(guest->machine_lock);
}

const char *tiny_guest_next_link(TinyGuest *guest)
{
    return g_async_queue_timeout_pop(guest->links, 10 * G_TIME_SPAN_SECOND);
}

static void ethernet(TinyGuest *guest, uint8_t *frame, const uint8_t *to, uint16_t type)
{
    memcpy(frame, to, 6);
    memcpy(frame + 6, guest->mac, 6);
    be16_write(frame + 12, type);
}

static void send_arp(TinyGuest *guest, uint16_t operation, const uint8_t *to_mac, uint32_t to)
{
    static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
    uint8_t frame[60] = { 0 };
    ethernet(guest, frame, operation == 1 ? broadcast : to_mac, 0x0806);
    uint8_t *arp = frame + ETHER;
    be16_write(arp, 1);
    be16_write(arp + 2, 0x0800);
    arp[4] = 6;
    arp[5] = 4;
    be16_write(arp + 6, operation);
    memcpy(arp + 8, guest->mac, 6);
    be32_write(arp + 14, guest->address);
    if (operation == 2)
        memcpy(arp + 18, to_mac, 6);
    be32_write(arp + 24, to);
    tiny_guest_send_frame(guest, frame, sizeof frame);
}

static GBytes *next_within(TinyGuest *guest, guint64 seconds)
{
    for (;;) {
        GBytes *frame = g_async_queue_timeout_pop(guest->frames, seconds * G_TIME_SPAN_SECOND);
        gsize size;
        const uint8_t *p = frame ? g_bytes_get_data(frame, &size) : NULL;
        if (!frame || size < ETHER + 28 || be16_read(p + 12) != 0x0806 ||
            be16_read(p + ETHER + 6) != 1)
            return frame;
        if (be32_read(p + ETHER + 24) == guest->address)
            send_arp(guest, 2, p + 6, be32_read(p + ETHER + 14));
        g_bytes_unref(frame);
    }
}

GBytes *tiny_guest_next(TinyGuest *guest)
{
    return next_within(guest, 10);
}

static uint16_t sum(const uint8_t *data, size_t size, uint32_t start)
{
    for (size_t i = 0; i < size; i++)
        start += i & 1 ? data[i] : (uint32_t)data[i] << 8;
    while (start >> 16)
        start = (start & 0xffff) + (start >> 16);
    return (uint16_t)~start;
}

// Ethernet and IP headers in front of `size` bytes at frame + 34.
static void send_ip(TinyGuest *guest, uint8_t *frame, size_t size, uint8_t protocol,
                    uint32_t from, uint32_t to, const uint8_t *to_mac)
{
    uint8_t *ip = frame + ETHER;
    ethernet(guest, frame, to_mac, 0x0800);
    memset(ip, 0, IP);
    ip[0] = 0x45;
    be16_write(ip + 2, (uint16_t)(IP + size));
    be16_write(ip + 4, ++guest->id);
    ip[8] = 64;
    ip[9] = protocol;
    be32_write(ip + 12, from);
    be32_write(ip + 16, to);
    be16_write(ip + 10, sum(ip, IP, 0));
    tiny_guest_send_frame(guest, frame, ETHER + IP + size);
}

static void send_dhcp(TinyGuest *guest, uint8_t type, uint32_t wanted)
{
    static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 };
    uint8_t frame[ETHER + IP + UDP + 300] = { 0 };
    uint8_t *udp = frame + ETHER + IP, *bootp = udp + UDP, *option = bootp + 240;
    be16_write(udp, 68);
    be16_write(udp + 2, 67);
    be16_write(udp + 4, UDP + 300);
    bootp[0] = 1;
    bootp[1] = 1;
    bootp[2] = 6;
    be32_write(bootp + 4, 0x12345678);
    memcpy(bootp + 28, guest->mac, 6);
    be32_write(bootp + 236, 0x63825363);
    memcpy(option, (uint8_t[]){ 53, 1, type }, 3);
    option += 3;
    if (wanted) {
        memcpy(option, (uint8_t[]){ 50, 4 }, 2);
        be32_write(option + 2, wanted);
        option += 6;
    }
    *option = 255;
    send_ip(guest, frame, UDP + 300, 17, 0, 0xffffffff, broadcast);
}

// The address and message type of the next DHCP answer; 0 where none comes soon.
static uint32_t next_dhcp(TinyGuest *guest, uint8_t *ret_type)
{
    for (;;) {
        g_autoptr(GBytes) frame = next_within(guest, 2);
        if (!frame)
            return 0;
        gsize size;
        const uint8_t *p = g_bytes_get_data(frame, &size);
        const uint8_t *udp = p + ETHER + IP, *bootp = udp + UDP;
        if (size < ETHER + IP + UDP + 240 || be16_read(p + 12) != 0x0800 || p[23] != 17 ||
            be16_read(udp + 2) != 68)
            continue;
        const uint8_t *end = p + size;
        for (const uint8_t *o = bootp + 240; o + 2 < end && *o != 255; o += 2 + o[1]) {
            if (o[0] == 53)
                *ret_type = o[2];
        }
        return be32_read(bootp + 16);
    }
}

// Sends again where nothing is heard, as every client does: a full queue may lose a frame.
static uint32_t ask_dhcp(TinyGuest *guest, uint8_t question, uint32_t wanted, uint8_t answer)
{
    for (int attempt = 0; attempt < 10; attempt++) {
        uint8_t type = 0;
        send_dhcp(guest, question, wanted);
        uint32_t address = next_dhcp(guest, &type);
        if (address && type == answer)
            return address;
    }
    g_error("no DHCP answer of type %u", answer);
}

void tiny_guest_dhcp(TinyGuest *guest)
{
    uint32_t offered = ask_dhcp(guest, 1, 0, 2);
    guest->address = ask_dhcp(guest, 3, offered, 5);
    g_assert_cmphex(guest->address, ==, offered);
}

void tiny_guest_arp(TinyGuest *guest)
{
    send_arp(guest, 1, NULL, TINY_GATEWAY);
    for (;;) {
        g_autoptr(GBytes) frame = tiny_guest_next(guest);
        g_assert_nonnull(frame);
        gsize size;
        const uint8_t *p = g_bytes_get_data(frame, &size);
        if (size < ETHER + 28 || be16_read(p + 12) != 0x0806 || be16_read(p + 20) != 2)
            continue;
        g_assert_cmphex(be32_read(p + ETHER + 14), ==, TINY_GATEWAY);
        memcpy(guest->gateway_mac, p + ETHER + 8, 6);
        return;
    }
}

static void send_tcp(TinyGuest *guest, uint8_t flags, const void *data, size_t size)
{
    uint8_t frame[ETHER + IP + TCP + 1460] = { 0 };
    uint8_t *tcp = frame + ETHER + IP;
    g_assert_cmpuint(size, <=, 1460);
    be16_write(tcp, guest->port);
    be16_write(tcp + 2, guest->peer_port);
    be32_write(tcp + 4, guest->send_next);
    be32_write(tcp + 8, flags & ACK ? guest->receive_next : 0);
    tcp[12] = TCP / 4 << 4;
    tcp[13] = flags;
    be16_write(tcp + 14, 32768);
    if (size)
        memcpy(tcp + TCP, data, size);
    uint32_t pseudo = (guest->address >> 16) + (guest->address & 0xffff) + (guest->peer >> 16) +
                      (guest->peer & 0xffff) + 6 + TCP + (uint32_t)size;
    be16_write(tcp + 16, sum(tcp, TCP + size, pseudo));
    guest->send_next += (uint32_t)size + (flags & (SYN | FIN) ? 1 : 0);
    send_ip(guest, frame, TCP + size, 6, guest->address, guest->peer, guest->gateway_mac);
}

// The next segment to our port; its checksum must be right.
static GBytes *next_tcp(TinyGuest *guest, const uint8_t **ret_tcp, size_t *ret_size)
{
    for (;;) {
        GBytes *frame = tiny_guest_next(guest);
        g_assert_nonnull(frame);
        gsize size;
        const uint8_t *p = g_bytes_get_data(frame, &size);
        const uint8_t *tcp = p + ETHER + IP;
        if (size >= ETHER + IP + TCP && be16_read(p + 12) == 0x0800 && p[23] == 6 &&
            be16_read(tcp + 2) == guest->port) {
            size_t length = be16_read(p + ETHER + 2) - IP;
            uint32_t pseudo = 6 + (uint32_t)length;
            for (int i = 0; i < 8; i += 2)
                pseudo += be16_read(p + ETHER + 12 + i);
            g_assert_cmphex(sum(tcp, length, pseudo), ==, 0);
            *ret_tcp = tcp;
            *ret_size = length;
            return frame;
        }
        g_bytes_unref(frame);
    }
}

void tiny_guest_connect(TinyGuest *guest, uint16_t port)
{
    const uint8_t *tcp;
    size_t size;
    guest->peer = TINY_GATEWAY;
    guest->peer_port = port;
    guest->port++;
    guest->send_next = 1000;
    send_tcp(guest, SYN, NULL, 0);
    g_autoptr(GBytes) frame = next_tcp(guest, &tcp, &size);
    g_assert_cmphex(tcp[13] & (SYN | ACK), ==, SYN | ACK);
    g_assert_cmpuint(be32_read(tcp + 8), ==, guest->send_next);
    guest->receive_next = be32_read(tcp + 4) + 1;
    send_tcp(guest, ACK, NULL, 0);
}

void tiny_guest_accept(TinyGuest *guest, uint16_t port)
{
    const uint8_t *tcp;
    size_t size;
    guest->port = port;
    guest->send_next = 5000;
    g_autoptr(GBytes) frame = next_tcp(guest, &tcp, &size);
    g_assert_cmphex(tcp[13] & (SYN | ACK), ==, SYN);
    guest->peer = be32_read(tcp - 8);
    guest->peer_port = be16_read(tcp);
    guest->receive_next = be32_read(tcp + 4) + 1;
    send_tcp(guest, SYN | ACK, NULL, 0);
}

void tiny_guest_send(TinyGuest *guest, const char *text)
{
    send_tcp(guest, ACK | PSH, text, strlen(text));
}

char *tiny_guest_receive(TinyGuest *guest, size_t size)
{
    GString *got = g_string_new(NULL);
    while (got->len < size) {
        const uint8_t *tcp;
        size_t length;
        g_autoptr(GBytes) frame = next_tcp(guest, &tcp, &length);
        size_t header = (size_t)(tcp[12] >> 4) * 4;
        if (be32_read(tcp + 4) != guest->receive_next)
            continue; // sent again
        g_string_append_len(got, (const char *)tcp + header, (gssize)(length - header));
        guest->receive_next += (uint32_t)(length - header) + (tcp[13] & FIN ? 1 : 0);
        if (length > header || (tcp[13] & FIN))
            send_tcp(guest, ACK, NULL, 0);
        if (tcp[13] & FIN)
            break;
    }
    return g_string_free(got, FALSE);
}
