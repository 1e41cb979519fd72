// SPDX-License-Identifier: GPL-2.0-or-later
// The host bridge of the 82441FX (PMC): the memory map, with the PAM registers that choose between
// RAM and ROM for reads and writes of C0000h-FFFFFh apart, and configuration space 00.0. SMRAM's
// register can be written but opens nothing: there is no system management mode on this board.
// Follows Intel 290549 (82441FX), chapter 3.
#include "engine/devices/chipset/host-i440fx.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>

#define REGISTER_DRB     0x60 // DRAM row boundaries, 8 bytes in units of 8 MiB
#define REGISTER_PAM     0x59 // ..5Fh
#define REGISTER_SMRAM   0x72
#define SEGMENTS         13
#define LOW_BIOS         0x20000 // bytes of the image's end seen below 1 MiB
#define ADDRESS_4G       (UINT64_C(1) << 32)

// A stretch that one PAM nibble rules (3.2.13): bit 0 reads from RAM, bit 1 writes to RAM.
typedef struct {
    uint32_t start, size;
    uint8_t reg, shift;
} Segment;

static const Segment segments[SEGMENTS] = {
    { 0xf0000, 0x10000, 0x59, 4 }, { 0xc0000, 0x4000, 0x5a, 0 }, { 0xc4000, 0x4000, 0x5a, 4 },
    { 0xc8000, 0x4000, 0x5b, 0 },  { 0xcc000, 0x4000, 0x5b, 4 }, { 0xd0000, 0x4000, 0x5c, 0 },
    { 0xd4000, 0x4000, 0x5c, 4 },  { 0xd8000, 0x4000, 0x5d, 0 }, { 0xdc000, 0x4000, 0x5d, 4 },
    { 0xe0000, 0x4000, 0x5e, 0 },  { 0xe4000, 0x4000, 0x5e, 4 }, { 0xe8000, 0x4000, 0x5f, 0 },
    { 0xec000, 0x4000, 0x5f, 4 },
};

typedef struct {
    PciDevice pci;
    DeviceHost host;
    HostI440fxConfig config;
    uint32_t config_address; // CF8h, as saved
    GuestSlot *fixed[5];     // RAM and ROM that no register moves
    GuestSlot *shadow[SEGMENTS];
} HostI440fx;

static GuestSlotFlags segment_flags(const HostI440fx *h, const Segment *segment)
{
    unsigned pam = h->pci.config[segment->reg] >> segment->shift;
    return (pam & 1 ? GUEST_SLOT_READ : 0) | (pam & 2 ? GUEST_SLOT_WRITE : 0);
}

static void apply_pam(HostI440fx *h)
{
    for (unsigned i = 0; i < SEGMENTS; i++)
        guest_memory_move(h->host.memory, h->shadow[i], segments[i].start,
                          segment_flags(h, &segments[i]));
}

static void config_written(void *device, unsigned offset, unsigned size)
{
    if (offset <= REGISTER_PAM + 6 && offset + size > REGISTER_PAM)
        apply_pam(device);
}

static bool map(HostI440fx *h, GuestSlot **ret_slot, const char *name, uint64_t gpa, uint64_t size,
                uint8_t *from, GuestSlotFlags flags, GError **error)
{
    if (!size)
        return true;
    *ret_slot = guest_memory_map(h->host.memory, name, gpa, size, from, flags);
    if (*ret_slot)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "%s of %" G_GUINT64_FORMAT " bytes does not fit the guest's address space", name,
                size);
    return false;
}

static bool map_all(HostI440fx *h, GError **error)
{
    const HostI440fxConfig *c = &h->config;
    GuestSlotFlags ram = GUEST_SLOT_READ | GUEST_SLOT_WRITE;
    uint64_t low = host_i440fx_ram_below_4g(c->ram_size);
    // A0000h-BFFFFh stays open for the VGA; C0000h-FFFFFh is ROM with RAM over it as PAM says.
    if (!map(h, &h->fixed[0], "ram-base", 0, 0xa0000, c->ram, ram, error) ||
        !map(h, &h->fixed[1], "ram-low", 0x100000, low - 0x100000, c->ram + 0x100000, ram, error) ||
        !map(h, &h->fixed[2], "ram-high", ADDRESS_4G, c->ram_size - low, c->ram + low, ram,
             error) ||
        !map(h, &h->fixed[3], "bios", ADDRESS_4G - c->bios_size, c->bios_size, c->bios,
             GUEST_SLOT_ROM, error) ||
        !map(h, &h->fixed[4], "bios-low", 0x100000 - LOW_BIOS, LOW_BIOS,
             c->bios + c->bios_size - LOW_BIOS, GUEST_SLOT_ROM, error))
        return false;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        if (!map(h, &h->shadow[i], "shadow", segments[i].start, segments[i].size,
                 c->ram + segments[i].start, 0, error))
            return false;
    }
    return true;
}

