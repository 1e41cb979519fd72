// SPDX-License-Identifier: GPL-2.0-or-later
// A few threads that take requests from one queue, do them synchronously and complete them. All
// exist from the start, so that a sandbox may forbid new ones later.
#pragma once

#include "snapshots/block.h"

typedef struct BlockWorkers BlockWorkers;

// perform: does a request and returns 0 or -errno; on any of the threads. name: of the threads.
BlockWorkers *block_workers_new(const char *name,
                                int (*perform)(void *opaque, BlockRequest *request), void *opaque);
// Every request is complete.
void block_workers_free(BlockWorkers *workers);

// The request is done, and completed, on one of the threads.
void block_workers_submit(BlockWorkers *workers, BlockRequest *request);
// Only completed there, with this result.
void block_workers_post(BlockWorkers *workers, BlockRequest *request, int result);
