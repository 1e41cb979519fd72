// SPDX-License-Identifier: GPL-2.0-or-later
// Mirrors: runs over pages whose frames lie anywhere, that they show the guest's memory, and what
// ends them. The pages of MACHINE_DATA and the 15 after it have their frames in reverse order.
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include "engine/vcpu/bt/bt-mirror.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-range.h"
#include "engine/vcpu/bt/bt-registers.h"
#include "engine/vcpu/bt/bt-walk.h"

#include <sys/mman.h>

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40 };
enum { ALL = D | A | U | W | P };
enum { PAGES = 16, FRAMES = 0x300000, SLOT = 11 };

static BtCpu *cpu_of(Machine *m)
{
    return (BtCpu *)m->vcpu[0];
}

static void set_entry(Machine *m, uint64_t linear, uint64_t value)
{
    machine_write(m, MACHINE_PT + (linear >> 12) * 8, 8, value);
}

static uint64_t frame_of(unsigned page)
{
    return FRAMES + (PAGES - 1 - page) * 0x1000;
}

static Machine *make(void)
{
    Machine *m = machine_new(1);
    machine_long(m);
    set_entry(m, MACHINE_DATA - 0x1000, 0);
    set_entry(m, MACHINE_DATA + PAGES * 0x1000, 0);
    for (unsigned i = 0; i < PAGES; i++)
        set_entry(m, MACHINE_DATA + i * 0x1000, frame_of(i) | ALL);
    machine_write(m, MACHINE_PML4, 8, MACHINE_PDPT | A | U | W | P);
    machine_write(m, MACHINE_PDPT, 8, MACHINE_PD | A | U | W | P);
    machine_write(m, MACHINE_PD, 8, MACHINE_PT | A | U | W | P);
    g_assert_true(vcpu_backend_interpreter.set_state(m->vcpu[0], &m->state, VCPU_STATE_ALL));
    BtCpu *cpu = cpu_of(m);
    cpu->cpl = 3;
    bt_update_mmu_index(cpu);
    bt_range_forget(cpu);
    return m;
}

// A place that goes from page to page.
static void wander(BtCpu *cpu, bool write)
{
    for (unsigned i = 0; i < PAGES; i++)
        bt_range_learn(cpu, SLOT, MACHINE_DATA + i * 0x1000 + 8, 8, write);
}

static bool is_mirrored(const BtCpu *cpu)
{
    return cpu->range[SLOT].length[0] && (cpu->range[SLOT].flags & BT_RANGE_MIRRORED);
}

// What the slot shows at an address.
static uint8_t *seen(const BtCpu *cpu, uint64_t linear)
{
    g_assert_true(bt_range_allows(cpu, SLOT, linear, 1));
    return (uint8_t *)(uintptr_t)(linear + cpu->range[SLOT].addend);
}

static void assert_shows(Machine *m, uint64_t linear, uint64_t physical)
{
    uint8_t *there = seen(cpu_of(m), linear), *memory = m->ram->host + physical;
    *memory = 0x5a;
    g_assert_cmphex(*(volatile uint8_t *)there, ==, 0x5a);
    *(volatile uint8_t *)there = 0xa5;
    g_assert_cmphex(*(volatile uint8_t *)memory, ==, 0xa5);
}

static void test_order(void)
{
    g_autoptr(Machine) m = make();
    BtCpu *cpu = cpu_of(m);
    bt_range_learn(cpu, SLOT, MACHINE_DATA, 8, true);
    g_assert_false(is_mirrored(cpu)); // not before it is known to be worth it
    g_assert_cmpuint(cpu->range[SLOT].pages, ==, 1);
    wander(cpu, true);
    g_assert_true(is_mirrored(cpu));
    g_assert_cmphex(cpu->range[SLOT].start, ==, MACHINE_DATA);
    g_assert_cmpuint(cpu->range[SLOT].pages, ==, PAGES);
    for (unsigned i = 0; i < PAGES; i++)
        assert_shows(m, MACHINE_DATA + i * 0x1000 + 0x123, frame_of(i) + 0x123);
    // Another slot finds it at once.
    g_assert_true(bt_range_fill(cpu, SLOT + 1, MACHINE_DATA + 0x3ffc, 8, false));
    g_assert_cmpuint(cpu->range[SLOT + 1].pages, ==, PAGES);
}

