// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/virtio/virtio-console.h"

#include "engine/base/bytes.h"
#include "tests/unit/engine/devices/virtio/virtio-rig.h"

enum { F_MULTIPORT = 1, F_EMERG_WRITE = 2, DATA = 0x20000, BUFFERS = 0x40000 };

typedef struct {
    CharBackend backend;
    CharFrontend frontend;
    GString *got;
    size_t room; // bytes that the backend takes
    bool open;
    unsigned rooms;
} End;

typedef struct {
    Rig rig;
    RigRing receive, transmit, control_in, control_out, receive1, transmit1;
    End ends[2];
} Fixture;

static size_t end_write(void *opaque, const uint8_t *data, size_t size)
{
    End *end = opaque;
    size_t taken = MIN(size, end->room);
    g_string_append_len(end->got, (const char *)data, (gssize)taken);
    end->room -= taken;
    return taken;
}

static void end_attach(void *opaque, const CharFrontend *frontend)
{
    if (frontend)
        ((End *)opaque)->frontend = *frontend;
}

static void end_open(void *opaque, bool open)
{
    ((End *)opaque)->open = open;
}

static void end_room(void *opaque)
{
    ((End *)opaque)->rooms++;
}

static void create(Fixture *f, uint64_t features)
{
    for (int i = 0; i < 2; i++) {
        End *end = &f->ends[i];
        *end = (End){ .backend = { end_write, end_attach, end_open, end_room, end },
                      .got = g_string_new(NULL), .room = 1 << 20 };
    }
    VirtioConsoleConfig config = {
        .devfn = RIG_DEVFN, .port_count = 2, .console_mask = 1,
        .ports = { { NULL, &f->ends[0].backend },
                   { "com.redhat.spice.0", &f->ends[1].backend } },
    };
    rig_init(&f->rig);
    rig_add(&f->rig, &virtio_console_ops, &config);
    rig_probe(&f->rig);
    rig_negotiate(&f->rig, features);
    rig_ring_start(&f->rig, &f->receive, 0, 0x100000);
    rig_ring_start(&f->rig, &f->transmit, 1, 0x110000);
    rig_ring_start(&f->rig, &f->control_in, 2, 0x120000);
    rig_ring_start(&f->rig, &f->control_out, 3, 0x130000);
    rig_ring_start(&f->rig, &f->receive1, 4, 0x140000);
    rig_ring_start(&f->rig, &f->transmit1, 5, 0x150000);
    rig_driver_ok(&f->rig);
}

static void setup(Fixture *f, gconstpointer data)
{
    create(f, 1u << F_MULTIPORT | 1u << F_EMERG_WRITE);
}

static void setup_single(Fixture *f, gconstpointer data)
{
    create(f, 0);
}

static void teardown(Fixture *f, gconstpointer data)
{
    rig_clear(&f->rig);
    for (int i = 0; i < 2; i++)
        g_string_free(f->ends[i].got, TRUE);
}

static void say(Fixture *f, uint32_t id, uint16_t event, uint16_t value)
{
    uint32_t head, length;
    RigBuffer buffer = { DATA, 8 };
    le32_write(f->rig.ram + DATA, id);
    le16_write(f->rig.ram + DATA + 4, event);
    le16_write(f->rig.ram + DATA + 6, value);
    rig_ring_add(&f->control_out, &buffer, 1, 0);
    rig_ring_kick(&f->control_out);
    g_assert_true(rig_ring_used(&f->control_out, &head, &length));
}

static void offer_control(Fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        RigBuffer buffer = { BUFFERS + (f->control_in.available_index % 16u) * 256u, 128 };
        rig_ring_add(&f->control_in, &buffer, 0, 1);
    }
    rig_ring_kick(&f->control_in);
}

static void expect_control(Fixture *f, uint32_t id, uint16_t event, const char *text)
{
    uint32_t head, length;
    uint64_t address = BUFFERS + (f->control_in.used_seen % 16u) * 256u;
    g_assert_true(rig_ring_used(&f->control_in, &head, &length));
    const uint8_t *p = f->rig.ram + address;
    g_assert_cmpuint(le32_read(p), ==, id);
    g_assert_cmpuint(le16_read(p + 4), ==, event);
    g_assert_cmpuint(le16_read(p + 6), ==, 1);
    g_assert_cmpuint(length, ==, 8 + (text ? strlen(text) : 0));
    if (text)
        g_assert_cmpmem(p + 8, length - 8, text, strlen(text));
}

static void announces_ports(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    g_assert_cmpuint(rig_read(&f->rig, f->rig.config + 4, 4), >=, 2);
    offer_control(f, 8);
    say(f, 0xffffffff, 0, 1); // DEVICE_READY
    expect_control(f, 0, 1, NULL);
    expect_control(f, 1, 1, NULL);
    say(f, 0, 3, 1); // PORT_READY
    expect_control(f, 0, 4, NULL);
    expect_control(f, 0, 6, NULL);
    say(f, 1, 3, 1);
    expect_control(f, 1, 7, "com.redhat.spice.0");
    expect_control(f, 1, 6, NULL);
    g_assert_false(rig_ring_used(&f->control_in, &head, &length));
}

