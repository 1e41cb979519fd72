// SPDX-License-Identifier: GPL-2.0-or-later
// See partition-table.h. Sectors are of 512 bytes, as our disks have them.
#include "snapshots/filesystems/partition-table.h"

#include "engine/base/bytes.h"

#include <stdbool.h>
#include <zlib.h>

#define SECTOR          512u
#define GPT_HEADER      92u
#define GPT_ENTRY_MAX   4096u
#define MBR_ENTRIES     446u
#define MBR_PROTECTIVE  0xee

static void add(GArray *partitions, DiskReader *disk, unsigned number, uint64_t first,
                uint64_t count, GPtrArray *problems)
{
    uint64_t sectors = disk_reader_size(disk) / SECTOR;
    if (count == 0 || first >= sectors || count > sectors - first) {
        g_ptr_array_add(problems,
                        g_strdup_printf("partition %u is not within the disk: left out", number));
        return;
    }
    Partition partition = { number, first * SECTOR, count * SECTOR };
    g_array_append_val(partitions, partition);
}

// ---- GPT ----

static bool read_gpt_header(DiskReader *disk, uint64_t sector, uint8_t header[SECTOR])
{
    if (disk_reader_read(disk, sector * SECTOR, header, SECTOR) < 0 ||
        memcmp(header, "EFI PART", 8) != 0)
        return false;
    uint32_t size = le32_read(header + 12), sum = le32_read(header + 16);
    if (size < GPT_HEADER || size > SECTOR)
        return false;
    uint8_t copy[SECTOR];
    memcpy(copy, header, SECTOR);
    le32_write(copy + 16, 0);
    return crc32(0, copy, size) == sum;
}

static void read_gpt_entries(DiskReader *disk, const uint8_t *header, GArray *partitions,
                             GPtrArray *problems)
{
    uint64_t table = le64_read(header + 72);
    uint32_t count = MIN(le32_read(header + 80), PARTITIONS_MAX);
    uint32_t size = le32_read(header + 84);
    if (size < 128 || size > GPT_ENTRY_MAX || table > disk_reader_size(disk) / SECTOR) {
        g_ptr_array_add(problems, g_strdup("the GUID partition table is damaged"));
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        static const uint8_t unused[16];
        uint8_t entry[48];
        if (disk_reader_read(disk, table * SECTOR + (uint64_t)i * size, entry, sizeof entry) < 0) {
            g_ptr_array_add(problems, g_strdup("the GUID partition table is cut off"));
            return;
        }
        uint64_t first = le64_read(entry + 32), last = le64_read(entry + 40);
        if (memcmp(entry, unused, sizeof unused) != 0)
            add(partitions, disk, i + 1, first, last < first ? 0 : last - first + 1, problems);
    }
}

static bool read_gpt(DiskReader *disk, GArray *partitions, GPtrArray *problems)
{
    uint8_t header[SECTOR];
    uint64_t sectors = disk_reader_size(disk) / SECTOR;
    if (!read_gpt_header(disk, 1, header)) {
        if (sectors < 3 || !read_gpt_header(disk, sectors - 1, header))
            return false;
        g_ptr_array_add(problems,
                        g_strdup("the GUID partition table is damaged: its copy is used"));
    }
    read_gpt_entries(disk, header, partitions, problems);
    return true;
}

// ---- MBR ----

static bool is_extended(uint8_t type)
{
    return type == 0x05 || type == 0x0f || type == 0x85;
}

// A boot sector of a file system ends in the same two bytes, but holds code where the table is.
static bool is_table(const uint8_t *sector)
{
    bool any = false;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = sector + MBR_ENTRIES + 16 * i;
        if (entry[0] & 0x7f)
            return false;
        any |= entry[4] != 0;
    }
    return any && sector[510] == 0x55 && sector[511] == 0xaa;
}

// Each sector of the chain has one partition, and where the next sector is.
static void read_logical(DiskReader *disk, uint64_t base, GArray *partitions, GPtrArray *problems)
{
    uint64_t at = base;
    for (unsigned number = 5; number < 5 + PARTITIONS_MAX; number++) {
        uint8_t sector[SECTOR];
        if (disk_reader_read(disk, at * SECTOR, sector, SECTOR) < 0 || sector[510] != 0x55 ||
            sector[511] != 0xaa) {
            g_ptr_array_add(problems, g_strdup("the chain of logical partitions is damaged"));
            return;
        }
        const uint8_t *entry = sector + MBR_ENTRIES, *next = entry + 16;
        if (entry[4])
            add(partitions, disk, number, at + le32_read(entry + 8), le32_read(entry + 12),
                problems);
        if (!is_extended(next[4]))
            return;
        uint64_t there = base + le32_read(next + 8);
        if (there <= at) {
            g_ptr_array_add(problems, g_strdup("the chain of logical partitions goes back"));
            return;
        }
        at = there;
    }
}

static bool read_mbr(DiskReader *disk, const uint8_t *sector, GArray *partitions,
                     GPtrArray *problems)
{
    uint64_t extended = 0;
    if (!is_table(sector))
        return false;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *entry = sector + MBR_ENTRIES + 16 * i;
        uint32_t first = le32_read(entry + 8);
        if (is_extended(entry[4]))
            extended = first;
        else if (entry[4])
            add(partitions, disk, i + 1, first, le32_read(entry + 12), problems);
    }
    if (extended)
        read_logical(disk, extended, partitions, problems);
    return true;
}

GArray *partition_table_read(DiskReader *disk, GPtrArray *problems)
{
    GArray *partitions = g_array_new(FALSE, FALSE, sizeof(Partition));
    uint8_t sector[SECTOR];
    bool readable = disk_reader_read(disk, 0, sector, SECTOR) == 0;
    bool protective = readable && is_table(sector) && sector[MBR_ENTRIES + 4] == MBR_PROTECTIVE;
    if (protective && read_gpt(disk, partitions, problems))
        return partitions;
    if (readable && !protective && read_mbr(disk, sector, partitions, problems))
        return partitions;
    Partition whole = { 0, 0, disk_reader_size(disk) };
    g_array_append_val(partitions, whole);
    return partitions;
}
