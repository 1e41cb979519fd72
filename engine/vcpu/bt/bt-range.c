// SPDX-License-Identifier: GPL-2.0-or-later
// See bt-range.h. Not here: the code that checks slots (translator/emit-memory.c).
//
// Slots that are filled stand in one of two lists, so that an invalidation visits only them; what
// the lists cover is noted in a bitmap by page address, so that the many invalidations of single
// pages that concern no slot end after one look.
//
// A store slot against a page that becomes code on another CPU: the filler notes the machine's
// code_protections, looks at the granules, publishes the slot, and looks at code_protections again
// behind a fence; bt_vm_protect_page sets granules, moves code_protections on, then searches slots.
// Either the filler sees the new number and withdraws, or the search finds the slot.
#include "engine/vcpu/bt/bt-range.h"

#include "engine/vcpu/bt/bt-mirror.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-registers.h"
#include "engine/vcpu/bt/bt-vm.h"
#include "engine/vcpu/bt/bt-walk.h"

#include <glib.h>

enum {
    RUN_PAGES = 16, // most pages that a run of 4 KiB pages is extended by, each way
    REGION_BITS = 21,
    MOST_CONFLICTS = 12,
    HOPELESS_CONFLICTS = 8,
    LONG_RUN = 8, // pages: worth a search each time
    LOOKUPS_PER_MISS = 8, // what a miss of the TLB counts
    MIRROR_PAGES = 64, // most pages that a run through a mirror is extended by, each way
    MIRROR_CONFLICTS = 3, // before pages are put into a mirror
    FEWEST_LOOKUPS = 40, // in the TLB, before a slot is filled: most code is not worth one
};
#define PAGE UINT64_C(0x1000)
#define NEAR (8 * PAGE) // what goes through memory has not got further
#define PAGE_MASK (~UINT64_C(0xfff))

// ---- Bookkeeping ----

static void cover_clear(BtRangeList *list)
{
    list->count = 0;
    list->low = UINT64_MAX;
    list->high = 0;
    memset(list->bits, 0, sizeof list->bits);
}

static void cover_add(BtRangeList *list, const BtRun *run)
{
    // A large page goes as a whole.
    uint64_t around = BT_BIT(run->page_bits) - 1;
    uint64_t low = run->page_bits > 12 ? run->start & ~around : run->start;
    uint64_t high = run->page_bits > 12 ? run->end | around : run->end;
    list->low = MIN(list->low, low);
    list->high = MAX(list->high, high);
    if (high - low >= PAGE * 64 * 64) {
        memset(list->bits, 0xff, sizeof list->bits);
        return;
    }
    for (uint64_t page = low;;) {
        bool word = !(page & (PAGE * 64 - 1)) && high - page >= PAGE * 64 - 1;
        list->bits[page >> 18 & 63] |= word ? UINT64_MAX : BT_BIT(page >> 12 & 63);
        uint64_t step = word ? PAGE * 64 : PAGE;
        if (high - page < step)
            break;
        page += step;
    }
}

static bool covers(const BtRangeList *list, uint64_t page)
{
    return page >= list->low && page <= list->high &&
           (list->bits[page >> 18 & 63] & BT_BIT(page >> 12 & 63));
}

static uint64_t length_of(const BtRange *range)
{
    return (uint64_t)range->pages << 12;
}

static void set_lengths(BtRange *range, uint64_t bytes)
{
    for (unsigned i = 0; i < BT_RANGE_EXTENTS; i++) {
        unsigned extent = bt_range_extent_bytes(i);
        __atomic_store_n(&range->length[i], bytes < extent ? 0 : bytes - extent + 1,
                         __ATOMIC_RELEASE);
    }
}

static void empty(BtRange *range)
{
    set_lengths(range, 0);
    range->flags = 0;
}

static uint8_t list_bit(const BtCpu *cpu, const BtRangeList *list)
{
    return list == &cpu->mmu->local_ranges ? BT_RANGE_IN_LOCAL : BT_RANGE_IN_GLOBAL;
}

