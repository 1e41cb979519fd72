// SPDX-License-Identifier: GPL-2.0-or-later
// PCI configuration space, base address registers and INTx wires. MSI is in pci-msi.c; what a chip
// does with its own registers is in the chip. Follows the PCI Local Bus Specification 3.0, chapters
// 3.2.2.3.2 (mechanism 1) and 6 (configuration space).
#include "engine/bus/pci-private.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"

#include <gio/gio.h>

#define CONFIG_ADDRESS_PORT   0xcf8
#define CONFIG_ENABLE         0x80000000u
#define CONFIG_ADDRESS_MASK   0x80fffffcu
#define COMMAND_WRITABLE      0x0547 // I/O, memory, master, parity, SERR, INTx disable
#define STATUS_WRITE_CLEAR    0xf900

struct PciBus {
    DeviceHost host;
    IrqLine pirq;
    BusRegion *ports;
    uint32_t address; // CF8h
    PciDevice *functions[256];
    bool driven[256];       // by devfn: the function asserts its wire
    unsigned asserted[4];   // functions that assert PIRQA..D
};

// Offset of a BAR's register.
static unsigned bar_offset(unsigned bar)
{
    return bar == 6 ? PCI_ROM_BAR : PCI_BAR0 + bar * 4;
}

static unsigned pirq_of(const PciDevice *pci)
{
    return ((pci->devfn >> 3) - 1 + pci->interrupt_pin - 1) & 3;
}

static void drive_pirq(PciBus *bus, unsigned wire, bool level)
{
    IrqLine line = bus->pirq;
    line.line += wire;
    irq_set(&line, level);
}

void pci_update_intx(PciDevice *pci)
{
    PciBus *bus = pci->bus;
    uint16_t command = le16_read(pci->config + PCI_COMMAND);
    if (!pci->interrupt_pin)
        return;
    if (pci->intx_level)
        pci->config[PCI_STATUS] |= PCI_STATUS_INTX;
    else
        pci->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
    bool drive = pci->intx_level && !(command & PCI_COMMAND_INTX_DISABLE) &&
                 !pci_msi_enabled(pci) && !pci_msix_enabled(pci);
    if (drive == bus->driven[pci->devfn])
        return;
    bus->driven[pci->devfn] = drive;
    unsigned wire = pirq_of(pci);
    bus->asserted[wire] += drive ? 1 : -1;
    if (bus->asserted[wire] == (drive ? 1 : 0))
        drive_pirq(bus, wire, drive);
}

void pci_set_intx(PciDevice *pci, bool level)
{
    pci->intx_level = level;
    pci_update_intx(pci);
}

const MsiSink *pci_msi_sink(const PciDevice *pci)
{
    return &pci->bus->host.msi;
}

