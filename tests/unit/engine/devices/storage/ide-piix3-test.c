// SPDX-License-Identifier: GPL-2.0-or-later
// Register scripts for the IDE function and its disks.
#include "engine/devices/storage/ide-piix3.h"

#include "engine/base/bytes.h"
#include "snapshots/store/store.h"
#include "tests/unit/engine/devices/storage/storage-fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#define SECTORS 4096u
#define MASTER  0xc000 // BAR 4
#define DEVFN   PCI_DEVFN(1, 1)

#define BSY  0x80
#define DRDY 0x40
#define DRQ  0x08
#define ERR  0x01

typedef struct {
    Fixture f;
    BlockDevice *disk;
    void *ide;
    Store *store; // that the disk is in, or NULL
} Rig;

// The same disk in a snapshot store.
static BlockDevice *volume(Rig *r)
{
    g_autoptr(GError) error = NULL;
    char *path = g_strdup_printf("%s.store", (char *)r->f.paths->pdata[0]);
    g_autofree uint8_t *bytes = g_malloc(SECTORS * 512);
    g_ptr_array_add(r->f.paths, path);
    for (uint64_t i = 0; i < SECTORS * 512; i++)
        bytes[i] = fixture_byte(i);
    bus_unlock(r->f.host.bus);
    g_assert_true(store_create(path, &error));
    r->store = store_open(&(StoreOpen){ .path = path }, &error);
    g_assert_true(store_volume_add(r->store, "disk0", STORE_DISK, SECTORS * 512, NULL, &error));
    BlockDevice *block = store_volume_open(r->store, STORE_CURRENT, "disk0",
                                           bus_mutex(r->f.host.bus), &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_write_sync(block, 0, bytes, SECTORS * 512), ==, 0);
    bus_lock(r->f.host.bus);
    g_ptr_array_add(r->f.blocks, block);
    return block;
}

// Bytes that the disk's file takes on the host, once all is settled.
static uint64_t room(Rig *r)
{
    struct stat st;
    bus_unlock(r->f.host.bus);
    g_assert_cmpint(block_flush_sync(r->disk), ==, 0);
    bus_lock(r->f.host.bus);
    g_assert_cmpint(stat(r->f.paths->pdata[r->f.paths->len - 1], &st), ==, 0);
    return (uint64_t)st.st_blocks * 512;
}


static void set_up_with(Rig *r, bool in_store)
{
    fixture_set_up(&r->f);
    r->store = NULL;
    r->disk = fixture_image(&r->f, SECTORS * 512, false);
    if (in_store)
        r->disk = volume(r);
    IdePiix3Config config = { .devfn = DEVFN };
    config.drives[0][0] = (IdeDriveConfig){ IDE_DISK, r->disk, "SN-0001" };
    r->ide = fixture_create(&r->f, &ide_piix3_ops, &config);
    pci_config_write(r->f.host.pci, DEVFN, 0x20, 4, MASTER);
    pci_config_write(r->f.host.pci, DEVFN, 4, 2, 5);
}

static void set_up(Rig *r)
{
    set_up_with(r, false);
}

static void tear_down(Rig *r)
{
    fixture_wait(&r->f);
    ide_piix3_ops.destroy(r->ide);
    fixture_tear_down(&r->f);
    store_close(r->store);
}

static uint8_t status(Rig *r)
{
    return (uint8_t)fixture_in(&r->f, 0x1f7, 1);
}

static void task(Rig *r, uint8_t count, uint32_t lba)
{
    fixture_out(&r->f, 0x1f6, 1, 0xe0 | lba >> 24);
    fixture_out(&r->f, 0x1f2, 1, count);
    fixture_out(&r->f, 0x1f3, 1, lba & 0xff);
    fixture_out(&r->f, 0x1f4, 1, lba >> 8 & 0xff);
    fixture_out(&r->f, 0x1f5, 1, lba >> 16 & 0xff);
}

static void command(Rig *r, uint8_t code)
{
    fixture_out(&r->f, 0x1f7, 1, code);
}

static void read_block(Rig *r, void *data, uint32_t bytes)
{
    bus_port_read_block(r->f.host.bus, 0x1f0, 2, bytes / 2, data);
}

