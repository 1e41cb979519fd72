// SPDX-License-Identifier: GPL-2.0-or-later
// One line of a picture as XRGB8888 pixels: text, 16-colour planar, CGA's packed two bits, 256
// colours, and the VBE depths. The line's place in memory comes from vga-geometry.c.
#include "engine/devices/display/vga-private.h"

#include "engine/base/bytes.h"

static uint32_t dac_color(const Vga *v, unsigned index)
{
    const uint8_t *c = v->dac + 3 * (index & v->dac_mask);
    if (v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC)
        return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
    uint32_t color = 0;
    for (unsigned i = 0; i < 3; i++) {
        unsigned six = c[i] & 0x3f;
        color = color << 8 | six << 2 | six >> 4;
    }
    return color;
}

void vga_palette(const Vga *v, VgaPalette *ret)
{
    for (unsigned i = 0; i < 256; i++)
        ret->dac[i] = dac_color(v, i);
    unsigned select = v->attribute[ATT_COLOR_SELECT];
    for (unsigned i = 0; i < 16; i++) {
        unsigned entry = v->attribute[i & v->attribute[ATT_PLANE_ENABLE]];
        if (v->attribute[ATT_MODE] & 0x80)
            entry = (entry & 0x0f) | (select & 3) << 4;
        ret->attribute[i] = ret->dac[entry | (select & 0x0c) << 4];
    }
}

// Offset in plane 2 of the character map in use for an attribute.
static uint32_t font_base(const Vga *v, unsigned attribute)
{
    unsigned select = v->sequencer[SEQ_FONT];
    unsigned map = attribute & 8 ? (select >> 2 & 3) | (select >> 3 & 4)
                                 : (select & 3) | (select >> 2 & 4);
    return (map & 3) * 0x4000u + (map & 4 ? 0x2000u : 0);
}

static bool cursor_on_line(const Vga *v, unsigned row_scan)
{
    unsigned start = v->crtc[CRTC_CURSOR_START], end = v->crtc[CRTC_CURSOR_END] & 0x1f;
    return !(start & 0x20) && row_scan >= (start & 0x1f) && row_scan <= end;
}

static void draw_text(const Vga *v, const VgaGeometry *g, const VgaPalette *palette,
                      const VgaScan *scan, unsigned blink, uint32_t *line)
{
    const uint8_t *vram = v->vram->host;
    unsigned mode = v->attribute[ATT_MODE];
    uint32_t cursor = (uint32_t)v->crtc[CRTC_CURSOR_HIGH] << 8 | v->crtc[CRTC_CURSOR_LOW];
    cursor += v->crtc[CRTC_CURSOR_END] >> 5 & 3; // skew
    bool cursor_line = blink & 1 && cursor_on_line(v, scan->row_scan);
    bool underline = scan->row_scan == (v->crtc[CRTC_UNDERLINE] & 0x1fu);

    for (uint32_t i = 0; i <= g->columns; i++, line += g->dots) {
        uint32_t counter = (scan->address + i) & 0xffff;
        const uint8_t *cell = vram + 4 * vga_scan_offset(v, scan, counter);
        unsigned character = cell[0], attribute = cell[1];
        uint32_t glyph = font_base(v, attribute) + character * 32 + scan->row_scan;
        unsigned bits = vram[4 * glyph + 2];
        unsigned ground = attribute >> 4;
        if (mode & 0x08) { // blinking takes the background's high bit
            if (attribute & 0x80 && !(blink & 2))
                bits = 0;
            ground &= 7;
        }
        if (underline && (attribute & 7) == 1)
            bits = 0xff;
        if (cursor_line && counter == cursor)
            bits = 0xff;
        // The ninth dot continues the line graphics characters.
        unsigned ninth = bits & 1 && ((mode & 0x04 && character >= 0xc0 && character <= 0xdf) ||
                                      bits == 0xff);
        uint32_t front = palette->attribute[attribute & 15], back = palette->attribute[ground];
        for (unsigned dot = 0; dot < 8; dot++)
            line[dot] = bits & 0x80 >> dot ? front : back;
        if (g->dots == 9)
            line[8] = ninth ? front : back;
    }
}

static void draw_planar(const Vga *v, const VgaGeometry *g, const VgaPalette *palette,
                        const VgaScan *scan, unsigned step, uint32_t *line)
{
    for (uint32_t i = 0; i <= g->columns; i++, line += 8) {
        uint32_t offset = vga_scan_offset(v, scan, scan->address + (i >> step));
        const uint8_t *cell = v->vram->host + 4 * offset;
        for (unsigned dot = 0; dot < 8; dot++) {
            unsigned bit = 7 - dot;
            unsigned pixel = (cell[0] >> bit & 1) | (cell[1] >> bit & 1) << 1 |
                             (cell[2] >> bit & 1) << 2 | (cell[3] >> bit & 1) << 3;
            line[dot] = palette->attribute[pixel];
        }
    }
}

