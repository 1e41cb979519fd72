// SPDX-License-Identifier: GPL-2.0-or-later
// Starts engines. An engine runs in a process of its own, in a session and (where there is systemd)
// a scope of its own, and outlives whoever started it.
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

// Path of one of our programs ("lodge-engine", "lodge"): beside this one, else in PATH. Free with
// g_free. NULL and error, which says where it was looked for.
char *program_find(const char *name, GError **error);

// Runs lodge-engine with the arguments (without the program, NULL-terminated) and waits for it.
// False and error, with what it wrote to standard error, where its status is not 0.
bool engine_call(const char *const *arguments, GError **error);

// The same, and returns what it wrote to standard output. NULL and error: also where that is more
// than limit bytes (G_IO_ERROR_MESSAGE_TOO_LARGE), and where it was cancelled, for which it is
// killed: it must be one that may end anywhere.
GBytes *engine_output(const char *const *arguments, gsize limit, GCancellable *cancellable,
                      GError **error);

// How a machine is started.
typedef struct {
    bool wait;       // it is built and waits for Start on its D-Bus object
    bool disposable; // what it changes on its disks is thrown away when it is off
    guint64 node;    // of its snapshots, where a disposable run begins; 0: where the machine is
} EngineStart;

// Starts the machine in the folder and waits until it is up. how: NULL for none of these.
bool engine_start(const char *folder, const EngineStart *how, GError **error);

// The same without blocking the main loop.
void engine_start_async(const char *folder, const EngineStart *how, GCancellable *cancellable,
                        GAsyncReadyCallback done, gpointer user_data);
gboolean engine_start_finish(GAsyncResult *result, GError **error);
