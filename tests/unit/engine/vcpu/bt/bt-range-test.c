// SPDX-License-Identifier: GPL-2.0-or-later
// Range slots: what a run takes in, and what empties a slot. Each slot is compared with the TLB: it
// never allows more.
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include "engine/vcpu/bt/bt-debug.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-range.h"
#include "engine/vcpu/bt/bt-registers.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
enum { ALL = D | A | U | W | P };

static BtCpu *cpu_of(Machine *m, unsigned index)
{
    return (BtCpu *)m->vcpu[index];
}

static void set_entry(Machine *m, uint64_t linear, uint64_t value)
{
    machine_write(m, MACHINE_PT + (linear >> 12) * 8, 8, value);
}

// Long mode, CPL 0, SMAP off. The pages of MACHINE_DATA and the 15 after it lie one after another,
// those around are absent; the rest of the first 2 MiB is the supervisor's.
static Machine *make(unsigned cpus)
{
    Machine *m = machine_new(cpus);
    machine_long(m);
    for (uint64_t page = 0; page < 0x200000; page += 0x1000)
        set_entry(m, page, page | D | A | W | P);
    set_entry(m, MACHINE_DATA - 0x1000, 0);
    set_entry(m, MACHINE_DATA + 0x10000, 0);
    set_entry(m, 0x1ff000, 0);
    for (unsigned i = 0; i < 16; i++)
        set_entry(m, MACHINE_DATA + i * 0x1000, (MACHINE_DATA + i * 0x1000) | ALL);
    machine_write(m, MACHINE_PML4, 8, MACHINE_PDPT | A | U | W | P);
    machine_write(m, MACHINE_PDPT, 8, MACHINE_PD | A | U | W | P);
    machine_write(m, MACHINE_PD, 8, MACHINE_PT | A | U | W | P);
    machine_write(m, MACHINE_PD + 8, 8, 0x200000 | PS | ALL);
    m->state.cr4 |= BT_CR4_PGE;
    for (unsigned i = 0; i < cpus; i++)
        g_assert_true(vcpu_backend_interpreter.set_state(m->vcpu[i], &m->state, VCPU_STATE_ALL));
    return m;
}

static void assert_run(const BtCpu *cpu, unsigned slot, uint64_t start, uint64_t end,
                       unsigned extent)
{
    const BtRange *r = &cpu->range[slot];
    g_assert_cmphex(r->start, ==, start);
    g_assert_cmphex(r->length[bt_range_extent(extent)], ==, end - start - extent + 1);
}

static bool filled(const BtCpu *cpu, unsigned slot)
{
    return cpu->range[slot].length[0] != 0;
}

static void fill(BtCpu *cpu, unsigned slot, uint64_t linear, bool write)
{
    g_assert_true(bt_range_fill(cpu, slot, linear, 8, write));
    g_assert_true(filled(cpu, slot));
}

// ---- What a run takes in ----

static void test_neighbours(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    fill(cpu, 1, MACHINE_DATA + 0x5123, false);
    assert_run(cpu, 1, MACHINE_DATA, MACHINE_DATA + 0x10000, 8);
    g_assert_true((const uint8_t *)(MACHINE_DATA + cpu->range[1].addend) ==
                  m->ram->host + MACHINE_DATA);
    // Another frame, A or D clear, read-only: the run ends there.
    set_entry(m, MACHINE_DATA + 0x2000, 0x30000 | ALL);
    set_entry(m, MACHINE_DATA + 0xe000, (MACHINE_DATA + 0xe000) | (ALL & ~A));
    bt_tlb_flush_page(cpu, MACHINE_DATA + 0xe000); // the run is known until then
    fill(cpu, 1, MACHINE_DATA + 0x5123, false);
    assert_run(cpu, 1, MACHINE_DATA + 0x3000, MACHINE_DATA + 0xe000, 8);
    set_entry(m, MACHINE_DATA + 0x4000, (MACHINE_DATA + 0x4000) | (ALL & ~D));
    set_entry(m, MACHINE_DATA + 0xc000, (MACHINE_DATA + 0xc000) | (ALL & ~W));
    cpu->cr0 |= BT_CR0_WP;
    bt_tlb_flush_all(cpu);
    fill(cpu, 2, MACHINE_DATA + 0x5123, true);
    assert_run(cpu, 2, MACHINE_DATA + 0x5000, MACHINE_DATA + 0xc000, 8);
    fill(cpu, 1, MACHINE_DATA + 0x5123, false);
    assert_run(cpu, 1, MACHINE_DATA + 0x3000, MACHINE_DATA + 0xe000, 8);
    g_assert_cmphex(machine_read(m, MACHINE_PT + (MACHINE_DATA >> 12) * 8 + 8 * 0xe, 8) & A, ==, 0);
}

