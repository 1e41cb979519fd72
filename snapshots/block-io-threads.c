// SPDX-License-Identifier: GPL-2.0-or-later
// The fallback engine: a few threads (block-workers.h) do requests with preadv and pwritev.
#include "snapshots/block-io.h"
#include "snapshots/block-workers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <unistd.h>

typedef struct {
    int fd;
    BlockWorkers *workers;
} ThreadsIo;

static int transfer(int fd, BlockRequest *request)
{
    g_autofree struct iovec *rest = NULL;
    struct iovec *iov = request->iov;
    int count = MIN(request->iov_count, IOV_MAX);
    for (uint64_t done = 0; done < request->length;) {
        if (done) {
            if (!rest)
                rest = g_new(struct iovec, IOV_MAX);
            iov = rest;
            count = block_io_rest(request, done, rest, IOV_MAX);
        }
        off_t at = (off_t)(request->offset + done);
        ssize_t moved = request->operation == BLOCK_READ ? preadv(fd, iov, count, at)
                                                         : pwritev(fd, iov, count, at);
        if (moved < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (moved < 0)
            return -errno;
        if (moved == 0)
            return -EIO; // the file became shorter under us
        done += (uint64_t)moved;
    }
    return 0;
}

static int punch(int fd, const BlockRequest *request)
{
    int result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)request->offset,
                           (off_t)request->length);
    return result < 0 ? -errno : 0;
}

static int perform(void *opaque, BlockRequest *request)
{
    int fd = ((const ThreadsIo *)opaque)->fd;
    switch (request->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return transfer(fd, request);
    case BLOCK_FLUSH:
        return fdatasync(fd) < 0 ? -errno : 0;
    case BLOCK_DISCARD:
        return block_io_discard_result(punch(fd, request));
    case BLOCK_WRITE_ZEROES:
        return block_io_zeroes_result(punch(fd, request));
    }
    return -EINVAL;
}

static void *threads_create(int fd, GError **error)
{
    ThreadsIo *t = g_new0(ThreadsIo, 1);
    t->fd = fd;
    t->workers = block_workers_new("block-io", perform, t);
    return t;
}

static void threads_submit(void *io, BlockRequest *request)
{
    block_workers_submit(((ThreadsIo *)io)->workers, request);
}

static void threads_post(void *io, BlockRequest *request, int result)
{
    block_workers_post(((ThreadsIo *)io)->workers, request, result);
}

static void threads_destroy(void *io)
{
    ThreadsIo *t = io;
    block_workers_free(t->workers);
    g_free(t);
}

const BlockIoOps block_io_threads_ops = {
    .name = "threads",
    .create = threads_create,
    .submit = threads_submit,
    .post = threads_post,
    .destroy = threads_destroy,
};
