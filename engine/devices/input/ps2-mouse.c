// SPDX-License-Identifier: GPL-2.0-or-later
// A PS/2 mouse that also speaks the IntelliMouse (wheel) and IntelliMouse Explorer (two more
// buttons) protocols. Follows the IBM PS/2 Hardware Interface Technical Reference (84F9735),
// "Mouse", and Microsoft's IntelliMouse description for the sample rate knocks.
#include "engine/devices/input/ps2-mouse.h"

#include "engine/devices/input/byte-queue.h"

#include <gio/gio.h>

enum {
    SCALE_1_1 = 0xe6,
    SCALE_2_1 = 0xe7,
    SET_RESOLUTION = 0xe8,
    STATUS_REQUEST = 0xe9,
    STREAM_MODE = 0xea,
    READ_DATA = 0xeb,
    RESET_WRAP = 0xec,
    WRAP_MODE = 0xee,
    REMOTE_MODE = 0xf0,
    READ_TYPE = 0xf2,
    SET_RATE = 0xf3,
    ENABLE = 0xf4,
    DISABLE = 0xf5,
    SET_DEFAULT = 0xf6,
    RESEND = 0xfe,
    RESET = 0xff,
    ACKNOWLEDGE = 0xfa,
    TEST_PASSED = 0xaa,
};

enum { TYPE_PLAIN = 0, TYPE_WHEEL = 3, TYPE_EXPLORER = 4 };
enum { STATUS_SCALE = 0x10, STATUS_ENABLED = 0x20, STATUS_REMOTE = 0x40 };

#define MOTION_LIMIT 32767 // kept while the guest does not read
#define QUEUE_LIMIT  16    // bytes beyond which motion adds up instead of queueing

typedef struct {
    Ps2MouseConfig config;
    void (*changed)(void *opaque);
    void *changed_opaque;
    ByteQueue queue;
    uint8_t argument_of;
    uint8_t status; // STATUS_*
    uint8_t resolution, rate, type;
    uint8_t knocks[2]; // the last two sample rates, the older first
    uint8_t last_sent;
    bool wrap;
    uint8_t buttons, sent_buttons;
    int32_t dx, dy, dz; // not yet sent; y is positive upwards, z downwards
} Mouse;

static void tell_changed(Mouse *m)
{
    if (m->changed)
        m->changed(m->changed_opaque);
}

static int32_t take_part(int32_t *value, int32_t low, int32_t high)
{
    int32_t part = CLAMP(*value, low, high);
    *value -= part;
    return part;
}

static void push_packet(Mouse *m)
{
    int32_t dx = take_part(&m->dx, -255, 255), dy = take_part(&m->dy, -255, 255);
    byte_queue_push(&m->queue, (uint8_t)(8 | (m->buttons & 7) | (dx < 0 ? 0x10 : 0) |
                                         (dy < 0 ? 0x20 : 0)));
    byte_queue_push(&m->queue, (uint8_t)dx);
    byte_queue_push(&m->queue, (uint8_t)dy);
    if (m->type == TYPE_WHEEL) {
        byte_queue_push(&m->queue, (uint8_t)take_part(&m->dz, -127, 127));
    } else if (m->type == TYPE_EXPLORER) {
        uint8_t extra = (uint8_t)((m->buttons & INPUT_SIDE ? 0x10 : 0) |
                                  (m->buttons & INPUT_EXTRA ? 0x20 : 0));
        byte_queue_push(&m->queue, extra | ((uint8_t)take_part(&m->dz, -7, 7) & 0x0f));
    } else {
        m->dz = 0;
    }
    m->sent_buttons = m->buttons;
}

static bool has_news(const Mouse *m)
{
    return m->dx || m->dy || m->dz || m->buttons != m->sent_buttons;
}

static bool streams(const Mouse *m)
{
    return (m->status & STATUS_ENABLED) && !(m->status & STATUS_REMOTE) && !m->wrap;
}

// Queues what has happened, as far as there is room.
static void flush(Mouse *m)
{
    while (streams(m) && has_news(m) && m->queue.count < QUEUE_LIMIT)
        push_packet(m);
}

static void add_motion(int32_t *value, int delta)
{
    *value = CLAMP(*value + CLAMP(delta, -MOTION_LIMIT, MOTION_LIMIT), -MOTION_LIMIT, MOTION_LIMIT);
}

