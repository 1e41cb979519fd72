// SPDX-License-Identifier: GPL-2.0-or-later
// The TLB from inside: tags, banks and what drops them, write tags and code pages. What a guest
// sees of all this, bt-mmu-test.c tests.
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-registers.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };

// Tables of a second address space, which maps the first 2 MiB like the first, 64 KiB higher.
enum { PML4_B = 0x18000, PDPT_B = 0x19000, PD_B = 0x1a000, PT_B = 0x1b000, SHIFT_B = 0x10000 };

static BtCpu *cpu_of(Machine *m, unsigned index)
{
    return (BtCpu *)m->vcpu[index];
}

// Long mode with two address spaces; every page is the user's, accessed and dirty.
static Machine *make(unsigned cpus, bool pcid)
{
    Machine *m = machine_new(cpus);
    machine_long(m);
    for (unsigned i = 0; i < 512; i++) {
        machine_write(m, MACHINE_PT + 8 * i, 8, (uint64_t)i << 12 | D | A | U | W | P);
        machine_write(m, PT_B + 8 * i, 8, ((uint64_t)i << 12) + SHIFT_B + (D | A | U | W | P));
    }
    machine_write(m, PML4_B, 8, PDPT_B | U | W | P);
    machine_write(m, PDPT_B, 8, PD_B | U | W | P);
    machine_write(m, PD_B, 8, PT_B | U | W | P);
    m->state.cr4 |= BT_CR4_PGE | (pcid ? BT_CR4_PCIDE : 0);
    for (unsigned i = 0; i < cpus; i++)
        g_assert_true(vcpu_backend_interpreter.set_state(m->vcpu[i], &m->state, VCPU_STATE_ALL));
    return m;
}

static void load_cr3(BtCpu *cpu, uint64_t cr3, bool keep)
{
    cpu->cr3 = cr3;
    bt_tlb_switch(cpu, keep);
}

static uint64_t frame(BtCpu *cpu, uint64_t linear, unsigned mmu)
{
    return bt_tlb_physical(bt_mmu_note(cpu, linear, BT_TLB_MAY_READ, mmu));
}

static bool has(BtCpu *cpu, uint64_t linear, unsigned mmu)
{
    return bt_tlb_entry(cpu->tlb[mmu], linear)->read == linear;
}

static bool may_write(BtCpu *cpu, uint64_t linear, unsigned mmu)
{
    return bt_tlb_entry(cpu->tlb[mmu], linear)->write == linear;
}

static void write_page(BtCpu *cpu, uint64_t linear, unsigned mmu)
{
    bt_write_linear32(cpu, linear, 1, mmu);
}

// ---- Tags ----

// No access, canonical or not, within a page or over its end, takes an empty entry for a hit.
static void test_empty_tags(void)
{
    static const uint64_t bases[] = { 0, UINT64_C(1) << 63, UINT64_C(0x00007ffffffff000),
                                      UINT64_C(0xffff800000000000), UINT64_C(0xfffffffff0000000),
                                      UINT64_C(0x8000000000001000), 0x1000, 0xfffff000 };
    for (unsigned b = 0; b < G_N_ELEMENTS(bases); b++) {
        for (uint64_t i = 0; i < BT_TLB_SIZE; i++) {
            for (unsigned offset = 0xff8; offset < 0x1000; offset++) {
                uint64_t linear = ((bases[b] + (i << 12)) & ~UINT64_C(0xfff)) + offset;
                uint64_t tag = bt_tlb_none(bt_tlb_index(linear));
                g_assert_cmphex(linear ^ tag, >, 4096 - 1);
                if ((uint64_t)(((int64_t)linear >> 47) + 1) <= 1)
                    g_assert_cmphex(tag, !=, (linear + 7) & ~UINT64_C(0xfff));
            }
        }
    }
}

// ---- Banks ----

