// SPDX-License-Identifier: GPL-2.0-or-later
// What the tests of image formats share: a folder of this run, disks with a pattern, qemu-img as
// the judge.
#pragma once

#include "snapshots/formats/image.h"

// Makes the folder and says whether qemu-img is there; images_remove deletes it.
void images_init(void);
void images_remove(void);
bool images_have_judge(void); // false: the test was marked as skipped

// PATH of this run's folder; free with g_free.
char *images_path(const char *name);
const char *images_folder(void);

// Bytes of a disk: data of several kinds with holes between, by seed. Free with g_free.
uint8_t *images_pattern(size_t size, uint32_t seed);
char *images_raw(const char *name, const uint8_t *bytes, size_t size);

// Runs a command in the folder, its words separated by blanks; false where its status is not 0.
// Output of a failure is printed.
bool images_run(const char *format, ...) G_GNUC_PRINTF(1, 2);

// Opens; fails the test where it cannot.
Image *images_open(const char *name, const char *format, bool read_only);
// Opening fails with a message that has all words (separated by '|'), in one line.
void images_refused(const char *name, const char *format, bool read_only, const char *words);

// The whole disk reads as these bytes, in pieces of several sizes.
void images_same(Image *image, const uint8_t *bytes, size_t size);

// Random writes, discards and flushes on both; what was discarded becomes zero in `bytes` where the
// image says so.
void images_scribble(Image *image, uint8_t *bytes, size_t size, uint32_t seed, unsigned steps);
