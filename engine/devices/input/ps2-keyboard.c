// SPDX-License-Identifier: GPL-2.0-or-later
// A PS/2 keyboard with 102 keys: scan code sets 1, 2 and 3 and the host's commands. Repeating keys
// is left to whoever holds the real key down. Follows the IBM PS/2 Hardware Interface Technical
// Reference (84F9735), "Keyboards".
#include "engine/devices/input/ps2-keyboard.h"

#include "engine/devices/input/byte-queue.h"
#include "engine/devices/input/scancodes.h"

#include <gio/gio.h>

// Commands from the host, in the reference's words.
enum {
    SET_LEDS = 0xed,
    ECHO = 0xee,
    SELECT_SET = 0xf0,
    READ_ID = 0xf2,
    SET_TYPEMATIC = 0xf3,
    ENABLE = 0xf4,
    DISABLE = 0xf5,
    SET_DEFAULT = 0xf6,
    SET_ALL_FIRST = 0xf7, // F7h-FAh: key types of all keys, set 3
    SET_ALL_LAST = 0xfa,
    SET_KEY_FIRST = 0xfb, // FBh-FDh: key type of one key, which follows
    SET_KEY_LAST = 0xfd,
    RESEND = 0xfe,
    RESET = 0xff,
    ACKNOWLEDGE = 0xfa,
    TEST_PASSED = 0xaa,
};

#define LONGEST_KEY 8 // bytes of Pause in set 2

typedef struct {
    Ps2KeyboardConfig config;
    void (*changed)(void *opaque);
    void *changed_opaque;
    ByteQueue replies; // before keys
    ByteQueue keys;
    uint8_t argument_of; // the command whose argument comes next; 0: none
    uint8_t set;
    uint8_t leds;
    uint8_t last_sent;
    bool scanning;
    bool alt_down, ctrl_down;
} Keyboard;

static void tell_changed(Keyboard *k)
{
    if (k->changed)
        k->changed(k->changed_opaque);
}

static void send(Keyboard *k, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        byte_queue_push(&k->keys, bytes[i]);
}

// One make or break code. code is of set 1, without the prefix.
static void send_code(Keyboard *k, uint8_t code, bool extended, bool down)
{
    uint8_t bytes[3];
    unsigned count = 0;
    if (k->set == 3) {
        uint8_t translated = scancode_1_to_3(code, extended);
        if (!translated)
            return;
        if (!down)
            bytes[count++] = 0xf0;
        bytes[count++] = translated;
    } else {
        uint8_t translated = k->set == 2 ? scancode_1_to_2(code) : code;
        if (!translated)
            return;
        if (extended)
            bytes[count++] = 0xe0;
        if (!down && k->set == 2)
            bytes[count++] = 0xf0;
        bytes[count++] = k->set == 1 && !down ? translated | 0x80 : translated;
    }
    send(k, bytes, count);
}

// Pause sends make and break at once and nothing when it goes up; with Ctrl it is Break.
static void send_pause(Keyboard *k, bool down)
{
    static const uint8_t set_2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
    static const uint8_t set_1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    if (k->set == 3) {
        const uint8_t bytes[2] = { 0xf0, 0x62 };
        send(k, down ? bytes + 1 : bytes, down ? 1 : 2);
    } else if (down && k->ctrl_down) {
        send_code(k, 0x46, true, true);
        send_code(k, 0x46, true, false);
    } else if (down && k->set == 2) {
        send(k, set_2, sizeof set_2);
    } else if (down) {
        send(k, set_1, sizeof set_1);
    }
}

// Print Screen comes with a shift around it; with Alt it is the System Request key.
static void send_print_screen(Keyboard *k, bool down)
{
    if (k->set == 3) {
        send_code(k, 0x37, true, down);
    } else if (k->alt_down) {
        send_code(k, 0x54, false, down);
    } else {
        send_code(k, down ? 0x2a : 0x37, true, down);
        send_code(k, down ? 0x37 : 0x2a, true, down);
    }
}

static void take_key(void *opaque, uint16_t scancode, bool down)
{
    Keyboard *k = opaque;
    uint8_t code = scancode & 0x7f;
    bool extended = scancode >> 8 == 0xe0;
    if (code == 0x38)
        k->alt_down = down;
    if (code == 0x1d && scancode >> 8 != 0xe1)
        k->ctrl_down = down;
    if (!k->scanning)
        return;
    // A real keyboard says "overrun" and then loses keys. Here a release always finds room, so
    // that no key hangs because the guest was slow.
    if (byte_queue_room(&k->keys) < (down ? 8 * LONGEST_KEY : LONGEST_KEY))
        return;
    if (scancode == 0xe11d)
        send_pause(k, down);
    else if (scancode == 0xe037)
        send_print_screen(k, down);
    else
        send_code(k, code, extended, down);
    tell_changed(k);
}

static void reply(Keyboard *k, uint8_t byte)
{
    byte_queue_push(&k->replies, byte);
}

static void set_leds(Keyboard *k, uint8_t leds)
{
    k->leds = leds & 7;
    if (k->config.router)
        input_set_leds(k->config.router, k->leds);
}

static void set_default(Keyboard *k)
{
    k->keys = (ByteQueue){ 0 };
    k->argument_of = 0;
    k->set = 2;
    k->scanning = true;
}