static void assert_sector(const uint8_t *data, uint64_t sector, uint64_t count)
{
    for (uint64_t i = 0; i < count * 512; i++)
        g_assert_cmpuint(data[i], ==, fixture_byte(sector * 512 + i));
}

static void test_absent(void)
{
    Rig r;
    set_up(&r);
    fixture_out(&r.f, 0x1f6, 1, 0xb0); // unit 1: nothing there
    g_assert_cmpuint(status(&r), ==, 0);
    fixture_out(&r.f, 0x1f2, 1, 0x55);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f2, 1), !=, 0x55);
    command(&r, 0xec);
    g_assert_cmpuint(status(&r), ==, 0);
    g_assert_cmpuint(fixture_in(&r.f, 0x177, 1), ==, 0); // empty channel
    fixture_out(&r.f, 0x1f6, 1, 0xa0);
    g_assert_cmpuint(status(&r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f6, 1), ==, 0xa0);
    tear_down(&r);
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
    Rig r;
    uint8_t id[512], sum = 0;
    char text[41];
    set_up(&r);
    task(&r, 0, 0);
    command(&r, 0xec);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(status(&r), ==, 0x58);
    g_assert_false(r.f.irq[14]); // read of status
    for (unsigned i = 0; i < 256; i++)
        le16_write(id + i * 2, (uint16_t)fixture_in(&r.f, 0x1f0, 2));
    g_assert_cmpuint(status(&r), ==, 0x50);
    g_assert_false(r.f.irq[14]); // no further interrupt
    swap_text(id, 10, 20, text);
    g_assert_cmpstr(text, ==, "SN-0001");
    swap_text(id, 27, 40, text);
    g_assert_cmpstr(text, ==, "LODGE HARD DISK");
    g_assert_cmpuint(le32_read(id + 120), ==, SECTORS);
    g_assert_cmpuint(le64_read(id + 200), ==, SECTORS);
    g_assert_cmpuint(le16_read(id + 2), ==, SECTORS / (16 * 63));
    g_assert_cmpuint(le16_read(id + 98) & 0x0300, ==, 0x0300); // LBA, DMA
    for (unsigned i = 0; i < 512; i++)
        sum = (uint8_t)(sum + id[i]);
    g_assert_cmpuint(sum, ==, 0);
    tear_down(&r);
}

static void test_read_pio(void)
{
    Rig r;
    uint8_t data[3 * 512];
    set_up(&r);
    task(&r, 3, 77);
    command(&r, 0x20);
    g_assert_cmpuint(status(&r), ==, BSY);
    fixture_wait(&r.f);
    for (unsigned i = 0; i < 3; i++) { // one interrupt a sector
        g_assert_true(r.f.irq[14]);
        g_assert_cmpuint(status(&r), ==, 0x58);
        read_block(&r, data + i * 512, 512);
    }
    g_assert_cmpuint(r.f.irq_rises[14], ==, 3);
    g_assert_cmpuint(status(&r), ==, 0x50);
    assert_sector(data, 77, 3);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 79);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f2, 1), ==, 0);
    tear_down(&r);
}

// 256 sectors: more than the buffer, and by 32-bit reads.
static void test_read_pio_long(void)
{
    Rig r;
    g_autofree uint8_t *data = g_malloc(256 * 512);
    set_up(&r);
    task(&r, 0, 1000);
    command(&r, 0x21);
    for (unsigned sector = 0; sector < 256; sector++) {
        fixture_wait(&r.f);
        g_assert_cmpuint(status(&r), ==, 0x58);
        for (unsigned i = 0; i < 128; i++)
            le32_write(data + sector * 512 + i * 4, fixture_in(&r.f, 0x1f0, 4));
    }
    g_assert_cmpuint(status(&r), ==, 0x50);
    assert_sector(data, 1000, 256);
    tear_down(&r);
}

