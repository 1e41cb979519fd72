// SPDX-License-Identifier: GPL-2.0-or-later
// A run whose changes are thrown away when the machine is off. Before it a node is taken, by which
// it is also known: where one is found the run has ended, however it ended, and current goes back
// there.
#pragma once

#include "snapshots/store/store.h"

// Begins a run. node: where it starts; STORE_CURRENT: where the machine is. No volume is open.
bool disposable_begin(Store *store, StoreNodeId node, GError **error);
// Throws away what a run has changed, where there was one. Snapshots taken in it stay. No requests
// in flight.
bool disposable_end(Store *store, GError **error);
