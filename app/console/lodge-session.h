// SPDX-License-Identifier: GPL-2.0-or-later
// One machine's SPICE connection as the console sees it: a picture, a pointer shape, input.
// Reconnects by itself while `active`.
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define LODGE_TYPE_SESSION (lodge_session_get_type())
G_DECLARE_FINAL_TYPE(LodgeSession, lodge_session, LODGE, SESSION, GObject)

// The guest's picture, 32-bit XRGB. Valid until the next "mode-changed".
typedef struct {
    const guint8 *pixels; // NULL: no picture yet
    guint width, height;  // pixels
    guint stride;         // bytes
} LodgePicture;

// Signals: "mode-changed" (the picture is another one, or gone), "damaged" (x, y, width, height as
// guint), "cursor-changed", "pointer-mode-changed", "connected-changed", "leds-changed".

// Gets a connected SPICE socket for one channel: calls ready with it, or with -1, now or later.
typedef void (*LodgeSocketReady)(gpointer ready_data, int fd);
typedef void (*LodgeSocketOpen)(gpointer open_data, LodgeSocketReady ready, gpointer ready_data);

// open: where sockets come from; open_data must outlive the session.
LodgeSession *lodge_session_new(LodgeSocketOpen open, gpointer open_data);

// Connects, and connects again whenever the connection is lost; or leaves for good.
void lodge_session_set_active(LodgeSession *self, gboolean active);
gboolean lodge_session_get_connected(LodgeSession *self);

LodgePicture lodge_session_get_picture(LodgeSession *self);

// The pointer's shape: a texture and its hot spot; NULL and hidden where the guest draws its own.
GdkTexture *lodge_session_get_cursor(LodgeSession *self, int *ret_hot_x, int *ret_hot_y,
                                     gboolean *ret_hidden);
// Whether the guest takes absolute positions; otherwise send motion.
gboolean lodge_session_get_absolute(LodgeSession *self);

// XT set 1 scancode; extended ones have 100h added.
void lodge_session_key(LodgeSession *self, guint scancode, gboolean down);
void lodge_session_position(LodgeSession *self, guint x, guint y);
void lodge_session_motion(LodgeSession *self, int dx, int dy);
// button: 1 left, 2 middle, 3 right, 4 wheel up, 5 wheel down, 6 side, 7 extra.
void lodge_session_button(LodgeSession *self, guint button, gboolean down);

G_END_DECLS
