// SPDX-License-Identifier: GPL-2.0-or-later
// What the vCPUs of one machine share in this backend: the memory map, and which physical pages
// hold decoded code.
//
// Invalidation: every page has a generation and 64 bits that say which of its 64-byte granules hold
// decoded code. Whoever writes to such a page (a vCPU in its slow path, because the page has no
// write entry in any TLB; a device through the memory listener) calls bt_vm_code_written after the
// store; where it hit a granule with code, the generation moves on, all bits go, and every vCPU is
// asked (BT_REQUEST_CODE) to look blocks up again instead of following its chains. A block notes
// the generations of its (one or two) pages before it is decoded and is compared with memory again,
// or dropped, when they differ at a look-up. A vCPU that decodes
// notes the generation, sets the bits, removes the write entries that vCPUs hold for the page
// (bt_vm_protect_page), then reads the bytes: a store is either before the decoding or bumps the
// generation. (Known gap: a store of another vCPU that has passed its TLB compare at that moment
// and is then suspended.)
//
// Pages that are written again and again while their code runs, by programs that make code, change
// it, or have data beside it, are "checked" instead, under the translator: nothing notices stores
// to them, and their code is compared with memory each time that it is entered. So no block or unit
// there goes on behind an instruction that stores. When code of theirs was entered often and found
// unchanged, they are protected again.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

#include <pthread.h>

#define BT_MAX_CPUS 255
#define BT_WRITTEN_PAGES 64

typedef enum { BT_WRITER_CPU, BT_WRITER_DEVICE, BT_WRITER_MAP } BtWriter;

// How a page with code is written.
typedef struct {
    // A guess, which CPUs make without a lock.
    uint16_t time;   // of the last store that was noticed, about tenths of a second
    uint16_t points; // such stores lately; those to code count more
    // With tlb_lock held:
    uint8_t times;   // that it came to be checked
    bool checked;
} BtCodePage;

struct BtVm {
    BackendVmConfig config;
    bool translates; // the backend is the translator
    BtCpu *cpu[BT_MAX_CPUS];
    unsigned cpu_count;
    uint64_t page_count;      // guest-physical pages below the map's limit that can hold RAM
    uint32_t *code_generation; // per page (sparse mapping)
    uint64_t *code_granules;   // per page: a bit per 64 bytes with decoded code (sparse mapping)
    BtCodePage *code_page;     // per page (sparse mapping)
    bool checks_always;        // for tests: all pages are checked
    uint8_t *code_regions;     // per 2 MiB: not 0 where a page ever held code
    uint8_t *regions_plain;    // per 2 MiB: see bt_vm_region_is_plain; tlb_lock
    uint32_t code_protections; // bt-range.c: moves on when a page gets to hold code. Atomic
    uint16_t *write_hints;     // two per page (sparse mapping): see bt_vm_write_hint
    // The last pages whose generation moved on, by number and why, and how many; tlb_lock.
    uint64_t written_page[BT_WRITTEN_PAGES];
    uint8_t written_by[BT_WRITTEN_PAGES]; // BtWriter
    uint64_t written_count;
    pthread_mutex_t atomic_lock; // split or MMIO locked instructions
    pthread_mutex_t tlb_lock;    // cpu[]; one bt_vm_protect_page at a time
    GuestMemoryListener listener; // bt-vm.c
    uint64_t a20_mask;
    pthread_mutex_t tsc_lock;
    int64_t tsc_offset; // of the CPU set last (bt-state.c)
    bool tsc_offset_known;
};

// Marks the bytes as holding code and removes every vCPU's write entries for the page they are in.
// [physical, physical + size) is within one page. Returns the page's generation, read before.
// Does nothing to a page that is checked: who wants to know looks behind this call.
uint32_t bt_vm_protect_page(BtVm *vm, uint64_t physical, unsigned size);

// Someone wrote [physical, physical + size), or something else is there now: bumps generations
// where there was code. Any thread.
void bt_vm_code_changed(BtVm *vm, uint64_t physical, uint64_t size, BtWriter writer);
static inline void bt_vm_code_written(BtVm *vm, uint64_t physical, uint64_t size)
{
    bt_vm_code_changed(vm, physical, size, BT_WRITER_CPU);
}

// The page's code is compared at each entry.
static inline bool bt_vm_page_is_checked(const BtVm *vm, uint64_t physical)
{
    uint64_t page = physical >> 12;
    return page < vm->page_count &&
           (vm->checks_always || __atomic_load_n(&vm->code_page[page].checked, __ATOMIC_ACQUIRE));
}

// Ends that for a page that is checked.
void bt_vm_protect_again(BtVm *vm, uint64_t physical);
// How often code of the page is to be found unchanged before that: 0 for ever.
unsigned bt_vm_check_period(const BtVm *vm, uint64_t physical);

// A vCPU is about to write there (within one page that has code): leaves with BT_LEAVE_RETRY_ALONE
// where the bytes belong to the block that is running.
void bt_vm_check_own_block(BtCpu *cpu, uint64_t physical, unsigned size);

// The 2 MiB around are RAM in one piece, of the host's memory too, without a dirty log.
bool bt_vm_region_is_plain(BtVm *vm, uint64_t physical);

// A page of the 2 MiB around ever held code.
static inline bool bt_vm_region_has_code(const BtVm *vm, uint64_t physical)
{
    uint64_t page = physical >> 12;
    return page >= vm->page_count || __atomic_load_n(&vm->code_regions[page >> 9],
                                                     __ATOMIC_ACQUIRE);
}

// Where TLBs hold write tags for a physical page, so that taking them away need not search: the
// index in the table plus 1, 0 for nowhere, or BT_HINT_MANY. One hint for low and one for high
// linear addresses: a program's page is written through a mapping of each kind. NULL: not RAM.
#define BT_HINT_MANY UINT16_MAX
static inline uint16_t *bt_vm_write_hint(const BtVm *vm, uint64_t physical, uint64_t linear)
{
    uint64_t page = physical >> 12;
    unsigned high = linear >> 32 ? (unsigned)(linear >> 63) : (unsigned)(linear >> 31);
    return page < vm->page_count ? &vm->write_hints[2 * page + high] : NULL;
}

// Stores to this page must go through bt_vm_code_written: no write tag in a TLB.
static inline bool bt_vm_page_has_code(const BtVm *vm, uint64_t physical)
{
    uint64_t page = physical >> 12;
    return page < vm->page_count &&
           __atomic_load_n(&vm->code_granules[page], __ATOMIC_ACQUIRE) != 0;
}

static inline uint32_t bt_vm_code_generation(const BtVm *vm, uint64_t physical)
{
    uint64_t page = physical >> 12;
    return page < vm->page_count ? __atomic_load_n(&vm->code_generation[page], __ATOMIC_ACQUIRE)
                                 : 0;
}