bool pci_bus_master(const PciDevice *pci)
{
    return pci->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

// Address 0 and ranges that end at the top of the space (what a sizing write leaves) count as
// unassigned, so that nothing of the board is covered while a guest sizes BARs.
uint64_t pci_bar_base(const PciDevice *pci, unsigned bar)
{
    const PciBarConfig *b = &pci->bars[bar];
    uint16_t command = le16_read(pci->config + PCI_COMMAND);
    uint32_t low = le32_read(pci->config + bar_offset(bar));
    uint64_t base = low & ~(uint64_t)(b->size - 1);
    uint64_t top = UINT32_MAX;
    switch (b->kind) {
    case PCI_BAR_NONE:
        return UINT64_MAX;
    case PCI_BAR_PORTS:
        if (!(command & PCI_COMMAND_IO))
            return UINT64_MAX;
        top = 0xffff;
        break;
    case PCI_BAR_MMIO64:
        base |= (uint64_t)le32_read(pci->config + bar_offset(bar) + 4) << 32;
        if (base > UINT32_MAX)
            top = (UINT64_C(1) << 52) - 1;
        if (!(command & PCI_COMMAND_MEMORY))
            return UINT64_MAX;
        break;
    case PCI_BAR_ROM:
        if (!(low & 1) || !(command & PCI_COMMAND_MEMORY))
            return UINT64_MAX;
        break;
    case PCI_BAR_MMIO:
    case PCI_BAR_MEMORY:
        if (!(command & PCI_COMMAND_MEMORY))
            return UINT64_MAX;
        break;
    }
    return base == 0 || base + b->size - 1 >= top ? UINT64_MAX : base;
}

static GuestSlotFlags slot_flags(const PciBarConfig *bar, bool enabled)
{
    GuestSlotFlags flags = bar->log_dirty ? GUEST_SLOT_LOG_DIRTY : 0;
    if (enabled)
        flags |= bar->kind == PCI_BAR_ROM ? GUEST_SLOT_ROM : GUEST_SLOT_READ | GUEST_SLOT_WRITE;
    return flags;
}

static void update_bar(PciDevice *pci, unsigned bar)
{
    const PciBarConfig *b = &pci->bars[bar];
    uint64_t base = pci_bar_base(pci, bar);
    bool enabled = base != UINT64_MAX;
    if (pci->regions[bar])
        bus_move(pci->bus->host.bus, pci->regions[bar], enabled ? base : 0, enabled);
    if (pci->slots[bar])
        guest_memory_move(pci->bus->host.memory, pci->slots[bar], enabled ? base : 0,
                          slot_flags(b, enabled));
}

static void update_bars(PciDevice *pci)
{
    for (unsigned bar = 0; bar < 7; bar++)
        update_bar(pci, bar);
}

uint32_t pci_config_read(PciBus *bus, uint8_t devfn, unsigned offset, unsigned size)
{
    PciDevice *pci = bus->functions[devfn];
    uint32_t value = size >= 4 ? UINT32_MAX : (1u << size * 8) - 1;
    if (!pci || offset >= PCI_CONFIG_SIZE || size > PCI_CONFIG_SIZE - offset || size > 4)
        return value;
    if (pci->config_read)
        pci->config_read(pci->device, offset, size);
    return le32_read((uint8_t[4]){ pci->config[offset], size > 1 ? pci->config[offset + 1] : 0,
                                   size > 2 ? pci->config[offset + 2] : 0,
                                   size > 3 ? pci->config[offset + 3] : 0 });
}

static bool overlaps(unsigned offset, unsigned size, unsigned start, unsigned length)
{
    return offset < start + length && start < offset + size;
}

void pci_config_write(PciBus *bus, uint8_t devfn, unsigned offset, unsigned size, uint32_t value)
{
    PciDevice *pci = bus->functions[devfn];
    if (!pci || offset >= PCI_CONFIG_SIZE || size > PCI_CONFIG_SIZE - offset || size > 4)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(value >> i * 8), mask = pci->write_mask[offset + i];
        uint8_t *at = &pci->config[offset + i];
        *at = (uint8_t)((*at & ~mask) | (byte & mask));
        *at &= (uint8_t)~(byte & pci->write_clear[offset + i]);
    }
    if (overlaps(offset, size, PCI_COMMAND, 2) || overlaps(offset, size, PCI_BAR0, 24) ||
        overlaps(offset, size, PCI_ROM_BAR, 4))
        update_bars(pci);
    pci_update_intx(pci);
    pci_msix_flush(pci);
    if (pci->config_written)
        pci->config_written(pci->device, offset, size);
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    PciBus *bus = opaque;
    if (offset < 4)
        return size == 4 && offset == 0 ? bus->address : UINT64_MAX;
    if (!(bus->address & CONFIG_ENABLE) || bus->address >> 16 & 0xff)
        return UINT64_MAX;
    return pci_config_read(bus, (uint8_t)(bus->address >> 8),
                           (bus->address & 0xfc) + (unsigned)(offset - 4), size);
}

static void ports_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    PciBus *bus = opaque;
    if (offset < 4) {
        // Only a doubleword reaches the register (PCI 3.0, 3.2.2.3.2).
        if (size == 4 && offset == 0)
            bus->address = (uint32_t)value & CONFIG_ADDRESS_MASK;
        return;
    }
    if (!(bus->address & CONFIG_ENABLE) || bus->address >> 16 & 0xff)
        return;
    pci_config_write(bus, (uint8_t)(bus->address >> 8),
                     (bus->address & 0xfc) + (unsigned)(offset - 4), size, (uint32_t)value);
}

