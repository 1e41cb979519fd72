// SPDX-License-Identifier: GPL-2.0-or-later
// Stands between a client's socket and libspice's, and keeps the ill manners of clients away from
// libspice. libspice 0.15.1 crashes when a client dies while a channel is set up or while a change
// of mode waits for it, and waits up to 30 seconds for one that stops reading.
//
// So libspice talks to a socket pair whose other end is ours and always lives: a client that goes
// away shows as an orderly end of its bytes, at a moment when that is harmless, and what libspice
// still has to say to it is taken and thrown away.
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct SpiceRelay SpiceRelay;

// Runs in a thread of its own.
SpiceRelay *lodge_spice_relay_new(void);
// Cuts what is left. NULL is allowed.
void lodge_spice_relay_free(SpiceRelay *relay);

// Takes a client's socket and returns the one for libspice, or -1 (errno) with the client's closed.
int lodge_spice_relay_add(SpiceRelay *relay, int client);

// Cuts off every client there is.
void lodge_spice_relay_drop(SpiceRelay *relay);
// Whether no connection is left, on either side.
bool lodge_spice_relay_empty(SpiceRelay *relay);

// From begin to end libspice is told of no client's end, and a client that takes nothing for a
// second is cut off: calls that wait for clients are made in between. begin fails while libspice
// has not yet noticed an end that it was told of; try again soon.
bool lodge_spice_relay_begin(SpiceRelay *relay);
void lodge_spice_relay_end(SpiceRelay *relay);
