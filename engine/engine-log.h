// SPDX-License-Identifier: GPL-2.0-or-later
// Where the engine's messages go: one descriptor, opened before the engine locks itself in.
#pragma once

#include <glib.h>

// fd: -1 drops all but warnings, which go to standard error. Once, before other threads.
void engine_log_init(int fd);
// A line of the firmware's debug port. Any thread.
void engine_log_firmware(const char *line);
