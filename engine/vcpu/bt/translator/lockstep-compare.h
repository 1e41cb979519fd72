// SPDX-License-Identifier: GPL-2.0-or-later
// Two CPU states side by side, for a developer to read.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

#include <glib.h>

// Whether all fields are equal (the TSC excepted).
bool lockstep_states_equal(const VcpuState *leader, const VcpuState *follower);
// A line for each field that differs.
void lockstep_describe_states(GString *text, const VcpuState *leader, const VcpuState *follower);
// The code that the CPU has at `rip`, up to the first branch, as far as its TLB reaches.
void lockstep_describe_code(GString *text, BtCpu *cpu, uint64_t rip);
