// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's screen: the VGA, who shows it, and pictures of it.
#include "engine/machine-private.h"

#include "engine/devices/display/vga.h"
#include "engine/firmware/rom-loader.h"

bool machine_open_display_server(Machine *machine, GError **error)
{
    return true;
}

bool machine_build_display(Machine *machine, GError **error)
{
    g_autoptr(GBytes) rom = rom_load(ROM_VGA_STANDARD, error);
    if (!rom)
        return false;
    gsize rom_size;
    const uint8_t *rom_data = g_bytes_get_data(rom, &rom_size);
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
    return true;
}

void machine_close_display_source(Machine *machine)
{
}

void machine_close_display_server(Machine *machine)
{
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

void machine_screen_size(Machine *machine, uint32_t *ret_width, uint32_t *ret_height)
{
    bus_lock(machine->bus);
    display_hub_size(machine->display, ret_width, ret_height);
    bus_unlock(machine->bus);
}

bool machine_open_display(Machine *machine, int fd, bool scanout)
{
    return false;
}
