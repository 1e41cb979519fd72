// SPDX-License-Identifier: GPL-2.0-or-later
// States of a vCPU that the architecture defines: after RESET, after INIT (SDM vol. 3A, 9.1.1,
// table 9-1), and after a startup IPI (9.4.4). What happens to the local APIC on these events is
// the APIC's.
#include "engine/vcpu/vcpu-state.h"

#include "engine/base/bytes.h"

#include <string.h>

enum {
    ACCESS_DATA = 0x93, // present, data, writable, accessed
    ACCESS_LDT = 0x82,
    ACCESS_TSS = 0x8b, // 32 bits, busy
};

// Offsets in the XSAVE area (vol. 1, 13.4).
enum { XSAVE_FCW = 0, XSAVE_FTW = 4, XSAVE_MXCSR = 24, XSAVE_MXCSR_MASK = 28, XSAVE_BV = 512 };

#define CR0_NW_CD UINT64_C(0x60000000)
#define CR0_ET UINT64_C(0x10)

static void reset_segments(VcpuState *state)
{
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        state->segment[i] = (VcpuSegment){ .limit = 0xffff, .access = ACCESS_DATA };
    state->segment[VCPU_CS].selector = 0xf000;
    state->segment[VCPU_CS].base = 0xffff0000;
    state->ldtr = (VcpuSegment){ .limit = 0xffff, .access = ACCESS_LDT };
    state->tr = (VcpuSegment){ .limit = 0xffff, .access = ACCESS_TSS };
    state->gdtr = state->idtr = (VcpuTable){ .limit = 0xffff };
}

// The x87 after RESET is not its initial state: FNINIT and INIT-by-XRSTOR give control word 37Fh.
static void reset_fpu(VcpuState *state)
{
    state->xcr0 = 1;
    memset(state->xsave, 0, sizeof state->xsave);
    le16_write(state->xsave + XSAVE_FCW, 0x0040);
    state->xsave[XSAVE_FTW] = 0xff; // every register holds +0
    le32_write(state->xsave + XSAVE_MXCSR, 0x1f80);
    le32_write(state->xsave + XSAVE_MXCSR_MASK, 0xffff);
    le64_write(state->xsave + XSAVE_BV, 3);
}

// What RESET and INIT have in common.
static void reset_common(VcpuState *state, uint32_t signature)
{
    memset(state->gpr, 0, sizeof state->gpr);
    state->gpr[VCPU_RDX] = signature;
    state->rip = 0xfff0;
    state->rflags = 2;
    reset_segments(state);
    state->cr0 = CR0_ET | CR0_NW_CD;
    state->cr2 = state->cr3 = state->cr4 = state->cr8 = state->efer = 0;
    memset(state->dr, 0, sizeof state->dr);
    state->dr6 = 0xffff0ff0;
    state->dr7 = 0x400;
    memset(&state->events, 0, sizeof state->events);
}

static void add_msrs(VcpuState *state, uint32_t first, unsigned count, uint64_t value)
{
    for (unsigned i = 0; i < count; i++)
        state->msr[state->msr_count++] = (VcpuMsr){ first + i, value };
}

// MSRs that every backend has; what a backend has beyond them it resets itself.
static void reset_msrs(VcpuState *state)
{
    state->msr_count = 0;
    add_msrs(state, 0x174, 3, 0);        // SYSENTER_CS, _ESP, _EIP
    add_msrs(state, 0xc0000081, 4, 0);   // STAR, LSTAR, CSTAR, FMASK
    add_msrs(state, 0xc0000102, 2, 0);   // KERNEL_GS_BASE, TSC_AUX
    add_msrs(state, 0x277, 1, UINT64_C(0x0007040600070406)); // PAT
    add_msrs(state, 0x2ff, 1, 0);        // MTRR_DEF_TYPE: MTRRs are off
    add_msrs(state, 0x200, 16, 0);       // variable ranges
    add_msrs(state, 0x250, 1, 0);        // fixed ranges
    add_msrs(state, 0x258, 2, 0);
    add_msrs(state, 0x268, 8, 0);
    state->tsc = 0;
}

void vcpu_state_reset(VcpuState *state, uint32_t signature)
{
    memset(state, 0, sizeof *state);
    reset_common(state, signature);
    reset_fpu(state);
    reset_msrs(state);
}

void vcpu_state_init(VcpuState *state, uint32_t signature)
{
    uint64_t caching = state->cr0 & CR0_NW_CD;
    reset_common(state, signature);
    state->cr0 = CR0_ET | caching;
}

void vcpu_state_startup(VcpuState *state, uint8_t vector)
{
    state->segment[VCPU_CS].selector = (uint16_t)(vector << 8);
    state->segment[VCPU_CS].base = (uint32_t)vector << 12;
    state->rip = 0;
    state->events.wait_for_sipi = false;
    state->events.halted = false;
}
