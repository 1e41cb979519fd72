// SPDX-License-Identifier: GPL-2.0-or-later
// Model-specific registers that are the CPU's own, not the local APIC's.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

BtHandler bt_op_rdmsr, bt_op_wrmsr;

// False, nothing changed: no such register, or not that value.
bool bt_msr_read(BtCpu *cpu, uint32_t index, uint64_t *ret);
bool bt_msr_write(BtCpu *cpu, uint32_t index, uint64_t value);