static void empty_list(BtCpu *cpu, BtRangeList *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        BtRange *range = &cpu->range[list->slot[i]];
        empty(range);
        range->listed &= ~list_bit(cpu, list);
    }
    cover_clear(list);
    cpu->mmu->run_generation++;
}

// A slot stands at most once in a list.
static void list_add(BtCpu *cpu, BtRangeList *list, unsigned slot)
{
    BtRange *range = &cpu->range[slot];
    if (range->listed & list_bit(cpu, list))
        return;
    range->listed |= list_bit(cpu, list);
    list->slot[list->count] = slot;
    __atomic_store_n(&list->count, list->count + 1, __ATOMIC_RELEASE);
}

void bt_range_drop_local(BtCpu *cpu)
{
    empty_list(cpu, &cpu->mmu->local_ranges);
}

void bt_range_drop_all(BtCpu *cpu)
{
    empty_list(cpu, &cpu->mmu->local_ranges);
    empty_list(cpu, &cpu->mmu->global_ranges);
}

static void drop_page(BtCpu *cpu, BtRangeList *list, uint64_t page)
{
    if (!covers(list, page))
        return;
    unsigned kept = 0;
    cpu->mmu->run_generation++;
    // Other CPUs' searches must not miss a slot that moves within the list.
    pthread_mutex_lock(&cpu->vm->tlb_lock);
    for (unsigned i = 0; i < list->count; i++) {
        BtRange *range = &cpu->range[list->slot[i]];
        uint64_t around = BT_BIT(range->flags & BT_RANGE_PAGE_BITS) - 1;
        uint64_t low = range->start & ~around;
        uint64_t high = (range->start + length_of(range) - 1) | around;
        if (range->length[0] != 0 && (page < low || page > high)) {
            list->slot[kept++] = list->slot[i];
        } else {
            empty(range);
            range->listed &= ~list_bit(cpu, list);
        }
    }
    list->count = kept;
    pthread_mutex_unlock(&cpu->vm->tlb_lock);
}

void bt_range_drop_page(BtCpu *cpu, uint64_t page)
{
    drop_page(cpu, &cpu->mmu->local_ranges, page & PAGE_MASK);
    drop_page(cpu, &cpu->mmu->global_ranges, page & PAGE_MASK);
}

static void drop_mirrored(BtCpu *cpu, const BtRangeList *list, uint64_t low, uint64_t high)
{
    if (high < list->low || low > list->high)
        return;
    for (unsigned i = 0; i < list->count; i++) {
        BtRange *range = &cpu->range[list->slot[i]];
        if ((range->flags & BT_RANGE_MIRRORED) && low <= range->start + length_of(range) - 1 &&
            high >= range->start)
            set_lengths(range, 0); // it stays in its list, for when it is filled again
    }
}

void bt_range_drop_mirrored(BtCpu *cpu, uint64_t low, uint64_t high)
{
    drop_mirrored(cpu, &cpu->mmu->local_ranges, low, high);
    drop_mirrored(cpu, &cpu->mmu->global_ranges, low, high);
    cpu->mmu->run_generation++;
}

