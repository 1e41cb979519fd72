// SPDX-License-Identifier: GPL-2.0-or-later
// What executes guest instructions: kvm, monitor, translator, interpreter fill this table.
//
// Ports, MMIO, MSRs and CR8 that a backend does not handle itself go to the VmHandler in place:
// the backend fills a VcpuExit, calls handler->exit on the vCPU's thread with no lock held, and
// goes on when it returns. run() itself returns only for HALT, SHUTDOWN, KICK, INTERNAL_ERROR
// (WINDOW stays inside). This keeps an instruction that makes several accesses whole.
//
// Interrupts: the handler's owner calls set_interrupt when the CPU's INTR input changes; when the
// guest can take one, the backend calls handler->acknowledge for the vector.
#pragma once

#include "engine/memory/guest-memory.h"
#include "engine/vcpu/cpuid.h"
#include "engine/vcpu/vcpu-exit.h"
#include "engine/vcpu/vcpu-state.h"

#include <glib.h>

typedef struct BackendVm BackendVm;
typedef struct BackendVcpu BackendVcpu;

typedef struct {
    // Serves a PORT, MMIO, MSR or CR8 exit; fills what was read.
    void (*exit)(void *opaque, unsigned cpu, VcpuExit *exit);
    // The vector of the interrupt that the CPU now accepts, or -1 where it went away.
    int (*acknowledge)(void *opaque, unsigned cpu);
    void *opaque;
} VmHandler;

typedef struct {
    GuestMemory *memory;
    const CpuidModel *cpuid;
    VmHandler handler;
    // Guest TSC = (virtual ns) * tsc_hz / 1e9 + per-CPU offset. now_ns: any thread, no lock.
    int64_t (*now_ns)(void *opaque);
    void *now_opaque;
} BackendVmConfig;

// The translator's counters. Names for `lodgectl run --stats` are in vcpu-exit.c.
typedef enum {
    VCPU_UNIT_ENTRIES,   // times that the run loop entered a unit of host code
    VCPU_UNIT_BLOCKS,    // blocks that the run loop gave to the interpreter: they are cold
    VCPU_UNIT_LINKS,     // direct branches that were led to another unit
    VCPU_UNIT_CALL_OUTS, // instructions without a form in host code
    VCPU_UNIT_REFILLS,   // memory accesses that filled the TLB
    VCPU_UNIT_SLOW,      // accesses and indirect branches that C did
    VCPU_UNIT_DROPPED,   // units whose code was written, or that are to be made another way:
    VCPU_UNIT_DROPPED_STORE,   // a CPU wrote
    VCPU_UNIT_DROPPED_DEVICE,  // a device wrote
    VCPU_UNIT_DROPPED_MAP,     // the memory map changed
    VCPU_UNIT_DROPPED_MANY,    // so much was written that nobody knows what
    VCPU_UNIT_DROPPED_REGROUP, // a check for several accesses failed too often
    VCPU_UNIT_DROPPED_RANGES, // its ranges were of no use
    VCPU_UNIT_REVIVED,   // of these, found unchanged
    VCPU_UNIT_RELOCATED, // made from one at another linear address
    VCPU_UNIT_FORGETS,   // times that all units were given up
    VCPU_UNIT_CODE,      // bytes of host code made
    VCPU_UNIT_COUNTERS
} VcpuUnitCounter;
const char *vcpu_unit_counter_name(VcpuUnitCounter counter);

// Instructions without a form in host code, by mnemonic.
#define VCPU_CALL_OUTS 24 // as many as are told of
typedef struct {
    const char *name; // lives for ever; NULL: this row is free, and those behind it
    uint64_t count;
} VcpuCallOut;
// Adds `count` to the row of that name, or takes a free one, or that of the smallest count where
// that is smaller. VCPU_CALL_OUTS rows.
void vcpu_call_outs_add(VcpuCallOut *rows, const char *name, uint64_t count);

