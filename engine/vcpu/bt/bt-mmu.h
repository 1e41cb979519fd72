// SPDX-License-Identifier: GPL-2.0-or-later
// Paging and the software TLB, as the system half of the interpreter uses them; what instructions
// use is in bt-memory.h.
#pragma once

#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-vm.h"

void bt_mmu_create(BtCpu *cpu);
void bt_mmu_destroy(BtCpu *cpu);

// Translates and enters the page into the TLB, whatever was there. access: one BT_TLB_MAY_*.
// mmu: not BT_MMU_USER_ALIGNED. Raises #PF. The note may change with the next fill.
const BtTlbNote *bt_mmu_fill(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu);

// What the TLB knows of the page, filled where needed.
static inline const BtTlbNote *bt_mmu_note(BtCpu *cpu, uint64_t linear, unsigned access,
                                           unsigned mmu)
{
    const BtTlbNote *note = &cpu->tlb[mmu]->note[bt_tlb_index(linear)];
    if (note->page == (linear & ~UINT64_C(0xfff)) && (note->frame & access))
        return note;
    return bt_mmu_fill(cpu, linear, access, mmu);
}

// A data breakpoint watches a byte of the page: its accesses take the slow path.
bool bt_mmu_is_watched(const BtCpu *cpu, uint64_t page);

// Code was written since the run loop last looked: the running block's page may have lost the marks
// by which stores into it are noticed, though the block has instructions left.
static inline bool bt_code_is_written(const BtCpu *cpu)
{
    return __atomic_load_n(&cpu->request, __ATOMIC_RELAXED) & BT_REQUEST_CODE;
}

// What cpu->data_tlb must be.
static inline BtTlb *bt_mmu_data_tlb(BtCpu *cpu)
{
    return cpu->always_miss ? &cpu->mmu->none : cpu->tlb[cpu->mmu_index];
}

// After a slow store to plain RAM: the page gets its write tag back where nothing speaks against it
// any longer.
void bt_mmu_regain_write(BtCpu *cpu, uint64_t linear, unsigned mmu);

// PAE: reads the four page-directory-pointer entries that cr3 names. False, nothing stored: one has
// a reserved bit (#GP(0) for MOV to CR3).
bool bt_mmu_pdptes_valid(BtCpu *cpu, uint64_t cr3, uint64_t ret_pdpte[4]);

// The same after the whole state was set: memory may have moved on since the guest loaded CR3, so
// an invalid entry counts as not present.
void bt_mmu_reload_pdptes(BtCpu *cpu);

// Sets request bits on every vCPU. Any thread.
void bt_vm_request(BtVm *vm, uint32_t request);
