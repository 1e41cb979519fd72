// SPDX-License-Identifier: GPL-2.0-or-later
// Where the partitions of a disk are: GPT (its copy at the disk's end where the first is damaged),
// else MBR with logical partitions.
#pragma once

#include "snapshots/filesystems/disk-reader.h"

#define PARTITIONS_MAX 128u

typedef struct {
    unsigned number; // as the guest counts, from 1; 0: the disk as a whole
    uint64_t start, size; // bytes, within the disk
} Partition;

// Array of Partition, by number. A disk without a table has one of number 0. What a table says of
// places beyond the disk is left out, with a sentence in `problems` (strings).
GArray *partition_table_read(DiskReader *disk, GPtrArray *problems);
