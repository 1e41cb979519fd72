// SPDX-License-Identifier: GPL-2.0-or-later
// The display adapter: a VGA with the Bochs DISPI extensions, as PCI function 1234:1111 that the
// stock stdvga BIOS and the bochs drivers of the guests know; without a PCI bus, an ISA VGA.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/display.h"
#include "engine/memory/ram.h"

typedef struct {
    uint32_t vram_size;      // bytes, a power of two, 1 MiB to 256 MiB; 0 means 16 MiB
    uint8_t devfn;           // where there is a PCI bus
    const uint8_t *rom;      // the video BIOS, copied; NULL: none
    size_t rom_size;         // at most 1 MiB
    const DisplaySink *sink; // copied; NULL: nobody looks
    uint32_t prefer_width;   // the EDID's preferred mode; 0 x 0 means 1280 x 800
    uint32_t prefer_height;
} VgaConfig;

extern const DeviceOps vga_ops;

// What a sink may ask. The source lives as long as the device. Machine lock held on its calls.
DisplaySource vga_display_source(void *vga);

// Replaces the sink (copied; NULL: none). The new one gets the mode at the next refresh. Machine
// lock held.
void vga_set_sink(void *vga, const DisplaySink *sink);

// The video memory, which the state record leaves out: it is saved with the machine's memory, after
// this call, while the machine stands still. Machine lock held.
RamBlock *vga_video_memory(void *vga);

// The screen of a text mode as UTF-8, one line per row, trailing blanks cut; NULL in a graphics
// mode. Owned by the caller. Machine lock held.
char *vga_text(void *vga);
