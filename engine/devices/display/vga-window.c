// SPDX-License-Identifier: GPL-2.0-or-later
// The window at A0000h as plain memory: where the registers make it one (a VBE bank, chain-4, the
// text of odd/even addressing, all without masks or logic), a guest writes it by the thousand, and
// each access through vga-memory.c costs an exit. After enough of them the span is mapped.
//
// A VBE bank is video memory itself. The other two are a copy, packed as the CPU sees it: taken
// when it is mapped (gather), brought back to the planes page by page before anybody looks, and as
// a whole when a register ends it (scatter). While it is mapped, reads do not load the latches;
// software that depends on that after such a mode would have to write through latches it never
// loaded.
#include "engine/devices/display/vga-private.h"

#define HITS_TO_MAP 512u
#define TEXT_SIZE 0x8000u
#define PACKED_SIZE 0x10000u
#define TEXT_MONO 2 // memory map select: B0000h
#define TEXT_COLOR 3 // B8000h

static bool plain_writes(const Vga *v)
{
    const uint8_t *gr = v->graphics;
    return (gr[GFX_MODE] & 0x0b) == 0 && gr[GFX_ROTATE] == 0 && gr[GFX_ENABLE_SET_RESET] == 0 &&
           gr[GFX_BIT_MASK] == 0xff;
}

static bool is_chain4(const Vga *v)
{
    return v->sequencer[SEQ_MEMORY_MODE] & 8 && v->sequencer[SEQ_MAP_MASK] == 0x0f &&
           (v->graphics[GFX_MISC] >> 2 & 3) == 1;
}

static bool is_text(const Vga *v)
{
    return !(v->sequencer[SEQ_MEMORY_MODE] & 0x0c) && v->sequencer[SEQ_MAP_MASK] == 0x03 &&
           v->graphics[GFX_MODE] & 0x10 && v->graphics[GFX_MISC] & 2 &&
           !(v->graphics[GFX_READ_PLANE] & 2) && (v->graphics[GFX_MISC] >> 2 & 3) >= TEXT_MONO;
}

// What the registers make of the window now.
static VgaWindow window_for(const Vga *v)
{
    VgaWindow none = { .kind = VGA_WINDOW_NONE };
    if (vga_vbe_active(v)) {
        uint64_t start = (uint64_t)v->dispi[DISPI_BANK] * 0x10000;
        if (v->dispi[DISPI_BPP] == 4 || start + 0x10000 > v->vram_size ||
            v->dispi[DISPI_BANK] >= VGA_BANK_SLOTS)
            return none;
        return (VgaWindow){ VGA_WINDOW_BANK, VGA_WINDOW_BASE, 0x10000, (uint32_t)start };
    }
    if (!(v->misc_output & 2) || !plain_writes(v))
        return none;
    if (is_chain4(v))
        return (VgaWindow){ VGA_WINDOW_CHAIN4, VGA_WINDOW_BASE, PACKED_SIZE, 0 };
    if (!is_text(v))
        return none;
    bool color = (v->graphics[GFX_MISC] >> 2 & 3) == TEXT_COLOR;
    return (VgaWindow){ VGA_WINDOW_TEXT, color ? 0xb8000 : 0xb0000, TEXT_SIZE, 0 };
}

// The byte of video memory behind byte `at` of a packed window.
static inline uint32_t plane_byte(VgaWindowKind kind, uint32_t at)
{
    if (kind == VGA_WINDOW_CHAIN4)
        return ((at & 0xfffc) | (at >> 14 & 3)) * 4 + (at & 3);
    return (at & ~1u) * 4 + (at & 1);
}

static void gather(Vga *v)
{
    for (uint32_t at = 0; at < v->window.size; at++)
        v->window_memory->host[at] = v->vram->host[plane_byte(v->window.kind, at)];
}

// One page of the window, at its offset `start`.
static void scatter_page(Vga *v, uint32_t start)
{
    if (v->window.kind == VGA_WINDOW_BANK) {
        v->dirty_pages[(v->window.bank + start) >> GUEST_PAGE_BITS] = 1;
        return;
    }
    for (uint32_t at = start; at < start + GUEST_PAGE_SIZE; at++) {
        uint32_t byte = plane_byte(v->window.kind, at);
        if (v->vram->host[byte] == v->window_memory->host[at])
            continue;
        v->vram->host[byte] = v->window_memory->host[at];
        v->dirty_pages[byte >> GUEST_PAGE_BITS] = 1;
    }
}

void vga_window_sync(Vga *v)
{
    uint8_t *dirty = v->window_slot ? guest_slot_dirty(v->window_slot) : NULL;
    for (uint32_t page = 0; dirty && page < v->window.size / GUEST_PAGE_SIZE; page++)
        if (dirty[page] && __atomic_exchange_n(&dirty[page], 0, __ATOMIC_ACQ_REL))
            scatter_page(v, page * GUEST_PAGE_SIZE);
}

void vga_window_close(Vga *v)
{
    if (!v->window_slot)
        return;
    guest_memory_move(v->host.memory, v->window_slot, v->window.base, GUEST_SLOT_LOG_DIRTY);
    v->window_slot = NULL;
    for (uint32_t start = 0; start < v->window.size; start += GUEST_PAGE_SIZE)
        scatter_page(v, start);
    v->window.kind = VGA_WINDOW_NONE;
}

static GuestSlot **slot_of(Vga *v, const VgaWindow *window)
{
    if (window->kind == VGA_WINDOW_BANK)
        return &v->bank_slots[window->bank / 0x10000];
    if (window->kind == VGA_WINDOW_CHAIN4)
        return &v->chain4_slot;
    return &v->text_slots[window->base == 0xb8000];
}

static void open_window(Vga *v)
{
    const GuestSlotFlags flags = GUEST_SLOT_READ | GUEST_SLOT_WRITE | GUEST_SLOT_LOG_DIRTY;
    VgaWindow wanted = window_for(v);
    if (wanted.kind == VGA_WINDOW_NONE)
        return;
    bool packed = wanted.kind != VGA_WINDOW_BANK;
    GuestSlot **slot = slot_of(v, &wanted);
    if (!*slot)
        *slot = guest_memory_map(v->host.memory, "vga-window", wanted.base, wanted.size,
                                 packed ? v->window_memory->host : v->vram->host + wanted.bank,
                                 GUEST_SLOT_LOG_DIRTY);
    if (!*slot)
        return;
    v->window = wanted;
    if (packed)
        gather(v);
    v->window_slot = *slot;
    guest_memory_move(v->host.memory, *slot, wanted.base, flags);
}

void vga_window_destroy(Vga *v)
{
    guest_memory_unmap(v->host.memory, v->chain4_slot);
    for (unsigned i = 0; i < G_N_ELEMENTS(v->text_slots); i++)
        guest_memory_unmap(v->host.memory, v->text_slots[i]);
    for (unsigned i = 0; i < G_N_ELEMENTS(v->bank_slots); i++)
        guest_memory_unmap(v->host.memory, v->bank_slots[i]);
}

void vga_window_changed(Vga *v)
{
    VgaWindow wanted = window_for(v);
    v->window_hits = 0;
    if (v->window.kind != wanted.kind || v->window.base != wanted.base ||
        v->window.bank != wanted.bank)
        vga_window_close(v);
}

void vga_window_hit(Vga *v)
{
    if (++v->window_hits < HITS_TO_MAP)
        return;
    v->window_hits = 0;
    if (!v->window_slot)
        open_window(v);
}