static void test_read_multiple(void)
{
    Rig r;
    uint8_t data[10 * 512];
    set_up(&r);
    task(&r, 3, 0);
    command(&r, 0xc6); // not a power of two
    g_assert_cmpuint(status(&r), ==, 0x51);
    task(&r, 4, 0);
    command(&r, 0xc6);
    g_assert_cmpuint(status(&r), ==, 0x50);
    unsigned rises = r.f.irq_rises[14];
    task(&r, 10, 5);
    command(&r, 0xc4);
    fixture_wait(&r.f);
    read_block(&r, data, 4 * 512);
    g_assert_cmpuint(status(&r), ==, 0x58);
    read_block(&r, data + 4 * 512, 4 * 512);
    g_assert_cmpuint(status(&r), ==, 0x58);
    read_block(&r, data + 8 * 512, 2 * 512);
    g_assert_cmpuint(status(&r), ==, 0x50);
    // The first was not acknowledged before its data was read: its edge is the second's, too.
    g_assert_cmpuint(r.f.irq_rises[14], ==, rises + 2);
    assert_sector(data, 5, 10);
    task(&r, 0, 0);
    command(&r, 0xc6);
    command(&r, 0xc4);
    g_assert_cmpuint(status(&r), ==, 0x51); // switched off
    tear_down(&r);
}

static void write_words(Rig *r, const uint8_t *data, unsigned bytes)
{
    bus_port_write_block(r->f.host.bus, 0x1f0, 2, bytes / 2, data);
}

static void read_back(Rig *r, uint64_t offset, uint8_t *data, size_t size)
{
    bus_unlock(r->f.host.bus);
    g_assert_cmpint(block_read_sync(r->disk, offset, data, size), ==, 0);
    bus_lock(r->f.host.bus);
}

static void test_write_pio(void)
{
    Rig r;
    uint8_t data[1024], back[1024];
    set_up(&r);
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 13 + 1);
    task(&r, 2, 300);
    command(&r, 0x30);
    g_assert_cmpuint(status(&r), ==, 0x58);
    g_assert_cmpuint(r.f.irq_rises[14], ==, 0); // the first block asks without
    write_words(&r, data, 512);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(status(&r), ==, 0x58);
    write_words(&r, data + 512, 512);
    g_assert_cmpuint(status(&r), ==, BSY);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(status(&r), ==, 0x50);
    read_back(&r, 300 * 512, back, sizeof back);
    g_assert_cmpmem(data, sizeof data, back, sizeof back);
    g_assert_cmpuint(r.f.irq_rises[14], ==, 2);
    tear_down(&r);
}

static void test_chs(void)
{
    Rig r;
    uint8_t data[512];
    set_up(&r);
    fixture_out(&r.f, 0x1f6, 1, 0xa0 | 5); // head 5
    fixture_out(&r.f, 0x1f2, 1, 1);
    fixture_out(&r.f, 0x1f3, 1, 7); // sector 7
    fixture_out(&r.f, 0x1f4, 1, 2); // cylinder 2
    fixture_out(&r.f, 0x1f5, 1, 0);
    command(&r, 0x20);
    fixture_wait(&r.f);
    read_block(&r, data, 512);
    assert_sector(data, (2 * 16 + 5) * 63 + 6, 1);
    // Another translation: 4 heads of 17 sectors
    fixture_out(&r.f, 0x1f6, 1, 0xa3);
    fixture_out(&r.f, 0x1f2, 1, 17);
    command(&r, 0x91);
    g_assert_cmpuint(status(&r), ==, 0x50);
    fixture_out(&r.f, 0x1f6, 1, 0xa2);
    fixture_out(&r.f, 0x1f2, 1, 1);
    fixture_out(&r.f, 0x1f3, 1, 1);
    command(&r, 0x20);
    fixture_wait(&r.f);
    read_block(&r, data, 512);
    assert_sector(data, (2 * 4 + 2) * 17, 1);
    fixture_out(&r.f, 0x1f3, 1, 0); // sector 0 does not exist
    command(&r, 0x20);
    g_assert_cmpuint(status(&r), ==, 0x51);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x10);
    fixture_out(&r.f, 0x1f2, 1, 0);
    command(&r, 0x91);
    g_assert_cmpuint(status(&r), ==, 0x51);
    tear_down(&r);
}

