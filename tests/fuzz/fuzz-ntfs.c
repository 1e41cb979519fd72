// SPDX-License-Identifier: GPL-2.0-or-later
// An NTFS whose records and indexes the input edits. The template has a master file table in two
// pieces, of which a list of attributes tells, a folder with blocks of index, one without, and
// files whose data are in their record, outside, and described in another record.
#include "tests/fuzz/filesystem-fuzz.h"

#include "engine/base/bytes.h"

#include <glib.h>

#define CLUSTER  1024u // a record and a block of index, too
#define CLUSTERS 128u
#define FIRST    4u  // cluster of record 0, and 15 more
#define SECOND   40u // that of record 16, and 15 more
#define JOURNAL  60u
#define INDEX    80u // two blocks, with one between them
#define LIST     104u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *cluster_at(uint8_t *disk, unsigned cluster)
{
    return disk + cluster * CLUSTER;
}

static uint8_t *record_at(uint8_t *disk, unsigned number)
{
    return cluster_at(disk, number < 16 ? FIRST + number : SECOND + number - 16);
}

static uint64_t reference(unsigned number)
{
    return number | (uint64_t)(number + 1) << 48;
}

// Moves the ends of sectors away, as they lie on a disk.
static void seal(uint8_t *bytes, size_t size, const char *magic, uint16_t place)
{
    memcpy(bytes, magic, 4);
    le16_write(bytes + 4, place);
    le16_write(bytes + 6, (uint16_t)(size / 512 + 1));
    uint8_t *array = bytes + place;
    le16_write(array, 7);
    for (unsigned i = 1; i <= size / 512; i++) {
        memcpy(array + 2 * i, bytes + i * 512 - 2, 2);
        le16_write(bytes + i * 512 - 2, 7);
    }
}

static void begin_record(uint8_t *disk, unsigned number, uint16_t flags)
{
    uint8_t *record = record_at(disk, number);
    le16_write(record + 0x10, (uint16_t)(number + 1));
    le16_write(record + 0x14, 0x38);
    le16_write(record + 0x16, flags);
    le32_write(record + 0x18, 0x38);
}

static uint8_t *add_attribute(uint8_t *disk, unsigned number, uint32_t type, const char *name,
                              size_t head, size_t size)
{
    uint8_t *record = record_at(disk, number), *at = record + le32_read(record + 0x18);
    size_t units = strlen(name), value = (head + 2 * units + 7) & ~(size_t)7;
    uint32_t length = (uint32_t)(value + size + 7) & ~7u;
    le32_write(at, type);
    le32_write(at + 4, length);
    at[9] = (uint8_t)units;
    le16_write(at + 10, (uint16_t)head);
    for (size_t i = 0; i < units; i++)
        at[head + 2 * i] = (uint8_t)name[i];
    le32_write(record + 0x18, (uint32_t)(at - record) + length);
    le16_write(at + (head == 0x18 ? 0x14 : 0x20), (uint16_t)value);
    return at;
}

static uint8_t *add_value(uint8_t *disk, unsigned number, uint32_t type, const char *name,
                          size_t size)
{
    uint8_t *at = add_attribute(disk, number, type, name, 0x18, size);
    le32_write(at + 0x10, (uint32_t)size);
    return at + le16_read(at + 0x14);
}

static void add_runs(uint8_t *disk, unsigned number, uint32_t type, const char *name,
                     uint64_t first, uint64_t size, const char *runs)
{
    uint8_t *at = add_attribute(disk, number, type, name, 0x40, 8);
    at[8] = 1;
    le64_write(at + 0x10, first);
    le64_write(at + 0x30, size);
    memcpy(at + le16_read(at + 0x20), runs, strlen(runs));
}

static void end_record(uint8_t *disk, unsigned number)
{
    uint8_t *record = record_at(disk, number);
    uint32_t used = le32_read(record + 0x18);
    le32_write(record + used, 0xffffffff);
    le32_write(record + 0x18, used + 8);
    seal(record, CLUSTER, "FILE", 0x30);
}

static uint8_t *put_listed(uint8_t *at, uint32_t type, uint64_t first, unsigned number)
{
    le32_write(at, type);
    le16_write(at + 4, 0x20);
    at[7] = 0x1a;
    le64_write(at + 8, first);
    le64_write(at + 0x10, reference(number));
    return at + 0x20;
}

static uint8_t *put_name(uint8_t *at, unsigned number, const char *name, bool is_directory)
{
    size_t units = strlen(name), length = (16 + 0x42 + 2 * units + 7) & ~(size_t)7;
    le64_write(at, reference(number));
    le16_write(at + 8, (uint16_t)length);
    le16_write(at + 10, (uint16_t)(0x42 + 2 * units));
    le32_write(at + 16 + 0x38, is_directory ? 0x10000000 : 0);
    at[16 + 0x40] = (uint8_t)units;
    for (size_t i = 0; i < units; i++)
        at[16 + 0x42 + 2 * i] = (uint8_t)name[i];
    return at + length;
}

// Ends the node whose names begin behind its head of 16 bytes.
static void end_node(uint8_t *node, uint8_t *at, uint32_t first, uint8_t flags)
{
    le16_write(at + 8, 16);
    at[12] = 2;
    le32_write(node, first);
    le32_write(node + 4, (uint32_t)(at + 16 - node));
    le32_write(node + 8, (uint32_t)(at + 16 - node));
    node[12] = flags;
}

static uint8_t *add_index_root(uint8_t *disk, unsigned number, size_t names)
{
    uint8_t *root = add_value(disk, number, 0x90, "$I30", 32 + names + 16);
    le32_write(root, 0x30);
    le32_write(root + 8, CLUSTER);
    return root + 16;
}

