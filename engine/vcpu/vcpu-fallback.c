// SPDX-License-Identifier: GPL-2.0-or-later
// A stretch of code that the kernel cannot emulate is often longer than one instruction (firmware
// in flat real mode, a loop of x87 code), and moving the state costs some twenty system calls. So
// the number of interpreted instructions doubles while failures follow each other closely, and
// falls back when the backend has run well for a while.
#include "engine/vcpu/vcpu-fallback.h"

#define STRETCH_MIN 16
#define STRETCH_MAX 65536
#define FAR_APART_US 1000

typedef struct {
    BackendVcpu *vcpu;
    unsigned stretch;    // instructions to run next time
    gint64 last_end_us;
} FallbackCpu;

struct VcpuFallback {
    const VcpuBackendOps *ops;
    BackendVm *vm;
    // All that the interpreter can do: a software /dev/kvm lets guests use what its CPUID denies
    // (it does not trap CPUID itself), and such a state must be taken over as it is.
    CpuidModel cpuid;
    unsigned cpus;
    FallbackCpu cpu[];
};

VcpuFallback *vcpu_fallback_new(const BackendVmConfig *config, unsigned cpus, GError **error)
{
    VcpuFallback *fallback = g_malloc0(sizeof *fallback + cpus * sizeof fallback->cpu[0]);
    fallback->ops = &vcpu_backend_interpreter;
    cpuid_model_build(&fallback->cpuid, fallback->ops->features(), cpus, config->cpuid->tsc_hz);
    BackendVmConfig own = *config;
    own.cpuid = &fallback->cpuid;
    fallback->vm = fallback->ops->vm_create(&own, error);
    for (unsigned i = 0; fallback->vm && i < cpus; i++) {
        fallback->cpu[i].vcpu = fallback->ops->vcpu_create(fallback->vm, i, error);
        if (!fallback->cpu[i].vcpu)
            break;
        fallback->cpus++;
    }
    if (fallback->cpus < cpus) {
        vcpu_fallback_free(fallback);
        return NULL;
    }
    return fallback;
}

void vcpu_fallback_free(VcpuFallback *fallback)
{
    if (!fallback)
        return;
    for (unsigned i = 0; i < fallback->cpus; i++)
        fallback->ops->vcpu_destroy(fallback->cpu[i].vcpu);
    if (fallback->vm)
        fallback->ops->vm_destroy(fallback->vm);
    g_free(fallback);
}

void vcpu_fallback_run(VcpuFallback *fallback, unsigned cpu, const VcpuBackendOps *ops,
                       BackendVcpu *vcpu, VcpuExit *ret_exit)
{
    FallbackCpu *own = &fallback->cpu[cpu];
    gint64 now = g_get_monotonic_time();
    if (now - own->last_end_us > FAR_APART_US)
        own->stretch = STRETCH_MIN;
    else
        own->stretch = MIN(own->stretch * 2, STRETCH_MAX);
    VcpuState state;
    ops->get_state(vcpu, &state, VCPU_STATE_ALL);
    if (!fallback->ops->set_state(own->vcpu, &state, VCPU_STATE_ALL)) {
        *ret_exit = (VcpuExit){ .reason = VCPU_EXIT_INTERNAL_ERROR,
                                .internal_error = { 0, "its state is not one that the "
                                                       "interpreter knows" } };
        return;
    }
    fallback->ops->run_some(own->vcpu, own->stretch, ret_exit);
    fallback->ops->get_state(own->vcpu, &state, VCPU_STATE_ALL);
    state.events.halted = false; // the vCPU layer waits
    ops->set_state(vcpu, &state, VCPU_STATE_ALL);
    own->last_end_us = g_get_monotonic_time();
}
