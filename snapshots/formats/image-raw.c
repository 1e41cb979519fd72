// SPDX-License-Identifier: GPL-2.0-or-later
// Raw images for tools: byte n is byte n. Machines use block-raw.c, which has no thread between.
#include "snapshots/formats/image-private.h"

#include <errno.h>
#include <gio/gio.h>
#include <unistd.h>

static int raw_probe(const uint8_t *head, size_t size, const char *path)
{
    return 1; // anything can be a raw image
}

static bool raw_open(Image *image, ImageScope *scope, const ImageOpen *options, GError **error)
{
    image->size = image_file_size(image->file);
    if (options->read_only || image->size % 512 == 0)
        return true;
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "is not a whole number of 512-byte sectors (%" G_GUINT64_FORMAT " bytes): it is "
                "truncated or not a raw disk image",
                image->size);
    return false;
}

static int raw_map(Image *image, uint64_t offset, uint64_t length, ImageMapping *ret_mapping)
{
    off_t data = lseek(image->file->fd, (off_t)offset, SEEK_DATA);
    if (data > (off_t)offset || (data < 0 && errno == ENXIO)) {
        // A hole is written in place like anything else; what it is matters to copies only.
        ret_mapping->kind = MAP_ZERO;
        ret_mapping->length = data < 0 ? length : MIN(length, (uint64_t)data - offset);
        if (!image->read_only)
            ret_mapping->kind = MAP_DATA;
    } else {
        off_t hole = lseek(image->file->fd, (off_t)offset, SEEK_HOLE);
        ret_mapping->kind = MAP_DATA;
        ret_mapping->length = hole > (off_t)offset ? MIN(length, (uint64_t)hole - offset) : length;
    }
    ret_mapping->file = image->file;
    ret_mapping->position = offset;
    ret_mapping->in_place = true;
    return 0;
}

static int raw_discard(Image *image, uint64_t offset, uint64_t length)
{
    return image_file_punch(image->file, offset, length);
}

static bool raw_resize(Image *image, uint64_t size, GError **error)
{
    int result = image_file_truncate(image->file, size);
    if (result < 0) {
        image_error_errno(image, result, "resized", error);
        return false;
    }
    image->size = size;
    return true;
}

const ImageOps image_raw_ops = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
    .map = raw_map,
    .discard = raw_discard,
    .resize = raw_resize,
};
