// SPDX-License-Identifier: GPL-2.0-or-later
// Makes a machine that begins as a copy of another one's snapshot: its settings, with an identity
// of its own (uuid and, by it, network addresses), and its disks in the snapshot store.
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

// source: the machine's folder. node: the snapshot's identifier; 0: the machine as it is now.
// linked: the new machine's disks read through to the source's snapshot, which becomes protected;
// else everything is copied. cancellable: leaves nothing behind. Blocking. Returns the new
// machine's folder (free with g_free), or NULL and error.
char *vm_clone(const char *source, guint64 node, const char *name, bool linked,
               GCancellable *cancellable, GError **error);
