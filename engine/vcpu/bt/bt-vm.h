// SPDX-License-Identifier: GPL-2.0-or-later
// What the vCPUs of one machine share in this backend: the memory map, and which physical pages
// hold decoded code.
//
// Invalidation: every page with decoded code has a generation, bumped by whoever writes to it (a
// vCPU in its slow path, because such a page has no write entry in any TLB; a device through the
// memory listener). A block notes the generations of its (one or two) pages when it is decoded and
// is dropped when they differ, which the run loop checks at each block's entry. A vCPU that decodes
// the first block of a page first marks the page, then removes the write entries that other vCPUs
// hold for it (bt_vm_protect_page), then decodes: a store is either before the decoding or bumps
// the generation.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

#include <pthread.h>

#define BT_MAX_CPUS 255

struct BtVm {
    BackendVmConfig config;
    BtCpu *cpu[BT_MAX_CPUS];
    unsigned cpu_count;
    uint64_t page_count;      // guest-physical pages below the map's limit that can hold RAM
    uint32_t *code_generation; // per page: 0 = no code, else the generation (sparse mapping)
    pthread_mutex_t atomic_lock; // split or MMIO locked instructions
    pthread_mutex_t tlb_lock;    // TLB fills against bt_vm_protect_page
    uint64_t a20_mask;
};

// Marks the page as holding code and removes every vCPU's write entries for it.
void bt_vm_protect_page(BtVm *vm, uint64_t physical);

// Someone wrote [physical, physical + size): bumps generations of pages with code. Any thread.
void bt_vm_code_written(BtVm *vm, uint64_t physical, uint64_t size);

static inline uint32_t bt_vm_code_generation(const BtVm *vm, uint64_t physical)
{
    uint64_t page = physical >> 12;
    return page < vm->page_count ? __atomic_load_n(&vm->code_generation[page], __ATOMIC_ACQUIRE)
                                 : 0;
}
