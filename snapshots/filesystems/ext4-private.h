// SPDX-License-Identifier: GPL-2.0-or-later
// What the parts of the ext4 reader share. Stays in this folder.
#pragma once

#include "snapshots/filesystems/filesystem.h"

#define EXT4_BLOCK_MAX   65536u
#define EXT4_INODE_MAX   4096u // bytes of it that are looked at
#define EXT4_DEPTH_MAX   5u    // of an extent tree

#define EXT4_FLAG_EXTENTS     0x80000u
#define EXT4_FLAG_INLINE_DATA 0x10000000u

// A block that is to be read from its copy in the journal.
typedef struct {
    uint64_t block, copy;
    bool is_escaped; // its first four bytes are the journal's magic
} Ext4Copy;

typedef struct {
    DiskReader *disk;
    uint64_t blocks;
    uint32_t block_size, inodes, inodes_per_group, blocks_per_group, first_data_block;
    uint32_t inode_size, descriptor_size, first_meta_group, groups;
    uint32_t compatible, incompatible, read_only_compatible;
    uint32_t backup_groups[2];
    GHashTable *copies; // of Ext4Copy, by block
    const char *remark;
} Ext4;

typedef struct {
    uint32_t number;
    uint16_t mode;
    uint32_t flags;
    uint64_t size;
    uint8_t bytes[EXT4_INODE_MAX]; // zeros beyond the inode's size
} Ext4Inode;

// disk_reader_read, but for what the journal has.
int ext4_read(Ext4 *fs, uint64_t offset, void *buffer, size_t size);
// Fills `copies` with what the journal committed; `super` is the superblock. A sentence where that
// is not all, or NULL.
const char *ext4_replay(Ext4 *fs, const uint8_t *super);

bool ext4_read_block(Ext4 *fs, uint64_t block, uint8_t *buffer, GError **error);
bool ext4_read_inode(Ext4 *fs, uint64_t number, Ext4Inode *ret_inode, GError **error);

// Called for each run of blocks that a file has, in its order. False and error end the walk.
typedef bool (*Ext4Visit)(Ext4 *fs, uint64_t logical, uint64_t block, uint64_t count, void *opaque,
                          GError **error);
// Of the first `count` blocks of the file. Holes, and extents never written, are left out.
bool ext4_walk(Ext4 *fs, const Ext4Inode *inode, uint64_t count, Ext4Visit visit, void *opaque,
               GError **error);

bool ext4_list(void *filesystem, uint64_t directory, GPtrArray *entries, GError **error);