static void test_pcid_keeps(void)
{
    g_autoptr(Machine) m = make(1, true);
    BtCpu *cpu = cpu_of(m, 0);
    load_cr3(cpu, MACHINE_PML4 | 1, false);
    g_assert_cmphex(frame(cpu, MACHINE_DATA, BT_MMU_USER), ==, MACHINE_DATA);
    load_cr3(cpu, PML4_B | 2, true);
    g_assert_false(has(cpu, MACHINE_DATA, BT_MMU_USER));
    g_assert_cmphex(frame(cpu, MACHINE_DATA, BT_MMU_USER), ==, MACHINE_DATA + SHIFT_B);
    load_cr3(cpu, MACHINE_PML4 | 1, true);
    g_assert_true(has(cpu, MACHINE_DATA, BT_MMU_USER));
    g_assert_cmphex(frame(cpu, MACHINE_DATA, BT_MMU_USER), ==, MACHINE_DATA);
    load_cr3(cpu, PML4_B | 2, true);
    g_assert_cmphex(frame(cpu, MACHINE_DATA, BT_MMU_USER), ==, MACHINE_DATA + SHIFT_B);
    // Without bit 63 the PCID's translations go, another's stay.
    load_cr3(cpu, MACHINE_PML4 | 1, false);
    g_assert_false(has(cpu, MACHINE_DATA, BT_MMU_USER));
    load_cr3(cpu, PML4_B | 2, true);
    g_assert_true(has(cpu, MACHINE_DATA, BT_MMU_USER));
}

// What CPL 0 uses of an address space goes with every load, unless it is global.
static void test_supervisor_switch(void)
{
    g_autoptr(Machine) m = make(1, true);
    BtCpu *cpu = cpu_of(m, 0);
    machine_write(m, MACHINE_PT + 8 * 5, 8, 5 << 12 | G | D | A | W | P);
    frame(cpu, MACHINE_DATA, BT_MMU_SUPERVISOR);
    frame(cpu, 0x5000, BT_MMU_SUPERVISOR);
    load_cr3(cpu, PML4_B | 2, true);
    g_assert_cmphex(frame(cpu, MACHINE_DATA, BT_MMU_SUPERVISOR), ==, MACHINE_DATA + SHIFT_B);
    g_assert_cmphex(frame(cpu, 0x5000, BT_MMU_SUPERVISOR), ==, 0x5000);
}

static void test_without_pcid(void)
{
    g_autoptr(Machine) m = make(1, false);
    BtCpu *cpu = cpu_of(m, 0);
    machine_write(m, MACHINE_PT + 8 * 5, 8, 5 << 12 | G | D | A | U | W | P);
    frame(cpu, MACHINE_DATA, BT_MMU_USER);
    frame(cpu, 0x5000, BT_MMU_USER);
    load_cr3(cpu, PML4_B, false);
    g_assert_cmphex(frame(cpu, MACHINE_DATA, BT_MMU_USER), ==, MACHINE_DATA + SHIFT_B);
    g_assert_cmphex(frame(cpu, 0x5000, BT_MMU_USER), ==, 0x5000);
}

static void test_invalidations_reach_all_banks(void)
{
    g_autoptr(Machine) m = make(1, true);
    BtCpu *cpu = cpu_of(m, 0);
    static const uint64_t spaces[] = { MACHINE_PML4 | 1, PML4_B | 2 };
    enum { PAGE, PCID_1, ALL_LOCAL, ALL };
    for (unsigned how = PAGE; how <= ALL; how++) {
        for (unsigned i = 0; i < 2; i++) {
            load_cr3(cpu, spaces[i], true);
            frame(cpu, MACHINE_DATA, BT_MMU_USER);
            frame(cpu, MACHINE_DATA + 0x1000, BT_MMU_USER);
        }
        switch (how) {
        case PAGE: bt_tlb_flush_page(cpu, MACHINE_DATA + 0x123); break;
        case PCID_1: bt_tlb_flush_pcid(cpu, 1); break;
        case ALL_LOCAL: bt_tlb_flush_non_global(cpu); break;
        case ALL: bt_tlb_flush_all(cpu); break;
        }
        g_assert_cmpint(has(cpu, MACHINE_DATA, BT_MMU_USER), ==, how == PCID_1);
        g_assert_cmpint(has(cpu, MACHINE_DATA + 0x1000, BT_MMU_USER), ==, how <= PCID_1);
        load_cr3(cpu, spaces[0], true);
        g_assert_false(has(cpu, MACHINE_DATA, BT_MMU_USER));
        g_assert_cmpint(has(cpu, MACHINE_DATA + 0x1000, BT_MMU_USER), ==, how == PAGE);
    }
}

