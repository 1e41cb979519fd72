// SPDX-License-Identifier: GPL-2.0-or-later
// Where Lodge's programs find each other.
#pragma once

// Path of one of our programs ("lodge-engine"): beside this one, so that a build folder needs no
// installation, else in PATH. NULL: in neither. Free with g_free.
char *program_path(const char *name);
