// SPDX-License-Identifier: GPL-2.0-or-later
// Register scripts for the IDE function and its disks: commands, programmed I/O, resets, states.
// Transfers by bus master are in ide-piix3-dma-test.c.
#include "engine/base/bytes.h"
#include "tests/unit/engine/devices/storage/ide-rig.h"

static void test_absent(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    fixture_out(&r.f, 0x1f6, 1, 0xb0); // unit 1: nothing there
    g_assert_cmpuint(ide_rig_status(&r), ==, 0);
    fixture_out(&r.f, 0x1f2, 1, 0x55);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f2, 1), !=, 0x55);
    ide_rig_command(&r, 0xec);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0);
    g_assert_cmpuint(fixture_in(&r.f, 0x177, 1), ==, 0); // empty channel
    fixture_out(&r.f, 0x1f6, 1, 0xa0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f6, 1), ==, 0xa0);
    ide_rig_tear_down(&r);
}

static void swap_text(const uint8_t *id, unsigned word, unsigned bytes, char *text)
{
    for (unsigned i = 0; i < bytes; i++)
        text[i] = (char)id[word * 2 + (i ^ 1)];
    text[bytes] = 0;
    g_strchomp(text);
}

static void test_identify(void)
{
    IdeRig r;
    uint8_t id[512], sum = 0;
    char text[41];
    ide_rig_set_up(&r);
    ide_rig_task(&r, 0, 0);
    ide_rig_command(&r, 0xec);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
    g_assert_false(r.f.irq[14]); // read of status
    for (unsigned i = 0; i < 256; i++)
        le16_write(id + i * 2, (uint16_t)fixture_in(&r.f, 0x1f0, 2));
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    g_assert_false(r.f.irq[14]); // no further interrupt
    swap_text(id, 10, 20, text);
    g_assert_cmpstr(text, ==, "SN-0001");
    swap_text(id, 27, 40, text);
    g_assert_cmpstr(text, ==, "LODGE HARD DISK");
    g_assert_cmpuint(le32_read(id + 120), ==, IDE_RIG_SECTORS);
    g_assert_cmpuint(le64_read(id + 200), ==, IDE_RIG_SECTORS);
    g_assert_cmpuint(le16_read(id + 2), ==, IDE_RIG_SECTORS / (16 * 63));
    g_assert_cmpuint(le16_read(id + 98) & 0x0300, ==, 0x0300); // LBA, DMA
    for (unsigned i = 0; i < 512; i++)
        sum = (uint8_t)(sum + id[i]);
    g_assert_cmpuint(sum, ==, 0);
    ide_rig_tear_down(&r);
}

static void test_read_pio(void)
{
    IdeRig r;
    uint8_t data[3 * 512];
    ide_rig_set_up(&r);
    ide_rig_task(&r, 3, 77);
    ide_rig_command(&r, 0x20);
    g_assert_cmpuint(ide_rig_status(&r), ==, IDE_BSY);
    fixture_wait(&r.f);
    for (unsigned i = 0; i < 3; i++) { // one interrupt a sector
        g_assert_true(r.f.irq[14]);
        g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
        ide_rig_read_block(&r, data + i * 512, 512);
    }
    g_assert_cmpuint(r.f.irq_rises[14], ==, 3);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_assert_sector(data, 77, 3);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 79);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f2, 1), ==, 0);
    ide_rig_tear_down(&r);
}

// 256 sectors: more than the buffer, and by 32-bit reads.
static void test_read_pio_long(void)
{
    IdeRig r;
    g_autofree uint8_t *data = g_malloc(256 * 512);
    ide_rig_set_up(&r);
    ide_rig_task(&r, 0, 1000);
    ide_rig_command(&r, 0x21);
    for (unsigned sector = 0; sector < 256; sector++) {
        fixture_wait(&r.f);
        g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
        for (unsigned i = 0; i < 128; i++)
            le32_write(data + sector * 512 + i * 4, fixture_in(&r.f, 0x1f0, 4));
    }
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_assert_sector(data, 1000, 256);
    ide_rig_tear_down(&r);
}

