// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's disks, discs and floppies: opens the images and plugs them in.
#include "engine/machine-private.h"

#include "engine/devices/chipset/dma-8237.h"
#include "engine/devices/storage/fdc-82077.h"
#include "engine/devices/storage/ide-piix3.h"
#include "engine/devices/virtio/virtio-blk.h"
#include "snapshots/block-iso.h"
#include "snapshots/formats/image.h"

#include <gio/gio.h>
#include <string.h>

static BlockDevice *open_image(Machine *machine, const char *file, bool read_only,
                               const char *driver, GError **error)
{
    g_autofree char *path = config_resolve_path(machine->folder, file);
    BlockOpen options = {
        .path = path,
        .fd = -1,
        .read_only = read_only,
        .driver = driver,
        .lock = bus_mutex(machine->bus),
    };
    return block_open(&options, error);
}

// An image that only its name can tell: a guest may have written the first bytes of a raw one.
static const char *disk_format(Machine *machine, unsigned disk, bool read_only)
{
    const char *set = config_string_at(machine->config, "disk", disk, "format");
    if (strcmp(set, "auto") != 0)
        return set;
    const char *path = config_string_at(machine->config, "disk", disk, "path");
    if (g_str_has_suffix(path, ".store"))
        return "store";
    const char *named = image_format_of_name(path);
    return read_only && strcmp(named, "raw") == 0 ? NULL : named;
}

// Raw, but looks like something else: right after a careless rename, wrong in any other case.
static void warn_of_format(BlockDevice *block, unsigned disk)
{
    uint8_t head[512];
    if (block_read_sync(block, 0, head, sizeof head) < 0)
        return;
    const char *looks = image_probe(head, sizeof head, "");
    if (strcmp(looks, "raw") != 0)
        g_message("disk%u is used as raw, but begins like %s; set disk%u.format if it is that",
                  disk, looks, disk);
}

static bool open_disk(Machine *machine, unsigned disk, const char *path, GError **error)
{
    bool read_only = config_boolean_at(machine->config, "disk", disk, "read-only");
    const char *format = disk_format(machine, disk, read_only);
    if (format && strcmp(format, "store") == 0) {
        machine->disks[disk] = machine_open_volume(machine, disk, path, error);
        return machine->disks[disk] != NULL;
    }
    BlockDevice *block = open_image(machine, path, read_only, format, error);
    bool guessed = strcmp(config_string_at(machine->config, "disk", disk, "format"), "auto") == 0;
    if (block && guessed && strcmp(block_driver_name(block), "raw") == 0)
        warn_of_format(block, disk);
    machine->disks[disk] = block;
    return block != NULL;
}

static bool is_virtio(const Machine *machine, unsigned disk)
{
    return strcmp(config_string_at(machine->config, "disk", disk, "interface"), "virtio") == 0;
}

// Disks take IDE places from the first on, drives from the third on: where Windows and old boot
// loaders expect them. config_check has counted.
static void assign_ide_places(Machine *machine)
{
    unsigned place = 0;
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        if (machine->disks[i] && !is_virtio(machine, i))
            machine->ide[place++] = (IdePlace){ machine->disks[i], false, i };
    }
    place = MAX(place, 2);
    for (unsigned i = 0; i < CDROMS_MAX; i++) {
        bool present =
            machine->cdroms[i] || config_boolean_at(machine->config, "cdrom", i, "present");
        if (!present)
            continue;
        if (place >= IDE_PLACES) { // three disks: the drive goes before the third
            place = 1;
            while (machine->ide[place].block || machine->ide[place].cdrom)
                place++;
        }
        machine->ide[place++] = (IdePlace){ machine->cdroms[i], true, i };
    }
}

// Whether firmware has anything to start but the discs.
static bool has_other_boot(Machine *machine)
{
    if (*config_string(machine->config, "boot.kernel"))
        return true;
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        if (machine->disks[i])
            return true;
    }
    return machine->floppies[0] != NULL;
}

static bool check_floppy(BlockDevice *block, const char *path, GError **error)
{
    if (fdc_drive_type(block_size(block)))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "%s has %" G_GUINT64_FORMAT " bytes, which no floppy has; give an image of 360, "
                "720, 1200, 1440 or 2880 KiB", path, block_size(block));
    return false;
}

