// SPDX-License-Identifier: GPL-2.0-or-later
// The lines and the dot in front of a snapshot's row. Says nothing to assistive technology: the
// row's label has the level in words.
#pragma once

#include "app/snapshots/snapshot-tree.h"

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define LODGE_TYPE_SNAPSHOT_RAILS (lodge_snapshot_rails_get_type())
G_DECLARE_FINAL_TYPE(LodgeSnapshotRails, lodge_snapshot_rails, LODGE, SNAPSHOT_RAILS, GtkWidget)

// row is copied. here: the machine stands on it.
void lodge_snapshot_rails_set(LodgeSnapshotRails *self, const SnapshotTreeRow *row, gboolean here);

G_END_DECLS
