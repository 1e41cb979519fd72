// SPDX-License-Identifier: GPL-2.0-or-later
// States of file systems made by programs that are not ours, in a folder that goes at the end, and
// what the comparison says of them.
#pragma once

#include "snapshots/filesystems/tree-compare.h"

void rig_begin(const char *pattern); // for mkdtemp; the folder becomes the programs' own
int rig_end(int result);             // returns `result`

// Whether all programs are there, also where only root looks; else the test is skipped and says
// which Debian package has them. The names end with NULL.
bool have_tools(const char *package, ...) G_GNUC_NULL_TERMINATED;
void run(const char *format, ...) G_GNUC_PRINTF(1, 2); // fails the test where the program does
void write_file(const char *name, const char *text);
void save(const char *name, const void *bytes, gsize size);
void make_folder(const char *name);

typedef struct {
    char *bytes;
    gsize size;
} Disk;

Disk load(const char *name);
Disk load_kept(const char *name); // one of those that make-kept.sh made
void disk_clear(Disk *disk);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Disk, disk_clear)

DiskChanges *compare(Disk *before, Disk *after);
// "M /a\n", each change a line.
char *text_of(const PartitionChanges *partition);
// That of a disk with one, of which nothing is to be said.
const PartitionChanges *only(const DiskChanges *changes);
void assert_no_problems(const PartitionChanges *partition);
// Exactly one, with these words in it.
void assert_problem(const PartitionChanges *partition, const char *words);
