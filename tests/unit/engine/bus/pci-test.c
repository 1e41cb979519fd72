// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bus/pci.h"

#include "engine/memory/ram.h"

#include <gio/gio.h>

typedef struct {
    DeviceHost host;
    PciBus *bus;
    bool pirq[4];
    unsigned messages;
    uint64_t address;
    uint32_t data;
    PciDevice pci;
    uint8_t port_value;
    uint64_t mmio_value;
    RamBlock *vram;
} Rig;

static void set_pirq(void *opaque, unsigned line, bool level)
{
    ((Rig *)opaque)->pirq[line] = level;
}

static void take_msi(void *opaque, uint64_t address, uint32_t data)
{
    Rig *rig = opaque;
    rig->messages++;
    rig->address = address;
    rig->data = data;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((Rig *)opaque)->port_value;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    ((Rig *)opaque)->port_value = (uint8_t)value;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    return pci_msix_read(&((Rig *)opaque)->pci, (uint32_t)offset, size);
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    pci_msix_write(&((Rig *)opaque)->pci, (uint32_t)offset, size, value);
}

static const BusOps port_ops = { port_read, port_write, 4 };
static const BusOps mmio_ops = { mmio_read, mmio_write, 8 };

static void rig_init(Rig *rig)
{
    *rig = (Rig){ 0 };
    rig->host = (DeviceHost){ .bus = bus_new(), .memory = guest_memory_new(UINT64_C(1) << 36),
                              .msi = { take_msi, rig } };
    rig->bus = pci_bus_new(&rig->host, (IrqLine){ set_pirq, rig, 0 });
    rig->vram = ram_block_new("vram", 1 << 20, NULL);
    PciConfig config = {
        .name = "sample", .devfn = PCI_DEVFN(3, 0), .vendor = 0x1234, .device = 0x5678,
        .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .class_code = 0x020000, .revision = 7,
        .interrupt_pin = 1,
        .bars = { { PCI_BAR_PORTS, 32, &port_ops }, { PCI_BAR_MMIO, 4096, &mmio_ops },
                  { PCI_BAR_MMIO64, 16384, &mmio_ops }, { PCI_BAR_NONE },
                  { PCI_BAR_MEMORY, 1 << 20, NULL, rig->vram->host, true }, { PCI_BAR_NONE },
                  { PCI_BAR_ROM, 65536, NULL, rig->vram->host } },
    };
    g_assert_true(pci_add(rig->bus, &rig->pci, &config, rig, NULL));
    rig->host.pci = rig->bus;
}

static void rig_clear(Rig *rig)
{
    pci_remove(&rig->pci);
    pci_bus_free(rig->bus);
    guest_memory_free(rig->host.memory);
    bus_free(rig->host.bus);
    ram_block_free(rig->vram);
}

static uint32_t cfg_read(Rig *rig, unsigned offset, unsigned size)
{
    bus_port_write(rig->host.bus, 0xcf8, 4, 0x80001800 | (offset & 0xfc));
    return (uint32_t)bus_port_read(rig->host.bus, (uint16_t)(0xcfc + (offset & 3)), size);
}

