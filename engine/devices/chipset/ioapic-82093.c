// SPDX-License-Identifier: GPL-2.0-or-later
// The I/O APIC: 24 inputs, each with an entry that says which message to send. Messages go to the
// local APICs as MSIs. Follows Intel 290566 (82093AA), chapter 3; the version register says 11h, so
// there is no EOI register and no directed EOI.
#include "engine/devices/chipset/ioapic-82093.h"

#include "engine/base/guest-log.h"

enum {
    IOREGSEL = 0x00,
    IOWIN = 0x10,
    REGISTER_ID = 0,
    REGISTER_VERSION = 1,
    REGISTER_ARBITRATION = 2,
    REGISTER_TABLE = 0x10,
    VERSION = 0x00170011, // 24 entries, version 11h
};

// Redirection table entry (3.2.4).
#define ENTRY_VECTOR      UINT64_C(0xff)
#define ENTRY_MODE_SHIFT  8
#define ENTRY_LOGICAL     (UINT64_C(1) << 11)
#define ENTRY_REMOTE_IRR  (UINT64_C(1) << 14)
#define ENTRY_LEVEL       (UINT64_C(1) << 15)
#define ENTRY_MASKED      (UINT64_C(1) << 16)
#define ENTRY_WRITABLE    UINT64_C(0xff0000000001afff)
#define ENTRY_DESTINATION_SHIFT 56

typedef struct {
    DeviceHost host;
    Ioapic82093Config config;
    BusRegion *region;
    bool engaged;
    uint8_t select;
    uint32_t id;
    uint32_t lines; // wire levels
    uint64_t table[IOAPIC_PINS];
} Ioapic;

static void send(Ioapic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->table[pin];
    uint64_t address = 0xfee00000 | (entry >> ENTRY_DESTINATION_SHIFT) << 12 |
                       (entry & ENTRY_LOGICAL ? 1 << 2 : 0);
    // Same bit positions in an MSI's data; level messages are always assertions.
    uint32_t data = (uint32_t)(entry & 0x87ff) | 1 << 14;
    msi_send(&ioapic->host.msi, address, data);
}

