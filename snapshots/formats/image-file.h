// SPDX-License-Identifier: GPL-2.0-or-later
// The files that an image consists of: opened once, locked, read and written by position. Names
// that come out of an image are resolved beneath the folder of the image that a person named.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ImageFile {
    int fd;
    char *path; // for messages
    bool read_only;
    dev_t device;
    ino_t inode;
    uint64_t size; // bytes; grows with writes past the end (atomic)
    // Changes bytes that were read, or NULL: a log that was not yet replayed lies over the file.
    void (*patch)(void *opaque, uint64_t offset, uint8_t *bytes, size_t size);
    void *patch_opaque;
} ImageFile;

// What belongs to one opening of a top image: where names are looked for, what was opened already.
typedef struct ImageScope ImageScope;

// The folder of `path`; NULL: related files are refused, for an image known by descriptor only.
ImageScope *image_scope_new(const char *path);
void image_scope_free(ImageScope *scope);
// One backing image further down; false where the chain is too long.
bool image_scope_descend(ImageScope *scope);

// Opens and locks the top image's own file. fd as in ImageOpen.
ImageFile *image_file_open(ImageScope *scope, const char *path, int fd, bool read_only,
                           GError **error);

// Opens a file that the image at `owner` names. Refused: absolute names, "..", whatever leads out
// of the folder, more files than a sane image has, and, for `new_only`, a file that is part of this
// image already (a loop). what: "backing file", "extent" for messages.
ImageFile *image_file_open_related(ImageScope *scope, const ImageFile *owner, const char *name,
                                   const char *what, bool read_only, bool new_only, GError **error);
void image_file_free(ImageFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ImageFile, image_file_free)

uint64_t image_file_size(const ImageFile *file);

// 0 or a negative errno. Bytes past the end of the file read as zero.
int image_file_read(ImageFile *file, uint64_t offset, void *buffer, size_t size);
int image_file_write(ImageFile *file, uint64_t offset, const void *buffer, size_t size);
int image_file_sync(ImageFile *file);
int image_file_truncate(ImageFile *file, uint64_t size);
// Gives room back; what is there then may read as zero or as before.
int image_file_punch(ImageFile *file, uint64_t offset, uint64_t length);

// Whether the whole range lies in the file.
bool image_file_has(const ImageFile *file, uint64_t offset, uint64_t length);
