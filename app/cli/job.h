// SPDX-License-Identifier: GPL-2.0-or-later
// Long work on a machine's snapshots, with a person waiting: tells how far it is, and Ctrl+C gives
// it up.
#pragma once

#include "app/client/snapshots-client.h"

// Runs work in a thread and waits for it. cancellable: cancelled by Ctrl+C; work returns soon then,
// with an error. The service's Progress is shown where standard error is a terminal.
bool cli_job_run(LodgeSnapshots1 *proxy,
                 bool (*work)(void *opaque, GCancellable *cancellable, GError **error),
                 void *opaque, GError **error);