static void take_motion(void *opaque, int dx, int dy, int wheel, unsigned buttons)
{
    Mouse *m = opaque;
    m->buttons = buttons & 0x1f;
    if (!(m->status & STATUS_ENABLED) && !(m->status & STATUS_REMOTE))
        return;
    add_motion(&m->dx, dx);
    add_motion(&m->dy, -CLAMP(dy, -MOTION_LIMIT, MOTION_LIMIT));
    add_motion(&m->dz, -CLAMP(wheel, -MOTION_LIMIT, MOTION_LIMIT));
    flush(m);
    tell_changed(m);
}

static void reply(Mouse *m, uint8_t byte)
{
    byte_queue_push(&m->queue, byte);
}

static void forget_motion(Mouse *m)
{
    m->dx = m->dy = m->dz = 0;
    m->sent_buttons = m->buttons;
}

static void set_default(Mouse *m)
{
    m->status = 0;
    m->resolution = 2;
    m->rate = 100;
    m->argument_of = 0;
    forget_motion(m);
}

// Rates 200, 100, 80 turn the wheel on, 200, 200, 80 the extra buttons.
static void set_rate(Mouse *m, uint8_t rate)
{
    if (rate == 80 && m->knocks[0] == 200 && m->knocks[1] == 100)
        m->type = TYPE_WHEEL;
    else if (rate == 80 && m->knocks[0] == 200 && m->knocks[1] == 200)
        m->type = TYPE_EXPLORER;
    m->knocks[0] = m->knocks[1];
    m->knocks[1] = rate;
    m->rate = rate;
}

static void reply_status(Mouse *m)
{
    // The status byte has the buttons the other way round than packets.
    uint8_t buttons = (uint8_t)((m->buttons & INPUT_LEFT ? 4 : 0) |
                                (m->buttons & INPUT_MIDDLE ? 2 : 0) |
                                (m->buttons & INPUT_RIGHT ? 1 : 0));
    reply(m, m->status | buttons);
    reply(m, m->resolution);
    reply(m, m->rate);
}

static void take_command(Mouse *m, uint8_t command)
{
    m->queue = (ByteQueue){ 0 }; // a command stops what was being sent
    if (m->wrap && command != RESET_WRAP && command != RESET) {
        reply(m, command);
        return;
    }
    reply(m, ACKNOWLEDGE);
    switch (command) {
    case SCALE_1_1:
        m->status &= (uint8_t)~STATUS_SCALE;
        break;
    case SCALE_2_1:
        m->status |= STATUS_SCALE;
        break;
    case SET_RESOLUTION:
    case SET_RATE:
        m->argument_of = command;
        break;
    case STATUS_REQUEST:
        reply_status(m);
        break;
    case STREAM_MODE:
        m->status &= (uint8_t)~STATUS_REMOTE;
        forget_motion(m);
        break;
    case READ_DATA:
        push_packet(m);
        break;
    case RESET_WRAP:
        m->wrap = false;
        break;
    case WRAP_MODE:
        m->wrap = true;
        break;
    case REMOTE_MODE:
        m->status |= STATUS_REMOTE;
        forget_motion(m);
        break;
    case READ_TYPE:
        reply(m, m->type);
        break;
    case ENABLE:
        m->status |= STATUS_ENABLED;
        forget_motion(m);
        break;
    case DISABLE:
        m->status &= (uint8_t)~STATUS_ENABLED;
        break;
    case SET_DEFAULT:
        set_default(m);
        break;
    case RESEND:
        m->queue = (ByteQueue){ 0 };
        reply(m, m->last_sent);
        break;
    case RESET:
        set_default(m);
        m->type = TYPE_PLAIN;
        m->wrap = false;
        reply(m, TEST_PASSED);
        reply(m, 0);
        break;
    default:
        m->queue = (ByteQueue){ 0 };
        reply(m, RESEND);
        break;
    }
}

static void port_write(void *device, uint8_t byte)
{
    Mouse *m = device;
    uint8_t command = m->argument_of;
    m->argument_of = 0;
    if (command && byte < SCALE_1_1) {
        m->queue = (ByteQueue){ 0 };
        if (command == SET_RATE)
            set_rate(m, byte);
        else
            m->resolution = byte & 3;
        reply(m, ACKNOWLEDGE);
    } else {
        take_command(m, byte);
    }
    tell_changed(m);
}

