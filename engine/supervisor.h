// SPDX-License-Identifier: GPL-2.0-or-later
// Leaves a caretaker beside a function: a child process that opens nothing of the guest's, so that
// it can tidy up whatever happens (the engine cannot even remove a file once it has locked itself
// in). The function runs in this process, which so is the one whose CPU time, memory and signals
// are the machine's.
#pragma once

#include <stdbool.h>

// body(opaque) runs here and gives the exit status. However this process ends, the caretaker then
// calls tidy(opaque, status), with -1 where it was killed, in which case it says so in one line on
// standard error; a return means that tidy is done. Before any thread is started. 1, with one line
// on standard error, where no process could be started.
int supervise(int (*body)(void *opaque), void (*tidy)(void *opaque, int status), void *opaque,
              const char *prefix);
