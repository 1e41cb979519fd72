// SPDX-License-Identifier: GPL-2.0-or-later
// What firmware is told through fw_cfg: memory, tables, boot order.
#include "engine/machine-private.h"

#include "engine/devices/chipset/acpi-pm.h"
#include "engine/firmware/e820.h"
#include "engine/firmware/smbios.h"

#include <string.h>

static void append_ide(Machine *machine, GString *order, bool cdrom, unsigned number)
{
    for (unsigned place = 0; place < IDE_PLACES; place++) {
        const IdePlace *ide = &machine->ide[place];
        if (ide->block && ide->cdrom == cdrom && ide->number == number)
            g_string_append_printf(order, "/pci@i0cf8/ide@1,1/drive@%u/disk@%u\n", place / 2,
                                   place % 2);
    }
}

static void append_class(Machine *machine, GString *order, const char *class)
{
    if (strcmp(class, "cdrom") == 0) {
        for (unsigned i = 0; i < CDROMS_MAX; i++)
            append_ide(machine, order, true, i);
    } else if (strcmp(class, "disk") == 0) {
        for (unsigned i = 0; i < DISKS_MAX; i++) {
            const char *interface = config_string_at(machine->config, "disk", i, "interface");
            if (machine->disks[i] && strcmp(interface, "virtio") == 0)
                g_string_append_printf(order, "/pci@i0cf8/scsi@%x/disk@0,0\n", SLOT_DISK + i);
            else
                append_ide(machine, order, false, i);
        }
    } else if (strcmp(class, "floppy") == 0) {
        for (unsigned i = 0; i < FLOPPIES_MAX; i++) {
            if (machine->floppies[i])
                g_string_append_printf(order, "/pci@i0cf8/isa@1/fdc@03f0/floppy@%u\n", i);
        }
    } else if (strcmp(class, "network") == 0) {
        for (unsigned i = 0; i < NETWORKS_MAX; i++) {
            if (strcmp(config_string_at(machine->config, "network", i, "mode"), "none") != 0)
                g_string_append_printf(order, "/pci@i0cf8/ethernet@%x/ethernet-phy@0\n",
                                       SLOT_NETWORK + i);
        }
    }
}

// The file bootorder: OpenFirmware-like paths, first to last; HALT: nothing else is tried.
static GBytes *boot_order(void *opaque)
{
    Machine *machine = opaque;
    GString *order = g_string_new(NULL);
    g_auto(GStrv) classes = g_strsplit(config_string(machine->config, "boot.order"), ",", -1);
    for (char **class = classes; *class; class++)
        append_class(machine, order, *class);
    g_string_append(order, "HALT");
    gsize size = order->len + 1;
    return g_bytes_new_take(g_string_free(order, FALSE), size);
}

bool machine_build_firmware(Machine *machine, GError **error)
{
    const Config *config = machine->config;
    FwCfgConfig fw_cfg_config = {
        .ram_size = machine->ram->size,
        .cpus = machine->cpus,
        .hpet = config_boolean(config, "board.hpet"),
    };
    config_uuid(config, fw_cfg_config.uuid);
    FwCfg *fw_cfg = machine_add_device(machine, &fw_cfg_ops, &fw_cfg_config, error);
    machine->fw_cfg = fw_cfg;
    if (!fw_cfg)
        return false;

    g_autoptr(GBytes) e820 = e820_file(machine->ram->size);
    fw_cfg_add_file(fw_cfg, "etc/e820", g_bytes_get_data(e820, NULL), g_bytes_get_size(e820));
    fw_cfg_add_callback(fw_cfg, "bootorder", boot_order, machine);

    unsigned uarts = 0;
    for (unsigned i = 0; i < MACHINE_SERIAL_UARTS; i++)
        uarts = machine->serial[i] ? i + 1 : uarts;
    AcpiConfig acpi = {
        .cpus = machine->cpus,
        .ram_below_4g = e820_ram_below_4g(machine->ram->size),
        .uarts = uarts,
        .floppy = machine->floppies[0] || machine->floppies[1],
        .hpet = fw_cfg_config.hpet,
        .generation = machine->generation != NULL,
        .pm_base = PM_BASE,
        .smi_command_port = ACPI_PM_SMI_COMMAND,
        .gpe0_base = PM_BASE + ACPI_PM_GPE0,
        .gpe0_length = 4,
        .ioapic_id = 0,
    };
    machine->acpi = acpi_tables_new(&acpi);
    acpi_tables_add_files(machine->acpi, fw_cfg);

    uint32_t cpuid[4];
    cpuid_query(&machine->cpuid, 0, 1, 0, 1, 0, cpuid);
    SmbiosConfig smbios = {
        .ram_size = machine->ram->size,
        .cpus = machine->cpus,
        .cpu_signature = cpuid[0],
        .cpu_features = cpuid[3],
        .serial = config_string(config, "machine.uuid"),
    };
    config_uuid(config, smbios.uuid);
    smbios_add_files(&smbios, fw_cfg);

    if (config_boolean(config, "boot.menu")) {
        fw_cfg_add_u16(fw_cfg, FW_CFG_BOOT_MENU, 1);
    } else {
        // No "Press ESC for boot menu" delay.
        const uint8_t no_wait[8] = { 0 };
        fw_cfg_add_file(fw_cfg, "etc/show-boot-menu", no_wait, sizeof(no_wait));
    }
    // After a failed boot: stay, do not reboot every minute.
    static const uint8_t forever[4] = { 0xff, 0xff, 0xff, 0xff };
    fw_cfg_add_file(fw_cfg, "etc/boot-fail-wait", forever, sizeof(forever));
    return true;
}
