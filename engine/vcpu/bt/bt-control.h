// SPDX-License-Identifier: GPL-2.0-or-later
// Handlers of control and debug registers, for bt-system.c's table, and the rules that setting the
// whole state shares with them.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

BtHandler bt_op_mov_from_cr, bt_op_mov_to_cr, bt_op_clts, bt_op_lmsw, bt_op_smsw, bt_op_mov_from_dr,
    bt_op_mov_to_dr, bt_op_xgetbv, bt_op_xsetbv, bt_op_invlpg, bt_op_invpcid;

// CR4 bits that exist on this model.
uint64_t bt_cr4_allowed(const CpuidModel *model);

// SGDT, SIDT, SLDT, SMSW, STR outside ring 0 under CR4.UMIP: #GP(0).
void bt_check_umip(BtCpu *cpu);
