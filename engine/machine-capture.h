// SPDX-License-Identifier: GPL-2.0-or-later
// Writes a machine's state into a sink (machine-state.h) while the guest runs. Memory goes first,
// in rounds: all of it, then what was written meanwhile, until little is left. Then the machine
// stands still for a moment: what is left is set aside, devices and CPUs are saved, disks are
// frozen. The guest runs on (or stays stopped), what was set aside is written, the sink commits.
// The state is that of the moment in which the machine stood still.
#pragma once

#include "engine/machine-state.h"

typedef struct MachineCapture MachineCapture;

typedef struct {
    unsigned rounds;        // of memory, the last one in the pause included
    uint64_t bytes;         // of memory handed to the sink
    uint64_t final_pages;   // that were set aside in the pause
    int64_t longest_pause;  // microseconds
    int64_t final_pause;    // the one in which the state was saved
    int64_t final_work;     // of it, what the processor worked for it
    int64_t duration;       // from start to commit
} MachineCaptureStats;

typedef struct {
    Machine *machine;
    MachineStateSink sink;
    bool stay_stopped; // suspend: the machine does not run any more once its state is saved
    // In the pause, no request in flight: freeze the disks. Main thread, lock not held. May be
    // NULL. False and error: the capture fails.
    bool (*freeze)(void *opaque, GError **error);
    // 0 to 1. Main thread. May be NULL.
    void (*progress)(void *opaque, double fraction);
    // The end. error (the callee's to read only) is NULL where the state is safe; the sink was told
    // to discard it otherwise, and the machine runs if it ran at the start. Main thread; may call
    // machine_capture_free.
    void (*done)(void *opaque, const GError *error, const MachineCaptureStats *stats);
    void *opaque;
} MachineCaptureConfig;

// Begins; one at a time for a machine. Main thread, lock not held.
MachineCapture *machine_capture_new(const MachineCaptureConfig *config);
// Gives up soon, where it has not ended: done is called all the same. Main thread.
void machine_capture_cancel(MachineCapture *capture);
// Gives up where it has not ended: done is not called, the sink discards, a machine that stood
// still for it stays so. NULL is allowed. Main thread.
void machine_capture_free(MachineCapture *capture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MachineCapture, machine_capture_free)
