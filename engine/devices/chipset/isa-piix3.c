// SPDX-License-Identifier: GPL-2.0-or-later
// The ISA bridge of the 82371SB (PIIX3): PIRQ routing, the reset control register, port 92h, port
// 80h, and beside it the firmware's debug console at port 402h, which no chip had. The interrupt
// controllers, the timer and the DMA controllers of the same part are files of their own; ELCR is
// in pic-8259. Follows Intel 290550 (82371SB), sections 2.2 (function 0) and 2.5.
#include "engine/devices/chipset/isa-piix3.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>

#define REGISTER_PIRQ   0x60 // PIRQRC[A:D]
#define PIRQ_DISABLED   0x80
#define DEBUG_PORT      0x402
#define DEBUG_PRESENT   0xe9 // what firmware looks for before it writes
#define LINE_LENGTH     256
// PIRQs can go to 3-7, 9-12, 14 and 15 only (2.2.10).
#define ROUTABLE        0xdef8

enum { FAST_RESET = 1 << 0, FAST_A20 = 1 << 1 }; // port 92h
enum { RESET_SYSTEM = 1 << 1, RESET_CPU = 1 << 2 }; // port CF9h

typedef struct {
    PciDevice pci;
    DeviceHost host;
    IsaPiix3Config config;
    BusRegion *regions[4];
    bool engaged;
    uint8_t pirq_levels;  // bit 0..3: PIRQA..D
    uint16_t irq_driven;  // ISA requests that PIRQs assert
    uint8_t reset_control, port92, port80;
    bool keyboard_a20;
    bool a20; // as last told
    char line[LINE_LENGTH];
    unsigned line_length;
} IsaPiix3;

static void update_pirqs(IsaPiix3 *p)
{
    uint16_t wanted = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t route = p->pci.config[REGISTER_PIRQ + i];
        if ((p->pirq_levels >> i & 1) && !(route & PIRQ_DISABLED))
            wanted |= (uint16_t)(1 << (route & 15));
    }
    wanted &= ROUTABLE;
    uint16_t changed = wanted ^ p->irq_driven;
    p->irq_driven = wanted;
    for (unsigned irq = 0; irq < 16; irq++) {
        if (changed >> irq & 1)
            irq_set(&p->host.isa_irq[irq], wanted >> irq & 1);
    }
}

static void set_pirq(void *opaque, unsigned line, bool level)
{
    IsaPiix3 *p = opaque;
    uint8_t bit = (uint8_t)(1 << (line & 3));
    p->pirq_levels = level ? p->pirq_levels | bit : p->pirq_levels & (uint8_t)~bit;
    update_pirqs(p);
}

static void config_written(void *device, unsigned offset, unsigned size)
{
    if (offset < REGISTER_PIRQ + 4 && offset + size > REGISTER_PIRQ)
        update_pirqs(device);
}

static void update_a20(IsaPiix3 *p)
{
    bool on = p->keyboard_a20 || (p->port92 & FAST_A20);
    if (on == p->a20)
        return;
    p->a20 = on;
    if (p->config.a20_changed)
        p->config.a20_changed(p->config.a20_opaque, on);
}

static void set_keyboard_a20(void *opaque, unsigned line, bool level)
{
    IsaPiix3 *p = opaque;
    p->keyboard_a20 = level;
    update_a20(p);
}

static void request_reset(IsaPiix3 *p)
{
    if (p->host.request_reset)
        p->host.request_reset(p->host.request_opaque);
}

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((IsaPiix3 *)opaque)->port92;
}

static void port92_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    IsaPiix3 *p = opaque;
    bool reset = (value & FAST_RESET) && !(p->port92 & FAST_RESET);
    p->port92 = (uint8_t)value & (FAST_RESET | FAST_A20);
    update_a20(p);
    if (reset)
        request_reset(p);
}

static uint64_t cf9_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((IsaPiix3 *)opaque)->reset_control;
}

static void cf9_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    IsaPiix3 *p = opaque;
    // Bit 1 says how hard, a rise of bit 2 does it (2.5.4.3). The bit does not stay set, for the
    // reset clears it.
    if (value & RESET_CPU)
        request_reset(p);
    p->reset_control = (uint8_t)value & RESET_SYSTEM;
}

static uint64_t port80_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((IsaPiix3 *)opaque)->port80;
}

static void port80_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    ((IsaPiix3 *)opaque)->port80 = (uint8_t)value;
}

static uint64_t debug_read(void *opaque, uint64_t offset, unsigned size)
{
    return DEBUG_PRESENT;
}

