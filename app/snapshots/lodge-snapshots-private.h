// SPDX-License-Identifier: GPL-2.0-or-later
// What the three parts of LodgeSnapshots share: the connection and the widget
// (lodge-snapshots.c), the list (-list.c), the actions (-actions.c).
#pragma once

#include "app/client/snapshots-client.h"
#include "app/snapshots/lodge-snapshot-row.h"
#include "app/snapshots/lodge-snapshots.h"
#include "app/snapshots/snapshot-forecast.h"

struct _LodgeSnapshots {
    GtkWidget parent_instance;
    char *folder;
    gboolean on;
    LodgeSnapshots1 *proxy;
    GCancellable *cancellable; // of everything for this folder; NULL: nobody was asked yet
    GPtrArray *nodes;          // of SnapshotNode
    GHashTable *pictures;      // guint64 of a node -> GdkTexture
    SnapshotForecast forecast; // as of the list
    gboolean bin;              // deleted ones are listed
    guint64 asked;             // the node that the open dialog is about; 0: none
    GSimpleActionGroup *actions;

    GtkWidget *content;
    GtkStack *stack;
    GtkListBox *list;
    AdwStatusPage *status;
    GtkLabel *usage, *costs;
};

// ---- The list ----

// The chosen row, or NULL.
LodgeSnapshotRow *lodge_snapshots_selected(LodgeSnapshots *self);

// The node of the identifier; NULL: it is not in the list.
const SnapshotNode *lodge_snapshots_find(LodgeSnapshots *self, guint64 id);

// A page with a word and a sentence in place of the list.
void lodge_snapshots_show_status(LodgeSnapshots *self, const char *title, const char *text);

// Tells what went wrong; nothing where it was cancelled.
void lodge_snapshots_fail(LodgeSnapshots *self, const char *heading, GError *error);

// What the chosen node costs, below the list.
void lodge_snapshots_show_costs(LodgeSnapshots *self);

// Asks for the costs that may have changed.
void lodge_snapshots_ask_forecast(LodgeSnapshots *self);

// Rows of the nodes that are known.
void lodge_snapshots_fill(LodgeSnapshots *self);

// Asks the service for everything that is shown, and shows it then.
void lodge_snapshots_read(LodgeSnapshots *self);

// ---- The connection ----

// Calls a method of the service, which is started where there is none, and reads the list again.
// heading: of the dialog that tells an error. done: with the results, on success; NULL: nothing.
void lodge_snapshots_call(LodgeSnapshots *self, const char *heading, const char *method,
                          GVariant *arguments,
                          void (*done)(LodgeSnapshots *self, GVariant *results, guint64 id),
                          guint64 id);

// ---- The actions ----

void lodge_snapshots_add_actions(LodgeSnapshots *self);

// Which of them can be done now.
void lodge_snapshots_update_actions(LodgeSnapshots *self);