static void test_extent(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    set_entry(m, MACHINE_DATA + 0x1000, 0);
    g_assert_true(bt_range_fill(cpu, 1, MACHINE_DATA + 0xff0, 16, false));
    assert_run(cpu, 1, MACHINE_DATA, MACHINE_DATA + 0x1000, 8);
    assert_run(cpu, 1, MACHINE_DATA, MACHINE_DATA + 0x1000, 64);
    assert_run(cpu, 1, MACHINE_DATA, MACHINE_DATA + 0x1000, 512);
    g_assert_true(bt_range_allows(cpu, 1, MACHINE_DATA + 0xff8, 8));
    g_assert_false(bt_range_allows(cpu, 1, MACHINE_DATA + 0xff9, 8));
    g_assert_true(bt_range_allows(cpu, 1, MACHINE_DATA + 0xfc0, 9));
    g_assert_false(bt_range_allows(cpu, 1, MACHINE_DATA + 0xff0, 9)); // counts as 64
    g_assert_false(bt_range_allows(cpu, 1, MACHINE_DATA + 0xfc0, 65));
    g_assert_false(bt_range_allows(cpu, 1, MACHINE_DATA - 1, 1));
    g_assert_false(bt_range_fill(cpu, 1, MACHINE_DATA + 0xff1, 16, false));
    g_assert_false(filled(cpu, 1));
    g_assert_true(bt_range_fill(cpu, 1, MACHINE_DATA + 0x2ff1, 16, false)); // over a page's end
    g_assert_false(bt_range_fill(cpu, 1, MACHINE_DATA + 0x1000, 1, false));
    g_assert_false(bt_range_fill(cpu, 1, UINT64_MAX, 8, false));
}

