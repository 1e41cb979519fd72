// SPDX-License-Identifier: GPL-2.0-or-later
// The screen of one machine's snapshots. It asks whoever has the machine's store open, for as long
// as it is shown.
#pragma once

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_SNAPSHOTS (lodge_snapshots_get_type())
G_DECLARE_FINAL_TYPE(LodgeSnapshots, lodge_snapshots, LODGE, SNAPSHOTS, GtkWidget)

// folder: whose snapshots are shown; NULL: none, and the store is left to others. on: the machine
// runs: going to another snapshot asks first.
void lodge_snapshots_show(LodgeSnapshots *self, const char *folder, gboolean on);

G_END_DECLS
