// SPDX-License-Identifier: GPL-2.0-or-later
// The software TLB: fills, banks, invalidations. Not here: page walks (bt-walk.c) and what an
// access does once it is translated (bt-access.c). Follows SDM vol. 3A, 4.10.
//
// Tables. CPL 0..2 has one table for all address spaces (two with SMAP), because what it uses is
// global: a load of CR3 drops the few entries that are not. CPL 3 has a table per address space, a
// bank, chosen by PCID: a load of CR3 that keeps translations (bit 63) finds all that the address
// space had, and its code chains as they were (the bank keeps its epoch, bt-block.h). Without PCID
// there is one bank, which each load empties.
//
// INVLPG drops the page in every bank, not only in the current one: an entry may be global, and
// dropping too much is always allowed.
//
// A fill takes no lock. A write tag is published in this order: the hint where it lies (bt-vm.h),
// the tag, a fence; then hint and code granules are looked at once more, and the tag is withdrawn
// where they speak against it. bt_vm_protect_page does its part the other way round.
#include "engine/vcpu/bt/bt-mmu.h"

#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-mirror.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-range.h"
#include "engine/vcpu/bt/bt-registers.h"
#include "engine/vcpu/bt/bt-walk.h"

#include <sys/mman.h>

// ---- Tables ----

static void entry_clear(BtTlb *tlb, unsigned index)
{
    BtTlbEntry *entry = &tlb->entry[index];
    uint64_t none = bt_tlb_none(index);
    __atomic_store_n(&entry->write, none, __ATOMIC_RELAXED);
    entry->read = entry->execute = none;
    tlb->note[index].page = BT_TLB_NO_PAGE;
    __atomic_store_n(&tlb->note[index].frame, 0, __ATOMIC_RELAXED);
}

static void table_flush(BtTlb *tlb, bool global_too)
{
    uint64_t *set = global_too ? tlb->used : tlb->local;
    for (unsigned word = 0; word < BT_TLB_WORDS; word++) {
        for (uint64_t left = set[word]; left; left &= left - 1)
            entry_clear(tlb, word * 64 + (unsigned)__builtin_ctzll(left));
        uint64_t keep = global_too ? 0 : tlb->used[word] & ~tlb->local[word];
        __atomic_store_n(&tlb->used[word], keep, __ATOMIC_RELAXED);
        tlb->local[word] = 0;
    }
    if (global_too) {
        tlb->large_low = UINT64_MAX;
        tlb->large_high = 0;
    }
}

void bt_tlb_init(BtTlb *tlb)
{
    for (unsigned i = 0; i < BT_TLB_SIZE; i++)
        entry_clear(tlb, i);
    memset(tlb->used, 0, sizeof tlb->used);
    memset(tlb->local, 0, sizeof tlb->local);
    tlb->large_low = UINT64_MAX;
    tlb->large_high = 0;
}

static void table_drop(BtTlb *tlb, unsigned index)
{
    entry_clear(tlb, index);
    uint64_t keep = ~BT_BIT(index % 64);
    __atomic_store_n(&tlb->used[index / 64], tlb->used[index / 64] & keep, __ATOMIC_RELAXED);
    tlb->local[index / 64] &= keep;
}

// Drops what INVLPG of `page` must drop: its entry, and every 4 KiB entry out of a large page that
// covers it.
static void table_drop_page(BtTlb *tlb, uint64_t page)
{
    unsigned index = bt_tlb_index(page);
    if (tlb->note[index].page == page)
        table_drop(tlb, index);
    if (page < tlb->large_low || page > tlb->large_high)
        return;
    for (unsigned word = 0; word < BT_TLB_WORDS; word++) {
        for (uint64_t left = tlb->used[word]; left; left &= left - 1) {
            unsigned at = word * 64 + (unsigned)__builtin_ctzll(left);
            unsigned bits = tlb->note[at].frame >> BT_TLB_PAGE_BITS_SHIFT & BT_TLB_PAGE_BITS_MASK;
            if ((tlb->note[at].page ^ page) >> bits == 0)
                table_drop(tlb, at);
        }
    }
}

// ---- Code that was fetched, and epochs ----

static void fetched_clear(BtFetched *fetched)
{
    *fetched = (BtFetched){ .low = UINT64_MAX };
}

static void fetched_note(BtFetched *fetched, uint64_t page, bool global)
{
    fetched->low = MIN(fetched->low, page);
    fetched->high = MAX(fetched->high, page);
    fetched->bits[page >> 18 & 63] |= BT_BIT(page >> 12 & 63);
    fetched->local |= !global;
}

