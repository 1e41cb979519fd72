// SPDX-License-Identifier: GPL-2.0-or-later
// The snapshots of a machine that is on: taking one with its memory while the guest runs, and going
// to one without leaving the engine. The store does the rest (engine/dbus/snapshots-object.h).
#pragma once

#include "engine/dbus/snapshots-object.h"
#include "engine/lifecycle.h"

typedef struct LiveSnapshots LiveSnapshots;

// Both must outlive it. Main thread, as everything here.
LiveSnapshots *live_snapshots_new(Lifecycle *lifecycle, Store *store);
// No call is under way. NULL is allowed.
void live_snapshots_free(LiveSnapshots *live);

// Where progress is announced; before the first call.
void live_snapshots_set_object(LiveSnapshots *live, SnapshotsObject *object);

// Takes a snapshot of a machine that is on, for whoever: done is called once, at once or later,
// with an error (its owner's only to read) or none. take: copied.
void live_snapshots_take(LiveSnapshots *live, const StoreTake *take,
                         void (*done)(void *opaque, StoreNodeId id, const GError *error),
                         void *opaque);

// For SnapshotsObjectHooks, with the LiveSnapshots as opaque.
bool live_snapshots_serve(void *opaque, SnapshotsCall *call, const char *method,
                          GVariant *arguments);
void live_snapshots_cancel(void *opaque);