static void test_more_spaces_than_banks(void)
{
    g_autoptr(Machine) m = make(1, true);
    BtCpu *cpu = cpu_of(m, 0);
    for (unsigned i = 0; i < 40; i++) {
        unsigned pcid = 1 + i * 7 % 13;
        bool b = pcid & 1;
        load_cr3(cpu, (b ? PML4_B : MACHINE_PML4) | pcid, true);
        g_assert_cmphex(frame(cpu, MACHINE_DATA, BT_MMU_USER), ==,
                        MACHINE_DATA + (b ? SHIFT_B : 0));
    }
    load_cr3(cpu, MACHINE_PML4 | 2, true);
    frame(cpu, MACHINE_DATA, BT_MMU_USER);
    load_cr3(cpu, PML4_B | 3, true);
    load_cr3(cpu, MACHINE_PML4 | 2, true);
    g_assert_true(has(cpu, MACHINE_DATA, BT_MMU_USER)); // used last: kept
}

// Control registers that change under the bank choose another.
static void test_pcide_toggled(void)
{
    g_autoptr(Machine) m = make(1, true);
    BtCpu *cpu = cpu_of(m, 0);
    load_cr3(cpu, PML4_B | 9, false);
    frame(cpu, MACHINE_DATA, BT_MMU_USER);
    cpu->cr4 &= ~(uint64_t)BT_CR4_PCIDE;
    cpu->cr3 = MACHINE_PML4;
    bt_tlb_flush_all(cpu);
    g_assert_cmpuint(cpu->mmu->current->key, ==, 0);
    g_assert_cmphex(frame(cpu, MACHINE_DATA, BT_MMU_USER), ==, MACHINE_DATA);
}

// Code of an address space keeps its chains over switches, and loses them with its translations.
static void test_epochs(void)
{
    g_autoptr(Machine) m = make(1, true);
    BtCpu *cpu = cpu_of(m, 0);
    const uint8_t *host;
    cpu->cpl = 3;
    load_cr3(cpu, MACHINE_PML4 | 1, true);
    bt_fetch_page(cpu, MACHINE_CODE, &host);
    uint64_t first = cpu->chain_key;
    load_cr3(cpu, PML4_B | 2, true);
    bt_fetch_page(cpu, MACHINE_CODE, &host);
    uint64_t second = cpu->chain_key;
    g_assert_cmphex(first, !=, second);
    load_cr3(cpu, MACHINE_PML4 | 1, true);
    g_assert_cmphex(cpu->chain_key, ==, first);
    bt_tlb_flush_page(cpu, MACHINE_DATA); // no code came from there
    g_assert_cmphex(cpu->chain_key, ==, first);
    bt_tlb_flush_page(cpu, MACHINE_CODE);
    g_assert_cmphex(cpu->chain_key, !=, first);
    load_cr3(cpu, PML4_B | 2, true);
    g_assert_cmphex(cpu->chain_key, !=, second);
    second = cpu->chain_key;
    load_cr3(cpu, MACHINE_PML4 | 1, true);
    bt_mmu_renew_chains(cpu);
    load_cr3(cpu, PML4_B | 2, true);
    g_assert_cmphex(cpu->chain_key, !=, second);
}