// A level-triggered input that is active and not in service somewhere is sent.
static void service_level(Ioapic *ioapic, unsigned pin)
{
    uint64_t *entry = &ioapic->table[pin];
    if (!(ioapic->lines >> pin & 1) || !(*entry & ENTRY_LEVEL) ||
        (*entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
        return;
    *entry |= ENTRY_REMOTE_IRR;
    send(ioapic, pin);
}

static void set_line(void *opaque, unsigned pin, bool level)
{
    Ioapic *ioapic = opaque;
    uint32_t bit = 1u << pin;
    bool rising = level && !(ioapic->lines & bit);
    ioapic->lines = level ? ioapic->lines | bit : ioapic->lines & ~bit;
    uint64_t entry = ioapic->table[pin];
    // An edge on a masked input is neither sent nor held (3.2.4, bit 16).
    if (rising && !(entry & (ENTRY_LEVEL | ENTRY_MASKED)))
        send(ioapic, pin);
    service_level(ioapic, pin);
}

static void write_entry(Ioapic *ioapic, unsigned half, uint32_t value)
{
    unsigned pin = half / 2, shift = half % 2 * 32;
    uint64_t mask = ENTRY_WRITABLE & UINT64_C(0xffffffff) << shift;
    uint64_t *entry = &ioapic->table[pin];
    *entry = (*entry & ~mask) | ((uint64_t)value << shift & mask);
    if (!(*entry & ENTRY_LEVEL))
        *entry &= ~ENTRY_REMOTE_IRR;
    service_level(ioapic, pin);
}

static uint32_t read_register(const Ioapic *ioapic)
{
    unsigned half = ioapic->select - REGISTER_TABLE;
    switch (ioapic->select) {
    case REGISTER_ID:
    case REGISTER_ARBITRATION:
        return ioapic->id;
    case REGISTER_VERSION:
        return VERSION;
    default:
        if (ioapic->select >= REGISTER_TABLE && half < 2 * IOAPIC_PINS)
            return (uint32_t)(ioapic->table[half / 2] >> half % 2 * 32);
        return 0;
    }
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
    const Ioapic *ioapic = opaque;
    switch (offset & ~UINT64_C(3)) {
    case IOREGSEL:
        return (uint64_t)ioapic->select >> (offset & 3) * 8;
    case IOWIN:
        return read_register(ioapic) >> (offset & 3) * 8;
    default:
        return 0;
    }
}

static void ioapic_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Ioapic *ioapic = opaque;
    unsigned half = ioapic->select - REGISTER_TABLE;
    if (offset == IOREGSEL) {
        ioapic->select = (uint8_t)value;
    } else if (offset == IOWIN && size == 4) {
        if (ioapic->select == REGISTER_ID)
            ioapic->id = (uint32_t)value & 0x0f000000;
        else if (ioapic->select >= REGISTER_TABLE && half < 2 * IOAPIC_PINS)
            write_entry(ioapic, half, (uint32_t)value);
    } else {
        guest_log_once(ioapic_82093_ops.name, "write", "%u bytes at %x", size, (unsigned)offset);
    }
}

static const BusOps registers = { ioapic_read, ioapic_write, 4 };

static void *ioapic_create(const void *config, const DeviceHost *host, GError **error)
{
    Ioapic *ioapic = g_new0(Ioapic, 1);
    ioapic->host = *host;
    ioapic->config = *(const Ioapic82093Config *)config;
    ioapic->region = bus_add_mmio(host->bus, ioapic_82093_ops.name, ioapic->config.base, 4096,
                                  &registers, ioapic, &ioapic->engaged);
    return ioapic;
}

static void ioapic_reset(void *device, ResetKind kind)
{
    Ioapic *ioapic = device;
    ioapic->select = 0;
    ioapic->id = (uint32_t)(ioapic->config.id & 15) << 24;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic->table[pin] = ENTRY_MASKED;
}

static gboolean ioapic_post_load(void *device, GError **error)
{
    Ioapic *ioapic = device;
    ioapic->lines &= (1u << IOAPIC_PINS) - 1;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        ioapic->table[pin] &= ENTRY_WRITABLE | ENTRY_REMOTE_IRR;
    return TRUE;
}

static void ioapic_destroy(void *device)
{
    Ioapic *ioapic = device;
    if (!ioapic)
        return;
    bus_remove(ioapic->host.bus, ioapic->region);
    g_free(ioapic);
}

static const StateField ioapic_fields[] = {
    STATE_SCALAR(Ioapic, select, STATE_U8),
    STATE_SCALAR(Ioapic, id, STATE_U32),
    STATE_SCALAR(Ioapic, lines, STATE_U32),
    STATE_ARRAY(Ioapic, table, STATE_U64),
};

static const StateTable ioapic_state = {
    .name = "ioapic-82093",
    .version = 1,
    .fields = ioapic_fields,
    .field_count = G_N_ELEMENTS(ioapic_fields),
    .post_load = ioapic_post_load,
};

const DeviceOps ioapic_82093_ops = {
    .name = "ioapic-82093",
    .spec = "Intel 290566 82093AA, chapter 3",
    .create = ioapic_create,
    .reset = ioapic_reset,
    .state = &ioapic_state,
    .destroy = ioapic_destroy,
};

IrqLine ioapic_82093_line(void *ioapic, unsigned pin)
{
    return (IrqLine){ set_line, ioapic, pin % IOAPIC_PINS };
}

void ioapic_82093_eoi(void *opaque, uint8_t vector)
{
    Ioapic *ioapic = opaque;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *entry = &ioapic->table[pin];
        if ((*entry & ENTRY_REMOTE_IRR) && (*entry & ENTRY_VECTOR) == vector) {
            *entry &= ~ENTRY_REMOTE_IRR;
            service_level(ioapic, pin);
        }
    }
}
