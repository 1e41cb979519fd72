// SPDX-License-Identifier: GPL-2.0-or-later
// FAT12, FAT16 and FAT32: the boot sector, by Microsoft's "FAT: General Overview of On-Disk
// Format" 1.03. fat-chain.c follows clusters, fat-directory.c reads names. Which of the three it
// is, is told as Linux does: by the place of the table's size, then by the number of clusters.
#include "snapshots/filesystems/fat-private.h"

#include "engine/base/bytes.h"

#define BOOT_SECTOR      512u
#define FAT12_MAX        4084u // clusters
#define NOT_MIRRORED     0x80u
#define EXTENDED_BOOT    0x29u // the boot sector has what was added later
#define STATE_IN_USE     1u

static bool is_power_of_two(uint32_t number)
{
    return number && !(number & (number - 1));
}

static bool probe(DiskReader *disk)
{
    uint8_t boot[BOOT_SECTOR];
    if (disk_reader_read(disk, 0, boot, sizeof boot) < 0)
        return false;
    uint32_t sector = le16_read(boot + 11);
    return (boot[0] == 0xeb || boot[0] == 0xe9) && boot[510] == 0x55 && boot[511] == 0xaa &&
           sector >= 512 && sector <= 4096 && is_power_of_two(sector) &&
           is_power_of_two(boot[13]) && le16_read(boot + 14) && boot[16] && boot[16] <= 4 &&
           (boot[21] == 0xf0 || boot[21] >= 0xf8);
}

// Where the table is, and its copy. Only one of them counts where they are not kept the same.
static void place_tables(Fat *fs, const uint8_t *boot, uint64_t first, uint64_t table_size)
{
    unsigned copies = boot[16], active = 0, other = copies > 1;
    unsigned flags = fs->bits == 32 ? le16_read(boot + 40) : 0;
    if (flags & NOT_MIRRORED && (flags & 15) < copies)
        active = other = flags & 15;
    fs->tables[0] = first + active * table_size;
    fs->tables[1] = first + other * table_size;
}

// The table says in its second entry whether it was left in order, and Linux says it at the end of
// the boot sector's values.
static void read_state(Fat *fs, const uint8_t *boot)
{
    const uint8_t *state = boot + (fs->bits == 32 ? 0x41 : 0x25);
    uint8_t link[4] = { 0xff, 0xff, 0xff, 0xff };
    fs->is_in_use = state[1] == EXTENDED_BOOT && state[0] & STATE_IN_USE;
    if (fs->bits == 12 || disk_reader_read(fs->disk, fs->tables[0] + fs->bits / 8, link,
                                           fs->bits / 8) < 0)
        return;
    fs->is_in_use |= fs->bits == 16 ? !(link[1] & 0x80) : !(link[3] & 0x08);
}

static bool read_geometry(Fat *fs, const uint8_t *boot, GError **error)
{
    uint32_t sector = le16_read(boot + 11), entries = le16_read(boot + 17);
    uint64_t total = le16_read(boot + 19) ? le16_read(boot + 19) : le32_read(boot + 32);
    uint64_t table_sectors = le16_read(boot + 22);
    bool is_32 = table_sectors == 0;
    if (is_32)
        table_sectors = le32_read(boot + 36);
    uint64_t first = (uint64_t)le16_read(boot + 14) * sector, table_size = table_sectors * sector;
    uint32_t root_size = (entries * FAT_ENTRY + sector - 1) / sector * sector;
    fs->root_start = first + boot[16] * table_size;
    fs->data = fs->root_start + root_size;
    fs->cluster_size = boot[13] * sector;
    if (table_size == 0 || total * sector > disk_reader_size(fs->disk) ||
        fs->data + fs->cluster_size > total * sector || (is_32 ? entries != 0 : entries == 0))
        return filesystem_damaged(error, "its boot sector is damaged, or part of it is beyond the "
                                         "disk");
    uint64_t clusters = (total * sector - fs->data) / fs->cluster_size;
    fs->bits = is_32 ? 32 : clusters <= FAT12_MAX ? 12 : 16;
    uint64_t in_table = table_size * 8 / fs->bits;
    if (in_table <= 2)
        return filesystem_damaged(error, "its boot sector is damaged: the size of the table");
    fs->clusters = (uint32_t)MIN(MIN(clusters, in_table - 2), UINT64_C(0xffffff5));
    fs->root_size = is_32 ? 0 : root_size;
    fs->root_cluster = is_32 ? le32_read(boot + 44) : 0;
    place_tables(fs, boot, first, table_size);
    read_state(fs, boot);
    return true;
}

static void *fat_open(DiskReader *disk, GError **error)
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

const char *fat_remark(void *filesystem)
{
    const Fat *fs = filesystem;
    return fs->is_in_use ? "it was in use: what had not been written yet is not seen" : NULL;
}

uint64_t fat_root(void *filesystem)
{
    const Fat *fs = filesystem;
    return fs->root_size ? FAT_FIXED_ROOT : fs->root_cluster;
}

const FilesystemOps filesystem_fat_ops = {
    .name = "FAT",
    .probe = probe,
    .open = fat_open,
    .close = g_free,
    .remark = fat_remark,
    .root = fat_root,
    .list = fat_list,
};
