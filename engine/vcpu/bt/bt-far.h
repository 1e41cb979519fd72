// SPDX-License-Identifier: GPL-2.0-or-later
// Handlers of far control transfers, for bt-system.c's table.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

// bt-far.c
BtHandler bt_op_far_jump, bt_op_far_call;

// bt-return.c
BtHandler bt_op_far_return, bt_op_iret;

// bt-syscall.c
BtHandler bt_op_syscall, bt_op_sysret, bt_op_sysenter, bt_op_sysexit;
