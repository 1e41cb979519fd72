// SPDX-License-Identifier: GPL-2.0-or-later
// Keyboard, mouse and tablet: libspice calls in the spice thread, the router is called under the
// machine lock. A tablet is offered only while the guest listens to an absolute pointer, since its
// mere presence makes clients send positions instead of motion.
#include "engine/spice/spice-private.h"

#define SCANCODE_PAUSE 0xe11d
// What follows the e1 of the Pause key: 1d 45 e1 9d c5.
#define PAUSE_BYTES 5u

static void send_key(LodgeSpice *spice, uint16_t scancode, bool down)
{
    if (!spice->input)
        return;
    g_mutex_lock(spice->machine_lock);
    input_key(spice->input, scancode, down);
    g_mutex_unlock(spice->machine_lock);
    lodge_spice_display_wake(spice);
}

static void keyboard_push(SpiceKbdInstance *instance, uint8_t byte)
{
    SpiceInputs *in = SPICE_CONTAINEROF(instance, SpiceInputs, keyboard);
    if (in->pause_bytes) {
        if (--in->pause_bytes == 0) {
            send_key(in->spice, SCANCODE_PAUSE, true);
            send_key(in->spice, SCANCODE_PAUSE, false);
        }
        return;
    }
    if (byte == 0xe0) {
        in->escape = true;
        return;
    }
    if (byte == 0xe1) {
        in->pause_bytes = PAUSE_BYTES;
        return;
    }
    uint16_t scancode = (byte & 0x7f) | (in->escape ? 0xe000 : 0);
    in->escape = false;
    send_key(in->spice, scancode, !(byte & 0x80));
}

static uint8_t keyboard_leds(SpiceKbdInstance *instance)
{
    SpiceInputs *in = SPICE_CONTAINEROF(instance, SpiceInputs, keyboard);
    return (uint8_t)g_atomic_int_get(&in->leds);
}

static const SpiceKbdInterface keyboard_interface = {
    .base = { SPICE_INTERFACE_KEYBOARD, "lodge keyboard", SPICE_INTERFACE_KEYBOARD_MAJOR,
              SPICE_INTERFACE_KEYBOARD_MINOR },
    .push_scan_freg = keyboard_push,
    .get_leds = keyboard_leds,
};

static gboolean report_leds(gpointer data)
{
    SpiceInputs *in = data;
    spice_server_kbd_leds(&in->keyboard, g_atomic_int_get(&in->leds));
    return G_SOURCE_REMOVE;
}

// Machine lock held, any thread. The bits are the same on both sides.
static void leds_changed(void *opaque, unsigned leds)
{
    SpiceInputs *in = opaque;
    g_atomic_int_set(&in->leds, (gint)leds);
    lodge_spice_post(in->spice, report_leds, in);
}

static void send_relative(SpiceInputs *in, int dx, int dy, int wheel)
{
    LodgeSpice *spice = in->spice;
    if (!spice->input)
        return;
    g_mutex_lock(spice->machine_lock);
    input_pointer_relative(spice->input, dx, dy, wheel, in->buttons);
    g_mutex_unlock(spice->machine_lock);
    lodge_spice_display_wake(spice);
}

static void mouse_motion(SpiceMouseInstance *instance, int dx, int dy, int dz, uint32_t buttons)
{
    SpiceInputs *in = SPICE_CONTAINEROF(instance, SpiceInputs, mouse);
    in->buttons = buttons;
    send_relative(in, dx, dy, dz);
}

static void mouse_buttons(SpiceMouseInstance *instance, uint32_t buttons)
{
    mouse_motion(instance, 0, 0, 0, buttons);
}

static const SpiceMouseInterface mouse_interface = {
    .base = { SPICE_INTERFACE_MOUSE, "lodge mouse", SPICE_INTERFACE_MOUSE_MAJOR,
              SPICE_INTERFACE_MOUSE_MINOR },
    .motion = mouse_motion,
    .buttons = mouse_buttons,
};

