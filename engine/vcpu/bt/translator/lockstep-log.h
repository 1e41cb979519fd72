// SPDX-License-Identifier: GPL-2.0-or-later
// What reaches a CPU from outside, written down while the leader runs and given to the follower at
// the same places: answers of ports, MMIO and MSRs with what the devices did meanwhile, the time,
// and interrupts.
#pragma once

#include "engine/vcpu/vcpu-exit.h"

#include <glib.h>

// After so many exits the engines are compared; one instruction that makes twice as many is not
// followed, and the run ends with an internal error of this text.
#define LOCKSTEP_MANY_EXITS (1u << 14)
#define LOCKSTEP_TOO_MANY   "a string instruction makes more exits than lockstep writes down"

// What a device did while it answered.
typedef struct {
    enum { LOCKSTEP_WRITE, LOCKSTEP_MAP, LOCKSTEP_A20 } kind;
    uint64_t gpa;
    GBytes *bytes; // WRITE
    bool enabled;  // A20
} LockstepEffect;

typedef struct {
    VcpuExit before, after;
    uint32_t registers_before[6], registers_after[6];
    GBytes *written, *read; // of a string instruction, or NULL
    GArray *effects;        // of LockstepEffect, or NULL
} LockstepExit;

typedef struct {
    uint64_t instructions, exceptions, rip; // where it was accepted
    uint8_t vector;
} LockstepInterrupt;

typedef struct {
    GPtrArray *exits;      // of LockstepExit
    GArray *interrupts;    // of LockstepInterrupt
    GArray *times;         // of int64_t
    guint exit, interrupt, time; // read so far
} LockstepLog;

void lockstep_log_init(LockstepLog *log);
void lockstep_log_finish(LockstepLog *log);
// The follower has caught up: all that was read is dropped.
void lockstep_log_trim(LockstepLog *log);

// An exit begins; ended by lockstep_log_answer with what the handler made of it.
LockstepExit *lockstep_log_ask(LockstepLog *log, const VcpuExit *exit);
void lockstep_log_answer(LockstepExit *record, const VcpuExit *exit);
void lockstep_log_effect(LockstepExit *record, LockstepEffect effect);

// The follower's exit: the record that answers it, `exit` filled from it; NULL where the leader
// asked for something else, or for nothing.
const LockstepExit *lockstep_log_replay(LockstepLog *log, VcpuExit *exit);