// ---- Walks ----

// A page table is kept between walks; its entries are not.
static void test_table_kept(void)
{
    g_autoptr(Machine) m = make(1, false);
    BtCpu *cpu = cpu_of(m, 0);
    machine_write(m, MACHINE_PT + 8 * 0x101, 8, 0);
    frame(cpu, MACHINE_DATA, BT_MMU_USER);
    // Not present before, present now: no invalidation is needed.
    machine_write(m, MACHINE_PT + 8 * 0x101, 8, 0x30000 | U | W | P);
    g_assert_cmphex(frame(cpu, MACHINE_DATA + 0x1000, BT_MMU_USER), ==, 0x30000);
    g_assert_cmphex(machine_read(m, MACHINE_PT + 8 * 0x101, 8) & (A | D), ==, A);
    // Another table: with the invalidation of any page under it.
    machine_write(m, MACHINE_PD, 8, PT_B | U | W | P);
    bt_tlb_flush_page(cpu, 0x4000);
    g_assert_cmphex(frame(cpu, MACHINE_DATA + 0x2000, BT_MMU_USER), ==,
                    MACHINE_DATA + 0x2000 + SHIFT_B);
}

// The rights of the upper levels belong to the kept table.
static void test_table_rights(void)
{
    g_autoptr(Machine) m = make(1, false);
    BtCpu *cpu = cpu_of(m, 0);
    machine_write(m, MACHINE_PD, 8, MACHINE_PT | U | P);
    bt_tlb_flush_all(cpu);
    frame(cpu, MACHINE_DATA, BT_MMU_USER);
    frame(cpu, MACHINE_DATA + 0x1000, BT_MMU_USER);
    g_assert_false(may_write(cpu, MACHINE_DATA, BT_MMU_USER));
    g_assert_false(may_write(cpu, MACHINE_DATA + 0x1000, BT_MMU_USER));
    // More rights need no invalidation: the walk for the write looks at all levels.
    machine_write(m, MACHINE_PD, 8, MACHINE_PT | U | W | P);
    write_page(cpu, MACHINE_DATA + 0x1000, BT_MMU_USER);
    g_assert_true(may_write(cpu, MACHINE_DATA + 0x1000, BT_MMU_USER));
}

// ---- Write tags and code ----

// The run loop saw that code was written: until then no page gets its write tags back.
static void see_written_code(BtCpu *cpu)
{
    __atomic_fetch_and(&cpu->request, ~(uint32_t)BT_REQUEST_CODE, __ATOMIC_SEQ_CST);
}

// Taken from every table of every CPU that has them, whatever the hints say.
static void test_code_takes_write_tags(void)
{
    g_autoptr(Machine) m = make(2, true);
    // Three linear addresses of one page.
    machine_write(m, MACHINE_PT + 8 * 0x111, 8, MACHINE_DATA | D | A | U | W | P);
    machine_write(m, MACHINE_PT + 8 * 0x112, 8, MACHINE_DATA | D | A | U | W | P);
    static const uint64_t at[] = { MACHINE_DATA, 0x111000, 0x112000 };
    for (unsigned addresses = 1; addresses <= 3; addresses++) {
        for (unsigned c = 0; c < 2; c++) {
            BtCpu *cpu = cpu_of(m, c);
            for (unsigned i = 0; i < addresses; i++) {
                load_cr3(cpu, MACHINE_PML4 | 1, false);
                write_page(cpu, at[i], BT_MMU_USER);
                write_page(cpu, at[i], BT_MMU_SUPERVISOR_NO_SMAP);
                g_assert_true(may_write(cpu, at[i], BT_MMU_USER));
                load_cr3(cpu, MACHINE_PML4 | 2, false);
                write_page(cpu, at[i], BT_MMU_USER);
                write_page(cpu, at[i], BT_MMU_SUPERVISOR);
            }
        }
        bt_vm_protect_page(cpu_of(m, 0)->vm, MACHINE_DATA + 0x40, 8);
        for (unsigned c = 0; c < 2; c++) {
            BtCpu *cpu = cpu_of(m, c);
            for (unsigned i = 0; i < addresses; i++) {
                for (unsigned mmu = 0; mmu < BT_MMU_INDEXES; mmu++)
                    g_assert_false(may_write(cpu, at[i], mmu));
                load_cr3(cpu, MACHINE_PML4 | 1, true);
                g_assert_false(may_write(cpu, at[i], BT_MMU_USER));
                load_cr3(cpu, MACHINE_PML4 | 2, true);
            }
        }
        bt_vm_code_written(cpu_of(m, 0)->vm, MACHINE_DATA, 4096);
        for (unsigned c = 0; c < 2; c++)
            see_written_code(cpu_of(m, c));
    }
}

