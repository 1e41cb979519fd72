// SPDX-License-Identifier: GPL-2.0-or-later
// The vCPU threads of one machine: each runs its backend, serves exits through the bus and the
// local APIC, sleeps while halted, and carries out INIT and startup IPIs.
//
// Lock order: the machine lock (bus_lock), then a vCPU's own lock. Threads hold neither while guest
// instructions run.
#pragma once

#include "engine/bus/apic.h"
#include "engine/bus/bus.h"
#include "engine/loop/clock.h"
#include "engine/vcpu/vcpu-backend.h"

typedef struct VcpuSet VcpuSet;

typedef struct {
    const VcpuBackendOps *backend;
    GuestMemory *memory;
    Bus *bus;
    Clock *clock;
    const CpuidModel *cpuid; // copied
    unsigned cpus;
    // The VMware backdoor (port 5658h): true where it took the access. Machine lock held. May be
    // NULL.
    bool (*backdoor)(void *opaque, uint32_t registers[6]);
    // A triple fault, or an error that the guest cannot survive (text: one sentence). On a vCPU's
    // thread, no lock held; must not wait for the vCPUs.
    void (*shutdown)(void *opaque, unsigned cpu);
    void (*failed)(void *opaque, unsigned cpu, const char *text);
    void *opaque;
} VcpuSetConfig;

// Creates backend VM and vCPUs, not running, in their state after RESET (CPU 0) or waiting for a
// startup IPI. NULL and error (G_IO_ERROR) where the backend refuses.
VcpuSet *vcpu_set_new(const VcpuSetConfig *config, GError **error);
// The set must be paused. NULL is allowed.
void vcpu_set_free(VcpuSet *set);

// What the local APICs drive; and the local APICs themselves, to be given before the first run.
CpuWires vcpu_set_wires(VcpuSet *set);
void vcpu_set_connect_apic(VcpuSet *set, LocalApic apic);

// Lets the vCPUs run, or stops them: vcpu_set_pause returns when none runs guest instructions or
// serves an exit. Main thread, machine lock not held.
void vcpu_set_run(VcpuSet *set);
void vcpu_set_pause(VcpuSet *set);

// All CPUs to their state after RESET. Paused.
void vcpu_set_reset(VcpuSet *set);

// State of one CPU. Paused.
void vcpu_set_get_state(VcpuSet *set, unsigned cpu, VcpuState *ret_state);
bool vcpu_set_set_state(VcpuSet *set, unsigned cpu, const VcpuState *state, VcpuStateGroups groups);

// INIT and startup IPIs that have been sent and not been taken yet. Paused.
typedef struct {
    bool init, startup;
    uint8_t vector; // of the startup IPI
} VcpuPending;
VcpuPending vcpu_set_pending(VcpuSet *set, unsigned cpu);
void vcpu_set_set_pending(VcpuSet *set, unsigned cpu, VcpuPending pending);

// Address line 20 as the board's gate drives it. Any thread.
void vcpu_set_a20(VcpuSet *set, bool enabled);

// Where a CPU was when it last looked up, and asks it to look up again (vcpu-backend.h). False
// where the backend cannot tell, or there is no such CPU. Main thread.
bool vcpu_set_sample(VcpuSet *set, unsigned cpu, VcpuSample *ret_sample);

// Sum over the CPUs; approximate while they run. Any thread.
void vcpu_set_stats(VcpuSet *set, VcpuStats *ret_stats);
