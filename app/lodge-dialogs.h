// SPDX-License-Identifier: GPL-2.0-or-later
// The two dialogs that every screen uses.
#pragma once

#include <gtk/gtk.h>

// Shows what went wrong: the heading says it in short, the error's sentence has cause and remedy.
void lodge_dialog_error(GtkWidget *parent, const char *heading, const GError *error);

// Asks before something that cannot be undone; calls confirmed with user_data if the person agrees.
// The parent must own user_data or be it.
void lodge_dialog_confirm(GtkWidget *parent, const char *heading, const char *body,
                          const char *action, void (*confirmed)(gpointer user_data),
                          gpointer user_data);