// large: the page may be part of a large one, of 1 GiB at most.
static bool fetched_has(const BtFetched *fetched, uint64_t page, bool large)
{
    uint64_t around = BT_BIT(30) - 1;
    if (large && fetched->low <= fetched->high)
        return page >= (fetched->low & ~around) && page <= (fetched->high | around);
    return page >= fetched->low && page <= fetched->high &&
           (fetched->bits[page >> 18 & 63] & BT_BIT(page >> 12 & 63));
}

static void renew_supervisor(BtCpu *cpu)
{
    bt_chain_renew(cpu, BT_EPOCH_SUPERVISOR);
    fetched_clear(&cpu->mmu->fetched);
}

static void renew_bank(BtCpu *cpu, BtBank *bank)
{
    fetched_clear(&bank->fetched);
    bank->epoch = 0;
    if (bank == cpu->mmu->current) {
        bt_chain_renew(cpu, BT_EPOCH_USER);
        bank->epoch = cpu->chain_epoch[BT_EPOCH_USER];
    }
}

void bt_mmu_renew_chains(BtCpu *cpu)
{
    renew_supervisor(cpu);
    for (unsigned i = 0; i < BT_BANKS; i++)
        renew_bank(cpu, &cpu->mmu->bank[i]);
}

// ---- Banks ----

static void bank_flush(BtCpu *cpu, BtBank *bank, bool global_too)
{
    if (bank->key == BT_BANK_FREE)
        return;
    renew_bank(cpu, bank);
    table_flush(&bank->tlb, global_too);
}

static void bank_load(BtCpu *cpu, BtBank *bank)
{
    BtMmu *mmu = cpu->mmu;
    mmu->current = bank;
    bank->last_use = ++mmu->clock;
    cpu->tlb[BT_MMU_USER] = &bank->tlb;
    cpu->data_tlb = bt_mmu_data_tlb(cpu);
    if (bank->epoch == 0) {
        renew_bank(cpu, bank);
        return;
    }
    cpu->chain_epoch[BT_EPOCH_USER] = bank->epoch;
    bt_chain_update_key(cpu);
}

static BtBank *bank_find(BtMmu *mmu, uint32_t key)
{
    for (unsigned i = 0; i < BT_BANKS; i++) {
        if (mmu->bank[i].key == key)
            return &mmu->bank[i];
    }
    return NULL;
}

// A free bank, else the one that was not in use for longest, emptied.
static BtBank *bank_take(BtCpu *cpu, uint32_t key)
{
    BtBank *oldest = NULL;
    for (unsigned i = 0; i < BT_BANKS; i++) {
        BtBank *bank = &cpu->mmu->bank[i];
        if (bank->key == BT_BANK_FREE) {
            bt_tlb_init(&bank->tlb);
            fetched_clear(&bank->fetched);
            bank->epoch = 0;
            bank->key = key;
            return bank;
        }
        if (bank != cpu->mmu->current && (!oldest || bank->last_use < oldest->last_use))
            oldest = bank;
    }
    bank_flush(cpu, oldest, true);
    oldest->key = key;
    return oldest;
}

// ---- Fills ----

bool bt_mmu_is_watched(const BtCpu *cpu, uint64_t page)
{
    if (!(cpu->dr7 & BT_DR7_ENABLED))
        return false;
    for (unsigned i = 0; i < 4; i++) {
        if ((cpu->dr7 >> (2 * i) & 3) && (cpu->dr7 >> (16 + 4 * i) & 3) != 0 &&
            (cpu->dr[i] & ~UINT64_C(0xfff)) == page)
            return true;
    }
    return false;
}

