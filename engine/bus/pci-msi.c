// SPDX-License-Identifier: GPL-2.0-or-later
// Message signalled interrupts of a PCI function: the MSI and MSI-X capabilities. Follows the PCI
// Local Bus Specification 3.0, sections 6.8.1 (MSI) and 6.8.2 (MSI-X).
#include "engine/bus/pci-private.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"

enum {
    CAPABILITY_MSI = 0x05,
    CAPABILITY_MSIX = 0x11,
    CONTROL = 2, // message control, in both capabilities
    MSI_CONTROL_ENABLE = 1 << 0,
    MSI_CONTROL_64BIT = 1 << 7,
    MSI_ADDRESS = 4,
    MSI_DATA = 12,
    MSI_SIZE = 14,
    MSIX_CONTROL_MASK_ALL = 1 << 14,
    MSIX_CONTROL_ENABLE = 1 << 15,
    MSIX_TABLE = 4, // offset of the table, low 3 bits the BAR
    MSIX_PBA = 8,
    MSIX_SIZE = 12,
    ENTRY_SIZE = 16,
    ENTRY_DATA = 8,
    ENTRY_CONTROL = 12, // bit 0: masked
};

void pci_add_msi(PciDevice *pci)
{
    uint8_t at = pci_add_capability(pci, CAPABILITY_MSI, MSI_SIZE);
    if (!at)
        return;
    pci->msi_offset = at;
    le16_write(pci->config + at + CONTROL, MSI_CONTROL_64BIT);
    pci->write_mask[at + CONTROL] = MSI_CONTROL_ENABLE;
    le32_write(pci->write_mask + at + MSI_ADDRESS, 0xfffffffc);
    le32_write(pci->write_mask + at + MSI_ADDRESS + 4, 0xffffffff);
    le16_write(pci->write_mask + at + MSI_DATA, 0xffff);
}

void pci_add_msix(PciDevice *pci, unsigned vectors, unsigned bar, uint32_t table_offset,
                  uint32_t pba_offset)
{
    g_return_if_fail(vectors >= 1 && vectors <= 2048 && bar < 6 && !(table_offset & 7) &&
                     !(pba_offset & 7));
    uint8_t at = pci_add_capability(pci, CAPABILITY_MSIX, MSIX_SIZE);
    if (!at)
        return;
    pci->msix_offset = at;
    pci->msix_vectors = vectors;
    pci->msix_table = g_malloc0(vectors * ENTRY_SIZE);
    pci->msix_pending = g_malloc0(PCI_MSIX_PENDING_BYTES(vectors));
    le16_write(pci->config + at + CONTROL, (uint16_t)(vectors - 1));
    le16_write(pci->write_mask + at + CONTROL, MSIX_CONTROL_MASK_ALL | MSIX_CONTROL_ENABLE);
    le32_write(pci->config + at + MSIX_TABLE, table_offset | bar);
    le32_write(pci->config + at + MSIX_PBA, pba_offset | bar);
    pci_msi_reset(pci);
}

void pci_msi_reset(PciDevice *pci)
{
    if (pci->msi_offset) {
        pci->config[pci->msi_offset + CONTROL] &= (uint8_t)~MSI_CONTROL_ENABLE;
        memset(pci->config + pci->msi_offset + MSI_ADDRESS, 0, MSI_SIZE - MSI_ADDRESS);
    }
    if (pci->msix_offset) {
        pci->config[pci->msix_offset + CONTROL + 1] &= 0x3f;
        memset(pci->msix_table, 0, pci->msix_vectors * ENTRY_SIZE);
        for (unsigned i = 0; i < pci->msix_vectors; i++)
            pci->msix_table[i * ENTRY_SIZE + ENTRY_CONTROL] = 1;
        memset(pci->msix_pending, 0, PCI_MSIX_PENDING_BYTES(pci->msix_vectors));
    }
}

