// SPDX-License-Identifier: GPL-2.0-or-later
// The programs that bt-speed.c measures.
#pragma once

#include <stdint.h>

enum {
    BT_SPEED_FIBONACCI, BT_SPEED_QUICKSORT, BT_SPEED_SHA, BT_SPEED_COMPRESS, BT_SPEED_TREE,
    BT_SPEED_CHECKSUM, BT_SPEED_STRINGS, BT_SPEED_CALLS, BT_SPEED_SIEVE, BT_SPEED_PROGRAMS
};

// Memory: 1 MiB. In section guest_code, as is everything that it calls.
uint64_t bt_speed_guest(uint64_t which, uint64_t repeat, uint8_t *memory);

// The section's ends, made by the linker.
extern const char __start_guest_code[], __stop_guest_code[];
