// SPDX-License-Identifier: GPL-2.0-or-later
// Handlers of instructions on selectors, for bt-system.c's table.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

BtHandler bt_op_mov_from_segment, bt_op_mov_to_segment, bt_op_push_segment, bt_op_pop_segment,
    bt_op_load_far_pointer, bt_op_lar, bt_op_lsl, bt_op_verr, bt_op_verw, bt_op_arpl, bt_op_sldt,
    bt_op_str, bt_op_lldt, bt_op_ltr;

// LDTR, with the checks of LLDT; vector: what a bad selector raises (#GP, in a task switch #TS).
void bt_ldt_load(BtCpu *cpu, uint16_t selector, unsigned vector);
