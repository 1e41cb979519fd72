// SPDX-License-Identifier: GPL-2.0-or-later
// A suspended machine's state in its folder, below state/: two files that are opened before the
// engine locks itself in, because it cannot open, rename or remove any afterwards. One holds the
// state that the machine goes on from (and backs its memory while it runs), the other takes the
// next one. A file counts from the moment in which its first page is written, which is the last
// thing that is written to it; it is used up when that page is wiped.
#pragma once

#include "engine/machine-state.h"

typedef struct SuspendFile SuspendFile;

// Makes the folder and the files where they are missing, and locks them. Error: they cannot be
// made, are in use by another engine, or hold a state that this Lodge cannot read.
SuspendFile *suspend_file_open(const char *folder, GError **error);
// NULL is allowed. The machine is gone, or its memory is not used any more.
void suspend_file_close(SuspendFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SuspendFile, suspend_file_close)

// The state to go on from; NULL: the machine is not suspended.
const MachineStateSource *suspend_file_source(SuspendFile *file);
// Where the next state goes.
const MachineStateSink *suspend_file_sink(SuspendFile *file);

// Removes what holds no state: after the engine has ended, by its caretaker.
void suspend_file_tidy(const char *folder);