bool pci_msi_enabled(const PciDevice *pci)
{
    return pci->msi_offset && pci->config[pci->msi_offset + CONTROL] & MSI_CONTROL_ENABLE;
}

static uint16_t msix_control(const PciDevice *pci)
{
    return pci->msix_offset ? le16_read(pci->config + pci->msix_offset + CONTROL) : 0;
}

bool pci_msix_enabled(const PciDevice *pci)
{
    return msix_control(pci) & MSIX_CONTROL_ENABLE;
}

static void send_entry(PciDevice *pci, unsigned vector)
{
    const uint8_t *entry = pci->msix_table + vector * ENTRY_SIZE;
    msi_send(pci_msi_sink(pci), le64_read(entry), le32_read(entry + ENTRY_DATA));
}

void pci_msix_flush(PciDevice *pci)
{
    if (!pci_msix_enabled(pci) || (msix_control(pci) & MSIX_CONTROL_MASK_ALL))
        return;
    for (unsigned vector = 0; vector < pci->msix_vectors; vector++) {
        uint8_t *byte = &pci->msix_pending[vector / 8], bit = (uint8_t)(1 << vector % 8);
        if (!(*byte & bit) || (pci->msix_table[vector * ENTRY_SIZE + ENTRY_CONTROL] & 1))
            continue;
        *byte &= (uint8_t)~bit;
        send_entry(pci, vector);
    }
}

void pci_msi_notify(PciDevice *pci, unsigned vector)
{
    if (pci_msix_enabled(pci)) {
        if (vector >= pci->msix_vectors) {
            guest_log_once(pci->name, "msix-vector", "vector %u of %u", vector, pci->msix_vectors);
            return;
        }
        if ((msix_control(pci) & MSIX_CONTROL_MASK_ALL) ||
            (pci->msix_table[vector * ENTRY_SIZE + ENTRY_CONTROL] & 1))
            pci->msix_pending[vector / 8] |= (uint8_t)(1 << vector % 8);
        else if (pci_bus_master(pci))
            send_entry(pci, vector);
    } else if (pci_msi_enabled(pci) && pci_bus_master(pci)) {
        const uint8_t *msi = pci->config + pci->msi_offset;
        msi_send(pci_msi_sink(pci), le64_read(msi + MSI_ADDRESS), le16_read(msi + MSI_DATA));
    }
}

// The byte at `offset` of the BAR as the table or the pending bits hold it, else NULL.
static uint8_t *msix_byte(PciDevice *pci, uint32_t offset, bool *ret_table)
{
    uint32_t table = le32_read(pci->config + pci->msix_offset + MSIX_TABLE) & ~7u;
    uint32_t pba = le32_read(pci->config + pci->msix_offset + MSIX_PBA) & ~7u;
    *ret_table = offset >= table && offset - table < pci->msix_vectors * ENTRY_SIZE;
    if (*ret_table)
        return pci->msix_table + (offset - table);
    if (offset >= pba && offset - pba < PCI_MSIX_PENDING_BYTES(pci->msix_vectors))
        return pci->msix_pending + (offset - pba);
    return NULL;
}

uint64_t pci_msix_read(PciDevice *pci, uint32_t offset, unsigned size)
{
    uint64_t value = 0;
    bool table;
    for (unsigned i = 0; pci->msix_offset && i < size && i < 8; i++) {
        const uint8_t *byte = msix_byte(pci, offset + i, &table);
        value |= (uint64_t)(byte ? *byte : 0) << i * 8;
    }
    return value;
}

void pci_msix_write(PciDevice *pci, uint32_t offset, unsigned size, uint64_t value)
{
    bool table;
    for (unsigned i = 0; pci->msix_offset && i < size && i < 8; i++) {
        uint8_t *byte = msix_byte(pci, offset + i, &table);
        if (byte && table) // the pending bits are read-only
            *byte = (uint8_t)(value >> i * 8);
    }
    pci_msix_flush(pci);
}
