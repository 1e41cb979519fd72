// SPDX-License-Identifier: GPL-2.0-or-later
// ext2, ext3 and ext4: superblock, group descriptors and inodes. ext4-map.c finds a file's blocks,
// ext4-directory.c reads names, ext4-journal.c what the journal has. Checksums outside of that are
// not looked at: what matters is whether numbers make sense.
#include "snapshots/filesystems/ext4-private.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>

#define SUPERBLOCK       1024u
#define SUPERBLOCK_SIZE  1024u
#define MAGIC            0xef53u
#define ROOT_INODE       2u
#define GROUPS_MAX       (1u << 24)
#define SPARSE_SUPER     0x1u // read-only compatible
#define SPARSE_SUPER2    0x200u // compatible

#define RECOVER          0x4u // incompatible, as all that follow
#define META_GROUPS      0x10u
#define WIDE             0x80u
// Compression, a journal alone, and data in directories are what is not read.
#define KNOWN            (0x2u | RECOVER | META_GROUPS | 0x40u | WIDE | 0x100u | 0x200u | 0x400u | \
                          0x2000u | 0x4000u | 0x8000u | 0x10000u | 0x20000u)

static bool probe(DiskReader *disk)
{
    uint8_t magic[2];
    return disk_reader_read(disk, SUPERBLOCK + 0x38, magic, 2) == 0 && le16_read(magic) == MAGIC;
}

bool ext4_read_block(Ext4 *fs, uint64_t block, uint8_t *buffer, GError **error)
{
    if (block == 0 || block >= fs->blocks)
        return filesystem_damaged(error, "it refers to block %" G_GUINT64_FORMAT
                                  ", which is not there", block);
    int result = ext4_read(fs, block * fs->block_size, buffer, fs->block_size);
    return result == 0 || filesystem_damaged(error, "block %" G_GUINT64_FORMAT
                                             " cannot be read: %s", block, g_strerror(-result));
}

// ---- Groups and inodes ----

static bool is_power_of(uint32_t group, uint32_t base)
{
    uint64_t power = base;
    while (power < group)
        power *= base;
    return power == group;
}

static bool has_superblock(const Ext4 *fs, uint32_t group)
{
    if (group == 0)
        return true;
    if (fs->compatible & SPARSE_SUPER2)
        return group == fs->backup_groups[0] || group == fs->backup_groups[1];
    return !(fs->read_only_compatible & SPARSE_SUPER) || group == 1 || is_power_of(group, 3) ||
           is_power_of(group, 5) || is_power_of(group, 7);
}

static uint64_t descriptor_place(const Ext4 *fs, uint32_t group)
{
    uint32_t in_block = fs->block_size / fs->descriptor_size;
    uint32_t number = group / in_block;
    // Where blocks of 1 KiB begin at 0, for clusters, the superblock still is the second of them.
    uint32_t skipped = fs->block_size == 1024 && fs->first_data_block == 0;
    uint64_t block = (uint64_t)fs->first_data_block + skipped + 1 + number;
    if (fs->incompatible & META_GROUPS && number >= fs->first_meta_group) {
        uint32_t first = number * in_block;
        block = fs->first_data_block + (uint64_t)first * fs->blocks_per_group +
                has_superblock(fs, first) + (number == 0 ? skipped : 0);
    }
    return block * fs->block_size + (uint64_t)(group % in_block) * fs->descriptor_size;
}

bool ext4_read_inode(Ext4 *fs, uint64_t number, Ext4Inode *ret_inode, GError **error)
{
    uint8_t descriptor[64] = { 0 };
    if (number == 0 || number > fs->inodes)
        return filesystem_damaged(error, "it refers to inode %" G_GUINT64_FORMAT
                                  ", which is not there", number);
    uint32_t group = (uint32_t)((number - 1) / fs->inodes_per_group);
    uint32_t index = (uint32_t)((number - 1) % fs->inodes_per_group);
    int result = ext4_read(fs, descriptor_place(fs, group), descriptor,
                           MIN(fs->descriptor_size, sizeof descriptor));
    uint64_t table = le32_read(descriptor + 8) | (uint64_t)le32_read(descriptor + 0x28) << 32;
    if (result == 0 && (table == 0 || table >= fs->blocks))
        return filesystem_damaged(error, "group %u has its inodes outside the file system", group);
    memset(ret_inode, 0, sizeof *ret_inode);
    if (result == 0)
        result = ext4_read(fs, table * fs->block_size + (uint64_t)index * fs->inode_size,
                           ret_inode->bytes, MIN(fs->inode_size, EXT4_INODE_MAX));
    if (result < 0)
        return filesystem_damaged(error, "inode %" G_GUINT64_FORMAT " cannot be read: %s", number,
                                  g_strerror(-result));
    const uint8_t *bytes = ret_inode->bytes;
    ret_inode->number = (uint32_t)number;
    ret_inode->mode = le16_read(bytes);
    ret_inode->flags = le32_read(bytes + 0x20);
    ret_inode->size = le32_read(bytes + 4) | (uint64_t)le32_read(bytes + 0x6c) << 32;
    return true;
}

