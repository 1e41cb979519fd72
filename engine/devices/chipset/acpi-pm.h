// SPDX-License-Identifier: GPL-2.0-or-later
// Power management of the PIIX4: ACPI registers, power button, sleep states.
#pragma once

#include "engine/bus/pci.h"

// Values of SLP_TYP in PM1_CNT; the DSDT's \_S5 and \_S3 packages must say the same.
enum { ACPI_PM_SLEEP_S5 = 0, ACPI_PM_SLEEP_S3 = 1, ACPI_PM_SLEEP_S4 = 2 };

// Offsets from the PM base (600h once SeaBIOS has set it up), for the FADT: event block 4 bytes,
// control block 2, timer 4 (24 bits wide), general-purpose block 4 (2 status, 2 enable).
enum { ACPI_PM_EVENT = 0x00, ACPI_PM_CONTROL = 0x04, ACPI_PM_TIMER = 0x08, ACPI_PM_GPE0 = 0x0c };

// Written to the SMI command port (B2h) these turn SCI_EN on and off.
enum { ACPI_PM_SMI_COMMAND = 0xb2, ACPI_PM_ENABLE = 0xf1, ACPI_PM_DISABLE = 0xf0 };

typedef struct {
    char unused; // all is fixed on this board; the SCI is DeviceHost.isa_irq[9], active high, level
} AcpiPmConfig;

// Function 01.3.
extern const DeviceOps acpi_pm_ops;

void acpi_pm_power_button(void *pm);
// The machine wakes from S3: wake status, and the button's where that woke it.
void acpi_pm_wake(void *pm, bool by_button);
// Raises general-purpose event `event` (0..15).
void acpi_pm_general_event(void *pm, unsigned event);
