// SPDX-License-Identifier: GPL-2.0-or-later
// Register scripts for the IDE function and its disks: transfers by bus master, and TRIM, whose
// ranges come by one.
#include "engine/base/bytes.h"
#include "tests/unit/engine/devices/storage/ide-rig.h"

static void descriptor(IdeRig *r, uint32_t at, uint32_t address, uint32_t bytes, bool last)
{
    le32_write(r->f.memory + at, address);
    le32_write(r->f.memory + at + 4, (bytes & 0xffff) | (last ? 0x80000000u : 0));
}

static void start_dma(IdeRig *r, uint32_t table, bool to_memory)
{
    fixture_out(&r->f, IDE_RIG_MASTER + 4, 4, table);
    fixture_out(&r->f, IDE_RIG_MASTER + 2, 1, 0x06);
    fixture_out(&r->f, IDE_RIG_MASTER, 1, to_memory ? 0x08 : 0);
    fixture_out(&r->f, IDE_RIG_MASTER, 1, to_memory ? 0x09 : 1);
}

// Regions of odd sizes that cross pages, and more sectors than a chunk.
static void test_dma_read(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    descriptor(&r, 0x1000, 0x100ffe, 6, false);
    descriptor(&r, 0x1008, 0x110ffa, 0x3000, false);
    descriptor(&r, 0x1010, 0x200000, 0, false); // 64 KiB
    descriptor(&r, 0x1018, 0x120000, 256 * 512 - 0x10000 - 0x3000 - 6, true);
    ide_rig_task(&r, 0, 40);
    ide_rig_command(&r, 0xc8);
    g_assert_cmpuint(ide_rig_status(&r), ==, IDE_BSY);
    start_dma(&r, 0x1000, true);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0x04); // interrupt, not active, no error
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    g_assert_cmpuint(r.f.irq_rises[14], ==, 1);
    g_autofree uint8_t *data = g_malloc(256 * 512);
    memcpy(data, r.f.memory + 0x100ffe, 6);
    memcpy(data + 6, r.f.memory + 0x110ffa, 0x3000);
    memcpy(data + 6 + 0x3000, r.f.memory + 0x200000, 0x10000);
    memcpy(data + 6 + 0x13000, r.f.memory + 0x120000, 256 * 512 - 0x13006);
    ide_rig_assert_sector(data, 40, 256);
    fixture_out(&r.f, IDE_RIG_MASTER, 1, 8);
    fixture_out(&r.f, IDE_RIG_MASTER + 2, 1, 4);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0);
    ide_rig_tear_down(&r);
}

static void test_dma_write_ext(void)
{
    IdeRig r;
    uint8_t back[512];
    ide_rig_set_up(&r);
    memset(r.f.memory + 0x100000, 0x5a, 200 * 512);
    r.f.memory[0x100000 + 199 * 512] = 0x77;
    descriptor(&r, 0x2000, 0x100000, 0, false);
    descriptor(&r, 0x2008, 0x110000, 200 * 512 - 65536, true);
    ide_rig_task(&r, 0, 0); // the high bytes
    ide_rig_task(&r, 200, 2000);
    ide_rig_command(&r, 0x35);
    start_dma(&r, 0x2000, false);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0x04);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_read_back(&r, 2199 * 512, back, 512);
    g_assert_cmpuint(back[0], ==, 0x77);
    g_assert_cmpuint(back[511], ==, 0x5a);
    ide_rig_read_back(&r, 2200 * 512, back, 512);
    ide_rig_assert_sector(back, 2200, 1);
    // The high half is read through HOB
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 2199 & 0xff);
    fixture_out(&r.f, 0x3f6, 1, 0x80);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 0);
    ide_rig_tear_down(&r);
}

static void put_range(IdeRig *r, unsigned index, uint64_t sector, uint16_t count)
{
    le64_write(r->f.memory + 0x100000 + index * 8, sector | (uint64_t)count << 48);
}

static void trim(IdeRig *r)
{
    descriptor(r, 0x2000, 0x100000, 512, true);
    fixture_out(&r->f, 0x1f1, 1, 1);
    ide_rig_task(r, 0, 0); // the high bytes
    ide_rig_task(r, 1, 0);
    ide_rig_command(r, 0x06);
    start_dma(r, 0x2000, false);
    fixture_wait(&r->f);
}

// What a guest gives up is a hole in the host's file, of a raw image and of a snapshot store.
static void test_trim_punches(gconstpointer data)
{
    bool in_store = GPOINTER_TO_INT(data);
    IdeRig r;
    uint8_t back[512];
    ide_rig_set_up_with(&r, in_store);
    uint64_t before = ide_rig_room(&r);
    put_range(&r, 0, 1024, 1000);
    put_range(&r, 1, 0, 0); // nothing
    put_range(&r, 2, 2024, 24);
    put_range(&r, 5, 3072, 1024);
    trim(&r);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0x04);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    g_assert_cmpuint(ide_rig_room(&r), <=, before - 2048 * 512 + 65536);
    ide_rig_read_back(&r, 1023 * 512, back, 512);
    ide_rig_assert_sector(back, 1023, 1);
    ide_rig_read_back(&r, 3071 * 512, back, 512);
    ide_rig_assert_sector(back, 3071, 1);
    ide_rig_read_back(&r, 1024 * 512, back, 512);
    g_assert_true(back[0] == 0 && memcmp(back, back + 1, 511) == 0);
    ide_rig_tear_down(&r);
}

