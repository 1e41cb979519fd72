// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/virtio/virtio-rng.h"

#include "engine/base/bytes.h"
#include "tests/unit/engine/devices/virtio/virtio-rig.h"

typedef struct {
    Rig rig;
    RigRing ring;
} Fixture;

static void fill(void *opaque, void *buffer, size_t size)
{
    memset(buffer, 0xab, size);
}

static void start(Fixture *f, void (*source)(void *, void *, size_t))
{
    VirtioRngConfig config = { .devfn = RIG_DEVFN, .fill = source, .bytes_per_second = 10000 };
    rig_init(&f->rig);
    rig_add(&f->rig, &virtio_rng_ops, &config);
    rig_probe(&f->rig);
    rig_negotiate(&f->rig, 0);
    rig_ring_start(&f->rig, &f->ring, 0, 0x100000);
    rig_driver_ok(&f->rig);
}

static void setup(Fixture *f, gconstpointer data)
{
    start(f, fill);
}

static void teardown(Fixture *f, gconstpointer data)
{
    rig_clear(&f->rig);
}

static void ask(Fixture *f, uint32_t size)
{
    RigBuffer buffer = { 0x20000, size };
    rig_ring_add(&f->ring, &buffer, 0, 1);
    rig_ring_kick(&f->ring);
}

static void fills(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    ask(f, 64);
    g_assert_true(rig_ring_used(&f->ring, &head, &length));
    g_assert_cmpuint(length, ==, 64);
    g_assert_cmpuint(f->rig.ram[0x20000 + 63], ==, 0xab);
    g_assert_cmpuint(f->rig.ram[0x20000 + 64], ==, 0);
}

// 10,000 bytes a second are 1,000 a tenth.
static void rate(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    ask(f, 4000);
    g_assert_true(rig_ring_used(&f->ring, &head, &length));
    g_assert_cmpuint(length, ==, 1000);
    ask(f, 600);
    g_assert_false(rig_ring_used(&f->ring, &head, &length));
    clock_advance(f->rig.clock, NS_PER_SECOND / 10 - 1);
    g_assert_false(rig_ring_used(&f->ring, &head, &length));
    clock_advance(f->rig.clock, 1);
    g_assert_true(rig_ring_used(&f->ring, &head, &length));
    g_assert_cmpuint(length, ==, 600);
}

static void host_source(void)
{
    Fixture f;
    uint32_t head, length;
    unsigned ones = 0;
    start(&f, NULL);
    ask(&f, 512);
    g_assert_true(rig_ring_used(&f.ring, &head, &length));
    for (unsigned i = 0; i < 512 * 8; i++)
        ones += f.rig.ram[0x20000 + i / 8] >> i % 8 & 1;
    // 4096 coin throws: 2048 within 20 standard deviations.
    g_assert_cmpuint(ones, >, 1400);
    g_assert_cmpuint(ones, <, 2700);
    teardown(&f, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/virtio-rng/fills", Fixture, NULL, setup, fills, teardown);
    g_test_add("/virtio-rng/rate", Fixture, NULL, setup, rate, teardown);
    g_test_add_func("/virtio-rng/host-source", host_source);
    return g_test_run();
}
