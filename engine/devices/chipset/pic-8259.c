// SPDX-License-Identifier: GPL-2.0-or-later
// The pair of 8259A interrupt controllers, cascaded over IRQ 2, with the edge/level control
// registers of the PIIX3. 8086 mode only; buffered mode is the board's affair and has no effect.
// Follows Intel 231468 (8259A) and 290550 (82371SB), sections 2.5.5 and 2.5.10.
#include "engine/devices/chipset/pic-8259.h"

#include <gio/gio.h>

// What the next write to the odd port is (8259A, figure 6: initialization sequence).
enum { EXPECT_OCW1, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4 };

typedef struct {
    uint8_t lines;    // wire levels
    uint8_t latch;    // edges not yet acknowledged
    uint8_t imr, isr;
    uint8_t elcr;     // 1: level triggered
    uint8_t lowest;   // the input of lowest priority (7: fixed priority)
    uint8_t base;     // ICW2
    uint8_t expect;
    bool level_all;   // ICW1 LTIM
    bool single;      // ICW1 SNGL
    bool needs_icw4;  // ICW1 IC4
    bool auto_eoi, special_nested;
    bool rotate_on_auto_eoi, special_mask, poll, read_isr;
} Chip;

typedef struct {
    DeviceHost host;
    Pic8259Config config;
    BusRegion *regions[3];
    bool engaged;
    bool output; // INTR as last driven
    Chip chips[2]; // master, slave
} Pic8259;

static uint8_t requests(const Pic8259 *pic, unsigned which);

static unsigned highest(const Chip *chip, uint8_t mask)
{
    for (unsigned i = 0; i < 8; i++) {
        if (mask & 1 << ((chip->lowest + 1 + i) & 7))
            return i;
    }
    return 8;
}

// The input that the chip asks to have served, or -1 (8259A, "priority resolver").
static int pending(const Pic8259 *pic, unsigned which)
{
    const Chip *chip = &pic->chips[which];
    unsigned rank = highest(chip, requests(pic, which) & ~chip->imr);
    if (rank == 8)
        return -1;
    uint8_t in_service = chip->isr;
    if (chip->special_mask)
        in_service &= ~chip->imr;
    // A master in special fully nested mode takes further requests of a slave in service.
    if (which == 0 && chip->special_nested)
        in_service &= ~(1 << 2);
    if (rank >= highest(chip, in_service))
        return -1;
    return (int)((chip->lowest + 1 + rank) & 7);
}

static uint8_t requests(const Pic8259 *pic, unsigned which)
{
    const Chip *chip = &pic->chips[which];
    uint8_t level = chip->level_all ? 0xff : chip->elcr;
    uint8_t irr = (uint8_t)((chip->latch & ~level) | (chip->lines & level));
    if (which == 0) {
        irr &= (uint8_t)~(1 << 2);
        if (pending(pic, 1) >= 0)
            irr |= 1 << 2;
    }
    return irr;
}

static void update(Pic8259 *pic)
{
    bool output = pending(pic, 0) >= 0;
    if (output == pic->output)
        return;
    pic->output = output;
    irq_set(&pic->config.interrupt, output);
}

static void set_line(void *opaque, unsigned irq, bool level)
{
    Pic8259 *pic = opaque;
    Chip *chip = &pic->chips[irq >> 3 & 1];
    uint8_t bit = (uint8_t)(1 << (irq & 7));
    if (level && !(chip->lines & bit))
        chip->latch |= bit;
    if (level)
        chip->lines |= bit;
    else
        chip->lines &= (uint8_t)~bit;
    update(pic);
}

static void take(Chip *chip, unsigned input)
{
    chip->latch &= (uint8_t)~(1 << input);
    if (!chip->auto_eoi)
        chip->isr |= (uint8_t)(1 << input);
    else if (chip->rotate_on_auto_eoi)
        chip->lowest = (uint8_t)input;
}

static int acknowledge(Pic8259 *pic)
{
    Chip *master = &pic->chips[0], *slave = &pic->chips[1];
    int input = pending(pic, 0);
    if (input < 0)
        return master->base + 7; // spurious: no in-service bit
    int vector = master->base + input;
    if (input == 2) {
        int second = pending(pic, 1);
        take(master, 2);
        vector = slave->base + (second < 0 ? 7 : second);
        if (second >= 0)
            take(slave, (unsigned)second);
    } else {
        take(master, (unsigned)input);
    }
    update(pic);
    return vector;
}

