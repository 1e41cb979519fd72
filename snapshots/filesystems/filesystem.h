// SPDX-License-Identifier: GPL-2.0-or-later
// What a reader of a file system offers: names and what tells whether a file is the same one and
// has changed; not what is in files. Everything on the disk may be wrong: a reader says so, reads
// nothing beyond its disk, and ends.
#pragma once

#include "snapshots/filesystems/disk-reader.h"

#include <stdbool.h>

typedef struct {
    char *name;           // bytes as they are on the disk: no NUL, no '/', not "." or ".."
    uint64_t file;        // for list, where this is a directory; names of one file have the same
    uint64_t identity;    // stays when the file is renamed; other files hardly ever have it
    uint64_t fingerprint; // other than before where contents or attributes may be
    uint64_t size;        // bytes
    bool is_directory;
    char *problem; // a sentence where the file cannot be read: only its name counts; or NULL
} FilesystemEntry;

void filesystem_entry_free(FilesystemEntry *entry);

typedef struct {
    const char *name;
    bool (*probe)(DiskReader *disk);
    // disk outlives what is returned. NULL and error (one sentence) where it cannot be read.
    void *(*open)(DiskReader *disk, GError **error);
    void (*close)(void *filesystem);
    // A sentence on what has to be known of all that is read, or NULL.
    const char *(*remark)(void *filesystem);
    uint64_t (*root)(void *filesystem);
    // Adds the directory's entries. False and error where it is damaged; what was added then is
    // not all.
    bool (*list)(void *filesystem, uint64_t directory, GPtrArray *entries, GError **error);
} FilesystemOps;

#define FILESYSTEM_ENTRIES_MAX (1u << 20) // of one directory

extern const FilesystemOps filesystem_exfat_ops;
extern const FilesystemOps filesystem_ext4_ops;
extern const FilesystemOps filesystem_fat_ops;
extern const FilesystemOps filesystem_ntfs_ops;

// The reader for what is there, or NULL.
const FilesystemOps *filesystem_probe(DiskReader *disk);

// Damage as GError: G_IO_ERROR_INVALID_DATA. Returns false.
bool filesystem_damaged(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

// A name of `units` little-endian units of UTF-16, as UTF-8; a surrogate that is alone becomes the
// three bytes that UTF-8 would have for it, so that names stay apart. NULL: no file may have it.
char *filesystem_name_from_utf16(const uint8_t *name, size_t units);

// FNV-1a over `size` bytes, begun by FILESYSTEM_HASH or an earlier one.
#define FILESYSTEM_HASH UINT64_C(0xcbf29ce484222325)
uint64_t filesystem_hash(uint64_t hash, const void *bytes, size_t size);