static void test_out_of_range(void)
{
    Rig r;
    static const uint8_t codes[] = { 0x20, 0x30, 0x40, 0xc4, 0xc5, 0xc8, 0xca };
    set_up(&r);
    for (size_t i = 0; i < sizeof codes; i++) {
        task(&r, 2, SECTORS - 1);
        command(&r, codes[i]);
        fixture_wait(&r.f);
        g_assert_cmpuint(status(&r), ==, 0x51);
        g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x10);
    }
    task(&r, 1, 0x0fffffff);
    command(&r, 0x20);
    g_assert_cmpuint(status(&r), ==, 0x51);
    // 48 bits that would wrap
    for (int high = 1; high >= 0; high--) {
        fixture_out(&r.f, 0x1f2, 1, 0xff);
        for (uint16_t port = 0x1f3; port <= 0x1f5; port++)
            fixture_out(&r.f, port, 1, 0xff);
    }
    command(&r, 0x25);
    g_assert_cmpuint(status(&r), ==, 0x51);
    task(&r, 1, SECTORS - 1);
    command(&r, 0x40);
    g_assert_cmpuint(status(&r), ==, 0x50);
    tear_down(&r);
}

static void descriptor(Rig *r, uint32_t at, uint32_t address, uint32_t bytes, bool last)
{
    le32_write(r->f.memory + at, address);
    le32_write(r->f.memory + at + 4, (bytes & 0xffff) | (last ? 0x80000000u : 0));
}

static void start_dma(Rig *r, uint32_t table, bool to_memory)
{
    fixture_out(&r->f, MASTER + 4, 4, table);
    fixture_out(&r->f, MASTER + 2, 1, 0x06);
    fixture_out(&r->f, MASTER, 1, to_memory ? 0x08 : 0);
    fixture_out(&r->f, MASTER, 1, to_memory ? 0x09 : 1);
}

static uint32_t master_status(Rig *r)
{
    return fixture_in(&r->f, MASTER + 2, 1);
}

// Regions of odd sizes that cross pages, and more sectors than a chunk.
static void test_dma_read(void)
{
    Rig r;
    set_up(&r);
    descriptor(&r, 0x1000, 0x100ffe, 6, false);
    descriptor(&r, 0x1008, 0x110ffa, 0x3000, false);
    descriptor(&r, 0x1010, 0x200000, 0, false); // 64 KiB
    descriptor(&r, 0x1018, 0x120000, 256 * 512 - 0x10000 - 0x3000 - 6, true);
    task(&r, 0, 40);
    command(&r, 0xc8);
    g_assert_cmpuint(status(&r), ==, BSY);
    start_dma(&r, 0x1000, true);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(master_status(&r), ==, 0x04); // interrupt, not active, no error
    g_assert_cmpuint(status(&r), ==, 0x50);
    g_assert_cmpuint(r.f.irq_rises[14], ==, 1);
    g_autofree uint8_t *data = g_malloc(256 * 512);
    memcpy(data, r.f.memory + 0x100ffe, 6);
    memcpy(data + 6, r.f.memory + 0x110ffa, 0x3000);
    memcpy(data + 6 + 0x3000, r.f.memory + 0x200000, 0x10000);
    memcpy(data + 6 + 0x13000, r.f.memory + 0x120000, 256 * 512 - 0x13006);
    assert_sector(data, 40, 256);
    fixture_out(&r.f, MASTER, 1, 8);
    fixture_out(&r.f, MASTER + 2, 1, 4);
    g_assert_cmpuint(master_status(&r), ==, 0);
    tear_down(&r);
}

static void test_dma_write_ext(void)
{
    Rig r;
    uint8_t back[512];
    set_up(&r);
    memset(r.f.memory + 0x100000, 0x5a, 200 * 512);
    r.f.memory[0x100000 + 199 * 512] = 0x77;
    descriptor(&r, 0x2000, 0x100000, 0, false);
    descriptor(&r, 0x2008, 0x110000, 200 * 512 - 65536, true);
    task(&r, 0, 0); // the high bytes
    task(&r, 200, 2000);
    command(&r, 0x35);
    start_dma(&r, 0x2000, false);
    fixture_wait(&r.f);
    g_assert_cmpuint(master_status(&r), ==, 0x04);
    g_assert_cmpuint(status(&r), ==, 0x50);
    read_back(&r, 2199 * 512, back, 512);
    g_assert_cmpuint(back[0], ==, 0x77);
    g_assert_cmpuint(back[511], ==, 0x5a);
    read_back(&r, 2200 * 512, back, 512);
    assert_sector(back, 2200, 1);
    // The high half is read through HOB
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 2199 & 0xff);
    fixture_out(&r.f, 0x3f6, 1, 0x80);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 0);
    tear_down(&r);
}

