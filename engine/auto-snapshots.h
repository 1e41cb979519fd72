// SPDX-License-Identifier: GPL-2.0-or-later
// The snapshots that a machine takes by itself while it runs, and which of them go when they take
// up too much room (machine.conf, group snapshots).
#pragma once

#include "engine/live-snapshots.h"

typedef struct AutoSnapshots AutoSnapshots;

// All must outlive it. NULL: the configuration wants none. Main thread, as everything here but
// trim. LODGE_SNAPSHOT_MINUTE in the environment says how many milliseconds a minute has, for
// tests.
AutoSnapshots *auto_snapshots_new(LiveSnapshots *live, Lifecycle *lifecycle, Store *store,
                                  SnapshotsObject *object);
// Waits for what is under way, but for a take, which the lifecycle ends. NULL is allowed.
void auto_snapshots_free(AutoSnapshots *autos);

// Deletes automatic nodes for good, the oldest first, until what they have for themselves is at
// most budget bytes. Protected nodes, and the one that `keep` names, stay. Any thread.
bool auto_snapshots_trim(Store *store, uint64_t budget, StoreNodeId keep, GError **error);
