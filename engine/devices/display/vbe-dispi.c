// SPDX-License-Identifier: GPL-2.0-or-later
// The Bochs display interface (DISPI, version B0C5h: docs of Bochs' VBE support and QEMU's
// "Standard VGA" specification): linear modes of any size and depth, set by eleven 16-bit
// registers behind ports 1CEh/1CFh, and the same registers, the VGA's ports and the EDID in a
// page of memory-mapped registers (BAR 2).
//
// Holes of this interface in other machines came from offsets and banks that were checked when
// written but not when another register moved under them (CVE-2016-3710, CVE-2016-3712). Here
// vga_dispi_fit runs after every write to an enabled mode and establishes that the whole picture
// lies within video memory; the bank is checked at each access.
#include "engine/devices/display/vga-private.h"

#include "engine/base/guest-log.h"

#define DISPI_ID_FIRST 0xb0c0
#define DISPI_ID_LAST 0xb0c5

// BAR 2 (QEMU docs/specs/standard-vga).
#define MMIO_VGA 0x400
#define MMIO_VGA_END 0x420
#define MMIO_DISPI 0x500
#define MMIO_DISPI_END (MMIO_DISPI + 2 * DISPI_COUNT)
#define MMIO_EXTENDED 0x600 // u32: size of the extended registers; u32: byte order
#define MMIO_BYTE_ORDER 0x604
#define BYTE_ORDER_LITTLE 0x1e1e1e1eu

static bool depth_exists(unsigned bpp)
{
    return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

void vga_dispi_fit(Vga *v)
{
    uint16_t *r = v->dispi;
    uint32_t width = CLAMP(r[DISPI_XRES], 1, VGA_MAX_SIDE);
    if (r[DISPI_BPP] == 4)
        width = MAX(width & ~7u, 8);
    uint32_t row = vga_dispi_row_bytes(v, width);
    uint32_t height = CLAMP(r[DISPI_YRES], 1, MIN(VGA_MAX_SIDE, v->vram_size / row));

    uint32_t virtual_width = MAX(r[DISPI_VIRT_WIDTH], width);
    if (r[DISPI_BPP] == 4)
        virtual_width &= ~7u;
    if ((uint64_t)vga_dispi_row_bytes(v, virtual_width) * height > v->vram_size)
        virtual_width = width;
    row = vga_dispi_row_bytes(v, virtual_width);
    uint32_t virtual_height = MIN(v->vram_size / row, 0xffff);

    r[DISPI_XRES] = (uint16_t)width;
    r[DISPI_YRES] = (uint16_t)height;
    r[DISPI_VIRT_WIDTH] = (uint16_t)virtual_width;
    r[DISPI_VIRT_HEIGHT] = (uint16_t)virtual_height;
    r[DISPI_X_OFFSET] = (uint16_t)MIN(r[DISPI_X_OFFSET], virtual_width - width);
    r[DISPI_Y_OFFSET] = (uint16_t)MIN(r[DISPI_Y_OFFSET], virtual_height - height);
}

static void write_enable(Vga *v, uint16_t value)
{
    bool was = vga_vbe_active(v);
    v->dispi[DISPI_ENABLE] = value & (DISPI_ENABLED | DISPI_GET_CAPS | DISPI_8BIT_DAC | DISPI_LFB |
                                      DISPI_NO_CLEAR);
    if (!vga_vbe_active(v)) {
        v->dispi[DISPI_BANK] = 0;
        return;
    }
    if (was)
        return;
    vga_window_close(v); // the planes hold what the guest wrote, before they are cleared
    v->dispi[DISPI_VIRT_WIDTH] = 0;
    v->dispi[DISPI_X_OFFSET] = 0;
    v->dispi[DISPI_Y_OFFSET] = 0;
    v->dispi[DISPI_BANK] = 0;
    v->copied_mode = false;
    vga_dispi_fit(v);
    if (!(value & DISPI_NO_CLEAR)) {
        uint32_t row = vga_dispi_row_bytes(v, v->dispi[DISPI_VIRT_WIDTH]);
        memset(v->vram->host, 0, (size_t)row * v->dispi[DISPI_YRES]);
    }
}

static void write_register(Vga *v, unsigned index, uint16_t value)
{
    switch (index) {
    case DISPI_ID:
        if (value >= DISPI_ID_FIRST && value <= DISPI_ID_LAST)
            v->dispi[DISPI_ID] = value;
        return;
    case DISPI_BPP:
        if (value == 0)
            value = 8;
        if (!depth_exists(value)) {
            guest_log_once(VGA_NAME, "dispi depth", "a mode of %u bits a pixel does not exist",
                           value);
            return;
        }
        v->dispi[DISPI_BPP] = value;
        v->copied_mode = false;
        vga_window_changed(v);
        break;
    case DISPI_ENABLE:
        write_enable(v, value);
        vga_window_changed(v);
        v->redraw = true;
        return;
    case DISPI_BANK:
        v->dispi[DISPI_BANK] = value; // changes no picture
        vga_window_changed(v);
        return;
    case DISPI_XRES:
    case DISPI_YRES:
    case DISPI_VIRT_WIDTH:
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET:
        v->dispi[index] = value;
        break;
    case DISPI_VIRT_HEIGHT:
    case DISPI_VIDEO_MEMORY:
        return; // follow from the others
    default:
        guest_log_once(VGA_NAME, "dispi index", "DISPI register %xh does not exist", index);
        return;
    }
    if (vga_vbe_active(v))
        vga_dispi_fit(v);
    v->redraw = true;
}

static uint16_t read_register(const Vga *v, unsigned index)
{
    if (v->dispi[DISPI_ENABLE] & DISPI_GET_CAPS) {
        if (index == DISPI_XRES || index == DISPI_YRES)
            return VGA_MAX_SIDE;
        if (index == DISPI_BPP)
            return 32;
    }
    if (index == DISPI_VIDEO_MEMORY)
        return (uint16_t)(v->vram_size / 0x10000);
    return index < DISPI_COUNT ? v->dispi[index] : 0;
}

// Port 1CEh is the index, 1CFh the data (x86) and 1D0h its aligned twin, all 16 bits wide.
static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    Vga *v = opaque;
    uint16_t value = offset == 0 ? v->dispi_index : read_register(v, v->dispi_index);
    return size == 1 ? value & 0xff : value;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Vga *v = opaque;
    if (offset == 0)
        v->dispi_index = (uint16_t)value;
    else
        write_register(v, v->dispi_index, (uint16_t)value);
}

