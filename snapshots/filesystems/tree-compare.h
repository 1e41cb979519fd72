// SPDX-License-Identifier: GPL-2.0-or-later
// Which files differ between two states of a disk: by partition, where a file system that is known
// here is in both. Told by names, times, sizes and attributes, not by reading what is in files.
#pragma once

#include "snapshots/filesystems/disk-reader.h"

#include <stdbool.h>

typedef enum { FILE_ADDED, FILE_DELETED, FILE_MODIFIED, FILE_RENAMED } FileChangeKind;

typedef struct {
    FileChangeKind kind;
    bool is_directory;
    char *path;     // from '/', bytes as on the disk: any but NUL
    char *old_path; // RENAMED only, else NULL; contents may have changed too
} FileChange;

typedef struct {
    unsigned number;        // of the partition; 0: the disk as a whole
    const char *filesystem; // name of its kind; NULL: none that is known in either state
    GPtrArray *changes;     // FileChange, by path
    GPtrArray *problems;    // sentences: what could not be read, or is not seen
} PartitionChanges;

typedef struct {
    GPtrArray *partitions; // PartitionChanges, by number
    GPtrArray *problems;   // sentences about the disk
} DiskChanges;

#define TREE_ENTRIES_MAX  (4u << 20) // names looked at in a partition
#define TREE_CHANGES_MAX  (1u << 20)
#define TREE_BYTES_MAX    (UINT64_C(64) << 30) // read of either state of a partition
#define TREE_DEPTH_MAX    512u
#define TREE_PROBLEMS_MAX 100u

// From `before` to `after`. Damage makes problems, no errors. Free with disk_changes_free.
DiskChanges *disk_compare(DiskReader *before, DiskReader *after);
void disk_changes_free(DiskChanges *changes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DiskChanges, disk_changes_free)
