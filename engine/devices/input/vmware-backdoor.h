// SPDX-License-Identifier: GPL-2.0-or-later
// The VMware absolute pointer, beside the PS/2 mouse that announces it.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/input.h"

#define VMWARE_BACKDOOR_PORT 0x5658

typedef struct {
    InputRouter *router; // NULL: no pointer
    // Makes the PS/2 mouse interrupt, which is what drivers wait for (ps2_mouse_wake). May be NULL.
    void (*wake)(void *opaque);
    void *wake_opaque;
    int64_t start_time; // seconds since 1970, UTC, at virtual time 0
} VmwareBackdoorConfig;

extern const DeviceOps vmware_backdoor_ops;

// A vCPU executes a 4-byte IN from VMWARE_BACKDOOR_PORT. regs: EAX EBX ECX EDX ESI EDI, changed in
// place. false: not a call (EAX lacks the magic number), the IN goes to the bus like any other.
// Machine lock held.
bool vmware_backdoor_in(void *device, uint32_t regs[6]);

// What the time calls answer from now on: seconds since 1970, UTC. Machine lock held.
void vmware_backdoor_set_time(void *device, int64_t seconds);