static void test_read_multiple(void)
{
    IdeRig r;
    uint8_t data[10 * 512];
    ide_rig_set_up(&r);
    ide_rig_task(&r, 3, 0);
    ide_rig_command(&r, 0xc6); // not a power of two
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    ide_rig_task(&r, 4, 0);
    ide_rig_command(&r, 0xc6);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    unsigned rises = r.f.irq_rises[14];
    ide_rig_task(&r, 10, 5);
    ide_rig_command(&r, 0xc4);
    fixture_wait(&r.f);
    ide_rig_read_block(&r, data, 4 * 512);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
    ide_rig_read_block(&r, data + 4 * 512, 4 * 512);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
    ide_rig_read_block(&r, data + 8 * 512, 2 * 512);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    // The first was not acknowledged before its data was read: its edge is the second's, too.
    g_assert_cmpuint(r.f.irq_rises[14], ==, rises + 2);
    ide_rig_assert_sector(data, 5, 10);
    ide_rig_task(&r, 0, 0);
    ide_rig_command(&r, 0xc6);
    ide_rig_command(&r, 0xc4);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51); // switched off
    ide_rig_tear_down(&r);
}

static void write_words(IdeRig *r, const uint8_t *data, unsigned bytes)
{
    bus_port_write_block(r->f.host.bus, 0x1f0, 2, bytes / 2, data);
}

static void test_write_pio(void)
{
    IdeRig r;
    uint8_t data[1024], back[1024];
    ide_rig_set_up(&r);
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 13 + 1);
    ide_rig_task(&r, 2, 300);
    ide_rig_command(&r, 0x30);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
    g_assert_cmpuint(r.f.irq_rises[14], ==, 0); // the first block asks without
    write_words(&r, data, 512);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
    write_words(&r, data + 512, 512);
    g_assert_cmpuint(ide_rig_status(&r), ==, IDE_BSY);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_read_back(&r, 300 * 512, back, sizeof back);
    g_assert_cmpmem(data, sizeof data, back, sizeof back);
    g_assert_cmpuint(r.f.irq_rises[14], ==, 2);
    ide_rig_tear_down(&r);
}

static void test_chs(void)
{
    IdeRig r;
    uint8_t data[512];
    ide_rig_set_up(&r);
    fixture_out(&r.f, 0x1f6, 1, 0xa0 | 5); // head 5
    fixture_out(&r.f, 0x1f2, 1, 1);
    fixture_out(&r.f, 0x1f3, 1, 7); // sector 7
    fixture_out(&r.f, 0x1f4, 1, 2); // cylinder 2
    fixture_out(&r.f, 0x1f5, 1, 0);
    ide_rig_command(&r, 0x20);
    fixture_wait(&r.f);
    ide_rig_read_block(&r, data, 512);
    ide_rig_assert_sector(data, (2 * 16 + 5) * 63 + 6, 1);
    // Another translation: 4 heads of 17 sectors
    fixture_out(&r.f, 0x1f6, 1, 0xa3);
    fixture_out(&r.f, 0x1f2, 1, 17);
    ide_rig_command(&r, 0x91);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    fixture_out(&r.f, 0x1f6, 1, 0xa2);
    fixture_out(&r.f, 0x1f2, 1, 1);
    fixture_out(&r.f, 0x1f3, 1, 1);
    ide_rig_command(&r, 0x20);
    fixture_wait(&r.f);
    ide_rig_read_block(&r, data, 512);
    ide_rig_assert_sector(data, (2 * 4 + 2) * 17, 1);
    fixture_out(&r.f, 0x1f3, 1, 0); // sector 0 does not exist
    ide_rig_command(&r, 0x20);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x10);
    fixture_out(&r.f, 0x1f2, 1, 0);
    ide_rig_command(&r, 0x91);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    ide_rig_tear_down(&r);
}

