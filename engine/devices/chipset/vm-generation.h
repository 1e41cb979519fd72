// SPDX-License-Identifier: GPL-2.0-or-later
// The virtual machine generation ID: 16 bytes by which a guest sees that its time was repeated or
// that it is a copy. They stand at the start of a page of ROM; ACPI (\_SB.VGEN) says where it is,
// and that it has changed.
#pragma once

#include "engine/bus/device.h"

enum { VM_GENERATION_SIZE = 16 };

// Where board classic-1 has the page: between the message window of the local APICs and the BIOS.
#define VM_GENERATION_ADDRESS 0xfef00000u
#define VM_GENERATION_PAGE 0x1000u

typedef struct {
    uint64_t address; // of the page
    uint8_t id[VM_GENERATION_SIZE];
    // It has another one. Machine lock held; may be NULL.
    void (*changed)(void *opaque);
    void *opaque;
} VmGenerationConfig;

extern const DeviceOps vm_generation_ops;

void vm_generation_get(const void *generation, uint8_t ret_id[VM_GENERATION_SIZE]);
// Gives it another one and tells the guest.
void vm_generation_set(void *generation, const uint8_t id[VM_GENERATION_SIZE]);
