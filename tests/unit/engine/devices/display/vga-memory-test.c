// SPDX-License-Identifier: GPL-2.0-or-later
// engine/devices/display/vga-memory.c against a model written the other way round: four separate
// planes, one bit at a time, straight from the descriptions of the registers.
#include "tests/unit/engine/devices/display/vga-fixture.h"

typedef struct {
    uint8_t plane[4][65536];
    uint8_t latch[4];
    uint8_t map_mask, memory_mode;
    uint8_t gr[9];
} Model;

// Which offset of which planes an address means; -1 outside the window.
static int model_offset(const Model *m, uint32_t address, bool write, bool planes[4])
{
    uint32_t at = address - 0xa0000;
    switch (m->gr[6] >> 2 & 3) {
    case 1:
        if (at >= 0x10000)
            return -1;
        break;
    case 2:
        if (at < 0x10000 || at >= 0x18000)
            return -1;
        at -= 0x10000;
        break;
    case 3:
        if (at < 0x18000)
            return -1;
        at -= 0x18000;
        break;
    default:
        break;
    }
    bool chain4 = m->memory_mode & 8;
    bool alternate = write ? !(m->memory_mode & 4) : m->gr[5] & 0x10;
    for (unsigned p = 0; p < 4; p++) {
        planes[p] = write ? m->map_mask >> p & 1 : m->gr[4] == p;
        if (chain4)
            planes[p] = (write ? planes[p] : true) && p == at % 4;
        else if (alternate && write)
            planes[p] = planes[p] && p % 2 == at % 2;
        else if (alternate)
            planes[p] = p == (m->gr[4] & 2u) + at % 2;
    }
    if (chain4)
        return (int)(at % 65536 / 4 * 4 + at % 65536 / 16384);
    if (m->gr[6] & 2)
        return (int)(at / 2 * 2 % 65536);
    return (int)(at % 65536);
}

static uint8_t model_read(Model *m, uint32_t address)
{
    bool planes[4];
    int at = model_offset(m, address, false, planes);
    if (at < 0)
        return 0xff;
    for (unsigned p = 0; p < 4; p++)
        m->latch[p] = m->plane[p][at];
    if (m->gr[5] & 8) {
        uint8_t result = 0;
        for (unsigned bit = 0; bit < 8; bit++) {
            bool equal = true;
            for (unsigned p = 0; p < 4; p++)
                if (m->gr[7] >> p & 1 && (m->latch[p] >> bit & 1) != (m->gr[2] >> p & 1))
                    equal = false;
            result |= equal << bit;
        }
        return result;
    }
    for (unsigned p = 0; p < 4; p++)
        if (planes[p])
            return m->latch[p];
    return 0;
}

static bool model_bit(const Model *m, unsigned p, unsigned bit, uint8_t value)
{
    unsigned source = (bit + (m->gr[3] & 7)) % 8;
    bool rotated = value >> source & 1;
    bool latch = m->latch[p] >> bit & 1;
    bool masked = m->gr[8] >> bit & 1;
    bool input;
    switch (m->gr[5] & 3) {
    case 0:
        input = m->gr[1] >> p & 1 ? m->gr[0] >> p & 1 : rotated;
        break;
    case 1:
        return latch;
    case 2:
        input = value >> p & 1;
        break;
    default:
        input = m->gr[0] >> p & 1;
        masked = masked && rotated;
        break;
    }
    if (!masked)
        return latch;
    switch (m->gr[3] >> 3) {
    case 1:
        return input && latch;
    case 2:
        return input || latch;
    case 3:
        return input != latch;
    default:
        return input;
    }
}

static void model_write(Model *m, uint32_t address, uint8_t value)
{
    bool planes[4];
    int at = model_offset(m, address, true, planes);
    if (at < 0)
        return;
    for (unsigned p = 0; p < 4; p++) {
        if (!planes[p])
            continue;
        uint8_t byte = 0;
        for (unsigned bit = 0; bit < 8; bit++)
            byte |= model_bit(m, p, bit, value) << bit;
        m->plane[p][at] = byte;
    }
}