static void put_range(Rig *r, unsigned index, uint64_t sector, uint16_t count)
{
    le64_write(r->f.memory + 0x100000 + index * 8, sector | (uint64_t)count << 48);
}

static void trim(Rig *r)
{
    descriptor(r, 0x2000, 0x100000, 512, true);
    fixture_out(&r->f, 0x1f1, 1, 1);
    task(r, 0, 0); // the high bytes
    task(r, 1, 0);
    command(r, 0x06);
    start_dma(r, 0x2000, false);
    fixture_wait(&r->f);
}

// What a guest gives up is a hole in the host's file, of a raw image and of a snapshot store.
static void test_trim_punches(gconstpointer data)
{
    bool in_store = GPOINTER_TO_INT(data);
    Rig r;
    uint8_t back[512];
    set_up_with(&r, in_store);
    uint64_t before = room(&r);
    put_range(&r, 0, 1024, 1000);
    put_range(&r, 1, 0, 0); // nothing
    put_range(&r, 2, 2024, 24);
    put_range(&r, 5, 3072, 1024);
    trim(&r);
    g_assert_cmpuint(master_status(&r), ==, 0x04);
    g_assert_cmpuint(status(&r), ==, 0x50);
    g_assert_cmpuint(room(&r), <=, before - 2048 * 512 + 65536);
    read_back(&r, 1023 * 512, back, 512);
    assert_sector(back, 1023, 1);
    read_back(&r, 3071 * 512, back, 512);
    assert_sector(back, 3071, 1);
    read_back(&r, 1024 * 512, back, 512);
    g_assert_true(back[0] == 0 && memcmp(back, back + 1, 511) == 0);
    tear_down(&r);
}

static void test_trim_refused(void)
{
    Rig r;
    set_up(&r);
    uint64_t before = room(&r);
    put_range(&r, 0, 0, 1024);
    put_range(&r, 1, SECTORS - 1, 2); // past the end: nothing is given up
    trim(&r);
    g_assert_cmpuint(status(&r) & ERR, ==, ERR);
    fixture_out(&r.f, 0x1f1, 1, 0); // not TRIM
    task(&r, 1, 0);
    command(&r, 0x06);
    g_assert_cmpuint(status(&r) & ERR, ==, ERR);
    fixture_out(&r.f, 0x1f1, 1, 1);
    task(&r, 9, 0); // more than it says it takes
    command(&r, 0x06);
    g_assert_cmpuint(status(&r) & ERR, ==, ERR);
    g_assert_cmpuint(room(&r), ==, before);
    tear_down(&r);
}

static void test_dma_table_longer(void)
{
    Rig r;
    set_up(&r);
    descriptor(&r, 0x1000, 0x100000, 4096, true);
    task(&r, 1, 9);
    start_dma(&r, 0x1000, true); // started before the command: waits for the drive
    command(&r, 0xc8);
    fixture_wait(&r.f);
    g_assert_cmpuint(master_status(&r), ==, 0x05); // descriptors left over: still active
    assert_sector(r.f.memory + 0x100000, 9, 1);
    fixture_out(&r.f, MASTER, 1, 0);
    g_assert_cmpuint(master_status(&r), ==, 0x04);
    tear_down(&r);
}

static void test_dma_table_shorter(void)
{
    Rig r;
    set_up(&r);
    descriptor(&r, 0x1000, 0x100000, 512, true);
    task(&r, 4, 9);
    command(&r, 0xc8);
    start_dma(&r, 0x1000, true);
    fixture_wait(&r.f);
    g_assert_cmpuint(master_status(&r), ==, 0); // neither active nor interrupt
    g_assert_false(r.f.irq[14]);
    g_assert_cmpuint(status(&r) & DRQ, ==, DRQ);
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    g_assert_cmpuint(status(&r), ==, 0x50);
    tear_down(&r);
}

