// SPDX-License-Identifier: GPL-2.0-or-later
// Bits of RFLAGS, control and debug registers and descriptor access rights, and numbers of MSRs, as
// the SDM names them (vol. 3A chapters 2, 3 and 17; vol. 4).
#pragma once

#include <stdint.h>

#define BT_BIT(n) (UINT64_C(1) << (n))

// RFLAGS (vol. 1, 3.4.3).
enum {
    BT_FLAG_CF = 1 << 0,
    BT_FLAG_ONE = 1 << 1, // always set
    BT_FLAG_PF = 1 << 2,
    BT_FLAG_AF = 1 << 4,
    BT_FLAG_ZF = 1 << 6,
    BT_FLAG_SF = 1 << 7,
    BT_FLAG_TF = 1 << 8,
    BT_FLAG_IF = 1 << 9,
    BT_FLAG_DF = 1 << 10,
    BT_FLAG_OF = 1 << 11,
    BT_FLAG_IOPL = 3 << 12,
    BT_FLAG_NT = 1 << 14,
    BT_FLAG_RF = 1 << 16,
    BT_FLAG_VM = 1 << 17,
    BT_FLAG_AC = 1 << 18,
    BT_FLAG_VIF = 1 << 19,
    BT_FLAG_VIP = 1 << 20,
    BT_FLAG_ID = 1 << 21,
    BT_FLAGS_STATUS = BT_FLAG_CF | BT_FLAG_PF | BT_FLAG_AF | BT_FLAG_ZF | BT_FLAG_SF | BT_FLAG_OF,
    // All that exist; the others read as 0.
    BT_FLAGS_DEFINED = 0x3f7fd5 | BT_FLAG_ONE,
};
#define BT_FLAG_IOPL_SHIFT 12

enum {
    BT_CR0_PE = 1 << 0,
    BT_CR0_MP = 1 << 1,
    BT_CR0_EM = 1 << 2,
    BT_CR0_TS = 1 << 3,
    BT_CR0_ET = 1 << 4,
    BT_CR0_NE = 1 << 5,
    BT_CR0_WP = 1 << 16,
    BT_CR0_AM = 1 << 18,
    BT_CR0_NW = 1 << 29,
    BT_CR0_CD = 1 << 30,
};
#define BT_CR0_PG UINT64_C(0x80000000)

enum {
    BT_CR4_VME = 1 << 0,
    BT_CR4_PVI = 1 << 1,
    BT_CR4_TSD = 1 << 2,
    BT_CR4_DE = 1 << 3,
    BT_CR4_PSE = 1 << 4,
    BT_CR4_PAE = 1 << 5,
    BT_CR4_MCE = 1 << 6,
    BT_CR4_PGE = 1 << 7,
    BT_CR4_PCE = 1 << 8,
    BT_CR4_OSFXSR = 1 << 9,
    BT_CR4_OSXMMEXCPT = 1 << 10,
    BT_CR4_UMIP = 1 << 11,
    BT_CR4_FSGSBASE = 1 << 16,
    BT_CR4_PCIDE = 1 << 17,
    BT_CR4_OSXSAVE = 1 << 18,
    BT_CR4_SMEP = 1 << 20,
    BT_CR4_SMAP = 1 << 21,
};

enum {
    BT_EFER_SCE = 1 << 0,
    BT_EFER_LME = 1 << 8,
    BT_EFER_LMA = 1 << 10,
    BT_EFER_NXE = 1 << 11,
};

// Page-fault error code (vol. 3A, 4.7).
enum {
    BT_PF_PRESENT = 1 << 0,
    BT_PF_WRITE = 1 << 1,
    BT_PF_USER = 1 << 2,
    BT_PF_RESERVED = 1 << 3,
    BT_PF_FETCH = 1 << 4,
};

