// SPDX-License-Identifier: GPL-2.0-or-later
// Disks with an ext4 whose tables the input edits, compared with the same disk unedited: behind an
// MBR, which it edits too. The template is written here by hand: a root with a folder, files, an
// inline folder, a tree of extents and a list of blocks. By the input's first byte it has a
// journal, without checksums, in which the root's block is once more.
#include "tests/fuzz/filesystem-fuzz.h"

#include "engine/base/bytes.h"

#include <glib.h>

#define BLOCK     1024u
#define START     1024u // of the partition
#define BLOCKS    64u
#define DISK      (START + BLOCKS * BLOCK)
#define INODES    16u
#define TABLE     4u  // block of the first inode
#define JOURNAL   40u
#define LOGGED    16u // blocks of the journal

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *block_at(uint8_t *disk, unsigned block)
{
    return disk + START + block * BLOCK;
}

static uint8_t *put_inode(uint8_t *disk, unsigned number, uint16_t mode, uint32_t flags,
                          uint32_t size)
{
    uint8_t *inode = block_at(disk, TABLE) + (number - 1) * 256;
    le16_write(inode, mode);
    le32_write(inode + 4, size);
    le32_write(inode + 0x20, flags);
    le32_write(inode + 0x64, number * 77);
    le16_write(inode + 0x80, 32);
    return inode;
}

static uint8_t *put_name(uint8_t *at, uint32_t inode, const char *name, uint16_t length)
{
    le32_write(at, inode);
    le16_write(at + 4, length);
    at[6] = (uint8_t)strlen(name);
    memcpy(at + 8, name, strlen(name));
    return at + length;
}

static void put_extent(uint8_t *map, uint16_t depth, uint16_t length, uint32_t block)
{
    le16_write(map, 0xf30a);
    le16_write(map + 2, 1);
    le16_write(map + 4, 4);
    le16_write(map + 6, depth);
    le16_write(map + 16, depth ? 0 : length);
    le32_write(map + (depth ? 16 : 20), block);
}

static void make_super(uint8_t *disk)
{
    uint8_t *super = block_at(disk, 1);
    le32_write(super, INODES);
    le32_write(super + 4, BLOCKS);
    le32_write(super + 0x14, 1);
    le32_write(super + 0x20, 8192);
    le32_write(super + 0x28, INODES);
    le16_write(super + 0x38, 0xef53);
    le32_write(super + 0x4c, 1);
    le16_write(super + 0x58, 256);
    le32_write(super + 0x60, 0x8042); // types in entries, extents, data in inodes
    le32_write(block_at(disk, 2) + 8, TABLE);
}

static void make_disk(uint8_t *disk)
{
    disk[510] = 0x55;
    disk[511] = 0xaa;
    disk[450] = 0x83;
    le32_write(disk + 454, START / 512);
    le32_write(disk + 458, BLOCKS * BLOCK / 512);
    make_super(disk);
    put_extent(put_inode(disk, 2, 0x41ed, 0x80000, BLOCK) + 0x28, 0, 1, 20);
    uint8_t *name = put_name(block_at(disk, 20), 2, ".", 12);
    name = put_name(name, 2, "..", 12);
    name = put_name(name, 11, "folder", 16);
    name = put_name(name, 12, "file", 12);
    name = put_name(name, 13, "inline", 16);
    put_name(name, 14, "listed", BLOCK - 68);
    put_extent(put_inode(disk, 11, 0x41ed, 0x80000, 2 * BLOCK) + 0x28, 1, 0, 21);
    put_extent(block_at(disk, 21), 0, 2, 22);
    put_name(block_at(disk, 22), 12, "again", BLOCK);
    put_name(block_at(disk, 23), 15, "other", BLOCK);
    put_inode(disk, 12, 0x81a4, 0x80000, 5);
    put_inode(disk, 15, 0x81a4, 0, 5);
    uint8_t *inline_map = put_inode(disk, 13, 0x41ed, 0x10000000, 60) + 0x28;
    le32_write(inline_map, 2);
    put_name(inline_map + 4, 12, "in it", 56);
    uint8_t *attributes = block_at(disk, TABLE) + 12 * 256 + 128 + 32;
    le32_write(attributes, 0xea020000);
    memcpy(attributes + 4, "\4\7\40\0\0\0\0\0\20\0\0\0\0\0\0\0data", 20);
    put_name(attributes + 4 + 32, 15, "more", 16);
    uint8_t *list = put_inode(disk, 14, 0x41ed, 0, 14 * BLOCK) + 0x28;
    le32_write(list, 24);
    le32_write(list + 48, 25);
    le32_write(block_at(disk, 25), 26);
    put_name(block_at(disk, 24), 12, "direct", BLOCK);
    put_name(block_at(disk, 26), 15, "below", BLOCK);
}

