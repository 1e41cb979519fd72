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
typedef struct SnapshotsCall SnapshotsCall; // of a method, until it is answered

typedef struct {
    // Somebody called, or a call has ended: the service is not idle. May be NULL.
    void (*used)(void *opaque);
    // Somebody wants the store. May be NULL.
    void (*release)(void *opaque);
    // Whether a call may be served now; else error says why not. May be NULL.
    bool (*allows)(void *opaque, const char *method, GVariant *arguments, GError **error);
    // A machine that is on carries out a method itself: true, and snapshots_call_end follows, at
    // once or later. False: the store alone is asked. May be NULL.
    bool (*serves)(void *opaque, SnapshotsCall *call, const char *method, GVariant *arguments);
    // The tree, or current, was changed. May be NULL.
    void (*changed)(void *opaque);
    // Somebody called Cancel. May be NULL.
    void (*cancel)(void *opaque);
    void *opaque;
} SnapshotsObjectHooks;

// Exports the object on the connection. The store must outlive it. hooks: copied.
SnapshotsObject *snapshots_object_new(GDBusConnection *connection, Store *store,
                                      const SnapshotsObjectHooks *hooks, GError **error);
// The end of a call that a hook serves. results: taken over, NULL: none; error: the caller's; where
// it is set there are no results.
void snapshots_call_end(SnapshotsCall *call, GVariant *results, const GError *error);
// Announces how far a call that a hook serves is. Bytes.
void snapshots_object_progress(SnapshotsObject *object, uint64_t done, uint64_t total);

// Announces that somebody else changed the tree.
void snapshots_object_changed(SnapshotsObject *object);

// Calls that are under way.
unsigned snapshots_object_busy(const SnapshotsObject *object);
// Takes it off the bus; a clone under way is cancelled, calls are waited for. NULL is allowed.
void snapshots_object_free(SnapshotsObject *object);
