// SPDX-License-Identifier: GPL-2.0-or-later
// What the commands for snapshots begin with: a machine's tree.
#pragma once

#include "app/client/snapshots-client.h"

// A machine's snapshots, connected to and read.
typedef struct {
    LodgeSnapshots1 *proxy;
    GPtrArray *nodes; // SnapshotNode, in the order in which they were taken
} SnapshotTree;

void snapshot_tree_clear(SnapshotTree *tree);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SnapshotTree, snapshot_tree_clear)

// By the machine's name. False and error: there is no such machine, or no store.
bool snapshot_tree_open(const char *machine, SnapshotTree *tree, GError **error);

// Says on standard error what went wrong, and frees it; the exit status.
int snapshot_fail(GError *error);
