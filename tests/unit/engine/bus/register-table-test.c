// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bus/register-table.h"

#include <glib.h>

typedef struct {
    uint32_t values[4];
    unsigned reads, writes;
    uint32_t old, written;
} Chip;

static void count_read(void *device, size_t row)
{
    Chip *chip = device;
    chip->values[row] = ++chip->reads;
}

static void note_write(void *device, size_t row, uint32_t old, uint32_t written)
{
    Chip *chip = device;
    chip->writes++;
    chip->old = old;
    chip->written = written;
}

static const RegisterRow rows[] = {
    { 0, 4, "CONTROL", 0x11223344, 0xffffffff, 0x0000ffff, 0, NULL, note_write, "1" },
    { 4, 2, "STATUS", 0xf00f, 0xffff, 0, 0x00ff, NULL, NULL, "2" },
    { 6, 1, "COUNT", 0, 0x7f, 0, 0, count_read, NULL, "3" },
    { 8, 4, "SECRET", 0xdeadbeef, 0, 0xffffffff, 0, NULL, NULL, "4" },
};
static const RegisterTable table = { "sample", rows, G_N_ELEMENTS(rows) };

static void masks(void)
{
    Chip chip = { 0 };
    register_reset(&table, chip.values);
    g_assert_cmphex(register_read(&table, chip.values, &chip, 0, 4), ==, 0x11223344);
    register_write(&table, chip.values, &chip, 0, 4, 0xaaaabbbb);
    g_assert_cmphex(register_read(&table, chip.values, &chip, 0, 4), ==, 0x1122bbbb);
    g_assert_cmphex(register_read(&table, chip.values, &chip, 8, 4), ==, 0);
}

static void write_clear(void)
{
    Chip chip = { 0 };
    register_reset(&table, chip.values);
    register_write(&table, chip.values, &chip, 4, 2, 0xff01);
    g_assert_cmphex(register_read(&table, chip.values, &chip, 4, 2), ==, 0xf00e);
}

static void partial_access(void)
{
    Chip chip = { 0 };
    register_reset(&table, chip.values);
    g_assert_cmphex(register_read(&table, chip.values, &chip, 1, 2), ==, 0x2233);
    register_write(&table, chip.values, &chip, 1, 1, 0xcc);
    g_assert_cmphex(chip.values[0], ==, 0x1122cc44);
    g_assert_cmphex(chip.old, ==, 0x11223344);
    g_assert_cmphex(chip.written, ==, 0xcc00);
}

static void access_over_rows(void)
{
    Chip chip = { 0 };
    register_reset(&table, chip.values);
    g_assert_cmphex(register_read(&table, chip.values, &chip, 2, 8), ==, 0x00000001f00f1122);
    g_assert_cmpuint(chip.reads, ==, 1);
    register_write(&table, chip.values, &chip, 0, 8, UINT64_MAX);
    g_assert_cmpuint(chip.writes, ==, 1);
    g_assert_cmphex(chip.values[1], ==, 0xf000);
}

static void unknown_offset(void)
{
    Chip chip = { 0 };
    g_assert_cmphex(register_read(&table, chip.values, &chip, 0x1000, 4), ==, 0);
    register_write(&table, chip.values, &chip, UINT64_MAX - 1, 8, UINT64_MAX);
    g_assert_cmpuint(chip.writes, ==, 1); // the access wrapped round to CONTROL
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/register-table/masks", masks);
    g_test_add_func("/register-table/write-clear", write_clear);
    g_test_add_func("/register-table/partial", partial_access);
    g_test_add_func("/register-table/over-rows", access_over_rows);
    g_test_add_func("/register-table/unknown", unknown_offset);
    return g_test_run();
}