// ---- Opening ----

static bool read_geometry(Ext4 *fs, const uint8_t *super, GError **error)
{
    uint32_t shift = le32_read(super + 0x18);
    bool is_old = le32_read(super + 0x4c) == 0;
    fs->incompatible = is_old ? 0 : le32_read(super + 0x60);
    if (fs->incompatible & ~KNOWN) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "this ext4 has features 0x%x, which are not known here",
                    fs->incompatible & ~KNOWN);
        return false;
    }
    if (shift > 6)
        return filesystem_damaged(error, "its superblock is damaged: the size of a block");
    fs->block_size = 1024u << shift;
    fs->compatible = le32_read(super + 0x5c);
    fs->read_only_compatible = le32_read(super + 0x64);
    bool wide = fs->incompatible & WIDE;
    fs->inodes = le32_read(super);
    fs->blocks = le32_read(super + 4) | (wide ? (uint64_t)le32_read(super + 0x150) << 32 : 0);
    fs->first_data_block = le32_read(super + 0x14);
    fs->blocks_per_group = le32_read(super + 0x20);
    fs->inodes_per_group = le32_read(super + 0x28);
    fs->inode_size = is_old ? 128 : le16_read(super + 0x58);
    fs->descriptor_size = wide ? le16_read(super + 0xfe) : 32;
    fs->first_meta_group = le32_read(super + 0x104);
    fs->backup_groups[0] = le32_read(super + 0x24c);
    fs->backup_groups[1] = le32_read(super + 0x250);
    return true;
}

static bool is_sane(const Ext4 *fs)
{
    uint32_t d = fs->descriptor_size;
    if (fs->inodes_per_group == 0 || fs->blocks_per_group == 0 || fs->first_data_block > 1)
        return false;
    if (fs->inode_size < 128 || fs->inode_size > fs->block_size ||
        fs->inode_size & (fs->inode_size - 1))
        return false;
    if (d < 32 || d > fs->block_size || d & (d - 1))
        return false;
    return fs->blocks <= disk_reader_size(fs->disk) / fs->block_size &&
           fs->inodes / fs->inodes_per_group <= GROUPS_MAX;
}

static bool read_super(Ext4 *fs, uint8_t super[SUPERBLOCK_SIZE], GError **error)
{
    // The first time nothing is known of blocks, nor is there anything in the journal's stead.
    if (ext4_read(fs, SUPERBLOCK, super, SUPERBLOCK_SIZE) < 0 || le16_read(super + 0x38) != MAGIC)
        return filesystem_damaged(error, "its superblock cannot be read");
    if (!read_geometry(fs, super, error))
        return false;
    return is_sane(fs) || filesystem_damaged(error, "its superblock is damaged, or part of it is "
                                                    "beyond the disk");
}

static void ext4_close(void *filesystem)
{
    Ext4 *fs = filesystem;
    g_hash_table_unref(fs->copies);
    g_free(fs);
}

static void *ext4_open(DiskReader *disk, GError **error)
{
    uint8_t super[SUPERBLOCK_SIZE];
    Ext4 *fs = g_new0(Ext4, 1);
    fs->disk = disk;
    fs->copies = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    bool good = read_super(fs, super, error);
    if (good && fs->incompatible & RECOVER) {
        uint32_t block_size = fs->block_size;
        fs->remark = ext4_replay(fs, super);
        good = read_super(fs, super, error);
        if (good && fs->block_size != block_size)
            good = filesystem_damaged(error, "its journal has a superblock of another size of "
                                             "blocks");
    }
    if (good)
        return fs;
    ext4_close(fs);
    return NULL;
}

static const char *remark(void *filesystem)
{
    const Ext4 *fs = filesystem;
    return fs->remark;
}

static uint64_t root(void *filesystem)
{
    return ROOT_INODE;
}

const FilesystemOps filesystem_ext4_ops = {
    .name = "ext4",
    .probe = probe,
    .open = ext4_open,
    .close = ext4_close,
    .remark = remark,
    .root = root,
    .list = ext4_list,
};
