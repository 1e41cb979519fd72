// SPDX-License-Identifier: GPL-2.0-or-later
// The counters of a run, as JSON for `lodgectl run --stats`.
#pragma once

#include "engine/machine.h"

// {"backend":..., "instructions":..., "exits":{...}, "translations":..., "wall_seconds":...,
// "cpu_seconds":..., "peak_memory_bytes":..., "status":...}
void run_stats_write(int fd, Machine *machine, double wall_seconds, int status);
