// SPDX-License-Identifier: GPL-2.0-or-later
// The ACPI tables of a machine, in the two forms firmware work needs: as files for SeaBIOS and OVMF
// with a script that places them (etc/table-loader), and placed by ourselves for a kernel that is
// booted without firmware.
#pragma once

#include "engine/firmware/fw-cfg.h"
#include "engine/memory/guest-memory.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    unsigned cpus;             // 1..255; APIC ids 0..cpus-1
    uint64_t ram_below_4g;     // bytes
    unsigned uarts;            // 0..2
    bool floppy;
    bool hpet;
    bool generation;           // an ID at FEF00000h; event 5 tells that it has changed
    uint16_t pm_base;          // of the PIIX4 power management registers; SeaBIOS 1.16 sets 600h
    uint16_t smi_command_port; // 0: the machine is always in ACPI mode
    uint16_t gpe0_base;        // 0: no general-purpose events
    uint8_t gpe0_length;
    uint8_t ioapic_id;
} AcpiConfig;

typedef struct AcpiTables AcpiTables;

AcpiTables *acpi_tables_new(const AcpiConfig *config);
void acpi_tables_free(AcpiTables *tables);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AcpiTables, acpi_tables_free)

// Adds etc/acpi/tables, etc/acpi/rsdp and etc/table-loader. Machine lock held.
void acpi_tables_add_files(const AcpiTables *tables, FwCfg *fw_cfg);

// Bytes that the tables take, without the RSDP (36 bytes).
uint64_t acpi_tables_size(const AcpiTables *tables);

// Writes the tables to guest memory at address (a multiple of 64) and the RSDP at rsdp_address (a
// multiple of 16), with all pointers and checksums filled in. False where RAM does not reach.
bool acpi_tables_place(const AcpiTables *tables, GuestMemory *memory, uint64_t address,
                       uint64_t rsdp_address);

// For tests: calls visit with each table (header included), before placing.
void acpi_tables_for_each(const AcpiTables *tables,
                          void (*visit)(void *opaque, const char *signature, const uint8_t *table,
                                        size_t size),
                          void *opaque);

// The first address that the PCI memory window uses on a board with this much RAM below 4 GiB.
uint32_t acpi_pci_window_start(uint64_t ram_below_4g);
