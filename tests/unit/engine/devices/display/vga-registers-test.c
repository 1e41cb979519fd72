// SPDX-License-Identifier: GPL-2.0-or-later
// engine/devices/display/vga-registers.c, vbe-dispi.c, edid.c: what ports and MMIO answer.
#include "tests/unit/engine/devices/display/vga-fixture.h"

#include "engine/base/bytes.h"
#include "engine/devices/display/edid.h"

static void test_indexed(VgaFixture *f, gconstpointer data)
{
    out_indexed(f, 0x3c4, 2, 0xff);
    g_assert_cmphex(in8(f, 0x3c5), ==, 0x0f); // bits that do not exist read 0
    out_indexed(f, 0x3ce, 3, 0xff);
    g_assert_cmphex(in8(f, 0x3cf), ==, 0x1f);
    g_assert_cmphex(in8(f, 0x3ce), ==, 3);
    out_indexed(f, 0x3ce, 12, 0xff); // does not exist
    g_assert_cmphex(in8(f, 0x3cf), ==, 0);
}

static void test_color_select(VgaFixture *f, gconstpointer data)
{
    out8(f, 0x3c2, 0x66); // monochrome: 3Bxh
    out_indexed(f, 0x3b4, 0x0f, 0x5a);
    g_assert_cmphex(in8(f, 0x3b5), ==, 0x5a);
    g_assert_cmphex(in8(f, 0x3d5), ==, 0xff);
    out_indexed(f, 0x3d4, 0x0f, 0x11);
    out8(f, 0x3c2, 0x67); // colour: 3Dxh
    g_assert_cmphex(in8(f, 0x3d5), ==, 0x5a);
    g_assert_cmphex(in8(f, 0x3b5), ==, 0xff);
    g_assert_cmphex(in8(f, 0x3cc), ==, 0x67);
}

static void test_crtc_lock(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_TEXT_80); // leaves 11h bit 7 set
    out_indexed(f, 0x3d4, 0x00, 0x12);
    g_assert_cmphex(in8(f, 0x3d5), ==, 0x5f);
    out_indexed(f, 0x3d4, 0x07, 0x00); // only the line compare bit changes
    g_assert_cmphex(in8(f, 0x3d5), ==, 0x0f);
    out_indexed(f, 0x3d4, 0x08, 0x03); // past the locked ones
    g_assert_cmphex(in8(f, 0x3d5), ==, 0x03);
    out_indexed(f, 0x3d4, 0x11, 0x0e);
    out_indexed(f, 0x3d4, 0x00, 0x12);
    g_assert_cmphex(in8(f, 0x3d5), ==, 0x12);
}

static void test_attribute(VgaFixture *f, gconstpointer data)
{
    out8(f, 0x3c2, 0x67);
    in8(f, 0x3da);
    out8(f, 0x3c0, 0x05);
    out8(f, 0x3c0, 0x2a);
    in8(f, 0x3da);
    out8(f, 0x3c0, 0x25);
    g_assert_cmphex(in8(f, 0x3c1), ==, 0x2a);
    out8(f, 0x3c0, 0x11); // the palette is not the CPU's now
    g_assert_cmphex(in8(f, 0x3c1), ==, 0x2a);
    out8(f, 0x3c0, 0x33); // index again: mode registers can be written at any time
    out8(f, 0x3c0, 0x07);
    g_assert_cmphex(in8(f, 0x3c1), ==, 0x07);
    g_assert_cmphex(in8(f, 0x3c0), ==, 0x33);
}

static void test_dac(VgaFixture *f, gconstpointer data)
{
    out8(f, 0x3c8, 254);
    for (unsigned i = 0; i < 9; i++) // three entries, over the end
        out8(f, 0x3c9, (uint8_t)(0x41 + i));
    g_assert_cmphex(in8(f, 0x3c8), ==, 1);
    g_assert_cmphex(in8(f, 0x3c7), ==, 0);
    out8(f, 0x3c7, 255);
    g_assert_cmphex(in8(f, 0x3c7), ==, 3);
    g_assert_cmphex(in8(f, 0x3c9), ==, 0x04);
    g_assert_cmphex(in8(f, 0x3c9), ==, 0x05);
    g_assert_cmphex(in8(f, 0x3c9), ==, 0x06);
    g_assert_cmphex(in8(f, 0x3c9), ==, 0x07); // entry 0
    write_dispi(f, 4, 0x21);                  // 8-bit DAC
    out8(f, 0x3c7, 255);
    g_assert_cmphex(in8(f, 0x3c9), ==, 0x44);
}

