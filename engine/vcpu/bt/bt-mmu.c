// SPDX-License-Identifier: GPL-2.0-or-later
// Paging: walks of the guest's page tables (32-bit with PSE and PSE-36, PAE, 4-level), the software
// TLB that they fill, and its flushes. Not here: what an access does once it is translated
// (bt-access.c). Follows SDM vol. 3A, chapter 4.
//
// A walk reads entries with atomic loads and sets A and D with a compare-and-swap on the value that
// it read, so that it never loses another CPU's or the guest's change; where the swap fails, the
// walk starts again. A and D are set only when the access is allowed, as processors do it.
//
// There is no PCID tag in the TLB: a load of CR3 drops all but global translations, whatever bit 63
// says. That is always allowed (vol. 3A, 4.10.4.1).
#include "engine/vcpu/bt/bt-mmu.h"

#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-registers.h"

enum {
    PTE_P = 1 << 0,
    PTE_W = 1 << 1,
    PTE_U = 1 << 2,
    PTE_A = 1 << 5,
    PTE_D = 1 << 6,
    PTE_PS = 1 << 7,
    PTE_G = 1 << 8,
};
#define PTE_NX BT_BIT(63)

// A paging-structure entry that a walk used, for setting A and D.
typedef struct {
    uint64_t address;
    uint64_t value;
    unsigned size;
} WalkStep;

typedef struct {
    uint64_t physical; // of the 4 KiB page
    bool user, writable, no_execute, dirty, global;
    unsigned page_bits; // 12, 21, 22, 30
    WalkStep step[4];
    unsigned steps;
} Walk;

// ---- Entries in memory ----

static uint64_t entry_read(BtCpu *cpu, uint64_t address, unsigned size)
{
    address &= cpu->a20_mask;
    GuestPage page = guest_memory_page(cpu->config->memory, address);
    if (!page.host_read)
        return bt_physical_read(cpu, address, size);
    const void *host = page.host_read + (address & 0xfff);
    return size == 8 ? __atomic_load_n((const uint64_t *)host, __ATOMIC_ACQUIRE)
                     : __atomic_load_n((const uint32_t *)host, __ATOMIC_ACQUIRE);
}