static void drop_host_page(BtCpu *cpu, const BtRangeList *list, uintptr_t host)
{
    // The owner may be adding to the list: what it adds now it looks at again itself.
    unsigned count = __atomic_load_n(&list->count, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < count; i++) {
        BtRange *range = &cpu->range[__atomic_load_n(&list->slot[i], __ATOMIC_RELAXED)];
        uintptr_t begin = range->start + range->addend;
        // What pages a mirror has only its owner may look up.
        if ((range->flags & BT_RANGE_WRITE) &&
            ((range->flags & BT_RANGE_MIRRORED) ||
             (host + PAGE > begin && host < begin + length_of(range))))
            set_lengths(range, 0);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void bt_range_drop_host_page(BtCpu *cpu, const uint8_t *host)
{
    drop_host_page(cpu, &cpu->mmu->local_ranges, (uintptr_t)host);
    drop_host_page(cpu, &cpu->mmu->global_ranges, (uintptr_t)host);
}

// ---- Runs ----

void bt_range_init(BtCpu *cpu)
{
    cover_clear(&cpu->mmu->local_ranges);
    cover_clear(&cpu->mmu->global_ranges);
    cpu->mmu->run_generation = 1; // 0: runs never found
}

// Where the page may be accessed in place: its host address; 0: not so.
static uintptr_t plain_host(BtCpu *cpu, uint64_t physical, bool write)
{
    GuestPage page = guest_memory_page(cpu->config->memory, physical);
    if (write && (page.host_write != page.host_read || !guest_page_is_noted(&page) ||
                  bt_vm_page_has_code(cpu->vm, physical)))
        return 0;
    return (uintptr_t)page.host_read;
}

// The run of one page.
static bool probe(BtCpu *cpu, uint64_t page, bool write, unsigned mmu, BtRun *ret_run)
{
    BtWalk walk;
    if (bt_mmu_is_watched(cpu, page) ||
        !bt_walk_probe(cpu, page, write ? BT_TLB_MAY_WRITE : BT_TLB_MAY_READ, mmu, &walk))
        return false;
    uint64_t physical = walk.physical & cpu->a20_mask;
    uintptr_t host = plain_host(cpu, physical, write);
    if (!host)
        return false;
    *ret_run = (BtRun){ .start = page, .end = page + PAGE - 1, .addend = host - page,
                        .page_bits = (uint8_t)walk.page_bits, .global = walk.global };
    if (walk.page_bits < REGION_BITS || cpu->a20_mask != UINT64_MAX)
        return true;
    // As much of a large page as is like this: at most the 2 MiB (4 MiB pages: the half) around.
    bool plain = bt_vm_region_is_plain(cpu->vm, physical);
    uint64_t low = page & ~(BT_BIT(REGION_BITS) - 1), high = low + BT_BIT(REGION_BITS) - 1;
    if (plain && (!write || !bt_vm_region_has_code(cpu->vm, physical))) {
        ret_run->start = low;
        ret_run->end = high;
        return true;
    }
    uint64_t to_physical = physical - page;
    for (unsigned i = 0; i < RUN_PAGES && ret_run->start > low; i++) {
        uint64_t next = ret_run->start - PAGE;
        if (plain ? bt_vm_page_has_code(cpu->vm, next + to_physical)
                  : plain_host(cpu, next + to_physical, write) != next + ret_run->addend)
            break;
        ret_run->start = next;
    }
    for (unsigned i = 0; i < RUN_PAGES && ret_run->end < high; i++) {
        uint64_t next = ret_run->end + 1;
        if (plain ? bt_vm_page_has_code(cpu->vm, next + to_physical)
                  : plain_host(cpu, next + to_physical, write) != next + ret_run->addend)
            break;
        ret_run->end = next + PAGE - 1;
    }
    return true;
}

// Whether `b` continues `a` in host memory, with no hole of the linear space in between.
static bool continues(const BtRun *a, const BtRun *b)
{
    return a->addend == b->addend && a->end + 1 == b->start && a->global == b->global &&
           ((a->end ^ b->start) >> 47 == 0);
}

// Where the run of a page goes through: its own memory, or a mirror.
typedef enum {
    WAY_DIRECT,
    WAY_MIRRORED, // what is mapped there already
    WAY_MIRROR,   // what may be mapped there
} Way;

// The run of one page that goes that way.
static bool probe_by(BtCpu *cpu, uint64_t page, bool write, unsigned mmu, Way way, BtRun *ret_run)
{
    if (!probe(cpu, page, write, mmu, ret_run))
        return false;
    if (way == WAY_DIRECT)
        return true;
    ret_run->mirrored = true;
    // A global page's slot would outlive the address space whose mirror it goes through.
    return ret_run->page_bits == 12 && !ret_run->global &&
           bt_mirror_place(cpu, page, page + ret_run->addend, way == WAY_MIRROR, &ret_run->addend);
}

static bool grow(BtCpu *cpu, bool write, unsigned mmu, Way way, BtRun *run, bool up)
{
    if (up ? run->end == UINT64_MAX || (cpu->mode != BT_MODE_LONG && run->end >= UINT32_MAX)
           : run->start == 0)
        return false;
    BtRun next;
    if (!probe_by(cpu, (up ? run->end + 1 : run->start - PAGE), write, mmu, way, &next))
        return false;
    if (up ? !continues(run, &next) : !continues(&next, run))
        return false;
    run->page_bits = MAX(run->page_bits, next.page_bits);
    if (up)
        run->end = next.end;
    else
        run->start = next.start;
    return true;
}

static bool search_run(BtCpu *cpu, uint64_t linear, uint64_t last, bool write, unsigned mmu,
                       Way way, BtRun *run)
{
    unsigned most = way == WAY_DIRECT ? RUN_PAGES : MIRROR_PAGES;
    if (!probe_by(cpu, linear & PAGE_MASK, write, mmu, way, run))
        return false;
    for (unsigned i = 0; i < most && grow(cpu, write, mmu, way, run, true); i++)
        ;
    if (last > run->end)
        return false;
    for (unsigned i = 0; i < most && grow(cpu, write, mmu, way, run, false); i++)
        ;
    return true;
}

static unsigned pages_of(const BtRun *run)
{
    return (unsigned)((run->end - run->start + 1) >> 12);
}

// The longer of the direct run and that through a mirror.
static bool search_ways(BtCpu *cpu, uint64_t linear, uint64_t last, bool write, unsigned mmu,
                        bool mirror, BtRun *run)
{
    bool direct = search_run(cpu, linear, last, write, mmu, WAY_DIRECT, run);
    if (mmu != BT_MMU_USER || (direct && (run->page_bits > 12 || pages_of(run) > RUN_PAGES)) ||
        (!mirror && !bt_mirror_known(cpu, linear & PAGE_MASK)))
        return direct;
    BtRun other;
    if (!search_run(cpu, linear, last, write, mmu, mirror ? WAY_MIRROR : WAY_MIRRORED, &other) ||
        (direct && pages_of(&other) <= pages_of(run)))
        return direct;
    *run = other;
    return true;
}

// protections: the machine's code_protections, from before. mirror: the run is worth a mirror.
static const BtRun *find_run(BtCpu *cpu, uint64_t linear, unsigned bytes, bool write, bool mirror,
                             uint32_t protections)
{
    BtMmu *mmu = cpu->mmu;
    unsigned view = cpu->mmu_index;
    if (view == BT_MMU_USER_ALIGNED)
        return NULL;
    // What SMAP forbids is not in this view, and so in no slot.
    if (view == BT_MMU_SUPERVISOR_NO_SMAP)
        view = BT_MMU_SUPERVISOR;
    uint64_t last = linear + bytes - 1;
    if (last < linear)
        return NULL;
    BtRun *run = &mmu->run[(linear >> 12 ^ view << 3 ^ (unsigned)write << 5) &
                           (BT_RUN_CACHE_SIZE - 1)];
    if (run->generation == mmu->run_generation && run->write == write && run->mmu == view &&
        linear >= run->start && last <= run->end &&
        (!write || run->protections == protections) &&
        (!mirror || run->mirrored || pages_of(run) > RUN_PAGES))
        return run;
    run->generation = mmu->run_generation - 1;
    if (!search_ways(cpu, linear, last, write, view, mirror, run))
        return NULL;
    run->generation = mmu->run_generation;
    run->protections = protections;
    run->write = write;
    run->mmu = (uint8_t)view;
    cover_add(run->global ? &mmu->global_ranges : &mmu->local_ranges, run);
    return run;
}

// Puts a run into a slot that is empty. protections: from before the run was found.
static bool publish(BtCpu *cpu, unsigned slot, const BtRun *run, bool write, uint32_t protections)
{
    BtRange *range = &cpu->range[slot];
    list_add(cpu, run->global ? &cpu->mmu->global_ranges : &cpu->mmu->local_ranges, slot);
    range->start = run->start;
    range->pages = pages_of(run);
    range->addend = run->addend;
    range->flags = (uint8_t)(run->page_bits | (write ? BT_RANGE_WRITE : 0) |
                             (run->mirrored ? BT_RANGE_MIRRORED : 0));
    set_lengths(range, length_of(range));
    if (!write)
        return true;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&cpu->vm->code_protections, __ATOMIC_SEQ_CST) == protections)
        return true;
    empty(range);
    return false;
}

