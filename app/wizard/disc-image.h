// SPDX-License-Identifier: GPL-2.0-or-later
// What can be learned from a disc image (ISO 9660) without mounting it: its labels, whether it is
// whole, whether firmware can start from it, and a few files. For the wizard's guesses only.
#pragma once

#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct DiscImage DiscImage;

// fd: a regular file of size bytes, which stays the caller's and must outlive the result. NULL and
// error (G_IO_ERROR_NOT_SUPPORTED) where it is no ISO 9660 image.
DiscImage *disc_image_open(int fd, uint64_t size, GError **error);
void disc_image_free(DiscImage *disc);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DiscImage, disc_image_free)

// Without the padding; valid UTF-8; "" where there is none.
const char *disc_image_volume(const DiscImage *disc);
const char *disc_image_publisher(const DiscImage *disc);
const char *disc_image_application(const DiscImage *disc);

// The bytes that the image should have. More than it has: it is truncated.
uint64_t disc_image_promised_size(const DiscImage *disc);
// It has an El Torito boot record.
bool disc_image_is_bootable(const DiscImage *disc);

// Whether there is a file or folder of that path ("sources/install.wim"); letter case is ignored.
bool disc_image_has(const DiscImage *disc, const char *path);
// A file's first line, at most 200 bytes; NULL where there is no such file. Free with g_free.
char *disc_image_first_line(const DiscImage *disc, const char *path);
