// SPDX-License-Identifier: GPL-2.0-or-later
// JSON text (RFC 8259), as much of it as --json needs.
#pragma once

#include <glib.h>

// Appends "text" with its quotes, escaped.
void json_append_string(GString *json, const char *text);
