// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/ioapic-82093.h"
#include "engine/devices/chipset/lapic.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define CPUS 4

enum { ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0,
       SVR = 0xf0, ISR = 0x100, TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300,
       ICR_HIGH = 0x310, LVT_TIMER = 0x320, LVT_LINT0 = 0x350, LVT_LINT1 = 0x360,
       LVT_ERROR = 0x370, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0 };

typedef struct {
    ChipRig rig;
    LocalApic apic;
    bool intr[CPUS];
    unsigned nmis[CPUS], inits[CPUS];
    int sipi[CPUS];
    uint64_t tsc;
    int pic_vector;
    unsigned eois;
    uint8_t eoi_vector;
} Board;

static void on_interrupt(void *opaque, unsigned cpu, bool pending)
{
    ((Board *)opaque)->intr[cpu] = pending;
}

static void on_nmi(void *opaque, unsigned cpu)
{
    ((Board *)opaque)->nmis[cpu]++;
}

static void on_init(void *opaque, unsigned cpu)
{
    ((Board *)opaque)->inits[cpu]++;
}

static void on_startup(void *opaque, unsigned cpu, uint8_t vector)
{
    ((Board *)opaque)->sipi[cpu] = vector;
}

static uint64_t read_tsc(void *opaque, unsigned cpu)
{
    Board *board = opaque;
    return board->tsc + (uint64_t)clock_now(board->rig.host.clock) * 2;
}

static uint64_t read_tsc_hz(void *opaque)
{
    return 2000000000;
}

static int pic_acknowledge(void *opaque)
{
    return ((Board *)opaque)->pic_vector;
}

static void on_eoi(void *opaque, uint8_t vector)
{
    Board *board = opaque;
    board->eois++;
    board->eoi_vector = vector;
}

static uint32_t get(Board *board, unsigned cpu, uint32_t offset)
{
    return board->apic.ops->read(board->apic.lapic, cpu, offset);
}

static void put(Board *board, unsigned cpu, uint32_t offset, uint32_t value)
{
    board->apic.ops->write(board->apic.lapic, cpu, offset, value);
}

static int take(Board *board, unsigned cpu)
{
    return board->apic.ops->acknowledge(board->apic.lapic, cpu);
}

static void plug(Board *board)
{
    *board = (Board){ .sipi = { -1, -1, -1, -1 } };
    rig_open(&board->rig);
    LapicConfig config = {
        .cpus = CPUS,
        .x2apic = true,
        .tsc_deadline = true,
        .wires = { .interrupt = on_interrupt, .nmi = on_nmi, .init = on_init,
                   .startup = on_startup, .tsc = read_tsc, .tsc_hz = read_tsc_hz,
                   .opaque = board },
    };
    rig_plug(&board->rig, &lapic_ops, &config);
    board->apic = lapic_border(board->rig.chip);
    lapic_connect_pic(board->rig.chip, pic_acknowledge, board);
    lapic_connect_ioapic(board->rig.chip, on_eoi, board);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        put(board, cpu, SVR, 0x1ff);
}

static void send_ipi(Board *board, unsigned cpu, uint32_t destination, uint32_t low)
{
    put(board, cpu, ICR_HIGH, destination << 24);
    put(board, cpu, ICR, low);
}

static void msi(Board *board, uint64_t address, uint32_t data)
{
    MsiSink sink = lapic_msi_sink(board->rig.chip);
    msi_send(&sink, address, data);
}

static bool wrmsr(Board *board, unsigned cpu, uint32_t number, uint64_t value)
{
    return board->apic.ops->msr_write(board->apic.lapic, cpu, number, value);
}

static bool rdmsr(Board *board, unsigned cpu, uint32_t number, uint64_t *ret)
{
    return board->apic.ops->msr_read(board->apic.lapic, cpu, number, ret);
}

static void reset_values(void)
{
    Board board;
    plug(&board);
    board.rig.ops->reset(board.rig.chip, RESET_COLD);
    g_assert_cmphex(get(&board, 2, ID), ==, 2 << 24);
    g_assert_cmphex(get(&board, 0, VERSION), ==, 0x00050014);
    g_assert_cmphex(get(&board, 0, SVR), ==, 0xff);
    g_assert_cmphex(get(&board, 0, DFR), ==, 0xffffffff);
    g_assert_cmphex(get(&board, 1, LVT_LINT0), ==, 0x10000);
    uint64_t base = 0;
    g_assert_true(rdmsr(&board, 0, 0x1b, &base));
    g_assert_cmphex(base, ==, 0xfee00900);
    g_assert_true(rdmsr(&board, 1, 0x1b, &base));
    g_assert_cmphex(base, ==, 0xfee00800);
    g_assert_cmphex(board.apic.ops->base(board.apic.lapic, 1), ==, 0xfee00000);
    rig_close(&board.rig);
}

