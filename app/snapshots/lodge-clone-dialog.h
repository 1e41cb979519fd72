// SPDX-License-Identifier: GPL-2.0-or-later
// Asks for a name and makes a machine that begins as a snapshot of another one, whole or linked.
// Stays while that is under way, with its progress; closing it then gives the clone up.
//
// Signal "cloned" (folder): the new machine is there; the dialog closes itself.
#pragma once

#include "app/client/snapshots-client.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_CLONE_DIALOG (lodge_clone_dialog_get_type())
G_DECLARE_FINAL_TYPE(LodgeCloneDialog, lodge_clone_dialog, LODGE, CLONE_DIALOG, AdwWindow)

// source: the machine's folder; proxy: of its snapshots, tells the progress. node: the snapshot's
// identifier, node_name what people call it.
GtkWidget *lodge_clone_dialog_new(GtkWindow *parent, const char *source, LodgeSnapshots1 *proxy,
                                  guint64 node, const char *node_name);

G_END_DECLS
