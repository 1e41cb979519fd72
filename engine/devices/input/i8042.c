// SPDX-License-Identifier: GPL-2.0-or-later
// The keyboard controller of the PS/2: ports 60h and 64h, the auxiliary port, the A20 gate and the
// reset pulse, and the translation of scan code set 2 to set 1. Follows the IBM PS/2 Hardware
// Interface Technical Reference (84F9735), "Keyboard/Auxiliary Device Controller", with the
// commands that later clones added (20h-3Fh, DDh, DFh).
//
// One byte at a time stands in the output buffer; the controller's own replies go before the
// keyboard, the keyboard before the mouse. A new byte is a new edge on its interrupt.
#include "engine/devices/input/i8042.h"

#include "engine/devices/input/byte-queue.h"
#include "engine/devices/input/scancodes.h"

#include <gio/gio.h>

enum { STATUS_OUTPUT = 0x01, STATUS_SYSTEM = 0x04, STATUS_COMMAND = 0x08, STATUS_UNLOCKED = 0x10,
       STATUS_AUX = 0x20 };

// The command byte.
enum { MODE_KEYBOARD_IRQ = 0x01, MODE_AUX_IRQ = 0x02, MODE_SYSTEM = 0x04,
       MODE_KEYBOARD_OFF = 0x10, MODE_AUX_OFF = 0x20, MODE_TRANSLATE = 0x40 };

// The output port.
enum { OUT_NOT_RESET = 0x01, OUT_A20 = 0x02, OUT_AUX_IRQ = 0x10, OUT_KEYBOARD_IRQ = 0x20,
       OUT_IDLE = 0xcc };

// Commands to port 64h.
enum {
    READ_RAM = 0x20, // 20h-3Fh; byte 0 is the command byte
    WRITE_RAM = 0x60, // 60h-7Fh
    DISABLE_AUX = 0xa7,
    ENABLE_AUX = 0xa8,
    TEST_AUX = 0xa9,
    SELF_TEST = 0xaa,
    TEST_KEYBOARD = 0xab,
    DISABLE_KEYBOARD = 0xad,
    ENABLE_KEYBOARD = 0xae,
    READ_INPUT_PORT = 0xc0,
    READ_OUTPUT_PORT = 0xd0,
    WRITE_OUTPUT_PORT = 0xd1,
    WRITE_KEYBOARD_BUFFER = 0xd2,
    WRITE_AUX_BUFFER = 0xd3,
    WRITE_AUX = 0xd4,
    A20_OFF = 0xdd,
    A20_ON = 0xdf,
    READ_TEST_INPUTS = 0xe0,
    PULSE_OUTPUT = 0xf0, // F0h-FFh: lines whose bit is 0
};

typedef enum { FROM_NOBODY, FROM_CONTROLLER, FROM_KEYBOARD, FROM_AUX } Source;

typedef struct {
    DeviceHost host;
    I8042Config config;
    BusRegion *data_region, *command_region;
    bool engaged;
    uint8_t ram[32]; // [0] is the command byte
    uint8_t output;  // the output buffer
    uint8_t source;  // of the byte in it; FROM_NOBODY: empty
    uint8_t out_port;
    uint8_t argument_of; // command that waits for a byte at port 60h, or 0
    bool system, last_was_command;
    bool break_prefix; // translation has seen F0h
    ByteQueue replies;     // of the controller
    ByteQueue aux_replies; // bytes written as if the mouse had sent them
} I8042;

static void update_irqs(I8042 *c)
{
    bool full = c->source != FROM_NOBODY;
    bool aux = c->source == FROM_AUX;
    irq_set(&c->host.isa_irq[1], full && !aux && (c->ram[0] & MODE_KEYBOARD_IRQ));
    irq_set(&c->host.isa_irq[12], aux && (c->ram[0] & MODE_AUX_IRQ));
}

// The next byte of the keyboard as the guest sees it; false where it is only a prefix.
static bool translate(I8042 *c, uint8_t byte, uint8_t *ret)
{
    if (!(c->ram[0] & MODE_TRANSLATE)) {
        *ret = byte;
        return true;
    }
    if (byte == 0xf0) {
        c->break_prefix = true;
        return false;
    }
    *ret = scancode_2_to_1(byte) | (c->break_prefix ? 0x80 : 0);
    c->break_prefix = false;
    return true;
}

