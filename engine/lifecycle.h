// SPDX-License-Identifier: GPL-2.0-or-later
// When a machine runs: the state machine between a person (or the guest) and machine.h.
//
//     off -> starting -> running <-> paused
//                           |  \-> stopping (the guest was asked to shut down) -> off
//                           |  \-> suspending (its state is being saved) -> off
//                           \-> crashed (with a reason; a reset or a stop leads out)
//
// Main thread only.
#pragma once

#include "engine/machine-capture.h"

typedef enum {
    LIFECYCLE_OFF,
    LIFECYCLE_STARTING,
    LIFECYCLE_RUNNING,
    LIFECYCLE_PAUSED,
    LIFECYCLE_STOPPING,
    LIFECYCLE_SUSPENDING,
    LIFECYCLE_CRASHED,
} LifecycleState;

// Why a machine is off.
typedef enum {
    LIFECYCLE_NOT_STARTED,
    LIFECYCLE_GUEST_POWERED_OFF,
    LIFECYCLE_DEBUG_EXIT, // lifecycle_debug_value
    LIFECYCLE_STOPPED,    // by a person
    LIFECYCLE_SUSPENDED,  // its state is saved
    LIFECYCLE_WENT_OFF,   // to a snapshot without memory
} LifecycleEnd;

typedef struct Lifecycle Lifecycle;

typedef struct {
    // Its event and opaque are set by the lifecycle. With `resume`, the state is used up when the
    // machine starts; source and sink must live as long as the lifecycle.
    MachineOptions machine;
    // Where a suspended machine's state goes; NULL: it cannot be suspended. A disposable one never
    // is.
    const struct MachineStateSink *suspend_to;
    // Of a suspend, 0 to 1. May be NULL.
    void (*progress)(void *opaque, double fraction);
    // After each change of state. reason: one sentence or "". May not free the lifecycle.
    void (*changed)(void *opaque, LifecycleState state, const char *reason);
    void *opaque;
} LifecycleConfig;

// Builds the machine: state starting. On failure NULL and error, as machine_new.
Lifecycle *lifecycle_new(const LifecycleConfig *config, GError **error);
void lifecycle_free(Lifecycle *lifecycle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Lifecycle, lifecycle_free)

// Each fails, with error (G_IO_ERROR_NOT_SUPPORTED) that names the state,
// where the present state does not allow it.
bool lifecycle_start(Lifecycle *lifecycle, GError **error); // from starting
bool lifecycle_pause(Lifecycle *lifecycle, GError **error);
bool lifecycle_resume(Lifecycle *lifecycle, GError **error);
bool lifecycle_reset(Lifecycle *lifecycle, GError **error);
// force: takes the power away. Otherwise asks the guest; if it has not shut down after two minutes
// the state is running again, and reason says so.
bool lifecycle_stop(Lifecycle *lifecycle, bool force, GError **error);

// Saves the state while the guest runs on for the most part, then the machine is off. Returns at
// once; where saving fails the state is again what it was, and reason says why.
bool lifecycle_suspend(Lifecycle *lifecycle, GError **error);

// Saves the state of a machine that is on, which stays on (running or paused). config: its machine
// and stay_stopped are set by the lifecycle, the rest is copied. done is called once, at the latest
// in lifecycle_free; a machine that is turned off meanwhile ends it with an error.
bool lifecycle_capture(Lifecycle *lifecycle, const MachineCaptureConfig *config, GError **error);
// Ends it soon, with an error. Where there is none nothing happens.
void lifecycle_cancel_capture(Lifecycle *lifecycle);

// Goes over to another state of disks, and of everything. swap: called with the machine standing
// still, no request in flight; exchanges the disks, or fails. with_memory: the store's current then
// holds a state, from which the machine runs on; otherwise the machine is off. False: nothing has
// changed, or the state is crashed, with that reason.
bool lifecycle_go_to(Lifecycle *lifecycle, bool (*swap)(void *opaque, GError **error),
                     void *opaque, bool with_memory, GError **error);

LifecycleState lifecycle_state(const Lifecycle *lifecycle);
const char *lifecycle_state_name(LifecycleState state); // "running"
const char *lifecycle_reason(const Lifecycle *lifecycle);
LifecycleEnd lifecycle_end(const Lifecycle *lifecycle);
uint32_t lifecycle_debug_value(const Lifecycle *lifecycle);

// The machine; it exists until lifecycle_free, also when it is off.
Machine *lifecycle_machine(Lifecycle *lifecycle);
