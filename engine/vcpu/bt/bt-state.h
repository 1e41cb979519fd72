// SPDX-License-Identifier: GPL-2.0-or-later
// Between BtCpu and VcpuState; the CPU does not run.
#pragma once

#include "engine/vcpu/bt/bt-vm.h"

void bt_state_get(BtCpu *cpu, VcpuState *state, VcpuStateGroups groups);
// False and nothing changed where the architecture forbids the result.
bool bt_state_set(BtCpu *cpu, const VcpuState *state, VcpuStateGroups groups);
// MSRs as after power-on; not the TSC.
void bt_state_reset_msrs(BtCpu *cpu);
