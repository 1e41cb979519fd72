// SPDX-License-Identifier: GPL-2.0-or-later
// The snapshots of a machine that is off, as a process of their own on the session bus, so that a
// frontend never opens a store itself.
#pragma once

#include "engine/config/config.h"

#include <gio/gio.h>

// FOLDER [--foreground]: offers the folder's snapshots (data/dbus/org.lodge.Snapshots1.xml).
// Returns when the object is there (0) or cannot be (1), and leaves a process behind, which ends
// when it has been idle for some seconds.
int snapshot_service_command(int argc, char **argv);

// The machine's store is wanted: ends the service where it runs, and waits for that. error
// (G_IO_ERROR_BUSY) where it has work that takes longer.
bool snapshot_service_release(GDBusConnection *bus, const Config *config, GError **error);