bool machine_open_storage(Machine *machine, GError **error)
{
    const Config *config = machine->config;
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        const char *path = config_string_at(config, "disk", i, "path");
        if (*path && !open_disk(machine, i, path, error))
            return false;
    }
    for (unsigned i = 0; i < FLOPPIES_MAX; i++) {
        const char *path = config_string_at(config, "floppy", i, "path");
        if (*path) {
            machine->floppies[i] = open_image(
                machine, path, config_boolean_at(config, "floppy", i, "read-only"), "raw", error);
            if (!machine->floppies[i] || !check_floppy(machine->floppies[i], path, error))
                return false;
        }
    }
    bool bootable = has_other_boot(machine);
    g_autoptr(GError) problem = NULL;
    for (unsigned i = 0; i < CDROMS_MAX; i++) {
        const char *path = config_string_at(config, "cdrom", i, "path");
        if (!*path)
            continue;
        machine->cdroms[i] = open_image(machine, path, true, "iso", error);
        if (!machine->cdroms[i])
            return false;
        g_clear_error(&problem);
        bootable = bootable || iso_is_bootable(machine->cdroms[i], &problem);
    }
    if (!bootable && problem) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return false;
    }
    assign_ide_places(machine);
    return true;
}

// Stable over the machine's life: the guest may know its disk by it.
static char *disk_serial(const Machine *machine, unsigned disk)
{
    const char *set = config_string_at(machine->config, "disk", disk, "serial");
    if (*set)
        return g_strdup(set);
    uint8_t uuid[16];
    config_uuid(machine->config, uuid);
    return g_strdup_printf("LD%02x%02x%02x%02x%02u", uuid[12], uuid[13], uuid[14], uuid[15], disk);
}

static bool build_ide(Machine *machine, GError **error)
{
    IdePiix3Config config = { .devfn = PCI_DEVFN(SLOT_ISA, 1) };
    g_autoptr(GPtrArray) serials = g_ptr_array_new_with_free_func(g_free);
    for (unsigned place = 0; place < IDE_PLACES; place++) {
        const IdePlace *ide = &machine->ide[place];
        if (!ide->block && !ide->cdrom)
            continue;
        char *serial = ide->cdrom ? g_strdup_printf("LC%05u", ide->number)
                                  : disk_serial(machine, ide->number);
        g_ptr_array_add(serials, serial);
        config.drives[place / 2][place % 2] = (IdeDriveConfig){
            .kind = ide->cdrom ? IDE_CDROM : IDE_DISK,
            .block = ide->block,
            .serial = serial,
        };
    }
    return machine_add_device(machine, &ide_piix3_ops, &config, error) != NULL;
}

static bool build_floppies(Machine *machine, GError **error)
{
    if (!machine->floppies[0] && !machine->floppies[1])
        return true;
    Fdc82077Config config = { .dma = dma_8237_border(machine->dma) };
    for (unsigned i = 0; i < FLOPPIES_MAX; i++)
        config.drives[i] = (FdcDriveConfig){ machine->floppies[i] != NULL, machine->floppies[i] };
    return machine_add_device(machine, &fdc_82077_ops, &config, error) != NULL;
}

bool machine_build_storage(Machine *machine, GError **error)
{
    if (!build_ide(machine, error) || !build_floppies(machine, error))
        return false;
    for (unsigned i = 0; i < DISKS_MAX; i++) {
        if (!machine->disks[i] || !is_virtio(machine, i))
            continue;
        g_autofree char *serial = disk_serial(machine, i);
        VirtioBlkConfig config = {
            .devfn = PCI_DEVFN(SLOT_DISK + i, 0),
            .block = machine->disks[i],
            .serial = serial,
        };
        if (!machine_add_device(machine, &virtio_blk_ops, &config, error))
            return false;
    }
    return true;
}

static void for_each_block(Machine *machine, void (*visit)(BlockDevice *block))
{
    for (unsigned i = 0; i < DISKS_MAX; i++)
        visit(machine->disks[i]);
    for (unsigned i = 0; i < CDROMS_MAX; i++)
        visit(machine->cdroms[i]);
    for (unsigned i = 0; i < FLOPPIES_MAX; i++)
        visit(machine->floppies[i]);
}

static void drain(BlockDevice *block)
{
    if (block)
        block_drain(block);
}

void machine_drain_storage(Machine *machine)
{
    for_each_block(machine, drain);
}

void machine_close_storage(Machine *machine)
{
    for_each_block(machine, block_close);
    machine_close_store(machine);
}
