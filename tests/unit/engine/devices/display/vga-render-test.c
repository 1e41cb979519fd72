// SPDX-License-Identifier: GPL-2.0-or-later
// What a person sees: every pixel of each kind of mode against the picture that the mode's
// definition gives for known memory contents, and what is reported as changed.
#include "tests/unit/engine/devices/display/vga-fixture.h"

#include "engine/base/bytes.h"

typedef uint32_t (*Expected)(const VgaFixture *f, uint32_t x, uint32_t y);

static void compare(const VgaFixture *f, uint32_t width, uint32_t height, Expected expected)
{
    g_assert_cmpuint(f->mode.width, ==, width);
    g_assert_cmpuint(f->mode.height, ==, height);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            if (pixel(f, x, y) != expected(f, x, y))
                g_error("pixel %u,%u is %06x, expected %06x", x, y, pixel(f, x, y),
                        expected(f, x, y));
}

static unsigned noise(unsigned a, unsigned b)
{
    unsigned h = a * 2654435761u ^ b * 40503u;
    return (h ^ h >> 13) * 2246822519u >> 24;
}

// ---- text ----

static unsigned glyph_bits(unsigned font, unsigned character, unsigned row)
{
    return character == ' ' ? 0 : noise(character + 256 * font, row);
}

// As a BIOS loads a font: planes in sequence, plane 2 alone, at A0000h.
static void load_font(VgaFixture *f, unsigned font, uint32_t offset)
{
    uint8_t misc = (out8(f, 0x3ce, 6), in8(f, 0x3cf));
    uint8_t mode = (out8(f, 0x3ce, 5), in8(f, 0x3cf));
    out_indexed(f, 0x3c4, 2, 4);
    out_indexed(f, 0x3c4, 4, 6);
    out_indexed(f, 0x3ce, 5, 0);
    out_indexed(f, 0x3ce, 6, 4);
    for (unsigned c = 0; c < 256; c++)
        for (unsigned row = 0; row < 32; row++)
            cpu_write(f, 0xa0000 + offset + c * 32 + row, 1, glyph_bits(font, c, row));
    out_indexed(f, 0x3c4, 2, 3);
    out_indexed(f, 0x3c4, 4, 2);
    out_indexed(f, 0x3ce, 5, mode);
    out_indexed(f, 0x3ce, 6, misc);
}

static unsigned cell_character(unsigned column, unsigned row)
{
    return noise(column, row + 100);
}

static unsigned cell_attribute(unsigned column, unsigned row)
{
    return noise(column + 1000, row);
}

static void fill_text(VgaFixture *f, unsigned columns, uint32_t base)
{
    for (unsigned row = 0; row < 25; row++)
        for (unsigned column = 0; column < columns; column++)
            cpu_write(f, base + 2 * (row * columns + column), 2,
                      cell_character(column, row) | cell_attribute(column, row) << 8);
}

static uint32_t text_pixel(unsigned column, unsigned row, unsigned dot, unsigned line,
                           bool cursor, bool blink_off)
{
    unsigned c = cell_character(column, row), attribute = cell_attribute(column, row);
    unsigned bits = glyph_bits(0, c, line);
    if (attribute & 0x80 && blink_off)
        bits = 0;
    if (cursor)
        bits = 0xff;
    bool on = dot < 8 ? bits >> (7 - dot) & 1
                      : bits & 1 && ((c >= 0xc0 && c < 0xe0) || bits == 0xff);
    return dac_pixel(on ? attribute & 15 : attribute >> 4 & 7);
}

static uint32_t expect_text_80(const VgaFixture *f, uint32_t x, uint32_t y)
{
    bool cursor = x / 9 == 7 && y / 16 == 3 && y % 16 >= 13 && y % 16 <= 14;
    return text_pixel(x / 9, y / 16, x % 9, y % 16, cursor, false);
}

static uint32_t expect_text_80_blinked(const VgaFixture *f, uint32_t x, uint32_t y)
{
    return text_pixel(x / 9, y / 16, x % 9, y % 16, false, true);
}

static uint32_t expect_text_40(const VgaFixture *f, uint32_t x, uint32_t y)
{
    return text_pixel(x / 18, y / 16, x / 2 % 9, y % 16, false, false);
}

