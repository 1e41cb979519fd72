// SPDX-License-Identifier: GPL-2.0-or-later
// A sink between a display device and the SPICE display that remembers the picture, so that a
// screenshot can be taken whether or not anybody looks.
#pragma once

#include "engine/bus/display.h"

#include <glib.h>

typedef struct DisplayRecorder DisplayRecorder;

// next: told everything as well; NULL: nobody. Must outlive the recorder.
DisplayRecorder *display_recorder_new(const DisplaySink *next);
void display_recorder_free(DisplayRecorder *recorder);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DisplayRecorder, display_recorder_free)

const DisplaySink *display_recorder_sink(DisplayRecorder *recorder);

// Asks the source to refresh (NULL: as last shown) and writes what it shows as a PNG. The machine
// lock is taken, and held only while pixels are copied. False and error (G_FILE_ERROR) where there
// is no picture or the file cannot be written.
bool display_recorder_write_png(DisplayRecorder *recorder, GMutex *machine_lock,
                                const DisplaySource *source, const char *path, GError **error);
