// SPDX-License-Identifier: GPL-2.0-or-later
// Handlers of port I/O, for bt-system.c's table.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

BtHandler bt_op_in, bt_op_out, bt_op_ins, bt_op_outs;
