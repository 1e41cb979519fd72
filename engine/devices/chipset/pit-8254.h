// SPDX-License-Identifier: GPL-2.0-or-later
// The 8254 interval timer and port 61h.
#pragma once

#include "engine/bus/device.h"

#define PIT_HZ 1193182

typedef struct {
    IrqLine irq; // counter 0's output: IRQ 0, or the HPET's input for it
    // Whether counter 0's last tick still waits to be taken by a CPU (not: is masked); a tick that
    // comes meanwhile is lost and made up for later. May be NULL.
    bool (*tick_waits)(void *opaque);
    void *tick_opaque;
} Pit8254Config;

extern const DeviceOps pit_8254_ops;

// What the loudspeaker plays now, in Hz; 0 where it is silent.
uint32_t pit_8254_speaker_hz(void *pit);