static void test_out_of_range(void)
{
    IdeRig r;
    static const uint8_t codes[] = { 0x20, 0x30, 0x40, 0xc4, 0xc5, 0xc8, 0xca };
    ide_rig_set_up(&r);
    for (size_t i = 0; i < sizeof codes; i++) {
        ide_rig_task(&r, 2, IDE_RIG_SECTORS - 1);
        ide_rig_command(&r, codes[i]);
        fixture_wait(&r.f);
        g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
        g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x10);
    }
    ide_rig_task(&r, 1, 0x0fffffff);
    ide_rig_command(&r, 0x20);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    // 48 bits that would wrap
    for (int high = 1; high >= 0; high--) {
        fixture_out(&r.f, 0x1f2, 1, 0xff);
        for (uint16_t port = 0x1f3; port <= 0x1f5; port++)
            fixture_out(&r.f, port, 1, 0xff);
    }
    ide_rig_command(&r, 0x25);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    ide_rig_task(&r, 1, IDE_RIG_SECTORS - 1);
    ide_rig_command(&r, 0x40);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_tear_down(&r);
}

static void test_reset_while_busy(void)
{
    IdeRig r;
    uint8_t data[512];
    ide_rig_set_up(&r);
    ide_rig_task(&r, 1, 5);
    ide_rig_command(&r, 0x20);
    g_assert_cmpuint(ide_rig_status(&r), ==, IDE_BSY);
    fixture_out(&r.f, 0x3f6, 1, 4);
    g_assert_cmpuint(ide_rig_status(&r), ==, IDE_BSY);
    fixture_out(&r.f, 0x3f6, 1, 0);
    g_assert_cmpuint(ide_rig_status(&r), ==, IDE_BSY); // the request is still under way
    ide_rig_command(&r, 0xec);                     // dropped
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 1);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f2, 1), ==, 1);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 1);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f4, 2), ==, 0);
    g_assert_false(r.f.irq[14]);
    ide_rig_task(&r, 1, 6);
    ide_rig_command(&r, 0x20);
    ide_piix3_ops.reset(r.ide, RESET_WARM);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_task(&r, 1, 6);
    ide_rig_command(&r, 0x20);
    fixture_wait(&r.f);
    ide_rig_read_block(&r, data, 512);
    ide_rig_assert_sector(data, 6, 1);
    ide_rig_tear_down(&r);
}

// The device goes while a request is under way: the buffer outlives it.
static void test_destroy_while_busy(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    ide_rig_task(&r, 0, 5);
    ide_rig_command(&r, 0x20);
    ide_piix3_ops.destroy(r.ide);
    fixture_wait(&r.f);
    fixture_tear_down(&r.f);
}

static void test_interrupt_disable(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    fixture_out(&r.f, 0x3f6, 1, 2);
    ide_rig_task(&r, 0, 0);
    ide_rig_command(&r, 0xec);
    g_assert_false(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_master_status(&r), ==, 0);
    fixture_out(&r.f, 0x3f6, 1, 0); // pending in the drive: the wire follows
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(fixture_in(&r.f, 0x3f6, 1), ==, 0x58); // alternate status keeps it
    g_assert_true(r.f.irq[14]);
    fixture_out(&r.f, 0x1f6, 1, 0xf0); // the other unit has none
    g_assert_false(r.f.irq[14]);
    fixture_out(&r.f, 0x1f6, 1, 0xe0);
    g_assert_true(r.f.irq[14]);
    ide_rig_status(&r);
    g_assert_false(r.f.irq[14]);
    ide_rig_tear_down(&r);
}

static void test_flush_and_features(void)
{
    IdeRig r;
    uint8_t id[512];
    ide_rig_set_up(&r);
    ide_rig_command(&r, 0xe7);
    g_assert_cmpuint(ide_rig_status(&r), ==, IDE_BSY);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_command(&r, 0xea);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    fixture_out(&r.f, 0x1f1, 1, 0x03); // Ultra DMA 2
    fixture_out(&r.f, 0x1f2, 1, 0x42);
    ide_rig_command(&r, 0xef);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    fixture_out(&r.f, 0x1f2, 1, 0x47);
    ide_rig_command(&r, 0xef);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    fixture_out(&r.f, 0x1f1, 1, 0x82); // write cache off
    ide_rig_command(&r, 0xef);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_command(&r, 0xec);
    ide_rig_read_block(&r, id, 512);
    g_assert_cmpuint(le16_read(id + 88 * 2), ==, 0x043f);
    g_assert_cmpuint(le16_read(id + 85 * 2) & 0x20, ==, 0);
    // A write now ends with a flush
    ide_rig_task(&r, 1, 1);
    ide_rig_command(&r, 0x30);
    memset(id, 1, 512);
    write_words(&r, id, 512);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 1);
    fixture_out(&r.f, 0x1f1, 1, 0xee);
    ide_rig_command(&r, 0xef);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x04);
    ide_rig_tear_down(&r);
}

