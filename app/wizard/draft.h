// SPDX-License-Identifier: GPL-2.0-or-later
// The machine that the wizard is about to make: what was chosen so far, what is wrong with it, and
// the making. No widgets.
#pragma once

#include "app/wizard/medium.h"

// What the host has to give.
typedef struct {
    uint64_t memory; // MiB
    unsigned cpus;
    uint64_t disk; // bytes free where machines live
} DraftHost;

typedef struct {
    DraftHost host;
    Medium *medium; // owned; NULL: none
    GuestFamily family;
    char *name;
    uint64_t memory; // MiB
    uint64_t cpus;
    uint64_t disk; // GiB of a new disk; 0: none
    bool start;    // as soon as it is made
} Draft;

Draft *draft_new(void);
void draft_free(Draft *draft);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Draft, draft_free)

// Takes the medium (NULL: none) and suggests name, system and resources for it.
void draft_set_medium(Draft *draft, Medium *medium);
// Another system than was recognised: suggests resources for it.
void draft_set_family(Draft *draft, GuestFamily family);

// What is wrong, as a sentence, or NULL. *ret_stops: it cannot stay like this; else it is a
// warning. Free with g_free.
char *draft_check_name(const Draft *draft, bool *ret_stops);
char *draft_check_memory(const Draft *draft, bool *ret_stops);
char *draft_check_cpus(const Draft *draft, bool *ret_stops);
char *draft_check_disk(const Draft *draft, bool *ret_stops);

// Makes the machine and returns its folder (free with g_free); NULL and error with nothing left
// behind. Blocks; the draft must not change meanwhile.
char *draft_create(const Draft *draft, GError **error);