static void priority(void)
{
    Board board;
    plug(&board);
    msi(&board, 0xfee00000, 0x41);
    g_assert_true(board.intr[0]);
    g_assert_cmphex(get(&board, 0, IRR + 0x20), ==, 1 << 1);
    g_assert_cmphex(take(&board, 0), ==, 0x41);
    g_assert_false(board.intr[0]);
    g_assert_cmphex(get(&board, 0, PPR), ==, 0x40);
    msi(&board, 0xfee00000, 0x45); // same class: waits
    g_assert_false(board.intr[0]);
    msi(&board, 0xfee00000, 0x51); // higher class: nests
    g_assert_true(board.intr[0]);
    g_assert_cmphex(take(&board, 0), ==, 0x51);
    put(&board, 0, EOI, 0);
    g_assert_cmphex(get(&board, 0, ISR + 0x20), ==, 1 << 1);
    put(&board, 0, EOI, 0);
    g_assert_cmphex(take(&board, 0), ==, 0x45);
    rig_close(&board.rig);
}

static void task_priority(void)
{
    Board board;
    plug(&board);
    board.apic.ops->set_cr8(board.apic.lapic, 0, 6);
    g_assert_cmphex(get(&board, 0, TPR), ==, 0x60);
    msi(&board, 0xfee00000, 0x65);
    g_assert_false(board.intr[0]);
    g_assert_cmpint(take(&board, 0), ==, -1);
    put(&board, 0, TPR, 0x50);
    g_assert_cmpuint(board.apic.ops->get_cr8(board.apic.lapic, 0), ==, 5);
    g_assert_true(board.intr[0]);
    g_assert_cmphex(take(&board, 0), ==, 0x65);
    rig_close(&board.rig);
}

static void physical_ipi(void)
{
    Board board;
    plug(&board);
    send_ipi(&board, 0, 2, 0x4060);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_true(board.intr[cpu] == (cpu == 2));
    send_ipi(&board, 0, 0xff, 0x4061);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_true(board.intr[cpu]);
    rig_close(&board.rig);
}

static void shorthands(void)
{
    Board board;
    plug(&board);
    put(&board, 1, ICR, 0x44060); // self
    g_assert_true(board.intr[1] && !board.intr[0] && !board.intr[2]);
    put(&board, 3, ICR, 0xc4061); // all but self
    g_assert_true(board.intr[0] && board.intr[1] && board.intr[2] && !board.intr[3]);
    put(&board, 3, ICR, 0x84062); // all
    g_assert_true(board.intr[3]);
    rig_close(&board.rig);
}

static void logical_flat(void)
{
    Board board;
    plug(&board);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        put(&board, cpu, LDR, 1u << (24 + cpu));
    send_ipi(&board, 0, 0x0a, 0x4860);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_true(board.intr[cpu] == (cpu == 1 || cpu == 3));
    rig_close(&board.rig);
}

static void logical_cluster(void)
{
    Board board;
    plug(&board);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        put(&board, cpu, DFR, 0x0fffffff);
        put(&board, cpu, LDR, (cpu / 2 << 4 | 1u << (cpu % 2)) << 24);
    }
    send_ipi(&board, 0, 0x13, 0x4860); // cluster 1, members 0 and 1
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_true(board.intr[cpu] == (cpu >= 2));
    send_ipi(&board, 0, 0xf1, 0x4861); // member 0 of every cluster
    g_assert_true(board.intr[0] && !board.intr[1]);
    rig_close(&board.rig);
}

static void lowest_priority(void)
{
    Board board;
    plug(&board);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        put(&board, cpu, LDR, 1u << (24 + cpu));
        put(&board, cpu, TPR, cpu == 2 ? 0x10 : 0x30);
    }
    send_ipi(&board, 0, 0x0f, 0x4960);
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_true(board.intr[cpu] == (cpu == 2));
    // Equals take turns.
    unsigned hits[CPUS] = { 0 };
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        put(&board, cpu, TPR, 0);
    take(&board, 2);
    put(&board, 2, EOI, 0);
    for (unsigned i = 0; i < 8; i++) {
        msi(&board, 0xfee0f004, 0x0170);
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            if (board.intr[cpu]) {
                hits[cpu]++;
                g_assert_cmphex(take(&board, cpu), ==, 0x70);
                put(&board, cpu, EOI, 0);
            }
        }
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_cmpuint(hits[cpu], ==, 2);
    rig_close(&board.rig);
}

