// SPDX-License-Identifier: GPL-2.0-or-later
// The software TLB: linear page -> host page, direct mapped, one table per MMU index. Filled by
// bt-mmu.c; read inline by bt-memory.h.
#pragma once

#include <stdint.h>

enum {
    BT_MMU_SUPERVISOR,         // CPL 0..2, SMAP in force where CR4 has it; implicit accesses
    BT_MMU_USER,               // CPL 3
    BT_MMU_SUPERVISOR_NO_SMAP, // CPL 0..2 with CR4.SMAP and RFLAGS.AC set
    BT_MMU_USER_ALIGNED,       // CPL 3 with alignment checks: never has a tag, so that every access
                               // is slow; the slow path checks and then uses BT_MMU_USER
    BT_MMU_INDEXES
};

#define BT_TLB_BITS 10
#define BT_TLB_SIZE (1u << BT_TLB_BITS)
#define BT_TLB_NONE UINT64_C(1) // never equals a page-aligned address

// A tag is the linear page's address, or BT_TLB_NONE with anything else that makes the compare
// fail: pages that are MMIO, hold decoded code (write), are dirty-logged and clean (write), or
// under a breakpoint, all take the slow path. 64 bytes: one cache line, and a shift to index with.
typedef struct {
    uint64_t read __attribute__((aligned(64)));
    uint64_t write;
    uint64_t execute;
    uintptr_t addend; // host address = linear + addend
    uint64_t physical; // page address, for the slow path
    uint64_t slow;     // the linear page that `may` speaks of: translated, tags given or withheld
    uint32_t may;      // BT_TLB_MAY_*
} __attribute__((aligned(64))) BtTlbEntry;

_Static_assert(sizeof(BtTlbEntry) == 64, "indexed by a shift");

enum {
    BT_TLB_MAY_READ = 1 << 0,
    BT_TLB_MAY_WRITE = 1 << 1, // and the D bit is set
    BT_TLB_MAY_EXECUTE = 1 << 2,
    BT_TLB_GLOBAL = 1 << 3,
    BT_TLB_PAGE_BITS_SHIFT = 8, // from here up: log2 of the size of the page it is out of
};

#define BT_TLB_WORDS (BT_TLB_SIZE / 64)

typedef struct {
    BtTlbEntry entry[BT_TLB_SIZE];
    uint64_t used[BT_TLB_WORDS]; // bit set: the entry is not empty (a flush visits only these)
    // Bounds of the linear space that large pages in this table cover.
    uint64_t large_low, large_high;
} BtTlb;
