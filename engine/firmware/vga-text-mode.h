// SPDX-License-Identifier: GPL-2.0-or-later
// Brings a VGA into text mode 03h (80 x 25, 9 x 16 dots), as the VGA BIOS would: for a boot without
// firmware, whose kernel expects a screen that it can write to.
#pragma once

#include "engine/bus/bus.h"

#include <stdbool.h>

// vga_bios: the image that the 8 x 16 font is taken from. False where it has none; then the mode is
// set without characters. Machine lock held.
bool vga_text_mode_start(Bus *bus, const uint8_t *vga_bios, size_t size);