static void init_and_startup(void)
{
    Board board;
    plug(&board);
    put(&board, 1, TPR, 0x40);
    put(&board, 1, LDR, 0x01000000);
    send_ipi(&board, 0, 1, 0xc500); // INIT, level, assert
    send_ipi(&board, 0, 1, 0x8500); // de-assert: nothing
    g_assert_cmpuint(board.inits[1], ==, 1);
    g_assert_cmphex(get(&board, 1, TPR), ==, 0);
    g_assert_cmphex(get(&board, 1, SVR), ==, 0xff);
    g_assert_cmphex(get(&board, 1, ID), ==, 1 << 24);
    send_ipi(&board, 0, 1, 0x4699);
    g_assert_cmpint(board.sipi[1], ==, 0x99);
    g_assert_cmpint(board.sipi[2], ==, -1);
    put(&board, 0, ICR, 0xc4400); // NMI to all others
    g_assert_cmpuint(board.nmis[0], ==, 0);
    g_assert_cmpuint(board.nmis[3], ==, 1);
    rig_close(&board.rig);
}

static void software_disable(void)
{
    Board board;
    plug(&board);
    put(&board, 0, LVT_TIMER, 0x30);
    put(&board, 0, SVR, 0xff);
    g_assert_cmphex(get(&board, 0, LVT_TIMER), ==, 0x10030);
    put(&board, 0, LVT_TIMER, 0x31);
    g_assert_cmphex(get(&board, 0, LVT_TIMER), ==, 0x10031);
    msi(&board, 0xfee00000, 0x41);
    g_assert_false(board.intr[0]);
    send_ipi(&board, 1, 0, 0x4400); // NMI comes through
    g_assert_cmpuint(board.nmis[0], ==, 1);
    rig_close(&board.rig);
}

static void virtual_wire(void)
{
    Board board;
    plug(&board);
    board.pic_vector = 0x08;
    board.rig.ops->reset(board.rig.chip, RESET_COLD);
    IrqLine pic = lapic_pic_line(board.rig.chip);
    irq_set(&pic, true);
    g_assert_true(board.intr[0]);
    g_assert_false(board.intr[1]);
    g_assert_cmphex(take(&board, 0), ==, 0x08);
    g_assert_cmphex(get(&board, 0, ISR), ==, 0); // an ExtINT is not in service here
    put(&board, 0, SVR, 0x1ff);
    put(&board, 0, LVT_LINT0, 0x10700);
    g_assert_false(board.intr[0]);
    put(&board, 0, LVT_LINT0, 0x700);
    g_assert_true(board.intr[0]);
    irq_set(&pic, false);
    g_assert_false(board.intr[0]);
    // With the APIC off by its MSR, INTR is wired straight to the bootstrap processor.
    g_assert_true(wrmsr(&board, 0, 0x1b, 0xfee00100));
    irq_set(&pic, true);
    g_assert_true(board.intr[0]);
    rig_close(&board.rig);
}

static void nmi_by_lint1(void)
{
    Board board;
    plug(&board);
    lapic_nmi(board.rig.chip);
    g_assert_cmpuint(board.nmis[0], ==, 0);
    put(&board, 0, LVT_LINT1, 0x400);
    lapic_nmi(board.rig.chip);
    g_assert_cmpuint(board.nmis[0], ==, 1);
    rig_close(&board.rig);
}

static void one_shot_timer(void)
{
    Board board;
    plug(&board);
    Clock *clock = board.rig.host.clock;
    put(&board, 0, LVT_TIMER, 0x30);
    put(&board, 0, DIVIDE, 0x3); // by 16
    put(&board, 0, INITIAL, 1000);
    clock_advance(clock, 4000);
    g_assert_cmpuint(get(&board, 0, CURRENT), ==, 750);
    clock_advance(clock, 11999);
    g_assert_false(board.intr[0]);
    clock_advance(clock, 1);
    g_assert_cmphex(take(&board, 0), ==, 0x30);
    g_assert_cmpuint(get(&board, 0, CURRENT), ==, 0);
    put(&board, 0, EOI, 0);
    clock_advance(clock, 100000);
    g_assert_false(board.intr[0]);
    rig_close(&board.rig);
}

