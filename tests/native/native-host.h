// SPDX-License-Identifier: GPL-2.0-or-later
// The host's side: cases run by the CPU itself, in a child process.
#pragma once

#include "tests/native/native-case.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    NativeCase cases[NATIVE_BATCH];
    NativeResult results[NATIVE_BATCH];
    unsigned count;
    unsigned done; // by the child: cases that came back, in order
    uint8_t common[NATIVE_IMAGE];
} NativeBatch;

// Memory that a child shares with us.
NativeBatch *native_batch_new(void);
void native_batch_free(NativeBatch *batch);

// NULL, or why this host cannot run cases.
const char *native_host_missing(void);

// Keeps this program on one CPU from here on: Linux gives each CPU a user segment of its own. The
// descriptor of that segment (selector NATIVE_CPU_SEGMENT), 0 where there is none.
uint64_t native_host_cpu_segment(void);

// Runs all cases of the batch. Those that hang or kill the child are marked lost.
void native_host_run(NativeBatch *batch);