static void test_status(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_TEXT_80);
    // 449 lines of 900 dots at 28.322 MHz: 14.268 ms a frame, retrace from line 412 for 2 lines.
    int64_t line = INT64_C(900) * NS_PER_SECOND / 28322000, frame = line * 449;
    unsigned edges = 0, retrace_us = 0, blank_us = 0;
    bool before = true;
    clock_advance(f->clock, frame - clock_now(f->clock) % frame);
    in8(f, 0x3da);
    for (int64_t t = 0; t < 10 * frame; t += 1000, clock_advance(f->clock, 1000)) {
        uint8_t status = in8(f, 0x3da);
        bool retrace = status & 8;
        g_assert_true(!retrace || status & 1);
        edges += retrace && !before;
        retrace_us += retrace;
        blank_us += status & 1;
        before = retrace;
    }
    g_assert_cmpuint(edges, ==, 10);
    g_assert_cmpuint(retrace_us, >, 10 * 2 * line / 1000 - 20);
    g_assert_cmpuint(retrace_us, <, 10 * 2 * line / 1000 + 20);
    // 1 - (400/449) * (80/100) of the time.
    g_assert_cmpuint(blank_us, >, 10 * frame / 1000 * 28 / 100);
    g_assert_cmpuint(blank_us, <, 10 * frame / 1000 * 30 / 100);
}

// A guest so slow that it never reads within a retrace still sees one.
static void test_status_slow_reader(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_TEXT_80);
    unsigned edges = 0;
    for (unsigned i = 0; i < 100; i++) {
        clock_advance(f->clock, 7 * 1000 * 1000); // twice a frame
        edges += in8(f, 0x3da) >> 3 & 1;
    }
    g_assert_cmpuint(edges, >=, 45);
    g_assert_cmpuint(edges, <=, 55);
}

static void test_dispi_identity(VgaFixture *f, gconstpointer data)
{
    g_assert_cmphex(read_dispi(f, 0), ==, 0xb0c5);
    write_dispi(f, 0, 0xb0c2);
    g_assert_cmphex(read_dispi(f, 0), ==, 0xb0c2);
    write_dispi(f, 0, 0xb0c6); // not a version we know
    g_assert_cmphex(read_dispi(f, 0), ==, 0xb0c2);
    g_assert_cmphex(read_dispi(f, 10), ==, 16 * 16); // 64 KiB units
    g_assert_cmphex(read_dispi(f, 11), ==, 0);
    g_assert_cmphex(read_dispi(f, 0xffff), ==, 0);
    bus_port_write(f->bus, 0x1ce, 2, 0);
    g_assert_cmphex(bus_port_read(f->bus, 0x1d0, 2), ==, 0xb0c2);
    write_dispi(f, 4, 2); // capabilities
    g_assert_cmpuint(read_dispi(f, 1), ==, 8192);
    g_assert_cmpuint(read_dispi(f, 3), ==, 32);
}

static void test_dispi_geometry(VgaFixture *f, gconstpointer data)
{
    set_vbe(f, 1366, 768, 32, 0x40);
    g_assert_cmpuint(read_dispi(f, 1), ==, 1366);
    g_assert_cmpuint(read_dispi(f, 6), ==, 1366);
    write_dispi(f, 6, 1376); // a longer row
    g_assert_cmpuint(read_dispi(f, 6), ==, 1376);
    g_assert_cmpuint(read_dispi(f, 7), ==, (16 << 20) / (1376 * 4));
    write_dispi(f, 9, 500);
    g_assert_cmpuint(read_dispi(f, 9), ==, 500);
    set_vbe(f, 640, 480, 7, 0); // no such depth: the old one stays
    g_assert_cmpuint(read_dispi(f, 3), ==, 32);
}