static void periodic_timer(void)
{
    Board board;
    plug(&board);
    put(&board, 0, LVT_TIMER, 0x20030);
    put(&board, 0, DIVIDE, 0xb); // by 1
    put(&board, 0, INITIAL, 1000000);
    for (unsigned i = 0; i < 10; i++) {
        clock_advance(board.rig.host.clock, 1000000);
        g_assert_cmphex(take(&board, 0), ==, 0x30);
        put(&board, 0, EOI, 0);
    }
    // A stop of the counter, and the divider's effect on a running one.
    clock_advance(board.rig.host.clock, 250000);
    put(&board, 0, DIVIDE, 0);
    g_assert_cmpuint(get(&board, 0, CURRENT), ==, 750000);
    clock_advance(board.rig.host.clock, 1499999);
    g_assert_false(board.intr[0]);
    clock_advance(board.rig.host.clock, 1);
    g_assert_true(board.intr[0]);
    take(&board, 0);
    put(&board, 0, EOI, 0);
    put(&board, 0, INITIAL, 0);
    clock_advance(board.rig.host.clock, 10000000);
    g_assert_false(board.intr[0]);
    rig_close(&board.rig);
}

static void periodic_late_host(void)
{
    Board board;
    plug(&board);
    put(&board, 0, LVT_TIMER, 0x20030);
    put(&board, 0, DIVIDE, 0xb);
    put(&board, 0, INITIAL, 1000000);
    clock_set(board.rig.host.clock, 3600 * NS_PER_SECOND + 300000);
    clock_advance(board.rig.host.clock, 0);
    g_assert_cmphex(take(&board, 0), ==, 0x30);
    put(&board, 0, EOI, 0);
    clock_advance(board.rig.host.clock, 699999);
    g_assert_false(board.intr[0]);
    clock_advance(board.rig.host.clock, 1); // in step with before
    g_assert_true(board.intr[0]);
    rig_close(&board.rig);
}

static void tsc_deadline(void)
{
    Board board;
    plug(&board);
    board.tsc = 1000000;
    uint64_t value = 1;
    g_assert_true(wrmsr(&board, 0, 0x6e0, 5000000));
    g_assert_true(rdmsr(&board, 0, 0x6e0, &value));
    g_assert_cmpuint(value, ==, 0); // not in this mode
    put(&board, 0, LVT_TIMER, 0x40030);
    g_assert_true(wrmsr(&board, 0, 0x6e0, 1000000 + 2 * 50000));
    put(&board, 0, INITIAL, 77);
    g_assert_cmpuint(get(&board, 0, CURRENT), ==, 0);
    clock_advance(board.rig.host.clock, 49999);
    g_assert_false(board.intr[0]);
    clock_advance(board.rig.host.clock, 2);
    g_assert_cmphex(take(&board, 0), ==, 0x30);
    g_assert_true(rdmsr(&board, 0, 0x6e0, &value));
    g_assert_cmpuint(value, ==, 0);
    put(&board, 0, EOI, 0);
    g_assert_true(wrmsr(&board, 0, 0x6e0, 1)); // long ago: at once
    clock_advance(board.rig.host.clock, 0);
    g_assert_true(board.intr[0]);
    rig_close(&board.rig);
}

static void error_register(void)
{
    Board board;
    plug(&board);
    put(&board, 0, LVT_ERROR, 0xe0);
    send_ipi(&board, 0, 1, 0x4005); // vector 5
    g_assert_cmphex(get(&board, 0, ESR), ==, 0); // latched by a write
    put(&board, 0, ESR, 0);
    g_assert_cmphex(get(&board, 0, ESR), ==, 0x20);
    g_assert_cmphex(take(&board, 0), ==, 0xe0);
    msi(&board, 0xfee01000, 0x03);
    put(&board, 1, ESR, 0);
    g_assert_cmphex(get(&board, 1, ESR), ==, 0x40);
    get(&board, 1, 0x040);
    put(&board, 1, ESR, 0);
    g_assert_cmphex(get(&board, 1, ESR), ==, 0x80);
    put(&board, 1, ESR, 0);
    g_assert_cmphex(get(&board, 1, ESR), ==, 0);
    rig_close(&board.rig);
}

