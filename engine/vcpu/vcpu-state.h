// SPDX-License-Identifier: GPL-2.0-or-later
// A vCPU's architectural state, one format for all backends: what a suspended machine stores and
// what a switch from one backend to another carries over. Names as in the SDM.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    VCPU_RAX, VCPU_RCX, VCPU_RDX, VCPU_RBX, VCPU_RSP, VCPU_RBP, VCPU_RSI, VCPU_RDI,
    VCPU_R8, VCPU_R9, VCPU_R10, VCPU_R11, VCPU_R12, VCPU_R13, VCPU_R14, VCPU_R15,
};

// In the order of the Sreg field of an instruction.
enum { VCPU_ES, VCPU_CS, VCPU_SS, VCPU_DS, VCPU_FS, VCPU_GS, VCPU_SEGMENTS };

typedef struct {
    uint64_t base;
    uint32_t limit; // bytes, scaled by G
    uint16_t selector;
    // Bits 8..15 and 20..23 of a descriptor's second word, moved to 0..7 and 12..15 (as in VMCS
    // access rights): type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15.
    uint16_t access;
    bool unusable; // a null selector was loaded
} VcpuSegment;

typedef struct {
    uint64_t base;
    uint16_t limit;
} VcpuTable;

typedef struct {
    uint32_t index;
    uint64_t value;
} VcpuMsr;

#define VCPU_MSR_MAX 64
#define VCPU_XSAVE_SIZE 4096 // standard format: legacy area, header, AVX and later components

// Groups of fields, so that a caller moves only what it needs.
typedef enum {
    VCPU_STATE_GENERAL = 1 << 0,  // gpr, rip, rflags
    VCPU_STATE_SEGMENTS = 1 << 1, // segments, tables, control registers, EFER
    VCPU_STATE_MSRS = 1 << 2,
    VCPU_STATE_FPU = 1 << 3, // xsave area, xcr0
    VCPU_STATE_DEBUG = 1 << 4,
    VCPU_STATE_EVENTS = 1 << 5,
    VCPU_STATE_ALL = (1 << 6) - 1,
} VcpuStateGroups;

typedef struct VcpuState {
    uint64_t gpr[16];
    uint64_t rip;
    uint64_t rflags;

    VcpuSegment segment[VCPU_SEGMENTS];
    VcpuSegment ldtr, tr;
    VcpuTable gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t efer;

    uint32_t msr_count;
    VcpuMsr msr[VCPU_MSR_MAX];
    uint64_t tsc; // guest TSC at the moment of get

    uint64_t xcr0;
    uint8_t xsave[VCPU_XSAVE_SIZE] __attribute__((aligned(64)));

    uint64_t dr[4], dr6, dr7;

    struct {
        bool halted;          // HLT: waits for an interrupt
        bool wait_for_sipi;   // INIT received, no startup IPI yet
        bool nmi_blocked;     // between NMI delivery and IRET
        bool nmi_pending;
        bool interrupt_shadow; // after STI or MOV SS
        bool exception_pending;
        // From 32 on: an interrupt that was taken from the local APIC and not delivered yet.
        uint8_t exception_vector;
        bool exception_has_error;
        uint32_t exception_error;
    } events;
} VcpuState;

// State after power-on or RESET (SDM vol. 3A, table 9-1). signature: EDX, CPUID 1 EAX.
void vcpu_state_reset(VcpuState *state, uint32_t signature);
// After INIT: as reset, but CR0.CD/NW, FPU, MSRs and TSC stay.
void vcpu_state_init(VcpuState *state, uint32_t signature);
// Where a startup IPI sends the CPU: CS base vector << 12, IP 0.
void vcpu_state_startup(VcpuState *state, uint8_t vector);
