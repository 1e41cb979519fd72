// SPDX-License-Identifier: GPL-2.0-or-later
// One interrupt wire, from the device that drives it to whoever listens. Levels, not edges: the
// receiver decides what an edge is. Machine lock held.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    void (*set)(void *opaque, unsigned line, bool level);
    void *opaque;
    unsigned line;
} IrqLine;

// A wire that leads nowhere ({0}) is allowed.
static inline void irq_set(const IrqLine *irq, bool level)
{
    if (irq->set)
        irq->set(irq->opaque, irq->line, level);
}