// Descriptor access rights in the form of VcpuSegment.access.
enum {
    BT_ACCESS_TYPE = 0xf,
    BT_ACCESS_ACCESSED = 1 << 0,
    BT_ACCESS_WRITABLE = 1 << 1, // data
    BT_ACCESS_READABLE = 1 << 1, // code
    BT_ACCESS_EXPAND_DOWN = 1 << 2, // data
    BT_ACCESS_CONFORMING = 1 << 2,  // code
    BT_ACCESS_CODE = 1 << 3,
    BT_ACCESS_S = 1 << 4, // code or data, not system
    BT_ACCESS_DPL = 3 << 5,
    BT_ACCESS_P = 1 << 7,
    BT_ACCESS_AVL = 1 << 12,
    BT_ACCESS_L = 1 << 13,
    BT_ACCESS_DB = 1 << 14,
    BT_ACCESS_G = 1 << 15,
};
#define BT_ACCESS_DPL_SHIFT 5

// System descriptor types (vol. 3A, table 3-2).
enum {
    BT_TYPE_TSS16 = 1,
    BT_TYPE_LDT = 2,
    BT_TYPE_TSS16_BUSY = 3,
    BT_TYPE_CALL_GATE16 = 4,
    BT_TYPE_TASK_GATE = 5,
    BT_TYPE_INTERRUPT_GATE16 = 6,
    BT_TYPE_TRAP_GATE16 = 7,
    BT_TYPE_TSS = 9, // 32 or 64 bits
    BT_TYPE_TSS_BUSY = 11,
    BT_TYPE_CALL_GATE = 12,
    BT_TYPE_INTERRUPT_GATE = 14,
    BT_TYPE_TRAP_GATE = 15,
};

// DR6 and DR7 (vol. 3B, 17.2).
enum {
    BT_DR6_B = 0xf, // B0..B3
    BT_DR6_BD = 1 << 13,
    BT_DR6_BS = 1 << 14,
    BT_DR6_BT = 1 << 15,
    BT_DR7_ENABLED = 0xff, // L0 G0 .. L3 G3
    BT_DR7_GD = 1 << 13,
};
#define BT_DR6_FIXED UINT64_C(0xffff0ff0)
#define BT_DR7_FIXED UINT64_C(0x400)

enum {
    BT_MSR_TSC = 0x10,
    BT_MSR_PLATFORM_ID = 0x17,
    BT_MSR_APIC_BASE = 0x1b,
    BT_MSR_EBL_CR_POWERON = 0x2a,
    BT_MSR_FEATURE_CONTROL = 0x3a,
    BT_MSR_TSC_ADJUST = 0x3b,
    BT_MSR_MICROCODE_TRIGGER = 0x79,
    BT_MSR_MICROCODE = 0x8b,
    BT_MSR_MTRR_CAP = 0xfe,
    BT_MSR_ARCH_CAPABILITIES = 0x10a,
    BT_MSR_SYSENTER_CS = 0x174,
    BT_MSR_SYSENTER_ESP = 0x175,
    BT_MSR_SYSENTER_EIP = 0x176,
    BT_MSR_MCG_CAP = 0x179,
    BT_MSR_MCG_STATUS = 0x17a,
    BT_MSR_MISC_ENABLE = 0x1a0,
    BT_MSR_DEBUG_CTL = 0x1d9,
    BT_MSR_MTRR_PHYSICAL = 0x200, // base and mask, pairwise
    BT_MSR_MTRR_FIX64K = 0x250,
    BT_MSR_MTRR_FIX16K = 0x258,
    BT_MSR_MTRR_FIX4K = 0x268,
    BT_MSR_PAT = 0x277,
    BT_MSR_MTRR_DEF_TYPE = 0x2ff,
    BT_MSR_MC = 0x400, // four a bank
    BT_MSR_TSC_DEADLINE = 0x6e0,
    BT_MSR_X2APIC_FIRST = 0x800,
    BT_MSR_X2APIC_LAST = 0x8ff,
};
#define BT_MSR_EFER UINT32_C(0xc0000080)
#define BT_MSR_STAR UINT32_C(0xc0000081)
#define BT_MSR_LSTAR UINT32_C(0xc0000082)
#define BT_MSR_CSTAR UINT32_C(0xc0000083)
#define BT_MSR_FMASK UINT32_C(0xc0000084)
#define BT_MSR_FS_BASE UINT32_C(0xc0000100)
#define BT_MSR_GS_BASE UINT32_C(0xc0000101)
#define BT_MSR_KERNEL_GS_BASE UINT32_C(0xc0000102)
#define BT_MSR_TSC_AUX UINT32_C(0xc0000103)