static void i440fx_destroy(void *device)
{
    HostI440fx *h = device;
    if (!h)
        return;
    for (unsigned i = 0; i < SEGMENTS; i++)
        guest_memory_unmap(h->host.memory, h->shadow[i]);
    for (unsigned i = 0; i < G_N_ELEMENTS(h->fixed); i++)
        guest_memory_unmap(h->host.memory, h->fixed[i]);
    pci_remove(&h->pci);
    g_free(h);
}

static void *i440fx_create(const void *config, const DeviceHost *host, GError **error)
{
    const HostI440fxConfig *c = config;
    if (c->ram_size < 0x100000 || c->ram_size % GUEST_PAGE_SIZE || c->bios_size < LOW_BIOS ||
        c->bios_size > 0x800000 || c->bios_size % 0x10000) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "memory must be 1 MiB or more and firmware 128 KiB to 8 MiB in steps of "
                    "64 KiB; got %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT " bytes",
                    c->ram_size, c->bios_size);
        return NULL;
    }
    static const PciConfig identity = {
        .name = "host-i440fx", .devfn = PCI_DEVFN(0, 0), .vendor = 0x8086, .device = 0x1237,
        .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .revision = 2, .class_code = 0x060000,
    };
    HostI440fx *h = g_new0(HostI440fx, 1);
    h->host = *host;
    h->config = *c;
    if (!pci_add(host->pci, &h->pci, &identity, h, error) || !map_all(h, error)) {
        i440fx_destroy(h);
        return NULL;
    }
    // Registers of the DRAM controller hold what is written: they steer nothing here.
    memset(h->pci.write_mask + 0x50, 0xff, 0x72 - 0x50);
    h->pci.write_mask[REGISTER_PAM] = 0x30;
    memset(h->pci.write_mask + REGISTER_PAM + 1, 0x33, 6);
    h->pci.write_mask[REGISTER_SMRAM] = 0x78;
    h->pci.write_mask[4] = 0; // memory decode and mastering are hard-wired on
    h->pci.config_written = config_written;
    return h;
}

static void i440fx_reset(void *device, ResetKind kind)
{
    HostI440fx *h = device;
    pci_reset(&h->pci);
    memset(h->pci.config + 0x50, 0, 0x72 - 0x50);
    uint64_t rows = MIN(host_i440fx_ram_below_4g(h->config.ram_size) >> 23, 0xff);
    memset(h->pci.config + REGISTER_DRB, (int)rows, 8);
    h->pci.config[REGISTER_SMRAM] = 0x02;
    le16_write(h->pci.config + 4, 0x0006);
    le16_write(h->pci.config + 6, 0x0280);
    pci_bus_set_address(h->host.pci, 0);
    apply_pam(h);
}

static void i440fx_pre_save(void *device)
{
    HostI440fx *h = device;
    h->config_address = pci_bus_address(h->host.pci);
}

static gboolean i440fx_post_load(void *device, GError **error)
{
    HostI440fx *h = device;
    pci_bus_set_address(h->host.pci, h->config_address);
    pci_restore(&h->pci);
    apply_pam(h);
    return TRUE;
}

static const StateField i440fx_fields[] = {
    PCI_STATE_FIELDS(HostI440fx, pci),
    STATE_SCALAR(HostI440fx, config_address, STATE_U32),
};

static const StateTable i440fx_state = {
    .name = "host-i440fx",
    .version = 1,
    .fields = i440fx_fields,
    .field_count = G_N_ELEMENTS(i440fx_fields),
    .post_load = i440fx_post_load,
    .pre_save = i440fx_pre_save,
};

const DeviceOps host_i440fx_ops = {
    .name = "host-i440fx",
    .spec = "Intel 290549 82441FX, chapter 3",
    .create = i440fx_create,
    .reset = i440fx_reset,
    .state = &i440fx_state,
    .destroy = i440fx_destroy,
};

uint64_t host_i440fx_ram_below_4g(uint64_t ram_size)
{
    return MIN(ram_size, I440FX_HOLE_START);
}

uint64_t host_i440fx_ram_above_4g(uint64_t ram_size)
{
    return ram_size - host_i440fx_ram_below_4g(ram_size);
}
