// SPDX-License-Identifier: GPL-2.0-or-later
// New raw images, sparse.
#include "snapshots/formats/image-writer-private.h"

#include <errno.h>
#include <gio/gio.h>
#include <unistd.h>

static void *raw_begin(ImageWriter *writer, GError **error)
{
    if (ftruncate(writer->file->fd, (off_t)writer->size) == 0)
        return writer;
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                "image '%s' cannot be %" G_GUINT64_FORMAT " bytes long: %s", writer->path,
                writer->size, g_strerror(errno));
    return NULL;
}

static int raw_unit(ImageWriter *writer, uint64_t offset, const uint8_t *bytes, size_t size)
{
    return image_file_write(writer->file, offset, bytes, size);
}

static int raw_end(ImageWriter *writer)
{
    return 0;
}

static void raw_free(void *state)
{
}

const ImageWriterOps raw_writer_ops = {
    .format = "raw",
    .unit = 65536,
    .begin = raw_begin,
    .unit_data = raw_unit,
    .end = raw_end,
    .free = raw_free,
};
