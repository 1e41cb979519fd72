// SPDX-License-Identifier: GPL-2.0-or-later
// Images as BlockDevices: a few threads take requests and do them synchronously (image.h). The raw
// device below (`next`) opened and locked the file; the image works on a second descriptor of that
// open file, so the lock is shared. After the open no system call but these is needed: pread,
// pwrite, fdatasync, fallocate, ftruncate, lseek, futex, and no thread is started.
#include "snapshots/block-private.h"
#include "snapshots/formats/image-private.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>

#define WORKERS 4

typedef struct {
    BlockRequest *request; // NULL: the worker ends
    bool posted;           // `result` is known already
    int result;
} Job;

typedef struct {
    Image *image;
    GAsyncQueue *jobs;
    GThread *workers[WORKERS];
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

static int perform(Image *image, const BlockRequest *request)
{
    switch (request->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return transfer(image, request);
    case BLOCK_FLUSH:
        return image_flush(image);
    case BLOCK_DISCARD:
        return image_discard(image, request->offset, request->length);
    }
    return -EINVAL;
}

static gpointer worker(gpointer opaque)
{
    ImageBlock *b = opaque;
    for (;;) {
        g_autofree Job *job = g_async_queue_pop(b->jobs);
        if (!job->request)
            return NULL;
        int result = job->posted ? job->result : perform(b->image, job->request);
        block_complete(&(BlockCompletion){ job->request, result }, 1);
    }
}

static void push(ImageBlock *b, Job job)
{
    g_async_queue_push(b->jobs, g_memdup2(&job, sizeof job));
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
    b->jobs = g_async_queue_new();
    for (int i = 0; i < WORKERS; i++)
        b->workers[i] = g_thread_new("image-io", worker, b);
    *ret_size = image_size(image);
    return b;
}

static void submit(void *driver, BlockRequest *request)
{
    push(driver, (Job){ .request = request });
}

static void post(void *driver, BlockRequest *request, int result)
{
    push(driver, (Job){ .request = request, .posted = true, .result = result });
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
    for (int i = 0; i < WORKERS; i++)
        push(b, (Job){ 0 });
    for (int i = 0; i < WORKERS; i++)
        g_thread_join(b->workers[i]);
    g_async_queue_unref(b->jobs);
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
