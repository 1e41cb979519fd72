// SPDX-License-Identifier: GPL-2.0-or-later
// From the keyboard's own codes to PC scancodes, so that a key is the same key whatever layout host
// and guest use.
#pragma once

#include <glib.h>

// hardware_keycode: as GTK gives it on X11 and Wayland (Linux input event code + 8). Returns an XT
// set 1 scancode, extended ones with 100h added, or 0 for a key that a PC keyboard does not have.
guint keymap_scancode(guint hardware_keycode);
