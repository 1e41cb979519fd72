// SPDX-License-Identifier: GPL-2.0-or-later
// `lodgectl run`: one transient machine in the foreground.
#pragma once

#include "engine/run-options.h"

// Runs to the end and returns the exit status (run-options.c lists them). Errors are one line on
// standard error, beginning with prefix.
int run_machine(const RunOptions *options, const char *prefix);
