// SPDX-License-Identifier: GPL-2.0-or-later
// The follower's copy of the guest's memory: the same map, over memory of its own. ROM, which no
// guest changes, is shared.
#pragma once

#include "engine/memory/guest-memory.h"

typedef struct LockstepMemory LockstepMemory;

// leader: what is copied; it must live longer.
LockstepMemory *lockstep_memory_new(GuestMemory *leader, uint64_t limit);
void lockstep_memory_free(LockstepMemory *memory);
// The copy.
GuestMemory *lockstep_memory_map(const LockstepMemory *memory);

// Makes the map as the leader's is now. What was not mapped before is copied.
void lockstep_memory_update(LockstepMemory *memory);
// Copies everything.
void lockstep_memory_copy(LockstepMemory *memory);

// Whether both hold the same bytes; false: *ret_gpa is the first that differs. Memory that devices
// also write (video RAM) is not compared.
bool lockstep_memory_equal(LockstepMemory *memory, uint64_t *ret_gpa);
