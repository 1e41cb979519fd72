// SPDX-License-Identifier: GPL-2.0-or-later
// What the readers of FAT and exFAT share. Stays in this folder.
#pragma once

#include "snapshots/filesystems/filesystem.h"

#define FAT_ENTRY 32u // bytes, of a directory

typedef struct {
    DiskReader *disk;
    bool is_exfat, is_in_use;
    unsigned bits;            // of a cluster's number in the table: 12, 16 or 32
    uint64_t tables[2];       // where the table and its copy begin; the same where there is one
    uint64_t data;            // where cluster 2 begins
    uint64_t root_start;      // the root of FAT12 and FAT16 is no chain
    uint32_t root_size;       // bytes of it; 0: the root is a chain
    uint32_t root_cluster;
    uint32_t clusters;        // they are numbered from 2
    uint32_t cluster_size;    // bytes
} Fat;

typedef enum { FAT_GO_ON, FAT_ENOUGH, FAT_FAILED } FatVisited;

// Called for each entry of a directory. FAT_FAILED with an error.
typedef FatVisited (*FatVisit)(const uint8_t entry[FAT_ENTRY], void *opaque, GError **error);

// The entries of a directory that begins in cluster `first` and has at most `limit` bytes: more are
// damage. `together`: so many clusters follow one another, and the table is not asked; 0: it is.
bool fat_walk(Fat *fs, uint32_t first, uint32_t together, uint32_t limit, FatVisit visit,
              void *opaque, GError **error);
// The same for the root of FAT12 and FAT16.
bool fat_walk_root(Fat *fs, FatVisit visit, void *opaque, GError **error);

const char *fat_remark(void *filesystem);
uint64_t fat_root(void *filesystem);
bool fat_list(void *filesystem, uint64_t directory, GPtrArray *entries, GError **error);

#define FAT_FIXED_ROOT UINT64_MAX // as a directory: the root that is no chain
