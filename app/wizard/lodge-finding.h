// SPDX-License-Identifier: GPL-2.0-or-later
// A sentence under what it is about: why it cannot stay like this, or what may go wrong. Hidden
// when there is nothing to say.
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define LODGE_TYPE_FINDING (lodge_finding_get_type())
G_DECLARE_FINAL_TYPE(LodgeFinding, lodge_finding, LODGE, FINDING, GtkWidget)

// text: taken over; NULL hides. stops: an error; else a warning.
void lodge_finding_take(LodgeFinding *self, char *text, gboolean stops);

G_END_DECLS
