// SPDX-License-Identifier: GPL-2.0-or-later
// See image-writer.h. The file is made without a name (O_TMPFILE) and linked at the end; where the
// file system cannot do that, it has a name that begins with a dot until it is renamed. Data is
// gathered into the units of the format; units of zeros are dropped.
#include "snapshots/formats/image-writer-private.h"

#include "engine/base/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES (UINT64_C(1) << 20)

static const ImageWriterOps *const writers[] = { &raw_writer_ops, &qcow2_writer_ops,
                                                 &vmdk_writer_ops, &vdi_writer_ops,
                                                 &vhd_writer_ops };

static bool set_error(const char *path, int code, GError **error)
{
    if (code == -EEXIST)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                    "image '%s' exists already: choose another name", path);
    else if (code == -ENOENT)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "image '%s' cannot be created: its folder does not exist", path);
    else if (code == -ENOSPC || code == -EDQUOT)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                    "no room for image '%s': its file system is full, free some space", path);
    else if (code == -EFBIG)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "image '%s' becomes larger than its format or file system allows: use qcow2",
                    path);
    else
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-code),
                    "image '%s' cannot be written: %s", path, g_strerror(-code));
    return false;
}

static const ImageWriterOps *writer_named(const char *format)
{
    for (size_t i = 0; i < G_N_ELEMENTS(writers); i++) {
        if (strcmp(writers[i]->format, format) == 0)
            return writers[i];
    }
    return NULL;
}

static bool create_file(ImageWriter *writer, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(writer->path);
    struct stat st;
    if (lstat(writer->path, &st) == 0)
        return set_error(writer->path, -EEXIST, error);
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0 && errno != ENOENT && errno != EACCES) {
        g_autofree char *base = g_path_get_basename(writer->path);
        g_autofree char *hidden = g_strdup_printf(".%s.%08x.partial", base, g_random_int());
        writer->partial = g_build_filename(folder, hidden, NULL);
        fd = open(writer->partial, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0)
            g_clear_pointer(&writer->partial, g_free);
    }
    if (fd < 0)
        return set_error(writer->path, -errno, error);
    writer->file = g_new0(ImageFile, 1);
    writer->file->fd = fd;
    writer->file->path = g_strdup(writer->path);
    return true;
}

ImageWriter *image_writer_new(const ImageCreate *create, GError **error)
{
    const ImageWriterOps *ops = writer_named(create->format);
    if (!ops) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "images of format '%s' cannot be made: use qcow2, raw, vmdk, vdi or vhd",
                    create->format);
        return NULL;
    }
    if (create->pack != IMAGE_PACK_NONE && ops != &qcow2_writer_ops) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "format %s has no choice of compression: use qcow2", create->format);
        return NULL;
    }
    ImageWriter *writer = g_new0(ImageWriter, 1);
    writer->ops = ops;
    writer->path = g_strdup(create->path);
    writer->size = create->size;
    writer->pack = create->pack;
    writer->unit = g_malloc(ops->unit);
    writer->unit_at = UINT64_MAX;
    if (!create_file(writer, error) || !(writer->state = ops->begin(writer, error))) {
        image_writer_cancel(writer);
        return NULL;
    }
    return writer;
}

void image_writer_cancel(ImageWriter *writer)
{
    if (!writer)
        return;
    if (writer->partial)
        unlink(writer->partial);
    if (writer->state)
        writer->ops->free(writer->state);
    image_file_free(writer->file);
    g_free(writer->partial);
    g_free(writer->path);
    g_free(writer->unit);
    g_free(writer);
}

int image_writer_append(ImageWriter *writer, const void *bytes, size_t size, uint64_t *ret_position)
{
    uint64_t position = image_file_size(writer->file);
    int result = image_file_write(writer->file, position, bytes, size);
    if (result == 0 && ret_position)
        *ret_position = position;
    return result;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

// Hands over the unit that is being filled.
static int put_unit(ImageWriter *writer)
{
    uint64_t at = writer->unit_at;
    if (at == UINT64_MAX)
        return 0;
    size_t size = (size_t)MIN(writer->ops->unit, writer->size - at);
    writer->unit_at = UINT64_MAX;
    return is_zero(writer->unit, size) ? 0 : writer->ops->unit_data(writer, at, writer->unit, size);
}

bool image_writer_write(ImageWriter *writer, uint64_t offset, const void *bytes, size_t size,
                        GError **error)
{
    const uint8_t *from = bytes;
    if (offset < writer->written || !range_within(offset, size, writer->size))
        return set_error(writer->path, -EINVAL, error);
    writer->written = offset + size;
    while (size) {
        uint64_t unit = offset - offset % writer->ops->unit;
        if (unit != writer->unit_at) {
            int result = put_unit(writer);
            if (result < 0)
                return set_error(writer->path, result, error);
            memset(writer->unit, 0, writer->ops->unit);
            writer->unit_at = unit;
        }
        size_t within = (size_t)(offset - unit), count = MIN(size, writer->ops->unit - within);
        memcpy(writer->unit + within, from, count);
        from += count;
        offset += count;
        size -= count;
    }
    return true;
}

// The name comes last, when everything is on disk; never over another file.
static int give_name(ImageWriter *writer)
{
    if (writer->partial) {
        if (renameat2(AT_FDCWD, writer->partial, AT_FDCWD, writer->path, RENAME_NOREPLACE) < 0)
            return -errno;
        g_clear_pointer(&writer->partial, g_free);
        return 0;
    }
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", writer->file->fd);
    return linkat(AT_FDCWD, link, AT_FDCWD, writer->path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static void sync_folder(const char *path)
{
    g_autofree char *folder = g_path_get_dirname(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

bool image_writer_finish(ImageWriter *writer, GError **error)
{
    int result = put_unit(writer);
    if (result == 0)
        result = writer->ops->end(writer);
    if (result == 0 && fsync(writer->file->fd) < 0)
        result = -errno;
    if (result == 0)
        result = give_name(writer);
    if (result < 0)
        set_error(writer->path, result, error);
    else
        sync_folder(writer->path);
    image_writer_cancel(writer);
    return result == 0;
}

bool image_copy(Image *source, ImageWriter *writer, bool (*progress)(void *opaque, uint64_t done),
                void *opaque, GError **error)
{
    g_autofree uint8_t *buffer = g_malloc(COPY_BYTES);
    uint64_t size = image_size(source);
    for (uint64_t at = 0; at < size;) {
        ImageExtent extent;
        int result = image_extent(source, at, size - at, &extent);
        if (result == 0 && extent.data) {
            extent.length = MIN(extent.length, COPY_BYTES);
            result = image_read(source, at, buffer, (size_t)extent.length);
        }
        if (result < 0) {
            g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                        "image '%s' cannot be read at %" G_GUINT64_FORMAT ": %s",
                        image_path(source), at, g_strerror(-result));
            return false;
        }
        if (extent.data && !image_writer_write(writer, at, buffer, (size_t)extent.length, error))
            return false;
        at += extent.length;
        if (progress && !progress(opaque, at)) {
            g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_CANCELLED,
                                "cancelled: nothing was written");
            return false;
        }
    }
    return true;
}
