// SPDX-License-Identifier: GPL-2.0-or-later
// A serial port's bytes to and from file descriptors: a terminal, a file, a socket. Output goes
// through a thread and a bounded buffer, so that a slow reader never holds up the guest.
#pragma once

#include "engine/bus/char-backend.h"

#include <glib.h>

typedef struct CharStream CharStream;

typedef struct {
    int input;  // -1: none. Taken over.
    int output; // -1: none. Taken over. May be the same as input.
    GMutex *machine_lock;
    // Looks at each byte from input before the guest gets it; returns false to swallow it. Main
    // thread, no lock held. NULL: all pass.
    bool (*filter)(void *opaque, uint8_t byte);
    // The input ended. Main thread, no lock held; may free the stream.
    void (*closed)(void *opaque);
    void *opaque;
} CharStreamConfig;

// Input is read on the default main context. Main thread.
CharStream *char_stream_new(const CharStreamConfig *config);
// Writes what is still buffered (at most one second), closes. The device or tee must have let go.
// Main thread, machine lock not held. NULL is allowed.
void char_stream_free(CharStream *stream);

// Lives as long as the stream.
const CharBackend *char_stream_backend(CharStream *stream);
