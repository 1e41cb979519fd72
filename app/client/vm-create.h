// SPDX-License-Identifier: GPL-2.0-or-later
// Makes a machine as one step: it exists whole, after everything about it was checked, or not at
// all. Blocking; call it from a thread where there is a main loop to keep alive.
#pragma once

#include "engine/config/vm-folder.h"

#include <gio/gio.h>

// Sets keys and puts files into the folder (which has a temporary name).
typedef bool (*VmCreateFill)(Config *config, const char *folder, void *data, GError **error);

// Returns the machine's folder (free with g_free), or NULL and error with nothing left behind.
char *vm_create(const char *name, VmCreateFill fill, void *data, GError **error);

// For a fill: an empty disk of this size ("20G") as disk number, in the machine's snapshot store.
bool vm_create_disk(Config *config, const char *folder, unsigned number, const char *size,
                    GError **error);
