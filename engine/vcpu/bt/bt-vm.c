// SPDX-License-Identifier: GPL-2.0-or-later
// What the vCPUs of one machine share: page generations and the granules that hold decoded code,
// and the listener that hears of DMA and of changes of the memory map. Not here: blocks
// (bt-cache.c), TLB fills (bt-mmu.c). The protocol between writers and decoders is at the top of
// bt-vm.h.
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-range.h"

#include <gio/gio.h>
#include <sys/mman.h>
#include <x86intrin.h>

#define GRANULE_BITS 6
#define REGION_PAGE_BITS 9 // 2 MiB

enum { REGION_UNKNOWN, REGION_PLAIN, REGION_OTHER }; // regions_plain

// The granules that [first, last] of one page touches. first, last: offsets in the page.
static uint64_t granule_mask(unsigned first, unsigned last)
{
    unsigned low = first >> GRANULE_BITS;
    unsigned high = last >> GRANULE_BITS;
    return (UINT64_MAX << low) & (UINT64_MAX >> (63 - high));
}

// A mapping that costs memory only where it is written.
static void *sparse_new(uint64_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static uint64_t region_count(const BtVm *vm)
{
    return (vm->page_count >> REGION_PAGE_BITS) + 1;
}

// Who writes a page with code so often within this time is going to do so again: what a store in C
// costs, times the first, pays for making its code anew.
enum { POINTS_TO_CHECK = 64, POINTS_OF_CODE = 4, TIME_SHIFT = 28, TIMES_MOST = 6 };

// A store to a page that is protected. True: it is to be checked from now on.
static bool note_store(BtVm *vm, uint64_t page, bool to_code)
{
    BtCodePage *p = &vm->code_page[page];
    uint16_t now = (uint16_t)(__rdtsc() >> TIME_SHIFT);
    if ((uint16_t)(now - p->time) > 1)
        p->points = 0;
    p->time = now;
    p->points = (uint16_t)(p->points + (to_code ? POINTS_OF_CODE : 1));
    return p->points >= POINTS_TO_CHECK;
}

// The page's blocks are no longer valid. tlb_lock is held.
static void renew_page(BtVm *vm, uint64_t page, BtWriter writer)
{
    // In this order: a decoder that sees the new generation sets its bits after they were cleared.
    __atomic_store_n(&vm->code_granules[page], 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&vm->code_generation[page], 1, __ATOMIC_SEQ_CST);
    unsigned slot = vm->written_count++ % BT_WRITTEN_PAGES;
    vm->written_page[slot] = page;
    vm->written_by[slot] = writer;
}

static void set_checked(BtVm *vm, uint64_t page, bool checked)
{
    BtCodePage *p = &vm->code_page[page];
    p->points = 0;
    if (checked)
        p->times = MIN(p->times + 1, TIMES_MOST);
    __atomic_store_n(&p->checked, checked, __ATOMIC_SEQ_CST);
}

// Where the granules of `mask` hold code, the page's blocks are no longer valid. True if so.
static bool bump_page(BtVm *vm, uint64_t page, uint64_t mask, BtWriter writer)
{
    uint64_t granules = __atomic_load_n(&vm->code_granules[page], __ATOMIC_RELAXED);
    bool checked = bt_vm_page_is_checked(vm, page << 12);
    bool to_code = granules & mask;
    bool by_cpu = writer == BT_WRITER_CPU;
    bool check = by_cpu && granules && vm->translates && note_store(vm, page, to_code);
    if (!to_code && !check && (by_cpu || !checked))
        return false;
    pthread_mutex_lock(&vm->tlb_lock);
    if (check) {
        set_checked(vm, page, true);
    } else if (checked) { // what is there now is something else
        set_checked(vm, page, false);
        vm->code_page[page].times = 0;
    }
    renew_page(vm, page, writer);
    pthread_mutex_unlock(&vm->tlb_lock);
    return true;
}

static void request_all(BtVm *vm, uint32_t request)
{
    pthread_mutex_lock(&vm->tlb_lock);
    for (unsigned i = 0; i < BT_MAX_CPUS; i++) {
        if (vm->cpu[i])
            __atomic_fetch_or(&vm->cpu[i]->request, request, __ATOMIC_SEQ_CST);
    }
    pthread_mutex_unlock(&vm->tlb_lock);
}

void bt_vm_protect_again(BtVm *vm, uint64_t physical)
{
    pthread_mutex_lock(&vm->tlb_lock);
    set_checked(vm, physical >> 12, false);
    renew_page(vm, physical >> 12, BT_WRITER_CPU);
    pthread_mutex_unlock(&vm->tlb_lock);
    request_all(vm, BT_REQUEST_CODE);
}

unsigned bt_vm_check_period(const BtVm *vm, uint64_t physical)
{
    enum { ENTRIES = 10000 };
    return vm->checks_always ? 0 : ENTRIES << vm->code_page[physical >> 12].times;
}

// Withdraws an entry's write tag where it is of that page. The table is another CPU's, which may be
// filling it: then the swap fails, and that CPU finds the granules (bt-mmu.c).
static void drop_write_tag(BtTlb *tlb, unsigned index, uint64_t physical)
{
    BtTlbEntry *entry = &tlb->entry[index];
    uint64_t tag = __atomic_load_n(&entry->write, __ATOMIC_SEQ_CST);
    uint64_t frame = __atomic_load_n(&tlb->note[index].frame, __ATOMIC_SEQ_CST);
    if ((frame & ~UINT64_C(0xfff)) == physical)
        __atomic_compare_exchange_n(&entry->write, &tag, bt_tlb_none(index), false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void drop_in_table(BtTlb *tlb, uint64_t physical, uint16_t hint)
{
    if (hint != BT_HINT_MANY) {
        drop_write_tag(tlb, hint - 1u, physical);
        return;
    }
    for (unsigned word = 0; word < BT_TLB_WORDS; word++) {
        uint64_t left = __atomic_load_n(&tlb->used[word], __ATOMIC_ACQUIRE);
        for (; left; left &= left - 1)
            drop_write_tag(tlb, word * 64 + (unsigned)__builtin_ctzll(left), physical);
    }
}

// tlb_lock is held; hint is not 0.
static void drop_write_tags(BtMmu *mmu, uint64_t physical, uint16_t hint)
{
    drop_in_table(&mmu->supervisor, physical, hint);
    drop_in_table(&mmu->no_smap, physical, hint);
    for (unsigned i = 0; i < BT_BANKS; i++) {
        if (__atomic_load_n(&mmu->bank[i].key, __ATOMIC_ACQUIRE) != BT_BANK_FREE)
            drop_in_table(&mmu->bank[i].tlb, physical, hint);
    }
}

// tlb_lock is held.
static void drop_write_ranges(BtVm *vm, uint64_t physical)
{
    GuestPage page = guest_memory_page(vm->config.memory, physical);
    for (unsigned i = 0; page.host_write && i < vm->cpu_count; i++) {
        if (vm->cpu[i])
            bt_range_drop_host_page(vm->cpu[i], page.host_write);
    }
}

static void map_changed(void *opaque, uint64_t gpa, uint64_t size)
{
    BtVm *vm = opaque;
    bt_vm_code_changed(vm, gpa, size, BT_WRITER_MAP);
    pthread_mutex_lock(&vm->tlb_lock);
    uint64_t last = MIN(gpa + size - 1, (vm->page_count << 12) - 1) >> (12 + REGION_PAGE_BITS);
    for (uint64_t region = gpa >> (12 + REGION_PAGE_BITS); size && region <= last; region++)
        vm->regions_plain[region] = REGION_UNKNOWN;
    pthread_mutex_unlock(&vm->tlb_lock);
    request_all(vm, BT_REQUEST_TLB_FLUSH);
}

static void log_changed(void *opaque)
{
    BtVm *vm = opaque;
    pthread_mutex_lock(&vm->tlb_lock);
    madvise(vm->regions_plain, region_count(vm), MADV_DONTNEED); // all REGION_UNKNOWN
    pthread_mutex_unlock(&vm->tlb_lock);
    request_all(vm, BT_REQUEST_TLB_FLUSH);
}

static void memory_written(void *opaque, uint64_t gpa, uint64_t size)
{
    bt_vm_code_changed(opaque, gpa, size, BT_WRITER_DEVICE);
}

bool bt_vm_init(BtVm *vm, uint64_t limit, GError **error)
{
    vm->page_count = limit >> 12;
    vm->code_generation = sparse_new(vm->page_count * sizeof *vm->code_generation);
    vm->code_granules = sparse_new(vm->page_count * sizeof *vm->code_granules);
    vm->code_page = sparse_new(vm->page_count * sizeof *vm->code_page);
    vm->code_regions = sparse_new(region_count(vm));
    vm->regions_plain = sparse_new(region_count(vm));
    vm->write_hints = sparse_new(vm->page_count * 2 * sizeof *vm->write_hints);
    pthread_mutex_init(&vm->atomic_lock, NULL);
    pthread_mutex_init(&vm->tlb_lock, NULL);
    if (!vm->code_generation || !vm->code_granules || !vm->code_page || !vm->code_regions ||
        !vm->regions_plain || !vm->write_hints) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "Cannot reserve address space for the page table of a %" G_GUINT64_FORMAT
                    " GiB guest",
                    limit >> 30);
        bt_vm_finish(vm);
        return false;
    }
    vm->listener = (GuestMemoryListener){
        .changed = map_changed,
        .written = memory_written,
        .log_changed = log_changed,
        .opaque = vm,
    };
    guest_memory_add_listener(vm->config.memory, &vm->listener);
    return true;
}

void bt_vm_finish(BtVm *vm)
{
    if (vm->listener.changed)
        guest_memory_remove_listener(vm->config.memory, &vm->listener);
    if (vm->code_generation)
        munmap(vm->code_generation, vm->page_count * sizeof *vm->code_generation);
    if (vm->code_granules)
        munmap(vm->code_granules, vm->page_count * sizeof *vm->code_granules);
    if (vm->code_page)
        munmap(vm->code_page, vm->page_count * sizeof *vm->code_page);
    if (vm->code_regions)
        munmap(vm->code_regions, region_count(vm));
    if (vm->regions_plain)
        munmap(vm->regions_plain, region_count(vm));
    if (vm->write_hints)
        munmap(vm->write_hints, vm->page_count * 2 * sizeof *vm->write_hints);
    pthread_mutex_destroy(&vm->atomic_lock);
    pthread_mutex_destroy(&vm->tlb_lock);
    memset(&vm->listener, 0, sizeof vm->listener);
    vm->code_generation = NULL;
    vm->code_granules = NULL;
    vm->code_page = NULL;
    vm->code_regions = NULL;
    vm->regions_plain = NULL;
    vm->write_hints = NULL;
}

uint32_t bt_vm_protect_page(BtVm *vm, uint64_t physical, unsigned size)
{
    uint64_t page = physical >> 12;
    if (page >= vm->page_count)
        return 0;
    unsigned first = physical & 0xfff;
    // With the lock held: who finds the bits set must find the write entries gone.
    pthread_mutex_lock(&vm->tlb_lock);
    uint32_t generation = __atomic_load_n(&vm->code_generation[page], __ATOMIC_ACQUIRE);
    __atomic_store_n(&vm->code_regions[page >> REGION_PAGE_BITS], 1, __ATOMIC_SEQ_CST);
    if (bt_vm_page_is_checked(vm, physical)) {
        pthread_mutex_unlock(&vm->tlb_lock);
        return generation;
    }
    uint64_t before = __atomic_fetch_or(&vm->code_granules[page],
                                        granule_mask(first, first + size - 1), __ATOMIC_SEQ_CST);
    if (!before) {
        __atomic_fetch_add(&vm->code_protections, 1, __ATOMIC_SEQ_CST);
        drop_write_ranges(vm, page << 12);
    }
    for (unsigned high = 0; !before && high < 2; high++) {
        // Taken before the search: who leaves a hint after this looks at the granules after it.
        uint16_t hint = __atomic_exchange_n(&vm->write_hints[2 * page + high], 0,
                                            __ATOMIC_SEQ_CST);
        for (unsigned i = 0; hint && i < vm->cpu_count; i++) {
            if (vm->cpu[i])
                drop_write_tags(vm->cpu[i]->mmu, page << 12, hint);
        }
    }
    pthread_mutex_unlock(&vm->tlb_lock);
    return generation;
}

bool bt_vm_region_is_plain(BtVm *vm, uint64_t physical)
{
    uint64_t region = physical >> (12 + REGION_PAGE_BITS);
    uint64_t first = region << (12 + REGION_PAGE_BITS);
    if (physical >> 12 >= vm->page_count)
        return false;
    pthread_mutex_lock(&vm->tlb_lock);
    uint8_t *state = &vm->regions_plain[region];
    if (*state == REGION_UNKNOWN) {
        const uint8_t *host = guest_memory_page(vm->config.memory, first).host_read;
        *state = host ? REGION_PLAIN : REGION_OTHER;
        for (uint64_t at = 0; at < UINT64_C(1) << (12 + REGION_PAGE_BITS); at += 0x1000) {
            GuestPage page = guest_memory_page(vm->config.memory, first + at);
            if (page.host_read != host + at || page.host_write != page.host_read || page.dirty)
                *state = REGION_OTHER;
        }
    }
    bool plain = *state == REGION_PLAIN;
    pthread_mutex_unlock(&vm->tlb_lock);
    return plain;
}

void bt_vm_code_changed(BtVm *vm, uint64_t physical, uint64_t size, BtWriter writer)
{
    if (size == 0 || physical >> 12 >= vm->page_count)
        return;
    // The store before the look at the bits, against the decoder's bits before its look at memory.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t end = physical + size < physical ? UINT64_MAX : physical + size - 1; // last byte
    uint64_t last = MIN(end >> 12, vm->page_count - 1);
    bool hit = false;
    for (uint64_t page = physical >> 12; page <= last; page++) {
        if (!__atomic_load_n(&vm->code_regions[page >> REGION_PAGE_BITS], __ATOMIC_RELAXED)) {
            page |= (UINT64_C(1) << REGION_PAGE_BITS) - 1;
            continue;
        }
        unsigned from = page == physical >> 12 ? physical & 0xfff : 0;
        unsigned to = page == end >> 12 ? end & 0xfff : 0xfff;
        hit |= bump_page(vm, page, granule_mask(from, to), writer);
    }
    // Before the writer's next instruction: whoever learns from it that the code is new has the
    // request at its next block.
    if (hit)
        request_all(vm, BT_REQUEST_CODE);
}

void bt_vm_check_own_block(BtCpu *cpu, uint64_t physical, unsigned size)
{
    const BtBlock *block = cpu->block;
    if (!block || block->count == 1)
        return;
    unsigned size_first = block->size - block->size_second;
    bool first = physical < block->physical + size_first && physical + size > block->physical;
    bool second = block->size_second &&
                  physical < block->physical_second + block->size_second &&
                  physical + size > block->physical_second;
    if (!first && !second)
        return;
    cpu->rip = bt_insn_rip(cpu, cpu->insn) & cpu->rip_mask;
    bt_leave(cpu, BT_LEAVE_RETRY_ALONE);
}
