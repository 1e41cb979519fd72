// SPDX-License-Identifier: GPL-2.0-or-later
// exFAT, by Microsoft's "exFAT file system specification", revision 1.00: the boot sector and
// names. A file is a set of entries: itself, where it is, and pieces of its name. Clusters that lie
// together need no table; how many there are is then known from the set, and kept in the number by
// which the directory is listed. The rest is as in FAT (fat-chain.c).
#include "snapshots/filesystems/fat-private.h"

#include "engine/base/bytes.h"

#define BOOT_SECTOR    512u
#define DIRECTORY_MAX  (256u << 20)
#define SET_MAX        19u // entries
#define NAME_UNITS     15u // of UTF-16, in one entry
#define ACTIVE_TABLE   1u
#define VOLUME_DIRTY   2u

#define TYPE_IN_USE    0x80u
#define TYPE_SECONDARY 0x40u
#define TYPE_FILE      0x85u
#define TYPE_STREAM    0xc0u
#define TYPE_NAME      0xc1u
#define ATTR_DIRECTORY 0x10u
#define NO_CHAIN       2u

typedef struct {
    Fat *fs;
    uint64_t directory;
    GPtrArray *entries;
    unsigned count, left; // entries of the set that came, and that are to come
    uint8_t set[SET_MAX * FAT_ENTRY];
} Listing;

static bool probe(DiskReader *disk)
{
    uint8_t magic[8];
    return disk_reader_read(disk, 3, magic, 8) == 0 && memcmp(magic, "EXFAT   ", 8) == 0;
}

// ---- Names ----

static uint16_t sum_of(const Listing *listing)
{
    uint16_t sum = 0;
    for (unsigned i = 0; i < listing->count * FAT_ENTRY; i++) {
        if (i != 2 && i != 3) // where the sum is
            sum = (uint16_t)((sum >> 1 | sum << 15) + listing->set[i]);
    }
    return sum;
}

static char *name_of(const Listing *listing)
{
    const uint8_t *stream = listing->set + FAT_ENTRY;
    uint8_t units[SET_MAX * NAME_UNITS * 2];
    size_t length = stream[3];
    if (listing->count < 3 || stream[0] != TYPE_STREAM ||
        length > (listing->count - 2) * NAME_UNITS)
        return NULL;
    for (unsigned i = 2; i < listing->count; i++) {
        const uint8_t *piece = listing->set + i * FAT_ENTRY;
        if (piece[0] != TYPE_NAME && (i - 2) * NAME_UNITS < length)
            return NULL;
        memcpy(units + (i - 2) * NAME_UNITS * 2, piece + 2, NAME_UNITS * 2);
    }
    return filesystem_name_from_utf16(units, length);
}

// Where a file begins and when it was made; an empty file is nowhere: its name has to do.
static uint64_t identity_of(const Listing *listing, const FilesystemEntry *file, uint32_t first)
{
    uint64_t hash = filesystem_hash(FILESYSTEM_HASH, &first, sizeof first);
    hash = filesystem_hash(hash, listing->set + 8, 4);
    hash = filesystem_hash(hash, listing->set + 0x14, 1);
    if (first == 0) {
        hash = filesystem_hash(hash, &listing->directory, sizeof listing->directory);
        hash = filesystem_hash(hash, file->name, strlen(file->name));
    }
    return filesystem_hash(hash, &file->is_directory, sizeof file->is_directory);
}

// Attributes; of a file when it was made and written, where it is, and its lengths, too.
static uint64_t fingerprint_of(const Listing *listing, const FilesystemEntry *file)
{
    uint64_t hash = filesystem_hash(FILESYSTEM_HASH, listing->set + 4, 2);
    if (file->is_directory)
        return hash;
    hash = filesystem_hash(hash, listing->set + 8, 8);
    hash = filesystem_hash(hash, listing->set + 0x14, 4);
    return filesystem_hash(hash, listing->set + FAT_ENTRY + 8, 24);
}