static void open_text_80(VgaFixture *f)
{
    set_bios_mode(f, MODE_TEXT_80);
    load_font(f, 0, 0);
    fill_text(f, 80, 0xb8000);
    out_indexed(f, 0x3d4, 0x0e, (3 * 80 + 7) >> 8);
    out_indexed(f, 0x3d4, 0x0f, (3 * 80 + 7) & 0xff);
}

static void test_text_80(VgaFixture *f, gconstpointer data)
{
    open_text_80(f);
    refresh(f);
    compare(f, 720, 400, expect_text_80);
}

static void test_text_blink(VgaFixture *f, gconstpointer data)
{
    open_text_80(f);
    refresh(f);
    unsigned modes = f->modes;
    clock_advance(f->clock, 3 * INT64_C(228571428) + 1000000); // cursor and characters both off
    refresh(f);
    compare(f, 720, 400, expect_text_80_blinked);
    g_assert_cmpuint(f->updates->len, >, 0);
    g_assert_cmpuint(f->modes, ==, modes);
}

static void test_text_40(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_TEXT_40);
    load_font(f, 0, 0);
    fill_text(f, 40, 0xb8000);
    out_indexed(f, 0x3d4, 0x0a, 0x20); // no cursor
    refresh(f);
    compare(f, 720, 400, expect_text_40);
}

// Start address, preset row, panning and a split screen at line 199.
static uint32_t expect_panned(const VgaFixture *f, uint32_t x, uint32_t y)
{
    if (y >= 200) { // the panning register counts as 0: one dot of nine
        unsigned at = (y - 200) / 16 * 80 + (x + 1) / 9;
        return text_pixel(at % 80, at / 80, (x + 1) % 9, (y - 200) % 16, false, false);
    }
    unsigned line = y + 5, dot = x + 3;
    unsigned cell = line / 16 * 80 + dot / 9 + 82;
    return text_pixel(cell % 80, cell / 80, dot % 9, line % 16, false, false);
}

static void test_text_panned(VgaFixture *f, gconstpointer data)
{
    open_text_80(f);
    out_indexed(f, 0x3d4, 0x0a, 0x20);
    out_indexed(f, 0x3d4, 0x0d, 82);
    out_indexed(f, 0x3d4, 0x08, 5);
    write_attribute(f, 0x13, 2); // three dots of nine
    write_attribute(f, 0x10, 0x2c);
    out_indexed(f, 0x3d4, 0x11, 0x0e);
    out_indexed(f, 0x3d4, 0x18, 199);
    out_indexed(f, 0x3d4, 0x07, 0x0f);
    out_indexed(f, 0x3d4, 0x09, 0x0f);
    refresh(f);
    compare(f, 720, 400, expect_panned);
}

// Two fonts: attribute bit 3 picks, and stays intensity.
static uint32_t expect_two_fonts(const VgaFixture *f, uint32_t x, uint32_t y)
{
    unsigned column = x / 8, row = y / 16;
    unsigned attribute = cell_attribute(column, row);
    unsigned bits = glyph_bits(attribute & 8 ? 1 : 0, cell_character(column, row), y % 16);
    bool on = bits >> (7 - x % 8) & 1;
    return dac_pixel(on ? attribute & 15 : attribute >> 4);
}

static void test_two_fonts(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_TEXT_80);
    load_font(f, 0, 0x4000); // map 1
    load_font(f, 1, 0xe000); // map 7
    fill_text(f, 80, 0xb8000);
    out_indexed(f, 0x3c4, 1, 1);                  // 8 dots
    out_indexed(f, 0x3c4, 3, 1 | 3 << 2 | 1 << 5); // B = 1, A = 7
    out_indexed(f, 0x3d4, 0x0a, 0x20);
    write_attribute(f, 0x10, 0x04); // no blinking
    write_attribute(f, 0x13, 0);
    refresh(f);
    compare(f, 640, 400, expect_two_fonts);
}

static void test_mono_underline(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_TEXT_MONO);
    for (unsigned i = 0; i < 2000; i++)
        cpu_write(f, 0xb0000 + 2 * i, 2, 0x0700 | ' ');
    cpu_write(f, 0xb0000, 2, 0x0100 | ' ');
    out_indexed(f, 0x3b4, 0x0a, 0x20);
    refresh(f);
    for (unsigned y = 0; y < 16; y++)
        for (unsigned x = 0; x < 18; x++)
            g_assert_cmphex(pixel(f, x, y), ==, dac_pixel(y == 15 && x < 9 ? 1 : 0));
}

