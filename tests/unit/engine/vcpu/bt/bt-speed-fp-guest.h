// SPDX-License-Identifier: GPL-2.0-or-later
// The programs that bt-speed-fp.c measures.
#pragma once

#include <stdint.h>

enum {
    BT_SPEED_FP_MATRIX, BT_SPEED_FP_NBODY, BT_SPEED_FP_MANDELBROT, BT_SPEED_FP_AVX2,
    BT_SPEED_FP_BLEND, BT_SPEED_FP_X87, BT_SPEED_FP_PROGRAMS
};

// What the programs read from memory, because constants of a compiler's making would lie outside of
// the section that is copied: at the start of `memory`, filled by the caller.
typedef struct {
    double zero, half, one, two, four, small;
} BtSpeedConstants;

uint64_t bt_speed_fp_guest(uint64_t which, uint64_t repeat, uint8_t *memory);

extern const char __start_guest_fp[], __stop_guest_fp[];