static bool port_has_data(void *device)
{
    const Mouse *m = device;
    return m->queue.count;
}

static uint8_t port_read(void *device)
{
    Mouse *m = device;
    m->last_sent = byte_queue_pop(&m->queue);
    flush(m);
    return m->last_sent;
}

static void port_attach(void *device, void (*changed)(void *opaque), void *opaque)
{
    Mouse *m = device;
    m->changed = changed;
    m->changed_opaque = opaque;
}

static void *mouse_create(const void *config, const DeviceHost *host, GError **error)
{
    Mouse *m = g_new0(Mouse, 1);
    m->config = *(const Ps2MouseConfig *)config;
    if (m->config.router)
        input_router_add(m->config.router,
                         &(InputHandler){ .pointer_relative = take_motion, .opaque = m });
    return m;
}

static void mouse_reset(void *device, ResetKind kind)
{
    Mouse *m = device;
    // The reset line does not reach the mouse: only power does.
    if (kind != RESET_COLD)
        return;
    set_default(m);
    m->type = TYPE_PLAIN;
    m->wrap = false;
    m->queue = (ByteQueue){ 0 };
    m->knocks[0] = m->knocks[1] = m->last_sent = 0;
}

static gboolean mouse_post_load(void *device, GError **error)
{
    Mouse *m = device;
    if (!byte_queue_valid(&m->queue) ||
        (m->type != TYPE_PLAIN && m->type != TYPE_WHEEL && m->type != TYPE_EXPLORER)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'ps2-mouse': the queue or the type is impossible");
        return FALSE;
    }
    m->dx = CLAMP(m->dx, -MOTION_LIMIT, MOTION_LIMIT);
    m->dy = CLAMP(m->dy, -MOTION_LIMIT, MOTION_LIMIT);
    m->dz = CLAMP(m->dz, -MOTION_LIMIT, MOTION_LIMIT);
    return TRUE;
}

static void mouse_destroy(void *device)
{
    Mouse *m = device;
    if (!m)
        return;
    if (m->config.router)
        input_router_remove(m->config.router, m);
    g_free(m);
}

static const StateField mouse_fields[] = {
    BYTE_QUEUE_STATE_FIELDS(Mouse, queue),
    STATE_SCALAR(Mouse, argument_of, STATE_U8),
    STATE_SCALAR(Mouse, status, STATE_U8),
    STATE_SCALAR(Mouse, resolution, STATE_U8),
    STATE_SCALAR(Mouse, rate, STATE_U8),
    STATE_SCALAR(Mouse, type, STATE_U8),
    STATE_ARRAY(Mouse, knocks, STATE_U8),
    STATE_SCALAR(Mouse, last_sent, STATE_U8),
    STATE_SCALAR(Mouse, wrap, STATE_BOOL),
    STATE_SCALAR(Mouse, buttons, STATE_U8),
    STATE_SCALAR(Mouse, sent_buttons, STATE_U8),
    STATE_SCALAR(Mouse, dx, STATE_U32),
    STATE_SCALAR(Mouse, dy, STATE_U32),
    STATE_SCALAR(Mouse, dz, STATE_U32),
};

static const StateTable mouse_state = {
    .name = "ps2-mouse",
    .version = 1,
    .fields = mouse_fields,
    .field_count = G_N_ELEMENTS(mouse_fields),
    .post_load = mouse_post_load,
};

const DeviceOps ps2_mouse_ops = {
    .name = "ps2-mouse",
    .spec = "IBM 84F9735 PS/2 Hardware Interface Technical Reference, Mouse",
    .create = mouse_create,
    .reset = mouse_reset,
    .state = &mouse_state,
    .destroy = mouse_destroy,
};

Ps2Port ps2_mouse_port(void *mouse)
{
    return (Ps2Port){ port_write, port_has_data, port_read, port_attach, mouse };
}

void ps2_mouse_wake(void *device)
{
    Mouse *m = device;
    if (streams(m) && m->queue.count < QUEUE_LIMIT) {
        push_packet(m);
        tell_changed(m);
    }
}
