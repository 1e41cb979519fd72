// SPDX-License-Identifier: GPL-2.0-or-later
// Names in ext4. Hashed directories are read as linear ones, which their blocks are made to allow:
// what belongs to the tree of hashes lies in entries without an inode. A small directory may be in
// its inode and, where that is full, in an attribute behind it.
#include "snapshots/filesystems/ext4-private.h"

#include "engine/base/bytes.h"

#define DIRECTORY_MAX    (UINT64_C(512) << 20)
#define ATTRIBUTES_MAGIC 0xea020000u
#define SYSTEM_ATTRIBUTE 7u
#define IS_DIRECTORY     0x4000u
#define KIND             0xf000u

typedef struct {
    GPtrArray *entries;
    uint8_t *block;
} Listing;

typedef struct {
    uint8_t offset, length;
} Part;

static uint64_t hash_parts(const Ext4Inode *inode, const Part *parts, size_t count)
{
    uint64_t hash = FILESYSTEM_HASH;
    for (size_t i = 0; i < count; i++)
        hash = filesystem_hash(hash, inode->bytes + parts[i].offset, parts[i].length);
    return hash;
}

// All that changes with a file, but for when it was last read. Of a directory only what is not
// seen by its names.
static uint64_t fingerprint_of(const Ext4Inode *inode)
{
    static const Part of_directory[] = {
        { 0x00, 4 }, // mode, owner
        { 0x18, 2 }, // group
        { 0x68, 4 }, // attributes
        { 0x76, 6 }, // the upper halves of those
    };
    static const Part of_file[] = {
        { 0x00, 8 },    // mode, owner, size
        { 0x0c, 8 },    // ctime, mtime
        { 0x18, 2 },    // group
        { 0x1c, 8 },    // blocks, flags
        { 0x28, 0x48 }, // where the blocks are, generation, attributes, size
        { 0x74, 8 },    // the upper halves of those
        { 0x84, 8 },    // nanoseconds of ctime and mtime
    };
    if ((inode->mode & KIND) == IS_DIRECTORY)
        return hash_parts(inode, of_directory, G_N_ELEMENTS(of_directory));
    bool is_long = le16_read(inode->bytes + 0x80) >= 12;
    return hash_parts(inode, of_file, G_N_ELEMENTS(of_file) - !is_long);
}

// An inode that was used again has another generation and, where it has one, time of birth. What
// was not made by Linux may have neither: size and time stand in.
static uint64_t identity_of(const Ext4Inode *inode)
{
    static const Part parts[] = { { 0x64, 4 }, { 0x90, 8 } }, more[] = { { 4, 4 }, { 0x10, 4 } };
    bool has_birth = le16_read(inode->bytes + 0x80) >= 24;
    uint64_t hashes[] = {
        inode->number, inode->mode & KIND, hash_parts(inode, parts, 1 + has_birth),
        le32_read(inode->bytes + 0x64) ? 0 : hash_parts(inode, more, G_N_ELEMENTS(more)),
    };
    return filesystem_hash(FILESYSTEM_HASH, hashes, sizeof hashes);
}

static bool add_entry(Ext4 *fs, const uint8_t *name, size_t length, uint32_t number,
                      GPtrArray *entries, GError **error)
{
    if ((length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.'))
        return true;
    if (memchr(name, 0, length) || memchr(name, '/', length))
        return filesystem_damaged(error, "it has a name that no file may have");
    if (entries->len >= FILESYSTEM_ENTRIES_MAX)
        return filesystem_damaged(error, "it has more than %u names", FILESYSTEM_ENTRIES_MAX);
    Ext4Inode inode;
    g_autoptr(GError) problem = NULL;
    FilesystemEntry *entry = g_new0(FilesystemEntry, 1);
    g_ptr_array_add(entries, entry);
    entry->name = g_strndup((const char *)name, length);
    entry->file = entry->identity = number;
    if (!ext4_read_inode(fs, number, &inode, &problem)) {
        entry->problem = g_strdup(problem->message);
        return true;
    }
    entry->identity = identity_of(&inode);
    entry->fingerprint = fingerprint_of(&inode);
    entry->size = inode.size;
    entry->is_directory = (inode.mode & KIND) == IS_DIRECTORY;
    return true;
}

static bool add_entries(Ext4 *fs, const uint8_t *bytes, size_t size, GPtrArray *entries,
                        GError **error)
{
    for (size_t at = 0; at + 8 <= size;) {
        const uint8_t *entry = bytes + at;
        size_t length = le16_read(entry + 4), name = entry[6];
        uint32_t number = le32_read(entry);
        if ((length == 65535 || length == 0) && size == EXT4_BLOCK_MAX)
            length = size - at; // 65536 has no 16 bits
        if (length < 8 || length % 4 || length > size - at || (number && name + 8 > length) ||
            (number && name == 0))
            return filesystem_damaged(error, "its entries are damaged");
        if (number && !add_entry(fs, entry + 8, name, number, entries, error))
            return false;
        at += length;
    }
    return true;
}

static bool list_run(Ext4 *fs, uint64_t logical, uint64_t block, uint64_t count, void *opaque,
                     GError **error)
{
    Listing *listing = opaque;
    for (uint64_t i = 0; i < count; i++) {
        if (!ext4_read_block(fs, block + i, listing->block, error) ||
            !add_entries(fs, listing->block, fs->block_size, listing->entries, error))
            return false;
    }
    return true;
}

// The rest of what is in an inode: attribute "data" of the system's.
static bool list_inline_rest(Ext4 *fs, const Ext4Inode *inode, GPtrArray *entries, GError **error)
{
    size_t end = MIN(fs->inode_size, EXT4_INODE_MAX);
    size_t first = 128u + le16_read(inode->bytes + 0x80) + 4;
    if (end <= 132 || first > end || le32_read(inode->bytes + first - 4) != ATTRIBUTES_MAGIC)
        return true;
    for (size_t at = first; at + 20 <= end && le32_read(inode->bytes + at);) {
        const uint8_t *attribute = inode->bytes + at;
        size_t offset = le16_read(attribute + 2), size = le32_read(attribute + 8);
        if (attribute[0] == 4 && attribute[1] == SYSTEM_ATTRIBUTE &&
            memcmp(attribute + 16, "data", 4) == 0) {
            if (offset > end - first || size > end - first - offset)
                return filesystem_damaged(error, "its attributes are damaged");
            return add_entries(fs, inode->bytes + first + offset, size, entries, error);
        }
        at += 16 + (attribute[0] + 3u) / 4 * 4;
    }
    return true;
}

bool ext4_list(void *filesystem, uint64_t directory, GPtrArray *entries, GError **error)
{
    Ext4 *fs = filesystem;
    Ext4Inode inode;
    if (!ext4_read_inode(fs, directory, &inode, error))
        return false;
    if ((inode.mode & KIND) != IS_DIRECTORY || inode.size > DIRECTORY_MAX)
        return filesystem_damaged(error, "inode %" G_GUINT64_FORMAT " is no directory",
                                  directory);
    if (inode.flags & EXT4_FLAG_INLINE_DATA) // its parent is in front
        return add_entries(fs, inode.bytes + 0x28 + 4, 56, entries, error) &&
               list_inline_rest(fs, &inode, entries, error);
    g_autofree uint8_t *block = g_malloc(fs->block_size);
    Listing listing = { entries, block };
    return ext4_walk(fs, &inode, inode.size / fs->block_size, list_run, &listing, error);
}