// A driver that offers its buffers late is told late.
static void announces_when_there_is_room(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    say(f, 0, 0, 1);
    say(f, 0, 0, 1);
    g_assert_false(rig_ring_used(&f->control_in, &head, &length));
    offer_control(f, 4);
    expect_control(f, 0, 1, NULL);
    expect_control(f, 1, 1, NULL);
    g_assert_false(rig_ring_used(&f->control_in, &head, &length));
}

static void hostile_control(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    say(f, 77, 3, 1);
    say(f, 2, 6, 1);
    say(f, 0, 999, 1);
    offer_control(f, 2);
    g_assert_false(rig_ring_used(&f->control_in, &head, &length));
}

static void write_port(Fixture *f, RigRing *ring, const char *text)
{
    RigBuffer buffer = { DATA, (uint32_t)strlen(text) };
    memcpy(f->rig.ram + DATA, text, strlen(text));
    rig_ring_add(ring, &buffer, 1, 0);
    rig_ring_kick(ring);
}

static void transmits(Fixture *f, gconstpointer data)
{
    write_port(f, &f->transmit, "login: ");
    write_port(f, &f->transmit1, "agent");
    g_assert_cmpstr(f->ends[0].got->str, ==, "login: ");
    g_assert_cmpstr(f->ends[1].got->str, ==, "agent");
}

// What a full backend does not take comes again, in order and once.
static void backend_full(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    f->ends[1].room = 3;
    write_port(f, &f->transmit1, "abcdefgh");
    g_assert_false(rig_ring_used(&f->transmit1, &head, &length));
    f->ends[1].room = 2;
    clock_advance(f->rig.clock, NS_PER_SECOND / 10);
    g_assert_cmpstr(f->ends[1].got->str, ==, "abcde");
    f->ends[1].room = 100;
    clock_advance(f->rig.clock, NS_PER_SECOND / 10);
    g_assert_cmpstr(f->ends[1].got->str, ==, "abcdefgh");
    g_assert_true(rig_ring_used(&f->transmit1, &head, &length));
}

static void receives(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    CharFrontend *port = &f->ends[1].frontend;
    RigBuffer buffers[] = { { BUFFERS, 4 }, { BUFFERS + 0x100, 100 } };
    g_assert_cmpuint(port->can_receive(port->opaque), ==, 0);
    say(f, 1, 6, 1);
    g_assert_true(f->ends[1].open);
    g_assert_cmpuint(port->can_receive(port->opaque), ==, 0);
    rig_ring_add(&f->receive1, &buffers[0], 0, 1);
    rig_ring_add(&f->receive1, &buffers[1], 0, 1);
    rig_ring_kick(&f->receive1);
    g_assert_cmpuint(f->ends[1].rooms, ==, 1);
    g_assert_cmpuint(port->can_receive(port->opaque), >, 0);
    port->receive(port->opaque, (const uint8_t *)"spice agent", 11);
    g_assert_true(rig_ring_used(&f->receive1, &head, &length));
    g_assert_cmpuint(length, ==, 4);
    g_assert_true(rig_ring_used(&f->receive1, &head, &length));
    g_assert_cmpuint(length, ==, 7);
    g_assert_cmpmem(f->rig.ram + BUFFERS + 0x100, 7, "e agent", 7);
    say(f, 1, 6, 0);
    g_assert_false(f->ends[1].open);
    g_assert_cmpuint(port->can_receive(port->opaque), ==, 0);
}

// An old driver: one port, no control queues, open from the start.
static void single_port(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    CharFrontend *port = &f->ends[0].frontend;
    RigBuffer buffer = { BUFFERS, 64 };
    rig_ring_add(&f->receive, &buffer, 0, 1);
    g_assert_cmpuint(port->can_receive(port->opaque), >, 0);
    port->receive(port->opaque, (const uint8_t *)"ls\n", 3);
    g_assert_true(rig_ring_used(&f->receive, &head, &length));
    g_assert_cmpuint(length, ==, 3);
    write_port(f, &f->transmit, "$ ");
    g_assert_cmpstr(f->ends[0].got->str, ==, "$ ");
}

static void emergency_write(Fixture *f, gconstpointer data)
{
    rig_write(&f->rig, f->rig.config + 8, 4, 'P');
    g_assert_cmpstr(f->ends[0].got->str, ==, "P");
}

static void reset_closes(Fixture *f, gconstpointer data)
{
    say(f, 1, 6, 1);
    rig_write(&f->rig, f->rig.common + 20, 1, 0);
    g_assert_false(f->ends[1].open);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, start, function)                                                                 \
    g_test_add("/virtio-console/" path, Fixture, NULL, start, function, teardown)
    ADD("announce", setup, announces_ports);
    ADD("announce-late", setup, announces_when_there_is_room);
    ADD("hostile-control", setup, hostile_control);
    ADD("transmit", setup, transmits);
    ADD("transmit-full", setup, backend_full);
    ADD("receive", setup, receives);
    ADD("single-port", setup_single, single_port);
    ADD("emergency-write", setup, emergency_write);
    ADD("reset-closes", setup, reset_closes);
    return g_test_run();
}
