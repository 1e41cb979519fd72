// SPDX-License-Identifier: GPL-2.0-or-later
// Runs a function in a child process and stays behind as its supervisor: it opens nothing of the
// guest's, so that it can tidy up whatever happens to the child (which cannot even remove a file
// once it has locked itself in).
#pragma once

#include <stdbool.h>

// Forks; body(opaque) runs in the child, which ends with it. Signals INT (ignored here: a terminal
// sends it to both), TERM and HUP reach the child. Returns the child's exit status; 1, with one
// line on standard error, where it died of a signal. Before any thread is started.
int supervise(int (*body)(void *opaque), void *opaque, const char *prefix);
