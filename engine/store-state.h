// SPDX-License-Identifier: GPL-2.0-or-later
// The state of a running machine in its snapshot store: what the running state ("current") holds
// after going to a snapshot with memory, as a machine's source. Memory is not read: the store's
// file is mapped privately, piece by piece, and pages come in when the guest uses them.
#pragma once

#include "engine/machine-state.h"
#include "snapshots/store/store.h"

// The volumes of a node that make up a state: STORE_DEVICE_STATE (a state-form.h), STORE_HOT_PAGES
// (u32 little-endian page numbers, ascending), STORE_THUMBNAIL (the screen, PNG), and memory:
extern const char *const store_state_memory[MACHINE_MEMORY_BLOCKS]; // "memory", "video-memory"

typedef struct StoreState StoreState;

// What current holds. NULL without an error: nothing, the machine starts anew. Error: it cannot be
// read. Main thread, machine lock not held, as everything here.
StoreState *store_state_open(Store *store, GError **error);
// No machine's memory is mapped from it any more. NULL is allowed.
void store_state_close(StoreState *state);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreState, store_state_close)

// Consuming it removes the state from current; nodes keep theirs.
const MachineStateSource *store_state_source(StoreState *state);
