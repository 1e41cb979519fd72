// SPDX-License-Identifier: GPL-2.0-or-later
// Walks of the guest's page tables (32-bit with PSE and PSE-36, PAE, 4-level), after SDM vol. 3A,
// chapter 4. Not here: the TLB (bt-mmu.c).
//
// A walk reads entries with atomic loads and sets A and D with a compare-and-swap on the value that
// it read, so that it never loses another CPU's or the guest's change; where the swap fails, the
// walk starts again. A and D are set only when the access is allowed, as processors do it.
//
// The page table that a walk ended in is kept, with the rights of the levels above it: the next
// walk through it reads one entry. That is the processor's paging-structure cache (vol. 3A, 4.10.3)
// and goes with every invalidation, whatever it names. Only tables in plain RAM whose upper entries
// have A set get there.
#include "engine/vcpu/bt/bt-walk.h"

#include "engine/vcpu/bt/bt-block.h"

#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-mmu.h"
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
    BtWalk result;
    WalkStep step[4];
    unsigned steps;
} Walk;

// ---- Entries in memory ----

static uint64_t entry_load(const uint8_t *host, unsigned size)
{
    return size == 8 ? __atomic_load_n((const uint64_t *)host, __ATOMIC_ACQUIRE)
                     : __atomic_load_n((const uint32_t *)host, __ATOMIC_ACQUIRE);
}

static uint64_t entry_read(BtCpu *cpu, uint64_t address, unsigned size)
{
    address &= cpu->a20_mask;
    GuestPage page = guest_memory_page(cpu->config->memory, address);
    if (!page.host_read)
        return bt_physical_read(cpu, address, size);
    return entry_load(page.host_read + (address & 0xfff), size);
}

// Tables may hold code: where the instruction that walks is in it, the rest of its block goes by
// what was decoded before. Then it runs once more, alone. The last one of a block may be one that
// cannot begin again (a task switch), and nothing follows it.
static void leave_own_block(BtCpu *cpu, uint64_t address, unsigned size)
{
    const BtBlock *block = cpu->block;
    if (block && cpu->insn && cpu->insn != &block->insn[block->count - 1] &&
        bt_code_is_written(cpu))
        bt_vm_check_own_block(cpu, address, size);
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
        // No instruction that stores ends the block or unit here, so somebody has to notice.
        bool checked = bt_vm_page_is_checked(cpu->vm, address);
        bt_vm_code_changed(cpu->vm, address, step->size,
                           checked ? BT_WRITER_DEVICE : BT_WRITER_CPU);
        leave_own_block(cpu, address, step->size);
    }
    return done;
}

// ---- Tables that walks ended in ----

static BtWalkCache *cache_slot(const BtCpu *cpu, uint64_t linear, unsigned shift, uint64_t *ret_tag)
{
    uint32_t table = (uint32_t)(linear >> shift);
    *ret_tag = (uint64_t)cpu->mmu->walk_generation << 32 | table;
    return &cpu->mmu->walk[table % BT_WALK_CACHE_SIZE];
}

static void cache_enter(BtCpu *cpu, uint64_t linear, unsigned shift, uint64_t table,
                        const BtWalk *above)
{
    GuestPage page = guest_memory_page(cpu->config->memory, table & cpu->a20_mask);
    if (!page.host_read)
        return;
    uint64_t tag;
    BtWalkCache *cache = cache_slot(cpu, linear, shift, &tag);
    *cache = (BtWalkCache){ tag, page.host_read, table, above->user, above->writable,
                            above->no_execute };
}

static const BtWalkCache *cache_find(const BtCpu *cpu, uint64_t linear, unsigned shift)
{
    uint64_t tag;
    const BtWalkCache *cache = cache_slot(cpu, linear, shift, &tag);
    return cache->tag == tag ? cache : NULL;
}

