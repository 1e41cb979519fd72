// SPDX-License-Identifier: GPL-2.0-or-later
// What the parts of the NTFS reader share. Stays in this folder.
#pragma once

#include "snapshots/filesystems/filesystem.h"

#define NTFS_SECTOR     512u // of fix-ups, whatever the disk's are
#define NTFS_RECORD_MAX 4096u
#define NTFS_HOLE       UINT64_MAX
#define NTFS_RUNS_MAX   (1u << 20) // of one stream

#define NTFS_STANDARD_INFORMATION 0x10u
#define NTFS_ATTRIBUTE_LIST       0x20u
#define NTFS_VOLUME_INFORMATION   0x70u
#define NTFS_DATA                 0x80u
#define NTFS_INDEX_ROOT           0x90u
#define NTFS_INDEX_ALLOCATION     0xa0u
#define NTFS_BITMAP               0xb0u
#define NTFS_REPARSE_POINT        0xc0u

#define NTFS_RECORD_IN_USE    1u
#define NTFS_RECORD_DIRECTORY 2u

// Clusters of a stream that lie together.
typedef struct {
    uint64_t first, count; // in the stream
    uint64_t cluster;      // on the disk, or NTFS_HOLE
} NtfsRun;

typedef struct {
    DiskReader *disk;
    uint64_t clusters;
    uint32_t cluster_size, record_size;
    GArray *table;       // NtfsRun of the master file table, in order
    uint64_t records;    // in it
    uint64_t list_bytes; // of attribute lists that were read
    bool is_in_use;
} Ntfs;

typedef struct {
    uint64_t number;
    uint16_t sequence, flags;
    uint32_t used;
    uint8_t bytes[NTFS_RECORD_MAX];
} NtfsRecord;

// In a record, and gone with it.
typedef struct {
    uint32_t type;
    const uint8_t *bytes; // of it all
    size_t size;
    const uint8_t *name; // UTF-16
    unsigned name_units;
    bool is_resident, is_packed; // packed: what it holds is compressed
    const uint8_t *value;         // resident: what it holds; else the list of runs
    size_t value_size;
    uint64_t first;       // not resident: cluster of the stream with which it begins
    uint64_t stream_size; // not resident, and first is 0: bytes
} NtfsAttribute;

typedef enum { NTFS_NONE, NTFS_FOUND, NTFS_DAMAGED } NtfsFound; // DAMAGED with an error

// A record by its reference, of which the upper 16 bits are its sequence number; 0: any.
bool ntfs_read_record(Ntfs *fs, uint64_t reference, NtfsRecord *ret_record, GError **error);
// Puts the ends of sectors back where they belong.
bool ntfs_fix_up(uint8_t *bytes, size_t size, const char *magic, GError **error);

// The attribute at *at, which moves on; begin with 0.
NtfsFound ntfs_next(const NtfsRecord *record, uint32_t *at, NtfsAttribute *ret_attribute,
                    GError **error);
bool ntfs_is_named(const NtfsAttribute *attribute, const char *name);
// The first piece of an attribute, in the record or, by its list of attributes, in `other`.
NtfsFound ntfs_find(Ntfs *fs, const NtfsRecord *record, uint32_t type, const char *name,
                    NtfsRecord *other, NtfsAttribute *ret_attribute, GError **error);

// Adds all runs of a stream that is not resident, and tells its size in bytes.
bool ntfs_load_runs(Ntfs *fs, const NtfsRecord *record, uint32_t type, const char *name,
                    GArray *runs, uint64_t *ret_size, GError **error);
bool ntfs_read_runs(Ntfs *fs, GArray *runs, uint64_t offset, void *buffer, size_t size,
                    GError **error);
// What an attribute holds, wherever that is. NULL and error where it is not there, or too much.
GByteArray *ntfs_load_value(Ntfs *fs, const NtfsRecord *record, uint32_t type, const char *name,
                            size_t limit, GError **error);

bool ntfs_list(void *filesystem, uint64_t directory, GPtrArray *entries, GError **error);
