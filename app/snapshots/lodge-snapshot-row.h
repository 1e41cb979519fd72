// SPDX-License-Identifier: GPL-2.0-or-later
// One snapshot in the list of LodgeSnapshots.
#pragma once

#include "app/snapshots/snapshot-tree.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_SNAPSHOT_ROW (lodge_snapshot_row_get_type())
G_DECLARE_FINAL_TYPE(LodgeSnapshotRow, lodge_snapshot_row, LODGE, SNAPSHOT_ROW, GtkListBoxRow)

// here: the machine stands on it; changed: and has written since.
GtkWidget *lodge_snapshot_row_new(const SnapshotTreeRow *row, gboolean here, gboolean changed);

guint64 lodge_snapshot_row_get_id(LodgeSnapshotRow *self);
const char *lodge_snapshot_row_get_name(LodgeSnapshotRow *self);
const char *lodge_snapshot_row_get_note(LodgeSnapshotRow *self);
gboolean lodge_snapshot_row_has_memory(LodgeSnapshotRow *self);
// The screen at its moment.
void lodge_snapshot_row_set_picture(LodgeSnapshotRow *self, GdkPaintable *picture);
gboolean lodge_snapshot_row_get_protected(LodgeSnapshotRow *self);
gboolean lodge_snapshot_row_get_in_bin(LodgeSnapshotRow *self);

G_END_DECLS
