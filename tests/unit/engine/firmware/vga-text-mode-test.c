// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/firmware/vga-text-mode.h"

#include "tests/unit/engine/devices/display/vga-fixture.h"

#include <string.h>

#define FONT_AT 4321
#define ROM_SIZE 16384

// A ROM whose font has an 'A' as every PC has it, and a full block for 'B'.
static void make_rom(uint8_t rom[ROM_SIZE])
{
    static const uint8_t letter_a[] = { 0,    0,    0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe,
                                        0xc6, 0xc6, 0xc6, 0xc6, 0,    0,    0,    0 };
    memset(rom, 0, ROM_SIZE);
    memcpy(rom + FONT_AT + 'A' * 16, letter_a, sizeof letter_a);
    memset(rom + FONT_AT + 'B' * 16, 0xff, 16);
}

static void shows_characters(void)
{
    uint8_t rom[ROM_SIZE];
    make_rom(rom);
    VgaFixture f;
    vga_fixture_open(&f, 16 << 20);
    g_assert_true(vga_text_mode_start(f.bus, rom, sizeof rom));
    cpu_write(&f, 0xb8000, 2, 0x0741);
    cpu_write(&f, 0xb8002, 2, 0x1e42);
    refresh(&f);
    g_assert_cmpuint(f.mode.width, ==, 720);
    g_assert_cmpuint(f.mode.height, ==, 400);
    g_autofree char *text = vga_text(f.vga);
    g_assert_true(g_str_has_prefix(text, "AB"));
    g_assert_cmphex(pixel(&f, 3, 2) & 0xffffff, ==, 0xaaaaaa); // the top of the A, grey
    g_assert_cmphex(pixel(&f, 0, 2) & 0xffffff, ==, 0);
    g_assert_cmphex(pixel(&f, 9, 0) & 0xffffff, ==, 0xffff55); // the block, yellow
    vga_fixture_close(&f);
}

static void is_empty_at_first(void)
{
    uint8_t rom[ROM_SIZE];
    make_rom(rom);
    VgaFixture f;
    vga_fixture_open(&f, 16 << 20);
    vga_text_mode_start(f.bus, rom, sizeof rom);
    g_autofree char *text = vga_text(f.vga);
    g_assert_cmpstr(g_strstrip(text), ==, "");
    vga_fixture_close(&f);
}

static void says_where_a_rom_has_no_font(void)
{
    uint8_t rom[ROM_SIZE] = { 0 };
    VgaFixture f;
    vga_fixture_open(&f, 16 << 20);
    g_assert_false(vga_text_mode_start(f.bus, rom, sizeof rom));
    g_assert_false(vga_text_mode_start(f.bus, rom, 10));
    vga_fixture_close(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vga-text-mode/shows-characters", shows_characters);
    g_test_add_func("/vga-text-mode/is-empty-at-first", is_empty_at_first);
    g_test_add_func("/vga-text-mode/says-where-a-rom-has-no-font", says_where_a_rom_has_no_font);
    return g_test_run();
}
