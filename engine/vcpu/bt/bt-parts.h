// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of this folder call in one another, beyond what bt-cpu.h and bt-memory.h declare:
// creation and destruction of each part's private data, and the steps that the run loop calls.
#pragma once

#include "engine/vcpu/bt/bt-fpu.h"
#include "engine/vcpu/bt/bt-vm.h"

#include <glib.h>

// ---- bt-run.c, bt-cache.c, bt-vm.c ----

// Runs until cpu->exit is filled (HALT, SHUTDOWN, KICK, INTERNAL_ERROR). The setjmp of cpu->leave
// is here. On entry it looks at cpu->halted, cpu->wait_for_sipi and cpu->request.
void bt_run(BtCpu *cpu);
// For the translator, between instructions. undisturbed: the run loop would go on with the code at
// cpu->rip, nothing else being due. update: brings what the hot path derives from the mode up to
// date.
bool bt_run_undisturbed(const BtCpu *cpu);
void bt_run_update(BtCpu *cpu);

// The page generations of a machine, its locks, and its listener at vm->config.memory, which must
// be set. limit: as GuestMemory's.
bool bt_vm_init(BtVm *vm, uint64_t limit, GError **error);
void bt_vm_finish(BtVm *vm);

// The CPU's block cache; forget: every block goes (CPUID or the whole state changed).
void bt_cache_create(BtCpu *cpu);
void bt_cache_destroy(BtCpu *cpu);
void bt_cache_forget(BtCpu *cpu);

// ---- bt-fpu.c, bt-simd.c: see bt-fpu.h ----
//
// bt_simd_create, bt_simd_destroy, bt_fpu_reset, bt_fpu_get, bt_fpu_set, and what others have to
// call: bt_fpu_update after CR0, CR4 or XCR0 changed, bt_fpu_leave before code outside of this
// folder runs, bt_simd_flushed where bt_simd_wants_flush said so and all blocks are gone.

// ---- bt-fault.c: steps of the run loop ----

// After BT_LEAVE_EXCEPTION: delivers cpu->fault, as a double fault where it met another. May leave
// again with BT_LEAVE_EXCEPTION. False: triple fault, cpu->exit is filled.
bool bt_deliver_fault(BtCpu *cpu);

// Between instructions, where no shadow holds: takes a pending NMI, else an INTR that RFLAGS.IF
// allows; ends a halt. True where one was delivered. May raise.
bool bt_accept_interrupt(BtCpu *cpu);

// Whether bt_accept_interrupt would find something: for leaving HLT.
bool bt_interrupt_waits(const BtCpu *cpu);

// ---- bt-debug.c: steps of the run loop while BT_REQUEST_STEP is set ----

// Before the one instruction at cpu->rip: raises #DB for an instruction breakpoint, unless RF;
// clears RF.
void bt_debug_before(BtCpu *cpu);
// After it, where it ended without a fault, cpu->rip at the next, cpu->insn NULL, cpu->shadow what
// this instruction itself set (the run loop clears it before): raises #DB for a single step (tf:
// RFLAGS.TF before the instruction) or for data and I/O breakpoints that it hit.
void bt_debug_after(BtCpu *cpu, bool tf);
// Sets or clears BT_REQUEST_STEP by TF, RF and DR7; after each of them changed.
void bt_debug_update(BtCpu *cpu);
// DR7 has an enabled instruction breakpoint (then every block is one instruction).
static inline bool bt_debug_code_breakpoints(const BtCpu *cpu)
{
    for (unsigned i = 0; i < 4; i++) {
        if ((cpu->dr7 >> (2 * i) & 3) && (cpu->dr7 >> (16 + 4 * i) & 3) == 0)
            return true;
    }
    return false;
}

// ---- bt-mmu.c ----

// Serves BT_REQUEST_TLB_FLUSH and BT_REQUEST_A20 and clears them.
void bt_mmu_service(BtCpu *cpu);

// ---- bt-segment.c ----

// Loads a segment register with every check (MOV, POP, LxS; not CS). May raise.
void bt_segment_load(BtCpu *cpu, unsigned segment, uint16_t selector);
// As in real and virtual-8086 mode: base = selector * 16; the rest as `mode` needs.
void bt_segment_set_real(BtCpu *cpu, unsigned segment, uint16_t selector);

// cpu->mmu_index by CPL, RFLAGS.AC, CR0.AM and CR4.SMAP; part of bt_update_mode.
void bt_update_mmu_index(BtCpu *cpu);

// ---- bt-backend.c ----

// The guest's TSC now.
uint64_t bt_tsc(BtCpu *cpu);
