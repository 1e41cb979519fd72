// SPDX-License-Identifier: GPL-2.0-or-later
// The memory map of board classic-1 and its two published forms: the table that firmware and
// kernels read (INT 15h AX=E820h, ACPI 6.4, chapter 15) and the CMOS bytes.
#pragma once

#include <glib.h>
#include <stdint.h>

// RAM above this goes to 4 GiB and up; below it is what PCI leaves free.
#define E820_RAM_BELOW_4G_MAX UINT64_C(0xc0000000)
#define E820_HIGH_RAM_START UINT64_C(0x100000000)
// A page of ROM with the generation ID, which no system may use for anything else.
#define E820_GENERATION_PAGE UINT64_C(0xfef00000)

typedef enum {
    E820_RAM = 1,
    E820_RESERVED = 2,
    E820_ACPI = 3,
} E820Type;

typedef struct {
    uint64_t start, size; // bytes
    uint32_t type;
} E820Entry;

static inline uint64_t e820_ram_below_4g(uint64_t ram_size)
{
    return MIN(ram_size, E820_RAM_BELOW_4G_MAX);
}

static inline uint64_t e820_ram_above_4g(uint64_t ram_size)
{
    return ram_size - e820_ram_below_4g(ram_size);
}

// The file etc/e820: 20-byte entries with all RAM, holes below 1 MiB being the firmware's to cut,
// and what is reserved beyond it.
GBytes *e820_file(uint64_t ram_size);

// What a kernel booted without firmware is told: the classic holes are cut, and [acpi_start,
// acpi_start + acpi_size), in RAM below 4 GiB and page-aligned, is marked as ACPI tables. Fills
// at most 8 entries, returns how many.
unsigned e820_for_kernel(uint64_t ram_size, uint64_t acpi_start, uint64_t acpi_size,
                         E820Entry *ret_entries);
