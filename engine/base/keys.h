// SPDX-License-Identifier: GPL-2.0-or-later
// Keys by name and text by keystrokes, as XT set 1 scancodes of a US keyboard: what `lodgectl key`
// and `lodgectl type` take, and what tests type. engine/bus/input.h has the same scancodes.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint16_t scancode; // extended keys as e0xx, Pause as e11d
    bool down;
} KeyStroke;

// Keys pressed together, in order, then released in reverse: "a", "enter", "ctrl-alt-delete",
// "shift+f10". Case does not matter. Array of KeyStroke, owned by the caller; NULL and error
// (G_IO_ERROR_INVALID_ARGUMENT) names the key that does not exist.
GArray *keys_from_chord(const char *chord, GError **error);

// Text as somebody types it; LF is Enter, tab is Tab, backspace and escape are their keys.
// NULL and error where a character is not on a US keyboard.
GArray *keys_from_text(const char *text, GError **error);
