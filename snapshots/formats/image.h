// SPDX-License-Identifier: GPL-2.0-or-later
// An image of any format as a row of bytes, read and written synchronously by tools (conversion,
// check, resize, information) and, through image-block.c, by machines. An image may stand on other
// files: extents, data files, a backing image. They are looked for in the image's own folder only.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

// A chain of backing images is not followed further than this.
#define IMAGE_DEPTH_MAX 64

typedef struct Image Image;

typedef struct {
    const char *path; // also the name in messages where fd is given
    int fd;           // -1 to open path; else taken over, on failure too
    bool read_only;
    const char *format; // "raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx"; NULL to look at the file,
                        // which only a reader may do
    bool for_check;     // opens what is marked dirty or corrupt, changes nothing by itself
} ImageOpen;

// What a range of an image is made of.
typedef struct {
    uint64_t length; // bytes from the offset that was asked for, at least 1
    bool data;       // false: reads as zero
} ImageExtent;

typedef struct {
    const char *format;
    GString *features;  // words for a person, separated by ", "
    uint64_t unit;      // bytes of a cluster, block or grain; 0 where there is none
    uint64_t snapshots; // inside the image
    char *backing_name; // as the image names it, NULL where there is none
    bool writable;      // by us
    bool dirty, corrupt;
} ImageInfo;

typedef struct {
    uint64_t errors;     // contradictions that may mean lost data
    uint64_t leaks;      // room that nobody uses
    uint64_t repaired;   // of both
    uint64_t allocated;  // bytes of the disk that the file holds
    GPtrArray *messages; // of char *, the first few of each kind
} ImageCheck;

// NULL and error (G_IO_ERROR), one sentence of what was wrong and what would be right.
Image *image_open(const ImageOpen *options, GError **error);

// Writes what is held back, then closes. NULL is allowed. 0 or the first error of writing.
int image_close(Image *image);

uint64_t image_size(const Image *image); // bytes
bool image_read_only(const Image *image);
const char *image_path(const Image *image);
const char *image_format(const Image *image);
Image *image_backing(const Image *image); // stays the image's; NULL where there is none

// 0 or a negative errno. Any thread; ranges must lie within the image (-EINVAL).
int image_read(Image *image, uint64_t offset, void *buffer, size_t size);
int image_write(Image *image, uint64_t offset, const void *buffer, size_t size);
int image_discard(Image *image, uint64_t offset, uint64_t length); // reads as zero afterwards or
                                                                   // as before: a hint
int image_flush(Image *image); // what was written before survives a power cut

// What the bytes from offset on are, looking through backing images.
int image_extent(Image *image, uint64_t offset, uint64_t length, ImageExtent *ret_extent);

// Makes the disk larger; new room reads as zero. Refuses to make it smaller: false and error.
bool image_resize(Image *image, uint64_t size, GError **error);

// Looks for contradictions; with repair, puts right what can be without guessing. The image must be
// opened for_check. False and error where it could not be done to the end.
bool image_check(Image *image, bool repair, ImageCheck *ret_check, GError **error);
void image_check_clear(ImageCheck *check);

// Fills ret_info; image_info_clear frees what it holds.
void image_info(Image *image, ImageInfo *ret_info);
void image_info_clear(ImageInfo *info);

// The format that the first bytes or, for those without a magic number, the name say; "raw" for
// anything else. Never believe it of an image that a guest can write.
const char *image_probe(const uint8_t *head, size_t size, const char *path);

// The format that a file's name says: "qcow2" for x.qcow2; "raw" for names that say nothing.
const char *image_format_of_name(const char *path);

// Whether there is a driver of that name.
bool image_format_known(const char *format);
