// SPDX-License-Identifier: GPL-2.0-or-later
// virtio-net through its queues, with a backend that records.
#include "engine/devices/virtio/virtio-net.h"

#include "engine/base/bytes.h"
#include "engine/bus/net-offload.h"
#include "tests/unit/engine/devices/virtio/virtio-rig.h"

enum {
    F_CSUM = 0,
    F_GUEST_CSUM = 1,
    F_HOST_TSO4 = 11,
    F_HOST_TSO6 = 12,
    F_MRG_RXBUF = 15,
    F_STATUS = 16,
    F_CTRL_VQ = 17,
    F_CTRL_RX = 18,
    F_CTRL_MAC_ADDR = 23,
    HEADER = 0x10000,
    DATA = 0x20000,
    BUFFERS = 0x40000,
    ACK = 0x11000,
};

typedef struct {
    Rig rig;
    RigRing receive, transmit, control;
    NetFrontend frontend;
    GPtrArray *sent; // of GBytes
    unsigned rooms;
} Fixture;

static void backend_send(void *opaque, const uint8_t *frame, size_t size)
{
    g_ptr_array_add(((Fixture *)opaque)->sent, g_bytes_new(frame, size));
}

static void backend_attach(void *opaque, const NetFrontend *frontend)
{
    if (frontend)
        ((Fixture *)opaque)->frontend = *frontend;
}

static void backend_room(void *opaque)
{
    ((Fixture *)opaque)->rooms++;
}

static void create(Fixture *f)
{
    rig_init(&f->rig);
    f->sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    VirtioNetConfig config = { .devfn = RIG_DEVFN, .mac = { 2, 0, 0, 0, 0, 1 },
                               .backend = { backend_send, backend_attach, backend_room, f } };
    rig_add(&f->rig, &virtio_net_ops, &config);
    rig_probe(&f->rig);
}

static void setup_features(Fixture *f, uint64_t features)
{
    create(f);
    rig_negotiate(&f->rig, features);
    rig_ring_start(&f->rig, &f->receive, 0, 0x100000);
    rig_ring_start(&f->rig, &f->transmit, 1, 0x200000);
    rig_ring_start(&f->rig, &f->control, 2, 0x300000);
    rig_driver_ok(&f->rig);
}

static void setup(Fixture *f, gconstpointer data)
{
    setup_features(f, 1u << F_CSUM | 1u << F_GUEST_CSUM | 1u << F_HOST_TSO4 | 1u << F_HOST_TSO6 |
                          1u << F_MRG_RXBUF | 1u << F_STATUS | 1u << F_CTRL_VQ | 1u << F_CTRL_RX |
                          1u << F_CTRL_MAC_ADDR);
}

static void setup_plain(Fixture *f, gconstpointer data)
{
    setup_features(f, 0);
}

static void teardown(Fixture *f, gconstpointer data)
{
    rig_clear(&f->rig);
    g_ptr_array_unref(f->sent);
}

static void offer_buffer(Fixture *f, uint64_t address, uint32_t size)
{
    RigBuffer buffer = { address, size };
    rig_ring_add(&f->receive, &buffer, 0, 1);
}

// A frame to our address whose bytes count up.
static void make_frame(uint8_t *frame, size_t size)
{
    for (size_t i = 0; i < size; i++)
        frame[i] = (uint8_t)i;
    memcpy(frame, (uint8_t[]){ 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x08, 0x00 }, 14);
}

static void transmit(Fixture *f, size_t size)
{
    uint32_t head, length;
    RigBuffer buffers[] = { { HEADER, 12 }, { DATA, (uint32_t)size } };
    rig_ring_add(&f->transmit, buffers, 2, 0);
    rig_ring_kick(&f->transmit);
    g_assert_true(rig_ring_used(&f->transmit, &head, &length));
    g_assert_cmpuint(length, ==, 0);
}

