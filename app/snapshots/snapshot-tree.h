// SPDX-License-Identifier: GPL-2.0-or-later
// The order in which a tree's nodes are listed, and the lines that connect the rows. Each node
// stands below its parent, children in the order in which they were taken.
#pragma once

#include "app/client/snapshots-client.h"

// Deeper than this, rows are not moved further to the right.
#define SNAPSHOT_TREE_DEPTH_MAX 24

typedef struct {
    const SnapshotNode *node;
    guint depth;    // 0: a root
    guint32 rails;  // bit N: a line goes through column N, from an ancestor's child to the next
    bool last;      // of its parent's children: the line to it ends here
    bool has_children;
} SnapshotTreeRow;

// Array of SnapshotTreeRow for nodes of snapshots_nodes_from_variant, which must outlive it. A node
// in the bin is listed only where bin is true; children of one that is not listed stand where it
// would.
GArray *snapshot_tree_rows(GPtrArray *nodes, bool bin);