static void test_text_grab(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_TEXT_80);
    for (unsigned i = 0; i < 2000; i++)
        cpu_write(f, 0xb8000 + 2 * i, 2, 0x0700 | ' ');
    static const char text[] = "Lodge \xe1\xcd";
    for (unsigned i = 0; text[i]; i++)
        cpu_write(f, 0xb8000 + 2 * (80 + 3 + i), 1, (uint8_t)text[i]);
    cpu_write(f, 0xb8000 + 2 * 1999, 1, 'z');
    g_autofree char *grabbed = vga_text(f->vga);
    g_auto(GStrv) rows = g_strsplit(grabbed, "\n", -1);
    g_assert_cmpuint(g_strv_length(rows), ==, 26);
    g_assert_cmpstr(rows[0], ==, "");
    g_assert_cmpstr(rows[1], ==, "   Lodge \u00df\u2550");
    g_assert_true(g_str_has_suffix(rows[24], "z"));
    set_bios_mode(f, MODE_CHAIN_4);
    g_assert_null(vga_text(f->vga));
}

// ---- graphics ----

static void fill_planes(VgaFixture *f, unsigned bytes)
{
    for (unsigned p = 0; p < 4; p++) {
        out_indexed(f, 0x3c4, 2, (uint8_t)(1 << p));
        for (unsigned at = 0; at < bytes; at++)
            cpu_write(f, 0xa0000 + at, 1, noise(at, p));
    }
    out_indexed(f, 0x3c4, 2, 15);
}

static unsigned planar(unsigned at, unsigned bit)
{
    unsigned color = 0;
    for (unsigned p = 0; p < 4; p++)
        color |= (noise(at, p) >> bit & 1) << p;
    return color;
}

static uint32_t expect_planar_640(const VgaFixture *f, uint32_t x, uint32_t y)
{
    return dac_pixel(planar(y * 80 + x / 8, 7 - x % 8));
}

static void test_planar_640(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_PLANAR_640);
    fill_planes(f, 38400);
    refresh(f);
    compare(f, 640, 480, expect_planar_640);
}

static uint32_t expect_planar_320(const VgaFixture *f, uint32_t x, uint32_t y)
{
    return dac_pixel(planar(y / 2 * 40 + x / 16, 7 - x / 2 % 8));
}

static void test_planar_320(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_PLANAR_320);
    fill_planes(f, 8000);
    refresh(f);
    compare(f, 640, 400, expect_planar_320);
}

// Palette, plane enable and colour select registers on the way to the DAC.
static uint32_t expect_remapped(const VgaFixture *f, uint32_t x, uint32_t y)
{
    unsigned color = planar(y * 80 + x / 8, 7 - x % 8) & 0x0b;
    return dac_pixel((((15 - color) & 0x0f) | 0x20 | 0x40) & 0xdf);
}

static void test_palette_path(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_PLANAR_640);
    fill_planes(f, 38400);
    for (unsigned i = 0; i < 16; i++)
        write_attribute(f, (uint8_t)i, (uint8_t)(15 - i));
    write_attribute(f, 0x10, 0x81); // bits 4-5 from the colour select register
    write_attribute(f, 0x12, 0x0b);
    write_attribute(f, 0x14, 0x06);
    out8(f, 0x3c6, 0xdf);
    refresh(f);
    compare(f, 640, 480, expect_remapped);
}

static void fill_cga(VgaFixture *f)
{
    for (unsigned at = 0; at < 0x4000; at++)
        cpu_write(f, 0xb8000 + at, 1, noise(at, 9));
}

static uint32_t expect_cga_4(const VgaFixture *f, uint32_t x, uint32_t y)
{
    unsigned px = x / 2, line = y / 2;
    unsigned at = (line & 1) * 0x2000 + line / 2 * 80 + px / 4;
    return dac_pixel(noise(at, 9) >> (6 - px % 4 * 2) & 3);
}

static void test_cga_4(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_CGA_4);
    fill_cga(f);
    refresh(f);
    compare(f, 640, 400, expect_cga_4);
}

static uint32_t expect_cga_2(const VgaFixture *f, uint32_t x, uint32_t y)
{
    unsigned line = y / 2;
    unsigned at = (line & 1) * 0x2000 + line / 2 * 80 + x / 8;
    return dac_pixel(noise(at, 9) >> (7 - x % 8) & 1);
}

