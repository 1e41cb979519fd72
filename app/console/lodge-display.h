// SPDX-License-Identifier: GPL-2.0-or-later
// The widget that shows a LodgeSession's picture and takes keyboard and pointer for it.
#pragma once

#include "app/console/lodge-session.h"

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define LODGE_TYPE_DISPLAY (lodge_display_get_type())
G_DECLARE_FINAL_TYPE(LodgeDisplay, lodge_display, LODGE, DISPLAY, GtkWidget)

typedef enum {
    LODGE_SCALING_FIT,     // the largest size that fits, aspect kept
    LODGE_SCALING_ONE,     // one guest pixel on one device pixel
    LODGE_SCALING_INTEGER, // the largest whole factor that fits
} LodgeScaling;

// Properties: "grabbed" (boolean, read-only): system shortcuts go to the guest. Signals: "released"
// (Ctrl+Alt alone: the person wants the keyboard back), "fullscreen-requested" (Ctrl+Alt+Enter).
GtkWidget *lodge_display_new(void);
void lodge_display_set_session(LodgeDisplay *self, LodgeSession *session);
void lodge_display_set_scaling(LodgeDisplay *self, LodgeScaling scaling);
LodgeScaling lodge_display_get_scaling(LodgeDisplay *self);

// Grabs system shortcuts for the guest, or gives them back. Ctrl+Alt does the latter as well.
void lodge_display_set_grabbed(LodgeDisplay *self, gboolean grabbed);
gboolean lodge_display_get_grabbed(LodgeDisplay *self);

// Presses the scancodes in order and releases them in reverse (XT set 1, extended + 100h).
void lodge_display_send_chord(LodgeDisplay *self, const guint *scancodes, guint count);

G_END_DECLS
