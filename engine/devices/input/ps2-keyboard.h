// SPDX-License-Identifier: GPL-2.0-or-later
// A PS/2 keyboard: keys from the InputRouter, codes to the controller.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/input.h"
#include "engine/devices/input/ps2-port.h"

typedef struct {
    InputRouter *router; // where keys come from and LEDs go; NULL: nobody types
} Ps2KeyboardConfig;

extern const DeviceOps ps2_keyboard_ops;

// For I8042Config.
Ps2Port ps2_keyboard_port(void *keyboard);
