// SPDX-License-Identifier: GPL-2.0-or-later
// Images as BlockDevices: a few threads take requests and do them synchronously (image.h). The raw
// device below (`next`) opened and locked the file; the image works on a second descriptor of that
// open file, so the lock is shared. After the open no system call but these is needed: pread,
// pwrite, fdatasync, fallocate, ftruncate, lseek, futex, and no thread is started.
#include "snapshots/block-private.h"
#include "snapshots/block-workers.h"
#include "snapshots/formats/image-private.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>

typedef struct {
    Image *image;
    BlockWorkers *workers;
} ImageBlock;

static int transfer(Image *image, const BlockRequest *request)
{
    uint64_t offset = request->offset;
    for (int i = 0; i < request->iov_count; i++) {
        const struct iovec *v = &request->iov[i];
        int result = request->operation == BLOCK_READ
                         ? image_read(image, offset, v->iov_base, v->iov_len)
                         : image_write(image, offset, v->iov_base, v->iov_len);
        if (result < 0)
            return result;
        offset += v->iov_len;
    }
    return 0;
}

static int perform(void *opaque, BlockRequest *request)
{
    Image *image = ((ImageBlock *)opaque)->image;
    switch (request->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return transfer(image, request);
    case BLOCK_FLUSH:
        return image_flush(image);
    case BLOCK_DISCARD:
        return image_discard(image, request->offset, request->length);
    case BLOCK_WRITE_ZEROES:
        return -EOPNOTSUPP;
    }
    return -EINVAL;
}

static void *open_as(const char *format, BlockDevice *next, const BlockOpen *options,
                     uint64_t *ret_size, GError **error)
{
    int fd = fcntl(block_raw_fd(next), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    "image '%s' cannot be opened: %s", options->path, g_strerror(errno));
        return NULL;
    }
    ImageOpen image_options = {
        // A device that was handed over as a descriptor has a name, but no folder.
        .path = options->path,
        .fd = fd,
        .read_only = options->read_only,
        .format = format,
    };
    Image *image = image_open(&image_options, error);
    if (!image)
        return NULL;
    ImageBlock *b = g_new0(ImageBlock, 1);
    b->image = image;
    b->workers = block_workers_new("image-io", perform, b);
    *ret_size = image_size(image);
    return b;
}

static void submit(void *driver, BlockRequest *request)
{
    block_workers_submit(((ImageBlock *)driver)->workers, request);
}

static void post(void *driver, BlockRequest *request, int result)
{
    block_workers_post(((ImageBlock *)driver)->workers, request, result);
}

static int extents(void *driver, uint64_t offset, uint64_t length, BlockExtent *ret_extents,
                   size_t max)
{
    ImageBlock *b = driver;
    size_t count = 0;
    for (uint64_t at = offset; at < offset + length && count < max; count++) {
        ImageExtent extent;
        int result = image_extent(b->image, at, offset + length - at, &extent);
        if (result < 0)
            return result;
        ret_extents[count] = (BlockExtent){ at, extent.length, extent.data };
        at += extent.length;
    }
    return (int)count;
}

static void close_image(void *driver)
{
    ImageBlock *b = driver;
    block_workers_free(b->workers);
    g_autofree char *path = g_strdup(image_path(b->image));
    int result = image_close(b->image);
    if (result < 0)
        g_warning("image '%s' could not be written to the end: %s", path, g_strerror(-result));
    g_free(b);
}

#define IMAGE_BLOCK_OPS(format)                                                                    \
    static int probe_##format(const uint8_t *head, size_t size, const char *path)                  \
    {                                                                                              \
        return image_##format##_ops.probe(head, size, path);                                       \
    }                                                                                              \
    static void *open_##format(BlockDevice *next, const BlockOpen *options, uint64_t *ret_size,    \
                               GError **error)                                                     \
    {                                                                                              \
        return open_as(#format, next, options, ret_size, error);                                   \
    }                                                                                              \
    const BlockDriverOps block_##format##_ops = {                                                  \
        .name = #format,                                                                           \
        .probe = probe_##format,                                                                   \
        .open = open_##format,                                                                     \
        .submit = submit,                                                                          \
        .extents = extents,                                                                        \
        .close = close_image,                                                                      \
        .post = post,                                                                              \
    }

IMAGE_BLOCK_OPS(qcow2);
IMAGE_BLOCK_OPS(vmdk);
IMAGE_BLOCK_OPS(vdi);
IMAGE_BLOCK_OPS(vhd);
IMAGE_BLOCK_OPS(vhdx);
