// SPDX-License-Identifier: GPL-2.0-or-later
// The VGA's ports: general registers, sequencer, graphics controller, attribute controller, CRT
// controller and DAC, as in the IBM "Video Graphics Array" technical reference (PS/2 Hardware
// Interface, 1992). What the registers mean for memory is in vga-memory.c, for the picture in
// vga-geometry.c and vga-scanline.c.
//
// Vertical interrupts are not made (as in every stdvga), and the light pen does not exist.
#include "engine/devices/display/vga-private.h"

// Bits that exist.
static const uint8_t sequencer_mask[] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
static const uint8_t graphics_mask[] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };
static const uint8_t attribute_mask[] = {
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f,
};

typedef struct {
    int64_t line_ns;
    int64_t frame_ns;
    int64_t visible_ns; // of a line
    unsigned display_lines;
    unsigned retrace_start; // lines
    unsigned retrace_lines;
} FrameTiming;

// Frames of a VBE mode and of a CRT controller that is not set up: 60 Hz, 5 % of it blank.
static FrameTiming default_timing(void)
{
    return (FrameTiming){ .line_ns = 16667, .frame_ns = 16667 * 1000, .visible_ns = 13333,
                          .display_lines = 950, .retrace_start = 960, .retrace_lines = 10 };
}

static FrameTiming frame_timing(const Vga *v)
{
    const uint8_t *cr = v->crtc;
    unsigned overflow = cr[CRTC_OVERFLOW];
    int64_t dot_clock = (v->misc_output >> 2 & 3) == 1 ? 28322000 : 25175000;
    int64_t dots = v->sequencer[SEQ_CLOCKING] & 1 ? 8 : 9;
    if (v->sequencer[SEQ_CLOCKING] & 8)
        dots *= 2;
    int64_t h_total = cr[CRTC_H_TOTAL] + 5;
    int64_t v_total = (cr[CRTC_V_TOTAL] | (overflow & 1) << 8 | (overflow & 0x20) << 4) + 2;
    FrameTiming t = {
        .line_ns = h_total * dots * NS_PER_SECOND / dot_clock,
        .display_lines = 1u + (cr[CRTC_V_DISPLAY_END] | (overflow & 2) << 7 |
                               (overflow & 0x40) << 3),
        .retrace_start = cr[CRTC_V_RETRACE_START] | (overflow & 4) << 6 | (overflow & 0x80) << 2,
        .retrace_lines = ((cr[CRTC_V_RETRACE_END] - cr[CRTC_V_RETRACE_START] - 1) & 15) + 1,
    };
    t.frame_ns = t.line_ns * v_total;
    t.visible_ns = t.line_ns * (cr[CRTC_H_DISPLAY_END] + 1) / h_total;
    // 18 Hz to 200 Hz; everything else is a mode half set.
    if (vga_vbe_active(v) || t.frame_ns < 5000000 || t.frame_ns > 55000000 ||
        t.retrace_start + t.retrace_lines > v_total)
        return default_timing();
    return t;
}

// Input status 1. A guest that polls it so slowly that a whole retrace passed between two reads
// is shown that retrace late, in one read: it waits for an edge and must not miss it for ever.
static uint8_t read_status_1(Vga *v)
{
    FrameTiming t = frame_timing(v);
    int64_t now = clock_now(v->host.clock);
    int64_t in_frame = now % t.frame_ns;
    int64_t line = in_frame / t.line_ns;
    int64_t retrace_at = t.retrace_start * t.line_ns;
    int64_t retrace = (now - retrace_at + t.frame_ns) / t.frame_ns;
    bool in_retrace = in_frame >= retrace_at && in_frame < retrace_at + t.retrace_lines * t.line_ns;

    v->attribute_data = false;
    if (in_retrace || retrace != v->last_retrace) {
        v->last_retrace = retrace;
        return 0x09;
    }
    return line >= t.display_lines || in_frame % t.line_ns >= t.visible_ns ? 0x01 : 0x00;
}