static void send_absolute(SpiceInputs *in, int wheel)
{
    LodgeSpice *spice = in->spice;
    if (!spice->input)
        return;
    g_mutex_lock(spice->machine_lock);
    input_pointer_absolute(spice->input, in->x, in->y, wheel, in->buttons);
    g_mutex_unlock(spice->machine_lock);
    lodge_spice_display_wake(spice);
}

// The size is taken from the picture, which knows scanouts too.
static void tablet_size(SpiceTabletInstance *instance, int width, int height)
{
}

static uint32_t scale(int at, uint32_t size)
{
    if (size < 2 || at <= 0)
        return 0;
    return (uint32_t)MIN((uint64_t)at * 65535 / (size - 1), 65535);
}

static void tablet_position(SpiceTabletInstance *instance, int x, int y, uint32_t buttons)
{
    SpiceInputs *in = SPICE_CONTAINEROF(instance, SpiceInputs, tablet);
    SpiceDisplay *display = &in->spice->display;
    g_mutex_lock(&display->lock);
    uint32_t width = display->width, height = display->height;
    g_mutex_unlock(&display->lock);
    in->x = scale(x, width);
    in->y = scale(y, height);
    in->buttons = buttons;
    send_absolute(in, 0);
}

static void tablet_wheel(SpiceTabletInstance *instance, int wheel, uint32_t buttons)
{
    SpiceInputs *in = SPICE_CONTAINEROF(instance, SpiceInputs, tablet);
    in->buttons = buttons;
    send_absolute(in, wheel);
}

static void tablet_buttons(SpiceTabletInstance *instance, uint32_t buttons)
{
    tablet_wheel(instance, 0, buttons);
}

static const SpiceTabletInterface tablet_interface = {
    .base = { SPICE_INTERFACE_TABLET, "lodge tablet", SPICE_INTERFACE_TABLET_MAJOR,
              SPICE_INTERFACE_TABLET_MINOR },
    .set_logical_size = tablet_size,
    .position = tablet_position,
    .wheel = tablet_wheel,
    .buttons = tablet_buttons,
};

void lodge_spice_inputs_update(LodgeSpice *spice)
{
    SpiceInputs *in = &spice->inputs;
    if (!spice->input)
        return;
    g_mutex_lock(spice->machine_lock);
    bool absolute = input_wants_absolute(spice->input);
    g_mutex_unlock(spice->machine_lock);
    if (absolute == in->tablet_offered)
        return;
    in->tablet_offered = absolute;
    if (absolute)
        spice_server_add_interface(spice->server, &in->tablet.base);
    else
        spice_server_remove_interface(&in->tablet.base);
}

void lodge_spice_inputs_released(LodgeSpice *spice)
{
    spice->inputs.escape = false;
    spice->inputs.pause_bytes = 0;
    spice->inputs.buttons = 0;
    if (!spice->input)
        return;
    g_mutex_lock(spice->machine_lock);
    input_release_all(spice->input);
    g_mutex_unlock(spice->machine_lock);
}

bool lodge_spice_inputs_open(LodgeSpice *spice)
{
    SpiceInputs *in = &spice->inputs;
    in->spice = spice;
    in->keyboard.base.sif = &keyboard_interface.base;
    in->mouse.base.sif = &mouse_interface.base;
    in->tablet.base.sif = &tablet_interface.base;
    if (spice_server_add_interface(spice->server, &in->keyboard.base) != 0 ||
        spice_server_add_interface(spice->server, &in->mouse.base) != 0)
        return false;
    if (spice->input) {
        g_mutex_lock(spice->machine_lock);
        input_on_leds(spice->input, leds_changed, in);
        g_mutex_unlock(spice->machine_lock);
    }
    lodge_spice_inputs_update(spice);
    return true;
}

void lodge_spice_inputs_close(LodgeSpice *spice)
{
    if (!spice->input || !spice->inputs.spice)
        return;
    g_mutex_lock(spice->machine_lock);
    input_on_leds(spice->input, NULL, NULL);
    g_mutex_unlock(spice->machine_lock);
}
