// SPDX-License-Identifier: GPL-2.0-or-later
// What is left out of the comparison, and why: the only place that says so.
#pragma once

#include "tests/native/native-case.h"
#include "tests/native/native-form.h"

typedef struct {
    bool everything;
    bool which_fault; // vector, error code and address of the fault that ended the case
    uint64_t flags;   // bits of RFLAGS
    bool pointers;    // FOP, FIP, FDP
    uint32_t mxcsr;
    uint64_t memory;  // bits of an aligned 8-byte word
} NativeIgnored;

NativeIgnored native_ignored(const NativeForms *forms, const NativeCase *c,
                             const NativeResult *host, const NativeResult *guest);
