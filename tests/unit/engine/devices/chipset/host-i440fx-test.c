// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/host-i440fx.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define RAM_SIZE  (4 << 20)
#define BIOS_SIZE 0x40000

typedef struct {
    ChipRig rig;
    uint8_t *ram, *bios;
} Board;

static void plug(Board *board)
{
    rig_open(&board->rig);
    board->ram = g_malloc(RAM_SIZE);
    board->bios = g_malloc(BIOS_SIZE);
    memset(board->ram, 0x11, RAM_SIZE);
    memset(board->bios, 0xb1, BIOS_SIZE);
    board->bios[BIOS_SIZE - 16] = 0xea;
    rig_plug(&board->rig, &host_i440fx_ops,
             &(HostI440fxConfig){ board->ram, RAM_SIZE, board->bios, BIOS_SIZE });
}

static void unplug(Board *board)
{
    rig_close(&board->rig);
    g_free(board->ram);
    g_free(board->bios);
}

static uint8_t peek(Board *board, uint64_t gpa)
{
    uint8_t byte = 0;
    guest_memory_read(board->rig.host.memory, gpa, &byte, 1);
    return byte;
}

static bool poke(Board *board, uint64_t gpa, uint8_t byte)
{
    return guest_memory_write(board->rig.host.memory, gpa, &byte, 1);
}

static void pam(Board *board, unsigned reg, uint8_t value)
{
    pci_config_write(board->rig.host.pci, 0, reg, 1, value);
}

static void identity(void)
{
    Board board;
    plug(&board);
    g_assert_cmphex(pci_config_read(board.rig.host.pci, 0, 0, 4), ==, 0x12378086);
    g_assert_cmphex(pci_config_read(board.rig.host.pci, 0, 0x2c, 4), ==, 0x11001af4);
    g_assert_cmphex(pci_config_read(board.rig.host.pci, 0, 0x72, 1), ==, 0x02);
    g_assert_cmphex(pci_config_read(board.rig.host.pci, 0, 8, 4), ==, 0x06000002);
    pci_config_write(board.rig.host.pci, 0, 4, 2, 0);
    g_assert_cmphex(pci_config_read(board.rig.host.pci, 0, 4, 2), ==, 0x0006);
    unplug(&board);
}

static void reset_map(void)
{
    Board board;
    plug(&board);
    g_assert_cmphex(peek(&board, 0xfffffff0), ==, 0xea);
    g_assert_cmphex(peek(&board, 0xffff0), ==, 0xea);
    g_assert_cmphex(peek(&board, 0xe0000), ==, 0xb1);
    g_assert_cmphex(peek(&board, 0x9ffff), ==, 0x11);
    g_assert_cmphex(peek(&board, 0x100000), ==, 0x11);
    g_assert_cmphex(peek(&board, RAM_SIZE - 1), ==, 0x11);
    g_assert_null(guest_memory_page(board.rig.host.memory, 0xa0000).host_read);
    g_assert_null(guest_memory_page(board.rig.host.memory, 0xc0000).host_read);
    g_assert_null(guest_memory_page(board.rig.host.memory, RAM_SIZE).host_read);
    unplug(&board);
}

// Firmware shadows itself: reads from ROM, writes to RAM, then both from RAM, then read-only.
static void shadow(void)
{
    Board board;
    plug(&board);
    pam(&board, 0x59, 0x20);
    g_assert_cmphex(peek(&board, 0xffff0), ==, 0xea);
    poke(&board, 0xffff0, 0x77);
    g_assert_cmphex(peek(&board, 0xffff0), ==, 0xea);
    g_assert_cmphex(board.ram[0xffff0], ==, 0x77);
    pam(&board, 0x59, 0x30);
    g_assert_cmphex(peek(&board, 0xffff0), ==, 0x77);
    pam(&board, 0x59, 0x10);
    poke(&board, 0xffff0, 0x88);
    g_assert_cmphex(peek(&board, 0xffff0), ==, 0x77);
    g_assert_cmphex(peek(&board, 0xfffffff0), ==, 0xea);
    unplug(&board);
}

static void every_segment(void)
{
    Board board;
    plug(&board);
    static const struct {
        uint32_t start;
        uint8_t reg, both;
    } segments[] = {
        { 0xf0000, 0x59, 0x30 }, { 0xc0000, 0x5a, 0x03 }, { 0xc4000, 0x5a, 0x30 },
        { 0xc8000, 0x5b, 0x03 }, { 0xcc000, 0x5b, 0x30 }, { 0xd0000, 0x5c, 0x03 },
        { 0xd4000, 0x5c, 0x30 }, { 0xd8000, 0x5d, 0x03 }, { 0xdc000, 0x5d, 0x30 },
        { 0xe0000, 0x5e, 0x03 }, { 0xe4000, 0x5e, 0x30 }, { 0xe8000, 0x5f, 0x03 },
        { 0xec000, 0x5f, 0x30 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(segments); i++) {
        for (unsigned reg = 0x59; reg <= 0x5f; reg++)
            pam(&board, reg, 0);
        pam(&board, segments[i].reg, segments[i].both);
        for (unsigned j = 0; j < G_N_ELEMENTS(segments); j++) {
            uint8_t *host = guest_memory_page(board.rig.host.memory, segments[j].start).host_write;
            g_assert_true((host == board.ram + segments[j].start) == (i == j));
        }
    }
    unplug(&board);
}

static void reset_unshadows(void)
{
    Board board;
    plug(&board);
    pam(&board, 0x59, 0x30);
    poke(&board, 0xffff0, 0x77);
    board.rig.ops->reset(board.rig.chip, RESET_WARM);
    g_assert_cmphex(peek(&board, 0xffff0), ==, 0xea);
    unplug(&board);
}

static void hole(void)
{
    g_assert_cmphex(host_i440fx_ram_below_4g(UINT64_C(1) << 30), ==, 1 << 30);
    g_assert_cmphex(host_i440fx_ram_above_4g(UINT64_C(1) << 30), ==, 0);
    g_assert_cmphex(host_i440fx_ram_below_4g(UINT64_C(8) << 30), ==, 0xc0000000);
    g_assert_cmphex(host_i440fx_ram_above_4g(UINT64_C(8) << 30), ==, UINT64_C(0x140000000));
}

static void refuses_odd_sizes(void)
{
    Board board;
    plug(&board);
    static const HostI440fxConfig bad[] = {
        { NULL, 0x80000, NULL, BIOS_SIZE }, { NULL, RAM_SIZE + 1, NULL, BIOS_SIZE },
        { NULL, RAM_SIZE, NULL, 0x10000 },  { NULL, RAM_SIZE, NULL, 0x1000000 },
        { NULL, RAM_SIZE, NULL, 0x20001 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(host_i440fx_ops.create(&bad[i], &board.rig.host, &error));
        g_assert_nonnull(error);
    }
    unplug(&board);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host-i440fx/identity", identity);
    g_test_add_func("/host-i440fx/reset-map", reset_map);
    g_test_add_func("/host-i440fx/pam/shadow", shadow);
    g_test_add_func("/host-i440fx/pam/every-segment", every_segment);
    g_test_add_func("/host-i440fx/pam/reset", reset_unshadows);
    g_test_add_func("/host-i440fx/hole", hole);
    g_test_add_func("/host-i440fx/odd-sizes", refuses_odd_sizes);
    return g_test_run();
}