// CVE-2016-3710 and CVE-2016-3712: no order of writes leaves a picture outside video memory.
static void test_dispi_bounds(VgaFixture *f, gconstpointer data)
{
    static const uint16_t values[] = { 0, 1, 7, 8, 640, 1000, 4095, 8192, 16000, 0x7fff, 0xffff };
    static const uint16_t depths[] = { 4, 8, 15, 16, 24, 32 };
    g_autoptr(GRand) rand = g_rand_new_with_seed(3712);
    write_dispi(f, 4, 1);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned index = g_rand_int_range(rand, 1, 11);
        uint16_t value = values[g_rand_int_range(rand, 0, G_N_ELEMENTS(values))];
        if (index == 3)
            value = depths[g_rand_int_range(rand, 0, G_N_ELEMENTS(depths))];
        if (index == 4)
            value = g_rand_int_range(rand, 0, 8) ? 0x81 : 0x80;
        write_dispi(f, (uint16_t)index, value);
        if (!(read_dispi(f, 4) & 1))
            continue;
        unsigned bpp = read_dispi(f, 3), xres = read_dispi(f, 1), yres = read_dispi(f, 2);
        uint64_t row = (uint64_t)read_dispi(f, 6) * (bpp == 4 ? 4 : (bpp + 7) / 8 * 8) / 8;
        g_assert_cmpuint(xres, >=, 1);
        g_assert_cmpuint(yres, >=, 1);
        g_assert_cmpuint(xres, <=, 8192);
        g_assert_cmpuint(yres, <=, 8192);
        g_assert_cmpuint(read_dispi(f, 8) + xres, <=, read_dispi(f, 6));
        g_assert_cmpuint(row * (read_dispi(f, 9) + yres), <=, 16 << 20);
    }
    // All of it can be shown, and the bank cannot reach out.
    in8(f, 0x3ba);
    out8(f, 0x3c0, 0x20);
    refresh(f);
    for (unsigned bank = 0; bank < 0x10000; bank += 0x3f) {
        write_dispi(f, 5, (uint16_t)bank);
        cpu_write(f, 0xaffff, 1, 0x55);
        cpu_read(f, 0xa0000, 1);
    }
}

static void test_bank(VgaFixture *f, gconstpointer data)
{
    set_vbe(f, 1024, 768, 8, 0);
    write_dispi(f, 5, 3);
    cpu_write(f, 0xa1234, 1, 0x77);
    g_assert_cmphex(cpu_read(f, FIXTURE_BAR0 + 0x31234, 1), ==, 0x77);
    cpu_write(f, FIXTURE_BAR0 + 0x3fffc, 4, 0x12345678);
    g_assert_cmphex(cpu_read(f, 0xafffc, 4), ==, 0x12345678);
    g_assert_cmphex(cpu_read(f, 0xb0000, 1), ==, 0xff); // 64 KiB only
    write_dispi(f, 5, 256);                             // past 16 MiB
    cpu_write(f, 0xa0000, 1, 0x11);
    g_assert_cmphex(cpu_read(f, 0xa0000, 1), ==, 0xff);
}

static void test_clear_on_enable(VgaFixture *f, gconstpointer data)
{
    cpu_write(f, FIXTURE_BAR0 + 100, 4, 0x01020304);
    set_vbe(f, 640, 480, 32, 0x80); // keep
    g_assert_cmphex(cpu_read(f, FIXTURE_BAR0 + 100, 4), ==, 0x01020304);
    set_vbe(f, 640, 480, 32, 0);
    g_assert_cmphex(cpu_read(f, FIXTURE_BAR0 + 100, 4), ==, 0);
}