static void write_sequencer(Vga *v, uint8_t value)
{
    unsigned index = v->sequencer_index;
    if (index >= G_N_ELEMENTS(sequencer_mask))
        return;
    v->sequencer[index] = value & sequencer_mask[index];
    if (index == SEQ_MAP_MASK || index == SEQ_MEMORY_MODE)
        vga_window_changed(v);
    if (index != SEQ_MAP_MASK)
        v->redraw = true;
}

static void write_graphics(Vga *v, uint8_t value)
{
    unsigned index = v->graphics_index;
    if (index >= G_N_ELEMENTS(graphics_mask))
        return;
    v->graphics[index] = value & graphics_mask[index];
    vga_window_changed(v);
    if (index == GFX_MODE || index == GFX_MISC)
        v->redraw = true;
}

static void write_attribute(Vga *v, uint8_t value)
{
    bool data = v->attribute_data;
    v->attribute_data = !data;
    if (!data) {
        if ((v->attribute_index ^ value) & 0x20)
            v->redraw = true;
        v->attribute_index = value & 0x3f;
        return;
    }
    unsigned index = v->attribute_index & 0x1f;
    if (index >= G_N_ELEMENTS(attribute_mask))
        return;
    // The palette belongs to the picture while bit 5 of the index is set.
    if (index < 16 && v->attribute_index & 0x20)
        return;
    v->attribute[index] = value & attribute_mask[index];
    v->redraw = true;
}

static void write_crtc(Vga *v, uint8_t value)
{
    unsigned index = v->crtc_index;
    if (index >= CRTC_COUNT)
        return;
    if (v->crtc[CRTC_V_RETRACE_END] & 0x80 && index <= CRTC_OVERFLOW) {
        // Registers 0 to 7 are locked, all but bit 8 of the line compare.
        if (index == CRTC_OVERFLOW)
            v->crtc[index] = (uint8_t)((v->crtc[index] & ~0x10) | (value & 0x10));
    } else {
        v->crtc[index] = value;
    }
    v->redraw = true;
}

static uint8_t read_crtc(const Vga *v)
{
    if (v->crtc_index < CRTC_COUNT)
        return v->crtc[v->crtc_index];
    // Undocumented but common: the read latch of the selected plane, and the attribute flip-flop.
    if (v->crtc_index == 0x22)
        return (uint8_t)(v->latch >> 8 * v->graphics[GFX_READ_PLANE]);
    if (v->crtc_index == 0x24)
        return v->attribute_data ? 0x80 : 0;
    return 0xff;
}

static void write_dac_data(Vga *v, uint8_t value)
{
    v->dac_pending[v->dac_component++] = value;
    if (v->dac_component < 3)
        return;
    memcpy(v->dac + 3 * v->dac_write_index, v->dac_pending, 3);
    v->dac_component = 0;
    v->dac_write_index++;
    v->redraw = true;
}

static uint8_t read_dac_data(Vga *v)
{
    uint8_t value = v->dac[3 * v->dac_read_index + v->dac_component++];
    if (v->dac_component == 3) {
        v->dac_component = 0;
        v->dac_read_index++;
    }
    return v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC ? value : value & 0x3f;
}

// The CRT controller and status 1 answer at 3Dxh in colour and at 3Bxh in monochrome emulation.
static bool wrong_half(const Vga *v, unsigned port)
{
    if (port >= 0x3c0 && port <= 0x3cf)
        return false;
    return (port >= 0x3d0) != (v->misc_output & 1);
}

uint8_t vga_register_read(Vga *v, unsigned port)
{
    if (wrong_half(v, port))
        return 0xff;
    switch (port) {
    case 0x3c0:
        return v->attribute_index;
    case 0x3c1: {
        unsigned index = v->attribute_index & 0x1f;
        return index < G_N_ELEMENTS(attribute_mask) ? v->attribute[index] : 0;
    }
    case 0x3c2:
        return 0x10; // input status 0: the switch sense line of a colour monitor
    case 0x3c4:
        return v->sequencer_index;
    case 0x3c5:
        return v->sequencer_index < G_N_ELEMENTS(sequencer_mask)
                   ? v->sequencer[v->sequencer_index] : 0;
    case 0x3c6:
        return v->dac_mask;
    case 0x3c7:
        return v->dac_reading ? 3 : 0;
    case 0x3c8:
        return v->dac_write_index;
    case 0x3c9:
        return read_dac_data(v);
    case 0x3ca:
        return v->feature_control;
    case 0x3cc:
        return v->misc_output;
    case 0x3ce:
        return v->graphics_index;
    case 0x3cf:
        return v->graphics_index < G_N_ELEMENTS(graphics_mask)
                   ? v->graphics[v->graphics_index] : 0;
    case 0x3b4:
    case 0x3d4:
        return v->crtc_index;
    case 0x3b5:
    case 0x3d5:
        return read_crtc(v);
    case 0x3ba:
    case 0x3da:
        return read_status_1(v);
    default:
        return 0xff;
    }
}

