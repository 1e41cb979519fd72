// SPDX-License-Identifier: GPL-2.0-or-later
// The software TLB: linear page -> host page, direct mapped, one table per MMU index. Filled by
// bt-mmu.c; read inline by bt-memory.h.
#pragma once

#include <stdint.h>

enum {
    BT_MMU_SUPERVISOR,         // CPL 0..2 data accesses, SMAP in force
    BT_MMU_USER,               // CPL 3
    BT_MMU_SUPERVISOR_NO_SMAP, // CPL 0..2 with AC set, or no SMAP; also implicit accesses
    BT_MMU_INDEXES
};

#define BT_TLB_BITS 10
#define BT_TLB_SIZE (1u << BT_TLB_BITS)
#define BT_TLB_NONE UINT64_C(1) // never equals a page-aligned address

// A tag is the linear page's address, or BT_TLB_NONE with anything else that makes the compare
// fail: pages that are MMIO, hold decoded code (write), are dirty-logged and clean (write), or
// under a breakpoint, all take the slow path.
typedef struct {
    uint64_t read;
    uint64_t write;
    uint64_t execute;
    uintptr_t addend; // host address = linear + addend
    uint64_t physical; // page address, for the slow path
} BtTlbEntry;

typedef struct {
    BtTlbEntry entry[BT_TLB_SIZE];
} BtTlb;
