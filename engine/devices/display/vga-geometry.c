// SPDX-License-Identifier: GPL-2.0-or-later
// What the CRT controller does in a VGA mode: the size of the picture and the walk of the memory
// address counter over its lines (IBM "Video Graphics Array" technical reference, CRT controller
// registers). The picture is the raster the monitor would show: 320x200 modes come out as 640x400.
//
// "Count by two scan lines" (mode control bit 2) is not followed: no known software sets it.
#include "engine/devices/display/vga-private.h"

static unsigned overflow_bits(const Vga *v, unsigned low, unsigned bit8, unsigned bit9)
{
    unsigned overflow = v->crtc[CRTC_OVERFLOW];
    return low | (overflow >> bit8 & 1) << 8 | (overflow >> bit9 & 1) << 9;
}

VgaGeometry vga_geometry(const Vga *v)
{
    bool half_clock = v->sequencer[SEQ_CLOCKING] & 8;
    VgaGeometry g = {
        .columns = v->crtc[CRTC_H_DISPLAY_END] + 1u,
        .height = overflow_bits(v, v->crtc[CRTC_V_DISPLAY_END], 1, 6) + 1,
        .text = !(v->graphics[GFX_MISC] & 1),
        .dots = 8,
        .scale = half_clock ? 2 : 1,
    };
    if (g.text && !(v->sequencer[SEQ_CLOCKING] & 1))
        g.dots = 9;
    g.width = g.columns * g.dots * g.scale;
    if (!g.text && v->graphics[GFX_MODE] & 0x40)
        g.scale *= 2; // 256 colours: a pixel is two dots
    return g;
}

static unsigned line_compare(const Vga *v)
{
    return v->crtc[CRTC_LINE_COMPARE] | (v->crtc[CRTC_OVERFLOW] >> 4 & 1) << 8 |
           (v->crtc[CRTC_MAX_SCAN] >> 6 & 1) << 9;
}

void vga_scan_start(const Vga *v, VgaScan *scan)
{
    unsigned start = v->crtc[CRTC_START_HIGH] << 8 | v->crtc[CRTC_START_LOW];
    *scan = (VgaScan){
        .address = start + (v->crtc[CRTC_PRESET_ROW] >> 5 & 3),
        .row_scan = v->crtc[CRTC_PRESET_ROW] & 0x1f,
        .panning = v->attribute[ATT_PANNING],
    };
}

void vga_scan_next(const Vga *v, VgaScan *scan)
{
    scan->y++;
    if (scan->y == line_compare(v) + 1) { // the split screen begins
        scan->address = 0;
        scan->row_scan = 0;
        scan->second = false;
        if (v->attribute[ATT_MODE] & 0x20)
            scan->panning = 0;
        return;
    }
    if (v->crtc[CRTC_MAX_SCAN] & 0x80) {
        scan->second = !scan->second;
        if (scan->second)
            return;
    }
    if (scan->row_scan == (v->crtc[CRTC_MAX_SCAN] & 0x1fu)) {
        scan->row_scan = 0;
        scan->address += v->crtc[CRTC_OFFSET] * 2u;
    } else {
        scan->row_scan = (scan->row_scan + 1) & 0x1f;
    }
}

uint32_t vga_scan_offset(const Vga *v, const VgaScan *scan, uint32_t counter)
{
    unsigned mode = v->crtc[CRTC_MODE];
    uint32_t offset;
    if (v->crtc[CRTC_UNDERLINE] & 0x40) // doubleword
        offset = counter << 2 | (counter >> 12 & 3);
    else if (mode & 0x40) // byte
        offset = counter;
    else // word
        offset = counter << 1 | (counter >> (mode & 0x20 ? 15 : 13) & 1);
    if (!(mode & 1)) // CGA's two banks
        offset = (offset & ~0x2000u) | (scan->row_scan & 1) << 13;
    if (!(mode & 2)) // Hercules' four banks
        offset = (offset & ~0x4000u) | (scan->row_scan >> 1 & 1) << 14;
    return offset & (VGA_PLANE_SIZE - 1);
}