static void level_eoi(void)
{
    Board board;
    plug(&board);
    msi(&board, 0xfee00000, 0xc041);
    g_assert_cmphex(get(&board, 0, TMR + 0x20), ==, 1 << 1);
    take(&board, 0);
    put(&board, 0, EOI, 0);
    g_assert_cmpuint(board.eois, ==, 1);
    g_assert_cmphex(board.eoi_vector, ==, 0x41);
    msi(&board, 0xfee00000, 0x41); // edge: no broadcast
    take(&board, 0);
    put(&board, 0, EOI, 0);
    g_assert_cmpuint(board.eois, ==, 1);
    rig_close(&board.rig);
}

static void msr_modes(void)
{
    Board board;
    plug(&board);
    uint64_t value;
    g_assert_false(rdmsr(&board, 0, 0x802, &value)); // not in x2APIC mode
    g_assert_false(wrmsr(&board, 0, 0x1b, 0xfee00400)); // EXTD alone
    g_assert_false(wrmsr(&board, 0, 0x1b, 0xfee00801)); // reserved bit
    g_assert_true(wrmsr(&board, 0, 0x1b, 0xfee00c00));
    g_assert_true(rdmsr(&board, 0, 0x1b, &value));
    g_assert_cmphex(value, ==, 0xfee00d00);
    g_assert_cmphex(board.apic.ops->base(board.apic.lapic, 0), ==, UINT64_MAX);
    g_assert_false(wrmsr(&board, 0, 0x1b, 0xfee00800)); // back to xAPIC: only through off
    g_assert_true(wrmsr(&board, 0, 0x1b, 0xfee00000));
    g_assert_false(wrmsr(&board, 0, 0x1b, 0xfee00c00)); // off to x2APIC
    g_assert_true(wrmsr(&board, 0, 0x1b, 0xfee00800));
    rig_close(&board.rig);
}

static void x2apic(void)
{
    Board board;
    plug(&board);
    uint64_t value;
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_true(wrmsr(&board, cpu, 0x1b, 0xfee00c00));
    g_assert_true(rdmsr(&board, 3, 0x802, &value));
    g_assert_cmphex(value, ==, 3);
    g_assert_true(rdmsr(&board, 3, 0x80d, &value));
    g_assert_cmphex(value, ==, 0x8);
    g_assert_true(wrmsr(&board, 0, 0x830, UINT64_C(2) << 32 | 0x4060));
    g_assert_true(board.intr[2] && !board.intr[1]);
    g_assert_true(wrmsr(&board, 0, 0x830, UINT64_C(0xa) << 32 | 0x4861)); // logical
    g_assert_true(board.intr[1] && board.intr[3] && !board.intr[0]);
    g_assert_true(wrmsr(&board, 0, 0x83f, 0x70)); // self IPI
    g_assert_cmphex(take(&board, 0), ==, 0x70);
    g_assert_true(wrmsr(&board, 0, 0x80b, 0));
    msi(&board, 0xfee01000, 0x71); // an MSI's 8-bit ID
    g_assert_cmphex(take(&board, 1), ==, 0x71);
    static const uint32_t faults[] = { 0x800, 0x80e, 0x809, 0x831, 0x82f, 0x8ff };
    for (unsigned i = 0; i < G_N_ELEMENTS(faults); i++) {
        g_assert_false(rdmsr(&board, 0, faults[i], &value));
        g_assert_false(wrmsr(&board, 0, faults[i], 0));
    }
    g_assert_false(rdmsr(&board, 0, 0x80b, &value)); // write-only
    g_assert_false(wrmsr(&board, 0, 0x802, 0));      // read-only
    g_assert_false(wrmsr(&board, 0, 0x80b, 1));
    g_assert_false(wrmsr(&board, 0, 0x808, 0x100));
    g_assert_false(wrmsr(&board, 0, 0x80f, UINT64_C(1) << 32));
    g_assert_true(wrmsr(&board, 0, 0x808, 0x50));
    g_assert_true(rdmsr(&board, 0, 0x808, &value));
    g_assert_cmphex(value, ==, 0x50);
    rig_close(&board.rig);
}

