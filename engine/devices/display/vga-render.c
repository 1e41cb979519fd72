// SPDX-License-Identifier: GPL-2.0-or-later
// From video memory to the sink: which of the pictures is on (VGA, VBE, blank), where its pixels
// are, and what of it changed since the last refresh.
//
// A 32-bit linear mode is shown straight from video memory: the sink reads it itself and hears of
// dirty lines. Everything else is drawn line by line into memory of our own and compared there,
// but only when a page of it was written or a register changed, so an idle screen costs nothing.
#include "engine/devices/display/vga-private.h"

#define BLANK_WIDTH 720u
#define BLANK_HEIGHT 400u
#define LINE_BYTES ((VGA_MAX_SIDE + VGA_LINE_SLACK) * sizeof(uint32_t))
// 16 frames of 70 Hz: the cursor shows for so long, blinking characters for twice as long.
#define BLINK_NS INT64_C(228571428)
// Unchanged lines that do not split an update.
#define DAMAGE_GAP 4u

// Changed lines that follow one another, reported as one rectangle.
typedef struct {
    Vga *v;
    bool report;
    bool open;
    uint32_t top, bottom; // inclusive
    uint32_t left, right; // exclusive
} Damage;

static void damage_flush(Damage *d)
{
    if (d->open && d->report)
        d->v->sink.update(d->v->sink.opaque, d->left, d->top, d->right - d->left,
                          d->bottom - d->top + 1);
    d->open = false;
}

static void damage_add(Damage *d, uint32_t y, uint32_t left, uint32_t right)
{
    if (d->open && y > d->bottom + DAMAGE_GAP)
        damage_flush(d);
    if (!d->open) {
        d->open = true;
        d->top = y;
        d->left = left;
        d->right = right;
    }
    d->bottom = y;
    d->left = MIN(d->left, left);
    d->right = MAX(d->right, right);
}

// Stores a drawn line where it differs from what is shown.
static void put_line(Damage *d, uint8_t *row, const uint32_t *line, uint32_t y, uint32_t width)
{
    uint32_t *shown = (uint32_t *)row;
    if (!memcmp(shown, line, width * sizeof *line))
        return;
    uint32_t left = 0, right = width;
    while (shown[left] == line[left])
        left++;
    while (shown[right - 1] == line[right - 1])
        right--;
    memcpy(shown + left, line + left, (right - left) * sizeof *line);
    damage_add(d, y, left, right);
}

// Moves what was written through BAR 0 into dirty_pages, for bytes [0, size). The flag is taken
// before the pixels are read, so that a write in between is seen next time.
static bool fold_dirty(Vga *v, uint64_t start, uint64_t size)
{
    uint8_t *slot = v->on_pci && v->pci.slots[0] ? guest_slot_dirty(v->pci.slots[0]) : NULL;
    size_t first = start >> GUEST_PAGE_BITS;
    size_t last = (start + size - 1) >> GUEST_PAGE_BITS;
    bool any = false;
    for (size_t page = first; page <= last; page++) {
        if (slot && slot[page] && __atomic_exchange_n(&slot[page], 0, __ATOMIC_ACQ_REL))
            v->dirty_pages[page] = 1;
        any |= v->dirty_pages[page];
    }
    return any;
}

static bool pages_dirty(const Vga *v, uint64_t start, uint64_t size)
{
    size_t first = start >> GUEST_PAGE_BITS;
    size_t last = (start + size - 1) >> GUEST_PAGE_BITS;
    return memchr(v->dirty_pages + first, 1, last - first + 1) != NULL;
}

static void clean_pages(Vga *v, uint64_t start, uint64_t size)
{
    size_t first = start >> GUEST_PAGE_BITS;
    size_t last = (start + size - 1) >> GUEST_PAGE_BITS;
    memset(v->dirty_pages + first, 0, last - first + 1);
}

static void announce(Vga *v, const RamBlock *memory)
{
    DisplayMode mode = {
        .width = v->screen.width,
        .height = v->screen.height,
        .stride = v->screen.stride,
        .fd = memory->fd,
        .offset = v->screen.start,
        .pixels = memory->host + v->screen.start,
    };
    v->sink.mode_set(v->sink.opaque, &mode);
}

static bool same_screen(const VgaScreen *a, const VgaScreen *b)
{
    return a->set == b->set && a->direct == b->direct && a->width == b->width &&
           a->height == b->height && a->stride == b->stride && a->start == b->start;
}

// Starts a picture of our own memory. *ret_new: it must be drawn whole and announced then. The
// old memory stays until finish_screen, because the sink may still read it.
static RamBlock *begin_screen(Vga *v, uint32_t width, uint32_t height, bool *ret_new)
{
    VgaScreen wanted = { .set = true, .width = width, .height = height, .stride = width * 4 };
    *ret_new = !same_screen(&wanted, &v->screen);
    if (!*ret_new)
        return v->screen_memory;
    g_autoptr(GError) error = NULL;
    RamBlock *memory = ram_block_new("vga-screen", (size_t)wanted.stride * height, &error);
    if (!memory) {
        g_warning("no memory for a picture of %ux%u: %s", width, height, error->message);
        return NULL;
    }
    v->screen = wanted;
    return memory;
}

static void finish_screen(Vga *v, RamBlock *memory, bool new_screen)
{
    if (!new_screen)
        return;
    announce(v, memory);
    ram_block_free(v->screen_memory);
    v->screen_memory = memory;
}