// The shift registers in CGA's order: planes 0 and 1 hold four 2-bit pixels each, planes 2 and 3
// the two higher bits of the same pixels.
static void draw_packed(const Vga *v, const VgaGeometry *g, const VgaPalette *palette,
                        const VgaScan *scan, unsigned step, uint32_t *line)
{
    for (uint32_t i = 0; i <= g->columns; i++, line += 8) {
        uint32_t offset = vga_scan_offset(v, scan, scan->address + (i >> step));
        const uint8_t *cell = v->vram->host + 4 * offset;
        for (unsigned dot = 0; dot < 8; dot++) {
            unsigned half = dot / 4, shift = 6 - 2 * (dot % 4);
            unsigned pixel = (cell[half] >> shift & 3) | (cell[2 + half] >> shift & 3) << 2;
            line[dot] = palette->attribute[pixel];
        }
    }
}

static void draw_256(const Vga *v, const VgaGeometry *g, const VgaPalette *palette,
                     const VgaScan *scan, unsigned step, uint32_t *line)
{
    for (uint32_t i = 0; i <= g->columns; i++, line += 4) {
        uint32_t offset = vga_scan_offset(v, scan, scan->address + (i >> step));
        const uint8_t *cell = v->vram->host + 4 * offset;
        for (unsigned pixel = 0; pixel < 4; pixel++)
            line[pixel] = palette->dac[cell[pixel]];
    }
}

// Pixels that the panning register cuts off on the left.
static unsigned panned_pixels(const VgaGeometry *g, const VgaScan *scan, bool colors_256)
{
    if (g->dots == 9)
        return scan->panning >= 8 ? 0 : scan->panning + 1;
    if (colors_256)
        return scan->panning >> 1 & 3;
    return scan->panning & 7;
}

// Repeats each of `count` pixels `scale` times, in place from the right.
static void widen_pixels(uint32_t *line, uint32_t count, unsigned scale)
{
    for (uint32_t i = count; i-- > 0;) {
        uint32_t color = line[i];
        for (unsigned k = 0; k < scale; k++)
            line[i * scale + k] = color;
    }
}

void vga_draw_line(const Vga *v, const VgaGeometry *geometry, const VgaPalette *palette,
                   const VgaScan *scan, unsigned blink, uint32_t *line)
{
    bool colors_256 = !geometry->text && v->graphics[GFX_MODE] & 0x40;
    // Character clocks that share an address, as a power of two.
    unsigned step = v->crtc[CRTC_UNDERLINE] & 0x20 ? 2 : v->crtc[CRTC_MODE] & 8 ? 1 : 0;
    if (geometry->text)
        draw_text(v, geometry, palette, scan, blink, line);
    else if (colors_256)
        draw_256(v, geometry, palette, scan, step, line);
    else if (v->graphics[GFX_MODE] & 0x20)
        draw_packed(v, geometry, palette, scan, step, line);
    else
        draw_planar(v, geometry, palette, scan, step, line);

    uint32_t pixels = geometry->width / geometry->scale;
    unsigned panned = panned_pixels(geometry, scan, colors_256);
    if (panned)
        memmove(line, line + panned, pixels * sizeof *line);
    if (geometry->scale > 1)
        widen_pixels(line, pixels, geometry->scale);
}

static uint32_t from_555(unsigned c)
{
    unsigned r = c >> 10 & 31, g = c >> 5 & 31, b = c & 31;
    return (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static uint32_t from_565(unsigned c)
{
    unsigned r = c >> 11 & 31, g = c >> 5 & 63, b = c & 31;
    return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

void vga_draw_vbe_line(const Vga *v, const VgaPalette *palette, uint32_t y, uint32_t *line)
{
    uint32_t width = v->dispi[DISPI_XRES], x = v->dispi[DISPI_X_OFFSET];
    uint32_t row = vga_dispi_row_bytes(v, v->dispi[DISPI_VIRT_WIDTH]);
    // Within video memory by vga_dispi_fit.
    const uint8_t *at = v->vram->host + (size_t)row * (v->dispi[DISPI_Y_OFFSET] + y);

    switch (v->dispi[DISPI_BPP]) {
    case 4:
        for (uint32_t i = 0; i < width; i++) {
            const uint8_t *cell = at + (x + i) / 8 * 4;
            unsigned bit = 7 - (x + i) % 8;
            line[i] = palette->attribute[(cell[0] >> bit & 1) | (cell[1] >> bit & 1) << 1 |
                                         (cell[2] >> bit & 1) << 2 | (cell[3] >> bit & 1) << 3];
        }
        break;
    case 8:
        for (uint32_t i = 0; i < width; i++)
            line[i] = palette->dac[at[x + i]];
        break;
    case 15:
        for (uint32_t i = 0; i < width; i++)
            line[i] = from_555(le16_read(at + 2 * (x + i)));
        break;
    case 16:
        for (uint32_t i = 0; i < width; i++)
            line[i] = from_565(le16_read(at + 2 * (x + i)));
        break;
    case 24:
        for (uint32_t i = 0; i < width; i++) {
            const uint8_t *c = at + 3 * (x + i);
            line[i] = (uint32_t)c[2] << 16 | (uint32_t)c[1] << 8 | c[0];
        }
        break;
    default:
        memcpy(line, at + 4 * x, 4 * (size_t)width);
        break;
    }
}