static void set_gfx(VgaFixture *f, Model *m, unsigned index, unsigned value)
{
    static const uint8_t mask[9] = { 15, 15, 15, 31, 3, 0x7b, 15, 15, 255 };
    m->gr[index] = value & mask[index];
    out_indexed(f, 0x3ce, (uint8_t)index, (uint8_t)value);
}

static void compare_memory(const VgaFixture *f, const Model *m)
{
    const uint8_t *vram = vga_video_memory(f->vga)->host;
    for (unsigned at = 0; at < 65536; at++)
        for (unsigned p = 0; p < 4; p++)
            if (vram[4 * at + p] != m->plane[p][at])
                g_error("plane %u offset %04x: %02x, model %02x", p, at, vram[4 * at + p],
                        m->plane[p][at]);
}

static void set_memory_mode(VgaFixture *f, Model *m, uint8_t map_mask, uint8_t memory_mode)
{
    m->map_mask = map_mask;
    m->memory_mode = memory_mode;
    out_indexed(f, 0x3c4, 2, map_mask);
    out_indexed(f, 0x3c4, 4, memory_mode);
}

// The registers of a plain mode, in which the window is mapped after a while.
static void set_plain(VgaFixture *f, Model *m, bool text, bool mono)
{
    static const uint8_t text_gfx[9] = { 0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff };
    static const uint8_t chain4_gfx[9] = { 0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff };
    for (unsigned i = 0; i < 9; i++)
        set_gfx(f, m, i, text ? text_gfx[i] : chain4_gfx[i]);
    if (text && mono)
        set_gfx(f, m, 6, 0x0a);
    set_memory_mode(f, m, text ? 3 : 15, text ? 2 : 0x0e);
}

// Long stretches in plain modes, where the window becomes memory, between planar ones.
static void test_mapped(VgaFixture *f, gconstpointer data)
{
    g_autofree Model *m = g_new0(Model, 1);
    g_autoptr(GRand) rand = g_rand_new_with_seed(GPOINTER_TO_UINT(data));
    unsigned mapped = 0;
    out8(f, 0x3c2, 0x67);
    for (unsigned stretch = 0; stretch < 60; stretch++) {
        bool planar = stretch % 4 == 3, text = g_rand_boolean(rand), mono = g_rand_boolean(rand);
        set_plain(f, m, text && !planar, mono);
        if (planar) {
            set_memory_mode(f, m, 1 + g_rand_int_range(rand, 0, 15), 6);
            set_gfx(f, m, 4, g_rand_int(rand) & 3);
            // A mapped window loads no latches: both begin anew.
            g_assert_cmphex(cpu_read(f, 0xa0000, 1), ==, model_read(m, 0xa0000));
        }
        uint32_t base = planar || !text ? 0xa0000 : mono ? 0xb0000 : 0xb8000;
        uint32_t size = planar || !text ? 0x10000 : 0x8000;
        for (unsigned i = 0; i < 2000; i++) {
            uint32_t at = base + (uint32_t)g_rand_int_range(rand, 0, (gint32)size);
            uint8_t value = (uint8_t)g_rand_int(rand);
            if (g_rand_boolean(rand)) {
                cpu_write(f, at, 1, value);
                model_write(m, at, value);
            } else {
                g_assert_cmphex(cpu_read(f, at, 1), ==, model_read(m, at));
            }
        }
        mapped += guest_memory_page(f->memory, base).host_write != NULL;
        g_assert_true(!planar || !guest_memory_page(f->memory, base).host_write);
        if (stretch % 7 == 0) { // looked at meanwhile
            out8(f, 0x3c0, 0x20);
            in8(f, 0x3da);
            refresh(f);
        }
    }
    g_assert_cmpuint(mapped, ==, 45);
    out_indexed(f, 0x3c4, 4, 6);
    compare_memory(f, m);
}

