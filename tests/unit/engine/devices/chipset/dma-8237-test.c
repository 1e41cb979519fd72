// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/dma-8237.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define RAM_SIZE 0x80000

typedef struct {
    ChipRig rig;
    IsaDma dma;
    uint8_t *ram;
    unsigned calls;
} Board;

static void plug(Board *board)
{
    *board = (Board){ 0 };
    rig_open(&board->rig);
    board->ram = g_malloc0(RAM_SIZE);
    guest_memory_map(board->rig.host.memory, "ram", 0, RAM_SIZE, board->ram,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    rig_plug(&board->rig, &dma_8237_ops, &(Dma8237Config){ 0 });
    board->dma = dma_8237_border(board->rig.chip);
    outb(&board->rig, 0xd4, 0); // unmask the cascade
}

static void unplug(Board *board)
{
    rig_close(&board->rig);
    g_free(board->ram);
}

// Channel 2 as a floppy driver sets it up.
static void program(Board *board, uint8_t mode, uint32_t address, uint16_t count)
{
    ChipRig *rig = &board->rig;
    outb(rig, 0x0a, 6);
    outb(rig, 0x0c, 0);
    outb(rig, 0x0b, mode | 2);
    outb(rig, 0x04, (uint8_t)address);
    outb(rig, 0x04, (uint8_t)(address >> 8));
    outb(rig, 0x81, (uint8_t)(address >> 16));
    outb(rig, 0x05, (uint8_t)count);
    outb(rig, 0x05, (uint8_t)(count >> 8));
    outb(rig, 0x0a, 2);
}

static size_t transfer(Board *board, unsigned channel, IsaDmaDirection direction,
                       const void *buffer, size_t size, bool *ret_end)
{
    // Only TO_DEVICE writes to the buffer.
    return board->dma.transfer(board->dma.opaque, channel, direction, (void *)buffer, size,
                               ret_end);
}

static void to_memory(void)
{
    Board board;
    bool end;
    plug(&board);
    program(&board, 0x44, 0x12340, 9);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "abcd", 4, &end), ==, 4);
    g_assert_false(end);
    g_assert_cmphex(inb(&board.rig, 0x08) & 4, ==, 0);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "efghijkl", 8, &end), ==, 6);
    g_assert_true(end);
    g_assert_cmpmem(board.ram + 0x12340, 11, "abcdefghij", 11);
    g_assert_cmphex(inb(&board.rig, 0x08) & 4, ==, 4); // terminal count, cleared by reading
    g_assert_cmphex(inb(&board.rig, 0x08) & 4, ==, 0);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "x", 1, &end), ==, 0); // masked now
    unplug(&board);
}

static void to_device(void)
{
    Board board;
    bool end;
    char buffer[8] = "";
    plug(&board);
    memcpy(board.ram + 0x2000, "sector", 6);
    program(&board, 0x48, 0x2000, 5);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, buffer, 6, &end), ==, 0); // wrong way
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_DEVICE, buffer, 6, &end), ==, 6);
    g_assert_true(end);
    g_assert_cmpstr(buffer, ==, "sector");
    unplug(&board);
}

static void auto_initialise(void)
{
    Board board;
    bool end;
    plug(&board);
    program(&board, 0x54, 0x3000, 3);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "wxyz", 8, &end), ==, 4);
        g_assert_true(end);
    }
    outb(&board.rig, 0x0c, 0);
    g_assert_cmphex(inb(&board.rig, 0x04), ==, 0x00);
    g_assert_cmphex(inb(&board.rig, 0x04), ==, 0x30);
    g_assert_cmphex(inb(&board.rig, 0x05), ==, 0x03);
    unplug(&board);
}

static void verify_moves_nothing(void)
{
    Board board;
    bool end;
    char buffer[4] = "keep";
    plug(&board);
    program(&board, 0x40, 0x3000, 3);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_DEVICE, buffer, 4, &end), ==, 4);
    g_assert_true(end);
    g_assert_cmpmem(buffer, 4, "keep", 4);
    g_assert_cmphex(board.ram[0x3000], ==, 0);
    unplug(&board);
}

