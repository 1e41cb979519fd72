// SPDX-License-Identifier: GPL-2.0-or-later
// The counters of a run, as JSON for `lodgectl run --stats`.
#pragma once

#include "engine/machine.h"

// {"backend":..., "instructions":..., "exits":{...}, "translations":..., "wall_seconds":...,
// "cpu_seconds":..., "peak_memory_bytes":..., "status":...}
// Free with g_free. status: the run's exit status.
char *run_stats_json(Machine *machine, double wall_seconds, int status);

// Writes it to a descriptor.
void run_stats_write(int fd, Machine *machine, double wall_seconds, int status);