static bool fill(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write,
                 bool mirror)
{
    uint32_t protections = __atomic_load_n(&cpu->vm->code_protections, __ATOMIC_SEQ_CST);
    empty(&cpu->range[slot]);
    if (cpu->always_miss)
        return false;
    mirror = mirror && bt_mirror_is_allowed(cpu);
    const BtRun *run = find_run(cpu, linear, bytes, write, mirror, protections);
    return run && publish(cpu, slot, run, write, protections);
}

bool bt_range_fill(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write)
{
    return fill(cpu, slot, linear, bytes, write, false);
}

void bt_range_learn(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write)
{
    BtRange *range = &cpu->range[slot];
    bool stack = slot <= BT_RANGE_STACKS;
    bool elsewhere = range->length[0] && linear - range->start >= length_of(range);
    bool beside = elsewhere && linear - range->start + NEAR < length_of(range) + 2 * NEAR;
    if (elsewhere && !stack)
        range->conflicts = (uint8_t)MIN(range->conflicts + 1, MOST_CONFLICTS);
    bool done = fill(cpu, slot, linear, bytes, write, range->conflicts >= MIRROR_CONFLICTS);
    // Who goes on through long runs needs them soon again.
    if (done && range->pages >= LONG_RUN && (beside || !elsewhere))
        range->conflicts /= 2;
    range->budget = (int16_t)((1 << (done || stack ? range->conflicts : MOST_CONFLICTS)) - 1);
    range->budget = MAX(range->budget, FEWEST_LOOKUPS);
}

