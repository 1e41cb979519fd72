// SPDX-License-Identifier: GPL-2.0-or-later
// NTFS 3: the boot sector, the master file table, and whether it was left in order. ntfs-record.c
// reads records and their attributes, ntfs-directory.c names. There is no public specification: the
// layout is what the documentation of Linux-NTFS and the sources of ntfs-3g tell. The journal is
// not replayed. What files hold is not read, so that compressed and encrypted ones are as good as
// others.
#include "snapshots/filesystems/ntfs-private.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>

#define BOOT_SECTOR    512u
#define TABLE_RECORD   0u
#define LOG_RECORD     2u
#define VOLUME_RECORD  3u
#define ROOT_RECORD    5u
#define CLUSTER_MAX    (2u << 20)
#define VOLUME_DIRTY   1u
#define RESTART_PAGE   4096u
#define RESTART_CLEAN  2u
#define NO_CLIENT      0xffffu

static bool probe(DiskReader *disk)
{
    uint8_t magic[8];
    return disk_reader_read(disk, 3, magic, 8) == 0 && memcmp(magic, "NTFS    ", 8) == 0;
}

// Of a count that is a power of two where its sign bit is set; 0: neither.
static uint32_t scaled(uint8_t count, uint32_t unit)
{
    unsigned power = 256u - count;
    if (count < 0x80)
        return count * unit;
    return power < 31 ? UINT32_C(1) << power : 0;
}

static bool is_power_of_two(uint32_t number)
{
    return number && !(number & (number - 1));
}

static bool read_geometry(Ntfs *fs, const uint8_t *boot, GError **error)
{
    uint32_t sector = le16_read(boot + 11);
    uint64_t sectors = le64_read(boot + 0x28);
    bool good = is_power_of_two(sector) && sector >= 256 && sector <= 4096;
    // Above 128 sectors, the count is a power of two of sectors.
    uint32_t power = 256u - boot[13];
    uint64_t cluster = boot[13] <= 128 ? (uint64_t)boot[13] * sector
                       : power < 13    ? (uint64_t)sector << power
                                       : 0;
    good = good && cluster >= 256 && cluster <= CLUSTER_MAX && is_power_of_two((uint32_t)cluster);
    if (!good || sectors > disk_reader_size(fs->disk) / sector)
        return filesystem_damaged(error, "its boot sector is damaged, or part of it is beyond the "
                                         "disk");
    fs->cluster_size = (uint32_t)cluster;
    fs->clusters = sectors * sector / fs->cluster_size;
    fs->record_size = scaled(boot[0x40], fs->cluster_size);
    if (fs->record_size < NTFS_SECTOR || fs->record_size > NTFS_RECORD_MAX ||
        !is_power_of_two(fs->record_size))
        return filesystem_damaged(error, "its boot sector is damaged: the size of a record");
    return true;
}

// The table's own first record says where the table is; that one alone is found by the boot sector,
// or in the copy of its first records.
static bool read_table_at(Ntfs *fs, uint64_t cluster, GError **error)
{
    uint32_t count = MAX(1u, fs->record_size / fs->cluster_size);
    NtfsRun start = { 0, count, cluster };
    NtfsRecord record;
    uint64_t size = 0;
    if (cluster >= fs->clusters || count > fs->clusters - cluster)
        return filesystem_damaged(error, "it is beyond the disk");
    g_array_set_size(fs->table, 0);
    g_array_append_val(fs->table, start);
    fs->records = 1;
    if (!ntfs_read_record(fs, TABLE_RECORD, &record, error))
        return false;
    // A part of the table may say where its other parts are: each counts once it was read.
    g_array_set_size(fs->table, 0);
    fs->records = UINT64_MAX;
    if (!ntfs_load_runs(fs, &record, NTFS_DATA, "", fs->table, &size, error))
        return false;
    fs->records = size / fs->record_size;
    return true;
}

static bool read_table(Ntfs *fs, const uint8_t *boot, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (read_table_at(fs, le64_read(boot + 0x30), &why) ||
        read_table_at(fs, le64_read(boot + 0x38), NULL))
        return true;
    return filesystem_damaged(error, "its master file table cannot be read: %s", why->message);
}

// ---- Whether it was left in order ----

static bool is_volume_dirty(Ntfs *fs)
{
    NtfsRecord record;
    if (!ntfs_read_record(fs, VOLUME_RECORD, &record, NULL))
        return true;
    g_autoptr(GByteArray) value = ntfs_load_value(fs, &record, NTFS_VOLUME_INFORMATION, "",
                                                  NTFS_RECORD_MAX, NULL);
    return !value || value->len < 12 || le16_read(value->data + 10) & VOLUME_DIRTY;
}

// Whether one of the journal's two restart pages says that someone is at it. A page that was never
// written, or wiped, says nothing.
static bool is_page_open(uint8_t *page, uint64_t *last)
{
    if (!ntfs_fix_up(page, RESTART_PAGE, "RSTR", NULL))
        return false;
    size_t area = le16_read(page + 0x18);
    if (area > RESTART_PAGE - 16 || le64_read(page + area) < *last)
        return false;
    *last = le64_read(page + area);
    return le16_read(page + area + 12) != NO_CLIENT &&
           !(le16_read(page + area + 14) & RESTART_CLEAN);
}

static bool is_journal_open(Ntfs *fs)
{
    NtfsRecord record;
    uint64_t size = 0, last = 0;
    uint8_t page[RESTART_PAGE];
    bool is_open = false;
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(NtfsRun));
    if (!ntfs_read_record(fs, LOG_RECORD, &record, NULL) ||
        !ntfs_load_runs(fs, &record, NTFS_DATA, "", runs, &size, NULL))
        return true;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t before = last;
        if (!ntfs_read_runs(fs, runs, i * RESTART_PAGE, page, sizeof page, NULL))
            continue;
        bool says = is_page_open(page, &last);
        is_open = says || (is_open && last == before);
    }
    return is_open;
}

// ---- Opening ----

static void ntfs_close(void *filesystem)
{
    Ntfs *fs = filesystem;
    g_array_unref(fs->table);
    g_free(fs);
}

static void *ntfs_open(DiskReader *disk, GError **error)
{
    uint8_t boot[BOOT_SECTOR];
    Ntfs *fs = g_new0(Ntfs, 1);
    fs->disk = disk;
    fs->table = g_array_new(FALSE, FALSE, sizeof(NtfsRun));
    bool good = disk_reader_read(disk, 0, boot, sizeof boot) == 0 ||
                filesystem_damaged(error, "its boot sector cannot be read");
    if (!good || !read_geometry(fs, boot, error) || !read_table(fs, boot, error)) {
        ntfs_close(fs);
        return NULL;
    }
    fs->is_in_use = is_volume_dirty(fs) || is_journal_open(fs);
    return fs;
}

static const char *remark(void *filesystem)
{
    const Ntfs *fs = filesystem;
    return fs->is_in_use ? "it was in use: what only its journal has is not seen" : NULL;
}

static uint64_t root(void *filesystem)
{
    return ROOT_RECORD;
}

const FilesystemOps filesystem_ntfs_ops = {
    .name = "NTFS",
    .probe = probe,
    .open = ntfs_open,
    .close = ntfs_close,
    .remark = remark,
    .root = root,
    .list = ntfs_list,
};
