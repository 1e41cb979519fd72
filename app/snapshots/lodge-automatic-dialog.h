// SPDX-License-Identifier: GPL-2.0-or-later
// The settings of the snapshots that a machine takes by itself (snapshots.interval, memory and
// budget of lodge.conf). They are written when the person saves them; an engine that runs the
// machine follows them from its next start.
#pragma once

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_AUTOMATIC_DIALOG (lodge_automatic_dialog_get_type())
G_DECLARE_FINAL_TYPE(LodgeAutomaticDialog, lodge_automatic_dialog, LODGE, AUTOMATIC_DIALOG,
                     AdwWindow)

// folder: the machine's. on: it runs now. NULL and error where its configuration cannot be read.
GtkWidget *lodge_automatic_dialog_new(GtkWindow *parent, const char *folder, gboolean on,
                                      GError **error);

G_END_DECLS