static void test_cga_2(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_CGA_2);
    fill_cga(f);
    refresh(f);
    compare(f, 640, 400, expect_cga_2);
}

static uint32_t expect_chain_4(const VgaFixture *f, uint32_t x, uint32_t y)
{
    return dac_pixel(noise(y / 2 * 320 + x / 2, 5));
}

static void test_chain_4(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_CHAIN_4);
    for (unsigned at = 0; at < 64000; at += 4)
        cpu_write(f, 0xa0000 + at, 4,
                  noise(at, 5) | noise(at + 1, 5) << 8 | noise(at + 2, 5) << 16 |
                      noise(at + 3, 5) << 24);
    refresh(f);
    compare(f, 640, 400, expect_chain_4);
}

// "Mode X": 320x240 unchained, the second page shown, panned by one pixel.
static uint32_t expect_mode_x(const VgaFixture *f, uint32_t x, uint32_t y)
{
    unsigned px = x / 2 + 1;
    return dac_pixel(noise(0x4b00 + y / 2 * 80 + px / 4, px % 4));
}

static void test_mode_x(VgaFixture *f, gconstpointer data)
{
    static const uint8_t crtc[][2] = { { 0x11, 0x2c }, { 0x06, 0x0d }, { 0x07, 0x3e },
                                       { 0x09, 0x41 }, { 0x10, 0xea }, { 0x11, 0xac },
                                       { 0x12, 0xdf }, { 0x14, 0x00 }, { 0x15, 0xe7 },
                                       { 0x16, 0x06 }, { 0x17, 0xe3 }, { 0x0c, 0x4b },
                                       { 0x0d, 0x00 } };
    set_bios_mode(f, MODE_CHAIN_4);
    out_indexed(f, 0x3c4, 4, 6);
    out8(f, 0x3c2, 0xe3);
    for (unsigned i = 0; i < G_N_ELEMENTS(crtc); i++)
        out_indexed(f, 0x3d4, crtc[i][0], crtc[i][1]);
    write_attribute(f, 0x13, 2);
    fill_planes(f, 0x9700);
    refresh(f);
    compare(f, 640, 480, expect_mode_x);
}

// ---- VBE ----

static uint8_t linear_byte(uint64_t at)
{
    return (uint8_t)noise((unsigned)at, 77);
}

static void fill_linear(VgaFixture *f, unsigned bytes)
{
    for (unsigned at = 0; at < bytes; at += 4)
        cpu_write(f, FIXTURE_BAR0 + at, 4,
                  linear_byte(at) | linear_byte(at + 1) << 8 | linear_byte(at + 2) << 16 |
                      (uint32_t)linear_byte(at + 3) << 24);
}

static unsigned scale5(unsigned c)
{
    return (c & 31) << 3 | (c & 31) >> 2;
}

static uint32_t linear_pixel(unsigned bpp, unsigned row, uint32_t x, uint32_t y)
{
    uint64_t at = (uint64_t)row * y + x * ((bpp + 7) / 8);
    unsigned c = linear_byte(at) | linear_byte(at + 1) << 8;
    switch (bpp) {
    case 8:
        return dac_pixel(linear_byte(at));
    case 15:
        return scale5(c >> 10) << 16 | scale5(c >> 5) << 8 | scale5(c);
    case 16:
        return scale5(c >> 11) << 16 | ((c >> 5 & 63) << 2 | (c >> 9 & 3)) << 8 | scale5(c);
    default:
        return c | linear_byte(at + 2) << 16;
    }
}

static void test_linear(VgaFixture *f, gconstpointer data)
{
    unsigned bpp = GPOINTER_TO_UINT(data);
    set_bios_mode(f, MODE_CHAIN_4);
    set_vbe(f, 333, 200, (uint16_t)bpp, 0x40);
    fill_linear(f, 400 * 300 * 4);
    write_dispi(f, 6, 400); // a longer row
    unsigned row = 400 * ((bpp + 7) / 8);
    refresh(f);
    g_assert_cmpuint(f->mode.width, ==, 333);
    g_assert_cmpuint(f->mode.height, ==, 200);
    for (uint32_t y = 0; y < 200; y++)
        for (uint32_t x = 0; x < 333; x++)
            g_assert_cmphex(pixel(f, x, y), ==, linear_pixel(bpp, row, x, y));
    write_dispi(f, 8, 21);
    write_dispi(f, 9, 40);
    refresh(f);
    for (uint32_t y = 0; y < 200; y++)
        for (uint32_t x = 0; x < 333; x++)
            g_assert_cmphex(pixel(f, x, y), ==, linear_pixel(bpp, row, x + 21, y + 40));
}

