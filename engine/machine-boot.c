// SPDX-License-Identifier: GPL-2.0-or-later
// A Linux kernel started without firmware. What SeaBIOS would have set up and Linux relies on is
// set up here: RAM behind the F segment for the RSDP, the power management ports that the FADT
// names, IDE decoding, interrupt routing, A20, a screen in text mode.
#include "engine/machine-private.h"

#include "engine/firmware/e820.h"
#include "engine/firmware/vga-text-mode.h"

#include <gio/gio.h>
#include <string.h>

enum {
    RSDP_ADDRESS = 0xf0000,
    PAM0 = 0x59, // bits 5:4: F0000-FFFFF read, write
    PIRQ_ROUTE = 0x60,
    IDE_TIMING = 0x40, // bit 15 of each channel: decode the ports
    PM_BASE_REGISTER = 0x40,
    PM_ENABLE_REGISTER = 0x80,
    COMMAND = 0x04,
    ELCR_HIGH = 0x4d1,
    PORT_92 = 0x92,
    PORT_92_A20 = 2,
};

static GBytes *map_file(const char *path, const char *what, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_IS_DIRECTORY,
                    "%s is a folder; give the %s's file", path, what);
        return NULL;
    }
    GMappedFile *file = g_mapped_file_new(path, FALSE, &problem);
    if (!file) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "the %s %s cannot be read: %s", what,
                    path, g_strerror(errno));
        return NULL;
    }
    GBytes *bytes = g_mapped_file_get_bytes(file);
    g_mapped_file_unref(file);
    return bytes;
}

bool machine_open_kernel(Machine *machine, GError **error)
{
    const char *kernel = config_string(machine->config, "boot.kernel");
    const char *initrd = config_string(machine->config, "boot.initrd");
    if (!*kernel)
        return true;
    machine->kernel_name = config_resolve_path(machine->folder, kernel);
    machine->kernel = map_file(machine->kernel_name, "kernel", error);
    if (!machine->kernel || !linux_boot_check(machine->kernel, machine->kernel_name, error))
        return false;
    if (*initrd) {
        g_autofree char *path = config_resolve_path(machine->folder, initrd);
        machine->initrd = map_file(path, "initrd", error);
        return machine->initrd != NULL;
    }
    return true;
}

static void prepare_chipset(Machine *machine)
{
    const uint8_t host = PCI_DEVFN(SLOT_HOST, 0), isa = PCI_DEVFN(SLOT_ISA, 0),
                  ide = PCI_DEVFN(SLOT_ISA, 1), pm = PCI_DEVFN(SLOT_ISA, 3);
    PciBus *pci = machine->pci;
    pci_config_write(pci, host, PAM0, 1, 0x30);
    // PIRQA..D to 10, 10, 11, 11, level-triggered, as SeaBIOS has them.
    static const uint8_t routes[4] = { 10, 10, 11, 11 };
    for (unsigned i = 0; i < 4; i++)
        pci_config_write(pci, isa, PIRQ_ROUTE + i, 1, routes[i]);
    bus_port_write(machine->bus, ELCR_HIGH, 1, 1 << (10 - 8) | 1 << (11 - 8));
    pci_config_write(pci, ide, IDE_TIMING, 4, 0x80008000);
    pci_config_write(pci, ide, COMMAND, 2, 5); // ports, bus master
    pci_config_write(pci, pm, PM_BASE_REGISTER, 4, PM_BASE | 1);
    pci_config_write(pci, pm, PM_ENABLE_REGISTER, 1, 1);
    bus_port_write(machine->bus, PORT_92, 1, PORT_92_A20);
}

static void set_segment(VcpuSegment *segment, uint16_t selector, uint16_t access)
{
    *segment = (VcpuSegment){ .base = 0, .limit = 0xffffffff, .selector = selector,
                              .access = access };
}

static void fill_state(const LinuxEntry *entry, VcpuState *state)
{
    enum {
        ACCESS_CODE = 0x9b, // present, code, read, accessed
        ACCESS_DATA = 0x93,
        ACCESS_32 = 0xc000, // G, D/B
        ACCESS_64 = 0xa000, // G, L
    };
    set_segment(&state->segment[VCPU_CS], 0x10,
                ACCESS_CODE | (entry->long_mode ? ACCESS_64 : ACCESS_32));
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++) {
        if (i != VCPU_CS)
            set_segment(&state->segment[i], 0x18, ACCESS_DATA | ACCESS_32);
    }
    state->gdtr = (VcpuTable){ entry->gdt_base, entry->gdt_limit };
    memset(state->gpr, 0, sizeof(state->gpr));
    state->gpr[VCPU_RSI] = entry->rsi;
    state->gpr[VCPU_RSP] = entry->rsp;
    state->rip = entry->rip;
    state->rflags = 2;
    state->cr0 = 0x11; // PE, ET
    state->cr3 = entry->cr3;
    if (entry->long_mode) {
        state->cr0 |= 0x80000000u;
        state->cr4 = 1 << 5;            // PAE
        state->efer = 1 << 8 | 1 << 10; // LME, LMA
    }
}

bool machine_enter_kernel(Machine *machine, GError **error)
{
    prepare_chipset(machine);

    uint64_t tables_size = (acpi_tables_size(machine->acpi) + 0xffff) & ~UINT64_C(0xffff);
    uint64_t tables_start = e820_ram_below_4g(machine->ram->size) - tables_size;
    acpi_tables_place(machine->acpi, machine->memory, tables_start, RSDP_ADDRESS);

    gsize rom_size;
    const uint8_t *rom = g_bytes_get_data(machine->vga_bios, &rom_size);
    bool text_screen = vga_text_mode_start(machine->bus, rom, rom_size);

    LinuxBootConfig config = {
        .kernel = machine->kernel,
        .kernel_name = machine->kernel_name,
        .initrd = machine->initrd,
        .append = config_string(machine->config, "boot.append"),
        .ram_size = machine->ram->size,
        .allow_64_bit = cpuid_model_has(&machine->cpuid, CPU_FEATURE_LONG_MODE),
        .acpi_start = tables_start,
        .acpi_size = tables_size,
        .rsdp_address = RSDP_ADDRESS,
        .text_screen = text_screen,
    };
    LinuxEntry entry;
    if (!linux_boot_load(&config, machine->memory, &entry, error))
        return false;

    VcpuState state;
    vcpu_set_get_state(machine->vcpus, 0, &state);
    fill_state(&entry, &state);
    if (!vcpu_set_set_state(machine->vcpus, 0, &state,
                            VCPU_STATE_GENERAL | VCPU_STATE_SEGMENTS)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "%s refuses the state in which a Linux kernel is entered",
                    machine->backend->name);
        return false;
    }
    return true;
}
