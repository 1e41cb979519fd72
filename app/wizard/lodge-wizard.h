// SPDX-License-Identifier: GPL-2.0-or-later
// The wizard that makes a machine: medium, system, resources, summary.
#pragma once

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_WIZARD (lodge_wizard_get_type())
G_DECLARE_FINAL_TYPE(LodgeWizard, lodge_wizard, LODGE, WIZARD, AdwWindow)

// Signal: "created" (the machine's folder as string, boolean: start it). It closes itself then.
GtkWidget *lodge_wizard_new(GtkWindow *parent);

G_END_DECLS
