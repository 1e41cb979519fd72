// SPDX-License-Identifier: GPL-2.0-or-later
// What an operation on a snapshot would cost, in words, before it is done.
#pragma once

#include "app/client/snapshots-client.h"

typedef struct {
    guint64 take_needs; // bytes that a snapshot of the disks takes up at once
    guint64 discards;   // bytes of current that no node holds
} SnapshotForecast;

// The costs of going to the node and of deleting it, one line each. here: the machine stands on it.
// changed: current differs from what it stands on. Free with g_free.
char *snapshot_forecast_text(const SnapshotForecast *forecast, const SnapshotNode *node,
                             gboolean here, gboolean changed);

// The cost of taking one. memory: bytes of the machine's memory that are kept, 0: none. Free with
// g_free.
char *snapshot_forecast_take_text(const SnapshotForecast *forecast, guint64 memory);