static uint8_t *put_journal(uint8_t *disk, unsigned number, uint32_t type, uint32_t transaction)
{
    uint8_t *block = block_at(disk, JOURNAL + number);
    be32_write(block, 0xc03b3998);
    be32_write(block + 4, type);
    be32_write(block + 8, transaction);
    return block;
}

static void make_journal(uint8_t *disk)
{
    uint8_t *super = block_at(disk, 1);
    le32_write(super + 0x60, 0x8046);
    le32_write(super + 0xe0, 8);
    put_extent(put_inode(disk, 8, 0x8180, 0x80000, LOGGED * BLOCK) + 0x28, 0, LOGGED, JOURNAL);
    uint8_t *journal = put_journal(disk, 0, 4, 0);
    be32_write(journal + 12, BLOCK);
    be32_write(journal + 16, LOGGED);
    be32_write(journal + 20, 1);
    be32_write(journal + 24, 7);  // the first transaction
    be32_write(journal + 28, 13); // and its block: it goes on at the journal's beginning
    be32_write(journal + 0x28, 1);
    uint8_t *descriptor = put_journal(disk, 13, 1, 7);
    be32_write(descriptor + 12, 20);
    be32_write(descriptor + 12 + 8 + 16, 26);
    be16_write(descriptor + 12 + 8 + 16 + 6, 2 | 8);
    memcpy(block_at(disk, JOURNAL + 14), block_at(disk, 20), BLOCK);
    memset(block_at(disk, JOURNAL + 15), 0x55, BLOCK);
    uint8_t *revocation = put_journal(disk, 1, 5, 7);
    be32_write(revocation + 12, 20);
    be32_write(revocation + 16, 26);
    put_journal(disk, 2, 2, 7);
    memset(block_at(disk, 20), 0x55, BLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const FuzzArea areas[] = {
        { 446, 64 },
        { START + BLOCK, 0x160 },
        { START + 2 * BLOCK, 64 },
        { START + TABLE * BLOCK, INODES * 256 },
        { START + 20 * BLOCK, 96 },
        { START + 21 * BLOCK, 64 },
        { START + 22 * BLOCK, 32 },
        { START + 25 * BLOCK, 64 },
        { START + JOURNAL * BLOCK, 96 },
        { START + (JOURNAL + 1) * BLOCK, 32 },
        { START + (JOURNAL + 2) * BLOCK, 32 },
        { START + (JOURNAL + 13) * BLOCK, 64 },
        { START + (JOURNAL + 14) * BLOCK, 96 },
    };
    static FuzzDisk disks[2];
    for (unsigned i = 0; i < 2 && !disks[i].size; i++) {
        fuzz_disk_begin(&disks[i], DISK, areas, G_N_ELEMENTS(areas));
        make_disk(disks[i].sound);
        if (i == 1)
            make_journal(disks[i].sound);
        fuzz_disk_ready(&disks[i], "ext4");
    }
    if (size)
        fuzz_disk_run(&disks[data[0] % 2], data + 1, size - 1);
    return 0;
}