static void test_large_page(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    fill(cpu, 1, 0x234567, true);
    assert_run(cpu, 1, 0x200000, 0x400000, 8);
    // Code in it: stores end there, loads do not.
    bt_vm_protect_page(cpu->vm, 0x240010, 4);
    g_assert_false(filled(cpu, 1));
    fill(cpu, 1, 0x23f000, true);
    g_assert_cmphex(cpu->range[1].start + cpu->range[1].pages * 4096, ==, 0x240000);
    g_assert_false(bt_range_fill(cpu, 1, 0x240800, 8, true));
    fill(cpu, 2, 0x240800, false);
    assert_run(cpu, 2, 0x200000, 0x400000, 8);
    // The same where the page is not RAM throughout.
    g_autoptr(RamBlock) other = ram_block_new("other", 0x1000, NULL);
    GuestSlot *slot = guest_memory_map(m->memory, "other", 0x238000, 0x1000, other->host,
                                       GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    bt_mmu_service(cpu);
    fill(cpu, 1, 0x23f000, true);
    assert_run(cpu, 1, 0x239000, 0x240000, 8);
    guest_memory_unmap(m->memory, slot);
}

// Devices, ROM, video RAM with a dirty log and watched pages are for the slow path.
static void test_not_plain(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    g_autoptr(RamBlock) video = ram_block_new("video", 0x1000, NULL);
    GuestSlot *slot = guest_memory_map(m->memory, "video", 0xd0000000, 0x1000, video->host,
                                       GUEST_SLOT_READ | GUEST_SLOT_WRITE | GUEST_SLOT_LOG_DIRTY);
    set_entry(m, MACHINE_DATA, 0xd0000000 | ALL);
    set_entry(m, MACHINE_DATA + 0x1000, 0xe0000000 | ALL);
    g_assert_false(bt_range_fill(cpu, 1, MACHINE_DATA, 8, true));
    fill(cpu, 1, MACHINE_DATA, false);
    g_assert_false(bt_range_fill(cpu, 1, MACHINE_DATA + 0x1000, 8, false));
    cpu->dr7 |= 1 | 1 << 16; // stores, L0
    cpu->dr[0] = MACHINE_DATA + 0x5008;
    bt_tlb_flush_all(cpu);
    g_assert_false(bt_range_fill(cpu, 1, MACHINE_DATA + 0x5800, 8, true));
    fill(cpu, 1, MACHINE_DATA + 0x6000, true);
    assert_run(cpu, 1, MACHINE_DATA + 0x6000, MACHINE_DATA + 0x10000, 8);
    guest_memory_unmap(m->memory, slot);
}

static void test_smap(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    cpu->cr4 |= BT_CR4_SMAP;
    bt_tlb_flush_all(cpu);
    for (unsigned ac = 0; ac < 2; ac++) {
        cpu->rflags_rest = ac ? cpu->rflags_rest | BT_FLAG_AC : cpu->rflags_rest;
        bt_update_mode(cpu);
        g_assert_false(bt_range_fill(cpu, 1, MACHINE_DATA, 8, false));
        fill(cpu, 1, 0x5000, false);
    }
}

static void test_alignment(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    cpu->cpl = 3;
    cpu->cr0 |= BT_CR0_AM;
    bt_update_mmu_index(cpu);
    fill(cpu, 1, MACHINE_DATA, false);
    g_assert_false(bt_range_fill(cpu, 2, 0x5000, 8, false)); // the supervisor's
    cpu->rflags_rest |= BT_FLAG_AC;
    bt_update_mmu_index(cpu);
    g_assert_false(filled(cpu, 1));
    g_assert_false(bt_range_fill(cpu, 1, MACHINE_DATA, 8, false));
}

// What serves a place: the TLB for the first accesses, then a slot; again the TLB, and for longer
// each time, where the place goes from run to run.
static void test_learning(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    set_entry(m, MACHINE_DATA + 0x1000, 0); // runs of one page
    set_entry(m, 0x7000, 0);
    set_entry(m, 0x9000, 0);
    bt_range_forget(cpu);
    int first = cpu->range[11].budget, before = 0;
    g_assert_cmpint(first, >, 0);
    bt_range_learn(cpu, 11, MACHINE_DATA, 8, false);
    g_assert_true(filled(cpu, 11));
    g_assert_cmpint(cpu->range[11].budget, ==, first);
    for (unsigned i = 0; i < 40; i++) {
        uint64_t linear = i & 1 ? MACHINE_DATA : 0x8000;
        bt_range_learn(cpu, 11, linear, 8, false);
        bt_range_learn(cpu, BT_RANGE_USER_STACK, linear, 8, true);
        g_assert_true(filled(cpu, 11));
        g_assert_cmpint(cpu->range[BT_RANGE_USER_STACK].budget, ==, first);
        g_assert_cmpint(cpu->range[11].budget, >=, before);
        before = cpu->range[11].budget;
    }
    g_assert_cmpint(before, >, 1000);
    for (unsigned i = 0; i < 40; i++) // who goes on from a long run to the next is served soon
        bt_range_learn(cpu, 11, i & 1 ? 0x200000 : 0x1fe000, 8, false);
    g_assert_cmpint(cpu->range[11].budget, ==, first);
    bt_tlb_flush_all(cpu); // being emptied is no conflict
    bt_range_learn(cpu, 12, MACHINE_DATA, 8, false);
    bt_tlb_flush_all(cpu);
    bt_range_learn(cpu, 12, 0x300000, 8, false);
    g_assert_cmpint(cpu->range[12].budget, ==, first);
    bt_range_learn(cpu, 12, MACHINE_DATA - 0x1000, 8, false); // not to be had
    g_assert_cmpint(cpu->range[12].budget, >, 1000);
}

// ---- What empties slots ----

enum { LOCAL, GLOBAL, LARGE, SLOTS };

// Slot LOCAL: MACHINE_DATA..; GLOBAL: 8000h..9fffh; LARGE: 200000h..
static void fill_all(Machine *m, BtCpu *cpu)
{
    set_entry(m, 0x8000, 0x8000 | G | ALL);
    set_entry(m, 0x9000, 0x9000 | G | ALL);
    fill(cpu, LOCAL, MACHINE_DATA, true);
    fill(cpu, GLOBAL, 0x8000, true);
    fill(cpu, LARGE, 0x300000, true);
    assert_run(cpu, GLOBAL, 0x8000, 0xa000, 8);
}

static void assert_filled(const BtCpu *cpu, bool local, bool global, bool large)
{
    g_assert_cmpint(filled(cpu, LOCAL), ==, local);
    g_assert_cmpint(filled(cpu, GLOBAL), ==, global);
    g_assert_cmpint(filled(cpu, LARGE), ==, large);
}

static void test_invalidations(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    for (unsigned round = 0; round < 3; round++) { // slots that are used again count once
        fill_all(m, cpu);
        bt_tlb_flush_page(cpu, 0x4000);
        assert_filled(cpu, true, true, true);
        bt_tlb_flush_page(cpu, MACHINE_DATA + 0x7123);
        assert_filled(cpu, false, true, true);
        bt_tlb_flush_page(cpu, 0x9fff);
        assert_filled(cpu, false, false, true);
        bt_tlb_flush_page(cpu, 0x3ff000);
        assert_filled(cpu, false, false, false);
        fill_all(m, cpu);
        bt_tlb_switch(cpu, true);
        assert_filled(cpu, false, true, false);
        fill_all(m, cpu);
        bt_tlb_flush_non_global(cpu);
        assert_filled(cpu, false, true, false);
        fill_all(m, cpu);
        bt_tlb_flush_all(cpu);
        assert_filled(cpu, false, false, false);
    }
}

// A slot for global addresses may come to hold local ones, and the other way round.
static void test_slot_changes_kind(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    fill_all(m, cpu);
    fill(cpu, GLOBAL, MACHINE_DATA, false);
    fill(cpu, LOCAL, 0x8000, false);
    bt_tlb_switch(cpu, true);
    g_assert_false(filled(cpu, GLOBAL));
    fill(cpu, GLOBAL, 0x8000, false);
    fill(cpu, LOCAL, MACHINE_DATA, false);
    bt_tlb_flush_page(cpu, 0x8000);
    g_assert_false(filled(cpu, GLOBAL));
    g_assert_true(filled(cpu, LOCAL));
}

static void test_map_change(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    fill_all(m, cpu);
    g_autoptr(RamBlock) other = ram_block_new("other", 0x1000, NULL);
    GuestSlot *slot = guest_memory_map(m->memory, "other", MACHINE_DATA + 0x3000, 0x1000,
                                       other->host, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    g_assert_cmphex(cpu->request & BT_REQUEST_TLB_FLUSH, !=, 0);
    bt_mmu_service(cpu);
    assert_filled(cpu, false, false, false);
    fill(cpu, LOCAL, MACHINE_DATA, true);
    assert_run(cpu, LOCAL, MACHINE_DATA, MACHINE_DATA + 0x3000, 8);
    guest_memory_unmap(m->memory, slot);
    bt_mmu_service(cpu);
}

// While writes are logged a store slot takes in only pages that are noted already.
static void test_log(void)
{
    g_autoptr(Machine) m = make(1);
    BtCpu *cpu = cpu_of(m, 0);
    g_autofree uint64_t *bitmap = g_new0(uint64_t, MACHINE_RAM >> 18);
    fill(cpu, LARGE, 0x300000, true);
    guest_memory_log_start(m->memory, m->ram->host, MACHINE_RAM);
    bt_mmu_service(cpu);
    g_assert_false(filled(cpu, LARGE));
    g_assert_false(bt_range_fill(cpu, LARGE, 0x300000, 8, true));
    bt_write_linear32(cpu, 0x300000, 1, BT_MMU_SUPERVISOR);
    fill(cpu, LARGE, 0x300000, true);
    assert_run(cpu, LARGE, 0x300000, 0x301000, 8);
    guest_memory_log_take(m->memory, bitmap);
    bt_mmu_service(cpu);
    g_assert_false(bt_range_fill(cpu, LARGE, 0x300000, 8, true));
    guest_memory_log_stop(m->memory);
    bt_mmu_service(cpu);
    fill(cpu, LARGE, 0x300000, true);
    assert_run(cpu, LARGE, 0x200000, 0x400000, 8);
}

// Code that one CPU decodes takes the page from the store slots of all.
static void test_code(void)
{
    g_autoptr(Machine) m = make(2);
    for (unsigned i = 0; i < 2; i++) {
        BtCpu *cpu = cpu_of(m, i);
        fill_all(m, cpu);
        fill(cpu, 10, MACHINE_DATA, false);
    }
    bt_vm_protect_page(cpu_of(m, 0)->vm, MACHINE_DATA + 0x4800, 100);
    for (unsigned i = 0; i < 2; i++) {
        BtCpu *cpu = cpu_of(m, i);
        assert_filled(cpu, false, true, true);
        g_assert_true(filled(cpu, 10));
        fill(cpu, LOCAL, MACHINE_DATA, true);
        assert_run(cpu, LOCAL, MACHINE_DATA, MACHINE_DATA + 0x4000, 8);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt-range/run/neighbours", test_neighbours);
    g_test_add_func("/bt-range/run/extent", test_extent);
    g_test_add_func("/bt-range/run/large", test_large_page);
    g_test_add_func("/bt-range/run/not-plain", test_not_plain);
    g_test_add_func("/bt-range/run/smap", test_smap);
    g_test_add_func("/bt-range/run/alignment", test_alignment);
    g_test_add_func("/bt-range/learning", test_learning);
    g_test_add_func("/bt-range/drop/invalidations", test_invalidations);
    g_test_add_func("/bt-range/drop/kinds", test_slot_changes_kind);
    g_test_add_func("/bt-range/drop/map", test_map_change);
    g_test_add_func("/bt-range/drop/log", test_log);
    g_test_add_func("/bt-range/drop/code", test_code);
    return g_test_run();
}