static void cfg_write(Rig *rig, unsigned offset, unsigned size, uint32_t value)
{
    bus_port_write(rig->host.bus, 0xcf8, 4, 0x80001800 | (offset & 0xfc));
    bus_port_write(rig->host.bus, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

static void mechanism_1(void)
{
    Rig rig;
    rig_init(&rig);
    Bus *bus = rig.host.bus;
    g_assert_cmphex(cfg_read(&rig, 0, 4), ==, 0x56781234);
    g_assert_cmphex(cfg_read(&rig, 2, 2), ==, 0x5678);
    g_assert_cmphex(cfg_read(&rig, 3, 1), ==, 0x56);
    g_assert_cmphex(cfg_read(&rig, 8, 4), ==, 0x02000007);
    g_assert_cmphex(cfg_read(&rig, 0x2c, 4), ==, 0x11001af4);
    g_assert_cmphex(bus_port_read(bus, 0xcf8, 4), ==, 0x8000182c);
    bus_port_write(bus, 0xcf8, 1, 0xff); // a byte does not reach the address register
    g_assert_cmphex(bus_port_read(bus, 0xcf8, 4), ==, 0x8000182c);
    bus_port_write(bus, 0xcf8, 4, 0x00001800); // not enabled
    g_assert_cmphex(bus_port_read(bus, 0xcfc, 4), ==, 0xffffffff);
    bus_port_write(bus, 0xcf8, 4, 0x80011800); // another bus
    g_assert_cmphex(bus_port_read(bus, 0xcfc, 4), ==, 0xffffffff);
    bus_port_write(bus, 0xcf8, 4, 0x80002000); // an empty slot
    g_assert_cmphex(bus_port_read(bus, 0xcfc, 2), ==, 0xffff);
    rig_clear(&rig);
}

static void bar_sizing(void)
{
    Rig rig;
    rig_init(&rig);
    static const uint32_t wanted[] = { 0xffffffe1, 0xfffff000, 0xffffc004, 0xffffffff, 0xfff00008,
                                       0 };
    for (unsigned bar = 0; bar < 6; bar++) {
        cfg_write(&rig, 0x10 + bar * 4, 4, 0xffffffff);
        g_assert_cmphex(cfg_read(&rig, 0x10 + bar * 4, 4), ==, wanted[bar]);
    }
    cfg_write(&rig, 0x30, 4, 0xfffffffe);
    g_assert_cmphex(cfg_read(&rig, 0x30, 4), ==, 0xffff0000);
    // With decoding on, a sizing value covers nothing.
    cfg_write(&rig, 4, 2, 7);
    for (unsigned bar = 0; bar < 7; bar++)
        g_assert_cmphex(pci_bar_base(&rig.pci, bar), ==, UINT64_MAX);
    rig_clear(&rig);
}

static void bar_ports_map(void)
{
    Rig rig;
    rig_init(&rig);
    cfg_write(&rig, 0x10, 4, 0xc001);
    g_assert_cmphex(bus_port_read(rig.host.bus, 0xc000, 1), ==, 0xff);
    cfg_write(&rig, 4, 2, 1);
    bus_port_write(rig.host.bus, 0xc01f, 1, 0x5a);
    g_assert_cmphex(bus_port_read(rig.host.bus, 0xc000, 1), ==, 0x5a);
    cfg_write(&rig, 0x10, 4, 0xd000);
    g_assert_cmphex(bus_port_read(rig.host.bus, 0xc000, 1), ==, 0xff);
    g_assert_cmphex(bus_port_read(rig.host.bus, 0xd000, 1), ==, 0x5a);
    pci_reset(&rig.pci);
    g_assert_cmphex(bus_port_read(rig.host.bus, 0xd000, 1), ==, 0xff);
    rig_clear(&rig);
}

static void bar_memory_map(void)
{
    Rig rig;
    rig_init(&rig);
    cfg_write(&rig, 0x20, 4, 0xe0000000);
    cfg_write(&rig, 4, 2, 2);
    uint32_t value = 0x12345678;
    g_assert_true(guest_memory_write(rig.host.memory, 0xe0001000, &value, 4));
    g_assert_cmpmem(rig.vram->host + 4096, 4, &value, 4);
    g_assert_nonnull(guest_slot_dirty(rig.pci.slots[4]));
    cfg_write(&rig, 0x30, 4, 0xe8000001);
    value = 0;
    g_assert_true(guest_memory_read(rig.host.memory, 0xe8001000, &value, 4));
    g_assert_cmphex(value, ==, 0x12345678);
    g_assert_true(guest_memory_page(rig.host.memory, 0xe8001000).rom);
    cfg_write(&rig, 4, 2, 0);
    g_assert_false(guest_memory_read(rig.host.memory, 0xe0001000, &value, 4));
    rig_clear(&rig);
}

static void bar_mmio64_above_4g(void)
{
    Rig rig;
    rig_init(&rig);
    pci_add_msix(&rig.pci, 3, 2, 0, 0x800);
    cfg_write(&rig, 0x18, 4, 0x10000000);
    cfg_write(&rig, 0x1c, 4, 8);
    cfg_write(&rig, 4, 2, 2);
    g_assert_cmphex(pci_bar_base(&rig.pci, 2), ==, UINT64_C(0x810000000));
    bus_mmio_write(rig.host.bus, UINT64_C(0x810000000), 8, 0xfee00000);
    g_assert_cmphex(bus_mmio_read(rig.host.bus, UINT64_C(0x810000000), 4), ==, 0xfee00000);
    rig_clear(&rig);
}

static void intx_swizzle(void)
{
    Rig rig;
    rig_init(&rig);
    pci_set_intx(&rig.pci, true); // slot 3, INTA#
    g_assert_true(rig.pirq[2]);
    g_assert_cmphex(cfg_read(&rig, 6, 2) & 8, ==, 8);
    cfg_write(&rig, 4, 2, 0x400);
    g_assert_false(rig.pirq[2]);
    cfg_write(&rig, 4, 2, 0);
    g_assert_true(rig.pirq[2]);
    pci_set_intx(&rig.pci, false);
    g_assert_false(rig.pirq[2]);
    rig_clear(&rig);
}

static void intx_shared_wire(void)
{
    Rig rig;
    rig_init(&rig);
    PciDevice other;
    PciConfig config = { .name = "other", .devfn = PCI_DEVFN(7, 0), .interrupt_pin = 1 };
    g_assert_true(pci_add(rig.bus, &other, &config, NULL, NULL));
    pci_set_intx(&rig.pci, true);
    pci_set_intx(&other, true);
    pci_set_intx(&rig.pci, false);
    g_assert_true(rig.pirq[2]);
    pci_remove(&other);
    g_assert_false(rig.pirq[2]);
    rig_clear(&rig);
}

static void connect_drives_present_levels(void)
{
    Rig rig;
    rig_init(&rig);
    pci_set_intx(&rig.pci, true);
    rig.pirq[2] = false;
    pci_bus_connect(rig.bus, (IrqLine){ set_pirq, &rig, 0 });
    g_assert_true(rig.pirq[2]);
    rig_clear(&rig);
}

static void msi(void)
{
    Rig rig;
    rig_init(&rig);
    pci_add_msi(&rig.pci);
    unsigned at = rig.pci.msi_offset;
    g_assert_cmphex(cfg_read(&rig, 0x34, 1), ==, at);
    g_assert_cmphex(cfg_read(&rig, 6, 2) & 0x10, ==, 0x10);
    g_assert_cmphex(cfg_read(&rig, at, 4), ==, 0x00800005);
    cfg_write(&rig, at + 4, 4, 0xfee01003);
    cfg_write(&rig, at + 12, 2, 0x4051);
    pci_msi_notify(&rig.pci, 0);
    g_assert_cmpuint(rig.messages, ==, 0);
    pci_set_intx(&rig.pci, true);
    cfg_write(&rig, at + 2, 2, 1);
    g_assert_false(rig.pirq[2]); // MSI takes INTx's place
    pci_msi_notify(&rig.pci, 0);
    g_assert_cmpuint(rig.messages, ==, 0); // a message is a bus master's write
    cfg_write(&rig, 4, 2, 4);
    pci_msi_notify(&rig.pci, 0);
    g_assert_cmpuint(rig.messages, ==, 1);
    g_assert_cmphex(rig.address, ==, 0xfee01000);
    g_assert_cmphex(rig.data, ==, 0x4051);
    rig_clear(&rig);
}

static void msix_masks_and_pending(void)
{
    Rig rig;
    rig_init(&rig);
    pci_add_msix(&rig.pci, 3, 1, 0x100, 0x800);
    unsigned at = rig.pci.msix_offset;
    g_assert_cmphex(cfg_read(&rig, at + 2, 2), ==, 2);
    g_assert_cmphex(cfg_read(&rig, at + 4, 4), ==, 0x101);
    cfg_write(&rig, 0x14, 4, 0xf0000000);
    cfg_write(&rig, 4, 2, 6);
    cfg_write(&rig, at + 2, 2, 0x8000);
    Bus *bus = rig.host.bus;
    bus_mmio_write(bus, 0xf0000110, 4, 0xfee02000);
    bus_mmio_write(bus, 0xf0000118, 4, 0x61);
    g_assert_cmphex(bus_mmio_read(bus, 0xf000011c, 4), ==, 1);
    pci_msi_notify(&rig.pci, 1);
    g_assert_cmpuint(rig.messages, ==, 0);
    g_assert_cmphex(bus_mmio_read(bus, 0xf0000800, 8), ==, 2);
    bus_mmio_write(bus, 0xf000011c, 4, 0);
    g_assert_cmpuint(rig.messages, ==, 1);
    g_assert_cmphex(rig.address, ==, 0xfee02000);
    g_assert_cmphex(rig.data, ==, 0x61);
    g_assert_cmphex(bus_mmio_read(bus, 0xf0000800, 8), ==, 0);
    cfg_write(&rig, at + 2, 2, 0xc000); // function mask
    pci_msi_notify(&rig.pci, 1);
    g_assert_cmpuint(rig.messages, ==, 1);
    cfg_write(&rig, at + 2, 2, 0x8000);
    g_assert_cmpuint(rig.messages, ==, 2);
    pci_msi_notify(&rig.pci, 99);
    g_assert_cmpuint(rig.messages, ==, 2);
    rig_clear(&rig);
}

static void restore_maps_and_drives(void)
{
    Rig from, to;
    rig_init(&from);
    rig_init(&to);
    cfg_write(&from, 0x10, 4, 0xc001);
    cfg_write(&from, 4, 2, 1);
    memcpy(to.pci.config, from.pci.config, PCI_CONFIG_SIZE);
    to.pci.intx_level = true;
    pci_restore(&to.pci);
    to.port_value = 0x77;
    g_assert_cmphex(bus_port_read(to.host.bus, 0xc004, 1), ==, 0x77);
    g_assert_true(to.pirq[2]);
    rig_clear(&from);
    rig_clear(&to);
}

static void taken_slot_is_refused(void)
{
    Rig rig;
    rig_init(&rig);
    PciDevice other = { 0 };
    g_autoptr(GError) error = NULL;
    PciConfig config = { .name = "other", .devfn = PCI_DEVFN(3, 0) };
    g_assert_false(pci_add(rig.bus, &other, &config, NULL, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS);
    pci_remove(&other);
    g_assert_cmphex(cfg_read(&rig, 0, 4), ==, 0x56781234);
    rig_clear(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci/config/mechanism-1", mechanism_1);
    g_test_add_func("/pci/bar/sizing", bar_sizing);
    g_test_add_func("/pci/bar/ports", bar_ports_map);
    g_test_add_func("/pci/bar/memory-and-rom", bar_memory_map);
    g_test_add_func("/pci/bar/mmio64", bar_mmio64_above_4g);
    g_test_add_func("/pci/intx/swizzle-and-disable", intx_swizzle);
    g_test_add_func("/pci/intx/shared-wire", intx_shared_wire);
    g_test_add_func("/pci/intx/connect", connect_drives_present_levels);
    g_test_add_func("/pci/msi/one-vector", msi);
    g_test_add_func("/pci/msix/masks-and-pending", msix_masks_and_pending);
    g_test_add_func("/pci/restore", restore_maps_and_drives);
    g_test_add_func("/pci/taken-slot", taken_slot_is_refused);
    return g_test_run();
}
