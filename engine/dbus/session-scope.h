// SPDX-License-Identifier: GPL-2.0-or-later
// Where there is systemd, an engine moves into a scope of its own below app.slice: resource limits
// and the journal see it as one unit, and it does not end with the terminal it was started from.
#pragma once

#include <gio/gio.h>

// Asks the user's service manager, waits at most two seconds, and says in the log what came of it.
// Without systemd nothing happens. uuid: the machine's. Before the engine locks itself in.
void session_scope_enter(GDBusConnection *bus, const char *uuid, const char *description);
