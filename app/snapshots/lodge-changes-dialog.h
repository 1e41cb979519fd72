// SPDX-License-Identifier: GPL-2.0-or-later
// What differs between two of a machine's snapshots, or one and now: how much of each disk, and
// which files, in a list that can be searched. Both sides can be chosen anew.
#pragma once

#include "app/client/snapshots-client.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_CHANGES_DIALOG (lodge_changes_dialog_get_type())
G_DECLARE_FINAL_TYPE(LodgeChangesDialog, lodge_changes_dialog, LODGE, CHANGES_DIALOG, AdwWindow)

// Begins with what the snapshot of the identifier changed of its parent's, or where it has none
// with what became of it until now. proxy: of the snapshots, tells the progress. nodes:
// SnapshotNode, of which those in the bin cannot be chosen.
GtkWidget *lodge_changes_dialog_new(GtkWindow *parent, const char *folder, LodgeSnapshots1 *proxy,
                                    GPtrArray *nodes, guint64 node);

G_END_DECLS