static void config_space(Fixture *f, gconstpointer data)
{
    g_assert_cmphex(rig_read(&f->rig, f->rig.config, 1), ==, 2);
    g_assert_cmphex(rig_read(&f->rig, f->rig.config + 5, 1), ==, 1);
    g_assert_cmphex(rig_read(&f->rig, f->rig.config + 6, 2), ==, 1);
}

static void sends(Fixture *f, gconstpointer data)
{
    make_frame(f->rig.ram + DATA, 100);
    transmit(f, 100);
    g_assert_cmpuint(f->sent->len, ==, 1);
    g_assert_cmpmem(g_bytes_get_data(f->sent->pdata[0], NULL), g_bytes_get_size(f->sent->pdata[0]),
                    f->rig.ram + DATA, 100);
}

static void send_too_short_or_long(Fixture *f, gconstpointer data)
{
    transmit(f, 13);
    transmit(f, NET_FRAME_MAX + 1);
    g_assert_cmpuint(f->sent->len, ==, 0);
    make_frame(f->rig.ram + DATA, 60);
    transmit(f, 60);
    g_assert_cmpuint(f->sent->len, ==, 1);
}

static void receives(Fixture *f, gconstpointer data)
{
    uint8_t frame[200];
    uint32_t head, length;
    make_frame(frame, sizeof frame);
    offer_buffer(f, BUFFERS, 1526);
    g_assert_true(f->frontend.can_receive(f->frontend.opaque));
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    g_assert_true(rig_ring_used(&f->receive, &head, &length));
    g_assert_cmpuint(length, ==, 212);
    g_assert_cmpmem(f->rig.ram + BUFFERS + 12, 200, frame, 200);
    g_assert_cmpuint(le16_read(f->rig.ram + BUFFERS + 10), ==, 1);
    g_assert_true(rig_intx(&f->rig));
}

static void merges_buffers(Fixture *f, gconstpointer data)
{
    uint8_t frame[1000];
    uint32_t head, length;
    make_frame(frame, sizeof frame);
    for (int i = 0; i < 4; i++)
        offer_buffer(f, BUFFERS + 0x1000 * (uint64_t)i, 300);
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    static const uint32_t lengths[] = { 300, 300, 300, 112 };
    for (int i = 0; i < 4; i++) {
        g_assert_true(rig_ring_used(&f->receive, &head, &length));
        g_assert_cmpuint(length, ==, lengths[i]);
    }
    g_assert_cmpuint(le16_read(f->rig.ram + BUFFERS + 10), ==, 4);
    g_assert_cmpmem(f->rig.ram + BUFFERS + 12, 288, frame, 288);
    g_assert_cmpmem(f->rig.ram + BUFFERS + 0x3000, 112, frame + 888, 112);
}

// Too few buffers: the frame is lost, the buffers are not.
static void keeps_buffers_of_a_lost_frame(Fixture *f, gconstpointer data)
{
    uint8_t frame[1000];
    uint32_t head, length;
    make_frame(frame, sizeof frame);
    offer_buffer(f, BUFFERS, 300);
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    g_assert_false(rig_ring_used(&f->receive, &head, &length));
    f->frontend.receive(f->frontend.opaque, frame, 100);
    g_assert_true(rig_ring_used(&f->receive, &head, &length));
    g_assert_cmpuint(length, ==, 112);
}

static void buffer_smaller_than_header(Fixture *f, gconstpointer data)
{
    uint8_t frame[64];
    uint32_t head, length;
    make_frame(frame, sizeof frame);
    offer_buffer(f, BUFFERS, 12);
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    g_assert_false(rig_ring_used(&f->receive, &head, &length));
}

static void asks_for_room(Fixture *f, gconstpointer data)
{
    g_assert_false(f->frontend.can_receive(f->frontend.opaque));
    offer_buffer(f, BUFFERS, 1526);
    rig_ring_kick(&f->receive);
    g_assert_cmpuint(f->rooms, ==, 1);
    g_assert_true(f->frontend.can_receive(f->frontend.opaque));
}

