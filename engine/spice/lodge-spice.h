// SPDX-License-Identifier: GPL-2.0-or-later
// The SPICE server of a machine: its screen, keyboard, pointer and serial ports for any SPICE
// client, one client at a time. All of libspice-server runs in a thread of its own, because a
// client that stops reading can hold it up; nothing here ever makes a vCPU wait for a client.
//
// Names begin with lodge_spice_, since libspice has spice_ for itself. Functions may be called from
// any thread but the SPICE one, and without the machine lock where not said otherwise.
#pragma once

#include "engine/bus/char-backend.h"
#include "engine/bus/display.h"
#include "engine/bus/input.h"

#include <glib.h>

typedef struct LodgeSpice LodgeSpice;

#define LODGE_SPICE_SERIAL_MAX 4

typedef struct {
    const char *name;     // the machine's, shown by clients
    uint8_t uuid[16];     // all zero: none
    // Unix sockets to listen on, or NULL; their folder must be ours alone (0700) and is made if it
    // is missing. On the first a client gets draw commands, which every SPICE client understands.
    // On the second it gets the framebuffer itself as a memfd (GL scanout messages), which only
    // our own frontend and spice-shot take.
    const char *socket_path;
    const char *scanout_path;
    GMutex *machine_lock;
    InputRouter *input;   // NULL: input goes nowhere
    uint32_t serial_mask; // bit N: there is a port org.lodge.serial.N
} LodgeSpiceConfig;

// Copies the config. On failure NULL and error (G_IO_ERROR) names the path.
LodgeSpice *lodge_spice_new(const LodgeSpiceConfig *config, GError **error);
// Drops every client and waits for the thread. Devices must have let go of the sink and of the
// serial backends before. NULL is allowed.
void lodge_spice_free(LodgeSpice *spice);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LodgeSpice, lodge_spice_free)

// Where a display device shows its picture; lives as long as the server.
const DisplaySink *lodge_spice_display_sink(LodgeSpice *spice);
// The device behind the picture, asked to refresh while somebody looks; copied. NULL detaches it
// and returns when no refresh runs any more: the machine lock must not be held then.
void lodge_spice_set_display_source(LodgeSpice *spice, const DisplaySource *source);

// The backend of serial port `index`; lives as long as the server. NULL: no such port.
const CharBackend *lodge_spice_serial(LodgeSpice *spice, unsigned index);

// A client connection that came by another way (D-Bus); the fd is the server's from now on.
// scanout: as config.scanout_path. Every channel of a client is a connection of its own, all of one
// kind.
void lodge_spice_open_client(LodgeSpice *spice, int fd, bool scanout);

// The machine pauses or goes on: a paused screen is asked for changes only now and then.
void lodge_spice_pause(LodgeSpice *spice);
void lodge_spice_resume(LodgeSpice *spice);

// Whether a client sees the screen at this moment.
bool lodge_spice_has_viewer(LodgeSpice *spice);
