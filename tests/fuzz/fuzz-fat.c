// SPDX-License-Identifier: GPL-2.0-or-later
// FAT12, FAT16 and FAT32 whose tables the input edits: its first byte says which of them. Each has
// a folder of two clusters in a folder, long names, a label and what was deleted.
#include "tests/fuzz/filesystem-fuzz.h"

#include "engine/base/bytes.h"

#include <glib.h>

#define SECTOR  512u // a cluster, too
#define SECTORS 4400u
#define TABLE   36u // sectors
#define ROOT    (1 + 2 * TABLE)
#define DATA    (ROOT + 1) // cluster 2; of FAT32, which has no other root, ROOT is

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzArea areas[] = {
        { 0, 96 },
        { SECTOR, 64 },
        { SECTOR * (1 + TABLE), 64 },
        { SECTOR * ROOT, 5 * SECTOR },
        { SECTOR * ROOT, 7 * 32 },
    };
    static const unsigned bits[] = { 12, 16, 32 };
    static FuzzDisk disks[3];
    for (unsigned i = 0; i < 3 && !disks[i].size; i++) {
        fuzz_disk_begin(&disks[i], SECTORS * SECTOR, areas, G_N_ELEMENTS(areas));
        make_disk(disks[i].sound, bits[i]);
        fuzz_disk_ready(&disks[i], "FAT");
    }
    if (size)
        fuzz_disk_run(&disks[data[0] % 3], data + 1, size - 1);
    return 0;
}
