// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's screen: the VGA, who shows it, and pictures of it.
#include "engine/machine-private.h"

#include "engine/devices/display/vga.h"
#include "engine/firmware/rom-loader.h"
#include "engine/spice/lodge-spice.h"

#include <unistd.h>

bool machine_open_display_server(Machine *machine, GError **error)
{
    if (!machine->options.spice)
        return true;
    LodgeSpiceConfig config = {
        .name = config_string(machine->config, "machine.name"),
        .socket_path = machine->spice_socket,
        .scanout_path = machine->scanout_socket,
        .machine_lock = bus_mutex(machine->bus),
        .input = machine->input,
        .serial_mask = machine_serial_ports(machine),
    };
    machine->spice = lodge_spice_new(&config, error);
    return machine->spice != NULL;
}

bool machine_build_display(Machine *machine, GError **error)
{
    machine->vga_bios = rom_load(ROM_VGA_STANDARD, error);
    if (!machine->vga_bios)
        return false;
    gsize rom_size;
    const uint8_t *rom_data = g_bytes_get_data(machine->vga_bios, &rom_size);
    VgaConfig config = {
        .vram_size = (uint32_t)config_integer(machine->config, "display.vram"),
        .devfn = PCI_DEVFN(SLOT_VGA, 0),
        .rom = rom_data,
        .rom_size = rom_size,
        .sink = display_hub_sink(machine->display),
        .prefer_width = (uint32_t)config_integer(machine->config, "display.width"),
        .prefer_height = (uint32_t)config_integer(machine->config, "display.height"),
    };
    machine->vga = machine_add_device(machine, &vga_ops, &config, error);
    if (!machine->vga)
        return false;
    DisplaySource source = vga_display_source(machine->vga);
    display_hub_set_source(machine->display, &source);
    if (machine->spice) {
        display_hub_set_viewer(machine->display, lodge_spice_display_sink(machine->spice));
        lodge_spice_set_display_source(machine->spice, &source);
    }
    return true;
}

void machine_close_display(Machine *machine)
{
    if (!machine->spice)
        return;
    lodge_spice_set_display_source(machine->spice, NULL);
    bus_lock(machine->bus);
    display_hub_set_viewer(machine->display, NULL);
    for (unsigned i = 0; i < MACHINE_SERIAL_MAX; i++)
        if (machine->serial[i])
            char_tee_remove(machine->serial[i], lodge_spice_serial(machine->spice, i)->opaque);
    bus_unlock(machine->bus);
    g_clear_pointer(&machine->spice, lodge_spice_free);
}

bool machine_picture(Machine *machine, DisplayPicture *ret_picture)
{
    bus_lock(machine->bus);
    bool taken = display_hub_picture(machine->display, ret_picture);
    bus_unlock(machine->bus);
    return taken;
}

char *machine_text(Machine *machine)
{
    bus_lock(machine->bus);
    char *text = vga_text(machine->vga);
    bus_unlock(machine->bus);
    return text;
}

bool machine_open_display(Machine *machine, int fd, bool scanout)
{
    if (!machine->spice) {
        close(fd);
        return false;
    }
    lodge_spice_open_client(machine->spice, fd, scanout);
    return true;
}