// Only what a walk allows now is taken in.
static void test_rights(void)
{
    g_autoptr(Machine) m = make();
    BtCpu *cpu = cpu_of(m);
    wander(cpu, true);
    g_assert_true(is_mirrored(cpu));
    set_entry(m, MACHINE_DATA + 0x6000, frame_of(6) | (ALL & ~W));
    set_entry(m, MACHINE_DATA + 0x2000, frame_of(2) | (ALL & ~U));
    bt_tlb_flush_page(cpu, MACHINE_DATA + 0x6000);
    g_assert_false(is_mirrored(cpu));
    g_assert_true(bt_range_fill(cpu, SLOT, MACHINE_DATA + 0x4000, 8, true));
    g_assert_true(is_mirrored(cpu));
    g_assert_cmphex(cpu->range[SLOT].start, ==, MACHINE_DATA + 0x3000);
    g_assert_cmpuint(cpu->range[SLOT].pages, ==, 3);
    g_assert_false(bt_range_fill(cpu, SLOT, MACHINE_DATA + 0x6000, 8, true));
    g_assert_true(bt_range_fill(cpu, SLOT, MACHINE_DATA + 0x6000, 8, false));
    g_assert_cmpuint(cpu->range[SLOT].pages, ==, PAGES - 3);
}

// A page gets another frame.
static void test_new_frame(void)
{
    g_autoptr(Machine) m = make();
    BtCpu *cpu = cpu_of(m);
    wander(cpu, true);
    g_assert_true(bt_range_fill(cpu, SLOT + 1, MACHINE_DATA, 8, true));
    // Without an invalidation the old one may stay in use, but never with rights that the new one
    // does not have: who maps the new one over it ends what goes through the old one.
    set_entry(m, MACHINE_DATA + 0x5000, 0x380000 | (ALL & ~W));
    cpu->mmu->run_generation++;
    bt_walk_forget(cpu);
    cpu->range[SLOT].conflicts = 12;
    bt_range_learn(cpu, SLOT, MACHINE_DATA + 0x5000, 8, false);
    g_assert_true(is_mirrored(cpu));
    g_assert_false(bt_range_allows(cpu, SLOT + 1, MACHINE_DATA + 0x5000, 8));
    assert_shows(m, MACHINE_DATA + 0x5010, 0x380010);
    assert_shows(m, MACHINE_DATA + 0x4010, frame_of(4) + 0x10);
    bt_tlb_flush_page(cpu, MACHINE_DATA + 0x5000);
    g_assert_false(is_mirrored(cpu));
}

// Address spaces have mirrors of their own.
static void test_spaces(void)
{
    enum { OTHER = 0x20000 };
    g_autoptr(Machine) m = make();
    BtCpu *cpu = cpu_of(m);
    wander(cpu, false);
    uint64_t first = cpu->cr3;
    for (unsigned i = 0; i < 512; i++) { // PML4, PDPT, PD, PT
        machine_write(m, OTHER + i * 8, 8, machine_read(m, MACHINE_PML4 + i * 8, 8));
        machine_write(m, OTHER + 0x1000 + i * 8, 8, machine_read(m, MACHINE_PDPT + i * 8, 8));
        machine_write(m, OTHER + 0x2000 + i * 8, 8, machine_read(m, MACHINE_PD + i * 8, 8));
        machine_write(m, OTHER + 0x3000 + i * 8, 8, machine_read(m, MACHINE_PT + i * 8, 8));
    }
    machine_write(m, OTHER, 8, (OTHER + 0x1000) | A | U | W | P);
    machine_write(m, OTHER + 0x1000, 8, (OTHER + 0x2000) | A | U | W | P);
    machine_write(m, OTHER + 0x2000, 8, (OTHER + 0x3000) | A | U | W | P);
    machine_write(m, OTHER + 0x3000 + (MACHINE_DATA >> 12) * 8, 8, 0x390000 | ALL);
    cpu->cr3 = OTHER;
    bt_tlb_switch(cpu, false);
    g_assert_false(is_mirrored(cpu));
    g_assert_false(bt_mirror_known(cpu, MACHINE_DATA));
    cpu->range[SLOT].conflicts = 0;
    wander(cpu, false);
    g_assert_true(is_mirrored(cpu));
    assert_shows(m, MACHINE_DATA, 0x390000);
    assert_shows(m, MACHINE_DATA + 0x1000, frame_of(1));
    cpu->cr3 = first;
    bt_tlb_switch(cpu, false);
    g_assert_true(bt_range_fill(cpu, SLOT, MACHINE_DATA, 8, false));
    g_assert_true(is_mirrored(cpu));
    assert_shows(m, MACHINE_DATA, frame_of(0));
}

