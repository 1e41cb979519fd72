// SPDX-License-Identifier: GPL-2.0-or-later
// The VGA as a device: its place on the buses, reset and saved state. Its parts are in
// vga-registers.c, vga-memory.c, vga-window.c, vbe-dispi.c (what the guest talks to),
// vga-geometry.c, vga-scanline.c and vga-render.c (what a person sees), vga-text.c and edid.c.
//
// Follows IBM's "Video Graphics Array" technical reference and QEMU's "Standard VGA" specification
// (PCI 1234:1111 revision 2), so that the stock stdvga BIOS and every guest's bochs driver fit.
#include "engine/devices/display/vga-private.h"

#include <gio/gio.h>

#define VRAM_DEFAULT (16u << 20)
#define VRAM_MIN (1u << 20)
#define VRAM_MAX (256u << 20)
#define ROM_MAX (1u << 20)
#define PREFER_WIDTH 1280u
#define PREFER_HEIGHT 800u

static void vga_destroy(void *device)
{
    Vga *v = device;
    if (!v)
        return;
    for (unsigned i = 0; i < G_N_ELEMENTS(v->port_regions); i++)
        bus_remove(v->host.bus, v->port_regions[i]);
    bus_remove(v->host.bus, v->window_region);
    vga_window_destroy(v);
    if (v->on_pci)
        pci_remove(&v->pci);
    ram_block_free(v->screen_memory);
    ram_block_free(v->window_memory);
    ram_block_free(v->vram);
    ram_block_free(v->rom);
    g_free(v->dirty_pages);
    g_free(v->line);
    g_free(v);
}

static uint32_t round_up_power(uint32_t size)
{
    uint32_t power = GUEST_PAGE_SIZE;
    while (power < size)
        power *= 2;
    return power;
}

static bool load_rom(Vga *v, const VgaConfig *config, GError **error)
{
    if (!config->rom)
        return true;
    if (config->rom_size > ROM_MAX || config->rom_size == 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "a video BIOS of %zu bytes does not fit", config->rom_size);
        return false;
    }
    v->rom = ram_block_new("vga-rom", round_up_power((uint32_t)config->rom_size), error);
    if (!v->rom)
        return false;
    memset(v->rom->host, 0xff, v->rom->size);
    memcpy(v->rom->host, config->rom, config->rom_size);
    return true;
}

// A moved or hidden BAR takes its dirty flags along.
static void config_written(void *device, unsigned offset, unsigned size)
{
    Vga *v = device;
    v->redraw = true;
}

static bool join_pci(Vga *v, const VgaConfig *config, GError **error)
{
    PciConfig pci = {
        .name = VGA_NAME,
        .devfn = config->devfn,
        .vendor = 0x1234,
        .device = 0x1111,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .revision = 2, // the BAR 2 registers at 600h exist
        .class_code = 0x030000,
        .bars = {
            [0] = { .kind = PCI_BAR_MEMORY, .size = v->vram_size, .host = v->vram->host,
                    .log_dirty = true },
            [2] = { .kind = PCI_BAR_MMIO, .size = VGA_MMIO_SIZE, .ops = &vga_mmio_ops },
        },
    };
    if (v->rom)
        pci.bars[6] = (PciBarConfig){ .kind = PCI_BAR_ROM, .size = (uint32_t)v->rom->size,
                                      .host = v->rom->host };
    if (!pci_add(v->host.pci, &v->pci, &pci, v, error))
        return false;
    v->pci.config_written = config_written;
    v->on_pci = true;
    return true;
}

static void *vga_create(const void *config_pointer, const DeviceHost *host, GError **error)
{
    const VgaConfig *config = config_pointer;
    uint32_t vram_size = config->vram_size ? config->vram_size : VRAM_DEFAULT;
    if (vram_size < VRAM_MIN || vram_size > VRAM_MAX || vram_size & (vram_size - 1)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "video memory of %u bytes: it must be a power of two from 1 to 256 MiB",
                    vram_size);
        return NULL;
    }
    Vga *v = g_new0(Vga, 1);
    v->host = *host;
    v->vram_size = vram_size;
    v->vram = ram_block_new("vga-memory", vram_size, error);
    v->window_memory = ram_block_new("vga-window", 0x10000, error);
    if (!v->vram || !v->window_memory || !load_rom(v, config, error) ||
        (host->pci && !join_pci(v, config, error))) {
        vga_destroy(v);
        return NULL;
    }
    v->dirty_pages = g_malloc0(vram_size / GUEST_PAGE_SIZE);
    v->line = g_new0(uint32_t, VGA_MAX_SIDE + VGA_LINE_SLACK);
    edid_fill(v->edid, config->prefer_width ? config->prefer_width : PREFER_WIDTH,
              config->prefer_height ? config->prefer_height : PREFER_HEIGHT);
    vga_set_sink(v, config->sink);

    // One flag for all: they are one chip.
    bool *engaged = &v->pci.engaged;
    Bus *bus = host->bus;
    v->port_regions[0] = bus_add_ports(bus, VGA_NAME, 0x3b4, 7, &vga_port_ops_3b4, v, engaged);
    v->port_regions[1] = bus_add_ports(bus, VGA_NAME, 0x3c0, 16, &vga_port_ops_3c0, v, engaged);
    v->port_regions[2] = bus_add_ports(bus, VGA_NAME, 0x3d4, 7, &vga_port_ops_3d4, v, engaged);
    v->port_regions[3] = bus_add_ports(bus, VGA_NAME, 0x1ce, 4, &vga_dispi_port_ops, v, engaged);
    v->window_region = bus_add_mmio(bus, VGA_NAME, VGA_WINDOW_BASE, VGA_WINDOW_SIZE,
                                    &vga_window_ops, v, engaged);
    return v;
}

