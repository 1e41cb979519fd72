// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/engine/devices/display/vga-fixture.h"

#include "engine/base/bytes.h"

static void record_mode(void *opaque, const DisplayMode *mode)
{
    VgaFixture *f = opaque;
    f->mode = *mode;
    f->modes++;
}

static void record_update(void *opaque, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    VgaFixture *f = opaque;
    UpdateRect rect = { x, y, width, height };
    g_array_append_val(f->updates, rect);
}

void vga_fixture_open(VgaFixture *f, uint32_t vram_size)
{
    *f = (VgaFixture){ .bus = bus_new(), .memory = guest_memory_new(UINT64_C(1) << 36),
                       .clock = clock_new_manual(),
                       .updates = g_array_new(FALSE, FALSE, sizeof(UpdateRect)) };
    DeviceHost host = { .bus = f->bus, .memory = f->memory, .clock = f->clock };
    f->pci = pci_bus_new(&host, (IrqLine){ 0 });
    host.pci = f->pci;
    DisplaySink sink = { .mode_set = record_mode, .update = record_update, .opaque = f };
    VgaConfig config = { .vram_size = vram_size, .devfn = FIXTURE_DEVFN, .sink = &sink };
    g_autoptr(GError) error = NULL;
    f->vga = vga_ops.create(&config, &host, &error);
    g_assert_no_error(error);
    vga_ops.reset(f->vga, RESET_COLD);
    f->source = vga_display_source(f->vga);
    pci_config_write(f->pci, FIXTURE_DEVFN, 0x10, 4, FIXTURE_BAR0);
    pci_config_write(f->pci, FIXTURE_DEVFN, 0x18, 4, FIXTURE_BAR2);
    pci_config_write(f->pci, FIXTURE_DEVFN, 0x04, 2, 3);
}

void vga_fixture_close(VgaFixture *f)
{
    vga_ops.destroy(f->vga);
    pci_bus_free(f->pci);
    clock_free(f->clock);
    guest_memory_free(f->memory);
    bus_free(f->bus);
    g_array_unref(f->updates);
}

void vga_fixture_set_up(VgaFixture *f, gconstpointer data)
{
    vga_fixture_open(f, 0);
}

void vga_fixture_tear_down(VgaFixture *f, gconstpointer data)
{
    vga_fixture_close(f);
}

void out8(VgaFixture *f, uint16_t port, uint8_t value)
{
    bus_port_write(f->bus, port, 1, value);
}

uint8_t in8(VgaFixture *f, uint16_t port)
{
    return (uint8_t)bus_port_read(f->bus, port, 1);
}

void out_indexed(VgaFixture *f, uint16_t port, uint8_t index, uint8_t value)
{
    bus_port_write(f->bus, port, 2, index | (unsigned)value << 8);
}

void write_attribute(VgaFixture *f, uint8_t index, uint8_t value)
{
    in8(f, in8(f, 0x3cc) & 1 ? 0x3da : 0x3ba);
    out8(f, 0x3c0, index); // the screen goes off: palette writes count
    out8(f, 0x3c0, value);
    out8(f, 0x3c0, 0x20);
}

void write_dac(VgaFixture *f, uint8_t index, uint8_t r, uint8_t g, uint8_t b)
{
    out8(f, 0x3c8, index);
    out8(f, 0x3c9, r);
    out8(f, 0x3c9, g);
    out8(f, 0x3c9, b);
}

void write_dispi(VgaFixture *f, uint16_t index, uint16_t value)
{
    bus_port_write(f->bus, 0x1ce, 2, index);
    bus_port_write(f->bus, 0x1cf, 2, value);
}

uint16_t read_dispi(VgaFixture *f, uint16_t index)
{
    bus_port_write(f->bus, 0x1ce, 2, index);
    return (uint16_t)bus_port_read(f->bus, 0x1cf, 2);
}

void set_vbe(VgaFixture *f, uint16_t width, uint16_t height, uint16_t bpp, uint16_t flags)
{
    write_dispi(f, 4, 0);
    write_dispi(f, 1, width);
    write_dispi(f, 2, height);
    write_dispi(f, 3, bpp);
    write_dispi(f, 4, flags | 1);
    in8(f, 0x3da);
    in8(f, 0x3ba);
    out8(f, 0x3c0, 0x20);
}

void cpu_write(VgaFixture *f, uint64_t gpa, unsigned size, uint32_t value)
{
    GuestPage page = guest_memory_page(f->memory, gpa);
    if (!page.host_write) {
        bus_mmio_write(f->bus, gpa, size, value);
        return;
    }
    for (unsigned i = 0; i < size; i++)
        page.host_write[(gpa + i) & (GUEST_PAGE_SIZE - 1)] = (uint8_t)(value >> 8 * i);
    if (page.dirty)
        *page.dirty = 1;
}

uint32_t cpu_read(VgaFixture *f, uint64_t gpa, unsigned size)
{
    GuestPage page = guest_memory_page(f->memory, gpa);
    uint32_t value = 0;
    if (!page.host_read)
        return (uint32_t)bus_mmio_read(f->bus, gpa, size);
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)page.host_read[(gpa + i) & (GUEST_PAGE_SIZE - 1)] << 8 * i;
    return value;
}

