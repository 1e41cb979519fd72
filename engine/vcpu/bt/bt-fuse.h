// SPDX-License-Identifier: GPL-2.0-or-later
// Pairs of instructions that one handler runs, and instructions whose flags nobody sees.
//
// A selector says in `extra` what its instruction is for this pass (0: nothing): a BtForm for
// arithmetic, 1 + the condition's number for a plain Jcc.
#pragma once

#include "engine/vcpu/bt/bt-insn.h"

typedef enum {
    BT_FORM_NONE,
    BT_FORM_RR, // register, register; or one register
    BT_FORM_RI, // register, immediate
    BT_FORM_RM, // register, memory of kind base
    BT_FORM_MR,
    BT_FORM_MI,
    BT_FORM_COUNT
} BtForm;

// Replaces handlers of the block's instructions where the same work can be done faster. Every
// instruction keeps its slot.
void bt_fuse(BtInsn *insn, unsigned count);

// bt-interp-fused.c: the handler for `first` and a Jcc of condition 0..15 behind it, or NULL.
BtHandler *bt_fused_branch(const BtInsn *first, unsigned condition);

// bt-interp-quiet.c: the same operation without flags, or NULL.
BtHandler *bt_quiet_handler(const BtInsn *insn);
