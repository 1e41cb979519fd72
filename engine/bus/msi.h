// SPDX-License-Identifier: GPL-2.0-or-later
// Message signalled interrupts: a 4-byte write to FEExxxxxh, decoded by the local APICs (SDM vol.
// 3A, section 11.11). Machine lock held.
#pragma once

#include <stdint.h>

typedef struct {
    void (*send)(void *opaque, uint64_t address, uint32_t data);
    void *opaque;
} MsiSink;

static inline void msi_send(const MsiSink *sink, uint64_t address, uint32_t data)
{
    if (sink->send)
        sink->send(sink->opaque, address, data);
}