typedef struct {
    BiosMode mode;
    uint8_t misc;
    uint8_t sequencer[4]; // 1..4
    uint8_t crtc[25];
    uint8_t attribute_mode, plane_enable, panning;
    uint8_t graphics_mode, graphics_misc, color_care;
} ModeRegisters;

static const ModeRegisters mode_registers[] = {
    { MODE_TEXT_40, 0x67, { 0x08, 0x03, 0x00, 0x02 },
      { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0,
        0x9c, 0x8e, 0x8f, 0x14, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
      0x0c, 0x0f, 0x08, 0x10, 0x0e, 0x00 },
    { MODE_TEXT_80, 0x67, { 0x00, 0x03, 0x00, 0x02 },
      { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0,
        0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
      0x0c, 0x0f, 0x08, 0x10, 0x0e, 0x00 },
    { MODE_TEXT_MONO, 0x66, { 0x00, 0x03, 0x00, 0x02 },
      { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0,
        0x9c, 0x8e, 0x8f, 0x28, 0x0f, 0x96, 0xb9, 0xa3, 0xff },
      0x0e, 0x0f, 0x08, 0x10, 0x0a, 0x00 },
    { MODE_CGA_4, 0x63, { 0x09, 0x03, 0x00, 0x02 },
      { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0, 0, 0, 0, 0, 0,
        0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff },
      0x01, 0x03, 0x00, 0x30, 0x0f, 0x00 },
    { MODE_CGA_2, 0x63, { 0x01, 0x01, 0x00, 0x06 },
      { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0, 0, 0, 0, 0, 0,
        0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96, 0xb9, 0xc2, 0xff },
      0x01, 0x01, 0x00, 0x00, 0x0d, 0x00 },
    { MODE_PLANAR_320, 0x63, { 0x09, 0x0f, 0x00, 0x06 },
      { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc0, 0, 0, 0, 0, 0, 0,
        0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xe3, 0xff },
      0x01, 0x0f, 0x00, 0x00, 0x05, 0x0f },
    { MODE_PLANAR_640, 0xe3, { 0x01, 0x0f, 0x00, 0x06 },
      { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0, 0, 0, 0, 0, 0,
        0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff },
      0x01, 0x0f, 0x00, 0x00, 0x05, 0x0f },
    { MODE_CHAIN_4, 0x63, { 0x01, 0x0f, 0x00, 0x0e },
      { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0, 0, 0, 0, 0, 0,
        0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff },
      0x41, 0x0f, 0x00, 0x40, 0x05, 0x0f },
};

void set_bios_mode(VgaFixture *f, BiosMode mode)
{
    const ModeRegisters *m = mode_registers;
    while (m->mode != mode)
        m++;
    uint16_t crtc = m->misc & 1 ? 0x3d4 : 0x3b4;
    out8(f, 0x3c2, m->misc);
    for (unsigned i = 0; i < 4; i++)
        out_indexed(f, 0x3c4, (uint8_t)(i + 1), m->sequencer[i]);
    out_indexed(f, crtc, 0x11, 0);
    for (unsigned i = 0; i < 25; i++)
        out_indexed(f, crtc, (uint8_t)i, m->crtc[i]);
    for (unsigned i = 0; i < 9; i++)
        out_indexed(f, 0x3ce, (uint8_t)i, 0);
    out_indexed(f, 0x3ce, 5, m->graphics_mode);
    out_indexed(f, 0x3ce, 6, m->graphics_misc);
    out_indexed(f, 0x3ce, 7, m->color_care);
    out_indexed(f, 0x3ce, 8, 0xff);
    for (unsigned i = 0; i < 256; i++)
        write_dac(f, (uint8_t)i, i & 63, i * 3 & 63, i * 7 & 63);
    for (unsigned i = 0; i < 16; i++)
        write_attribute(f, (uint8_t)i, (uint8_t)i);
    write_attribute(f, 0x10, m->attribute_mode);
    write_attribute(f, 0x12, m->plane_enable);
    write_attribute(f, 0x13, m->panning);
    write_attribute(f, 0x14, 0);
}

uint32_t dac_pixel(unsigned index)
{
    uint32_t color = 0;
    unsigned six[3] = { index & 63, index * 3 & 63, index * 7 & 63 };
    for (unsigned i = 0; i < 3; i++)
        color = color << 8 | six[i] << 2 | six[i] >> 4; // high bits repeated below
    return color;
}

void refresh(VgaFixture *f)
{
    g_array_set_size(f->updates, 0);
    f->source.refresh(f->source.device);
}

uint32_t pixel(const VgaFixture *f, uint32_t x, uint32_t y)
{
    g_assert_cmpuint(x, <, f->mode.width);
    g_assert_cmpuint(y, <, f->mode.height);
    return le32_read(f->mode.pixels + (size_t)y * f->mode.stride + 4 * x) & 0xffffff;
}
