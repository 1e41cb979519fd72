// SPDX-License-Identifier: GPL-2.0-or-later
// The debt of a periodic interrupt: ticks that came while the host was late, or while the guest
// had not taken the one before. They are handed out later, one between each two regular ticks, so
// that a guest which counts ticks keeps its time without a storm. The debt is bounded by one
// second: after a longer stall the guest's clock is wrong anyway and is set by other means. A
// paused machine owes nothing, because virtual time stands still.
#pragma once

#include "engine/loop/clock.h"

typedef struct {
    uint32_t owed;
} LostTicks;

static inline void lost_ticks_add(LostTicks *lost, int64_t count, int64_t period_ns)
{
    int64_t most = period_ns > 0 ? NS_PER_SECOND / period_ns : 0;
    int64_t owed = lost->owed + MIN(count, most);
    lost->owed = (uint32_t)MIN(owed, most);
}

// When to deliver again: the next regular tick, or sooner where ticks are owed.
static inline int64_t lost_ticks_deadline(const LostTicks *lost, int64_t now, int64_t next,
                                          int64_t period_ns)
{
    return lost->owed && next > now + period_ns / 2 ? now + period_ns / 2 : next;
}
