// SPDX-License-Identifier: GPL-2.0-or-later
// The two 8237A DMA controllers of the AT with their page registers: channels 0 to 3 move bytes, 5
// to 7 move words, 4 is the cascade. Memory-to-memory transfers are not there, as on the PIIX3.
// Follows Intel 231466 (8237A) and 290550 (82371SB), section 2.5.1.
#include "engine/devices/chipset/dma-8237.h"

#include <gio/gio.h>

#define CHANNELS 8
#define CASCADE  4

// Mode register.
enum { MODE_TYPE = 0x0c, MODE_VERIFY = 0x00, MODE_WRITE = 0x04, MODE_READ = 0x08,
       MODE_AUTO = 0x10, MODE_DOWN = 0x20, MODE_CASCADE = 0xc0 };
enum { COMMAND_DISABLE = 0x04 };

// Registers 8 to 15 of a controller.
enum { REG_COMMAND_STATUS = 8, REG_REQUEST, REG_SINGLE_MASK, REG_MODE, REG_CLEAR_FLIPFLOP,
       REG_MASTER_CLEAR, REG_CLEAR_MASK, REG_ALL_MASKS };

typedef struct {
    uint16_t base_address, base_count;
    uint16_t address, count;
    uint8_t mode;
    void (*ready)(void *device);
    void *device;
} Channel;

typedef struct {
    uint8_t command, status, mask, requests;
    bool high_byte; // flip-flop: the next byte of an address or count is the high one
} Controller;

typedef struct {
    DeviceHost host;
    BusRegion *regions[3];
    bool engaged;
    Controller controllers[2];
    Channel channels[CHANNELS];
    uint8_t pages[16]; // ports 80h-8Fh; 80h itself is the PIIX3's
} Dma;

// Page register of each channel, as the low digit of its port.
static const uint8_t page_of_channel[CHANNELS] = { 7, 3, 1, 2, 15, 11, 9, 10 };

static bool channel_ready(const Dma *dma, unsigned index)
{
    const Controller *controller = &dma->controllers[index >> 2];
    // The first controller's requests reach the CPU through the second one's cascade channel.
    if (index < 4 && ((dma->controllers[1].mask & 1) ||
                      (dma->controllers[1].command & COMMAND_DISABLE)))
        return false;
    return !(controller->command & COMMAND_DISABLE) && !(controller->mask >> (index & 3) & 1);
}

// Tells devices that wait for a channel. A device may watch again from its call.
static void wake(Dma *dma)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *channel = &dma->channels[i];
        if (!channel->ready || !channel_ready(dma, i))
            continue;
        void (*ready)(void *device) = channel->ready;
        channel->ready = NULL;
        ready(channel->device);
    }
}

static uint64_t bus_address(const Dma *dma, unsigned index)
{
    const Channel *channel = &dma->channels[index];
    uint64_t page = dma->pages[page_of_channel[index]];
    if (index < 4)
        return page << 16 | channel->address;
    return (page & 0xfe) << 16 | (uint64_t)channel->address << 1;
}

// Elements that can be moved before the address wraps within its 64 K.
static uint32_t until_wrap(const Channel *channel)
{
    return channel->mode & MODE_DOWN ? channel->address + 1u : 0x10000u - channel->address;
}

static void move(const Dma *dma, const Channel *channel, uint64_t at, uint8_t *bytes, size_t size)
{
    if ((channel->mode & MODE_TYPE) == MODE_WRITE)
        guest_memory_write(dma->host.memory, at, bytes, size);
    else if ((channel->mode & MODE_TYPE) == MODE_READ)
        guest_memory_read(dma->host.memory, at, bytes, size);
}

// Moves `count` elements that do not wrap, in the device's order.
static void move_run(Dma *dma, unsigned index, uint8_t *bytes, uint32_t count)
{
    Channel *channel = &dma->channels[index];
    unsigned width = index < 4 ? 1 : 2;
    uint64_t at = bus_address(dma, index);
    if (channel->mode & MODE_DOWN) {
        for (uint32_t i = 0; i < count; i++)
            move(dma, channel, at - (uint64_t)i * width, bytes + (size_t)i * width, width);
        channel->address = (uint16_t)(channel->address - count);
    } else {
        move(dma, channel, at, bytes, (size_t)count * width);
        channel->address = (uint16_t)(channel->address + count);
    }
}

