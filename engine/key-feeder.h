// SPDX-License-Identifier: GPL-2.0-or-later
// A queue that feeds keystrokes to the guest at a pace it can follow. Which keys make a text or a
// chord is engine/base/keys.h.
#pragma once

#include "engine/bus/input.h"

#include <glib.h>

typedef struct KeyFeeder KeyFeeder;

// Feeds router under the lock from the default main context.
KeyFeeder *key_feeder_new(InputRouter *router, GMutex *machine_lock);
// Drops what is not sent yet. NULL is allowed.
void key_feeder_free(KeyFeeder *feeder);
// Appends strokes (of KeyStroke). Main thread.
void key_feeder_add(KeyFeeder *feeder, const GArray *strokes);
// Whether all were sent.
bool key_feeder_idle(const KeyFeeder *feeder);
