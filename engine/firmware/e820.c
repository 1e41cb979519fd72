// SPDX-License-Identifier: GPL-2.0-or-later
// See e820.h.
#include "engine/firmware/e820.h"

#include "engine/base/bytes.h"

enum {
    ENTRY_SIZE = 20,
    CONVENTIONAL_END = 0x9fc00, // the EBDA follows
    MEGABYTE = 0x100000,
    PAGE = 0x1000,
};

static void write_entry(uint8_t *bytes, uint64_t start, uint64_t size, uint32_t type)
{
    le64_write(bytes, start);
    le64_write(bytes + 8, size);
    le32_write(bytes + 16, type);
}

GBytes *e820_file(uint64_t ram_size)
{
    uint8_t bytes[3 * ENTRY_SIZE];
    size_t count = 1;
    write_entry(bytes, 0, e820_ram_below_4g(ram_size), E820_RAM);
    if (e820_ram_above_4g(ram_size) > 0)
        write_entry(bytes + ENTRY_SIZE * count++, E820_HIGH_RAM_START, e820_ram_above_4g(ram_size),
                    E820_RAM);
    write_entry(bytes + ENTRY_SIZE * count++, E820_GENERATION_PAGE, PAGE, E820_RESERVED);
    return g_bytes_new(bytes, count * ENTRY_SIZE);
}

unsigned e820_for_kernel(uint64_t ram_size, uint64_t acpi_start, uint64_t acpi_size,
                         E820Entry *ret_entries)
{
    uint64_t below = e820_ram_below_4g(ram_size);
    uint64_t acpi_end = acpi_start + acpi_size;
    unsigned count = 0;
    ret_entries[count++] = (E820Entry){ 0, CONVENTIONAL_END, E820_RAM };
    ret_entries[count++] =
        (E820Entry){ CONVENTIONAL_END, 0xa0000 - CONVENTIONAL_END, E820_RESERVED };
    ret_entries[count++] = (E820Entry){ 0xf0000, 0x10000, E820_RESERVED };
    ret_entries[count++] = (E820Entry){ MEGABYTE, acpi_start - MEGABYTE, E820_RAM };
    ret_entries[count++] = (E820Entry){ acpi_start, acpi_size, E820_ACPI };
    if (below > acpi_end)
        ret_entries[count++] = (E820Entry){ acpi_end, below - acpi_end, E820_RAM };
    ret_entries[count++] = (E820Entry){ E820_GENERATION_PAGE, PAGE, E820_RESERVED };
    if (e820_ram_above_4g(ram_size) > 0)
        ret_entries[count++] =
            (E820Entry){ E820_HIGH_RAM_START, e820_ram_above_4g(ram_size), E820_RAM };
    return count;
}
