// SPDX-License-Identifier: GPL-2.0-or-later
// Keeps a snapshot from being freed while a program reads it without its service: it is protected,
// and a note in the machine's folder says for whom (engine/config/vm-holds.h), so that a program
// that is killed leaves nothing protected.
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    guint64 id;         // of the snapshot
    bool made;          // it was taken for the purpose
    bool protected_now; // it was not protected before
} SnapshotPin;

// node: an identifier or a name as snapshots_find takes them; NULL: what is now, of which a
// snapshot of the name why is taken that lasts as long. Blocking. Release it with snapshots_unpin
// where this returned true.
bool snapshots_pin(const char *folder, const char *node, const char *why, SnapshotPin *ret_pin,
                   GError **error);

// Puts everything back as it was. Blocking.
bool snapshots_unpin(const char *folder, const SnapshotPin *pin, GError **error);