static void decrement(void)
{
    Board board;
    bool end;
    plug(&board);
    program(&board, 0x64, 0x3003, 3);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "abcd", 4, &end), ==, 4);
    g_assert_cmpmem(board.ram + 0x3000, 4, "dcba", 4);
    unplug(&board);
}

static void wraps_in_64k(void)
{
    Board board;
    bool end;
    plug(&board);
    program(&board, 0x44, 0x1fffe, 3);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "abcd", 4, &end), ==, 4);
    g_assert_cmpmem(board.ram + 0x1fffe, 2, "ab", 2);
    g_assert_cmpmem(board.ram + 0x10000, 2, "cd", 2);
    unplug(&board);
}

static void words(void)
{
    Board board;
    bool end;
    plug(&board);
    ChipRig *rig = &board.rig;
    outb(rig, 0xd8, 0);
    outb(rig, 0xd6, 0x44 | 1); // channel 5
    outb(rig, 0xc4, 0x00);
    outb(rig, 0xc4, 0x10); // word 1000h: byte 2000h
    outb(rig, 0x8b, 0x03); // bit 0 has no meaning
    outb(rig, 0xc6, 1);
    outb(rig, 0xc6, 0); // two words
    outb(rig, 0xd4, 1);
    g_assert_cmpuint(transfer(&board, 5, ISA_DMA_TO_MEMORY, "abcdef", 6, &end), ==, 4);
    g_assert_true(end);
    g_assert_cmpmem(board.ram + 0x22000, 4, "abcd", 4);
    unplug(&board);
}

static void watcher(void *opaque)
{
    ((Board *)opaque)->calls++;
}

static void watch(void)
{
    Board board;
    bool end;
    plug(&board);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "a", 1, &end), ==, 0);
    board.dma.watch(board.dma.opaque, 2, watcher, &board);
    outb(&board.rig, 0x0a, 1); // another channel
    g_assert_cmpuint(board.calls, ==, 0);
    outb(&board.rig, 0x0a, 2);
    g_assert_cmpuint(board.calls, ==, 1);
    outb(&board.rig, 0x0a, 2); // once
    g_assert_cmpuint(board.calls, ==, 1);
    board.dma.watch(board.dma.opaque, 2, watcher, &board);
    board.dma.watch(board.dma.opaque, 2, NULL, NULL);
    outb(&board.rig, 0x0e, 0);
    g_assert_cmpuint(board.calls, ==, 1);
    unplug(&board);
}

static void masks_and_command(void)
{
    Board board;
    bool end;
    plug(&board);
    program(&board, 0x44, 0x3000, 0xff);
    outb(&board.rig, 0x08, 4); // controller off
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "a", 1, &end), ==, 0);
    outb(&board.rig, 0x08, 0);
    outb(&board.rig, 0xd4, 4); // cascade masked
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "a", 1, &end), ==, 0);
    outb(&board.rig, 0xd4, 0);
    g_assert_cmpuint(transfer(&board, 2, ISA_DMA_TO_MEMORY, "a", 1, &end), ==, 1);
    outb(&board.rig, 0x0d, 0); // master clear
    g_assert_cmphex(inb(&board.rig, 0x0f), ==, 0xff);
    outb(&board.rig, 0x0f, 0x05);
    g_assert_cmphex(inb(&board.rig, 0x0f), ==, 0xf5);
    g_assert_cmpuint(transfer(&board, 4, ISA_DMA_TO_MEMORY, "a", 1, &end), ==, 0);
    g_assert_cmpuint(transfer(&board, 99, ISA_DMA_TO_MEMORY, "a", 1, &end), ==, 0);
    unplug(&board);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dma-8237/to-memory", to_memory);
    g_test_add_func("/dma-8237/to-device", to_device);
    g_test_add_func("/dma-8237/auto-initialise", auto_initialise);
    g_test_add_func("/dma-8237/verify", verify_moves_nothing);
    g_test_add_func("/dma-8237/decrement", decrement);
    g_test_add_func("/dma-8237/wraps", wraps_in_64k);
    g_test_add_func("/dma-8237/words", words);
    g_test_add_func("/dma-8237/watch", watch);
    g_test_add_func("/dma-8237/masks", masks_and_command);
    return g_test_run();
}
