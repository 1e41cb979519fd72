// SPDX-License-Identifier: GPL-2.0-or-later
// Pairs of instructions that one handler runs.
#pragma once

#include "engine/vcpu/bt/bt-insn.h"

// Replaces handlers of the block's instructions where the same work can be done faster. Every
// instruction keeps its slot.
void bt_fuse(BtInsn *insn, unsigned count);
