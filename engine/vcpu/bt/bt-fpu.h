// SPDX-License-Identifier: GPL-2.0-or-later
// The FPU state as a whole: creation, reset, conversion, and which instruction classes the control
// registers let run. Instructions are in bt-x87*.c, bt-simd*.c and bt-xsave.c.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

#include <glib.h>

// BtFpu.gate: a class runs only while its bit is set; bt_fpu_update derives them. The _FP bits also
// say that the host's MXCSR is the guest's and that every exception in it is masked, so that a
// host instruction can be run without a look at the flags.
enum {
    BT_GATE_SSE = 1 << 0,    // CR0.EM = 0, CR0.TS = 0, CR4.OSFXSR = 1
    BT_GATE_SSE_FP = 1 << 1,
    BT_GATE_AVX = 1 << 2,    // CR4.OSXSAVE = 1, XCR0 bits 1 and 2, CR0.TS = 0
    BT_GATE_AVX_FP = 1 << 3,
    BT_GATE_MMX = 1 << 4,    // CR0.EM = 0, CR0.TS = 0
    BT_GATE_X87 = 1 << 5,    // the same, but #NM for both
    BT_GATE_X87_FAST = 1 << 6, // and the host's x87 registers are lent to the guest
};

// BtFpu.live: what of the host's FPU is the guest's, all exceptions masked. What is has the newer
// values: the flags of MXCSR, and of x87 the registers, tags and status word.
enum {
    BT_LIVE_MXCSR = 1 << 0,
    BT_LIVE_X87 = 1 << 1,
};

// Generated code (translator/residency.c) runs instructions of these classes on the host's own
// registers. SIMD: only while BtFpu.resident says that the vector registers are there.
enum {
    BT_GATE_SIMD = BT_GATE_SSE | BT_GATE_SSE_FP | BT_GATE_AVX | BT_GATE_AVX_FP,
    BT_GATE_UNIT = BT_GATE_SIMD | BT_GATE_X87_FAST,
};

#define BT_XCR0_MASK UINT64_C(7) // x87, SSE, AVX
#define BT_MXCSR_MASK 0xffffu
#define BT_MXCSR_DEFAULT 0x1f80u

// The executable memory that compiled SIMD forms take, one block for each CPU. Creation needs
// memfd_create and an executable mapping; nothing later does. Destroying twice is allowed.
bool bt_simd_create(BtCpu *cpu, GError **error);
void bt_simd_destroy(BtCpu *cpu);

// RESET (SDM vol. 3A, table 9-1); INIT keeps the state.
void bt_fpu_reset(BtCpu *cpu);

// After CR0, CR4 or XCR0 changed (bt_update_mode, XSETBV, set_state).
void bt_fpu_update(BtCpu *cpu);

// Gives the host its own MXCSR and x87 registers back. Before code outside of this folder runs
// on the vCPU's thread (exits served in place) and before run returns.
void bt_fpu_leave_slow(BtCpu *cpu);
static inline void bt_fpu_leave(BtCpu *cpu)
{
    if (cpu->fpu.live)
        bt_fpu_leave_slow(cpu);
}

// For generated code: makes what the classes (of BT_GATE_UNIT) need the guest's, vector registers
// excepted: where BtFpu.resident is set behind it, the caller has to load them before anything else
// runs. False where one of the classes cannot run; then resident is not set. Never raises.
bool bt_fpu_open(BtCpu *cpu, unsigned classes);
// The classes that bt_fpu_open would find possible now.
unsigned bt_fpu_possible(const BtCpu *cpu);

// The class (of BT_GATE_SIMD) of an instruction that the host does the same way on its own vector
// registers, 0 for others. *ret_alignment: of its memory operand, minus one.
unsigned bt_simd_class(const BtDecoded *d, unsigned *ret_alignment);

// The room for compiled forms is used up; until every block is given up new ones run slowly. To be
// asked before a block is decoded. flushed: no BtInsn of this CPU holds a form any more.
void bt_simd_flushed(BtCpu *cpu);
bool bt_simd_wants_flush(const BtCpu *cpu);

// The state as an XSAVE area in standard form with the 64-bit legacy layout, as VcpuState.xsave.
// set: false and nothing changed where MXCSR or the header is not valid.
void bt_fpu_get(const BtCpu *cpu, uint8_t image[VCPU_XSAVE_SIZE]);
bool bt_fpu_set(BtCpu *cpu, const uint8_t image[VCPU_XSAVE_SIZE]);

// Whether XCR0 may take the value (SDM vol. 1, 13.3).
static inline bool bt_xcr0_valid(uint64_t value)
{
    return (value & 1) && !(value & ~BT_XCR0_MASK) && (value & 6) != 4;
}