static const BusOps config_ports = { ports_read, ports_write, 4 };

PciBus *pci_bus_new(const DeviceHost *host, IrqLine pirq_base)
{
    PciBus *bus = g_new0(PciBus, 1);
    bus->host = *host;
    bus->pirq = pirq_base;
    bus->ports = bus_add_ports(host->bus, "pci", CONFIG_ADDRESS_PORT, 8, &config_ports, bus, NULL);
    return bus;
}

void pci_bus_free(PciBus *bus)
{
    if (!bus)
        return;
    bus_remove(bus->host.bus, bus->ports);
    g_free(bus);
}

void pci_bus_connect(PciBus *bus, IrqLine pirq_base)
{
    bus->pirq = pirq_base;
    for (unsigned wire = 0; wire < 4; wire++)
        drive_pirq(bus, wire, bus->asserted[wire] > 0);
}

uint32_t pci_bus_address(const PciBus *bus)
{
    return bus->address;
}

void pci_bus_set_address(PciBus *bus, uint32_t address)
{
    bus->address = address & CONFIG_ADDRESS_MASK;
}

// The read-only low bits of a BAR (PCI 3.0, 6.2.5.1).
static uint32_t bar_type_bits(PciBarKind kind)
{
    switch (kind) {
    case PCI_BAR_PORTS:
        return 1;
    case PCI_BAR_MMIO64:
        return 4;
    case PCI_BAR_MEMORY:
        return 8;
    case PCI_BAR_NONE:
    case PCI_BAR_MMIO:
    case PCI_BAR_ROM:
        return 0;
    }
    return 0;
}

static void reset_bars(PciDevice *pci)
{
    for (unsigned bar = 0; bar < 7; bar++) {
        if (pci->bars[bar].kind == PCI_BAR_NONE)
            continue;
        le32_write(pci->config + bar_offset(bar), bar_type_bits(pci->bars[bar].kind));
        if (pci->bars[bar].kind == PCI_BAR_MMIO64)
            le32_write(pci->config + bar_offset(bar) + 4, 0);
    }
}

static bool add_bar(PciDevice *pci, unsigned bar, GError **error)
{
    const PciBarConfig *b = &pci->bars[bar];
    const DeviceHost *host = &pci->bus->host;
    if (b->kind == PCI_BAR_NONE)
        return true;
    uint8_t *mask = pci->write_mask + bar_offset(bar);
    le32_write(mask, ~(b->size - 1) | (b->kind == PCI_BAR_ROM ? 1 : 0));
    switch (b->kind) {
    case PCI_BAR_PORTS:
        // Bits 31:16 are writable, so that sizing sees a 32-bit decoder; the bus has 16 bits.
        // Born at the last port, then hidden.
        pci->regions[bar] = bus_add_ports(host->bus, pci->name, 0xffff, b->size, b->ops,
                                          pci->device, &pci->engaged);
        bus_move(host->bus, pci->regions[bar], 0, false);
        break;
    case PCI_BAR_MMIO64:
        le32_write(mask + 4, UINT32_MAX);
        G_GNUC_FALLTHROUGH;
    case PCI_BAR_MMIO:
        // Born outside every address a CPU can send, then hidden.
        pci->regions[bar] = bus_add_mmio(host->bus, pci->name, UINT64_C(1) << 60, b->size, b->ops,
                                         pci->device, &pci->engaged);
        bus_move(host->bus, pci->regions[bar], 0, false);
        break;
    case PCI_BAR_MEMORY:
    case PCI_BAR_ROM:
        pci->slots[bar] = guest_memory_map(host->memory, pci->name, 0, b->size, b->host,
                                           slot_flags(b, false));
        if (!pci->slots[bar]) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "%s: BAR %u of %u bytes does not fit the address space", pci->name, bar,
                        b->size);
            return false;
        }
        break;
    case PCI_BAR_NONE:
        break;
    }
    return true;
}

