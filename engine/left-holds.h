// SPDX-License-Identifier: GPL-2.0-or-later
// What programs that were killed left in a machine's snapshots (engine/config/vm-holds.h).
#pragma once

#include "snapshots/store/store.h"

// Takes away the protection that they put there, and the snapshots that they took for themselves.
// What fails is left for the next time. The store is open for writing.
void left_holds_end(Store *store, const char *folder);
