// SPDX-License-Identifier: GPL-2.0-or-later
// The cable between the keyboard controller and a PS/2 device. The device keeps its bytes until the
// controller has room for one; nothing takes time. Machine lock held on both sides.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    // A byte from the host to the device.
    void (*write)(void *device, uint8_t byte);
    // Whether the device has a byte to send; `read` takes it.
    bool (*has_data)(void *device);
    uint8_t (*read)(void *device);
    // The controller plugs itself in: changed(opaque) is called when has_data may have become true.
    // NULL unplugs.
    void (*attach)(void *device, void (*changed)(void *opaque), void *opaque);
    void *device;
} Ps2Port;