static void vga_reset(void *device, ResetKind kind)
{
    Vga *v = device;
    vga_window_close(v);
    if (kind == RESET_COLD)
        memset(v->vram->host, 0, v->vram->size);
    vga_registers_reset(v);
    vga_dispi_reset(v);
    if (v->on_pci)
        pci_reset(&v->pci);
}

static void vga_pre_save(void *object)
{
    vga_window_close(object);
}

static gboolean vga_post_load(void *object, GError **error)
{
    Vga *v = object;
    unsigned bpp = v->dispi[DISPI_BPP];
    if (v->dac_component > 2 || v->sequencer_index > 7 || v->graphics_index > 15 ||
        v->attribute_index > 0x3f || v->crtc_index > 0x3f || v->graphics[GFX_READ_PLANE] > 3 ||
        v->sequencer[SEQ_MAP_MASK] > 15) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "vga: a register index or mask is out of range");
        return FALSE;
    }
    if (bpp != 4 && bpp != 8 && bpp != 15 && bpp != 16 && bpp != 24 && bpp != 32) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "vga: a depth of %u bits does not exist", bpp);
        return FALSE;
    }
    if (vga_vbe_active(v))
        vga_dispi_fit(v);
    if (v->on_pci)
        pci_restore(&v->pci);
    v->redraw = true;
    return TRUE;
}

static const StateField vga_fields[] = {
    STATE_SCALAR(Vga, misc_output, STATE_U8),
    STATE_SCALAR(Vga, feature_control, STATE_U8),
    STATE_SCALAR(Vga, sequencer_index, STATE_U8),
    STATE_ARRAY(Vga, sequencer, STATE_U8),
    STATE_SCALAR(Vga, graphics_index, STATE_U8),
    STATE_ARRAY(Vga, graphics, STATE_U8),
    STATE_SCALAR(Vga, attribute_index, STATE_U8),
    STATE_SCALAR(Vga, attribute_data, STATE_BOOL),
    STATE_ARRAY(Vga, attribute, STATE_U8),
    STATE_SCALAR(Vga, crtc_index, STATE_U8),
    STATE_ARRAY(Vga, crtc, STATE_U8),
    STATE_SCALAR(Vga, dac_mask, STATE_U8),
    STATE_SCALAR(Vga, dac_read_index, STATE_U8),
    STATE_SCALAR(Vga, dac_write_index, STATE_U8),
    STATE_SCALAR(Vga, dac_component, STATE_U8),
    STATE_SCALAR(Vga, dac_reading, STATE_BOOL),
    STATE_ARRAY(Vga, dac_pending, STATE_U8),
    STATE_ARRAY(Vga, dac, STATE_U8),
    STATE_SCALAR(Vga, latch, STATE_U32),
    STATE_SCALAR(Vga, dispi_index, STATE_U16),
    STATE_ARRAY(Vga, dispi, STATE_U16),
    PCI_STATE_FIELDS(Vga, pci),
};

static const StateTable vga_state = {
    .name = "vga",
    .version = 1,
    .fields = vga_fields,
    .field_count = G_N_ELEMENTS(vga_fields),
    .post_load = vga_post_load,
    .pre_save = vga_pre_save,
};

const DeviceOps vga_ops = {
    .name = VGA_NAME,
    .spec = "IBM Video Graphics Array (1992); QEMU Standard VGA, revision 2; Bochs DISPI B0C5h",
    .create = vga_create,
    .reset = vga_reset,
    .state = &vga_state,
    .destroy = vga_destroy,
};

static void vga_size_hint(void *device, uint32_t width, uint32_t height)
{
    Vga *v = device;
    edid_fill(v->edid, width ? width : PREFER_WIDTH, height ? height : PREFER_HEIGHT);
}

DisplaySource vga_display_source(void *vga)
{
    return (DisplaySource){ .refresh = vga_refresh, .size_hint = vga_size_hint, .device = vga };
}

void vga_set_sink(void *vga, const DisplaySink *sink)
{
    Vga *v = vga;
    v->has_sink = sink != NULL;
    if (sink)
        v->sink = *sink;
    v->screen.set = false;
}

RamBlock *vga_video_memory(void *vga)
{
    vga_window_close(vga);
    return ((Vga *)vga)->vram;
}
