// SPDX-License-Identifier: GPL-2.0-or-later
// Breakpoints, as the system half of the interpreter uses them; the run loop's part is in
// bt-parts.h.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

// The instruction is about to access [linear, linear + size) as data. Where a breakpoint watches
// it, the hit is noted and the instruction runs alone: may leave with BT_LEAVE_RETRY_ALONE.
void bt_debug_watch(BtCpu *cpu, uint64_t linear, unsigned size, bool write);
// The same for an I/O breakpoint.
void bt_debug_watch_port(BtCpu *cpu, uint16_t port, unsigned size);

// Runs the instruction again as a block of one where it does not already run so: for one whose end
// must be seen by bt_debug_after.
void bt_debug_run_alone(BtCpu *cpu);

// The single step after this instruction goes by TF as the instruction leaves it (SYSCALL, SYSRET),
// or is left out (INT n, task switches: the handler runs untraced).
void bt_debug_step_by_new_tf(BtCpu *cpu);
void bt_debug_skip_step(BtCpu *cpu);

// A #DB is about to be delivered for another reason: breakpoints that were hit go to DR6 with it.
void bt_debug_merge(BtCpu *cpu);

// Sets bits in DR6 and raises #DB at cpu->rip, or at the current instruction.
_Noreturn void bt_debug_raise(BtCpu *cpu, uint64_t dr6_bits);