static void end_of_interrupt(Chip *chip, uint8_t value)
{
    unsigned input = value & 7;
    bool specific = value & 0x40, rotate = value & 0x80;
    if (!specific) {
        uint8_t in_service = chip->special_mask ? chip->isr & ~chip->imr : chip->isr;
        unsigned rank = highest(chip, in_service);
        if (rank == 8)
            return;
        input = (chip->lowest + 1 + rank) & 7;
    }
    chip->isr &= (uint8_t)~(1 << input);
    if (rotate)
        chip->lowest = (uint8_t)input;
}

static void write_ocw2(Chip *chip, uint8_t value)
{
    switch (value >> 5) {
    case 0:
    case 4:
        chip->rotate_on_auto_eoi = value >> 7;
        break;
    case 6:
        chip->lowest = value & 7;
        break;
    case 2: // no operation
        break;
    default: // 1, 3, 5, 7
        end_of_interrupt(chip, value);
        break;
    }
}

static void write_ocw3(Chip *chip, uint8_t value)
{
    if (value & 4)
        chip->poll = true;
    if (value & 2)
        chip->read_isr = value & 1;
    if (value & 0x40)
        chip->special_mask = value & 0x20;
}

static void write_icw1(Chip *chip, uint8_t value)
{
    // The wires and the ELCR are outside of the chip's sequence. An input that is high now needs a
    // new edge.
    *chip = (Chip){ .lines = chip->lines, .elcr = chip->elcr, .base = chip->base, .lowest = 7,
                    .expect = EXPECT_ICW2, .level_all = value & 8, .single = value & 2,
                    .needs_icw4 = value & 1 };
}

static void write_odd(Chip *chip, uint8_t value)
{
    switch (chip->expect) {
    case EXPECT_OCW1:
        chip->imr = value;
        break;
    case EXPECT_ICW2:
        chip->base = value & 0xf8;
        chip->expect = !chip->single ? EXPECT_ICW3 : chip->needs_icw4 ? EXPECT_ICW4 : EXPECT_OCW1;
        break;
    case EXPECT_ICW3:
        // The cascade is wired to input 2 whatever the guest says.
        chip->expect = chip->needs_icw4 ? EXPECT_ICW4 : EXPECT_OCW1;
        break;
    case EXPECT_ICW4:
        chip->special_nested = value & 0x10;
        chip->auto_eoi = value & 2;
        chip->expect = EXPECT_OCW1;
        break;
    }
}

static void write_chip(Pic8259 *pic, unsigned which, uint64_t offset, uint64_t value)
{
    Chip *chip = &pic->chips[which];
    if (offset)
        write_odd(chip, (uint8_t)value);
    else if (value & 0x10)
        write_icw1(chip, (uint8_t)value);
    else if (value & 8)
        write_ocw3(chip, (uint8_t)value);
    else
        write_ocw2(chip, (uint8_t)value);
    update(pic);
}

static uint64_t read_chip(Pic8259 *pic, unsigned which, uint64_t offset)
{
    Chip *chip = &pic->chips[which];
    if (chip->poll) {
        // A poll is an acknowledge of this chip alone (8259A, "poll command").
        chip->poll = false;
        int input = pending(pic, which);
        if (input < 0)
            return 0;
        take(chip, (unsigned)input);
        update(pic);
        return 0x80 | (unsigned)input;
    }
    if (offset)
        return chip->imr;
    return chip->read_isr ? chip->isr : requests(pic, which);
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_chip(opaque, 0, offset);
}

static void master_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    write_chip(opaque, 0, offset, value);
}

static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_chip(opaque, 1, offset);
}

static void slave_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    write_chip(opaque, 1, offset, value);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((Pic8259 *)opaque)->chips[offset & 1].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    // IRQ 0, 1, 2, 8 and 13 are always edge triggered (82371SB, 2.5.10).
    static const uint8_t writable[2] = { 0xf8, 0xde };
    Pic8259 *pic = opaque;
    pic->chips[offset & 1].elcr = (uint8_t)value & writable[offset & 1];
    update(pic);
}

static const BusOps master_ports = { master_read, master_write, 1 };
static const BusOps slave_ports = { slave_read, slave_write, 1 };
static const BusOps elcr_ports = { elcr_read, elcr_write, 1 };

