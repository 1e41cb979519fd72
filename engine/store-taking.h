// SPDX-License-Identifier: GPL-2.0-or-later
// A snapshot with memory while it is being taken: the sink (machine-state.h) of a capture, and the
// freeze in its pause. Memory goes into current's image at first, which begins as that of the
// snapshot before, so that only pages that differ are written; in the pause image and disks become
// the new node, of which nobody sees anything before all of it is there.
#pragma once

#include "engine/machine-state.h"
#include "snapshots/store/store.h"

typedef struct StoreTaking StoreTaking;

// take: copied. png: the screen, or NULL. One at a time for a store.
StoreTaking *store_taking_new(Store *store, const StoreTake *take, GBytes *png);
// NULL is allowed. The capture has ended.
void store_taking_free(StoreTaking *taking);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreTaking, store_taking_free)

// Where the capture writes to. Settles before the pause, so that the freeze finds little to wait
// for.
MachineStateSink store_taking_sink(StoreTaking *taking);
// In the capture's pause, on the main thread.
bool store_taking_freeze(StoreTaking *taking, GError **error);

// Once the sink has committed.
StoreNodeId store_taking_id(const StoreTaking *taking);
// Bytes of memory that were written into the store: what the snapshot before did not have.
uint64_t store_taking_written(const StoreTaking *taking);