// Sets bits in an entry. False: the entry has changed, the walk must start again.
static bool entry_set(BtCpu *cpu, const WalkStep *step, uint64_t bits)
{
    uint64_t address = step->address & cpu->a20_mask;
    GuestPage page = guest_memory_page(cpu->config->memory, address);
    if (!page.host_read || page.host_read != page.host_write) {
        // Tables in ROM or a device: what real hardware does there is a plain write.
        bt_physical_write(cpu, address, step->size, step->value | bits);
        return true;
    }
    void *host = page.host_write + (address & 0xfff);
    bool done;
    if (step->size == 8) {
        uint64_t old = step->value;
        done = __atomic_compare_exchange_n((uint64_t *)host, &old, old | bits, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    } else {
        uint32_t old = (uint32_t)step->value;
        done = __atomic_compare_exchange_n((uint32_t *)host, &old, old | (uint32_t)bits, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    if (done) {
        if (page.dirty)
            __atomic_store_n(page.dirty, 1, __ATOMIC_RELAXED);
        bt_vm_code_written(cpu->vm, address, step->size);
    }
    return done;
}

// ---- The walks: false with *error (RESERVED and PRESENT bits only) where they end in a fault ----

static uint64_t physical_mask(const BtCpu *cpu)
{
    return (BT_BIT(cpu->config->cpuid->physical_bits) - 1) & ~UINT64_C(0xfff);
}

// Bits that must be 0 in every 64-bit entry.
static uint64_t reserved_bits(const BtCpu *cpu)
{
    uint64_t reserved = UINT64_C(0x000ffffffffff000) & ~physical_mask(cpu);
    if (!(cpu->efer & BT_EFER_NXE))
        reserved |= PTE_NX;
    if (!(cpu->efer & BT_EFER_LMA))
        reserved |= UINT64_C(0x7ff0000000000000);
    return reserved;
}

static bool walk_64(BtCpu *cpu, uint64_t linear, Walk *walk, uint32_t *error)
{
    bool long_mode = cpu->efer & BT_EFER_LMA;
    unsigned level = long_mode ? 3 : 1;
    uint64_t table = long_mode ? cpu->cr3 & physical_mask(cpu) : 0;
    uint64_t reserved = reserved_bits(cpu);
    bool huge = cpuid_model_has(cpu->config->cpuid, CPU_FEATURE_PAGE_1G);

    walk->user = walk->writable = true;
    walk->no_execute = false;
    walk->steps = 0;
    if (!long_mode) {
        uint64_t pdpte = cpu->pdpte[linear >> 30 & 3];
        if (!(pdpte & PTE_P))
            return *error = 0, false;
        table = pdpte & physical_mask(cpu);
    }
    for (;; level--) {
        unsigned shift = 12 + 9 * level;
        uint64_t address = table + (linear >> shift & 0x1ff) * 8;
        uint64_t entry = entry_read(cpu, address, 8);
        if (!(entry & PTE_P))
            return *error = 0, false;
        bool large = level > 0 && (entry & PTE_PS);
        uint64_t forbidden = reserved;
        if (large) {
            // PS itself is reserved in a PML4 entry, and in a PDPT entry without 1 GiB pages.
            if (level == 3 || (level == 2 && !huge))
                forbidden |= PTE_PS;
            forbidden |= (BT_BIT(shift) - 1) & ~UINT64_C(0x1fff);
        }
        if (entry & forbidden)
            return *error = BT_PF_PRESENT | BT_PF_RESERVED, false;
        walk->step[walk->steps++] = (WalkStep){ address, entry, 8 };
        walk->user &= (entry & PTE_U) != 0;
        walk->writable &= (entry & PTE_W) != 0;
        walk->no_execute |= (entry & PTE_NX) != 0;
        if (level == 0 || large) {
            uint64_t offset = (BT_BIT(shift) - 1) & ~UINT64_C(0xfff);
            walk->physical = (entry & physical_mask(cpu) & ~offset) | (linear & offset);
            walk->dirty = entry & PTE_D;
            walk->global = (entry & PTE_G) && (cpu->cr4 & BT_CR4_PGE);
            walk->page_bits = shift;
            return true;
        }
        table = entry & physical_mask(cpu);
    }
}

static bool walk_32(BtCpu *cpu, uint64_t linear, Walk *walk, uint32_t *error)
{
    uint64_t address = (cpu->cr3 & 0xfffff000) + (linear >> 22 & 0x3ff) * 4;
    uint64_t entry = entry_read(cpu, address, 4);
    walk->no_execute = false;
    if (!(entry & PTE_P))
        return *error = 0, false;
    walk->step[0] = (WalkStep){ address, entry, 4 };
    walk->user = entry & PTE_U;
    walk->writable = entry & PTE_W;
    if ((entry & PTE_PS) && (cpu->cr4 & BT_CR4_PSE)) {
        // PSE-36: bits 13.. of the entry are bits 32.. of the address, as far as those exist.
        unsigned high_bits = MIN(cpu->config->cpuid->physical_bits, 40) - 32;
        uint64_t high = entry >> 13 & 0xff;
        if ((entry & BT_BIT(21)) || high >> high_bits)
            return *error = BT_PF_PRESENT | BT_PF_RESERVED, false;
        walk->physical = (entry & 0xffc00000) | high << 32 | (linear & 0x3ff000);
        walk->page_bits = 22;
        walk->steps = 1;
    } else {
        address = (entry & 0xfffff000) + (linear >> 12 & 0x3ff) * 4;
        entry = entry_read(cpu, address, 4);
        if (!(entry & PTE_P))
            return *error = 0, false;
        walk->step[1] = (WalkStep){ address, entry, 4 };
        walk->user &= (entry & PTE_U) != 0;
        walk->writable &= (entry & PTE_W) != 0;
        walk->physical = entry & 0xfffff000;
        walk->page_bits = 12;
        walk->steps = 2;
    }
    walk->dirty = entry & PTE_D;
    walk->global = (entry & PTE_G) && (cpu->cr4 & BT_CR4_PGE);
    return true;
}

// ---- Permissions ----

// What the page allows under the MMU index, as BT_TLB_MAY_*; MAY_WRITE regardless of D.
static uint32_t permissions(const BtCpu *cpu, const Walk *walk, unsigned mmu)
{
    uint32_t may = 0;
    if (mmu == BT_MMU_USER) {
        if (walk->user)
            may = BT_TLB_MAY_READ | (walk->writable ? BT_TLB_MAY_WRITE : 0) |
                  (walk->no_execute ? 0 : BT_TLB_MAY_EXECUTE);
        return may;
    }
    bool smap = (cpu->cr4 & BT_CR4_SMAP) && mmu == BT_MMU_SUPERVISOR;
    if (!(walk->user && smap)) {
        may |= BT_TLB_MAY_READ;
        if (walk->writable || !(cpu->cr0 & BT_CR0_WP))
            may |= BT_TLB_MAY_WRITE;
    }
    if (!walk->no_execute && !(walk->user && (cpu->cr4 & BT_CR4_SMEP)))
        may |= BT_TLB_MAY_EXECUTE;
    return may;
}

static _Noreturn void page_fault(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu,
                                 uint32_t error)
{
    if (access == BT_TLB_MAY_WRITE)
        error |= BT_PF_WRITE;
    if (mmu == BT_MMU_USER)
        error |= BT_PF_USER;
    if (access == BT_TLB_MAY_EXECUTE &&
        (((cpu->cr4 & BT_CR4_PAE) && (cpu->efer & BT_EFER_NXE)) || (cpu->cr4 & BT_CR4_SMEP)))
        error |= BT_PF_FETCH;
    bt_raise_page_fault(cpu, linear, error);
}

// Walks and checks. Raises #PF, or fills `walk` and returns BT_TLB_MAY_*; MAY_WRITE only where D is
// set (it is set here where access is a write).
static uint32_t translate(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu, Walk *walk)
{
    if (!(cpu->cr0 & BT_CR0_PG)) {
        *walk = (Walk){ .physical = linear & 0xfffff000, .page_bits = 12 };
        return BT_TLB_MAY_READ | BT_TLB_MAY_WRITE | BT_TLB_MAY_EXECUTE;
    }
    for (;;) {
        uint32_t error;
        bool found = cpu->cr4 & BT_CR4_PAE ? walk_64(cpu, linear, walk, &error)
                                           : walk_32(cpu, linear, walk, &error);
        if (!found)
            page_fault(cpu, linear, access, mmu, error);
        uint32_t may = permissions(cpu, walk, mmu);
        if (!(may & access))
            page_fault(cpu, linear, access, mmu, BT_PF_PRESENT);

        bool again = false;
        for (unsigned i = 0; i < walk->steps && !again; i++) {
            uint64_t bits = PTE_A;
            if (i == walk->steps - 1 && access == BT_TLB_MAY_WRITE)
                bits |= PTE_D;
            if (bits & ~walk->step[i].value)
                again = !entry_set(cpu, &walk->step[i], bits);
        }
        if (again)
            continue;
        if (!walk->dirty && access != BT_TLB_MAY_WRITE)
            may &= ~BT_TLB_MAY_WRITE;
        return may;
    }
}

// ---- The TLB ----

static void entry_clear(BtTlbEntry *entry)
{
    __atomic_store_n(&entry->write, BT_TLB_NONE, __ATOMIC_RELAXED);
    entry->read = entry->execute = entry->slow = BT_TLB_NONE;
    entry->may = 0;
}

static void table_flush(BtTlb *tlb, bool global_too)
{
    for (unsigned word = 0; word < BT_TLB_WORDS; word++) {
        uint64_t keep = 0;
        for (uint64_t left = tlb->used[word]; left; left &= left - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(left);
            BtTlbEntry *entry = &tlb->entry[word * 64 + bit];
            if (!global_too && (entry->may & BT_TLB_GLOBAL))
                keep |= BT_BIT(bit);
            else
                entry_clear(entry);
        }
        tlb->used[word] = keep;
    }
    if (global_too) {
        tlb->large_low = UINT64_MAX;
        tlb->large_high = 0;
    }
}

static void table_init(BtTlb *tlb)
{
    for (unsigned i = 0; i < BT_TLB_SIZE; i++)
        entry_clear(&tlb->entry[i]);
    memset(tlb->used, 0, sizeof tlb->used);
    tlb->large_low = UINT64_MAX;
    tlb->large_high = 0;
}

// A data breakpoint watches a byte of the page: its accesses take the slow path.
static bool page_is_watched(const BtCpu *cpu, uint64_t page)
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

BtTlbEntry *bt_mmu_fill(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu)
{
    uint64_t page = linear & ~UINT64_C(0xfff);
    Walk walk;
    uint32_t may = translate(cpu, linear, access, mmu, &walk);
    uint64_t physical = walk.physical & cpu->a20_mask;
    GuestPage guest = guest_memory_page(cpu->config->memory, physical);
    cpu->stats.tlb_misses++;

    BtTlb *tlb = &cpu->tlb[mmu];
    unsigned slot = page >> 12 & (BT_TLB_SIZE - 1);
    BtTlbEntry *entry = &tlb->entry[slot];
    // bt_vm_protect_page looks at `physical` and `write` of other CPUs' entries under tlb_lock.
    pthread_mutex_lock(&cpu->vm->tlb_lock);
    entry_clear(entry);
    entry->physical = physical;
    entry->addend = guest.host_read ? (uintptr_t)guest.host_read - page : 0;
    if (guest.host_read && !page_is_watched(cpu, page)) {
        if (may & BT_TLB_MAY_READ)
            entry->read = page;
        if (may & BT_TLB_MAY_EXECUTE)
            entry->execute = page;
        if ((may & BT_TLB_MAY_WRITE) && guest.host_write == guest.host_read && !guest.dirty &&
            !bt_vm_page_has_code(cpu->vm, physical))
            __atomic_store_n(&entry->write, page, __ATOMIC_RELAXED);
    } else if (guest.host_read && (may & BT_TLB_MAY_EXECUTE)) {
        entry->execute = page;
    }
    pthread_mutex_unlock(&cpu->vm->tlb_lock);
    entry->slow = page;
    entry->may = may | (walk.global ? BT_TLB_GLOBAL : 0) |
                 walk.page_bits << BT_TLB_PAGE_BITS_SHIFT;
    tlb->used[slot / 64] |= BT_BIT(slot % 64);
    if (walk.page_bits > 12) {
        uint64_t low = linear & ~(BT_BIT(walk.page_bits) - 1);
        tlb->large_low = MIN(tlb->large_low, low);
        tlb->large_high = MAX(tlb->large_high, low + (BT_BIT(walk.page_bits) - 1));
    }
    return entry;
}

uint64_t bt_fetch_page(BtCpu *cpu, uint64_t linear, const uint8_t **ret_host)
{
    unsigned mmu = cpu->cpl == 3 ? BT_MMU_USER : BT_MMU_SUPERVISOR;
    uint64_t page = linear & ~UINT64_C(0xfff);
    BtTlbEntry *entry = &cpu->tlb[mmu].entry[page >> 12 & (BT_TLB_SIZE - 1)];
    if (entry->slow != page || !(entry->may & BT_TLB_MAY_EXECUTE))
        entry = bt_mmu_fill(cpu, linear, BT_TLB_MAY_EXECUTE, mmu);
    unsigned epoch = mmu == BT_MMU_USER ? BT_EPOCH_USER : BT_EPOCH_SUPERVISOR;
    if (epoch == BT_EPOCH_SUPERVISOR && !(entry->may & BT_TLB_GLOBAL))
        cpu->local_supervisor_code = true;
    cpu->code_low[epoch] = MIN(cpu->code_low[epoch], page);
    cpu->code_high[epoch] = MAX(cpu->code_high[epoch], page);
    *ret_host = entry->addend ? (const uint8_t *)(page + entry->addend) : NULL;
    return entry->physical;
}

static void renew_epoch(BtCpu *cpu, unsigned which)
{
    bt_chain_renew(cpu, which);
    cpu->code_low[which] = UINT64_MAX;
    cpu->code_high[which] = 0;
    if (which == BT_EPOCH_SUPERVISOR)
        cpu->local_supervisor_code = false;
}

void bt_tlb_flush_all(BtCpu *cpu)
{
    renew_epoch(cpu, BT_EPOCH_SUPERVISOR);
    renew_epoch(cpu, BT_EPOCH_USER);
    for (unsigned i = 0; i < BT_MMU_INDEXES; i++)
        table_flush(&cpu->tlb[i], true);
}

void bt_tlb_flush_non_global(BtCpu *cpu)
{
    if (cpu->local_supervisor_code)
        renew_epoch(cpu, BT_EPOCH_SUPERVISOR);
    renew_epoch(cpu, BT_EPOCH_USER);
    for (unsigned i = 0; i < BT_MMU_INDEXES; i++)
        table_flush(&cpu->tlb[i], false);
}

// Drops what INVLPG of `page` must drop: its entry, and every 4 KiB entry out of a large page that
// covers it.
static void table_flush_page(BtTlb *tlb, uint64_t page)
{
    unsigned slot = page >> 12 & (BT_TLB_SIZE - 1);
    if (tlb->entry[slot].slow == page) {
        entry_clear(&tlb->entry[slot]);
        tlb->used[slot / 64] &= ~BT_BIT(slot % 64);
    }
    if (page < tlb->large_low || page > tlb->large_high)
        return;
    for (unsigned word = 0; word < BT_TLB_WORDS; word++) {
        for (uint64_t left = tlb->used[word]; left; left &= left - 1) {
            BtTlbEntry *entry = &tlb->entry[word * 64 + (unsigned)__builtin_ctzll(left)];
            if ((entry->slow ^ page) >> (entry->may >> BT_TLB_PAGE_BITS_SHIFT) == 0) {
                entry_clear(entry);
                tlb->used[word] &= ~(left & -left);
            }
        }
    }
}

void bt_tlb_flush_page(BtCpu *cpu, uint64_t linear)
{
    uint64_t page = linear & ~UINT64_C(0xfff);
    for (unsigned i = 0; i < BT_MMU_INDEXES; i++)
        table_flush_page(&cpu->tlb[i], page);
    for (unsigned i = 0; i < 2; i++) {
        if (page >= cpu->code_low[i] && page <= cpu->code_high[i])
            renew_epoch(cpu, i);
    }
}

void bt_mmu_create(BtCpu *cpu)
{
    cpu->tlb = g_new(BtTlb, BT_MMU_INDEXES);
    for (unsigned i = 0; i < BT_MMU_INDEXES; i++)
        table_init(&cpu->tlb[i]);
}

void bt_mmu_destroy(BtCpu *cpu)
{
    g_clear_pointer(&cpu->tlb, g_free);
}

void bt_mmu_service(BtCpu *cpu)
{
    __atomic_fetch_and(&cpu->request, ~(uint32_t)(BT_REQUEST_TLB_FLUSH | BT_REQUEST_A20),
                       __ATOMIC_SEQ_CST);
    cpu->a20_mask = __atomic_load_n(&cpu->vm->a20_mask, __ATOMIC_ACQUIRE);
    bt_tlb_flush_all(cpu);
}

// False: present, with a reserved bit (vol. 3A, table 4-8: bits 1, 2, 5..8, above MAXPHYADDR).
static bool pdpte_valid(const BtCpu *cpu, uint64_t pdpte)
{
    uint64_t reserved = UINT64_C(0x1e6) | (~physical_mask(cpu) & ~UINT64_C(0xfff));
    return !(pdpte & PTE_P) || !(pdpte & reserved);
}

bool bt_mmu_pdptes_valid(BtCpu *cpu, uint64_t cr3, uint64_t ret_pdpte[4])
{
    uint64_t pdpte[4];
    for (unsigned i = 0; i < 4; i++) {
        pdpte[i] = entry_read(cpu, (cr3 & 0xffffffe0) + i * 8, 8);
        if (!pdpte_valid(cpu, pdpte[i]))
            return false;
    }
    memcpy(ret_pdpte, pdpte, sizeof pdpte);
    return true;
}

void bt_mmu_reload_pdptes(BtCpu *cpu)
{
    memset(cpu->pdpte, 0, sizeof cpu->pdpte);
    if (!(cpu->cr0 & BT_CR0_PG) || !(cpu->cr4 & BT_CR4_PAE) || (cpu->efer & BT_EFER_LMA))
        return;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t pdpte = entry_read(cpu, (cpu->cr3 & 0xffffffe0) + i * 8, 8);
        if (pdpte_valid(cpu, pdpte))
            cpu->pdpte[i] = pdpte;
    }
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
