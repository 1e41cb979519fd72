// SPDX-License-Identifier: GPL-2.0-or-later
// The way to a machine's snapshots: whoever has its store open answers, an engine that runs the
// machine or a service that is started for the purpose (data/dbus/org.lodge.Snapshots1.xml).
#pragma once

#include "data/dbus/lodge-snapshots1.h"

#include <gio/gio.h>
#include <stdbool.h>

#define SNAPSHOTS_CLIENT_PATH "/org/lodge/Snapshots"

typedef struct {
    guint64 id, parent; // 0: none
    char *name, *note;
    gint64 time; // microseconds since 1970
    bool is_protected, in_bin, automatic, has_memory;
    guint64 own, shared; // bytes
} SnapshotNode;

// Whether the machine in the folder has a snapshot store.
gboolean snapshots_has_store(const char *folder);

// A proxy; starts the service where nobody has the store open. Blocking. NULL and error:
// G_IO_ERROR_NOT_FOUND where the machine has no snapshot store.
LodgeSnapshots1 *snapshots_connect(const char *folder, GError **error);

// Calls a method that may take its time. Blocking. arguments: sunk. cancellable: asks the service
// to give it up, and waits for what it says: done all the same, or an error and nothing left
// behind; may be NULL. The results, or NULL and error.
GVariant *snapshots_call(LodgeSnapshots1 *proxy, const char *method, GVariant *arguments,
                         GCancellable *cancellable, GError **error);

// Takes a snapshot. Blocking. cancellable: ends one with memory, with an error and nothing left
// behind.
bool snapshots_take(LodgeSnapshots1 *proxy, const char *name, const char *note, bool memory,
                    GCancellable *cancellable, guint64 *ret_id, GError **error);

// Throws away what a suspended machine, or one that went to a snapshot with memory, would go on
// from. The machine must be off. Blocking.
bool snapshots_discard_state(const char *folder, GError **error);

// When it was taken, in the computer's time zone; format as g_date_time_format's. Free with g_free.
char *snapshot_node_time(const SnapshotNode *node, const char *format);

// Every node that List tells, SnapshotNode *, in the order in which they were taken. Free with
// g_ptr_array_unref.
GPtrArray *snapshots_nodes_from_variant(GVariant *nodes);

// The node that text names: an identifier, or the name of exactly one node. NULL and error, which
// says what there is; owned by the array.
const SnapshotNode *snapshots_find(GPtrArray *nodes, const char *text, GError **error);
