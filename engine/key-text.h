// SPDX-License-Identifier: GPL-2.0-or-later
// Text and key chords as keystrokes on a US keyboard (the layout that firmware and installers
// start with), and a queue that feeds them to the guest at a pace it can follow.
#pragma once

#include "engine/bus/input.h"

#include <glib.h>

typedef struct {
    uint16_t scancode; // as in input_key
    bool down;
} KeyEvent;

// The events that type text; \n and \t are Enter and Tab. NULL and error (G_IO_ERROR) names the
// first character that no US key gives. Free with g_array_unref.
GArray *key_text_parse(const char *text, GError **error);

// The same with escapes: \n, \t, \e (Escape), \\ and \<chord> as in key_chord_parse.
GArray *key_text_parse_escaped(const char *text, GError **error);

// The events of a chord such as "ctrl+alt+delete" or "F2" or "a": pressed in order, released in
// reverse. NULL and error (G_IO_ERROR) names the key that does not exist.
GArray *key_chord_parse(const char *chord, GError **error);

typedef struct KeyFeeder KeyFeeder;

// Feeds router under the lock from the default main context.
KeyFeeder *key_feeder_new(InputRouter *router, GMutex *machine_lock);
// Drops what is not sent yet. NULL is allowed.
void key_feeder_free(KeyFeeder *feeder);
// Appends events (of KeyEvent). Main thread.
void key_feeder_add(KeyFeeder *feeder, const GArray *events);
// Whether all were sent.
bool key_feeder_idle(const KeyFeeder *feeder);
