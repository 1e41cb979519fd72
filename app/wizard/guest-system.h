// SPDX-License-Identifier: GPL-2.0-or-later
// Which system a disc holds and what it wants of a machine. Asks osinfo-db first; what that does
// not know is told by rules of our own, from labels and from files on the disc.
#pragma once

#include "app/wizard/disc-image.h"

typedef enum {
    GUEST_OTHER, // says nothing about itself
    GUEST_LINUX,
    GUEST_WINDOWS,
    GUEST_OLD_WINDOWS, // Windows 95 to XP
    GUEST_DOS,
    GUEST_BSD,
    GUEST_FAMILIES
} GuestFamily;

typedef struct {
    uint32_t memory_least, memory; // MiB
    unsigned cpus;
    uint32_t disk; // GiB; 0: needs none
} GuestNeeds;

typedef struct {
    GuestFamily family;
    GuestNeeds needs;
    char *name; // for people; NULL: not recognised
    char *id;   // osinfo-db's short id, or NULL
    char *evidence; // a sentence that says how it was recognised, or NULL
} GuestSystem;

void guest_system_clear(GuestSystem *system);

// What a family is called, and what machine suits it.
const char *guest_family_name(GuestFamily family);
GuestNeeds guest_family_needs(GuestFamily family);
// Whether it brings drivers for virtio devices; else it gets IDE and e1000.
bool guest_family_has_virtio(GuestFamily family);

// osinfo-db, loaded when first asked; may be used from any thread.
typedef struct GuestDatabase GuestDatabase;
GuestDatabase *guest_database_new(void);
GuestDatabase *guest_database_ref(GuestDatabase *database);
void guest_database_unref(GuestDatabase *database);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestDatabase, guest_database_unref)

// path: where the disc is, for osinfo. Blocks for most of a second the first time. Fills in a
// family and needs in any case.
void guest_system_detect(GuestDatabase *database, const char *path, const DiscImage *disc,
                         GuestSystem *ret_system);

// Our own rules alone.
bool guest_system_by_rules(const DiscImage *disc, GuestSystem *ret_system);