const BusOps vga_dispi_port_ops = { port_read, port_write, 2 };

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    Vga *v = opaque;
    if (size == 4) {
        if (offset == MMIO_EXTENDED)
            return 8;
        if (offset == MMIO_BYTE_ORDER)
            return BYTE_ORDER_LITTLE;
        return mmio_read(v, offset, 2) | mmio_read(v, offset + 2, 2) << 16;
    }
    if (offset >= MMIO_DISPI && offset < MMIO_DISPI_END && size == 2)
        return read_register(v, (unsigned)(offset - MMIO_DISPI) / 2);
    if (size == 2)
        return mmio_read(v, offset, 1) | mmio_read(v, offset + 1, 1) << 8;
    if (offset < EDID_SIZE)
        return v->edid[offset];
    if (offset >= MMIO_VGA && offset < MMIO_VGA_END)
        return vga_register_read(v, 0x3c0 + (unsigned)(offset - MMIO_VGA));
    if (offset < MMIO_VGA)
        return 0; // past the EDID's two blocks
    return 0xff;
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Vga *v = opaque;
    if (offset == MMIO_BYTE_ORDER && size == 4) {
        if (value != BYTE_ORDER_LITTLE)
            guest_log_once(VGA_NAME, "byte order", "a big-endian framebuffer is not offered");
        return;
    }
    if (size == 4) {
        mmio_write(v, offset, 2, value & 0xffff);
        mmio_write(v, offset + 2, 2, value >> 16);
        return;
    }
    if (offset >= MMIO_DISPI && offset < MMIO_DISPI_END && size == 2) {
        write_register(v, (unsigned)(offset - MMIO_DISPI) / 2, (uint16_t)value);
        return;
    }
    if (size == 2) {
        mmio_write(v, offset, 1, value & 0xff);
        mmio_write(v, offset + 1, 1, value >> 8);
        return;
    }
    if (offset >= MMIO_VGA && offset < MMIO_VGA_END)
        vga_register_write(v, 0x3c0 + (unsigned)(offset - MMIO_VGA), (uint8_t)value);
}

const BusOps vga_mmio_ops = { mmio_read, mmio_write, 4 };

void vga_dispi_reset(Vga *v)
{
    v->dispi_index = 0;
    memset(v->dispi, 0, sizeof v->dispi);
    v->dispi[DISPI_ID] = DISPI_ID_LAST;
    v->dispi[DISPI_XRES] = 640;
    v->dispi[DISPI_YRES] = 480;
    v->dispi[DISPI_BPP] = 8;
    v->copied_mode = false;
}
