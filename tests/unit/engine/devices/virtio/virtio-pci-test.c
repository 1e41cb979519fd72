// SPDX-License-Identifier: GPL-2.0-or-later
// The transport: what firmware and drivers find, in both register interfaces. The device behind it
// is virtio-net, which has several queues.
#include "engine/devices/virtio/virtio-net.h"

#include "engine/base/bytes.h"
#include "tests/unit/engine/devices/virtio/virtio-rig.h"

typedef struct {
    Rig rig;
    RigRing ring;
} Fixture;

static const VirtioNetConfig transitional = { .devfn = RIG_DEVFN, .mac = { 2, 0, 0, 0, 0, 1 } };
static const VirtioNetConfig modern_only = { .devfn = RIG_DEVFN, .modern_only = true,
                                             .mac = { 2, 0, 0, 0, 0, 1 } };

static void setup(Fixture *f, gconstpointer config)
{
    rig_init(&f->rig);
    rig_add(&f->rig, &virtio_net_ops, config);
    rig_probe(&f->rig);
}

static void teardown(Fixture *f, gconstpointer config)
{
    rig_clear(&f->rig);
}

static void transitional_identity(Fixture *f, gconstpointer data)
{
    g_assert_cmphex(rig_pci_read(&f->rig, 0, 4), ==, 0x10001af4);
    g_assert_cmphex(rig_pci_read(&f->rig, 8, 1), ==, 0);
    g_assert_cmphex(rig_pci_read(&f->rig, 0x2e, 2), ==, 1);
    g_assert_cmphex(rig_pci_read(&f->rig, 0x0b, 1), ==, 2);
    g_assert_cmpuint(f->rig.ports, !=, 0);
}

static void modern_identity(Fixture *f, gconstpointer data)
{
    g_assert_cmphex(rig_pci_read(&f->rig, 0, 4), ==, 0x10411af4);
    g_assert_cmphex(rig_pci_read(&f->rig, 8, 1), >=, 1);
    g_assert_cmpuint(f->rig.ports, ==, 0);
}

static void modern_probing(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    g_assert_cmphex(rig_offered(rig) >> 32 & 1, ==, 1);
    g_assert_cmpuint(rig_read(rig, rig->common + 18, 2), ==, 3);
    rig_negotiate(rig, 0);
    rig_ring_start(rig, &f->ring, 1, 0x100000);
    g_assert_cmphex(rig_read(rig, rig->common + 32, 8), ==, f->ring.descriptors);
    g_assert_cmphex(rig_read(rig, rig->common + 44, 4), ==, 0);
    g_assert_cmphex(rig_read(rig, rig->common + 48, 8), ==, f->ring.used);
    rig_driver_ok(rig);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 15);
}

static void queue_that_is_not_there(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    rig_negotiate(rig, 0);
    rig_write(rig, rig->common + 22, 2, 3);
    g_assert_cmpuint(rig_read(rig, rig->common + 24, 2), ==, 0);
    rig_write(rig, rig->common + 28, 2, 1);
    g_assert_cmpuint(rig_read(rig, rig->common + 28, 2), ==, 0);
}

static void queue_size_must_be_a_power_of_two(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    rig_negotiate(rig, 0);
    rig_write(rig, rig->common + 22, 2, 0);
    uint64_t offered = rig_read(rig, rig->common + 24, 2);
    static const uint16_t wrong[] = { 0, 3, 100, 512, 0x8000, 0xffff };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        rig_write(rig, rig->common + 24, 2, wrong[i]);
        g_assert_cmpuint(rig_read(rig, rig->common + 24, 2), ==, offered);
    }
    rig_write(rig, rig->common + 24, 2, 16);
    g_assert_cmpuint(rig_read(rig, rig->common + 24, 2), ==, 16);
}

static void refuses_features_not_offered(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    rig_write(rig, rig->common + 20, 1, 3);
    rig_write(rig, rig->common + 8, 4, 1);
    rig_write(rig, rig->common + 12, 4, 0x00000003); // VERSION_1 and one that is not offered
    rig_write(rig, rig->common + 20, 1, 11);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 3);
}

static void refuses_modern_driver_without_version_1(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    rig_write(rig, rig->common + 20, 1, 3);
    rig_write(rig, rig->common + 20, 1, 11);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 3);
}

static void reset_forgets(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    rig_negotiate(rig, 0);
    rig_ring_start(rig, &f->ring, 0, 0x100000);
    rig_write(rig, rig->common + 20, 1, 0);
    rig_write(rig, rig->common + 22, 2, 0);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 0);
    g_assert_cmpuint(rig_read(rig, rig->common + 28, 2), ==, 0);
    g_assert_cmphex(rig_read(rig, rig->common + 32, 8), ==, 0);
    g_assert_cmphex(rig_read(rig, rig->common + 26, 2), ==, 0xffff);
}

// One empty control command: the device answers it with an error and an interrupt.
static void send_control(Fixture *f)
{
    RigBuffer buffers[] = { { 0x10000, 2 }, { 0x11000, 1 } };
    f->rig.ram[0x10000] = 0xff;
    rig_ring_add(&f->ring, buffers, 1, 1);
    rig_ring_kick(&f->ring);
}

