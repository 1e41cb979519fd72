// SPDX-License-Identifier: GPL-2.0-or-later
// Makes a machine that begins as a copy of another one's snapshot: its settings, with an identity
// of its own (uuid and, by it, network addresses), and its disks in the snapshot store.
#pragma once

#include "engine/config/config.h"

#include <gio/gio.h>
#include <stdbool.h>

typedef enum {
    VM_CLONE_WHOLE,  // stands on its own
    VM_CLONE_LINKED, // reads what it shares from the source
    VM_CLONE_BRANCH, // that, and the source runs beside it
} VmCloneKind;

// The source's settings for a copy of it, in `config`, which has its identity already. Names of
// files outside of a snapshot store become absolute; a branch forwards no ports, and where a serial
// port writes a file it is one in its own folder. False and error: a disk cannot be copied. Which
// snapshot it stands on is vm_clone_set_node's.
bool vm_clone_settings(const char *source, const Config *settings, VmCloneKind kind, Config *config,
                       GError **error);

// Bytes that a machine's folder takes on the disk.
guint64 vm_clone_room(const char *folder);

// Notes in a linked copy's settings which of the source's snapshots it stands on.
bool vm_clone_set_node(Config *config, guint64 node, GError **error);

// source: the machine's folder. node: the snapshot's identifier; 0: the machine as it is now.
// linked: the new machine's disks read through to the source's snapshot, which becomes protected;
// else everything is copied. cancellable: leaves nothing behind. Blocking. Returns the new
// machine's folder (free with g_free), or NULL and error.
char *vm_clone(const char *source, guint64 node, const char *name, bool linked,
               GCancellable *cancellable, GError **error);