static void test_trim_refused(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    uint64_t before = ide_rig_room(&r);
    put_range(&r, 0, 0, 1024);
    put_range(&r, 1, IDE_RIG_SECTORS - 1, 2); // past the end: nothing is given up
    trim(&r);
    g_assert_cmpuint(ide_rig_status(&r) & IDE_ERR, ==, IDE_ERR);
    fixture_out(&r.f, 0x1f1, 1, 0); // not TRIM
    ide_rig_task(&r, 1, 0);
    ide_rig_command(&r, 0x06);
    g_assert_cmpuint(ide_rig_status(&r) & IDE_ERR, ==, IDE_ERR);
    fixture_out(&r.f, 0x1f1, 1, 1);
    ide_rig_task(&r, 9, 0); // more than it says it takes
    ide_rig_command(&r, 0x06);
    g_assert_cmpuint(ide_rig_status(&r) & IDE_ERR, ==, IDE_ERR);
    g_assert_cmpuint(ide_rig_room(&r), ==, before);
    ide_rig_tear_down(&r);
}

static void test_dma_table_longer(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    descriptor(&r, 0x1000, 0x100000, 4096, true);
    ide_rig_task(&r, 1, 9);
    start_dma(&r, 0x1000, true); // started before the command: waits for the drive
    ide_rig_command(&r, 0xc8);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0x05); // descriptors left over: still active
    ide_rig_assert_sector(r.f.memory + 0x100000, 9, 1);
    fixture_out(&r.f, IDE_RIG_MASTER, 1, 0);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0x04);
    ide_rig_tear_down(&r);
}

static void test_dma_table_shorter(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    descriptor(&r, 0x1000, 0x100000, 512, true);
    ide_rig_task(&r, 4, 9);
    ide_rig_command(&r, 0xc8);
    start_dma(&r, 0x1000, true);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0); // neither active nor interrupt
    g_assert_false(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_status(&r) & IDE_DRQ, ==, IDE_DRQ);
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_tear_down(&r);
}

// A table without an end whose every region is the table itself, of two bytes each.
static void test_dma_hostile_table(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    for (uint32_t at = 0; at < 65536; at += 8)
        descriptor(&r, 0x10000 + at, 0x300000, 2, false);
    ide_rig_task(&r, 0, 0);
    ide_rig_command(&r, 0xc8);
    start_dma(&r, 0x10000, true);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0); // 8192 descriptors, then the end
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    // The data overwrites the table that is being walked
    descriptor(&r, 0x20000, 0x20000, 0, false);
    ide_rig_task(&r, 0, 0);
    ide_rig_command(&r, 0xc8);
    start_dma(&r, 0x20000, true);
    fixture_wait(&r.f);
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    // Table, then region, outside memory
    ide_rig_task(&r, 1, 0);
    ide_rig_command(&r, 0xc8);
    start_dma(&r, 0xfffffff8, true);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0x02);
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    descriptor(&r, 0x1000, 0xfffff000, 0, true);
    ide_rig_task(&r, 1, 0);
    ide_rig_command(&r, 0xca);
    start_dma(&r, 0x1000, false);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0x02);
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_tear_down(&r);
}

static void test_dma_needs_bus_master(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    descriptor(&r, 0x1000, 0x100000, 512, true);
    pci_config_write(r.f.host.pci, IDE_RIG_DEVFN, 4, 2, 1);
    ide_rig_task(&r, 1, 9);
    ide_rig_command(&r, 0xc8);
    start_dma(&r, 0x1000, true);
    fixture_wait(&r.f);
    g_assert_cmpuint(r.f.memory[0x100000 + 100], ==, 0);
    g_assert_false(r.f.irq[14]);
    ide_rig_tear_down(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ide-piix3/dma/read-crosses-pages", test_dma_read);
    g_test_add_func("/ide-piix3/dma/write-ext", test_dma_write_ext);
    g_test_add_data_func("/ide-piix3/trim/image", GINT_TO_POINTER(0), test_trim_punches);
    g_test_add_data_func("/ide-piix3/trim/store", GINT_TO_POINTER(1), test_trim_punches);
    g_test_add_func("/ide-piix3/trim/refused", test_trim_refused);
    g_test_add_func("/ide-piix3/dma/table-longer", test_dma_table_longer);
    g_test_add_func("/ide-piix3/dma/table-shorter", test_dma_table_shorter);
    g_test_add_func("/ide-piix3/dma/hostile-table", test_dma_hostile_table);
    g_test_add_func("/ide-piix3/dma/needs-bus-master", test_dma_needs_bus_master);
    return g_test_run();
}
