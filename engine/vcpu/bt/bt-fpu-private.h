// SPDX-License-Identifier: GPL-2.0-or-later
// What bt-fpu.c, bt-x87*.c, bt-simd*.c and bt-xsave.c share among themselves.
#pragma once

#include "engine/vcpu/bt/bt-fpu.h"
#include "engine/vcpu/bt/bt-registers.h"

enum {
    BT_MXCSR_FLAGS = 0x3f,
    BT_MXCSR_DAZ = 1 << 6,
    BT_MXCSR_UM = 1 << 11,
    BT_MXCSR_ALL_MASKED = 0x1f80,
    BT_MXCSR_FTZ = 1 << 15,
};

// The x87 status word.
enum {
    BT_X87_IE = 1 << 0,
    BT_X87_DE = 1 << 1,
    BT_X87_ZE = 1 << 2,
    BT_X87_OE = 1 << 3,
    BT_X87_UE = 1 << 4,
    BT_X87_PE = 1 << 5,
    BT_X87_EXCEPTIONS = 0x3f,
    BT_X87_SF = 1 << 6,
    BT_X87_ES = 1 << 7,
    BT_X87_C0 = 1 << 8,
    BT_X87_C1 = 1 << 9,
    BT_X87_C2 = 1 << 10,
    BT_X87_TOP_SHIFT = 11,
    BT_X87_C3 = 1 << 14,
    BT_X87_BUSY = 1 << 15,
};

enum { BT_XSAVE_HEADER_OFFSET = 512, BT_XSAVE_AVX_OFFSET = 576 };

static inline unsigned bt_x87_top(const BtFpu *fpu)
{
    return fpu->status >> BT_X87_TOP_SHIFT & 7;
}

// The control word that a load of `value` makes: bit 6 reads as one, other reserved bits as zero.
static inline uint16_t bt_x87_control(uint16_t value)
{
    return (value & 0x1f3f) | 0x40;
}

// Makes the host's MXCSR the guest's (all masked).
void bt_fpu_enter(BtCpu *cpu);
// Makes fpu.mxcsr complete: adds the flags that the host collected.
void bt_fpu_collect(BtCpu *cpu);
// LDMXCSR and the like; reserved bits were checked.
void bt_fpu_set_mxcsr(BtCpu *cpu, uint32_t value);
// bt-x87-host.c. Raises #NM or a pending #MF, else lends the host's FPU to the guest, unless that
// has exceptions unmasked.
void bt_x87_enter(BtCpu *cpu);
// While the host's x87 registers are lent: makes BtFpu's copies current.
void bt_x87_sync(BtFpu *fpu);
// Takes the registers back.
void bt_x87_leave(BtCpu *cpu);
// After BtFpu's copies were written: forgets lent registers, derives ES and B.
void bt_x87_changed(BtCpu *cpu);
// The state after FNINIT; registers keep their contents. bt_x87_changed has to follow.
void bt_x87_init(BtFpu *fpu);

static inline bool bt_x87_all_masked(const BtFpu *fpu)
{
    return (fpu->control & BT_X87_EXCEPTIONS) == BT_X87_EXCEPTIONS;
}

// For the part of a handler that takes the address of locals: in the handler itself they would keep
// BT_NEXT from being a tail call, and a chain of blocks would use up the stack.
#define BT_APART __attribute__((noinline))

// bt-xsave.c; bt_select_simd asks it.
bool bt_select_xsave(const BtDecoded *d, BtInsn *out);
