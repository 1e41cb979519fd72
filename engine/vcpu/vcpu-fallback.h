// SPDX-License-Identifier: GPL-2.0-or-later
// What a hardware backend cannot execute, the interpreter does: the CPU's state goes over, some
// instructions run, and the state goes back.
#pragma once

#include "engine/vcpu/vcpu-backend.h"

typedef struct VcpuFallback VcpuFallback;

// An interpreter for `cpus` CPUs beside another backend. Machine lock held, or nothing runs yet.
VcpuFallback *vcpu_fallback_new(const BackendVmConfig *config, unsigned cpus, GError **error);
// NULL is allowed.
void vcpu_fallback_free(VcpuFallback *fallback);

// Runs the CPU from its state in `vcpu` on. Gives KICK where `vcpu` can go on, else the exit that
// ended it. On the vCPU's thread.
void vcpu_fallback_run(VcpuFallback *fallback, unsigned cpu, const VcpuBackendOps *ops,
                       BackendVcpu *vcpu, VcpuExit *ret_exit);
