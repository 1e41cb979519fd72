// SPDX-License-Identifier: GPL-2.0-or-later
// Raw images: byte n of the disk is byte n of the file. The bottom of every stack; block.c opens
// and locks the file, this driver owns the descriptor from then on. What is allocated is asked of
// the file system (SEEK_DATA, SEEK_HOLE), discards punch holes.
#include "snapshots/block-io.h"

#include <errno.h>
#include <unistd.h>

typedef struct {
    BlockIo io;
    int fd;
} Raw;

static int raw_probe(const uint8_t *head, size_t size, const char *path)
{
    return 1; // anything can be a raw image
}

static void *raw_open(BlockDevice *next, const BlockOpen *options, uint64_t *ret_size,
                      GError **error)
{
    uint64_t size;
    int fd = block_file_open(options, &size, error);
    if (fd < 0)
        return NULL;
    Raw *raw = g_new0(Raw, 1);
    raw->fd = fd;
    if (!block_io_open(&raw->io, fd, options->io, error)) {
        close(fd);
        g_free(raw);
        return NULL;
    }
    *ret_size = size;
    return raw;
}

static void raw_submit(void *driver, BlockRequest *request)
{
    Raw *raw = driver;
    raw->io.ops->submit(raw->io.io, request);
}

static int raw_extents(void *driver, uint64_t offset, uint64_t length, BlockExtent *ret_extents,
                       size_t max)
{
    Raw *raw = driver;
    uint64_t end = offset + length;
    size_t count = 0;
    while (offset < end && count < max) {
        uint64_t data = end, stop = end;
        off_t found = lseek(raw->fd, (off_t)offset, SEEK_DATA);
        if (found >= 0)
            data = MIN((uint64_t)found, end);
        else if (errno == EINVAL || errno == EOPNOTSUPP)
            data = offset; // a file system that does not tell: all is data
        else if (errno != ENXIO) // ENXIO: a hole up to the end
            return -errno;
        if (data > offset) {
            ret_extents[count++] = (BlockExtent){ offset, data - offset, false };
            offset = data;
            continue;
        }
        found = lseek(raw->fd, (off_t)offset, SEEK_HOLE);
        if (found > (off_t)offset)
            stop = MIN((uint64_t)found, end);
        ret_extents[count++] = (BlockExtent){ offset, stop - offset, true };
        offset = stop;
    }
    return (int)count;
}

static void raw_close(void *driver)
{
    Raw *raw = driver;
    block_io_close(&raw->io);
    close(raw->fd);
    g_free(raw);
}

static void raw_post(void *driver, BlockRequest *request, int result)
{
    Raw *raw = driver;
    raw->io.ops->post(raw->io.io, request, result);
}

const BlockDriverOps block_raw_ops = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
    .submit = raw_submit,
    .extents = raw_extents,
    .close = raw_close,
    .post = raw_post,
};

const char *block_raw_io_name(void *driver)
{
    Raw *raw = driver;
    return raw->io.ops->name;
}

int block_raw_descriptor(void *driver)
{
    Raw *raw = driver;
    return raw->fd;
}