// Code in a page that a mirror has: stores end there.
static void test_code(void)
{
    g_autoptr(Machine) m = make();
    BtCpu *cpu = cpu_of(m);
    wander(cpu, true);
    g_assert_true(is_mirrored(cpu));
    bt_vm_protect_page(cpu->vm, frame_of(9) + 0x100, 4);
    g_assert_false(bt_range_allows(cpu, SLOT, MACHINE_DATA + 0x9000, 1));
    g_assert_true(bt_range_fill(cpu, SLOT, MACHINE_DATA, 8, true));
    g_assert_cmpuint(cpu->range[SLOT].pages, ==, 9);
    g_assert_false(bt_range_fill(cpu, SLOT, MACHINE_DATA + 0x9000, 8, true));
}

// Mirrors go when the map changes, and memory that is a private copy has none.
static void test_private(void)
{
    g_autoptr(Machine) m = make();
    BtCpu *cpu = cpu_of(m);
    wander(cpu, true);
    g_assert_true(bt_mirror_known(cpu, MACHINE_DATA));
    g_assert_true(mmap(m->ram->host, MACHINE_RAM, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_FIXED, m->ram->fd, 0) != MAP_FAILED);
    guest_memory_replaced(m->memory);
    bt_mmu_service(cpu);
    g_assert_false(is_mirrored(cpu));
    wander(cpu, true);
    g_assert_true(cpu->range[SLOT].length[0]);
    g_assert_false(is_mirrored(cpu));
    assert_shows(m, MACHINE_DATA + (PAGES - 1) * 0x1000, frame_of(PAGES - 1));
}

// The allowance bounds what is mapped; more of it comes with instructions.
static void test_allowance(void)
{
    g_autoptr(Machine) m = make();
    BtCpu *cpu = cpu_of(m);
    unsigned mapped = 0;
    uintptr_t addend, host = (uintptr_t)m->ram->host + FRAMES;
    while (mapped < 100000 &&
           bt_mirror_place(cpu, (uint64_t)mapped << 12, host, true, &addend))
        mapped++;
    g_assert_cmpuint(mapped, >=, 64);
    g_assert_cmpuint(mapped, <, 4096);
    g_assert_true(bt_mirror_place(cpu, (uint64_t)(mapped - 1) << 12, host, false, &addend));
    g_assert_false(bt_mirror_place(cpu, (uint64_t)mapped << 12, host, false, &addend));
    for (unsigned i = 0; i < 30000; i++) { // more than the windows hold: old ones go
        cpu->instructions += 1 << 20;
        g_assert_true(bt_mirror_place(cpu, (uint64_t)i << 14, host, true, &addend));
        g_assert_true((void *)(uintptr_t)(((uint64_t)i << 14) + addend) != NULL);
    }
    g_assert_false(bt_mirror_known(cpu, 0));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt-mirror/order", test_order);
    g_test_add_func("/bt-mirror/rights", test_rights);
    g_test_add_func("/bt-mirror/new-frame", test_new_frame);
    g_test_add_func("/bt-mirror/spaces", test_spaces);
    g_test_add_func("/bt-mirror/code", test_code);
    g_test_add_func("/bt-mirror/private", test_private);
    g_test_add_func("/bt-mirror/allowance", test_allowance);
    return g_test_run();
}
