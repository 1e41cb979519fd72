// SPDX-License-Identifier: GPL-2.0-or-later
// Paging and the software TLB, as the system half of the interpreter uses them; what instructions
// use is in bt-memory.h.
#pragma once

#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-vm.h"

void bt_mmu_create(BtCpu *cpu);
void bt_mmu_destroy(BtCpu *cpu);

// Translates and enters the page into the TLB, whatever was there. access: one BT_TLB_MAY_*.
// mmu: not BT_MMU_USER_ALIGNED. Raises #PF.
BtTlbEntry *bt_mmu_fill(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu);

// The page's entry, filled where needed.
static inline BtTlbEntry *bt_mmu_entry(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu)
{
    BtTlbEntry *entry = &cpu->tlb[mmu].entry[linear >> 12 & (BT_TLB_SIZE - 1)];
    if (entry->slow == (linear & ~UINT64_C(0xfff)) && (entry->may & access))
        return entry;
    return bt_mmu_fill(cpu, linear, access, mmu);
}

// PAE: reads the four page-directory-pointer entries that cr3 names. False, nothing stored: one has
// a reserved bit (#GP(0) for MOV to CR3).
bool bt_mmu_pdptes_valid(BtCpu *cpu, uint64_t cr3, uint64_t ret_pdpte[4]);

// The same after the whole state was set: memory may have moved on since the guest loaded CR3, so
// an invalid entry counts as not present.
void bt_mmu_reload_pdptes(BtCpu *cpu);

// Sets request bits on every vCPU. Any thread.
void bt_vm_request(BtVm *vm, uint32_t request);
