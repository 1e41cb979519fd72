// SPDX-License-Identifier: GPL-2.0-or-later
// A disk with a file system, made by hand, whose tables the input edits; it is compared with the
// same disk unedited, in both directions.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Where the tables are: bytes from the disk's beginning.
typedef struct {
    uint32_t offset, length;
} FuzzArea;

typedef struct {
    uint8_t *sound, *edited; // size bytes each; edited is as sound between inputs
    size_t size;
    const FuzzArea *areas;
    size_t area_count;
} FuzzDisk;

// A disk of zeros to be filled in.
void fuzz_disk_begin(FuzzDisk *disk, size_t size, const FuzzArea *areas, size_t area_count);
// It is filled in: ends the program where the comparison finds anything wrong with it, or
// `filesystem` not there.
void fuzz_disk_ready(FuzzDisk *disk, const char *filesystem);
// data: 12 bytes an edit: area, offset (2), width, value (8).
void fuzz_disk_run(FuzzDisk *disk, const uint8_t *data, size_t size);
