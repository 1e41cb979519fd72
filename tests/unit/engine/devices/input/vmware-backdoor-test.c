// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/input/vmware-backdoor.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define MAGIC 0x564d5868u

typedef struct {
    ChipRig rig;
    InputRouter *router;
    unsigned wakes;
    uint32_t regs[6];
} Board;

static void on_wake(void *opaque)
{
    ((Board *)opaque)->wakes++;
}

static void plug(Board *board)
{
    *board = (Board){ .router = input_router_new() };
    rig_open(&board->rig);
    rig_plug(&board->rig, &vmware_backdoor_ops,
             &(VmwareBackdoorConfig){ board->router, on_wake, board, 1700000000 });
}

static void unplug(Board *board)
{
    rig_close(&board->rig);
    input_router_free(board->router);
}

static uint32_t call(Board *board, uint16_t command, uint32_t argument)
{
    uint32_t regs[6] = { MAGIC, argument, command, VMWARE_BACKDOOR_PORT, 0, 0 };
    g_assert_true(vmware_backdoor_in(board->rig.chip, regs));
    memcpy(board->regs, regs, sizeof regs);
    return regs[0];
}

static void enable(Board *board)
{
    call(board, 41, 0x45414552);
    g_assert_cmphex(call(board, 40, 0), ==, 1);
    g_assert_cmphex(call(board, 39, 1), ==, 0x3442554a);
    call(board, 41, 0x53424152);
}

static void without_magic(void)
{
    Board board;
    plug(&board);
    uint32_t regs[6] = { 0, 1, 10, VMWARE_BACKDOOR_PORT, 4, 5 };
    g_assert_false(vmware_backdoor_in(board.rig.chip, regs));
    g_assert_cmphex(regs[1], ==, 1);
    g_assert_cmphex(bus_port_read(board.rig.host.bus, VMWARE_BACKDOOR_PORT, 4), ==, 0xffffffff);
    unplug(&board);
}

static void version_and_time(void)
{
    Board board;
    plug(&board);
    g_assert_cmphex(call(&board, 10, 0), ==, 6);
    g_assert_cmphex(board.regs[1], ==, MAGIC);
    clock_advance(board.rig.host.clock, 2500000000);
    g_assert_cmpuint(call(&board, 23, 0), ==, 1700000002);
    g_assert_cmpuint(board.regs[1], ==, 500000);
    g_assert_cmphex(call(&board, 0x1234, 0), ==, 0xffffffff);
    unplug(&board);
}

static void absolute_packets(void)
{
    Board board;
    plug(&board);
    g_assert_false(input_wants_absolute(board.router));
    g_assert_cmphex(call(&board, 40, 0), ==, 0xffff0000);
    enable(&board);
    g_assert_true(input_wants_absolute(board.router));
    input_pointer_absolute(board.router, 100, 65535, 1, INPUT_LEFT | INPUT_MIDDLE);
    g_assert_cmpuint(board.wakes, ==, 1);
    g_assert_cmpuint(call(&board, 40, 0), ==, 4);
    g_assert_cmphex(call(&board, 39, 4), ==, 0x28);
    g_assert_cmpuint(board.regs[1], ==, 100);
    g_assert_cmpuint(board.regs[2], ==, 65535);
    g_assert_cmphex(board.regs[3], ==, 0xffffffff);
    call(&board, 41, 0x4c455252); // relative
    g_assert_false(input_wants_absolute(board.router));
    unplug(&board);
}

static void reading_too_much(void)
{
    Board board;
    plug(&board);
    enable(&board);
    input_pointer_absolute(board.router, 1, 2, 0, 0);
    g_assert_cmphex(call(&board, 39, 5), ==, 0xffff0000);
    g_assert_cmphex(call(&board, 40, 0), ==, 0xffff0000);
    enable(&board); // the driver begins anew
    g_assert_cmpuint(call(&board, 40, 0), ==, 0);
    unplug(&board);
}

static void queue_is_bounded(void)
{
    Board board;
    plug(&board);
    enable(&board);
    for (unsigned i = 0; i < 5000; i++)
        input_pointer_absolute(board.router, i, i, 0, 0);
    g_assert_cmpuint(call(&board, 40, 0), ==, 1024);
    call(&board, 41, 0xf5);
    g_assert_false(input_wants_absolute(board.router));
    unplug(&board);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmware-backdoor/magic", without_magic);
    g_test_add_func("/vmware-backdoor/version-and-time", version_and_time);
    g_test_add_func("/vmware-backdoor/absolute", absolute_packets);
    g_test_add_func("/vmware-backdoor/too-much", reading_too_much);
    g_test_add_func("/vmware-backdoor/bounded", queue_is_bounded);
    return g_test_run();
}