// Counted per vCPU by the backend, read by any thread without a lock (approximate).
typedef struct {
    uint64_t instructions; // retired; 0 where the backend cannot know
    uint64_t exits[VCPU_EXIT_COUNT];
    uint64_t translations; // blocks or units formed
    uint64_t tlb_misses;
    uint64_t exceptions;
    uint64_t interrupts;
    uint64_t units[VCPU_UNIT_COUNTERS];
    VcpuCallOut call_outs[VCPU_CALL_OUTS]; // the most frequent, in no order
} VcpuStats;

// Where a CPU was when it last looked up from its work.
typedef struct {
    uint64_t number;   // of samples that it has made
    uint64_t address;  // linear, of what it was to run next
    uint8_t ring, bits; // 0..3; 16, 32 or 64
} VcpuSample;

typedef struct {
    const char *name; // "interpreter"
    // NULL where the backend can run here, else one sentence for the user; freed by the caller.
    char *(*probe)(void);
    // What CPUID may offer under this backend.
    CpuFeatureSet (*features)(void);

    BackendVm *(*vm_create)(const BackendVmConfig *config, GError **error);
    void (*vm_destroy)(BackendVm *vm); // every vCPU is destroyed; NULL is allowed

    // cpu: index, which is also the initial APIC id.
    BackendVcpu *(*vcpu_create)(BackendVm *vm, unsigned cpu, GError **error);
    void (*vcpu_destroy)(BackendVcpu *vcpu);

    // Runs until an exit that is not served in place. On the vCPU's own thread only.
    void (*run)(BackendVcpu *vcpu, VcpuExit *ret_exit);

    // Runs at most `instructions` instructions (KICK when they are done). NULL: cannot.
    void (*run_some)(BackendVcpu *vcpu, unsigned instructions, VcpuExit *ret_exit);
    // run ends with INTERNAL_ERROR at instructions that the backend does not know; the interpreter
    // should then execute them.
    bool needs_fallback;

    // On the vCPU's thread, or while it is not in run.
    void (*get_state)(BackendVcpu *vcpu, VcpuState *ret_state, VcpuStateGroups groups);
    // Values that the architecture forbids are refused: false and nothing changed.
    bool (*set_state)(BackendVcpu *vcpu, const VcpuState *state, VcpuStateGroups groups);

    // Any thread, no lock needed.
    void (*set_interrupt)(BackendVcpu *vcpu, bool pending); // level of INTR
    void (*inject_nmi)(BackendVcpu *vcpu);
    void (*kick)(BackendVcpu *vcpu); // run returns KICK soon; remembered where not running
    void (*set_a20)(BackendVm *vm, bool enabled); // NULL: the backend ignores A20
    void (*stats)(BackendVcpu *vcpu, VcpuStats *ret_stats);
    // Gives the last sample and asks for another one, which the CPU makes at its next poll: where
    // it enters a unit or block. One reader at a time. NULL: cannot.
    void (*sample)(BackendVcpu *vcpu, VcpuSample *ret_sample);
    uint64_t (*tsc)(BackendVcpu *vcpu); // the guest's TSC now
    uint64_t (*tsc_hz)(void); // the rate that CPUID must tell; NULL: any, 1 GHz is taken
} VcpuBackendOps;

extern const VcpuBackendOps vcpu_backend_interpreter;
extern const VcpuBackendOps vcpu_backend_translator;
extern const VcpuBackendOps vcpu_backend_kvm;

// For developers: a backend that runs `leader` (a software engine) and the interpreter behind it
// with the same inputs, on a copy of memory. It compares the CPU's whole state again and again, and
// memory now and then; the first difference is written to standard error and run ends with
// INTERNAL_ERROR. One virtual CPU. LODGE_LOCKSTEP: words separated by commas.
//   rounds=N    compare after N turns of the leader's run loop instead of at random moments, about
//               0.2 ms apart
//   memory=N    compare memory each N million instructions (20; 0: at every stop)
//   quiet       no line at the end that says how many comparisons there were
// Its run_some counts turns of the leader's run loop.
const VcpuBackendOps *vcpu_backend_lockstep(const VcpuBackendOps *leader);
