// SPDX-License-Identifier: GPL-2.0-or-later
// Names in NTFS: the index of a folder, of which all blocks that its bitmap has in use are read, so
// that what its nodes say of one another does not matter. A file's own record tells what changes;
// the copy in the index may be old.
#include "snapshots/filesystems/ntfs-private.h"

#include "engine/base/bytes.h"

#define INDEX           "$I30"
#define BLOCK_MAX       65536u
#define INDEX_MAX       (1u << 30) // bytes
#define BITMAP_MAX      (1u << 20) // bytes
#define OWN_FILES       16u        // records below are NTFS's own
#define NAME_DOS        2u         // a second, short name
#define IS_LAST         2u
#define HAS_BLOCKS      1u
#define IS_DIRECTORY    0x10000000u
#define FILE_NAME_SIZE  0x42u

typedef struct {
    Ntfs *fs;
    GPtrArray *entries;
    NtfsRecord record, other; // of the file that is looked at
} Listing;

// Times but for that of reading, attributes, owner.
static uint64_t hash_information(uint64_t hash, const NtfsAttribute *attribute, bool is_directory)
{
    const uint8_t *value = attribute->value;
    if (attribute->value_size >= 0x24 && !is_directory)
        hash = filesystem_hash(hash, value, 0x18);
    if (attribute->value_size >= 0x24)
        hash = filesystem_hash(hash, value + 0x20, 4);
    if (attribute->value_size >= 0x38)
        hash = filesystem_hash(hash, value + 0x30, 8);
    return hash;
}

// What the file holds where that is in its record, else where it is: with all of its streams.
static bool read_file(Listing *listing, FilesystemEntry *entry, GError **error)
{
    NtfsRecord *record = &listing->record;
    if (!ntfs_read_record(listing->fs, entry->file, record, error))
        return false;
    uint64_t hash = FILESYSTEM_HASH;
    NtfsAttribute attribute;
    NtfsFound found;
    entry->is_directory = record->flags & NTFS_RECORD_DIRECTORY;
    for (uint32_t at = 0; (found = ntfs_next(record, &at, &attribute, error)) == NTFS_FOUND;) {
        if (attribute.type == NTFS_STANDARD_INFORMATION)
            hash = hash_information(hash, &attribute, entry->is_directory);
        else if (attribute.type == NTFS_DATA || attribute.type == NTFS_REPARSE_POINT ||
                 (attribute.type == NTFS_ATTRIBUTE_LIST && !entry->is_directory))
            hash = filesystem_hash(hash, attribute.bytes, attribute.size);
    }
    if (found == NTFS_DAMAGED)
        return false;
    found = ntfs_find(listing->fs, record, NTFS_DATA, "", &listing->other, &attribute, error);
    if (found == NTFS_DAMAGED)
        return false;
    if (found == NTFS_FOUND) {
        entry->size = attribute.is_resident ? attribute.value_size : attribute.stream_size;
        hash = filesystem_hash(hash, attribute.bytes, attribute.size);
    }
    entry->fingerprint = hash;
    return true;
}

// key: the name as the index has it, with a copy of what is in the file's record.
static bool add_file(Listing *listing, uint64_t reference, const uint8_t *key, GError **error)
{
    g_autofree char *name = filesystem_name_from_utf16(key + FILE_NAME_SIZE, key[0x40]);
    g_autoptr(GError) problem = NULL;
    if (!name)
        return filesystem_damaged(error, "it has a name that no file may have");
    if (listing->entries->len >= FILESYSTEM_ENTRIES_MAX)
        return filesystem_damaged(error, "it has more than %u names", FILESYSTEM_ENTRIES_MAX);
    FilesystemEntry *entry = g_new0(FilesystemEntry, 1);
    g_ptr_array_add(listing->entries, entry);
    entry->name = g_steal_pointer(&name);
    entry->file = reference;
    entry->identity = filesystem_hash(FILESYSTEM_HASH, &reference, sizeof reference);
    entry->is_directory = le32_read(key + 0x38) & IS_DIRECTORY;
    if (!read_file(listing, entry, &problem))
        entry->problem = g_strdup(problem->message);
    return true;
}

