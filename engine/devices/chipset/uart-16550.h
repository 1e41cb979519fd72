// SPDX-License-Identifier: GPL-2.0-or-later
// One 16550A serial port.
#pragma once

#include "engine/bus/char-backend.h"
#include "engine/bus/device.h"

typedef struct {
    uint16_t port;              // 3F8h, 2F8h, 3E8h, 2E8h
    unsigned irq;               // ISA request: 4 or 3
    const CharBackend *backend; // NULL: nothing is plugged in; must outlive the device
} Uart16550Config;

extern const DeviceOps uart_16550_ops;
