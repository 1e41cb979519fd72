// SPDX-License-Identifier: GPL-2.0-or-later
// Notes in a machine's folder, one file each, that a program works with one of its snapshots, which
// it protected for as long as that takes. Where the program was killed whoever has the snapshot
// store open next takes the protection away.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char *path;    // the note
    uint64_t node; // identifier of the snapshot
    bool made;     // it was taken for the purpose, and goes with it
} VmHold;

// Notes that this process does. made: as above. Error: the note cannot be written.
bool vm_hold_add(const char *folder, uint64_t node, bool made, GError **error);
// It is done, and the snapshot as it is to be.
void vm_hold_remove(const char *folder, uint64_t node);

// The notes of processes that are gone. Elements VmHold, freed with the array.
GPtrArray *vm_holds_left(const char *folder);