static void test_mmio(VgaFixture *f, gconstpointer data)
{
    // EDID: magic, both checksums, preferred size.
    uint8_t edid[256];
    for (unsigned i = 0; i < 256; i += 4)
        le32_write(edid + i, cpu_read(f, FIXTURE_BAR2 + i, 4));
    g_assert_cmphex(le32_read(edid), ==, 0xffffff00);
    for (unsigned block = 0; block < 2; block++) {
        uint8_t sum = 0;
        for (unsigned i = 0; i < 128; i++)
            sum = (uint8_t)(sum + edid[128 * block + i]);
        g_assert_cmphex(sum, ==, 0);
    }
    g_assert_cmpuint(edid[56] | (edid[58] >> 4) << 8, ==, 1280);
    g_assert_cmpuint(edid[59] | (edid[61] >> 4) << 8, ==, 800);
    g_assert_cmphex(cpu_read(f, FIXTURE_BAR2 + 0x300, 1), ==, 0);

    // The ports, index and data in one word.
    cpu_write(f, FIXTURE_BAR2 + 0x404, 2, 0x0502);
    g_assert_cmphex(cpu_read(f, FIXTURE_BAR2 + 0x405, 1), ==, 5);
    out8(f, 0x3c4, 2);
    g_assert_cmphex(in8(f, 0x3c5), ==, 5);

    // DISPI, flat.
    cpu_write(f, FIXTURE_BAR2 + 0x502, 2, 800);
    cpu_write(f, FIXTURE_BAR2 + 0x504, 2, 600);
    cpu_write(f, FIXTURE_BAR2 + 0x506, 2, 16);
    cpu_write(f, FIXTURE_BAR2 + 0x508, 2, 0x41);
    g_assert_cmpuint(read_dispi(f, 1), ==, 800);
    g_assert_cmpuint(read_dispi(f, 2), ==, 600);
    g_assert_cmphex(cpu_read(f, FIXTURE_BAR2 + 0x500, 2), ==, 0xb0c5);

    // Byte order: little and not to be changed.
    g_assert_cmphex(cpu_read(f, FIXTURE_BAR2 + 0x600, 4), ==, 8);
    cpu_write(f, FIXTURE_BAR2 + 0x604, 4, 0xbebebebe);
    g_assert_cmphex(cpu_read(f, FIXTURE_BAR2 + 0x604, 4), ==, 0x1e1e1e1e);
}

static void test_size_hint(VgaFixture *f, gconstpointer data)
{
    f->source.size_hint(f->source.device, 1920, 1080);
    g_assert_cmpuint(cpu_read(f, FIXTURE_BAR2 + 56, 1), ==, 1920 & 0xff);
    f->source.size_hint(f->source.device, 100000, 1); // clamped to what a timing can say
    g_assert_cmpuint(cpu_read(f, FIXTURE_BAR2 + 58, 1) >> 4, ==, 15);
}

static void test_pci_identity(VgaFixture *f, gconstpointer data)
{
    g_assert_cmphex(pci_config_read(f->pci, FIXTURE_DEVFN, 0, 4), ==, 0x11111234);
    g_assert_cmphex(pci_config_read(f->pci, FIXTURE_DEVFN, 8, 4), ==, 0x03000002);
    pci_config_write(f->pci, FIXTURE_DEVFN, 0x10, 4, 0xffffffff);
    g_assert_cmphex(pci_config_read(f->pci, FIXTURE_DEVFN, 0x10, 4), ==, 0xff000008);
}

