// SPDX-License-Identifier: GPL-2.0-or-later
// Register values of IBM's mode 03h (VGA Technical Reference; FreeVGA's tables agree), in the order
// in which a BIOS writes them: sequencer in reset, clock, CRTC unlocked, graphics and attribute
// controllers, palette, then the font into plane 2, then the screen on.
#include "engine/firmware/vga-text-mode.h"

#include <string.h>

enum {
    ATTRIBUTE = 0x3c0,
    MISC_WRITE = 0x3c2,
    SEQUENCER = 0x3c4,
    DAC_MASK = 0x3c6,
    DAC_INDEX = 0x3c8,
    DAC_DATA = 0x3c9,
    GRAPHICS = 0x3ce,
    CRTC = 0x3d4,
    STATUS_1 = 0x3da,
    WINDOW = 0xa0000,
    TEXT = 0xb8000,
    CELLS = 80 * 25,
    GLYPHS = 256,
    GLYPH_LINES = 16,
    GLYPH_ROOM = 32, // bytes a glyph takes in plane 2
};

static const uint8_t sequencer[] = { 0x03, 0x00, 0x03, 0x00, 0x02 };
static const uint8_t crtc[] = { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                                0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                                0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff };
static const uint8_t graphics[] = { 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff };
static const uint8_t attribute[] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14,
                                     0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d,
                                     0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00 };

static void out(Bus *bus, uint16_t port, uint8_t value)
{
    bus_port_write(bus, port, 1, value);
}

static void out_indexed(Bus *bus, uint16_t port, uint8_t index, uint8_t value)
{
    out(bus, port, index);
    out(bus, port + 1, value);
}

static void out_all(Bus *bus, uint16_t port, const uint8_t *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        out_indexed(bus, port, (uint8_t)i, values[i]);
}

// The first 64 colours are those of the EGA: two bits each of red, green and blue.
static void write_palette(Bus *bus)
{
    out(bus, DAC_MASK, 0xff);
    out(bus, DAC_INDEX, 0);
    for (unsigned colour = 0; colour < 64; colour++) {
        for (unsigned part = 0; part < 3; part++) { // red is bit 2 and 5
            unsigned shift = 2 - part;
            unsigned level = (colour >> shift & 1) * 0x2a + (colour >> (shift + 3) & 1) * 0x15;
            out(bus, DAC_DATA, (uint8_t)level);
        }
    }
}

// The font's place is known by two of its glyphs: the space before 'A' is far, so 'A' and 'B'.
static const uint8_t *find_font(const uint8_t *rom, size_t size)
{
    static const uint8_t letter_a[] = { 0,    0,    0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe,
                                        0xc6, 0xc6, 0xc6, 0xc6, 0,    0,    0,    0 };
    for (size_t at = 'A' * GLYPH_LINES; at + (GLYPHS - 'A') * GLYPH_LINES <= size; at++) {
        if (memcmp(rom + at, letter_a, sizeof letter_a) == 0)
            return rom + at - 'A' * GLYPH_LINES;
    }
    return NULL;
}

static void write_font(Bus *bus, const uint8_t *font)
{
    out_indexed(bus, SEQUENCER, 2, 0x04); // plane 2
    out_indexed(bus, SEQUENCER, 4, 0x06); // sequential, all memory
    out_indexed(bus, GRAPHICS, 5, 0x00);
    out_indexed(bus, GRAPHICS, 6, 0x04); // A0000h, 64 KiB
    for (unsigned glyph = 0; glyph < GLYPHS; glyph++) {
        for (unsigned line = 0; line < GLYPH_LINES; line++)
            bus_mmio_write(bus, WINDOW + glyph * GLYPH_ROOM + line, 1,
                           font[glyph * GLYPH_LINES + line]);
    }
    out_indexed(bus, SEQUENCER, 2, sequencer[2]);
    out_indexed(bus, SEQUENCER, 4, sequencer[4]);
    out_indexed(bus, GRAPHICS, 5, graphics[5]);
    out_indexed(bus, GRAPHICS, 6, graphics[6]);
}

bool vga_text_mode_start(Bus *bus, const uint8_t *vga_bios, size_t size)
{
    out_indexed(bus, SEQUENCER, 0, 0x01);
    out(bus, MISC_WRITE, 0x67); // 28 MHz, colour addresses, RAM on, 400 lines
    out_all(bus, SEQUENCER, sequencer, sizeof sequencer);
    out_indexed(bus, CRTC, 0x11, crtc[0x11] & 0x7f); // registers 0..7 unlocked
    out_all(bus, CRTC, crtc, sizeof crtc);
    out_all(bus, GRAPHICS, graphics, sizeof graphics);
    bus_port_read(bus, STATUS_1, 1); // index next
    for (unsigned i = 0; i < sizeof attribute; i++) {
        out(bus, ATTRIBUTE, (uint8_t)i);
        out(bus, ATTRIBUTE, attribute[i]);
    }
    write_palette(bus);
    const uint8_t *font = find_font(vga_bios, size);
    if (font)
        write_font(bus, font);
    for (unsigned cell = 0; cell < CELLS; cell++)
        bus_mmio_write(bus, TEXT + cell * 2, 2, 0x0720); // grey on black
    bus_port_read(bus, STATUS_1, 1);
    out(bus, ATTRIBUTE, 0x20); // the screen on
    return font != NULL;
}
