// SPDX-License-Identifier: GPL-2.0-or-later
// The interpreter's side: a machine whose page tables, GDT and flags are as Linux has them for user
// code, with the window of native-case.h at the same addresses.
#pragma once

#include "tests/native/native-case.h"

typedef struct NativeGuest NativeGuest;

// cpu_segment: descriptor of NATIVE_CPU_SEGMENT, 0 for none.
NativeGuest *native_guest_new(uint64_t cpu_segment);
void native_guest_free(NativeGuest *guest);

// lost is set where the vCPU stopped otherwise than by an exception.
void native_guest_run(NativeGuest *guest, const NativeCase *c, const uint8_t *common,
                      NativeResult *ret_result);

// Times that a unit of host code was entered so far; whether the engine makes any.
uint64_t native_guest_units(NativeGuest *guest);
bool native_guest_translates(void);