// A store beside the code leaves it alone; one into it gives the page back to the fast path,
// once the run loop has seen it.
static void test_granules(void)
{
    g_autoptr(Machine) m = make(1, false);
    BtCpu *cpu = cpu_of(m, 0);
    write_page(cpu, MACHINE_DATA, BT_MMU_USER);
    uint32_t generation = bt_vm_protect_page(cpu->vm, MACHINE_DATA + 0x40, 8);
    write_page(cpu, MACHINE_DATA + 0x80, BT_MMU_USER);
    g_assert_false(may_write(cpu, MACHINE_DATA, BT_MMU_USER));
    g_assert_cmpuint(bt_vm_code_generation(cpu->vm, MACHINE_DATA), ==, generation);
    write_page(cpu, MACHINE_DATA + 0x44, BT_MMU_USER);
    g_assert_false(may_write(cpu, MACHINE_DATA, BT_MMU_USER));
    g_assert_cmpuint(bt_vm_code_generation(cpu->vm, MACHINE_DATA), ==, generation + 1);
    see_written_code(cpu);
    write_page(cpu, MACHINE_DATA + 0x44, BT_MMU_USER);
    g_assert_true(may_write(cpu, MACHINE_DATA, BT_MMU_USER));
}

// A device's write counts like a CPU's.
static void test_dma_to_code(void)
{
    g_autoptr(Machine) m = make(1, false);
    BtCpu *cpu = cpu_of(m, 0);
    uint32_t generation = bt_vm_protect_page(cpu->vm, MACHINE_DATA + 0x40, 8);
    machine_write(m, MACHINE_DATA + 0x80, 8, 1);
    g_assert_cmpuint(bt_vm_code_generation(cpu->vm, MACHINE_DATA), ==, generation);
    machine_write(m, MACHINE_DATA + 0x47, 1, 1);
    g_assert_cmpuint(bt_vm_code_generation(cpu->vm, MACHINE_DATA), ==, generation + 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt-tlb/empty-tags", test_empty_tags);
    g_test_add_func("/bt-tlb/banks/keep", test_pcid_keeps);
    g_test_add_func("/bt-tlb/banks/supervisor", test_supervisor_switch);
    g_test_add_func("/bt-tlb/banks/without-pcid", test_without_pcid);
    g_test_add_func("/bt-tlb/banks/invalidations", test_invalidations_reach_all_banks);
    g_test_add_func("/bt-tlb/banks/too-few", test_more_spaces_than_banks);
    g_test_add_func("/bt-tlb/banks/pcide", test_pcide_toggled);
    g_test_add_func("/bt-tlb/banks/epochs", test_epochs);
    g_test_add_func("/bt-tlb/walks/table", test_table_kept);
    g_test_add_func("/bt-tlb/walks/rights", test_table_rights);
    g_test_add_func("/bt-tlb/code/tags", test_code_takes_write_tags);
    g_test_add_func("/bt-tlb/code/granules", test_granules);
    g_test_add_func("/bt-tlb/code/dma", test_dma_to_code);
    return g_test_run();
}
