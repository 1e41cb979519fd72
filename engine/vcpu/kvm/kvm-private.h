// SPDX-License-Identifier: GPL-2.0-or-later
// Shared by the files of the kvm backend.
#pragma once

#include "engine/vcpu/vcpu-backend.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#define KVM_SLOTS_MAX 64

struct BackendVm {
    BackendVmConfig config;
    int system_fd; // /dev/kvm
    int fd;
    size_t run_size; // of a vCPU's shared page
    bool user_msrs;  // KVM_CAP_X86_USER_SPACE_MSR: APIC MSRs come to us
    GuestMemoryListener listener;
    // Memory slots as KVM has them; size 0: free. Machine lock held.
    GuestRange slot[KVM_SLOTS_MAX];
    uint64_t *dirty_bitmap[KVM_SLOTS_MAX];
    bool logged; // the map keeps a write log
};

struct BackendVcpu {
    BackendVm *vm;
    unsigned index;
    int fd;
    struct kvm_run *run;
    bool interrupt; // level of INTR; atomic
    bool nmi;       // atomic
    bool kicked;    // atomic
    uint64_t tsc_offset; // guest TSC minus host TSC
    pthread_t thread;    // the one in KVM_RUN, valid while in_run
    bool in_run;         // atomic
    VcpuStats stats;
};

// ioctl again while a signal interrupts it. -errno on failure.
int kvm_call(int fd, unsigned long request, void *argument);

// kvm-memory.c
void kvm_memory_attach(BackendVm *vm);
void kvm_memory_detach(BackendVm *vm);

// kvm-state.c
void kvm_get_state(BackendVcpu *vcpu, VcpuState *ret_state, VcpuStateGroups groups);
bool kvm_set_state(BackendVcpu *vcpu, const VcpuState *state, VcpuStateGroups groups);
