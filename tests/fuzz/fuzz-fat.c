// SPDX-License-Identifier: GPL-2.0-or-later
// FAT12, FAT16, FAT32 and exFAT whose tables the input edits: its first byte says which of them.
// FAT has a folder of two clusters in a folder, long names, a label and what was deleted; exFAT a
// root of two clusters, a folder that is a chain and one that is not.
#include "tests/fuzz/filesystem-fuzz.h"

#include "engine/base/bytes.h"

#include <glib.h>

#define SECTOR  512u // a cluster, too
#define SECTORS 4400u
#define TABLE   36u // sectors
#define ROOT    (1 + 2 * TABLE)
#define DATA    (ROOT + 1) // cluster 2; of FAT32, which has no other root, ROOT is
#define EXFAT   0u         // as the bits of a cluster's number

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *sector_at(uint8_t *disk, unsigned sector)
{
    return disk + sector * SECTOR;
}

static void put_link(uint8_t *disk, unsigned bits, unsigned cluster, uint32_t link)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        uint8_t *at = sector_at(disk, 1 + copy * TABLE) + cluster * bits / 8;
        if (bits == 32)
            le32_write(at, link & 0xfffffff);
        else if (bits == 16)
            le16_write(at, (uint16_t)link);
        else if (cluster & 1)
            le16_write(at, (uint16_t)((le16_read(at) & 0xf) | (link & 0xfff) << 4));
        else
            le16_write(at, (uint16_t)((le16_read(at) & 0xf000) | (link & 0xfff)));
    }
}

static void make_boot(uint8_t *boot, unsigned bits)
{
    boot[0] = 0xeb;
    le16_write(boot + 11, SECTOR);
    boot[13] = 1;
    le16_write(boot + 14, 1);
    boot[16] = 2;
    le16_write(boot + 17, bits == 32 ? 0 : SECTOR / 32);
    le16_write(boot + 19, bits == 12 ? 1000 : SECTORS);
    boot[21] = 0xf8;
    le16_write(boot + 22, bits == 32 ? 0 : TABLE);
    le32_write(boot + 36, bits == 32 ? TABLE : 0);
    le32_write(boot + 44, 2);
    boot[510] = 0x55;
    boot[511] = 0xaa;
}

static uint8_t *put_file(uint8_t *at, const char *name, uint8_t attributes, uint16_t cluster)
{
    memcpy(at, name, 11);
    at[11] = attributes;
    le32_write(at + 14, 0x5b816543);
    le32_write(at + 22, 0x5b816543);
    le16_write(at + 26, cluster);
    le32_write(at + 28, attributes & 0x10 ? 0 : 5);
    return at + 32;
}

static uint8_t *put_long(uint8_t *at, const char *text, const char *name, uint8_t number)
{
    static const uint8_t places[] = { 1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30 };
    at[0] = number;
    at[11] = 15;
    for (unsigned i = 0; i < 11; i++)
        at[13] = (uint8_t)((at[13] >> 1 | at[13] << 7) + (uint8_t)name[i]);
    for (unsigned i = 0; i < 13; i++)
        le16_write(at + places[i], (uint8_t)text[i]);
    return at + 32;
}

static void make_disk(uint8_t *disk, unsigned bits)
{
    make_boot(disk, bits);
    unsigned first = bits == 32 ? ROOT : DATA;
    static const uint32_t links[] = { 0xffffff8, 0xfffffff, 0xfffffff, 4, 6, 0xfffffff, 0xfffffff };
    for (unsigned i = 0; i < G_N_ELEMENTS(links); i++)
        put_link(disk, bits, i, links[i]);
    uint8_t *at = put_file(sector_at(disk, ROOT), "LABEL      ", 8, 0);
    at = put_file(at, "\xe5" "ELETED TXT", 0, 3);
    at = put_long(at, "t\0............", "ALONGE~1TXT", 0x42);
    at = put_long(at, "a longer.name", "ALONGE~1TXT", 1);
    at = put_file(at, "ALONGE~1TXT", 0x20, 5);
    at = put_file(at, "FOLDER     ", 0x10, 3);
    put_file(at, "\x05\x90\x91     \x92  ", 0, 0);
    // Its second cluster is the third of them.
    at = put_file(sector_at(disk, first + 1), ".          ", 0x10, 3);
    at = put_file(at, "..         ", 0x10, 0);
    for (unsigned i = 0; i < 14; i++)
        at = put_file(at, "\xe5           ", 0, 0);
    put_file(sector_at(disk, first + 2), "INNER      ", 0x10, 6);
    put_file(sector_at(disk, first + 4), "FILE    TXT", 0, 5);
}