// A table without an end whose every region is the table itself, of two bytes each.
static void test_dma_hostile_table(void)
{
    Rig r;
    set_up(&r);
    for (uint32_t at = 0; at < 65536; at += 8)
        descriptor(&r, 0x10000 + at, 0x300000, 2, false);
    task(&r, 0, 0);
    command(&r, 0xc8);
    start_dma(&r, 0x10000, true);
    fixture_wait(&r.f);
    g_assert_cmpuint(master_status(&r), ==, 0); // 8192 descriptors, then the end
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    // The data overwrites the table that is being walked
    descriptor(&r, 0x20000, 0x20000, 0, false);
    task(&r, 0, 0);
    command(&r, 0xc8);
    start_dma(&r, 0x20000, true);
    fixture_wait(&r.f);
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    // Table, then region, outside memory
    task(&r, 1, 0);
    command(&r, 0xc8);
    start_dma(&r, 0xfffffff8, true);
    fixture_wait(&r.f);
    g_assert_cmpuint(master_status(&r), ==, 0x02);
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    descriptor(&r, 0x1000, 0xfffff000, 0, true);
    task(&r, 1, 0);
    command(&r, 0xca);
    start_dma(&r, 0x1000, false);
    fixture_wait(&r.f);
    g_assert_cmpuint(master_status(&r), ==, 0x02);
    fixture_out(&r.f, 0x3f6, 1, 4);
    fixture_out(&r.f, 0x3f6, 1, 0);
    g_assert_cmpuint(status(&r), ==, 0x50);
    tear_down(&r);
}

static void test_dma_needs_bus_master(void)
{
    Rig r;
    set_up(&r);
    descriptor(&r, 0x1000, 0x100000, 512, true);
    pci_config_write(r.f.host.pci, DEVFN, 4, 2, 1);
    task(&r, 1, 9);
    command(&r, 0xc8);
    start_dma(&r, 0x1000, true);
    fixture_wait(&r.f);
    g_assert_cmpuint(r.f.memory[0x100000 + 100], ==, 0);
    g_assert_false(r.f.irq[14]);
    tear_down(&r);
}

static void test_reset_while_busy(void)
{
    Rig r;
    uint8_t data[512];
    set_up(&r);
    task(&r, 1, 5);
    command(&r, 0x20);
    g_assert_cmpuint(status(&r), ==, BSY);
    fixture_out(&r.f, 0x3f6, 1, 4);
    g_assert_cmpuint(status(&r), ==, BSY);
    fixture_out(&r.f, 0x3f6, 1, 0);
    g_assert_cmpuint(status(&r), ==, BSY); // the request is still under way
    command(&r, 0xec);                     // dropped
    fixture_wait(&r.f);
    g_assert_cmpuint(status(&r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 1);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f2, 1), ==, 1);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 1);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f4, 2), ==, 0);
    g_assert_false(r.f.irq[14]);
    task(&r, 1, 6);
    command(&r, 0x20);
    ide_piix3_ops.reset(r.ide, RESET_WARM);
    fixture_wait(&r.f);
    g_assert_cmpuint(status(&r), ==, 0x50);
    task(&r, 1, 6);
    command(&r, 0x20);
    fixture_wait(&r.f);
    read_block(&r, data, 512);
    assert_sector(data, 6, 1);
    tear_down(&r);
}

// The device goes while a request is under way: the buffer outlives it.
static void test_destroy_while_busy(void)
{
    Rig r;
    set_up(&r);
    task(&r, 0, 5);
    command(&r, 0x20);
    ide_piix3_ops.destroy(r.ide);
    fixture_wait(&r.f);
    fixture_tear_down(&r.f);
}