void vga_register_write(Vga *v, unsigned port, uint8_t value)
{
    if (wrong_half(v, port))
        return;
    switch (port) {
    case 0x3c0:
        write_attribute(v, value);
        break;
    case 0x3c2:
        v->misc_output = value;
        vga_window_changed(v);
        v->redraw = true;
        break;
    case 0x3c4:
        v->sequencer_index = value & 7;
        break;
    case 0x3c5:
        write_sequencer(v, value);
        break;
    case 0x3c6:
        v->dac_mask = value;
        v->redraw = true;
        break;
    case 0x3c7:
        v->dac_read_index = value;
        v->dac_component = 0;
        v->dac_reading = true;
        break;
    case 0x3c8:
        v->dac_write_index = value;
        v->dac_component = 0;
        v->dac_reading = false;
        break;
    case 0x3c9:
        write_dac_data(v, value);
        break;
    case 0x3ce:
        v->graphics_index = value & 15;
        break;
    case 0x3cf:
        write_graphics(v, value);
        break;
    case 0x3b4:
    case 0x3d4:
        v->crtc_index = value & 0x3f;
        break;
    case 0x3b5:
    case 0x3d5:
        write_crtc(v, value);
        break;
    case 0x3ba:
    case 0x3da:
        v->feature_control = value & 0x0b;
        break;
    default:
        break;
    }
}

static uint64_t read_mono(void *opaque, uint64_t offset, unsigned size)
{
    return vga_register_read(opaque, 0x3b4 + (unsigned)offset);
}

static void write_mono(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vga_register_write(opaque, 0x3b4 + (unsigned)offset, (uint8_t)value);
}

static uint64_t read_3c0(void *opaque, uint64_t offset, unsigned size)
{
    return vga_register_read(opaque, 0x3c0 + (unsigned)offset);
}

static void write_3c0(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vga_register_write(opaque, 0x3c0 + (unsigned)offset, (uint8_t)value);
}

static uint64_t read_color(void *opaque, uint64_t offset, unsigned size)
{
    return vga_register_read(opaque, 0x3d4 + (unsigned)offset);
}

static void write_color(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    vga_register_write(opaque, 0x3d4 + (unsigned)offset, (uint8_t)value);
}

// Bytes only: a word written to an index port is index and data, which is how the bus splits it.
const BusOps vga_port_ops_3b4 = { read_mono, write_mono, 1 };
const BusOps vga_port_ops_3c0 = { read_3c0, write_3c0, 1 };
const BusOps vga_port_ops_3d4 = { read_color, write_color, 1 };

void vga_registers_reset(Vga *v)
{
    v->misc_output = 0;
    v->feature_control = 0;
    v->sequencer_index = 0;
    memset(v->sequencer, 0, sizeof v->sequencer);
    v->graphics_index = 0;
    memset(v->graphics, 0, sizeof v->graphics);
    v->attribute_index = 0;
    v->attribute_data = false;
    memset(v->attribute, 0, sizeof v->attribute);
    v->crtc_index = 0;
    memset(v->crtc, 0, sizeof v->crtc);
    v->dac_mask = 0xff;
    v->dac_read_index = 0;
    v->dac_write_index = 0;
    v->dac_component = 0;
    v->dac_reading = false;
    memset(v->dac, 0, sizeof v->dac);
    v->latch = 0;
    v->redraw = true;
}
