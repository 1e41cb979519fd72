// SPDX-License-Identifier: GPL-2.0-or-later
// The state that the files of the VGA share. Video memory is kept as the hardware's four planes,
// interleaved: byte 4n+p is offset n of plane p. A linear VBE mode sees the same bytes in a row.
#pragma once

#include "engine/base/bytes.h"
#include "engine/bus/pci.h"
#include "engine/devices/display/edid.h"
#include "engine/devices/display/vga.h"

#define VGA_NAME "vga"
#define VGA_PLANE_SIZE 0x10000u                 // bytes of one plane in VGA modes
#define VGA_LEGACY_SIZE (4u * VGA_PLANE_SIZE)   // all that VGA modes reach
#define VGA_WINDOW_BASE 0xa0000u
#define VGA_WINDOW_SIZE 0x20000u
#define VGA_MMIO_SIZE 0x1000u
#define VGA_BANK_SLOTS 256u // VBE banks that can be mapped: the first 16 MiB
#define VGA_LINE_SLACK 64u
#define VGA_MAX_SIDE 8192u // of a picture, either way (engine/bus/display.h)

// Sequencer indexes.
enum { SEQ_RESET, SEQ_CLOCKING, SEQ_MAP_MASK, SEQ_FONT, SEQ_MEMORY_MODE };
// Graphics controller indexes.
enum {
    GFX_SET_RESET,
    GFX_ENABLE_SET_RESET,
    GFX_COLOR_COMPARE,
    GFX_ROTATE,
    GFX_READ_PLANE,
    GFX_MODE,
    GFX_MISC,
    GFX_COLOR_CARE,
    GFX_BIT_MASK,
};
// Attribute controller indexes past the palette.
enum {
    ATT_MODE = 0x10,
    ATT_OVERSCAN = 0x11,
    ATT_PLANE_ENABLE = 0x12,
    ATT_PANNING = 0x13,
    ATT_COLOR_SELECT = 0x14,
};
// CRT controller indexes.
enum {
    CRTC_H_TOTAL = 0x00,
    CRTC_H_DISPLAY_END = 0x01,
    CRTC_V_TOTAL = 0x06,
    CRTC_OVERFLOW = 0x07,
    CRTC_PRESET_ROW = 0x08,
    CRTC_MAX_SCAN = 0x09,
    CRTC_CURSOR_START = 0x0a,
    CRTC_CURSOR_END = 0x0b,
    CRTC_START_HIGH = 0x0c,
    CRTC_START_LOW = 0x0d,
    CRTC_CURSOR_HIGH = 0x0e,
    CRTC_CURSOR_LOW = 0x0f,
    CRTC_V_RETRACE_START = 0x10,
    CRTC_V_RETRACE_END = 0x11,
    CRTC_V_DISPLAY_END = 0x12,
    CRTC_OFFSET = 0x13,
    CRTC_UNDERLINE = 0x14,
    CRTC_MODE = 0x17,
    CRTC_LINE_COMPARE = 0x18,
    CRTC_COUNT = 0x19,
};
// DISPI indexes.
enum {
    DISPI_ID,
    DISPI_XRES,
    DISPI_YRES,
    DISPI_BPP,
    DISPI_ENABLE,
    DISPI_BANK,
    DISPI_VIRT_WIDTH,
    DISPI_VIRT_HEIGHT,
    DISPI_X_OFFSET,
    DISPI_Y_OFFSET,
    DISPI_VIDEO_MEMORY,
    DISPI_COUNT,
};
enum {
    DISPI_ENABLED = 0x01,
    DISPI_GET_CAPS = 0x02,
    DISPI_8BIT_DAC = 0x20,
    DISPI_LFB = 0x40,
    DISPI_NO_CLEAR = 0x80,
};

// What a sink was last told.
typedef struct {
    bool set;
    bool direct; // the sink reads video memory itself
    uint32_t width;
    uint32_t height;
    uint32_t stride;
    uint32_t start; // of a direct picture, bytes into video memory
} VgaScreen;

// The part of the window that is mapped as memory (vga-window.c).
typedef enum {
    VGA_WINDOW_NONE,
    VGA_WINDOW_BANK,   // 64 KiB of video memory
    VGA_WINDOW_CHAIN4, // 64 KiB, packed
    VGA_WINDOW_TEXT,   // 32 KiB, characters and attributes in turn
} VgaWindowKind;

typedef struct {
    VgaWindowKind kind;
    uint32_t base; // guest-physical
    uint32_t size;
    uint32_t bank; // of a bank, bytes into video memory
} VgaWindow;