void bt_walk_forget(BtCpu *cpu)
{
    // Generation 0 is that of entries never used.
    if (++cpu->mmu->walk_generation == 0) {
        memset(cpu->mmu->walk, 0, sizeof cpu->mmu->walk);
        cpu->mmu->walk_generation = 1;
    }
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

static void add_rights(BtWalk *walk, uint64_t entry)
{
    walk->user &= (entry & PTE_U) != 0;
    walk->writable &= (entry & PTE_W) != 0;
    walk->no_execute |= (entry & PTE_NX) != 0;
}

static void end_walk(const BtCpu *cpu, BtWalk *walk, uint64_t entry, unsigned page_bits)
{
    walk->dirty = entry & PTE_D;
    walk->global = (entry & PTE_G) && (cpu->cr4 & BT_CR4_PGE);
    walk->page_bits = page_bits;
}

// The last entry of a walk that begins at a cached table. False: not present or reserved, the walk
// from the root says what is wrong.
static bool walk_cached(BtCpu *cpu, uint64_t linear, Walk *walk)
{
    bool wide = cpu->cr4 & BT_CR4_PAE;
    const BtWalkCache *cache = cache_find(cpu, linear, wide ? 21 : 22);
    if (!cache)
        return false;
    uint64_t at = wide ? (linear >> 12 & 0x1ff) * 8 : (linear >> 12 & 0x3ff) * 4;
    uint64_t entry = entry_load(cache->host + at, wide ? 8 : 4);
    if (!(entry & PTE_P) || (wide && (entry & reserved_bits(cpu))))
        return false;
    BtWalk *w = &walk->result;
    *w = (BtWalk){ .user = cache->user, .writable = cache->writable,
                   .no_execute = cache->no_execute };
    add_rights(w, wide ? entry : entry & 0xffffffff);
    w->physical = wide ? entry & physical_mask(cpu) : entry & 0xfffff000;
    end_walk(cpu, w, entry, 12);
    walk->step[0] = (WalkStep){ cache->physical + at, entry, wide ? 8 : 4 };
    walk->steps = 1;
    return true;
}

static bool walk_64(BtCpu *cpu, uint64_t linear, Walk *walk, uint64_t *ret_table, uint32_t *error)
{
    bool long_mode = cpu->efer & BT_EFER_LMA;
    unsigned level = long_mode ? 3 : 1;
    uint64_t table = long_mode ? cpu->cr3 & physical_mask(cpu) : 0;
    uint64_t reserved = reserved_bits(cpu);
    bool huge = cpuid_model_has(cpu->config->cpuid, CPU_FEATURE_PAGE_1G);
    BtWalk *w = &walk->result;

    *w = (BtWalk){ .user = true, .writable = true };
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
        add_rights(w, entry);
        if (level == 0 || large) {
            uint64_t offset = (BT_BIT(shift) - 1) & ~UINT64_C(0xfff);
            w->physical = (entry & physical_mask(cpu) & ~offset) | (linear & offset);
            end_walk(cpu, w, entry, shift);
            *ret_table = table;
            return true;
        }
        table = entry & physical_mask(cpu);
    }
}

static bool walk_32(BtCpu *cpu, uint64_t linear, Walk *walk, uint64_t *ret_table, uint32_t *error)
{
    uint64_t address = (cpu->cr3 & 0xfffff000) + (linear >> 22 & 0x3ff) * 4;
    uint64_t entry = entry_read(cpu, address, 4);
    BtWalk *w = &walk->result;
    *w = (BtWalk){ .user = true, .writable = true };
    if (!(entry & PTE_P))
        return *error = 0, false;
    walk->step[0] = (WalkStep){ address, entry, 4 };
    add_rights(w, entry);
    if ((entry & PTE_PS) && (cpu->cr4 & BT_CR4_PSE)) {
        // PSE-36: bits 13.. of the entry are bits 32.. of the address, as far as those exist.
        unsigned high_bits = MIN(cpu->config->cpuid->physical_bits, 40) - 32;
        uint64_t high = entry >> 13 & 0xff;
        if ((entry & BT_BIT(21)) || high >> high_bits)
            return *error = BT_PF_PRESENT | BT_PF_RESERVED, false;
        w->physical = (entry & 0xffc00000) | high << 32 | (linear & 0x3ff000);
        walk->steps = 1;
        end_walk(cpu, w, entry, 22);
        return true;
    }
    *ret_table = entry & 0xfffff000;
    address = *ret_table + (linear >> 12 & 0x3ff) * 4;
    entry = entry_read(cpu, address, 4);
    if (!(entry & PTE_P))
        return *error = 0, false;
    walk->step[1] = (WalkStep){ address, entry, 4 };
    add_rights(w, entry);
    w->physical = entry & 0xfffff000;
    walk->steps = 2;
    end_walk(cpu, w, entry, 12);
    return true;
}