static void msi_elsewhere(void)
{
    Board board;
    plug(&board);
    msi(&board, 0x12345678, 0x41);
    msi(&board, UINT64_C(0x1fee00000), 0x41);
    g_assert_false(board.intr[0]);
    msi(&board, 0xfeeff000, 0x41); // broadcast
    for (unsigned cpu = 0; cpu < CPUS; cpu++)
        g_assert_true(board.intr[cpu]);
    g_assert_true(lapic_vector_waits(board.rig.chip, 0x41));
    g_assert_false(lapic_vector_waits(board.rig.chip, 0x42));
    rig_close(&board.rig);
}

static void unaligned_access(void)
{
    Board board;
    plug(&board);
    g_assert_cmphex(get(&board, 1, ID + 3), ==, 1);
    g_assert_cmphex(get(&board, 1, ID + 4), ==, 0);
    put(&board, 0, TPR + 4, 0xff);
    put(&board, 0, TPR + 1, 0xff);
    g_assert_cmphex(get(&board, 0, TPR), ==, 0);
    rig_close(&board.rig);
}

static void ioapic_through_lapic(void)
{
    Board board;
    plug(&board);
    board.rig.host.msi = lapic_msi_sink(board.rig.chip);
    void *ioapic = ioapic_82093_ops.create(&(Ioapic82093Config){ .base = 0xfec00000 },
                                           &board.rig.host, NULL);
    ioapic_82093_ops.reset(ioapic, RESET_COLD);
    lapic_connect_ioapic(board.rig.chip, ioapic_82093_eoi, ioapic);
    Bus *bus = board.rig.host.bus;
    bus_mmio_write(bus, 0xfec00000, 4, 0x10 + 2 * 10);
    bus_mmio_write(bus, 0xfec00010, 4, 0x8042); // level, vector 42h
    bus_mmio_write(bus, 0xfec00000, 4, 0x11 + 2 * 10);
    bus_mmio_write(bus, 0xfec00010, 4, 1 << 24);
    IrqLine pin = ioapic_82093_line(ioapic, 10);
    irq_set(&pin, true);
    g_assert_cmphex(take(&board, 1), ==, 0x42);
    g_assert_false(board.intr[1]);
    put(&board, 1, EOI, 0); // the line is still up: again
    g_assert_true(board.intr[1]);
    irq_set(&pin, false);
    g_assert_cmphex(take(&board, 1), ==, 0x42);
    put(&board, 1, EOI, 0);
    g_assert_false(board.intr[1]);
    ioapic_82093_ops.destroy(ioapic);
    rig_close(&board.rig);
}

static void too_many_cpus(void)
{
    ChipRig rig;
    rig_open(&rig);
    for (unsigned cpus = 0; cpus < 2000; cpus += 1000) {
        g_autoptr(GError) error = NULL;
        g_assert_null(lapic_ops.create(&(LapicConfig){ .cpus = cpus }, &rig.host, &error));
        g_assert_nonnull(error);
    }
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lapic/reset", reset_values);
    g_test_add_func("/lapic/priority/classes", priority);
    g_test_add_func("/lapic/priority/task", task_priority);
    g_test_add_func("/lapic/ipi/physical", physical_ipi);
    g_test_add_func("/lapic/ipi/shorthands", shorthands);
    g_test_add_func("/lapic/ipi/logical-flat", logical_flat);
    g_test_add_func("/lapic/ipi/logical-cluster", logical_cluster);
    g_test_add_func("/lapic/ipi/lowest-priority", lowest_priority);
    g_test_add_func("/lapic/ipi/init-and-startup", init_and_startup);
    g_test_add_func("/lapic/software-disable", software_disable);
    g_test_add_func("/lapic/lint/virtual-wire", virtual_wire);
    g_test_add_func("/lapic/lint/nmi", nmi_by_lint1);
    g_test_add_func("/lapic/timer/one-shot", one_shot_timer);
    g_test_add_func("/lapic/timer/periodic", periodic_timer);
    g_test_add_func("/lapic/timer/late-host", periodic_late_host);
    g_test_add_func("/lapic/timer/tsc-deadline", tsc_deadline);
    g_test_add_func("/lapic/errors", error_register);
    g_test_add_func("/lapic/eoi/level", level_eoi);
    g_test_add_func("/lapic/eoi/ioapic", ioapic_through_lapic);
    g_test_add_func("/lapic/msr/modes", msr_modes);
    g_test_add_func("/lapic/msr/x2apic", x2apic);
    g_test_add_func("/lapic/msi", msi_elsewhere);
    g_test_add_func("/lapic/unaligned", unaligned_access);
    g_test_add_func("/lapic/too-many-cpus", too_many_cpus);
    return g_test_run();
}
