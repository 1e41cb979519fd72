// SPDX-License-Identifier: GPL-2.0-or-later
// The object org.lodge.Snapshots1 of one machine's snapshot store.
//
// Calls block for disk I/O, so they run on worker threads; the store is safe for that. Everything
// here is called on the main thread.
#pragma once

#include "snapshots/store/store.h"

#include <gio/gio.h>

#define SNAPSHOTS_OBJECT_PATH "/org/lodge/Snapshots"

typedef struct SnapshotsObject SnapshotsObject;

typedef struct {
    // Somebody called, or a call has ended: the service is not idle. May be NULL.
    void (*used)(void *opaque);
    // Somebody wants the store. May be NULL.
    void (*release)(void *opaque);
    // Whether a method cannot be served now: one sentence why, or NULL. May be NULL.
    const char *(*refuses)(void *opaque, const char *method);
    void *opaque;
} SnapshotsObjectHooks;

// Exports the object on the connection. The store must outlive it. hooks: copied.
SnapshotsObject *snapshots_object_new(GDBusConnection *connection, Store *store,
                                      const SnapshotsObjectHooks *hooks, GError **error);
// Calls that are under way.
unsigned snapshots_object_busy(const SnapshotsObject *object);
// Takes it off the bus; a clone under way is cancelled, calls are waited for. NULL is allowed.
void snapshots_object_free(SnapshotsObject *object);
