// SPDX-License-Identifier: GPL-2.0-or-later
// Keys by name and text by keystrokes on a US keyboard (the layout that firmware and installers
// start with): what `lodgectl key` and `lodgectl type` take, and what tests type. Scancodes are XT
// set 1, as in engine/bus/input.h. How fast they are sent is engine/key-feeder.h.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint16_t scancode; // extended keys as e0xx, Pause as e11d
    bool down;
} KeyStroke;

// Keys pressed together, in order, then released in reverse: "a", "enter", "ctrl+alt+delete",
// "shift-f10". Case does not matter. Array of KeyStroke, owned by the caller; NULL and error
// (G_IO_ERROR_INVALID_ARGUMENT) names the key that does not exist.
GArray *keys_from_chord(const char *chord, GError **error);

// Text as somebody types it; LF is Enter, tab is Tab, backspace and escape are their keys.
// NULL and error names the first character that is not on a US keyboard.
GArray *keys_from_text(const char *text, GError **error);

// The same with escapes: \n, \t, \e (Escape), \\ and \<chord>.
GArray *keys_from_escaped_text(const char *text, GError **error);
