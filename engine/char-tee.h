// SPDX-License-Identifier: GPL-2.0-or-later
// One serial port with several listeners (SPICE, a terminal, a log file): all hear what the guest
// sends, each may speak to it. Machine lock held but for new and free.
#pragma once

#include "engine/bus/char-backend.h"

#include <glib.h>

typedef struct CharTee CharTee;

CharTee *char_tee_new(void);
// Listeners and the device must be gone or silent. NULL is allowed.
void char_tee_free(CharTee *tee);

// What the device is given; lives as long as the tee.
const CharBackend *char_tee_backend(CharTee *tee);

// The backend is copied and attached at once. replay: it first gets the last 64 KiB that the guest
// sent.
void char_tee_add(CharTee *tee, const CharBackend *listener, bool replay);
// By the opaque of the listener.
void char_tee_remove(CharTee *tee, void *opaque);