// See the file's head.
static void publish_write_tag(BtCpu *cpu, BtTlbEntry *entry, uint64_t page, uint64_t physical)
{
    uint16_t *hint = bt_vm_write_hint(cpu->vm, physical, page);
    if (!hint || bt_code_is_written(cpu))
        return;
    uint16_t mine = (uint16_t)(bt_tlb_index(page) + 1);
    uint16_t there = __atomic_load_n(hint, __ATOMIC_ACQUIRE);
    if (there != mine && there != BT_HINT_MANY) {
        uint16_t none = 0;
        if (there != 0 || !__atomic_compare_exchange_n(hint, &none, mine, false, __ATOMIC_SEQ_CST,
                                                       __ATOMIC_SEQ_CST))
            __atomic_store_n(hint, BT_HINT_MANY, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&entry->write, page, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    there = __atomic_load_n(hint, __ATOMIC_ACQUIRE);
    if (bt_vm_page_has_code(cpu->vm, physical) || (there != mine && there != BT_HINT_MANY))
        __atomic_store_n(&entry->write, bt_tlb_none(bt_tlb_index(page)), __ATOMIC_SEQ_CST);
}

static void note_page_size(BtTlb *tlb, uint64_t linear, unsigned bits)
{
    uint64_t low = linear & ~(BT_BIT(bits) - 1);
    tlb->large_low = MIN(tlb->large_low, low);
    tlb->large_high = MAX(tlb->large_high, low + (BT_BIT(bits) - 1));
}

const BtTlbNote *bt_mmu_fill(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu)
{
    uint64_t page = linear & ~UINT64_C(0xfff);
    BtWalk walk;
    uint32_t may = bt_walk(cpu, linear, access, mmu, &walk);
    uint64_t physical = walk.physical & cpu->a20_mask;
    GuestPage guest = guest_memory_page(cpu->config->memory, physical);
    cpu->stats.tlb_misses++;

    BtTlb *tlb = cpu->tlb[mmu];
    unsigned index = bt_tlb_index(page);
    BtTlbEntry *entry = &tlb->entry[index];
    BtTlbNote *note = &tlb->note[index];
    entry_clear(tlb, index);
    entry->addend = guest.host_read ? (uintptr_t)guest.host_read - page : 0;
    note->page = page;
    __atomic_store_n(&note->frame,
                     physical | may | (walk.global ? BT_TLB_GLOBAL : 0) |
                         walk.page_bits << BT_TLB_PAGE_BITS_SHIFT,
                     __ATOMIC_RELAXED);
    uint64_t bit = BT_BIT(index % 64);
    __atomic_store_n(&tlb->used[index / 64], tlb->used[index / 64] | bit, __ATOMIC_RELAXED);
    tlb->local[index / 64] = walk.global ? tlb->local[index / 64] & ~bit
                                         : tlb->local[index / 64] | bit;
    if (walk.page_bits > 12)
        note_page_size(tlb, linear, walk.page_bits);
    if (!guest.host_read)
        return note;
    if (may & BT_TLB_MAY_EXECUTE)
        entry->execute = page;
    if (bt_mmu_is_watched(cpu, page))
        return note;
    if (may & BT_TLB_MAY_READ)
        entry->read = page;
    if ((may & BT_TLB_MAY_WRITE) && guest.host_write == guest.host_read &&
        guest_page_is_noted(&guest))
        publish_write_tag(cpu, entry, page, physical);
    return note;
}

void bt_mmu_regain_write(BtCpu *cpu, uint64_t linear, unsigned mmu)
{
    uint64_t page = linear & ~UINT64_C(0xfff);
    BtTlb *tlb = cpu->tlb[mmu];
    unsigned index = bt_tlb_index(page);
    BtTlbEntry *entry = &tlb->entry[index];
    const BtTlbNote *note = &tlb->note[index];
    // A page that is watched has no read tag either.
    if (note->page == page && (note->frame & BT_TLB_MAY_WRITE) && entry->read == page)
        publish_write_tag(cpu, entry, page, bt_tlb_physical(note));
}

uint64_t bt_fetch_page(BtCpu *cpu, uint64_t linear, const uint8_t **ret_host)
{
    unsigned mmu = cpu->cpl == 3 ? BT_MMU_USER : BT_MMU_SUPERVISOR;
    uint64_t page = linear & ~UINT64_C(0xfff);
    const BtTlbNote *note = bt_mmu_note(cpu, linear, BT_TLB_MAY_EXECUTE, mmu);
    BtFetched *fetched = mmu == BT_MMU_USER ? &cpu->mmu->current->fetched : &cpu->mmu->fetched;
    fetched_note(fetched, page, note->frame & BT_TLB_GLOBAL);
    const BtTlbEntry *entry = bt_tlb_entry(cpu->tlb[mmu], page);
    *ret_host = entry->addend ? (const uint8_t *)(page + entry->addend) : NULL;
    return bt_tlb_physical(note);
}

// ---- Invalidations ----

static uint32_t bank_key(const BtCpu *cpu)
{
    return cpu->cr4 & BT_CR4_PCIDE ? cpu->cr3 & 0xfff : 0;
}

void bt_tlb_flush_all(BtCpu *cpu)
{
    BtMmu *mmu = cpu->mmu;
    bt_walk_forget(cpu);
    bt_range_drop_all(cpu);
    renew_supervisor(cpu);
    table_flush(&mmu->supervisor, true);
    table_flush(&mmu->no_smap, true);
    for (unsigned i = 0; i < BT_BANKS; i++)
        bank_flush(cpu, &mmu->bank[i], true);
    // The control registers may be others than the bank was chosen for.
    if (mmu->current->key != bank_key(cpu)) {
        BtBank *bank = bank_find(mmu, bank_key(cpu));
        bank_load(cpu, bank ? bank : bank_take(cpu, bank_key(cpu)));
    }
}

// What is not global, of CPL 0..2.
static void flush_local(BtCpu *cpu)
{
    if (cpu->mmu->fetched.local)
        renew_supervisor(cpu);
    table_flush(&cpu->mmu->supervisor, false);
    table_flush(&cpu->mmu->no_smap, false);
}

void bt_tlb_flush_non_global(BtCpu *cpu)
{
    bt_walk_forget(cpu);
    bt_range_drop_local(cpu);
    flush_local(cpu);
    for (unsigned i = 0; i < BT_BANKS; i++)
        bank_flush(cpu, &cpu->mmu->bank[i], false);
}

void bt_tlb_flush_pcid(BtCpu *cpu, unsigned pcid)
{
    BtBank *bank = bank_find(cpu->mmu, pcid);
    bt_walk_forget(cpu);
    bt_range_drop_local(cpu);
    if (bank)
        bank_flush(cpu, bank, false);
    if (!bank || bank == cpu->mmu->current)
        flush_local(cpu);
}

void bt_tlb_switch(BtCpu *cpu, bool keep)
{
    BtMmu *mmu = cpu->mmu;
    uint32_t key = bank_key(cpu);
    bt_walk_forget(cpu);
    bt_range_drop_local(cpu);
    flush_local(cpu);
    BtBank *bank = bank_find(mmu, key);
    if (!bank)
        bank = bank_take(cpu, key);
    else if (!keep)
        bank_flush(cpu, bank, false);
    if (bank != mmu->current)
        bank_load(cpu, bank);
}

void bt_tlb_flush_page(BtCpu *cpu, uint64_t linear)
{
    BtMmu *mmu = cpu->mmu;
    uint64_t page = linear & ~UINT64_C(0xfff);
    bt_walk_forget(cpu);
    bt_range_drop_page(cpu, page);
    bool large = page >= mmu->supervisor.large_low && page <= mmu->supervisor.large_high;
    if (fetched_has(&mmu->fetched, page, large))
        renew_supervisor(cpu);
    table_drop_page(&mmu->supervisor, page);
    table_drop_page(&mmu->no_smap, page);
    for (unsigned i = 0; i < BT_BANKS; i++) {
        BtBank *bank = &mmu->bank[i];
        if (bank->key == BT_BANK_FREE)
            continue;
        large = page >= bank->tlb.large_low && page <= bank->tlb.large_high;
        if (fetched_has(&bank->fetched, page, large))
            renew_bank(cpu, bank);
        table_drop_page(&bank->tlb, page);
    }
}

// ---- Creation ----

void bt_mmu_create(BtCpu *cpu)
{
    BtMmu *mmu = mmap(NULL, sizeof *mmu, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mmu == MAP_FAILED)
        g_error("out of address space for a virtual CPU's TLB"); // as g_malloc does
    cpu->mmu = mmu;
    mmu->walk_generation = 1;
    bt_tlb_init(&mmu->supervisor);
    bt_tlb_init(&mmu->no_smap);
    bt_tlb_init(&mmu->none);
    bt_range_init(cpu);
    fetched_clear(&mmu->fetched);
    for (unsigned i = 0; i < BT_BANKS; i++)
        mmu->bank[i].key = BT_BANK_FREE;
    cpu->tlb[BT_MMU_SUPERVISOR] = &mmu->supervisor;
    cpu->tlb[BT_MMU_SUPERVISOR_NO_SMAP] = &mmu->no_smap;
    cpu->tlb[BT_MMU_USER_ALIGNED] = &mmu->none;
    bank_load(cpu, bank_take(cpu, 0));
}

void bt_mmu_destroy(BtCpu *cpu)
{
    if (cpu->mmu) {
        bt_mirror_destroy(cpu);
        munmap(cpu->mmu, sizeof *cpu->mmu);
    }
    cpu->mmu = NULL;
    memset(cpu->tlb, 0, sizeof cpu->tlb);
}

void bt_mmu_service(BtCpu *cpu)
{
    __atomic_fetch_and(&cpu->request, ~(uint32_t)(BT_REQUEST_TLB_FLUSH | BT_REQUEST_A20),
                       __ATOMIC_SEQ_CST);
    cpu->a20_mask = __atomic_load_n(&cpu->vm->a20_mask, __ATOMIC_ACQUIRE);
    bt_tlb_flush_all(cpu);
    bt_mirror_drop_all(cpu);
}

void bt_vm_request(BtVm *vm, uint32_t request)
{
    unsigned count = __atomic_load_n(&vm->cpu_count, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < count; i++) {
        BtCpu *cpu = __atomic_load_n(&vm->cpu[i], __ATOMIC_ACQUIRE);
        if (cpu)
            __atomic_fetch_or(&cpu->request, request, __ATOMIC_SEQ_CST);
    }
}