static uint8_t *put_set(uint8_t *at, const char *name, uint16_t attributes, uint32_t first,
                        uint8_t flags)
{
    size_t length = strlen(name), pieces = (length + 14) / 15;
    at[0] = 0x85;
    at[1] = (uint8_t)(1 + pieces);
    le16_write(at + 4, attributes);
    at[32] = 0xc0;
    at[33] = flags;
    at[35] = (uint8_t)length;
    le32_write(at + 52, first);
    le64_write(at + 56, 2 * SECTOR);
    for (size_t i = 0; i < pieces; i++) {
        at[64 + 32 * i] = 0xc1;
        for (size_t j = 0; j < 15 && 15 * i + j < length; j++)
            at[64 + 32 * i + 2 + 2 * j] = (uint8_t)name[15 * i + j];
    }
    uint16_t sum = 0;
    for (size_t i = 0; i < 32 * (2 + pieces); i++) {
        if (i != 2 && i != 3)
            sum = (uint16_t)((sum >> 1 | sum << 15) + at[i]);
    }
    le16_write(at + 2, sum);
    return at + 32 * (2 + pieces);
}

static void make_exfat(uint8_t *disk)
{
    memcpy(disk + 3, "EXFAT   ", 8);
    le64_write(disk + 0x48, SECTORS);
    le32_write(disk + 0x50, 1);
    le32_write(disk + 0x54, TABLE);
    le32_write(disk + 0x58, ROOT);
    le32_write(disk + 0x5c, 1000);
    le32_write(disk + 0x60, 2);
    disk[0x6c] = 9;
    disk[0x6e] = 1;
    static const uint32_t links[] = { 0xfffffff8, UINT32_MAX, 6, UINT32_MAX, 0, 0, UINT32_MAX };
    for (unsigned i = 0; i < G_N_ELEMENTS(links); i++)
        le32_write(sector_at(disk, 1) + 4 * i, links[i]);
    uint8_t *at = sector_at(disk, ROOT);
    at[0] = 0x83; // a label
    at = put_set(at + 32, "a file whose name is long", 0x20, 9, 1);
    at[0] = 0x05; // deleted
    at = put_set(at + 32, "chain", 0x10, 3, 1);
    for (at = put_set(at, "together", 0x10, 4, 3); at < sector_at(disk, ROOT + 1); at += 32)
        at[0] = 0x05;
    put_set(sector_at(disk, ROOT + 1), "file", 0, 0, 0);
    for (unsigned i = 0; i < SECTOR / 32; i++)
        sector_at(disk, ROOT + 2)[32 * i] = 0x05;
    put_set(sector_at(disk, ROOT + 3), "inner", 0, 10, 3);
    put_set(sector_at(disk, ROOT + 4), "in the root's second cluster", 0, 11, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzArea areas[] = {
        { 0, 112 },
        { SECTOR, 64 },
        { SECTOR * (1 + TABLE), 64 },
        { SECTOR * ROOT, 5 * SECTOR },
        { SECTOR * ROOT, 7 * 32 },
    };
    static const unsigned bits[] = { 12, 16, 32, EXFAT };
    static FuzzDisk disks[G_N_ELEMENTS(bits)];
    for (unsigned i = 0; i < G_N_ELEMENTS(disks) && !disks[i].size; i++) {
        fuzz_disk_begin(&disks[i], SECTORS * SECTOR, areas, G_N_ELEMENTS(areas));
        if (bits[i] == EXFAT)
            make_exfat(disks[i].sound);
        else
            make_disk(disks[i].sound, bits[i]);
        fuzz_disk_ready(&disks[i], bits[i] == EXFAT ? "exFAT" : "FAT");
    }
    if (size)
        fuzz_disk_run(&disks[data[0] % G_N_ELEMENTS(disks)], data + 1, size - 1);
    return 0;
}
