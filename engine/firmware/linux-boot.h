// SPDX-License-Identifier: GPL-2.0-or-later
// Puts a Linux kernel into guest memory and says in which state a CPU enters it: a boot without
// firmware. It knows nothing of vCPUs; the machine turns LinuxEntry into a CPU state.
#pragma once

#include "engine/memory/guest-memory.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    GBytes *kernel;      // a bzImage
    const char *kernel_name; // for errors
    GBytes *initrd;      // may be NULL
    const char *append;  // the command line; may be NULL
    uint64_t ram_size;   // bytes
    bool allow_64_bit;   // the CPU has long mode
    bool text_screen;    // the VGA is in text mode 03h (vga-text-mode.h)
    // ACPI tables in RAM, to be kept from the kernel's allocator: page-aligned, at the end of RAM
    // below 4 GiB. The initrd goes below them.
    uint64_t acpi_start, acpi_size;
    uint64_t rsdp_address;
} LinuxBootConfig;

// Flat segments (base 0, limit 4 GiB): code 10h, data 18h; interrupts off; all other general
// registers 0.
typedef struct {
    bool long_mode;  // paging on with cr3, identity map of 4 GiB; else protected mode, paging off
    uint64_t rip;
    uint64_t rsi;    // the boot parameters
    uint64_t rsp;
    uint64_t cr3;
    uint64_t gdt_base;
    uint16_t gdt_limit;
} LinuxEntry;

// Checks the image without touching a guest. On failure false, and error (G_IO_ERROR) says in one
// sentence what is wrong with it.
bool linux_boot_check(GBytes *kernel, const char *kernel_name, GError **error);

// Writes everything to guest memory and fills *ret_entry. Fails where the image is none that the
// boot protocol describes or where it does not fit into RAM.
bool linux_boot_load(const LinuxBootConfig *config, GuestMemory *memory, LinuxEntry *ret_entry,
                     GError **error);