static void test_vbe_planar(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_PLANAR_640);
    set_vbe(f, 800, 600, 4, 0);
    fill_planes(f, 60000);
    refresh(f);
    g_assert_cmpuint(f->mode.width, ==, 800);
    for (uint32_t y = 0; y < 600; y++)
        for (uint32_t x = 0; x < 800; x++)
            g_assert_cmphex(pixel(f, x, y), ==, dac_pixel(planar(y * 100 + x / 8, 7 - x % 8)));
}

// A 32-bit mode is video memory itself.
static void test_direct(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_TEXT_80);
    set_vbe(f, 1024, 768, 32, 0x40);
    refresh(f);
    g_assert_true(f->mode.pixels == vga_video_memory(f->vga)->host);
    g_assert_cmpint(f->mode.fd, ==, vga_video_memory(f->vga)->fd);
    g_assert_cmpuint(f->mode.stride, ==, 4096);
    refresh(f);
    g_assert_cmpuint(f->updates->len, ==, 0);

    cpu_write(f, FIXTURE_BAR0 + 4096 * 100, 4, 0xffffff);
    cpu_write(f, FIXTURE_BAR0 + 4096 * 101 + 8, 4, 0xffffff);
    cpu_write(f, FIXTURE_BAR0 + 4096 * 500, 4, 0xffffff);
    cpu_write(f, FIXTURE_BAR0 + 4096 * 1000, 4, 0xffffff); // below the picture
    refresh(f);
    g_assert_cmpuint(f->updates->len, ==, 2);
    UpdateRect first = g_array_index(f->updates, UpdateRect, 0);
    UpdateRect second = g_array_index(f->updates, UpdateRect, 1);
    g_assert_cmpuint(first.y, ==, 100);
    g_assert_cmpuint(first.height, ==, 2);
    g_assert_cmpuint(first.width, ==, 1024);
    g_assert_cmpuint(second.y, ==, 500);
    g_assert_cmpuint(second.height, ==, 1);

    unsigned modes = f->modes;
    write_dispi(f, 9, 1); // panned: a copy from now on, one change of buffer only
    refresh(f);
    write_dispi(f, 9, 0);
    refresh(f);
    write_dispi(f, 9, 7);
    refresh(f);
    g_assert_cmpuint(f->modes, ==, modes + 1);
    g_assert_false(f->mode.pixels == vga_video_memory(f->vga)->host);
    g_assert_cmphex(pixel(f, 0, 93), ==, 0xffffff);
}

// ---- damage ----

static void test_damage_one_cell(VgaFixture *f, gconstpointer data)
{
    open_text_80(f);
    refresh(f);
    refresh(f);
    g_assert_cmpuint(f->updates->len, ==, 0);
    cpu_write(f, 0xb8000 + 2 * (10 * 80 + 20), 2, 0x0700 | ((cell_character(20, 10) + 1) & 0xff));
    refresh(f);
    g_assert_cmpuint(f->updates->len, ==, 1);
    UpdateRect rect = g_array_index(f->updates, UpdateRect, 0);
    g_assert_cmpuint(rect.x, >=, 20 * 9);
    g_assert_cmpuint(rect.x + rect.width, <=, 21 * 9);
    g_assert_cmpuint(rect.y, >=, 160);
    g_assert_cmpuint(rect.y + rect.height, <=, 176);
}

// Writes that change nothing are not reported, even where a page is dirty.
static void test_damage_same(VgaFixture *f, gconstpointer data)
{
    set_vbe(f, 640, 480, 16, 0x40);
    refresh(f);
    cpu_write(f, FIXTURE_BAR0 + 640 * 2 * 9, 2, 0);
    refresh(f);
    g_assert_cmpuint(f->updates->len, ==, 0);
    cpu_write(f, FIXTURE_BAR0 + 640 * 2 * 9 + 30, 2, 0xffff);
    refresh(f);
    g_assert_cmpuint(f->updates->len, ==, 1);
    UpdateRect rect = g_array_index(f->updates, UpdateRect, 0);
    g_assert_cmpuint(rect.x, ==, 15);
    g_assert_cmpuint(rect.y, ==, 9);
    g_assert_cmpuint(rect.width, ==, 1);
    g_assert_cmpuint(rect.height, ==, 1);
}