static void make_system_records(uint8_t *disk)
{
    begin_record(disk, 0, 1);
    uint8_t *list = add_value(disk, 0, 0x20, "", 0x40);
    put_listed(put_listed(list, 0x80, 0, 0), 0x80, 16, 15);
    add_runs(disk, 0, 0x80, "", 0, 32 * CLUSTER, "\x11\x10\x04");
    end_record(disk, 0);
    begin_record(disk, 15, 1);
    add_runs(disk, 15, 0x80, "", 16, 0, "\x11\x10\x28");
    end_record(disk, 15);
    begin_record(disk, 2, 1);
    add_runs(disk, 2, 0x80, "", 0, 8 * CLUSTER, "\x11\x08\x3c");
    end_record(disk, 2);
    begin_record(disk, 3, 1);
    le16_write(add_value(disk, 3, 0x70, "", 12) + 8, 0x103);
    end_record(disk, 3);
}

static void make_journal(uint8_t *disk)
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *page = cluster_at(disk, JOURNAL + 4 * i);
        le16_write(page + 0x18, 0x30);
        le64_write(page + 0x30, 2 - i);
        le16_write(page + 0x30 + 12, (uint16_t)(i ? 0 : 0xffff)); // the newer one is closed
        seal(page, 4 * CLUSTER, "RSTR", 0x1e);
    }
}

static void make_root(uint8_t *disk)
{
    begin_record(disk, 5, 3);
    add_value(disk, 5, 0x10, "", 0x48);
    uint8_t *node = add_index_root(disk, 5, 0);
    end_node(node, node + 16, 16, 1);
    add_runs(disk, 5, 0xa0, "$I30", 0, 3 * CLUSTER, "\x11\x01\x50\x01\x01\x11\x01\x02");
    add_value(disk, 5, 0xb0, "$I30", 8)[0] = 5;
    end_record(disk, 5);
    static const unsigned clusters[] = { INDEX, INDEX + 2 };
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *block = cluster_at(disk, clusters[i]);
        le64_write(block + 0x10, 2 * i);
        uint8_t *at = block + 0x40;
        if (i == 0) {
            at = put_name(at, 5, ".", true);
            at = put_name(at, 16, "folder", true);
        } else {
            at = put_name(at, 18, "listed", false);
            at = put_name(at, 19, "runs", false);
        }
        end_node(block + 0x18, at, 0x28, 0);
        seal(block, CLUSTER, "INDX", 0x28);
    }
}

static void make_files(uint8_t *disk)
{
    begin_record(disk, 16, 3);
    add_value(disk, 16, 0x10, "", 0x48);
    uint8_t *node = add_index_root(disk, 16, 0x60);
    end_node(node, put_name(node + 16, 17, "file", false), 16, 0);
    end_record(disk, 16);
    begin_record(disk, 17, 1);
    add_value(disk, 17, 0x10, "", 0x48);
    memcpy(add_value(disk, 17, 0x80, "", 5), "holds", 5);
    memcpy(add_value(disk, 17, 0x80, "stream", 5), "holds", 5);
    end_record(disk, 17);
    begin_record(disk, 18, 1);
    add_value(disk, 18, 0x10, "", 0x48);
    add_runs(disk, 18, 0x20, "", 0, 0x40, "\x11\x01\x68");
    put_listed(put_listed(cluster_at(disk, LIST), 0x10, 0, 18), 0x80, 0, 20);
    end_record(disk, 18);
    begin_record(disk, 20, 1);
    add_runs(disk, 20, 0x80, "", 0, 3000, "\x11\x03\x60");
    end_record(disk, 20);
    begin_record(disk, 19, 1);
    add_value(disk, 19, 0x10, "", 0x30);
    add_runs(disk, 19, 0x80, "", 0, 3000, "\x21\x03\x64");
    end_record(disk, 19);
}

static void make_disk(uint8_t *disk)
{
    memcpy(disk, "\xeb\x52\x90NTFS    ", 11);
    le16_write(disk + 11, 512);
    disk[13] = CLUSTER / 512;
    le64_write(disk + 0x28, CLUSTERS * CLUSTER / 512);
    le64_write(disk + 0x30, FIRST);
    le64_write(disk + 0x38, CLUSTERS - 1);
    disk[0x40] = 0xf6;
    make_system_records(disk);
    make_journal(disk);
    make_root(disk);
    make_files(disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzArea areas[] = {
        { 0, 80 },
        { FIRST * CLUSTER, 0x110 },
        { (FIRST + 5) * CLUSTER, 0x1c0 },
        { (FIRST + 15) * CLUSTER, 0x90 },
        { (FIRST + 2) * CLUSTER, 2 * CLUSTER },
        { INDEX * CLUSTER, 0x140 },
        { (INDEX + 2) * CLUSTER, 0x140 },
        { SECOND * CLUSTER, 0x180 },
        { (SECOND + 1) * CLUSTER, 0x120 },
        { (SECOND + 2) * CLUSTER, 0x110 },
        { (SECOND + 3) * CLUSTER, 2 * CLUSTER },
        { JOURNAL * CLUSTER, 64 },
        { LIST * CLUSTER, 64 },
    };
    static FuzzDisk disk;
    if (!disk.size) {
        fuzz_disk_begin(&disk, CLUSTERS * CLUSTER, areas, G_N_ELEMENTS(areas));
        make_disk(disk.sound);
        fuzz_disk_ready(&disk, "NTFS");
    }
    fuzz_disk_run(&disk, data, size);
    return 0;
}