static void test_interrupt_disable(void)
{
    Rig r;
    set_up(&r);
    fixture_out(&r.f, 0x3f6, 1, 2);
    task(&r, 0, 0);
    command(&r, 0xec);
    g_assert_false(r.f.irq[14]);
    g_assert_cmpuint(master_status(&r), ==, 0);
    fixture_out(&r.f, 0x3f6, 1, 0); // pending in the drive: the wire follows
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(fixture_in(&r.f, 0x3f6, 1), ==, 0x58); // alternate status keeps it
    g_assert_true(r.f.irq[14]);
    fixture_out(&r.f, 0x1f6, 1, 0xf0); // the other unit has none
    g_assert_false(r.f.irq[14]);
    fixture_out(&r.f, 0x1f6, 1, 0xe0);
    g_assert_true(r.f.irq[14]);
    status(&r);
    g_assert_false(r.f.irq[14]);
    tear_down(&r);
}

static void test_flush_and_features(void)
{
    Rig r;
    uint8_t id[512];
    set_up(&r);
    command(&r, 0xe7);
    g_assert_cmpuint(status(&r), ==, BSY);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(status(&r), ==, 0x50);
    command(&r, 0xea);
    fixture_wait(&r.f);
    g_assert_cmpuint(status(&r), ==, 0x50);
    fixture_out(&r.f, 0x1f1, 1, 0x03); // Ultra DMA 2
    fixture_out(&r.f, 0x1f2, 1, 0x42);
    command(&r, 0xef);
    g_assert_cmpuint(status(&r), ==, 0x50);
    fixture_out(&r.f, 0x1f2, 1, 0x47);
    command(&r, 0xef);
    g_assert_cmpuint(status(&r), ==, 0x51);
    fixture_out(&r.f, 0x1f1, 1, 0x82); // write cache off
    command(&r, 0xef);
    fixture_wait(&r.f);
    g_assert_cmpuint(status(&r), ==, 0x50);
    command(&r, 0xec);
    read_block(&r, id, 512);
    g_assert_cmpuint(le16_read(id + 88 * 2), ==, 0x043f);
    g_assert_cmpuint(le16_read(id + 85 * 2) & 0x20, ==, 0);
    // A write now ends with a flush
    task(&r, 1, 1);
    command(&r, 0x30);
    memset(id, 1, 512);
    write_words(&r, id, 512);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(status(&r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 1);
    fixture_out(&r.f, 0x1f1, 1, 0xee);
    command(&r, 0xef);
    g_assert_cmpuint(status(&r), ==, 0x51);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x04);
    tear_down(&r);
}

static void smart(Rig *r, uint8_t feature, uint8_t low)
{
    task(r, 1, 0xc24f00u | low);
    fixture_out(&r->f, 0x1f1, 1, feature);
    command(r, 0xb0);
}

static void test_smart(void)
{
    Rig r;
    uint8_t data[512], sum = 0;
    set_up(&r);
    smart(&r, 0xd0, 0);
    g_assert_cmpuint(status(&r), ==, 0x58);
    read_block(&r, data, 512);
    for (unsigned i = 0; i < 512; i++)
        sum = (uint8_t)(sum + data[i]);
    g_assert_cmpuint(sum, ==, 0);
    g_assert_cmpuint(data[2], ==, 1);
    smart(&r, 0xda, 0);
    g_assert_cmpuint(status(&r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f4, 1), ==, 0x4f);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f5, 1), ==, 0xc2);
    smart(&r, 0xd5, 1);
    g_assert_cmpuint(status(&r), ==, 0x58);
    read_block(&r, data, 512);
    smart(&r, 0xd9, 0);
    smart(&r, 0xd0, 0);
    g_assert_cmpuint(status(&r), ==, 0x51);
    smart(&r, 0xd8, 0);
    g_assert_cmpuint(status(&r), ==, 0x50);
    task(&r, 1, 0); // without the key
    fixture_out(&r.f, 0x1f1, 1, 0xd0);
    command(&r, 0xb0);
    g_assert_cmpuint(status(&r), ==, 0x51);
    tear_down(&r);
}

static void test_diagnostic(void)
{
    Rig r;
    set_up(&r);
    fixture_out(&r.f, 0x1f6, 1, 0xb0);
    command(&r, 0x90);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 1);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f6, 1) & 0x10, ==, 0);
    g_assert_cmpuint(status(&r), ==, 0x50);
    tear_down(&r);
}

