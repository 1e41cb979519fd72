// SPDX-License-Identifier: GPL-2.0-or-later
// Asks for a name and, if wanted, a note.
#pragma once

#include <adwaita.h>

typedef struct {
    const char *heading;
    const char *body;   // "" for none
    const char *action; // the button's label, with a mnemonic
    const char *name;   // what the entry begins with
    const char *note;   // the same; NULL: no note is asked for
    // Called where the person agrees. note is "" where none was asked for.
    void (*done)(gpointer user_data, const char *name, const char *note);
    gpointer user_data; // owned by the parent, or the parent
} LodgeSnapshotQuestion;

void lodge_snapshot_dialog_ask(GtkWidget *parent, const LodgeSnapshotQuestion *question);