// ---- Permissions ----

// What the page allows under the MMU index, as BT_TLB_MAY_*; MAY_WRITE regardless of D.
static uint32_t permissions(const BtCpu *cpu, const BtWalk *walk, unsigned mmu)
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

uint32_t bt_walk(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu, BtWalk *ret_walk)
{
    if (!(cpu->cr0 & BT_CR0_PG)) {
        *ret_walk = (BtWalk){ .physical = linear & 0xfffff000, .page_bits = 12 };
        return BT_TLB_MAY_READ | BT_TLB_MAY_WRITE | BT_TLB_MAY_EXECUTE;
    }
    bool wide = cpu->cr4 & BT_CR4_PAE;
    Walk walk;
    for (bool cached = true;; cached = false) {
        uint64_t table = 0;
        uint32_t error = 0;
        cached = cached && walk_cached(cpu, linear, &walk);
        bool found = cached || (wide ? walk_64(cpu, linear, &walk, &table, &error)
                                     : walk_32(cpu, linear, &walk, &table, &error));
        if (!found)
            page_fault(cpu, linear, access, mmu, error);
        const BtWalk *w = &walk.result;
        uint32_t may = permissions(cpu, w, mmu);
        if (!(may & access)) {
            // The rights of the levels above may be old.
            if (cached)
                continue;
            page_fault(cpu, linear, access, mmu, BT_PF_PRESENT);
        }
        bool again = false;
        for (unsigned i = 0; i < walk.steps && !again; i++) {
            uint64_t bits = PTE_A;
            if (i == walk.steps - 1 && access == BT_TLB_MAY_WRITE)
                bits |= PTE_D;
            if (bits & ~walk.step[i].value)
                again = !entry_set(cpu, &walk.step[i], bits);
        }
        if (again)
            continue;
        if (!cached && w->page_bits == 12) {
            // The rights of the levels above the last.
            BtWalk above = { .user = true, .writable = true };
            for (unsigned i = 0; i + 1 < walk.steps; i++)
                add_rights(&above, walk.step[i].value);
            cache_enter(cpu, linear, wide ? 21 : 22, table, &above);
        }
        if (!w->dirty && access != BT_TLB_MAY_WRITE)
            may &= ~(uint32_t)BT_TLB_MAY_WRITE;
        *ret_walk = *w;
        return may;
    }
}

bool bt_walk_probe(BtCpu *cpu, uint64_t linear, unsigned access, unsigned mmu, BtWalk *ret_walk)
{
    if (!(cpu->cr0 & BT_CR0_PG)) {
        *ret_walk = (BtWalk){ .physical = linear & 0xfffff000, .page_bits = 12 };
        return true;
    }
    Walk walk;
    uint64_t table;
    uint32_t error;
    if (!walk_cached(cpu, linear, &walk) &&
        !(cpu->cr4 & BT_CR4_PAE ? walk_64(cpu, linear, &walk, &table, &error)
                                : walk_32(cpu, linear, &walk, &table, &error)))
        return false;
    for (unsigned i = 0; i < walk.steps; i++) {
        if (!(walk.step[i].value & PTE_A))
            return false;
    }
    *ret_walk = walk.result;
    return (permissions(cpu, &walk.result, mmu) & access) &&
           (access != BT_TLB_MAY_WRITE || walk.result.dirty);
}

// ---- PAE's page-directory-pointer entries ----

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