static void intx_and_isr(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    rig_negotiate(rig, 1u << 17);
    rig_ring_start(rig, &f->ring, 2, 0x100000);
    rig_driver_ok(rig);
    send_control(f);
    g_assert_true(rig_intx(rig));
    g_assert_cmpuint(rig_read(rig, rig->isr, 1), ==, 1);
    g_assert_false(rig_intx(rig));
    g_assert_cmpuint(rig_read(rig, rig->isr, 1), ==, 0);
}

static unsigned find_msix(Rig *rig)
{
    unsigned at = rig_pci_read(rig, 0x34, 1);
    while (at && rig_pci_read(rig, at, 1) != 0x11)
        at = rig_pci_read(rig, at + 1, 1);
    g_assert_cmpuint(at, !=, 0);
    return at;
}

static void msix_per_queue(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    unsigned at = find_msix(rig);
    uint32_t table = rig_pci_read(rig, at + 4, 4);
    uint64_t entry = (rig_pci_read(rig, 0x10 + (table & 7) * 4, 4) & ~15u) + (table & ~7u) + 3 * 16;
    g_assert_cmpuint(rig_pci_read(rig, at + 2, 2) & 0x7ff, ==, 3);
    rig_pci_write(rig, at + 2, 2, 0x8000);
    rig_negotiate(rig, 1u << 17);
    rig_ring_start(rig, &f->ring, 2, 0x100000);
    rig_write(rig, rig->common + 26, 2, 9); // no such vector
    g_assert_cmphex(rig_read(rig, rig->common + 26, 2), ==, 0xffff);
    rig_write(rig, rig->common + 26, 2, 3);
    g_assert_cmphex(rig_read(rig, rig->common + 26, 2), ==, 3);
    rig_write(rig, entry, 4, 0xfee00000);
    rig_write(rig, entry + 8, 4, 0x41);
    rig_write(rig, entry + 12, 4, 0);
    rig_driver_ok(rig);
    send_control(f);
    g_assert_cmpuint(rig->msi_count, ==, 1);
    g_assert_cmphex(rig->msi_last, ==, 0x41);
    g_assert_false(rig_intx(rig));
}

static void broken_ring_needs_reset(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    rig_negotiate(rig, 1u << 17);
    rig_ring_start(rig, &f->ring, 2, 0x100000);
    rig_driver_ok(rig);
    le16_write(rig->ram + f->ring.available + 2, 0x4000);
    rig_ring_kick(&f->ring);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1) & 64, ==, 64);
    g_assert_cmpuint(rig_read(rig, rig->isr, 1) & 2, ==, 2);
    rig_write(rig, rig->common + 20, 1, 0);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 0);
}

// What was notified while bus mastering was off is served when it is turned on.
static void bus_master(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    uint32_t head, length;
    rig_negotiate(rig, 1u << 17);
    rig_ring_start(rig, &f->ring, 2, 0x100000);
    rig_driver_ok(rig);
    rig_pci_write(rig, 4, 2, 3);
    send_control(f);
    g_assert_false(rig_ring_used(&f->ring, &head, &length));
    rig_pci_write(rig, 4, 2, 7);
    g_assert_true(rig_ring_used(&f->ring, &head, &length));
}

static void window_through_config_space(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    unsigned at = rig_pci_read(rig, 0x34, 1);
    while (at && (rig_pci_read(rig, at, 1) != 9 || rig_pci_read(rig, at + 3, 1) != 5))
        at = rig_pci_read(rig, at + 1, 1);
    g_assert_cmpuint(at, !=, 0);
    unsigned bar = 1;
    uint64_t base = rig_pci_read(rig, 0x10 + bar * 4, 4) & ~15u;
    rig_pci_write(rig, at + 4, 1, bar);
    rig_pci_write(rig, at + 8, 4, (uint32_t)(rig->common - base) + 20);
    rig_pci_write(rig, at + 12, 4, 1);
    rig_pci_write(rig, at + 16, 1, 3);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 3);
    g_assert_cmpuint(rig_pci_read(rig, at + 16, 1), ==, 3);
    // A window that points nowhere shows nothing and hurts nobody.
    rig_pci_write(rig, at + 8, 4, 0xffffffff);
    rig_pci_write(rig, at + 12, 4, 0xffffffff);
    rig_pci_write(rig, at + 16, 4, 0);
    rig_pci_read(rig, at + 16, 4);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 3);
}

static void legacy_probing(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    uint16_t io = rig->ports;
    uint32_t head, length;
    bus_port_write(rig->bus, io + 18, 1, 0);
    bus_port_write(rig->bus, io + 18, 1, 1);
    bus_port_write(rig->bus, io + 18, 1, 3);
    uint32_t features = (uint32_t)bus_port_read(rig->bus, io, 4);
    g_assert_cmphex(features & 1u << 5, !=, 0);
    bus_port_write(rig->bus, io + 4, 4, 1u << 17);
    rig_ring_start_legacy(rig, &f->ring, 2, 0x200000);
    g_assert_cmphex(bus_port_read(rig->bus, io + 8, 4), ==, 0x200);
    bus_port_write(rig->bus, io + 18, 1, 7);
    send_control(f);
    g_assert_true(rig_ring_used(&f->ring, &head, &length));
    g_assert_true(rig_intx(rig));
    g_assert_cmpuint(bus_port_read(rig->bus, io + 19, 1), ==, 1);
    g_assert_false(rig_intx(rig));
    bus_port_write(rig->bus, io + 8, 4, 0);
    g_assert_cmphex(bus_port_read(rig->bus, io + 8, 4), ==, 0);
}