static void end_count(Dma *dma, unsigned index)
{
    Channel *channel = &dma->channels[index];
    Controller *controller = &dma->controllers[index >> 2];
    controller->status |= (uint8_t)(1 << (index & 3));
    controller->requests &= (uint8_t)~(1 << (index & 3));
    if (channel->mode & MODE_AUTO) {
        channel->address = channel->base_address;
        channel->count = channel->base_count;
    } else {
        controller->mask |= (uint8_t)(1 << (index & 3));
        channel->count = 0xffff;
    }
}

static size_t border_transfer(void *opaque, unsigned index, IsaDmaDirection direction,
                              void *buffer, size_t size, bool *ret_terminal_count)
{
    Dma *dma = opaque;
    *ret_terminal_count = false;
    if (index >= CHANNELS || index == CASCADE || !channel_ready(dma, index))
        return 0;
    Channel *channel = &dma->channels[index];
    unsigned type = channel->mode & MODE_TYPE, width = index < 4 ? 1 : 2;
    unsigned wanted = direction == ISA_DMA_TO_MEMORY ? MODE_WRITE : MODE_READ;
    if ((type != MODE_VERIFY && type != wanted) || (channel->mode & MODE_CASCADE) == MODE_CASCADE)
        return 0;
    size_t done = 0;
    while (done + width <= size && !*ret_terminal_count) {
        // The count register holds one less than what is left.
        uint32_t run = (uint32_t)MIN((size - done) / width, channel->count + 1u);
        run = MIN(run, until_wrap(channel));
        move_run(dma, index, (uint8_t *)buffer + done, run);
        done += (size_t)run * width;
        if (run == channel->count + 1u) {
            end_count(dma, index);
            *ret_terminal_count = true;
        } else {
            channel->count -= (uint16_t)run;
        }
    }
    return done;
}

static void border_watch(void *opaque, unsigned index, void (*ready)(void *device), void *device)
{
    Dma *dma = opaque;
    if (index < CHANNELS) {
        dma->channels[index].ready = ready;
        dma->channels[index].device = device;
    }
}

static void master_clear(Controller *controller)
{
    *controller = (Controller){ .mask = 0x0f };
}

static void write_channel(Dma *dma, unsigned which, unsigned reg, uint8_t value)
{
    Channel *channel = &dma->channels[which * 4 + reg / 2];
    uint16_t *base = reg & 1 ? &channel->base_count : &channel->base_address;
    uint16_t *current = reg & 1 ? &channel->count : &channel->address;
    bool high = dma->controllers[which].high_byte;
    *base = high ? (uint16_t)(value << 8 | (*base & 0xff)) : (*base & 0xff00) | value;
    *current = *base;
    dma->controllers[which].high_byte = !high;
}

static void write_bits(uint8_t *bits, uint8_t value)
{
    uint8_t bit = (uint8_t)(1 << (value & 3));
    *bits = value & 4 ? *bits | bit : *bits & (uint8_t)~bit;
}

static void write_controller(Dma *dma, unsigned which, unsigned reg, uint8_t value)
{
    Controller *c = &dma->controllers[which];
    switch (reg) {
    case REG_COMMAND_STATUS:
        c->command = value;
        break;
    case REG_REQUEST:
        write_bits(&c->requests, value);
        break;
    case REG_SINGLE_MASK:
        write_bits(&c->mask, value);
        break;
    case REG_MODE:
        dma->channels[which * 4 + (value & 3)].mode = value & 0xfc;
        break;
    case REG_CLEAR_FLIPFLOP:
        c->high_byte = false;
        break;
    case REG_MASTER_CLEAR:
        master_clear(c);
        break;
    case REG_CLEAR_MASK:
        c->mask = 0;
        break;
    case REG_ALL_MASKS:
        c->mask = value & 15;
        break;
    default:
        write_channel(dma, which, reg, value);
        break;
    }
    wake(dma);
}

static uint8_t read_controller(Dma *dma, unsigned which, unsigned reg)
{
    Controller *c = &dma->controllers[which];
    if (reg == REG_COMMAND_STATUS) {
        uint8_t status = c->status | (uint8_t)(c->requests << 4);
        c->status = 0;
        return status;
    }
    if (reg == REG_ALL_MASKS)
        return c->mask | 0xf0;
    if (reg > REG_COMMAND_STATUS)
        return 0;
    const Channel *channel = &dma->channels[which * 4 + reg / 2];
    uint16_t value = reg & 1 ? channel->count : channel->address;
    uint8_t byte = (uint8_t)(c->high_byte ? value >> 8 : value);
    c->high_byte = !c->high_byte;
    return byte;
}

