// SPDX-License-Identifier: GPL-2.0-or-later
// Drives the device through its ports as SeaBIOS does.
#include "engine/firmware/fw-cfg.h"

#include "engine/base/bytes.h"

#include <string.h>

typedef struct {
    Bus *bus;
    GuestMemory *memory;
    Clock *clock;
    uint8_t *ram;
    FwCfg *fw_cfg;
    DeviceHost host;
} Board;

#define RAM_SIZE 0x100000

static void set_up(Board *board, gconstpointer unused)
{
    board->bus = bus_new();
    board->memory = guest_memory_new(UINT64_C(1) << 36);
    board->clock = clock_new_manual();
    board->ram = g_aligned_alloc0(1, RAM_SIZE, 4096);
    guest_memory_map(board->memory, "ram", 0, RAM_SIZE, board->ram,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    board->host = (DeviceHost){ board->bus, board->memory, board->clock };
    FwCfgConfig config = { .uuid = { 1, 2, 3 }, .ram_size = RAM_SIZE, .cpus = 3, .hpet = true };
    board->fw_cfg = fw_cfg_ops.create(&config, &board->host, NULL);
    fw_cfg_ops.reset(board->fw_cfg, RESET_COLD);
}

static void tear_down(Board *board, gconstpointer unused)
{
    fw_cfg_ops.destroy(board->fw_cfg);
    clock_free(board->clock);
    guest_memory_free(board->memory);
    bus_free(board->bus);
    g_aligned_free(board->ram);
}

static void select_key(Board *board, uint16_t key)
{
    bus_port_write(board->bus, 0x510, 2, key);
}

static uint8_t next_byte(Board *board)
{
    return (uint8_t)bus_port_read(board->bus, 0x511, 1);
}

static uint32_t dma(Board *board, uint32_t control, uint32_t length, uint64_t address)
{
    be32_write(board->ram + 0x1000, control);
    be32_write(board->ram + 0x1004, length);
    be64_write(board->ram + 0x1008, address);
    bus_port_write(board->bus, 0x518, 4, GUINT32_SWAP_LE_BE(0x1000));
    return be32_read(board->ram + 0x1000);
}

static uint16_t file_key(Board *board, const char *name, uint32_t *ret_size)
{
    select_key(board, FW_CFG_FILE_DIRECTORY);
    uint8_t count[4];
    for (int i = 0; i < 4; i++)
        count[i] = next_byte(board);
    for (uint32_t i = 0; i < be32_read(count); i++) {
        uint8_t entry[64];
        for (int j = 0; j < 64; j++)
            entry[j] = next_byte(board);
        if (strcmp((char *)entry + 8, name) == 0) {
            *ret_size = be32_read(entry);
            return be16_read(entry + 4);
        }
    }
    return 0;
}

static void signature(Board *board, gconstpointer unused)
{
    select_key(board, FW_CFG_SIGNATURE);
    g_assert_cmpint(next_byte(board), ==, 'Q');
    g_assert_cmpint(next_byte(board), ==, 'E');
    g_assert_cmpint(next_byte(board), ==, 'M');
    g_assert_cmpint(next_byte(board), ==, 'U');
    g_assert_cmpint(next_byte(board), ==, 0);
    g_assert_cmphex(bus_port_read(board->bus, 0x514, 4), ==, GUINT32_SWAP_LE_BE(0x51454d55));
    g_assert_cmphex(bus_port_read(board->bus, 0x518, 4), ==, GUINT32_SWAP_LE_BE(0x20434647));
}

static void legacy_keys(Board *board, gconstpointer unused)
{
    select_key(board, FW_CFG_ID);
    g_assert_cmpint(next_byte(board), ==, 3);
    select_key(board, FW_CFG_MAX_CPUS);
    g_assert_cmpint(next_byte(board), ==, 3);
    select_key(board, FW_CFG_NUMA);
    for (int i = 0; i < 8; i++)
        g_assert_cmpint(next_byte(board), ==, 0);
    select_key(board, FW_CFG_IRQ0_OVERRIDE);
    g_assert_cmpint(next_byte(board), ==, 1);
    select_key(board, 0x7777);
    g_assert_cmpint(next_byte(board), ==, 0);
}

static void directory(Board *board, gconstpointer unused)
{
    uint32_t size = 0;
    fw_cfg_add_file(board->fw_cfg, "etc/one", "12345", 5);
    fw_cfg_add_file(board->fw_cfg, "etc/two", "67", 2);
    g_assert_cmphex(file_key(board, "etc/two", &size), ==, 0x21);
    g_assert_cmpuint(size, ==, 2);
    uint16_t key = file_key(board, "etc/one", &size);
    g_assert_cmpuint(size, ==, 5);
    select_key(board, key);
    uint8_t text[6];
    bus_port_read_block(board->bus, 0x511, 1, 6, text);
    g_assert_cmpstr((char *)text, ==, "12345");
    fw_cfg_add_file(board->fw_cfg, "etc/one", "x", 1);
    g_assert_cmphex(file_key(board, "etc/one", &size), ==, key);
    g_assert_cmpuint(size, ==, 1);
}

static GBytes *count_calls(void *opaque)
{
    unsigned *calls = opaque;
    (*calls)++;
    return g_bytes_new("abcdefgh", *calls);
}

static void made_at_reset(Board *board, gconstpointer unused)
{
    unsigned calls = 0;
    uint32_t size = 0;
    fw_cfg_add_callback(board->fw_cfg, "bootorder", count_calls, &calls);
    fw_cfg_ops.reset(board->fw_cfg, RESET_WARM);
    file_key(board, "bootorder", &size);
    g_assert_cmpuint(size, ==, 2);
    g_assert_cmpuint(calls, ==, 2);
}

static void dma_select_read_skip(Board *board, gconstpointer unused)
{
    uint32_t size;
    fw_cfg_add_file(board->fw_cfg, "etc/data", "0123456789", 10);
    uint16_t key = file_key(board, "etc/data", &size);
    g_assert_cmphex(dma(board, (uint32_t)key << 16 | 8 | 2, 4, 0x2000), ==, 0);
    g_assert_cmpmem(board->ram + 0x2000, 4, "0123", 4);
    g_assert_cmphex(dma(board, 4, 2, 0), ==, 0);
    g_assert_cmphex(dma(board, 2, 8, 0x2000), ==, 0);
    g_assert_cmpmem(board->ram + 0x2000, 8, "6789\0\0\0\0", 8);
}

static void dma_refused(Board *board, gconstpointer unused)
{
    select_key(board, FW_CFG_SIGNATURE);
    g_assert_cmphex(dma(board, 16, 4, 0x2000), ==, 1);             // a write
    g_assert_cmphex(dma(board, 2, 4, 0x80000000), ==, 1);          // to where no RAM is
    g_assert_cmphex(dma(board, 2, 0xffffffff, 0x2000), ==, 1);     // far past the end
    bus_port_write(board->bus, 0x514, 4, 0xffffffff);
    bus_port_write(board->bus, 0x518, 4, 0xffffffff);              // no command there
    g_assert_cmphex(dma(board, 2, 4, 0x2000), ==, 0);              // still alive
}

static void state(Board *board, gconstpointer unused)
{
    select_key(board, FW_CFG_SIGNATURE);
    next_byte(board);
    g_autoptr(GBytes) first = state_save(fw_cfg_ops.state, board->fw_cfg);
    fw_cfg_ops.reset(board->fw_cfg, RESET_COLD);
    g_assert_true(state_load(fw_cfg_ops.state, board->fw_cfg, first, NULL));
    g_autoptr(GBytes) second = state_save(fw_cfg_ops.state, board->fw_cfg);
    g_assert_true(g_bytes_equal(first, second));
    g_assert_cmpint(next_byte(board), ==, 'E');
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Board, NULL, set_up, function, tear_down)
    ADD("/fw-cfg/signature", signature);
    ADD("/fw-cfg/legacy-keys", legacy_keys);
    ADD("/fw-cfg/directory", directory);
    ADD("/fw-cfg/made-at-reset", made_at_reset);
    ADD("/fw-cfg/dma/select-read-skip", dma_select_read_skip);
    ADD("/fw-cfg/dma/refused", dma_refused);
    ADD("/fw-cfg/state", state);
    return g_test_run();
}