// A VBE bank becomes video memory itself; what is written shows, and the next bank is another.
static void test_mapped_bank(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_CHAIN_4);
    set_vbe(f, 1024, 768, 8, 0);
    for (unsigned bank = 0; bank < 12; bank++) {
        write_dispi(f, 5, (uint16_t)bank);
        for (unsigned at = 0; at < 65536; at++)
            cpu_write(f, 0xa0000 + at, 1, (bank * 7 + at) & 0xff);
        g_assert_nonnull(guest_memory_page(f->memory, 0xa0000).host_write);
    }
    refresh(f);
    for (unsigned y = 0; y < 768; y++)
        for (unsigned x = 0; x < 1024; x++) {
            unsigned at = y * 1024 + x;
            g_assert_cmphex(pixel(f, x, y), ==, dac_pixel((at / 65536 * 7 + at) & 0xff));
        }
    cpu_write(f, 0xa0000, 1, 0x33);
    refresh(f);
    g_assert_cmpuint(f->updates->len, ==, 1);
    g_assert_cmphex(pixel(f, 0, 11 * 64), ==, dac_pixel(0x33));
    vga_ops.reset(f->vga, RESET_WARM);
    g_assert_null(guest_memory_page(f->memory, 0xa0000).host_write);
}

static void test_model(VgaFixture *f, gconstpointer data)
{
    g_autofree Model *m = g_new0(Model, 1);
    g_autoptr(GRand) rand = g_rand_new_with_seed(GPOINTER_TO_UINT(data));
    out8(f, 0x3c2, 0x67);
    set_gfx(f, m, 8, 0xff);
    for (unsigned i = 0; i < 200000; i++) {
        if (g_rand_int_range(rand, 0, 20) == 0) {
            set_gfx(f, m, g_rand_int_range(rand, 0, 9), g_rand_int(rand) & 0xff);
        } else if (g_rand_int_range(rand, 0, 30) == 0) {
            set_memory_mode(f, m, g_rand_int(rand) & 15, g_rand_int(rand) & 0x0e);
        }
        // Few distinct addresses, so that latches and masks meet old contents.
        uint32_t address = 0xa0000 + (g_rand_int(rand) & 0x1c01f);
        unsigned size = 1u << g_rand_int_range(rand, 0, 3);
        if (0xc0000 - address < size)
            continue;
        uint32_t value = g_rand_int(rand);
        if (g_rand_boolean(rand)) {
            cpu_write(f, address, size, value);
            for (unsigned k = 0; k < size; k++)
                model_write(m, address + k, (uint8_t)(value >> 8 * k));
        } else {
            uint32_t read = cpu_read(f, address, size), expected = 0;
            for (unsigned k = 0; k < size; k++)
                expected |= (uint32_t)model_read(m, address + k) << 8 * k;
            g_assert_cmphex(read, ==, expected);
        }
    }
    compare_memory(f, m);
}

// Memory access disabled in the miscellaneous output register.
static void test_disabled(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_CHAIN_4);
    cpu_write(f, 0xa0000, 1, 0x42);
    out8(f, 0x3c2, 0x61);
    g_assert_cmphex(cpu_read(f, 0xa0000, 1), ==, 0xff);
    cpu_write(f, 0xa0000, 1, 0x43);
    out8(f, 0x3c2, 0x63);
    g_assert_cmphex(cpu_read(f, 0xa0000, 1), ==, 0x42);
}

// VBE's 4-bit modes reach all of video memory by banks, and no further.
static void test_planar_bank(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_PLANAR_640);
    set_vbe(f, 1600, 1200, 4, 0);
    write_dispi(f, 5, 2);
    out_indexed(f, 0x3c4, 2, 0x04);
    cpu_write(f, 0xa0010, 1, 0x3c);
    g_assert_cmphex(vga_video_memory(f->vga)->host[4 * 0x20010 + 2], ==, 0x3c);
    write_dispi(f, 5, 0xffff);
    cpu_write(f, 0xaffff, 1, 0x3d); // wraps within 16 MiB
    g_assert_cmphex(vga_video_memory(f->vga)->host[4 * 0x3fffff + 2], ==, 0x3d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    VGA_TEST("/vga/memory/model/1", 1, test_model);
    VGA_TEST("/vga/memory/model/2", 20240, test_model);
    VGA_TEST("/vga/memory/model/3", 777, test_model);
    VGA_TEST("/vga/memory/mapped/1", 1, test_mapped);
    VGA_TEST("/vga/memory/mapped/2", 99, test_mapped);
    VGA_TEST("/vga/memory/mapped/bank", 0, test_mapped_bank);
    VGA_TEST("/vga/memory/disabled", 0, test_disabled);
    VGA_TEST("/vga/memory/planar-bank", 0, test_planar_bank);
    return g_test_run();
}