bool bt_range_bridge(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write)
{
    return fill(cpu, slot, linear, bytes, write, true) &&
           bt_range_allows(cpu, slot, linear, bytes);
}

void bt_range_missed(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write)
{
    BtRange *range = &cpu->range[slot];
    range->budget -= LOOKUPS_PER_MISS;
    if (range->budget < 0) {
        bt_range_learn(cpu, slot, linear, bytes, write);
        return;
    }
    // What SMAP forbids is in no slot.
    if ((range->length[0] && range->pages >= LONG_RUN) ||
        cpu->mmu_index == BT_MMU_SUPERVISOR_NO_SMAP)
        return;
    uint32_t protections = __atomic_load_n(&cpu->vm->code_protections, __ATOMIC_SEQ_CST);
    uint64_t page = linear & PAGE_MASK;
    const BtTlbEntry *entry = bt_tlb_entry(cpu->data_tlb, page);
    const BtTlbNote *note = &cpu->data_tlb->note[bt_tlb_index(page)];
    uint64_t tag = write ? __atomic_load_n(&entry->write, __ATOMIC_RELAXED) : entry->read;
    empty(range);
    if (tag != page || note->page != page)
        return;
    BtRun run = { .start = page, .end = page + PAGE - 1, .addend = entry->addend,
                  .page_bits = note->frame >> BT_TLB_PAGE_BITS_SHIFT & BT_TLB_PAGE_BITS_MASK,
                  .global = note->frame & BT_TLB_GLOBAL };
    cover_add(run.global ? &cpu->mmu->global_ranges : &cpu->mmu->local_ranges, &run);
    publish(cpu, slot, &run, write, protections);
}

bool bt_range_is_hopeless(const BtCpu *cpu, unsigned slot)
{
    return cpu->range[slot].conflicts >= HOPELESS_CONFLICTS;
}

void bt_range_forget(BtCpu *cpu)
{
    bt_range_drop_all(cpu);
    for (unsigned i = 0; i < BT_RANGES; i++)
        cpu->range[i] = (BtRange){ .budget = FEWEST_LOOKUPS };
}