typedef struct Vga {
    DeviceHost host;
    PciDevice pci;
    bool on_pci;
    BusRegion *port_regions[5];
    BusRegion *window_region;
    RamBlock *vram;
    RamBlock *rom;
    uint32_t vram_size;
    uint8_t edid[EDID_SIZE];

    uint8_t misc_output;
    uint8_t feature_control;
    uint8_t sequencer_index;
    uint8_t sequencer[5];
    uint8_t graphics_index;
    uint8_t graphics[9];
    uint8_t attribute_index; // with the palette address source in bit 5
    bool attribute_data;     // the flip-flop: the next write to 3C0h is data
    uint8_t attribute[0x15];
    uint8_t crtc_index;
    uint8_t crtc[CRTC_COUNT];
    uint8_t dac_mask;
    uint8_t dac_read_index;
    uint8_t dac_write_index;
    uint8_t dac_component; // 0..2
    bool dac_reading;
    uint8_t dac_pending[3]; // written components of an entry, stored with the third
    uint8_t dac[256 * 3];
    uint32_t latch; // plane p in bits 8p..8p+7
    uint16_t dispi_index;
    uint16_t dispi[DISPI_COUNT];

    VgaWindow window;
    GuestSlot *window_slot;   // one of the below, or NULL: nothing is mapped
    // Made when first needed and then only hidden and shown: a vCPU may hold on to a dirty flag for
    // a moment longer.
    GuestSlot *chain4_slot, *text_slots[2], *bank_slots[VGA_BANK_SLOTS];
    RamBlock *window_memory; // of the packed kinds
    unsigned window_hits;    // accesses since a register changed

    int64_t last_retrace; // number of the last vertical retrace that a guest saw

    // Rendering.
    DisplaySink sink;
    bool has_sink;
    RamBlock *screen_memory; // the picture, unless direct
    VgaScreen screen;
    bool redraw;          // something shown may have changed anywhere
    bool copied_mode;     // this VBE mode was panned: it stays copied
    uint8_t *dirty_pages; // of video memory, written through the window
    unsigned blink_phase; // of the text last drawn
    uint32_t *line;       // one rendered line, VGA_MAX_SIDE + slack pixels
} Vga;

static inline bool vga_vbe_active(const Vga *v)
{
    return v->dispi[DISPI_ENABLE] & DISPI_ENABLED;
}

// Bytes of one pixel row of `width` pixels in the current DISPI depth.
static inline uint32_t vga_dispi_row_bytes(const Vga *v, uint32_t width)
{
    unsigned bpp = v->dispi[DISPI_BPP];
    return bpp == 4 ? width / 2 : width * ((bpp + 7) / 8);
}

// vga-registers.c
extern const BusOps vga_port_ops_3b4, vga_port_ops_3c0, vga_port_ops_3d4; // offset 0: that port
void vga_registers_reset(Vga *v);
uint8_t vga_register_read(Vga *v, unsigned port);
void vga_register_write(Vga *v, unsigned port, uint8_t value);

// vbe-dispi.c
extern const BusOps vga_dispi_port_ops, vga_mmio_ops;
void vga_dispi_reset(Vga *v);
// Makes the enabled mode's registers fit into video memory. Everything that draws or addresses
// relies on it: the whole picture, from its offsets, lies within vram_size.
void vga_dispi_fit(Vga *v);

// vga-window.c
// After a register that decides about the window changed.
void vga_window_changed(Vga *v);
// At an access that was not mapped; may map the window.
void vga_window_hit(Vga *v);
// Brings what was written to the mapped window into the planes.
void vga_window_sync(Vga *v);
void vga_window_close(Vga *v);
void vga_window_destroy(Vga *v);

// vga-memory.c
extern const BusOps vga_window_ops;

// vga-geometry.c
typedef struct {
    uint32_t width;  // dots of the picture
    uint32_t height; // scan lines of the picture
    uint32_t columns; // character clocks of a line
    unsigned dots;   // of a character clock: 8 or 9
    unsigned scale;  // dots of a pixel: 1, 2 or 4
    bool text;
} VgaGeometry;
VgaGeometry vga_geometry(const Vga *v);

// Walks a picture's scan lines from the top: the address counter and row scan counter as the CRT
// controller runs them.
typedef struct {
    uint32_t address;  // counter at the line's start, in character clocks
    unsigned row_scan; // line within the character row
    unsigned panning;  // value of the panning register in force
    unsigned y;
    bool second; // of a double-scanned pair
} VgaScan;
void vga_scan_start(const Vga *v, VgaScan *scan);
void vga_scan_next(const Vga *v, VgaScan *scan);
// The offset in each plane that a counter value addresses.
uint32_t vga_scan_offset(const Vga *v, const VgaScan *scan, uint32_t counter);

// vga-scanline.c
// The colours of the attribute palette's 16 entries and of the DAC's 256, as XRGB8888.
typedef struct {
    uint32_t attribute[16];
    uint32_t dac[256];
} VgaPalette;
void vga_palette(const Vga *v, VgaPalette *ret);
// Draws one line of a VGA mode at `line`: geometry->width pixels, using up to VGA_LINE_SLACK more
// behind them.
// blink: bit 0 the cursor shows, bit 1 blinking characters show.
void vga_draw_line(const Vga *v, const VgaGeometry *geometry, const VgaPalette *palette,
                   const VgaScan *scan, unsigned blink, uint32_t *line);
// Draws row y of the active VBE mode.
void vga_draw_vbe_line(const Vga *v, const VgaPalette *palette, uint32_t y, uint32_t *line);

// vga-render.c
void vga_refresh(void *device);