static void test_rom(void)
{
    uint8_t rom[5000] = { 0x55, 0xaa, 10 };
    rom[4999] = 0x99;
    g_autoptr(GError) error = NULL;
    Bus *bus = bus_new();
    Clock *clock = clock_new_manual();
    GuestMemory *memory = guest_memory_new(UINT64_C(1) << 36);
    DeviceHost host = { .bus = bus, .memory = memory, .clock = clock };
    host.pci = pci_bus_new(&host, (IrqLine){ 0 });
    VgaConfig config = { .devfn = FIXTURE_DEVFN, .rom = rom, .rom_size = sizeof rom };
    void *vga = vga_ops.create(&config, &host, &error);
    g_assert_no_error(error);
    vga_ops.reset(vga, RESET_COLD);
    pci_config_write(host.pci, FIXTURE_DEVFN, 0x30, 4, 0xffffffff);
    g_assert_cmphex(pci_config_read(host.pci, FIXTURE_DEVFN, 0x30, 4), ==, 0xffffe001);
    pci_config_write(host.pci, FIXTURE_DEVFN, 0x30, 4, 0xf1000001);
    pci_config_write(host.pci, FIXTURE_DEVFN, 0x04, 2, 2);
    uint8_t bytes[3];
    g_assert_true(guest_memory_read(memory, 0xf1000000 + 4998, bytes, 3));
    g_assert_cmphex(bytes[1], ==, 0x99);
    g_assert_cmphex(bytes[2], ==, 0xff);
    vga_ops.destroy(vga);

    config.rom_size = 2 << 20;
    g_assert_null(vga_ops.create(&config, &host, &error));
    g_assert_nonnull(strstr(error->message, "video BIOS"));
    g_clear_error(&error);
    config = (VgaConfig){ .devfn = FIXTURE_DEVFN, .vram_size = 3 << 20 };
    g_assert_null(vga_ops.create(&config, &host, &error));
    g_assert_nonnull(strstr(error->message, "video memory"));
    pci_bus_free(host.pci);
    clock_free(clock);
    guest_memory_free(memory);
    bus_free(bus);
}

static void test_state(VgaFixture *f, gconstpointer data)
{
    set_bios_mode(f, MODE_PLANAR_640);
    set_vbe(f, 1024, 768, 16, 0x40);
    g_autoptr(GBytes) first = state_save(vga_ops.state, f->vga);
    vga_ops.reset(f->vga, RESET_WARM);
    g_autoptr(GError) error = NULL;
    g_assert_true(state_load(vga_ops.state, f->vga, first, &error));
    g_assert_no_error(error);
    g_autoptr(GBytes) second = state_save(vga_ops.state, f->vga);
    g_assert_true(g_bytes_equal(first, second));
    g_assert_cmpuint(read_dispi(f, 1), ==, 1024);

    // A depth that does not exist is refused.
    gsize size;
    g_autofree uint8_t *bytes = g_memdup2(g_bytes_get_data(first, NULL), g_bytes_get_size(first));
    size = g_bytes_get_size(first);
    for (gsize i = 0; i + 16 < size; i++)
        if (le16_read(bytes + i) == 1024 && le16_read(bytes + i + 2) == 768)
            le16_write(bytes + i + 4, 13);
    g_autoptr(GBytes) bad = g_bytes_new(bytes, size);
    g_assert_false(state_load(vga_ops.state, f->vga, bad, &error));
    g_assert_nonnull(strstr(error->message, "depth"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    VGA_TEST("/vga/registers/indexed", 0, test_indexed);
    VGA_TEST("/vga/registers/color-select", 0, test_color_select);
    VGA_TEST("/vga/registers/crtc-lock", 0, test_crtc_lock);
    VGA_TEST("/vga/registers/attribute-flip-flop", 0, test_attribute);
    VGA_TEST("/vga/registers/dac", 0, test_dac);
    VGA_TEST("/vga/registers/status-timing", 0, test_status);
    VGA_TEST("/vga/registers/status-slow-reader", 0, test_status_slow_reader);
    VGA_TEST("/vga/dispi/identity", 0, test_dispi_identity);
    VGA_TEST("/vga/dispi/geometry", 0, test_dispi_geometry);
    VGA_TEST("/vga/dispi/bounds", 0, test_dispi_bounds);
    VGA_TEST("/vga/dispi/bank", 0, test_bank);
    VGA_TEST("/vga/dispi/clear-on-enable", 0, test_clear_on_enable);
    VGA_TEST("/vga/mmio", 0, test_mmio);
    VGA_TEST("/vga/size-hint", 0, test_size_hint);
    VGA_TEST("/vga/pci/identity", 0, test_pci_identity);
    VGA_TEST("/vga/state", 0, test_state);
    g_test_add_func("/vga/pci/rom", test_rom);
    return g_test_run();
}