static void debug_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    IsaPiix3 *p = opaque;
    uint8_t byte = (uint8_t)value;
    if (p->config.debug_console) {
        p->config.debug_console->write(p->config.debug_console->opaque, &byte, 1);
        return;
    }
    if (byte != '\n' && byte != 0 && byte != '\r')
        p->line[p->line_length++] = (char)byte;
    if (byte == '\n' || p->line_length == LINE_LENGTH - 1) {
        p->line[p->line_length] = 0;
        if (p->config.debug_line)
            p->config.debug_line(p->config.debug_opaque, p->line);
        p->line_length = 0;
    }
}

static const BusOps port92_ops = { port92_read, port92_write, 1 };
static const BusOps cf9_ops = { cf9_read, cf9_write, 1 };
static const BusOps port80_ops = { port80_read, port80_write, 1 };
static const BusOps debug_ops = { debug_read, debug_write, 1 };

static void *piix3_create(const void *config, const DeviceHost *host, GError **error)
{
    static const PciConfig identity = {
        .name = "isa-piix3", .devfn = PCI_DEVFN(1, 0), .vendor = 0x8086, .device = 0x7000,
        .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .class_code = 0x060100,
        .multifunction = true,
    };
    IsaPiix3 *p = g_new0(IsaPiix3, 1);
    p->host = *host;
    p->config = *(const IsaPiix3Config *)config;
    p->keyboard_a20 = true;
    if (!pci_add(host->pci, &p->pci, &identity, p, error)) {
        g_free(p);
        return NULL;
    }
    memset(p->pci.write_mask + 0x4c, 0xff, 0xb0 - 0x4c);
    memset(p->pci.write_mask + REGISTER_PIRQ, 0x8f, 4);
    p->pci.write_mask[4] = 0x08; // special cycles; decoding and mastering are hard-wired on
    p->pci.config_written = config_written;
    const char *name = isa_piix3_ops.name;
    p->regions[0] = bus_add_ports(host->bus, name, 0x92, 1, &port92_ops, p, &p->engaged);
    p->regions[1] = bus_add_ports(host->bus, name, 0xcf9, 1, &cf9_ops, p, &p->engaged);
    p->regions[2] = bus_add_ports(host->bus, name, 0x80, 1, &port80_ops, p, &p->engaged);
    p->regions[3] = bus_add_ports(host->bus, name, DEBUG_PORT, 1, &debug_ops, p, &p->engaged);
    pci_bus_connect(host->pci, (IrqLine){ set_pirq, p, 0 });
    return p;
}

static void piix3_reset(void *device, ResetKind kind)
{
    IsaPiix3 *p = device;
    pci_reset(&p->pci);
    memset(p->pci.config + 0x4c, 0, 0xb0 - 0x4c);
    le16_write(p->pci.config + 4, 0x0007);
    le16_write(p->pci.config + 6, 0x0200);
    p->pci.config[0x4c] = 0x4d;
    p->pci.config[0x4e] = 0x03;
    memset(p->pci.config + REGISTER_PIRQ, PIRQ_DISABLED, 4);
    p->pci.config[0x69] = 0x02;
    p->pci.config[0xa8] = 0x0f;
    p->reset_control = p->port92 = p->port80 = 0;
    p->line_length = 0;
    update_pirqs(p);
    update_a20(p);
}

static gboolean piix3_post_load(void *device, GError **error)
{
    IsaPiix3 *p = device;
    pci_restore(&p->pci);
    // Levels come from the functions' own state, in whatever order they are loaded.
    update_pirqs(p);
    p->a20 = !(p->keyboard_a20 || (p->port92 & FAST_A20));
    update_a20(p);
    return TRUE;
}

static void piix3_destroy(void *device)
{
    IsaPiix3 *p = device;
    if (!p)
        return;
    pci_bus_connect(p->host.pci, (IrqLine){ 0 });
    for (unsigned i = 0; i < G_N_ELEMENTS(p->regions); i++)
        bus_remove(p->host.bus, p->regions[i]);
    pci_remove(&p->pci);
    g_free(p);
}

static const StateField piix3_fields[] = {
    PCI_STATE_FIELDS(IsaPiix3, pci),
    STATE_SCALAR(IsaPiix3, reset_control, STATE_U8),
    STATE_SCALAR(IsaPiix3, port92, STATE_U8),
    STATE_SCALAR(IsaPiix3, port80, STATE_U8),
    STATE_SCALAR(IsaPiix3, keyboard_a20, STATE_BOOL),
};

static const StateTable piix3_state = {
    .name = "isa-piix3",
    .version = 1,
    .fields = piix3_fields,
    .field_count = G_N_ELEMENTS(piix3_fields),
    .post_load = piix3_post_load,
};

const DeviceOps isa_piix3_ops = {
    .name = "isa-piix3",
    .spec = "Intel 290550 82371SB, function 0",
    .create = piix3_create,
    .reset = piix3_reset,
    .state = &piix3_state,
    .destroy = piix3_destroy,
};

IrqLine isa_piix3_a20_line(void *piix3)
{
    return (IrqLine){ set_keyboard_a20, piix3, 0 };
}