static void link_change(Fixture *f, gconstpointer data)
{
    f->frontend.link_changed(f->frontend.opaque, false);
    g_assert_cmphex(rig_read(&f->rig, f->rig.config + 6, 2), ==, 0);
    g_assert_cmphex(rig_read(&f->rig, f->rig.isr, 1), ==, 2);
    g_assert_cmphex(rig_read(&f->rig, f->rig.common + 21, 1), ==, 1);
}

// An IPv4 TCP frame with `payload` bytes; the pseudo header's sum stands in the checksum field.
static size_t make_tcp4(uint8_t *frame, size_t payload)
{
    memset(frame, 0, 54);
    memcpy(frame, (uint8_t[]){ 2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x08, 0x00 }, 14);
    uint8_t *ip = frame + 14, *tcp = ip + 20;
    ip[0] = 0x45;
    be16_write(ip + 2, (uint16_t)(40 + payload));
    be16_write(ip + 4, 0x1234);
    ip[8] = 64;
    ip[9] = 6;
    be32_write(ip + 12, 0x0a00020f);
    be32_write(ip + 16, 0x0a000202);
    be16_write(ip + 10, net_sum_finish(net_sum(0, ip, 20)));
    be16_write(tcp, 1025);
    be16_write(tcp + 2, 80);
    be32_write(tcp + 4, 0xfffffff0); // wraps within the frame
    tcp[12] = 0x50;
    tcp[13] = 0x80 | 0x10 | 0x08 | 0x01; // CWR ACK PSH FIN
    uint32_t pseudo = 0x0a00 + 0x020f + 0x0a00 + 0x0202 + 6 + 20 + (uint32_t)payload;
    be16_write(tcp + 16, (uint16_t)~net_sum_finish(pseudo));
    for (size_t i = 0; i < payload; i++)
        tcp[20 + i] = (uint8_t)(i * 7);
    return 54 + payload;
}

static void header(Fixture *f, uint8_t flags, uint8_t gso, uint16_t mss, uint16_t start,
                   uint16_t offset)
{
    uint8_t *h = f->rig.ram + HEADER;
    memset(h, 0, 12);
    h[0] = flags;
    h[1] = gso;
    le16_write(h + 4, mss);
    le16_write(h + 6, start);
    le16_write(h + 8, offset);
}

static void sums_for_the_guest(Fixture *f, gconstpointer data)
{
    size_t size = make_tcp4(f->rig.ram + DATA, 101);
    g_assert_false(net_checksum_valid(f->rig.ram + DATA, size));
    header(f, 1, 0, 0, 34, 16);
    transmit(f, size);
    g_assert_cmpuint(f->sent->len, ==, 1);
    g_assert_true(net_checksum_valid(g_bytes_get_data(f->sent->pdata[0], NULL), size));
}