// Fills the output buffer, if it is empty and somebody has a byte.
static void refill(I8042 *c)
{
    const Ps2Port *keyboard = &c->config.keyboard, *mouse = &c->config.mouse;
    if (c->source != FROM_NOBODY)
        return;
    if (c->replies.count) {
        c->output = byte_queue_pop(&c->replies);
        c->source = FROM_CONTROLLER;
    } else if (c->aux_replies.count) {
        c->output = byte_queue_pop(&c->aux_replies);
        c->source = FROM_AUX;
    }
    while (c->source == FROM_NOBODY && keyboard->read && !(c->ram[0] & MODE_KEYBOARD_OFF) &&
           keyboard->has_data(keyboard->device)) {
        if (translate(c, keyboard->read(keyboard->device), &c->output))
            c->source = FROM_KEYBOARD;
    }
    if (c->source == FROM_NOBODY && mouse->read && !(c->ram[0] & MODE_AUX_OFF) &&
        mouse->has_data(mouse->device)) {
        c->output = mouse->read(mouse->device);
        c->source = FROM_AUX;
    }
    update_irqs(c);
}

static void port_changed(void *opaque)
{
    refill(opaque);
}

static void reply(I8042 *c, uint8_t byte)
{
    byte_queue_push(&c->replies, byte);
}

static void write_out_port(I8042 *c, uint8_t value)
{
    c->out_port = value;
    irq_set(&c->config.a20, value & OUT_A20);
    if (!(value & OUT_NOT_RESET) && c->host.request_reset)
        c->host.request_reset(c->host.request_opaque);
}

static uint8_t read_out_port(const I8042 *c)
{
    return (c->out_port & (uint8_t)~(OUT_AUX_IRQ | OUT_KEYBOARD_IRQ)) |
           (c->source == FROM_AUX ? OUT_AUX_IRQ : c->source != FROM_NOBODY ? OUT_KEYBOARD_IRQ : 0);
}

static void set_mode(I8042 *c, uint8_t mode)
{
    c->ram[0] = mode;
    c->system = mode & MODE_SYSTEM;
    if (!(mode & MODE_TRANSLATE))
        c->break_prefix = false;
}

static void take_command(I8042 *c, uint8_t command)
{
    c->argument_of = 0;
    switch (command) {
    case READ_RAM ... READ_RAM + 31:
        reply(c, c->ram[command & 31]);
        break;
    case WRITE_RAM ... WRITE_RAM + 31:
    case WRITE_OUTPUT_PORT:
    case WRITE_KEYBOARD_BUFFER:
    case WRITE_AUX_BUFFER:
    case WRITE_AUX:
        c->argument_of = command;
        break;
    case DISABLE_AUX:
        c->ram[0] |= MODE_AUX_OFF;
        break;
    case ENABLE_AUX:
        c->ram[0] &= (uint8_t)~MODE_AUX_OFF;
        break;
    case SELF_TEST:
        c->system = true;
        reply(c, 0x55);
        break;
    case TEST_AUX:
    case TEST_KEYBOARD:
        reply(c, 0x00); // no error
        break;
    case DISABLE_KEYBOARD:
        c->ram[0] |= MODE_KEYBOARD_OFF;
        break;
    case ENABLE_KEYBOARD:
        c->ram[0] &= (uint8_t)~MODE_KEYBOARD_OFF;
        break;
    case READ_INPUT_PORT:
        reply(c, 0x80); // not locked
        break;
    case READ_OUTPUT_PORT:
        reply(c, read_out_port(c));
        break;
    case A20_OFF:
        write_out_port(c, c->out_port & (uint8_t)~OUT_A20);
        break;
    case A20_ON:
        write_out_port(c, c->out_port | OUT_A20);
        break;
    case READ_TEST_INPUTS:
        reply(c, 0x00);
        break;
    case PULSE_OUTPUT ... 0xff:
        // The other lines of a pulse lead nowhere; A20's is too short to matter.
        if (!(command & 1) && c->host.request_reset)
            c->host.request_reset(c->host.request_opaque);
        break;
    default: // password commands and what clones added: no effect
        break;
    }
}

static void take_argument(I8042 *c, uint8_t command, uint8_t value)
{
    switch (command) {
    case WRITE_RAM:
        set_mode(c, value);
        break;
    case WRITE_OUTPUT_PORT:
        write_out_port(c, value);
        break;
    case WRITE_KEYBOARD_BUFFER:
        reply(c, value);
        break;
    case WRITE_AUX_BUFFER:
        byte_queue_push(&c->aux_replies, value);
        break;
    case WRITE_AUX:
        // A byte for a port brings its clock back up.
        c->ram[0] &= (uint8_t)~MODE_AUX_OFF;
        if (c->config.mouse.write)
            c->config.mouse.write(c->config.mouse.device, value);
        break;
    default:
        c->ram[command & 31] = value;
        break;
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    I8042 *c = opaque;
    uint8_t byte = c->output;
    if (c->source != FROM_NOBODY) {
        c->source = FROM_NOBODY;
        update_irqs(c); // the line falls between two bytes
        refill(c);
    }
    return byte;
}

static void data_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    I8042 *c = opaque;
    uint8_t command = c->argument_of;
    c->argument_of = 0;
    c->last_was_command = false;
    if (command) {
        take_argument(c, command, (uint8_t)value);
    } else {
        c->ram[0] &= (uint8_t)~MODE_KEYBOARD_OFF;
        if (c->config.keyboard.write)
            c->config.keyboard.write(c->config.keyboard.device, (uint8_t)value);
    }
    refill(c);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    const I8042 *c = opaque;
    return STATUS_UNLOCKED | (c->source != FROM_NOBODY ? STATUS_OUTPUT : 0) |
           (c->source == FROM_AUX ? STATUS_AUX : 0) | (c->system ? STATUS_SYSTEM : 0) |
           (c->last_was_command ? STATUS_COMMAND : 0);
}