// With MSI-X on, two vector registers move the device's configuration from 20 to 24.
static void legacy_config_moves(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    g_assert_cmphex(bus_port_read(rig->bus, rig->ports + 20, 1), ==, 2);
    rig_pci_write(rig, find_msix(rig) + 2, 2, 0x8000);
    g_assert_cmphex(bus_port_read(rig->bus, rig->ports + 20, 2), ==, 0xffff);
    g_assert_cmphex(bus_port_read(rig->bus, rig->ports + 24, 1), ==, 2);
    bus_port_write(rig->bus, rig->ports + 20, 2, 0);
    g_assert_cmphex(bus_port_read(rig->bus, rig->ports + 20, 2), ==, 0);
}

static void option_rom(void)
{
    Rig rig;
    uint8_t rom[5000] = { 0x55, 0xaa, 10 };
    VirtioNetConfig config = transitional;
    config.rom = rom;
    config.rom_size = sizeof rom;
    rig_init(&rig);
    rig_add(&rig, &virtio_net_ops, &config);
    rig_pci_write(&rig, 0x30, 4, 0xfffff800);
    g_assert_cmphex(rig_pci_read(&rig, 0x30, 4), ==, 0xffffe000);
    rig_pci_write(&rig, 0x30, 4, 0xfd000001);
    rig_pci_write(&rig, 4, 2, 2);
    uint8_t head[3] = { 0 };
    g_assert_true(guest_memory_read(rig.memory, 0xfd000000, head, 3));
    g_assert_cmpmem(head, 3, rom, 3);
    rig_clear(&rig);
}

// Every register of both BARs and of the configuration space, with seeded garbage.
static void garbage(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    g_autoptr(GRand) random = g_rand_new_with_seed(11);
    for (unsigned i = 0; i < 200000; i++) {
        unsigned size = 1u << g_rand_int_range(random, 0, 4);
        uint64_t value = (uint64_t)g_rand_int(random) << 32 | g_rand_int(random);
        if (g_rand_int_range(random, 0, 3))
            value &= 0xff;
        uint64_t at = rig->common + (uint64_t)g_rand_int_range(random, 0, 0x8000);
        if (g_rand_int_range(random, 0, 2))
            at = rig->common + (uint64_t)g_rand_int_range(random, 0, 60);
        switch (g_rand_int_range(random, 0, 6)) {
        case 0:
            bus_mmio_read(rig->bus, at, size);
            break;
        case 1:
        case 2:
            bus_mmio_write(rig->bus, at, size, value);
            break;
        case 3:
            bus_port_write(rig->bus, (uint16_t)(rig->ports + g_rand_int_range(random, 0, 128)),
                           MIN(size, 4), value);
            break;
        case 4:
            bus_port_read(rig->bus, (uint16_t)(rig->ports + g_rand_int_range(random, 0, 128)),
                          MIN(size, 4));
            break;
        default:
            // Everything but the command register and the BARs, which would end the fun.
            rig_pci_write(rig, (unsigned)g_rand_int_range(random, 0x40, 256), 1, (uint32_t)value);
            break;
        }
        if (i % 64 == 0)
            clock_advance(rig->clock, 1);
    }
    rig->ops->reset(rig->device, RESET_WARM);
    rig_probe(rig);
    rig_negotiate(rig, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, config, function)                                                                \
    g_test_add("/virtio-pci/" path, Fixture, &config, setup, function, teardown)
    ADD("transitional-identity", transitional, transitional_identity);
    ADD("modern-identity", modern_only, modern_identity);
    ADD("modern/probing", modern_only, modern_probing);
    ADD("modern/no-such-queue", transitional, queue_that_is_not_there);
    ADD("modern/queue-size", transitional, queue_size_must_be_a_power_of_two);
    ADD("modern/features-not-offered", transitional, refuses_features_not_offered);
    ADD("modern/without-version-1", transitional, refuses_modern_driver_without_version_1);
    ADD("modern/reset", transitional, reset_forgets);
    ADD("modern/window", transitional, window_through_config_space);
    ADD("modern/bus-master", transitional, bus_master);
    ADD("intx", transitional, intx_and_isr);
    ADD("msix", transitional, msix_per_queue);
    ADD("broken-ring-needs-reset", transitional, broken_ring_needs_reset);
    ADD("legacy/probing", transitional, legacy_probing);
    ADD("legacy/config-moves", transitional, legacy_config_moves);
    g_test_add_func("/virtio-pci/option-rom", option_rom);
    ADD("garbage", transitional, garbage);
    return g_test_run();
}