static void *pic_create(const void *config, const DeviceHost *host, GError **error)
{
    Pic8259 *pic = g_new0(Pic8259, 1);
    pic->host = *host;
    pic->config = *(const Pic8259Config *)config;
    const char *name = pic_8259_ops.name;
    pic->regions[0] = bus_add_ports(host->bus, name, 0x20, 2, &master_ports, pic, &pic->engaged);
    pic->regions[1] = bus_add_ports(host->bus, name, 0xa0, 2, &slave_ports, pic, &pic->engaged);
    pic->regions[2] = bus_add_ports(host->bus, name, 0x4d0, 2, &elcr_ports, pic, &pic->engaged);
    return pic;
}

static void pic_reset(void *device, ResetKind kind)
{
    Pic8259 *pic = device;
    for (unsigned i = 0; i < 2; i++)
        pic->chips[i] = (Chip){ .lines = pic->chips[i].lines, .lowest = 7 };
    update(pic);
}

static gboolean pic_post_load(void *device, GError **error)
{
    Pic8259 *pic = device;
    for (unsigned i = 0; i < 2; i++) {
        if (pic->chips[i].expect > EXPECT_ICW4 || pic->chips[i].lowest > 7) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "saved state of 'pic-8259': chip %u is in a state that does not exist", i);
            return FALSE;
        }
    }
    pic->output = pending(pic, 0) >= 0;
    irq_set(&pic->config.interrupt, pic->output);
    return TRUE;
}

static void pic_destroy(void *device)
{
    Pic8259 *pic = device;
    if (!pic)
        return;
    for (unsigned i = 0; i < G_N_ELEMENTS(pic->regions); i++)
        bus_remove(pic->host.bus, pic->regions[i]);
    g_free(pic);
}

#define CHIP_FIELDS(n)                                                                             \
    STATE_SCALAR(Pic8259, chips[n].lines, STATE_U8),                                               \
        STATE_SCALAR(Pic8259, chips[n].latch, STATE_U8),                                           \
        STATE_SCALAR(Pic8259, chips[n].imr, STATE_U8),                                             \
        STATE_SCALAR(Pic8259, chips[n].isr, STATE_U8),                                             \
        STATE_SCALAR(Pic8259, chips[n].elcr, STATE_U8),                                            \
        STATE_SCALAR(Pic8259, chips[n].lowest, STATE_U8),                                          \
        STATE_SCALAR(Pic8259, chips[n].base, STATE_U8),                                            \
        STATE_SCALAR(Pic8259, chips[n].expect, STATE_U8),                                          \
        STATE_SCALAR(Pic8259, chips[n].level_all, STATE_BOOL),                                     \
        STATE_SCALAR(Pic8259, chips[n].single, STATE_BOOL),                                        \
        STATE_SCALAR(Pic8259, chips[n].needs_icw4, STATE_BOOL),                                    \
        STATE_SCALAR(Pic8259, chips[n].auto_eoi, STATE_BOOL),                                      \
        STATE_SCALAR(Pic8259, chips[n].special_nested, STATE_BOOL),                                \
        STATE_SCALAR(Pic8259, chips[n].rotate_on_auto_eoi, STATE_BOOL),                            \
        STATE_SCALAR(Pic8259, chips[n].special_mask, STATE_BOOL),                                  \
        STATE_SCALAR(Pic8259, chips[n].poll, STATE_BOOL),                                          \
        STATE_SCALAR(Pic8259, chips[n].read_isr, STATE_BOOL)

static const StateField pic_fields[] = { CHIP_FIELDS(0), CHIP_FIELDS(1) };

static const StateTable pic_state = {
    .name = "pic-8259",
    .version = 1,
    .fields = pic_fields,
    .field_count = G_N_ELEMENTS(pic_fields),
    .post_load = pic_post_load,
};

const DeviceOps pic_8259_ops = {
    .name = "pic-8259",
    .spec = "Intel 231468 8259A; 290550 82371SB",
    .create = pic_create,
    .reset = pic_reset,
    .state = &pic_state,
    .destroy = pic_destroy,
};

IrqLine pic_8259_line(void *pic, unsigned irq)
{
    return (IrqLine){ set_line, pic, irq & 15 };
}

int pic_8259_acknowledge(void *opaque)
{
    return acknowledge(opaque);
}

bool pic_8259_waits(void *device, unsigned irq)
{
    Pic8259 *pic = device;
    unsigned which = irq >> 3 & 1;
    return requests(pic, which) & ~pic->chips[which].imr & 1 << (irq & 7);
}