static uint64_t first_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_controller(opaque, 0, (unsigned)offset);
}

static void first_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    write_controller(opaque, 0, (unsigned)offset, (uint8_t)value);
}

static uint64_t second_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_controller(opaque, 1, (unsigned)offset / 2);
}

static void second_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    write_controller(opaque, 1, (unsigned)offset / 2, (uint8_t)value);
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((Dma *)opaque)->pages[(offset + 1) & 15];
}

static void page_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    ((Dma *)opaque)->pages[(offset + 1) & 15] = (uint8_t)value;
}

static const BusOps first_ports = { first_read, first_write, 1 };
static const BusOps second_ports = { second_read, second_write, 1 };
static const BusOps page_ports = { page_read, page_write, 1 };

static void *dma_create(const void *config, const DeviceHost *host, GError **error)
{
    Dma *dma = g_new0(Dma, 1);
    dma->host = *host;
    const char *name = dma_8237_ops.name;
    dma->regions[0] = bus_add_ports(host->bus, name, 0x00, 16, &first_ports, dma, &dma->engaged);
    dma->regions[1] = bus_add_ports(host->bus, name, 0xc0, 32, &second_ports, dma, &dma->engaged);
    // Port 92h lies past these; 80h belongs to the PIIX3.
    dma->regions[2] = bus_add_ports(host->bus, name, 0x81, 15, &page_ports, dma, &dma->engaged);
    return dma;
}

static void dma_reset(void *device, ResetKind kind)
{
    Dma *dma = device;
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *channel = &dma->channels[i];
        *channel = (Channel){ .ready = channel->ready, .device = channel->device };
    }
    master_clear(&dma->controllers[0]);
    master_clear(&dma->controllers[1]);
    memset(dma->pages, 0, sizeof dma->pages);
}

static void dma_destroy(void *device)
{
    Dma *dma = device;
    if (!dma)
        return;
    for (unsigned i = 0; i < G_N_ELEMENTS(dma->regions); i++)
        bus_remove(dma->host.bus, dma->regions[i]);
    g_free(dma);
}

#define CHANNEL_FIELDS(n)                                                                          \
    STATE_SCALAR(Dma, channels[n].base_address, STATE_U16),                                        \
        STATE_SCALAR(Dma, channels[n].base_count, STATE_U16),                                      \
        STATE_SCALAR(Dma, channels[n].address, STATE_U16),                                         \
        STATE_SCALAR(Dma, channels[n].count, STATE_U16),                                           \
        STATE_SCALAR(Dma, channels[n].mode, STATE_U8)
#define CONTROLLER_FIELDS(n)                                                                       \
    STATE_SCALAR(Dma, controllers[n].command, STATE_U8),                                           \
        STATE_SCALAR(Dma, controllers[n].status, STATE_U8),                                        \
        STATE_SCALAR(Dma, controllers[n].mask, STATE_U8),                                          \
        STATE_SCALAR(Dma, controllers[n].requests, STATE_U8),                                      \
        STATE_SCALAR(Dma, controllers[n].high_byte, STATE_BOOL)

static const StateField dma_fields[] = {
    CONTROLLER_FIELDS(0),
    CONTROLLER_FIELDS(1),
    CHANNEL_FIELDS(0),
    CHANNEL_FIELDS(1),
    CHANNEL_FIELDS(2),
    CHANNEL_FIELDS(3),
    CHANNEL_FIELDS(4),
    CHANNEL_FIELDS(5),
    CHANNEL_FIELDS(6),
    CHANNEL_FIELDS(7),
    STATE_ARRAY(Dma, pages, STATE_U8),
};

static const StateTable dma_state = {
    .name = "dma-8237",
    .version = 1,
    .fields = dma_fields,
    .field_count = G_N_ELEMENTS(dma_fields),
};

const DeviceOps dma_8237_ops = {
    .name = "dma-8237",
    .spec = "Intel 231466 8237A; 290550 82371SB, section 2.5.1",
    .create = dma_create,
    .reset = dma_reset,
    .state = &dma_state,
    .destroy = dma_destroy,
};

IsaDma dma_8237_border(void *dma)
{
    return (IsaDma){ border_transfer, border_watch, dma };
}
