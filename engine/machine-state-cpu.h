// SPDX-License-Identifier: GPL-2.0-or-later
// One vCPU's state as a record of a state form.
#pragma once

#include "engine/vcpu/vcpu.h"

// The CPU stands still.
GBytes *machine_state_save_cpu(VcpuSet *vcpus, unsigned cpu);
// False and error (G_IO_ERROR_INVALID_DATA) where the record is damaged or no CPU can be in such a
// state.
bool machine_state_load_cpu(VcpuSet *vcpus, unsigned cpu, GBytes *record, GError **error);
