// SPDX-License-Identifier: GPL-2.0-or-later
// The window at A0000h-BFFFFh: which byte of which plane a CPU access reaches, and what the
// graphics controller makes of it on the way (IBM "Video Graphics Array" technical reference,
// graphics controller and sequencer chapters).
//
// Address bits: in chain-4 the two low bits of the CPU address pick the plane, in odd/even the
// lowest does; the offset within the plane keeps its place value. In chain-4 the low offset bits
// come from address bits 14 and 15, which is what the CRT controller's doubleword mode undoes.
//
// Every offset is cut to the plane, and a VBE bank to video memory, at the one place where it is
// made: neither the bank nor a change of registers in the middle of a mode reaches past the end.
#include "engine/devices/display/vga-private.h"

// Bit p of a nibble widened to byte p.
static inline uint32_t widen(unsigned nibble)
{
    return ((nibble & 1) ? 0x000000ffu : 0) | ((nibble & 2) ? 0x0000ff00u : 0) |
           ((nibble & 4) ? 0x00ff0000u : 0) | ((nibble & 8) ? 0xff000000u : 0);
}

static inline uint32_t replicate(unsigned byte)
{
    return (byte & 0xff) * 0x01010101u;
}

// Where the CPU sees the window; false where it sees nothing there.
static bool window_offset(const Vga *v, uint32_t offset, uint32_t *ret)
{
    static const struct {
        uint32_t start;
        uint32_t size;
    } maps[4] = { { 0, 0x20000 }, { 0, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 } };
    unsigned map = v->graphics[GFX_MISC] >> 2 & 3;

    if (!(v->misc_output & 2))
        return false;
    if (offset < maps[map].start || offset - maps[map].start >= maps[map].size)
        return false;
    *ret = offset - maps[map].start;
    return true;
}

// VBE at 8 bits and more: a byte of video memory through the 64 KiB bank at A0000h.
static bool banked_byte(const Vga *v, uint32_t offset, uint32_t *ret)
{
    uint64_t at = (uint64_t)v->dispi[DISPI_BANK] * 0x10000 + offset;
    if (offset >= 0x10000 || at >= v->vram_size)
        return false;
    *ret = (uint32_t)at;
    return true;
}

static bool is_banked(const Vga *v)
{
    return vga_vbe_active(v) && v->dispi[DISPI_BPP] != 4;
}

// The address of the four planes' bytes at a plane offset. VBE's 4-bit modes are planar over all
// of video memory, 64 KiB of each plane to a bank; VGA modes stay within the first 64 KiB.
static inline uint8_t *planes_at(const Vga *v, uint32_t offset)
{
    if (vga_vbe_active(v)) {
        uint64_t wide = (uint64_t)v->dispi[DISPI_BANK] * VGA_PLANE_SIZE + (offset & 0xffff);
        return v->vram->host + (wide & (v->vram_size / 4 - 1)) * 4;
    }
    return v->vram->host + (offset & (VGA_PLANE_SIZE - 1)) * 4;
}

static inline uint32_t chain4_offset(uint32_t offset)
{
    return (offset & 0xfffc) | (offset >> 14 & 3);
}

static uint8_t read_color_compare(const Vga *v)
{
    uint32_t care = widen(v->graphics[GFX_COLOR_CARE]);
    uint32_t differ = (v->latch ^ widen(v->graphics[GFX_COLOR_COMPARE])) & care;
    return (uint8_t)~(differ | differ >> 8 | differ >> 16 | differ >> 24);
}

static uint8_t read_byte(Vga *v, uint32_t address)
{
    uint32_t offset;
    if (is_banked(v))
        return banked_byte(v, address, &offset) ? v->vram->host[offset] : 0xff;
    if (!window_offset(v, address, &offset))
        return 0xff;

    unsigned plane = v->graphics[GFX_READ_PLANE];
    uint32_t at = offset;
    if (v->sequencer[SEQ_MEMORY_MODE] & 8) {
        plane = offset & 3;
        at = chain4_offset(offset);
    } else {
        if (v->graphics[GFX_MODE] & 0x10)
            plane = (plane & 2) | (offset & 1);
        if (v->graphics[GFX_MISC] & 2)
            at = offset & ~1u;
    }
    v->latch = le32_read(planes_at(v, at));
    if (v->graphics[GFX_MODE] & 8)
        return read_color_compare(v);
    return (uint8_t)(v->latch >> 8 * plane);
}

// The logical unit: data against the latches, then the bit mask chooses between both.
static uint32_t combine(const Vga *v, uint32_t data, unsigned bit_mask)
{
    switch (v->graphics[GFX_ROTATE] >> 3 & 3) {
    case 1:
        data &= v->latch;
        break;
    case 2:
        data |= v->latch;
        break;
    case 3:
        data ^= v->latch;
        break;
    default:
        break;
    }
    uint32_t mask = replicate(bit_mask);
    return (data & mask) | (v->latch & ~mask);
}

static uint8_t rotated(const Vga *v, uint8_t value)
{
    unsigned count = v->graphics[GFX_ROTATE] & 7;
    return (uint8_t)(value >> count | value << (8 - count));
}

// What the four planes get for one byte from the CPU (the write modes).
static uint32_t plane_data(const Vga *v, uint8_t value)
{
    const uint8_t *gr = v->graphics;
    uint32_t set_reset = widen(gr[GFX_SET_RESET]);

    switch (gr[GFX_MODE] & 3) {
    case 0: {
        uint32_t enable = widen(gr[GFX_ENABLE_SET_RESET]);
        uint32_t data = (replicate(rotated(v, value)) & ~enable) | (set_reset & enable);
        return combine(v, data, gr[GFX_BIT_MASK]);
    }
    case 1:
        return v->latch;
    case 2:
        return combine(v, widen(value), gr[GFX_BIT_MASK]);
    default:
        return combine(v, set_reset, rotated(v, value) & gr[GFX_BIT_MASK]);
    }
}

static void write_byte(Vga *v, uint32_t address, uint8_t value)
{
    uint32_t offset;
    if (is_banked(v)) {
        if (banked_byte(v, address, &offset)) {
            v->vram->host[offset] = value;
            v->dirty_pages[offset >> GUEST_PAGE_BITS] = 1;
        }
        return;
    }
    if (!window_offset(v, address, &offset))
        return;

    unsigned planes = v->sequencer[SEQ_MAP_MASK];
    uint32_t at = offset;
    if (v->sequencer[SEQ_MEMORY_MODE] & 8) {
        planes &= 1u << (offset & 3);
        at = chain4_offset(offset);
    } else {
        if (!(v->sequencer[SEQ_MEMORY_MODE] & 4))
            planes &= offset & 1 ? 0x0a : 0x05;
        if (v->graphics[GFX_MISC] & 2)
            at = offset & ~1u;
    }
    if (!planes)
        return;
    uint8_t *cell = planes_at(v, at);
    uint32_t mask = widen(planes);
    le32_write(cell, (le32_read(cell) & ~mask) | (plane_data(v, value) & mask));
    v->dirty_pages[(size_t)(cell - v->vram->host) >> GUEST_PAGE_BITS] = 1;
}

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read_byte(opaque, (uint32_t)offset + i) << 8 * i;
    vga_window_hit(opaque);
    return value;
}

static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++)
        write_byte(opaque, (uint32_t)offset + i, (uint8_t)(value >> 8 * i));
    vga_window_hit(opaque);
}

const BusOps vga_window_ops = { window_read, window_write, 8 };
