// SPDX-License-Identifier: GPL-2.0-or-later
// What a person chose to start the machine from, looked at closely: what it is, what is wrong with
// it, which system it holds.
#pragma once

#include "app/wizard/guest-system.h"

typedef enum { MEDIUM_DISC, MEDIUM_DISK, MEDIUM_FLOPPY } MediumKind;

typedef struct {
    char *path;
    MediumKind kind;
    uint64_t size;       // bytes
    char *problem;       // a sentence that says why it cannot be used, or NULL
    char *warning;       // a sentence that says what may go wrong, or NULL
    GuestSystem system;
} Medium;

// Never NULL. Blocks while files are read; from any thread.
Medium *medium_probe(GuestDatabase *database, const char *path);
void medium_free(Medium *medium);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Medium, medium_free)

// "Disc image", "Disk image" or "Floppy image"
const char *medium_kind_name(MediumKind kind);
