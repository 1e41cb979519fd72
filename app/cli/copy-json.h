// SPDX-License-Identifier: GPL-2.0-or-later
// A machine that was made as a copy of another one, as JSON.
#pragma once

#include <glib.h>

// {"name", "folder", "uuid", "mac": [of each network card], "bytes": of its folder on the disk}
void copy_json_append(GString *json, const char *name, const char *folder, guint64 bytes);
