// SPDX-License-Identifier: GPL-2.0-or-later
// virtio console device on PCI: a console and further named ports, which a guest sees as
// /dev/hvc0 and /dev/virtio-ports/NAME.
#pragma once

#include "engine/bus/char-backend.h"
#include "engine/bus/device.h"

#define VIRTIO_CONSOLE_PORTS_MAX 4

typedef struct {
    const char *name; // NULL only for the console; copied
    // Behind the port; must outlive the device. NULL: what is written is lost.
    const CharBackend *backend;
} VirtioConsolePort;

typedef struct {
    uint8_t devfn;
    bool modern_only;
    VirtioConsolePort ports[VIRTIO_CONSOLE_PORTS_MAX];
    unsigned port_count;  // at least 1
    unsigned console_mask; // which of them are consoles; old drivers take port 0 for one anyway
} VirtioConsoleConfig;

extern const DeviceOps virtio_console_ops;
