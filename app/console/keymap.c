// SPDX-License-Identifier: GPL-2.0-or-later
// Linux input event codes 1..83 were numbered after XT set 1; the table has the others.
#include "app/console/keymap.h"

#include <linux/input-event-codes.h>

static const guint16 beyond_xt[] = {
    [KEY_102ND] = 0x56,         [KEY_F11] = 0x57,           [KEY_F12] = 0x58,
    [KEY_RO] = 0x73,            [KEY_KATAKANAHIRAGANA] = 0x70, [KEY_HENKAN] = 0x79,
    [KEY_MUHENKAN] = 0x7b,      [KEY_YEN] = 0x7d,           [KEY_KPCOMMA] = 0x7e,
    [KEY_ZENKAKUHANKAKU] = 0x76, [KEY_KPEQUAL] = 0x59,
    [KEY_KPENTER] = 0x11c,      [KEY_RIGHTCTRL] = 0x11d,    [KEY_KPSLASH] = 0x135,
    [KEY_SYSRQ] = 0x137,        [KEY_RIGHTALT] = 0x138,     [KEY_HOME] = 0x147,
    [KEY_UP] = 0x148,           [KEY_PAGEUP] = 0x149,       [KEY_LEFT] = 0x14b,
    [KEY_RIGHT] = 0x14d,        [KEY_END] = 0x14f,          [KEY_DOWN] = 0x150,
    [KEY_PAGEDOWN] = 0x151,     [KEY_INSERT] = 0x152,       [KEY_DELETE] = 0x153,
    [KEY_LEFTMETA] = 0x15b,     [KEY_RIGHTMETA] = 0x15c,    [KEY_COMPOSE] = 0x15d,
    [KEY_POWER] = 0x15e,        [KEY_SLEEP] = 0x15f,        [KEY_WAKEUP] = 0x163,
    [KEY_MUTE] = 0x120,         [KEY_VOLUMEDOWN] = 0x12e,   [KEY_VOLUMEUP] = 0x130,
    [KEY_NEXTSONG] = 0x119,     [KEY_PLAYPAUSE] = 0x122,    [KEY_PREVIOUSSONG] = 0x110,
    [KEY_STOPCD] = 0x124,       [KEY_MAIL] = 0x16c,         [KEY_CALC] = 0x121,
    [KEY_HOMEPAGE] = 0x132,     [KEY_BACK] = 0x16a,         [KEY_FORWARD] = 0x169,
    // Pause: E1 1D 45 on a real keyboard; the engine's keyboard makes the whole sequence.
    [KEY_PAUSE] = 0x146,
};

guint keymap_scancode(guint hardware_keycode)
{
    if (hardware_keycode < 8)
        return 0;
    guint code = hardware_keycode - 8;
    if (code >= 1 && code <= KEY_KPDOT)
        return code;
    return code < G_N_ELEMENTS(beyond_xt) ? beyond_xt[code] : 0;
}
