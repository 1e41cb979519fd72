// SPDX-License-Identifier: GPL-2.0-or-later
// Branches of a machine that is on: each a new machine that goes on from this very moment, sharing
// memory and disks with it until one of them writes.
#pragma once

#include "app/client/snapshots-client.h"

#define VM_FORK_MAX 100

typedef struct {
    char *name;    // the machine's, with -1 and up
    char *folder;
    guint64 bytes; // that its folder took on the disk before it ran
} VmBranch;

// source: the machine's folder; snapshots: its connection. The machine must be running or paused,
// which it stays; it gets a protected snapshot with memory that the branches stand on. Each branch
// has settings and an identity of its own (uuid, network addresses, generation ID), forwards no
// ports of the host, and is started. cancellable, or failure: leaves nothing behind. Blocking.
// Array of VmBranch, freed with it; NULL and error.
GPtrArray *vm_fork(const char *source, LodgeSnapshots1 *snapshots, unsigned count,
                   GCancellable *cancellable, GError **error);