static void test_unknown_commands(void)
{
    Rig r;
    set_up(&r);
    static const uint8_t codes[] = { 0x00, 0x08, 0xa0, 0xa1, 0xff, 0xf5 };
    for (size_t i = 0; i < sizeof codes; i++) {
        command(&r, codes[i]);
        g_assert_cmpuint(status(&r), ==, 0x51);
        g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x04);
    }
    task(&r, 0, 0);
    command(&r, 0xf8);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, (SECTORS - 1) & 0xff);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f4, 1), ==, (SECTORS - 1) >> 8);
    tear_down(&r);
}

static void test_medium_error(void)
{
    Rig r;
    set_up(&r);
    g_assert_cmpint(truncate(r.f.paths->pdata[0], 100 * 512), ==, 0);
    task(&r, 1, 200);
    command(&r, 0x20);
    fixture_wait(&r.f);
    g_assert_true(r.f.irq[14]);
    g_assert_cmpuint(status(&r), ==, 0x51);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f1, 1), ==, 0x40);
    g_assert_cmpuint(fixture_in(&r.f, 0x1f3, 1), ==, 200);
    tear_down(&r);
}

static void test_state(void)
{
    Rig r;
    uint8_t data[1024];
    set_up(&r);
    task(&r, 2, 33);
    command(&r, 0x20);
    fixture_wait(&r.f);
    read_block(&r, data, 100);
    fixture_check_state(&r.f, &ide_piix3_ops, r.ide);
    read_block(&r, data + 100, 412);
    read_block(&r, data + 512, 512);
    assert_sector(data, 33, 2);
    // The bus master's registers answer at the restored BAR
    fixture_out(&r.f, MASTER + 4, 4, 0x12344);
    g_assert_cmpuint(fixture_in(&r.f, MASTER + 4, 4), ==, 0x12344);
    tear_down(&r);
}

// A record taken while a request was under way makes the request again.
static void test_state_busy(void)
{
    Rig r;
    uint8_t data[512];
    g_autoptr(GError) error = NULL;
    set_up(&r);
    task(&r, 1, 44);
    command(&r, 0x20);
    g_autoptr(GBytes) record = state_save(ide_piix3_ops.state, r.ide);
    fixture_wait(&r.f);
    ide_piix3_ops.reset(r.ide, RESET_COLD);
    g_assert_true(state_load(ide_piix3_ops.state, r.ide, record, &error));
    g_assert_cmpuint(status(&r), ==, BSY);
    fixture_wait(&r.f);
    g_assert_cmpuint(status(&r), ==, 0x58);
    read_block(&r, data, 512);
    assert_sector(data, 44, 1);
    tear_down(&r);
}

// Every byte of a record broken in turn: refused or harmless.
static void test_state_hostile(void)
{
    Rig r;
    set_up(&r);
    task(&r, 2, 33);
    command(&r, 0x20);
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
            read_block(&r, data, 512);
            write_words(&r, data, 512);
        }
        fixture_wait(&r.f);
        ide_piix3_ops.reset(r.ide, RESET_COLD);
        broken[i] = bytes[i];
    }
    tear_down(&r);
}

static void test_refused_config(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    fixture_set_up(&f);
    IdePiix3Config config = { .devfn = DEVFN };
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
    g_test_add_func("/ide-piix3/dma/read-crosses-pages", test_dma_read);
    g_test_add_func("/ide-piix3/dma/write-ext", test_dma_write_ext);
    g_test_add_data_func("/ide-piix3/trim/image", GINT_TO_POINTER(0), test_trim_punches);
    g_test_add_data_func("/ide-piix3/trim/store", GINT_TO_POINTER(1), test_trim_punches);
    g_test_add_func("/ide-piix3/trim/refused", test_trim_refused);
    g_test_add_func("/ide-piix3/dma/table-longer", test_dma_table_longer);
    g_test_add_func("/ide-piix3/dma/table-shorter", test_dma_table_shorter);
    g_test_add_func("/ide-piix3/dma/hostile-table", test_dma_hostile_table);
    g_test_add_func("/ide-piix3/dma/needs-bus-master", test_dma_needs_bus_master);
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