static void command_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    I8042 *c = opaque;
    c->last_was_command = true;
    take_command(c, (uint8_t)value);
    refill(c);
}

static const BusOps data_ports = { data_read, data_write, 1 };
static const BusOps command_ports = { status_read, command_write, 1 };

static void *i8042_create(const void *config, const DeviceHost *host, GError **error)
{
    I8042 *c = g_new0(I8042, 1);
    c->host = *host;
    c->config = *(const I8042Config *)config;
    const char *name = i8042_ops.name;
    c->data_region = bus_add_ports(host->bus, name, 0x60, 1, &data_ports, c, &c->engaged);
    c->command_region = bus_add_ports(host->bus, name, 0x64, 1, &command_ports, c, &c->engaged);
    if (c->config.keyboard.attach)
        c->config.keyboard.attach(c->config.keyboard.device, port_changed, c);
    if (c->config.mouse.attach)
        c->config.mouse.attach(c->config.mouse.device, port_changed, c);
    return c;
}

static void i8042_reset(void *device, ResetKind kind)
{
    I8042 *c = device;
    memset(c->ram, 0, sizeof c->ram);
    c->ram[0] = MODE_KEYBOARD_IRQ | MODE_AUX_IRQ | MODE_TRANSLATE;
    c->output = 0;
    c->source = FROM_NOBODY;
    c->argument_of = 0;
    c->system = c->last_was_command = c->break_prefix = false;
    c->replies = c->aux_replies = (ByteQueue){ 0 };
    // A20 is on after a reset, or the CPU could not fetch from the reset vector.
    c->out_port = OUT_IDLE | OUT_NOT_RESET | OUT_A20;
    irq_set(&c->config.a20, true);
    update_irqs(c);
}

static gboolean i8042_post_load(void *device, GError **error)
{
    I8042 *c = device;
    if (!byte_queue_valid(&c->replies) || !byte_queue_valid(&c->aux_replies) ||
        c->source > FROM_AUX) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'i8042': a queue or the output buffer is impossible");
        return FALSE;
    }
    irq_set(&c->config.a20, c->out_port & OUT_A20);
    update_irqs(c);
    return TRUE;
}

static void i8042_destroy(void *device)
{
    I8042 *c = device;
    if (!c)
        return;
    if (c->config.keyboard.attach)
        c->config.keyboard.attach(c->config.keyboard.device, NULL, NULL);
    if (c->config.mouse.attach)
        c->config.mouse.attach(c->config.mouse.device, NULL, NULL);
    bus_remove(c->host.bus, c->data_region);
    bus_remove(c->host.bus, c->command_region);
    g_free(c);
}

static const StateField i8042_fields[] = {
    STATE_ARRAY(I8042, ram, STATE_U8),
    STATE_SCALAR(I8042, output, STATE_U8),
    STATE_SCALAR(I8042, source, STATE_U8),
    STATE_SCALAR(I8042, out_port, STATE_U8),
    STATE_SCALAR(I8042, argument_of, STATE_U8),
    STATE_SCALAR(I8042, system, STATE_BOOL),
    STATE_SCALAR(I8042, last_was_command, STATE_BOOL),
    STATE_SCALAR(I8042, break_prefix, STATE_BOOL),
    BYTE_QUEUE_STATE_FIELDS(I8042, replies),
    BYTE_QUEUE_STATE_FIELDS(I8042, aux_replies),
};

static const StateTable i8042_state = {
    .name = "i8042",
    .version = 1,
    .fields = i8042_fields,
    .field_count = G_N_ELEMENTS(i8042_fields),
    .post_load = i8042_post_load,
};

const DeviceOps i8042_ops = {
    .name = "i8042",
    .spec = "IBM 84F9735 PS/2 Hardware Interface Technical Reference, Controller",
    .create = i8042_create,
    .reset = i8042_reset,
    .state = &i8042_state,
    .destroy = i8042_destroy,
};