static void take_argument(Keyboard *k, uint8_t command, uint8_t value)
{
    switch (command) {
    case SET_LEDS:
        set_leds(k, value);
        break;
    case SELECT_SET:
        reply(k, ACKNOWLEDGE);
        if (value == 0)
            reply(k, k->set);
        else if (value <= 3)
            k->set = value;
        return;
    default: // typematic rate and key types have no effect here
        break;
    }
    reply(k, ACKNOWLEDGE);
}

static void take_command(Keyboard *k, uint8_t command)
{
    switch (command) {
    case SET_LEDS:
    case SELECT_SET:
    case SET_TYPEMATIC:
    case SET_KEY_FIRST ... SET_KEY_LAST:
        k->argument_of = command;
        reply(k, ACKNOWLEDGE);
        break;
    case ECHO:
        reply(k, ECHO);
        break;
    case READ_ID:
        reply(k, ACKNOWLEDGE);
        reply(k, 0xab);
        reply(k, 0x83);
        break;
    case ENABLE:
        k->keys = (ByteQueue){ 0 };
        k->scanning = true;
        reply(k, ACKNOWLEDGE);
        break;
    case DISABLE:
        set_default(k);
        k->scanning = false;
        reply(k, ACKNOWLEDGE);
        break;
    case SET_DEFAULT:
        set_default(k);
        reply(k, ACKNOWLEDGE);
        break;
    case SET_ALL_FIRST ... SET_ALL_LAST:
        reply(k, ACKNOWLEDGE);
        break;
    case RESEND:
        reply(k, k->last_sent);
        break;
    case RESET:
        set_default(k);
        set_leds(k, 0);
        k->replies = (ByteQueue){ 0 };
        reply(k, ACKNOWLEDGE);
        reply(k, TEST_PASSED);
        break;
    default:
        reply(k, RESEND);
        break;
    }
}

static void port_write(void *device, uint8_t byte)
{
    Keyboard *k = device;
    uint8_t command = k->argument_of;
    k->argument_of = 0;
    // A command where an argument was due begins anew.
    if (command && byte < SET_LEDS)
        take_argument(k, command, byte);
    else
        take_command(k, byte);
    tell_changed(k);
}

static bool port_has_data(void *device)
{
    const Keyboard *k = device;
    // While a command waits for its argument, keys wait too.
    return k->replies.count || (k->keys.count && !k->argument_of);
}

static uint8_t port_read(void *device)
{
    Keyboard *k = device;
    k->last_sent = byte_queue_pop(k->replies.count ? &k->replies : &k->keys);
    return k->last_sent;
}

static void port_attach(void *device, void (*changed)(void *opaque), void *opaque)
{
    Keyboard *k = device;
    k->changed = changed;
    k->changed_opaque = opaque;
}

static void *keyboard_create(const void *config, const DeviceHost *host, GError **error)
{
    Keyboard *k = g_new0(Keyboard, 1);
    k->config = *(const Ps2KeyboardConfig *)config;
    if (k->config.router)
        input_router_add(k->config.router, &(InputHandler){ .key = take_key, .opaque = k });
    return k;
}

static void keyboard_reset(void *device, ResetKind kind)
{
    Keyboard *k = device;
    // The reset line does not reach the keyboard: only power does.
    if (kind != RESET_COLD)
        return;
    set_default(k);
    set_leds(k, 0);
    k->replies = (ByteQueue){ 0 };
    k->last_sent = 0;
}

static gboolean keyboard_post_load(void *device, GError **error)
{
    Keyboard *k = device;
    if (!byte_queue_valid(&k->keys) || !byte_queue_valid(&k->replies) || k->set < 1 || k->set > 3) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'ps2-keyboard': a queue or the scan code set is impossible");
        return FALSE;
    }
    set_leds(k, k->leds);
    return TRUE;
}

static void keyboard_destroy(void *device)
{
    Keyboard *k = device;
    if (!k)
        return;
    if (k->config.router)
        input_router_remove(k->config.router, k);
    g_free(k);
}

static const StateField keyboard_fields[] = {
    BYTE_QUEUE_STATE_FIELDS(Keyboard, replies),
    BYTE_QUEUE_STATE_FIELDS(Keyboard, keys),
    STATE_SCALAR(Keyboard, argument_of, STATE_U8),
    STATE_SCALAR(Keyboard, set, STATE_U8),
    STATE_SCALAR(Keyboard, leds, STATE_U8),
    STATE_SCALAR(Keyboard, last_sent, STATE_U8),
    STATE_SCALAR(Keyboard, scanning, STATE_BOOL),
    STATE_SCALAR(Keyboard, alt_down, STATE_BOOL),
    STATE_SCALAR(Keyboard, ctrl_down, STATE_BOOL),
};

static const StateTable keyboard_state = {
    .name = "ps2-keyboard",
    .version = 1,
    .fields = keyboard_fields,
    .field_count = G_N_ELEMENTS(keyboard_fields),
    .post_load = keyboard_post_load,
};

const DeviceOps ps2_keyboard_ops = {
    .name = "ps2-keyboard",
    .spec = "IBM 84F9735 PS/2 Hardware Interface Technical Reference, Keyboards",
    .create = keyboard_create,
    .reset = keyboard_reset,
    .state = &keyboard_state,
    .destroy = keyboard_destroy,
};

Ps2Port ps2_keyboard_port(void *keyboard)
{
    return (Ps2Port){ port_write, port_has_data, port_read, port_attach, keyboard };
}