static void sum_outside_the_frame(Fixture *f, gconstpointer data)
{
    size_t size = make_tcp4(f->rig.ram + DATA, 10);
    static const uint16_t wrong[][2] = { { 64, 0 }, { 34, 29 }, { 0xffff, 0xffff }, { 65, 0 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        header(f, 1, 0, 0, wrong[i][0], wrong[i][1]);
        transmit(f, size);
    }
    g_assert_cmpuint(f->sent->len, ==, 0);
}

static void segments_tcp4(Fixture *f, gconstpointer data)
{
    size_t size = make_tcp4(f->rig.ram + DATA, 3000);
    header(f, 1, 1, 1460, 34, 16);
    transmit(f, size);
    g_assert_cmpuint(f->sent->len, ==, 3);
    size_t done = 0;
    for (unsigned i = 0; i < 3; i++) {
        gsize length;
        const uint8_t *p = g_bytes_get_data(f->sent->pdata[i], &length);
        size_t piece = MIN(1460, 3000 - done);
        g_assert_cmpuint(length, ==, 54 + piece);
        g_assert_true(net_checksum_valid(p, length));
        g_assert_cmphex(net_sum_finish(net_sum(0, p + 14, 20)), ==, 0);
        g_assert_cmpuint(be16_read(p + 16), ==, 40 + piece);
        g_assert_cmphex(be16_read(p + 18), ==, 0x1234 + i);
        g_assert_cmphex(be32_read(p + 38), ==, (uint32_t)(0xfffffff0u + done));
        g_assert_cmphex(p[47], ==, (i == 0 ? 0x80 : 0) | 0x10 | (i == 2 ? 0x09 : 0));
        g_assert_cmpmem(p + 54, piece, f->rig.ram + DATA + 54 + done, piece);
        done += piece;
    }
}

static void segments_tcp6(Fixture *f, gconstpointer data)
{
    uint8_t *frame = f->rig.ram + DATA, *ip = frame + 14, *tcp = ip + 40;
    memset(frame, 0, 74 + 2000);
    memcpy(frame, (uint8_t[]){ 2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x86, 0xdd }, 14);
    ip[0] = 0x60;
    be16_write(ip + 4, 20 + 2000);
    ip[6] = 6;
    ip[7] = 64;
    ip[8] = ip[24] = 0xfe;
    ip[23] = 1;
    ip[39] = 2;
    tcp[12] = 0x50;
    tcp[13] = 0x10;
    header(f, 1, 4, 1400, 54, 16);
    transmit(f, 74 + 2000);
    g_assert_cmpuint(f->sent->len, ==, 2);
    for (unsigned i = 0; i < 2; i++) {
        gsize length;
        const uint8_t *p = g_bytes_get_data(f->sent->pdata[i], &length);
        g_assert_cmpuint(length, ==, 74 + (i ? 600 : 1400));
        g_assert_cmpuint(be16_read(p + 18), ==, length - 54);
        g_assert_true(net_checksum_valid(p, length));
    }
}

static void hostile_segmentation(Fixture *f, gconstpointer data)
{
    size_t size = make_tcp4(f->rig.ram + DATA, 1000);
    header(f, 1, 1, 0, 34, 16); // no size of a segment
    transmit(f, size);
    f->rig.ram[DATA + 46] = 0xf0; // a TCP header beyond the frame
    header(f, 1, 1, 1460, 34, 16);
    transmit(f, 60);
    f->rig.ram[DATA + 14] = 0x4f; // an IP header beyond the frame
    transmit(f, 60);
    header(f, 1, 3, 1460, 34, 16); // UDP, not offered
    transmit(f, size);
    g_assert_cmpuint(f->sent->len, ==, 0);
    make_tcp4(f->rig.ram + DATA, 64000);
    header(f, 1, 1, 1, 34, 16); // one byte each: bounded
    transmit(f, 54 + 64000);
    g_assert_cmpuint(f->sent->len, ==, 1000);
}

static void tells_of_valid_sums(Fixture *f, gconstpointer data)
{
    uint8_t frame[200];
    size_t size = make_tcp4(frame, 100);
    memcpy(frame, (uint8_t[]){ 2, 0, 0, 0, 0, 1 }, 6);
    net_checksum_insert(frame, size, 34, size, 50, false);
    offer_buffer(f, BUFFERS, 1526);
    offer_buffer(f, BUFFERS + 0x1000, 1526);
    f->frontend.receive(f->frontend.opaque, frame, size);
    g_assert_cmpuint(f->rig.ram[BUFFERS], ==, 2);
    frame[60] ^= 1;
    f->frontend.receive(f->frontend.opaque, frame, size);
    g_assert_cmpuint(f->rig.ram[BUFFERS + 0x1000], ==, 0);
}

static uint8_t command(Fixture *f, const uint8_t *bytes, uint32_t size)
{
    uint32_t head, length;
    RigBuffer buffers[] = { { DATA, size }, { ACK, 1 } };
    memcpy(f->rig.ram + DATA, bytes, size);
    f->rig.ram[ACK] = 0xee;
    rig_ring_add(&f->control, buffers, 1, 1);
    rig_ring_kick(&f->control);
    g_assert_true(rig_ring_used(&f->control, &head, &length));
    g_assert_cmpuint(length, ==, 1);
    return f->rig.ram[ACK];
}

// Whether a frame to `to` is received.
static bool accepts(Fixture *f, const uint8_t *to)
{
    uint8_t frame[64];
    uint32_t head, length;
    make_frame(frame, sizeof frame);
    memcpy(frame, to, 6);
    offer_buffer(f, BUFFERS, 1526);
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    return rig_ring_used(&f->receive, &head, &length);
}

static void receive_filter(Fixture *f, gconstpointer data)
{
    static const uint8_t own[] = { 2, 0, 0, 0, 0, 1 }, other[] = { 2, 0, 0, 0, 0, 5 },
                         group[] = { 0x33, 0x33, 0, 0, 0, 1 },
                         all[] = { 255, 255, 255, 255, 255, 255 };
    g_assert_true(accepts(f, own));
    g_assert_true(accepts(f, all));
    g_assert_false(accepts(f, other));
    g_assert_false(accepts(f, group));
    g_assert_cmpuint(command(f, (uint8_t[]){ 0, 1, 1 }, 3), ==, 0); // all multicast
    g_assert_true(accepts(f, group));
    g_assert_cmpuint(command(f, (uint8_t[]){ 0, 1, 0 }, 3), ==, 0);
    static const uint8_t table[] = { 1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 5,
                                     1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1 };
    g_assert_cmpuint(command(f, table, sizeof table), ==, 0);
    g_assert_true(accepts(f, other));
    g_assert_true(accepts(f, group));
    g_assert_cmpuint(command(f, (uint8_t[]){ 0, 0, 1 }, 3), ==, 0); // promiscuous
    g_assert_true(accepts(f, (uint8_t[]){ 2, 9, 9, 9, 9, 9 }));
}

static void sets_its_address(Fixture *f, gconstpointer data)
{
    static const uint8_t mac[] = { 2, 0, 0, 0, 0, 0x77 };
    uint8_t bytes[8] = { 1, 1 };
    memcpy(bytes + 2, mac, 6);
    g_assert_cmpuint(command(f, bytes, 8), ==, 0);
    g_assert_true(accepts(f, mac));
    g_assert_cmphex(rig_read(&f->rig, f->rig.config + 5, 1), ==, 0x77);
    rig_write(&f->rig, f->rig.common + 20, 1, 0);
    g_assert_cmphex(rig_read(&f->rig, f->rig.config + 5, 1), ==, 1);
}

static void hostile_commands(Fixture *f, gconstpointer data)
{
    g_assert_cmpuint(command(f, (uint8_t[]){ 1 }, 1), ==, 1);
    g_assert_cmpuint(command(f, (uint8_t[]){ 0, 0 }, 2), ==, 1);
    g_assert_cmpuint(command(f, (uint8_t[]){ 0, 200, 1 }, 3), ==, 1);
    g_assert_cmpuint(command(f, (uint8_t[]){ 1, 0, 255, 255, 255, 255, 1 }, 7), ==, 1);
    g_assert_cmpuint(command(f, (uint8_t[]){ 1, 0, 0, 0, 0, 0, 9, 0, 0, 0 }, 10), ==, 1);
    g_assert_cmpuint(command(f, (uint8_t[]){ 9, 9, 9 }, 3), ==, 1);
}

// Without merged buffers the modern header still has 12 bytes.
static void plain_header(Fixture *f, gconstpointer data)
{
    uint8_t frame[64];
    uint32_t head, length;
    make_frame(frame, sizeof frame);
    offer_buffer(f, BUFFERS, 1526);
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    g_assert_true(rig_ring_used(&f->receive, &head, &length));
    g_assert_cmpuint(length, ==, 76);
}

static void legacy_header(void)
{
    Fixture f = { 0 };
    uint8_t frame[64];
    uint32_t head, length;
    create(&f);
    bus_port_write(f.rig.bus, f.rig.ports + 18, 1, 3);
    bus_port_write(f.rig.bus, f.rig.ports + 4, 4, 1u << 5);
    rig_ring_start_legacy(&f.rig, &f.receive, 0, 0x100000);
    rig_ring_start_legacy(&f.rig, &f.transmit, 1, 0x200000);
    bus_port_write(f.rig.bus, f.rig.ports + 18, 1, 7);
    make_frame(frame, sizeof frame);
    offer_buffer(&f, BUFFERS, 1526);
    f.frontend.receive(f.frontend.opaque, frame, sizeof frame);
    g_assert_true(rig_ring_used(&f.receive, &head, &length));
    g_assert_cmpuint(length, ==, 74);
    RigBuffer buffers[] = { { HEADER, 10 }, { DATA, 64 } };
    memcpy(f.rig.ram + DATA, frame, 64);
    rig_ring_add(&f.transmit, buffers, 2, 0);
    rig_ring_kick(&f.transmit);
    g_assert_cmpuint(f.sent->len, ==, 1);
    g_assert_cmpuint(g_bytes_get_size(f.sent->pdata[0]), ==, 64);
    teardown(&f, NULL);
}

static void saved_state_round_trip(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    command(f, (uint8_t[]){ 0, 1, 1 }, 3);
    g_autoptr(GBytes) first = state_save(virtio_net_ops.state, f->rig.device);
    virtio_net_ops.reset(f->rig.device, RESET_COLD);
    g_assert_true(state_load(virtio_net_ops.state, f->rig.device, first, &error));
    g_assert_no_error(error);
    g_autoptr(GBytes) second = state_save(virtio_net_ops.state, f->rig.device);
    g_assert_cmpmem(g_bytes_get_data(first, NULL), g_bytes_get_size(first),
                    g_bytes_get_data(second, NULL), g_bytes_get_size(second));
    g_assert_true(accepts(f, (uint8_t[]){ 0x33, 0x33, 0, 0, 0, 1 }));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, start, function)                                                                 \
    g_test_add("/virtio-net/" path, Fixture, NULL, start, function, teardown)
    ADD("config-space", setup, config_space);
    ADD("transmit/frame", setup, sends);
    ADD("transmit/too-short-or-long", setup, send_too_short_or_long);
    ADD("transmit/checksum", setup, sums_for_the_guest);
    ADD("transmit/checksum-outside", setup, sum_outside_the_frame);
    ADD("transmit/tso4", setup, segments_tcp4);
    ADD("transmit/tso6", setup, segments_tcp6);
    ADD("transmit/hostile-tso", setup, hostile_segmentation);
    ADD("receive/frame", setup, receives);
    ADD("receive/merged", setup, merges_buffers);
    ADD("receive/lost-frame", setup, keeps_buffers_of_a_lost_frame);
    ADD("receive/small-buffer", setup, buffer_smaller_than_header);
    ADD("receive/room", setup, asks_for_room);
    ADD("receive/valid-sum", setup, tells_of_valid_sums);
    ADD("receive/plain-header", setup_plain, plain_header);
    g_test_add_func("/virtio-net/legacy-header", legacy_header);
    ADD("link", setup, link_change);
    ADD("control/filter", setup, receive_filter);
    ADD("control/address", setup, sets_its_address);
    ADD("control/hostile", setup, hostile_commands);
    ADD("saved-state", setup, saved_state_round_trip);
    return g_test_run();
}