static void smart(IdeRig *r, uint8_t feature, uint8_t low)
{
    ide_rig_task(r, 1, 0xc24f00u | low);
    fixture_out(&r->f, 0x1f1, 1, feature);
    ide_rig_command(r, 0xb0);
}

static void test_smart(void)
{
    IdeRig r;
    uint8_t data[512], sum = 0;
    ide_rig_set_up(&r);
    smart(&r, 0xd0, 0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
    ide_rig_read_block(&r, data, 512);
    for (unsigned i = 0; i < 512; i++)
        sum = (uint8_t)(sum + data[i]);
    g_assert_cmpuint(sum, ==, 0);
    g_assert_cmpuint(data[2], ==, 1);
    smart(&r, 0xda, 0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f4, 1), ==, 0x4f);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f5, 1), ==, 0xc2);
    smart(&r, 0xd5, 1);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
    ide_rig_read_block(&r, data, 512);
    smart(&r, 0xd9, 0);
    smart(&r, 0xd0, 0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    smart(&r, 0xd8, 0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_task(&r, 1, 0); // without the key
    fixture_out(&r.f, 0x1f1, 1, 0xd0);
    ide_rig_command(&r, 0xb0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    ide_rig_tear_down(&r);
}

static void test_diagnostic(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    fixture_out(&r.f, 0x1f6, 1, 0xb0);
    ide_rig_command(&r, 0x90);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 1);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f6, 1) & 0x10, ==, 0);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x50);
    ide_rig_tear_down(&r);
}

static void test_unknown_commands(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    static const uint8_t codes[] = { 0x00, 0x08, 0xa0, 0xa1, 0xff, 0xf5 };
    for (size_t i = 0; i < sizeof codes; i++) {
        ide_rig_command(&r, codes[i]);
        g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
        g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x04);
    }
    ide_rig_task(&r, 0, 0);
    ide_rig_command(&r, 0xf8);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, (IDE_RIG_SECTORS - 1) & 0xff);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f4, 1), ==, (IDE_RIG_SECTORS - 1) >> 8);
    ide_rig_tear_down(&r);
}

static void test_medium_error(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    g_assert_cmpint(truncate(r.f.paths->pdata[0], 100 * 512), ==, 0);
    ide_rig_task(&r, 1, 200);
    ide_rig_command(&r, 0x20);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x51);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x40);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 200);
    ide_rig_tear_down(&r);
}

static void test_state(void)
{
    IdeRig r;
    uint8_t data[1024];
    ide_rig_set_up(&r);
    ide_rig_task(&r, 2, 33);
    ide_rig_command(&r, 0x20);
    fixture_wait(&r.f);
    ide_rig_read_block(&r, data, 100);
    fixture_check_state(&r.f, &ide_piix3_ops, r.ide);
    ide_rig_read_block(&r, data + 100, 412);
    ide_rig_read_block(&r, data + 512, 512);
    ide_rig_assert_sector(data, 33, 2);
    // The bus master's registers answer at the restored BAR
    fixture_out(&r.f, IDE_RIG_MASTER + 4, 4, 0x12344);
    g_assert_cmpuint(fixture_in(&r.f, IDE_RIG_MASTER + 4, 4), ==, 0x12344);
    ide_rig_tear_down(&r);
}