static void test_blank(VgaFixture *f, gconstpointer data)
{
    refresh(f); // power on: nothing to show yet, but a picture
    g_assert_cmpuint(f->modes, ==, 1);
    g_assert_cmphex(pixel(f, 5, 5), ==, 0);
    set_bios_mode(f, MODE_PLANAR_640);
    fill_planes(f, 38400);
    refresh(f);
    in8(f, 0x3da);
    out8(f, 0x3c0, 0); // the palette is the CPU's: the screen is dark
    refresh(f);
    for (uint32_t y = 0; y < 480; y += 7)
        for (uint32_t x = 0; x < 640; x++)
            g_assert_cmphex(pixel(f, x, y), ==, 0);
    in8(f, 0x3da);
    out8(f, 0x3c0, 0x20);
    refresh(f);
    compare(f, 640, 480, expect_planar_640);
    out_indexed(f, 0x3c4, 1, 0x21); // screen off
    refresh(f);
    g_assert_cmphex(pixel(f, 100, 100), ==, 0);
}

// No register contents may draw outside: run under a sanitizer, this is what finds it.
static void test_garbage_registers(VgaFixture *f, gconstpointer data)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(42);
    set_bios_mode(f, MODE_TEXT_80);
    out_indexed(f, 0x3d4, 0x11, 0);
    for (unsigned i = 0; i < 400; i++) {
        for (unsigned k = 0; k < 12; k++) {
            out_indexed(f, 0x3d4, (uint8_t)g_rand_int_range(rand, 0, 25),
                        (uint8_t)g_rand_int(rand));
            out_indexed(f, 0x3c4, (uint8_t)g_rand_int_range(rand, 1, 5),
                        g_rand_int(rand) & 0xdf);
            out_indexed(f, 0x3ce, (uint8_t)g_rand_int_range(rand, 0, 9),
                        (uint8_t)g_rand_int(rand));
            write_attribute(f, (uint8_t)g_rand_int_range(rand, 0, 0x15),
                            (uint8_t)g_rand_int(rand));
            out_indexed(f, 0x3d4, 0x11, 0);
        }
        refresh(f);
        g_assert_cmpuint(f->mode.width, >=, 8);
        g_assert_cmpuint(f->mode.width, <=, 8192);
        g_free(vga_text(f->vga));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    VGA_TEST("/vga/text/80-columns", 0, test_text_80);
    VGA_TEST("/vga/text/40-columns", 0, test_text_40);
    VGA_TEST("/vga/text/blink", 0, test_text_blink);
    VGA_TEST("/vga/text/panned-and-split", 0, test_text_panned);
    VGA_TEST("/vga/text/two-fonts", 0, test_two_fonts);
    VGA_TEST("/vga/text/mono-underline", 0, test_mono_underline);
    VGA_TEST("/vga/text/as-utf-8", 0, test_text_grab);
    VGA_TEST("/vga/graphics/planar-640", 0, test_planar_640);
    VGA_TEST("/vga/graphics/planar-320", 0, test_planar_320);
    VGA_TEST("/vga/graphics/palette-path", 0, test_palette_path);
    VGA_TEST("/vga/graphics/cga-4-colours", 0, test_cga_4);
    VGA_TEST("/vga/graphics/cga-2-colours", 0, test_cga_2);
    VGA_TEST("/vga/graphics/mode-13h", 0, test_chain_4);
    VGA_TEST("/vga/graphics/mode-x", 0, test_mode_x);
    VGA_TEST("/vga/vbe/4-bit", 0, test_vbe_planar);
    VGA_TEST("/vga/vbe/8-bit", 8, test_linear);
    VGA_TEST("/vga/vbe/15-bit", 15, test_linear);
    VGA_TEST("/vga/vbe/16-bit", 16, test_linear);
    VGA_TEST("/vga/vbe/24-bit", 24, test_linear);
    VGA_TEST("/vga/vbe/32-bit", 32, test_linear);
    VGA_TEST("/vga/vbe/direct", 0, test_direct);
    VGA_TEST("/vga/damage/one-cell", 0, test_damage_one_cell);
    VGA_TEST("/vga/damage/nothing-changed", 0, test_damage_same);
    VGA_TEST("/vga/blank", 0, test_blank);
    VGA_TEST("/vga/garbage-registers", 0, test_garbage_registers);
    return g_test_run();
}
