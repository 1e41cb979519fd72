// SPDX-License-Identifier: GPL-2.0-or-later
// A PS/2 mouse: motion from the InputRouter, packets to the controller.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/input.h"
#include "engine/devices/input/ps2-port.h"

typedef struct {
    InputRouter *router; // NULL: nobody moves it
} Ps2MouseConfig;

extern const DeviceOps ps2_mouse_ops;

// For I8042Config.
Ps2Port ps2_mouse_port(void *mouse);
// Sends a packet without motion, so that a driver which listens to the mouse's interrupt looks at
// the VMware backdoor. The form fits VmwareBackdoorConfig.wake.
void ps2_mouse_wake(void *mouse);
