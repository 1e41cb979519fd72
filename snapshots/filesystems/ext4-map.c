// SPDX-License-Identifier: GPL-2.0-or-later
// Where the blocks of a file are in ext4: trees of extents, or the older lists of block numbers.
#include "snapshots/filesystems/ext4-private.h"

#include "engine/base/bytes.h"

#define EXTENT_MAGIC  0xf30au
#define UNWRITTEN     32768u // an extent longer than this was never written
#define DIRECT_BLOCKS 12u

typedef struct {
    Ext4 *fs;
    uint64_t count; // blocks of the file that are wanted
    Ext4Visit visit;
    void *opaque;
} Walk;

static bool visit_run(const Walk *walk, uint64_t logical, uint64_t block, uint64_t count,
                      GError **error)
{
    if (logical >= walk->count)
        return true;
    count = MIN(count, walk->count - logical);
    if (block == 0 || block >= walk->fs->blocks || count > walk->fs->blocks - block)
        return filesystem_damaged(error, "it refers to blocks from %" G_GUINT64_FORMAT
                                  ", which are not there", block);
    return walk->visit(walk->fs, logical, block, count, walk->opaque, error);
}

// *next: the first block of the file that may come now. Extents lie in order, so that no tree,
// whatever its blocks refer to, is longer than the file.
static bool walk_extents(const Walk *walk, const uint8_t *node, size_t size, unsigned depth,
                         uint64_t *next, GError **error)
{
    unsigned entries = le16_read(node + 2);
    if (le16_read(node) != EXTENT_MAGIC || le16_read(node + 6) != depth ||
        entries > size / 12 - 1)
        return filesystem_damaged(error, "its tree of extents is damaged");
    g_autofree uint8_t *below = depth ? g_malloc(walk->fs->block_size) : NULL;
    for (unsigned i = 1; i <= entries; i++) {
        const uint8_t *entry = node + 12u * i;
        uint64_t logical = le32_read(entry);
        if (logical < *next)
            return filesystem_damaged(error, "its extents are not in order");
        if (logical >= walk->count)
            return true;
        if (depth) {
            uint64_t block = le32_read(entry + 4) | (uint64_t)le16_read(entry + 8) << 32;
            if (!ext4_read_block(walk->fs, block, below, error) ||
                !walk_extents(walk, below, walk->fs->block_size, depth - 1, next, error))
                return false;
            *next = MAX(*next, logical + 1);
            continue;
        }
        unsigned length = le16_read(entry + 4);
        uint64_t block = le32_read(entry + 8) | (uint64_t)le16_read(entry + 6) << 32;
        if (length == 0)
            return filesystem_damaged(error, "its extents are damaged");
        if (length <= UNWRITTEN && !visit_run(walk, logical, block, length, error))
            return false;
        *next = logical + (length > UNWRITTEN ? length - UNWRITTEN : length);
    }
    return true;
}

// The numbers below one block of them; `logical` is the first that it stands for.
static bool walk_list(const Walk *walk, uint64_t block, unsigned level, uint64_t logical,
                      GError **error)
{
    if (block == 0 || logical >= walk->count)
        return true;
    if (level == 0)
        return visit_run(walk, logical, block, 1, error);
    uint32_t per_block = walk->fs->block_size / 4;
    uint64_t span = 1;
    for (unsigned i = 1; i < level; i++)
        span *= per_block;
    g_autofree uint8_t *numbers = g_malloc(walk->fs->block_size);
    if (!ext4_read_block(walk->fs, block, numbers, error))
        return false;
    for (uint32_t i = 0; i < per_block && logical < walk->count; i++, logical += span) {
        if (!walk_list(walk, le32_read(numbers + 4 * i), level - 1, logical, error))
            return false;
    }
    return true;
}

static bool walk_lists(const Walk *walk, const uint8_t *numbers, GError **error)
{
    uint64_t per_block = walk->fs->block_size / 4, logical = DIRECT_BLOCKS;
    for (unsigned i = 0; i < DIRECT_BLOCKS; i++) {
        if (!walk_list(walk, le32_read(numbers + 4 * i), 0, i, error))
            return false;
    }
    uint64_t span = per_block;
    for (unsigned level = 1; level <= 3; level++, span *= per_block) {
        const uint8_t *number = numbers + 4 * (DIRECT_BLOCKS + level - 1);
        if (!walk_list(walk, le32_read(number), level, logical, error))
            return false;
        logical += span;
    }
    return true;
}

bool ext4_walk(Ext4 *fs, const Ext4Inode *inode, uint64_t count, Ext4Visit visit, void *opaque,
               GError **error)
{
    Walk walk = { fs, count, visit, opaque };
    const uint8_t *map = inode->bytes + 0x28;
    if (!(inode->flags & EXT4_FLAG_EXTENTS))
        return walk_lists(&walk, map, error);
    uint64_t next = 0;
    unsigned depth = le16_read(map + 6);
    if (depth > EXT4_DEPTH_MAX)
        return filesystem_damaged(error, "its tree of extents is damaged");
    return walk_extents(&walk, map, 60, depth, &next, error);
}