static void write_identity(PciDevice *pci, const PciConfig *config)
{
    uint8_t *c = pci->config;
    le16_write(c, config->vendor);
    le16_write(c + 2, config->device);
    c[8] = config->revision;
    c[9] = (uint8_t)config->class_code;
    le16_write(c + 10, (uint16_t)(config->class_code >> 8));
    c[PCI_HEADER_TYPE] = config->multifunction ? 0x80 : 0;
    le16_write(c + 0x2c, config->subsystem_vendor);
    le16_write(c + 0x2e, config->subsystem);
    c[PCI_INTERRUPT_PIN] = config->interrupt_pin;
    le16_write(pci->write_mask + PCI_COMMAND, COMMAND_WRITABLE);
    le16_write(pci->write_clear + PCI_STATUS, STATUS_WRITE_CLEAR);
    pci->write_mask[0x0c] = 0xff; // cache line size
    pci->write_mask[0x0d] = 0xff; // latency timer
    pci->write_mask[PCI_INTERRUPT_LINE] = 0xff;
}

bool pci_add(PciBus *bus, PciDevice *pci, const PciConfig *config, void *device, GError **error)
{
    if (bus->functions[config->devfn]) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                    "PCI function %02x.%u is taken by %s, %s cannot go there", config->devfn >> 3,
                    config->devfn & 7, bus->functions[config->devfn]->name, config->name);
        return false;
    }
    *pci = (PciDevice){ .bus = bus, .name = config->name, .device = device,
                        .devfn = config->devfn, .interrupt_pin = config->interrupt_pin,
                        .next_capability = PCI_FIRST_CAPABILITY };
    memcpy(pci->bars, config->bars, sizeof pci->bars);
    write_identity(pci, config);
    bus->functions[pci->devfn] = pci;
    for (unsigned bar = 0; bar < 7; bar++) {
        if (!add_bar(pci, bar, error)) {
            pci_remove(pci);
            return false;
        }
    }
    reset_bars(pci);
    return true;
}

void pci_remove(PciDevice *pci)
{
    PciBus *bus = pci->bus;
    if (!bus || bus->functions[pci->devfn] != pci)
        return;
    pci_set_intx(pci, false);
    for (unsigned bar = 0; bar < 7; bar++) {
        bus_remove(bus->host.bus, pci->regions[bar]);
        guest_memory_unmap(bus->host.memory, pci->slots[bar]);
        pci->regions[bar] = NULL;
        pci->slots[bar] = NULL;
    }
    bus->functions[pci->devfn] = NULL;
    g_clear_pointer(&pci->msix_table, g_free);
    g_clear_pointer(&pci->msix_pending, g_free);
}

void pci_reset(PciDevice *pci)
{
    le16_write(pci->config + PCI_COMMAND, 0);
    uint16_t status = le16_read(pci->config + PCI_STATUS);
    le16_write(pci->config + PCI_STATUS, status & (uint16_t)~STATUS_WRITE_CLEAR);
    pci->config[0x0c] = pci->config[0x0d] = pci->config[PCI_INTERRUPT_LINE] = 0;
    reset_bars(pci);
    pci_msi_reset(pci);
    update_bars(pci);
    pci_set_intx(pci, false);
}

void pci_restore(PciDevice *pci)
{
    update_bars(pci);
    pci_update_intx(pci);
}

uint8_t pci_add_capability(PciDevice *pci, uint8_t id, unsigned size)
{
    uint8_t offset = pci->next_capability;
    g_return_val_if_fail(size >= 2 && offset && size <= PCI_CONFIG_SIZE - offset, 0);
    // New ones go to the list's head: the pointer at 34h is the only link to patch.
    pci->config[offset] = id;
    pci->config[offset + 1] = pci->config[PCI_CAPABILITY_POINTER];
    pci->config[PCI_CAPABILITY_POINTER] = offset;
    pci->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    pci->next_capability = (uint8_t)(offset + ((size + 3) & ~3u));
    return offset;
}
