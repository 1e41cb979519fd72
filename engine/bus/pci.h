// SPDX-License-Identifier: GPL-2.0-or-later
// PCI Local Bus 3.0: configuration space, base address registers, INTx and MSI/MSI-X. A device
// embeds a PciDevice, fills a PciConfig and lets this file do what every PCI function does alike.
// All functions: machine lock held.
#pragma once

#include "engine/bus/bus.h"
#include "engine/bus/device.h"
#include "engine/memory/guest-memory.h"

#define PCI_DEVFN(slot, function) ((uint8_t)((slot) << 3 | (function)))

typedef enum {
    PCI_BAR_NONE,
    PCI_BAR_PORTS,    // ops answer in port space
    PCI_BAR_MMIO,     // ops answer in 32-bit memory space
    PCI_BAR_MMIO64,   // takes two BAR slots
    PCI_BAR_MEMORY,   // host memory, prefetchable (video RAM); writes logged where log_dirty
    PCI_BAR_ROM,      // the expansion ROM; must be bar[6]
} PciBarKind;

typedef struct {
    PciBarKind kind;
    uint32_t size;     // bytes, a power of two; ports at least 4, memory at least 4096
    const BusOps *ops; // PORTS, MMIO, MMIO64; opaque is the PciDevice's `device`
    uint8_t *host;     // MEMORY, ROM: page-aligned, `size` bytes, owned by the device
    bool log_dirty;    // MEMORY
} PciBarConfig;

typedef struct {
    const char *name;
    uint8_t devfn;
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint8_t revision;
    uint32_t class_code; // 24 bits: class, subclass, interface
    bool multifunction;
    uint8_t interrupt_pin; // 0 none, 1..4 INTA#..INTD#
    PciBarConfig bars[7];  // 0..5 and the ROM
} PciConfig;

#define PCI_CONFIG_SIZE 256

typedef struct PciDevice {
    PciBus *bus;
    const char *name;
    void *device; // opaque of the BAR ops and hooks
    uint8_t devfn;
    uint8_t interrupt_pin;
    bool engaged;     // shared by all regions of the device
    bool intx_level;  // what the device asks for, before the disable bit
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t write_mask[PCI_CONFIG_SIZE];
    uint8_t write_clear[PCI_CONFIG_SIZE]; // bits cleared by writing 1
    PciBarConfig bars[7];
    BusRegion *regions[7];
    GuestSlot *slots[7];
    // Called after a CPU wrote config space, with the span written. May be NULL.
    void (*config_written)(void *device, unsigned offset, unsigned size);
    // Called before a CPU reads; lets a device show live bits. May be NULL.
    void (*config_read)(void *device, unsigned offset, unsigned size);
    uint8_t msi_offset, msix_offset; // of the capability, 0 where absent
    uint8_t *msix_table;             // 16 bytes a vector
    uint8_t *msix_pending;
    unsigned msix_vectors;
    uint8_t next_capability; // where the next pci_add_capability goes
} PciDevice;

// The bus on ports CF8h/CFCh (mechanism 1). pirq_base: set with the level of each wire after
// swizzling, line = pirq_base.line + 0..3 for PIRQA..PIRQD; INTA# of slot S is PIRQ (S - 1) mod 4,
// INTB# the next one, as SeaBIOS and the i440FX boards have it. May be {0} until the interrupt
// router exists, which then calls pci_bus_connect.
PciBus *pci_bus_new(const DeviceHost *host, IrqLine pirq_base);
// NULL is allowed. Every function must be removed before.
void pci_bus_free(PciBus *bus);
// Where the PIRQ wires go from now on; present levels are driven at once.
void pci_bus_connect(PciBus *bus, IrqLine pirq_base);
// The CF8h register: saved and reset by the host bridge.
uint32_t pci_bus_address(const PciBus *bus);
void pci_bus_set_address(PciBus *bus, uint32_t address);

// Puts a function on the bus: sets identity, BARs and masks. `device` is the opaque of all ops.
// The PciDevice must stay where it is until pci_remove. Returns false, with error, where the slot
// is taken.
bool pci_add(PciBus *bus, PciDevice *pci, const PciConfig *config, void *device, GError **error);
void pci_remove(PciDevice *pci);

// Command register, BARs, interrupt line and MSI to their reset values; regions are hidden.
void pci_reset(PciDevice *pci);
// Maps BARs again after the config bytes were loaded from a saved state.
void pci_restore(PciDevice *pci);

// Reserves `size` bytes for a capability, linked into the list. Returns its offset.
uint8_t pci_add_capability(PciDevice *pci, uint8_t id, unsigned size);
// MSI capability, 64-bit, one vector.
void pci_add_msi(PciDevice *pci);
// MSI-X with the table at `table_offset` and the pending bits at `pba_offset` of `bar`, which must
// be an MMIO BAR whose ops pass these spans to pci_msix_read/write.
void pci_add_msix(PciDevice *pci, unsigned vectors, unsigned bar, uint32_t table_offset,
                  uint32_t pba_offset);
// offset: from the start of the BAR. Size 1..8.
uint64_t pci_msix_read(PciDevice *pci, uint32_t offset, unsigned size);
void pci_msix_write(PciDevice *pci, uint32_t offset, unsigned size, uint64_t value);

bool pci_msi_enabled(const PciDevice *pci);
bool pci_msix_enabled(const PciDevice *pci);
// Sends vector `vector` by MSI-X or MSI, honouring masks and pending bits.
void pci_msi_notify(PciDevice *pci, unsigned vector);
// Drives INTx (level) where neither MSI nor MSI-X is enabled.
void pci_set_intx(PciDevice *pci, bool level);

bool pci_bus_master(const PciDevice *pci); // command bit 2: DMA is allowed
// The current base of a BAR, or UINT64_MAX while it is disabled.
uint64_t pci_bar_base(const PciDevice *pci, unsigned bar);

// Config space by bus/device/function as a CPU sees it (ECAM later, tests now).
uint32_t pci_config_read(PciBus *bus, uint8_t devfn, unsigned offset, unsigned size);
void pci_config_write(PciBus *bus, uint8_t devfn, unsigned offset, unsigned size, uint32_t value);

// Fields that a PCI device adds to its state table: config bytes and INTx level.
#define PCI_STATE_FIELDS(type, member)                                                             \
    { "pci_config", STATE_BYTES, offsetof(type, member.config), PCI_CONFIG_SIZE },                 \
    { "pci_intx", STATE_BOOL, offsetof(type, member.intx_level), 1 }
// And one that has called pci_add_msix with `vectors` vectors. Its post_load calls pci_restore.
#define PCI_MSIX_PENDING_BYTES(vectors) (((vectors) + 63) / 64 * 8)
#define PCI_MSIX_STATE_FIELDS(type, member, vectors)                                               \
    { "msix_table", STATE_POINTED, offsetof(type, member.msix_table), (vectors) * 16 },            \
    { "msix_pending", STATE_POINTED, offsetof(type, member.msix_pending),                          \
      PCI_MSIX_PENDING_BYTES(vectors) }
