// SPDX-License-Identifier: GPL-2.0-or-later
// Between pci.c (configuration space, BARs, INTx) and pci-msi.c (MSI, MSI-X).
#pragma once

#include "engine/bus/pci.h"

enum {
    PCI_COMMAND = 0x04,
    PCI_COMMAND_IO = 1 << 0,
    PCI_COMMAND_MEMORY = 1 << 1,
    PCI_COMMAND_MASTER = 1 << 2,
    PCI_COMMAND_INTX_DISABLE = 1 << 10,
    PCI_STATUS = 0x06,
    PCI_STATUS_INTX = 1 << 3,
    PCI_STATUS_CAPABILITIES = 1 << 4,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_ROM_BAR = 0x30,
    PCI_CAPABILITY_POINTER = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_FIRST_CAPABILITY = 0x40,
};

const MsiSink *pci_msi_sink(const PciDevice *pci);
// Drives or drops the INTx wire after anything it depends on has changed.
void pci_update_intx(PciDevice *pci);
// Sends what became deliverable after a change of an MSI-X mask or enable bit.
void pci_msix_flush(PciDevice *pci);
// Enable bits off, every MSI-X vector masked, nothing pending.
void pci_msi_reset(PciDevice *pci);
