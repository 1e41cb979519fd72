// SPDX-License-Identifier: GPL-2.0-or-later
// What commands for running machines have in common.
#pragma once

#include "app/cli/command.h"
#include "app/client/vm-client.h"

// A proxy for the running machine of that name; NULL and error where it is off or not there.
LodgeVm1 *running_connect(const char *name, GError **error);

// Connects and makes one call; returns an exit status.
int running_call(const char *name,
                 gboolean (*call)(LodgeVm1 *proxy, GCancellable *cancellable, GError **error));
