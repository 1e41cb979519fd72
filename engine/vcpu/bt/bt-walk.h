// SPDX-License-Identifier: GPL-2.0-or-later
// Page walks, for the TLB's fills (bt-mmu.c).
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

// Where a walk ended.
typedef struct {
    uint64_t physical; // of the 4 KiB page, A20 not applied
    bool user, writable, no_execute, dirty, global; // rights of all levels combined
    unsigned page_bits; // 12, 21, 22, 30: log2 of the page's size
} BtWalk;

// Walks, checks and sets A and D. access: one BT_TLB_MAY_*; mmu: not BT_MMU_USER_ALIGNED. Returns
// BT_TLB_MAY_*: MAY_WRITE only where D is set (it is set here where access is a write). Raises #PF.
uint32_t bt_walk(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu, BtWalk *ret_walk);

// What bt_walk would find for an access that changes nothing: false where it would fault or set an
// A or D bit.
bool bt_walk_probe(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu, BtWalk *ret_walk);

// Forgets the page tables that walks end in, as every invalidation must.
void bt_walk_forget(BtCpu *cpu);