// A record taken while a request was under way makes the request again.
static void test_state_busy(void)
{
    IdeRig r;
    uint8_t data[512];
    g_autoptr(GError) error = NULL;
    ide_rig_set_up(&r);
    ide_rig_task(&r, 1, 44);
    ide_rig_command(&r, 0x20);
    g_autoptr(GBytes) record = state_save(ide_piix3_ops.state, r.ide);
    fixture_wait(&r.f);
    ide_piix3_ops.reset(r.ide, RESET_COLD);
    g_assert_true(state_load(ide_piix3_ops.state, r.ide, record, &error));
    g_assert_cmpuint(ide_rig_status(&r), ==, IDE_BSY);
    fixture_wait(&r.f);
    g_assert_cmpuint(ide_rig_status(&r), ==, 0x58);
    ide_rig_read_block(&r, data, 512);
    ide_rig_assert_sector(data, 44, 1);
    ide_rig_tear_down(&r);
}

// Every byte of a record broken in turn: refused or harmless.
static void test_state_hostile(void)
{
    IdeRig r;
    ide_rig_set_up(&r);
    ide_rig_task(&r, 2, 33);
    ide_rig_command(&r, 0x20);
    g_autoptr(GBytes) busy = state_save(ide_piix3_ops.state, r.ide);
    fixture_wait(&r.f);
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(busy, &size);
    g_autofree uint8_t *broken = g_memdup2(bytes, size);
    for (gsize i = 0; i < 6000; i++) {
        broken[i] ^= (uint8_t)(0x81 + i);
        g_autoptr(GBytes) record = g_bytes_new_static(broken, size);
        if (state_load(ide_piix3_ops.state, r.ide, record, NULL)) {
            fixture_wait(&r.f);
            uint8_t data[512];
            ide_rig_read_block(&r, data, 512);
            write_words(&r, data, 512);
        }
        fixture_wait(&r.f);
        ide_piix3_ops.reset(r.ide, RESET_COLD);
        broken[i] = bytes[i];
    }
    ide_rig_tear_down(&r);
}

static void test_refused_config(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    fixture_set_up(&f);
    IdePiix3Config config = { .devfn = IDE_RIG_DEVFN };
    config.drives[1][0] = (IdeDriveConfig){ .kind = IDE_DISK };
    g_assert_null(ide_piix3_ops.create(&config, &f.host, &error));
    g_assert_nonnull(strstr(error->message, "no image"));
    g_clear_error(&error);
    config.drives[1][0].block = fixture_image(&f, 4096, true);
    g_assert_null(ide_piix3_ops.create(&config, &f.host, &error));
    g_assert_nonnull(strstr(error->message, "read-only"));
    g_assert_cmpuint(fixture_in(&f, 0x1f7, 1), ==, 0xff); // nothing left behind
    fixture_tear_down(&f);
}
int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ide-piix3/absent-drive", test_absent);
    g_test_add_func("/ide-piix3/identify", test_identify);
    g_test_add_func("/ide-piix3/pio/read", test_read_pio);
    g_test_add_func("/ide-piix3/pio/read-long", test_read_pio_long);
    g_test_add_func("/ide-piix3/pio/read-multiple", test_read_multiple);
    g_test_add_func("/ide-piix3/pio/write", test_write_pio);
    g_test_add_func("/ide-piix3/chs", test_chs);
    g_test_add_func("/ide-piix3/out-of-range", test_out_of_range);
    g_test_add_func("/ide-piix3/reset/while-busy", test_reset_while_busy);
    g_test_add_func("/ide-piix3/reset/destroy-while-busy", test_destroy_while_busy);
    g_test_add_func("/ide-piix3/interrupt-disable", test_interrupt_disable);
    g_test_add_func("/ide-piix3/flush-and-features", test_flush_and_features);
    g_test_add_func("/ide-piix3/smart", test_smart);
    g_test_add_func("/ide-piix3/diagnostic", test_diagnostic);
    g_test_add_func("/ide-piix3/unknown-commands", test_unknown_commands);
    g_test_add_func("/ide-piix3/medium-error", test_medium_error);
    g_test_add_func("/ide-piix3/state/mid-transfer", test_state);
    g_test_add_func("/ide-piix3/state/busy", test_state_busy);
    g_test_add_func("/ide-piix3/state/hostile", test_state_hostile);
    g_test_add_func("/ide-piix3/refused-config", test_refused_config);
    return g_test_run();
}