static FatVisited add_file(Listing *listing, GError **error)
{
    const uint8_t *stream = listing->set + FAT_ENTRY;
    g_autofree char *name = name_of(listing);
    if (!name) {
        filesystem_damaged(error, "it has a name that no file may have");
        return FAT_FAILED;
    }
    if (listing->entries->len >= FILESYSTEM_ENTRIES_MAX) {
        filesystem_damaged(error, "it has more than %u names", FILESYSTEM_ENTRIES_MAX);
        return FAT_FAILED;
    }
    FilesystemEntry *file = g_new0(FilesystemEntry, 1);
    g_ptr_array_add(listing->entries, file);
    file->name = g_steal_pointer(&name);
    file->size = le64_read(stream + 0x18);
    file->is_directory = le16_read(listing->set + 4) & ATTR_DIRECTORY;
    file->file = le32_read(stream + 0x14);
    file->identity = identity_of(listing, file, (uint32_t)file->file);
    file->fingerprint = fingerprint_of(listing, file);
    if (le16_read(listing->set + 2) != sum_of(listing))
        file->problem = g_strdup("its entry does not have the sum that it says");
    else if (file->is_directory && file->size > DIRECTORY_MAX)
        file->problem = g_strdup("it is longer than a folder may be");
    else if (file->is_directory && stream[1] & NO_CHAIN)
        file->file |= (file->size + listing->fs->cluster_size - 1) / listing->fs->cluster_size
                      << 32;
    return FAT_GO_ON;
}

static FatVisited visit(const uint8_t *entry, void *opaque, GError **error)
{
    Listing *listing = opaque;
    bool belongs = entry[0] & TYPE_IN_USE && entry[0] & TYPE_SECONDARY;
    if (listing->left && !belongs) {
        filesystem_damaged(error, "its entries are damaged");
        return FAT_FAILED;
    }
    if (entry[0] == 0)
        return FAT_ENOUGH;
    if (entry[0] == TYPE_FILE) {
        listing->count = 0;
        listing->left = entry[1] + 1u;
        if (listing->left > SET_MAX) {
            filesystem_damaged(error, "its entries are damaged");
            return FAT_FAILED;
        }
    }
    if (listing->left == 0)
        return FAT_GO_ON;
    memcpy(listing->set + listing->count++ * FAT_ENTRY, entry, FAT_ENTRY);
    return --listing->left ? FAT_GO_ON : add_file(listing, error);
}

static bool list(void *filesystem, uint64_t directory, GPtrArray *entries, GError **error)
{
    Listing listing = { .fs = filesystem, .directory = directory, .entries = entries };
    return fat_walk(listing.fs, (uint32_t)directory, (uint32_t)(directory >> 32), DIRECTORY_MAX,
                    visit, &listing, error);
}

// ---- Opening ----

static bool read_geometry(Fat *fs, const uint8_t *boot, GError **error)
{
    unsigned sector = boot[0x6c], cluster = sector + boot[0x6d];
    uint64_t volume = le64_read(boot + 0x48), size = disk_reader_size(fs->disk);
    if (sector < 9 || sector > 12 || cluster > 25 || volume > size >> sector)
        return filesystem_damaged(error, "its boot sector is damaged, or part of it is beyond the "
                                         "disk");
    uint64_t table = (uint64_t)le32_read(boot + 0x50) << sector;
    uint64_t table_size = (uint64_t)le32_read(boot + 0x54) << sector;
    uint32_t flags = le16_read(boot + 0x6a);
    bool has_two = boot[0x6e] == 2;
    fs->is_exfat = true;
    fs->bits = 32;
    fs->cluster_size = UINT32_C(1) << cluster;
    fs->data = (uint64_t)le32_read(boot + 0x58) << sector;
    fs->clusters = le32_read(boot + 0x5c);
    fs->root_cluster = le32_read(boot + 0x60);
    fs->is_in_use = flags & VOLUME_DIRTY;
    if (fs->data > size || fs->clusters > (size - fs->data) >> cluster || table_size / 4 < 2 ||
        fs->clusters > table_size / 4 - 2)
        return filesystem_damaged(error, "its boot sector is damaged: its clusters");
    fs->tables[0] = table + (has_two && flags & ACTIVE_TABLE ? table_size : 0);
    fs->tables[1] = fs->tables[0];
    return true;
}

static void *exfat_open(DiskReader *disk, GError **error)
{
    uint8_t boot[BOOT_SECTOR];
    g_autofree Fat *fs = g_new0(Fat, 1);
    fs->disk = disk;
    if (disk_reader_read(disk, 0, boot, sizeof boot) < 0) {
        filesystem_damaged(error, "its boot sector cannot be read");
        return NULL;
    }
    return read_geometry(fs, boot, error) ? g_steal_pointer(&fs) : NULL;
}

const FilesystemOps filesystem_exfat_ops = {
    .name = "exFAT",
    .probe = probe,
    .open = exfat_open,
    .close = g_free,
    .remark = fat_remark,
    .root = fat_root,
    .list = list,
};