// The entries of a node, which begins with where they are.
static bool read_node(Listing *listing, const uint8_t *node, size_t size, GError **error)
{
    if (size < 16)
        return filesystem_damaged(error, "its index is damaged");
    size_t at = le32_read(node), end = le32_read(node + 4);
    if (at < 16 || at > end || end > size)
        return filesystem_damaged(error, "its index is damaged");
    while (end - at >= 16) {
        const uint8_t *entry = node + at;
        size_t length = le16_read(entry + 8), key = le16_read(entry + 10);
        if (length < 16 || length % 8 || length > end - at)
            return filesystem_damaged(error, "its index is damaged");
        if (le16_read(entry + 12) & IS_LAST)
            return true;
        if (key < FILE_NAME_SIZE || 16 + key > length ||
            FILE_NAME_SIZE + 2u * entry[16 + 0x40] > key)
            return filesystem_damaged(error, "its index is damaged");
        uint64_t reference = le64_read(entry);
        bool is_own = (reference & UINT64_C(0xffffffffffff)) < OWN_FILES;
        if (!is_own && entry[16 + 0x41] != NAME_DOS &&
            !add_file(listing, reference, entry + 16, error))
            return false;
        at += length;
    }
    return filesystem_damaged(error, "its index is damaged");
}

static bool read_blocks(Listing *listing, const NtfsRecord *directory, uint32_t block_size,
                        GError **error)
{
    Ntfs *fs = listing->fs;
    uint64_t size = 0, unit = block_size >= fs->cluster_size ? fs->cluster_size : NTFS_SECTOR;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(NtfsRun));
    g_autofree uint8_t *block = g_malloc(block_size);
    if (!ntfs_load_runs(fs, directory, NTFS_INDEX_ALLOCATION, INDEX, runs, &size, error))
        return false;
    if (size > INDEX_MAX)
        return filesystem_damaged(error, "its index is longer than 1 GiB");
    g_autoptr(GByteArray) bitmap =
        ntfs_load_value(fs, directory, NTFS_BITMAP, INDEX, BITMAP_MAX, error);
    if (!bitmap)
        return false;
    for (uint64_t i = 0; i < bitmap->len * UINT64_C(8) && i < size / block_size; i++) {
        if (!(bitmap->data[i / 8] >> i % 8 & 1))
            continue;
        g_autoptr(GError) why = NULL;
        if (!ntfs_read_runs(fs, runs, i * block_size, block, block_size, &why) ||
            !ntfs_fix_up(block, block_size, "INDX", &why))
            return filesystem_damaged(error, "block %" G_GUINT64_FORMAT " of its index is damaged: "
                                      "%s", i, why->message);
        if (le64_read(block + 0x10) != i * block_size / unit)
            return filesystem_damaged(error, "block %" G_GUINT64_FORMAT " of its index is "
                                      "another's", i);
        if (!read_node(listing, block + 0x18, block_size - 0x18, error))
            return false;
    }
    return true;
}

bool ntfs_list(void *filesystem, uint64_t directory, GPtrArray *entries, GError **error)
{
    g_autofree Listing *listing = g_new(Listing, 1);
    g_autofree NtfsRecord *record = g_new(NtfsRecord, 1);
    listing->fs = filesystem;
    listing->entries = entries;
    if (!ntfs_read_record(listing->fs, directory, record, error))
        return false;
    if (!(record->flags & NTFS_RECORD_DIRECTORY))
        return filesystem_damaged(error, "record %" G_GUINT64_FORMAT " is no folder",
                                  record->number);
    g_autoptr(GByteArray) root = ntfs_load_value(listing->fs, record, NTFS_INDEX_ROOT, INDEX,
                                                 NTFS_RECORD_MAX, error);
    if (!root)
        return false;
    uint32_t block_size = root->len >= 32 ? le32_read(root->data + 8) : 0;
    if (block_size < NTFS_SECTOR || block_size > BLOCK_MAX || block_size & (block_size - 1))
        return filesystem_damaged(error, "its index is damaged");
    if (!read_node(listing, root->data + 16, root->len - 16, error))
        return false;
    return !(root->data[16 + 12] & HAS_BLOCKS) || read_blocks(listing, record, block_size, error);
}