static void show_blank(Vga *v)
{
    uint32_t width = v->screen.set ? v->screen.width : BLANK_WIDTH;
    uint32_t height = v->screen.set ? v->screen.height : BLANK_HEIGHT;
    bool new_screen;
    RamBlock *memory = begin_screen(v, width, height, &new_screen);
    if (!memory)
        return;
    Damage damage = { .v = v, .report = !new_screen };
    memset(v->line, 0, width * sizeof *v->line);
    for (uint32_t y = 0; y < height; y++)
        put_line(&damage, memory->host + (size_t)y * v->screen.stride, v->line, y, width);
    damage_flush(&damage);
    finish_screen(v, memory, new_screen);
}

static void show_vga(Vga *v, bool redraw)
{
    VgaGeometry g = vga_geometry(v);
    unsigned phase = g.text ? (unsigned)(clock_now(v->host.clock) / BLINK_NS) & 3 : v->blink_phase;
    bool dirty = fold_dirty(v, 0, VGA_LEGACY_SIZE);
    bool new_screen;
    RamBlock *memory = begin_screen(v, g.width, g.height, &new_screen);
    if (!memory || !(redraw || dirty || new_screen || phase != v->blink_phase))
        return;
    v->blink_phase = phase;
    clean_pages(v, 0, VGA_LEGACY_SIZE);

    VgaPalette palette;
    VgaScan scan;
    Damage damage = { .v = v, .report = !new_screen };
    unsigned blink = (phase & 1 ? 0 : 1) | (phase & 2 ? 0 : 2);
    vga_palette(v, &palette);
    vga_scan_start(v, &scan);
    for (uint32_t y = 0; y < g.height; y++) {
        vga_draw_line(v, &g, &palette, &scan, blink, v->line);
        put_line(&damage, memory->host + (size_t)y * v->screen.stride, v->line, y, g.width);
        vga_scan_next(v, &scan);
    }
    damage_flush(&damage);
    finish_screen(v, memory, new_screen);
}

static void show_vbe_copied(Vga *v, bool redraw)
{
    uint32_t width = v->dispi[DISPI_XRES], height = v->dispi[DISPI_YRES];
    uint32_t row = vga_dispi_row_bytes(v, v->dispi[DISPI_VIRT_WIDTH]);
    uint64_t start = (uint64_t)row * v->dispi[DISPI_Y_OFFSET];
    bool dirty = fold_dirty(v, start, (uint64_t)row * height);
    bool new_screen;
    RamBlock *memory = begin_screen(v, width, height, &new_screen);
    if (!memory || !(redraw || dirty || new_screen))
        return;

    VgaPalette palette;
    Damage damage = { .v = v, .report = !new_screen };
    bool all = redraw || new_screen;
    vga_palette(v, &palette);
    for (uint32_t y = 0; y < height; y++) {
        if (!all && !pages_dirty(v, start + (uint64_t)row * y, row))
            continue;
        vga_draw_vbe_line(v, &palette, y, v->line);
        put_line(&damage, memory->host + (size_t)y * v->screen.stride, v->line, y, width);
    }
    clean_pages(v, start, (uint64_t)row * height);
    damage_flush(&damage);
    finish_screen(v, memory, new_screen);
}

static void show_vbe_direct(Vga *v)
{
    uint32_t width = v->dispi[DISPI_XRES], height = v->dispi[DISPI_YRES];
    uint32_t stride = vga_dispi_row_bytes(v, v->dispi[DISPI_VIRT_WIDTH]);
    uint64_t size = (uint64_t)stride * height;
    bool dirty = fold_dirty(v, 0, size);
    VgaScreen wanted = { .set = true, .direct = true, .width = width, .height = height,
                         .stride = stride };
    if (!same_screen(&wanted, &v->screen)) {
        v->screen = wanted;
        clean_pages(v, 0, size);
        announce(v, v->vram);
        ram_block_free(g_steal_pointer(&v->screen_memory));
        return;
    }
    if (!dirty)
        return;
    Damage damage = { .v = v, .report = true };
    for (uint32_t y = 0; y < height; y++)
        if (pages_dirty(v, (uint64_t)stride * y, stride))
            damage_add(&damage, y, 0, width);
    clean_pages(v, 0, size);
    damage_flush(&damage);
}

void vga_refresh(void *device)
{
    Vga *v = device;
    if (!v->has_sink)
        return;
    bool redraw = v->redraw;
    v->redraw = false;
    guest_memory_sync_dirty(v->host.memory);
    vga_window_sync(v);

    bool vbe = vga_vbe_active(v);
    bool off = !(v->attribute_index & 0x20) || (!vbe && v->sequencer[SEQ_CLOCKING] & 0x20);
    if (off) {
        if (redraw || !v->screen.set)
            show_blank(v);
        return;
    }
    if (!vbe) {
        show_vga(v, redraw);
        return;
    }
    // A guest that pans or flips pages would make the sink change its buffer each time.
    if (v->dispi[DISPI_X_OFFSET] || v->dispi[DISPI_Y_OFFSET])
        v->copied_mode = true;
    if (v->dispi[DISPI_BPP] == 32 && !v->copied_mode)
        show_vbe_direct(v);
    else
        show_vbe_copied(v, redraw);
}
