// SPDX-License-Identifier: GPL-2.0-or-later
// Partition tables, sound and made to mislead.
#include "snapshots/filesystems/partition-table.h"

#include "engine/base/bytes.h"

#include <zlib.h>

#define SECTORS 4096u

static uint8_t disk[SECTORS * 512];

static int read_disk(void *opaque, uint64_t offset, void *buffer, size_t size)
{
    memcpy(buffer, disk + offset, size);
    return 0;
}

static void begin(void)
{
    memset(disk, 0, sizeof disk);
}

static void put_mbr(uint32_t sector, unsigned index, uint8_t type, uint32_t first, uint32_t count)
{
    uint8_t *at = disk + sector * 512, *entry = at + 446 + 16 * index;
    at[510] = 0x55;
    at[511] = 0xaa;
    entry[4] = type;
    le32_write(entry + 8, first);
    le32_write(entry + 12, count);
}

static void put_gpt(uint32_t sector, uint64_t table, uint32_t count)
{
    uint8_t *header = disk + sector * 512;
    memcpy(header, "EFI PART", 8);
    le32_write(header + 12, 92);
    le64_write(header + 72, table);
    le32_write(header + 80, count);
    le32_write(header + 84, 128);
    le32_write(header + 16, 0);
    le32_write(header + 16, (uint32_t)crc32(0, header, 92));
}

static void put_gpt_entry(uint64_t table, unsigned index, uint64_t first, uint64_t last)
{
    uint8_t *entry = disk + table * 512 + index * 128;
    memset(entry, 0x17, 16);
    le64_write(entry + 32, first);
    le64_write(entry + 40, last);
}

// "1:2048+512 ", in sectors, and the number of problems behind.
static void assert_partitions(const char *expected)
{
    g_autoptr(DiskReader) reader = disk_reader_new(read_disk, NULL, sizeof disk);
    g_autoptr(GPtrArray) problems = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) partitions = partition_table_read(reader, problems);
    g_autoptr(GString) text = g_string_new("");
    for (guint i = 0; i < partitions->len; i++) {
        const Partition *p = &g_array_index(partitions, Partition, i);
        g_string_append_printf(text, "%u:%u+%u ", p->number, (unsigned)(p->start / 512),
                               (unsigned)(p->size / 512));
    }
    g_string_append_printf(text, "%u", problems->len);
    g_assert_cmpstr(text->str, ==, expected);
}

static void test_none(void)
{
    begin();
    assert_partitions("0:0+4096 0");
}

static void test_mbr(void)
{
    begin();
    put_mbr(0, 0, 0x83, 64, 100);
    put_mbr(0, 2, 0x07, 200, 100);
    put_mbr(0, 3, 0x05, 400, 1000);
    put_mbr(400, 0, 0x83, 10, 50);
    put_mbr(400, 1, 0x05, 100, 100);
    put_mbr(500, 0, 0x83, 10, 60);
    assert_partitions("1:64+100 3:200+100 5:410+50 6:510+60 0");
}

static void test_mbr_beyond(void)
{
    begin();
    put_mbr(0, 0, 0x83, 64, 100);
    put_mbr(0, 1, 0x83, 4000, 100);
    put_mbr(0, 2, 0x83, 0xffffffff, 0xffffffff);
    assert_partitions("1:64+100 2");
}

static void test_chain_that_goes_back(void)
{
    begin();
    put_mbr(0, 0, 0x05, 400, 1000);
    put_mbr(400, 0, 0x83, 10, 50);
    put_mbr(400, 1, 0x05, 0, 100);
    assert_partitions("5:410+50 1");
}

static void test_gpt(void)
{
    begin();
    put_mbr(0, 0, 0xee, 1, SECTORS - 1);
    put_gpt(1, 2, 128);
    put_gpt_entry(2, 0, 64, 163);
    put_gpt_entry(2, 4, 200, 200);
    assert_partitions("1:64+100 5:200+1 0");
}

static void test_gpt_copy(void)
{
    begin();
    put_mbr(0, 0, 0xee, 1, SECTORS - 1);
    put_gpt(1, 2, 128);
    disk[512 + 80]++; // its checksum is wrong
    put_gpt(SECTORS - 1, SECTORS - 33, 128);
    put_gpt_entry(SECTORS - 33, 0, 64, 163);
    assert_partitions("1:64+100 1");
}

static void test_gpt_beyond(void)
{
    begin();
    put_mbr(0, 0, 0xee, 1, SECTORS - 1);
    put_gpt(1, 2, 0xffffffff);
    put_gpt_entry(2, 0, 64, UINT64_MAX);
    put_gpt_entry(2, 1, 64, 1);
    put_gpt_entry(2, 2, UINT64_MAX, UINT64_MAX);
    assert_partitions("3");
    put_gpt(1, UINT64_MAX, 128);
    assert_partitions("1");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/filesystems/partition-table/none", test_none);
    g_test_add_func("/filesystems/partition-table/mbr", test_mbr);
    g_test_add_func("/filesystems/partition-table/mbr-beyond", test_mbr_beyond);
    g_test_add_func("/filesystems/partition-table/chain-goes-back", test_chain_that_goes_back);
    g_test_add_func("/filesystems/partition-table/gpt", test_gpt);
    g_test_add_func("/filesystems/partition-table/gpt-copy", test_gpt_copy);
    g_test_add_func("/filesystems/partition-table/gpt-beyond", test_gpt_beyond);
    return g_test_run();
}
