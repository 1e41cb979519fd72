// SPDX-License-Identifier: GPL-2.0-or-later
// Which files differ between two nodes of a snapshot store, for lodgectl snapshot diff --files
// and for the app.
#pragma once

#include "snapshots/store/store.h"

// Compares every disk of the store, as text by disk and partition or as JSON. Bytes that a terminal
// would take for orders are shown as \xNN. A disk that one of the nodes does not have is left out.
// The store may be in use by an engine, as long as both nodes are protected. NULL and error where
// it cannot be opened or read.
char *disk_files_compare(const char *store, StoreNodeId before, StoreNodeId after, bool json,
                         GError **error);

// The same for a program, of type a(sasa(usasa(ybss))): the disks, with name and notes; their
// partitions, with number (0: the disk as a whole), file system ("": none that is known) and notes;
// the changes: one of the letters ADMR (added, deleted, modified, renamed), whether it is a
// directory, the path, and for R the one before. Not floating.
GVariant *disk_files_compare_variant(const char *store, StoreNodeId before, StoreNodeId after,
                                     GError **error);
