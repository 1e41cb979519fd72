// SPDX-License-Identifier: GPL-2.0-or-later
// A CPU that runs in step with another one (translator/lockstep.c): where it must stop, counted in
// retired instructions, and where it has been.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

#define BT_FOLLOW_TRACE 64

struct BtFollow {
    uint64_t stop_at; // value of cpu->instructions at which run returns KICK; UINT64_MAX: nowhere
    uint64_t rounds;  // turns of the run loop until run returns KICK; 0: no limit
    // The last turns of the run loop: where they began.
    struct {
        uint64_t rip, instructions;
    } trace[BT_FOLLOW_TRACE];
    unsigned traced;
    bool gives_up; // the other one will not follow: string instructions stop half-way, too
};

// A turn of the run loop begins: whether run ends here.
static inline bool bt_follow_stops(BtCpu *cpu)
{
    BtFollow *follow = cpu->follow;
    if (cpu->instructions_left)
        return false;
    if (cpu->instructions >= follow->stop_at || follow->rounds == 1) {
        follow->rounds = 0;
        return true;
    }
    if (follow->rounds)
        follow->rounds--;
    unsigned turn = follow->traced++ % BT_FOLLOW_TRACE;
    follow->trace[turn].rip = cpu->rip;
    follow->trace[turn].instructions = cpu->instructions;
    return false;
}

// Whether so many instructions may run as one block.
static inline bool bt_follow_allows(const BtCpu *cpu, unsigned instructions)
{
    return !cpu->follow || instructions <= cpu->follow->stop_at - cpu->instructions;
}

// Requests at which a repeated string instruction stops half-way. CPUs in step do it in one go.
static inline uint32_t bt_follow_string_requests(const BtCpu *cpu)
{
    return cpu->follow && !cpu->follow->gives_up ? BT_REQUEST_STEP : UINT32_MAX;
}
