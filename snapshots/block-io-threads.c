// SPDX-License-Identifier: GPL-2.0-or-later
// The fallback engine: a few threads take requests from one queue and do them with preadv and
// pwritev. All threads exist from the start, so that a sandbox may forbid new ones later.
#include "snapshots/block-io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <unistd.h>

#define WORKERS 4

typedef struct {
    BlockRequest *request; // NULL: the worker ends
    bool posted;           // `result` is known already
    int result;
} Job;

typedef struct {
    int fd;
    GAsyncQueue *jobs;
    GThread *workers[WORKERS];
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

static int perform(int fd, BlockRequest *request)
{
    switch (request->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return transfer(fd, request);
    case BLOCK_FLUSH:
        return fdatasync(fd) < 0 ? -errno : 0;
    case BLOCK_DISCARD: {
        int result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                               (off_t)request->offset, (off_t)request->length);
        return block_io_discard_result(result < 0 ? -errno : 0);
    }
    }
    return -EINVAL;
}

static gpointer worker(gpointer opaque)
{
    ThreadsIo *t = opaque;
    for (;;) {
        g_autofree Job *job = g_async_queue_pop(t->jobs);
        if (!job->request)
            return NULL;
        int result = job->posted ? job->result : perform(t->fd, job->request);
        block_complete(&(BlockCompletion){ job->request, result }, 1);
    }
}

static void push(ThreadsIo *t, Job job)
{
    g_async_queue_push(t->jobs, g_memdup2(&job, sizeof job));
}

static void *threads_create(int fd, GError **error)
{
    ThreadsIo *t = g_new0(ThreadsIo, 1);
    t->fd = fd;
    t->jobs = g_async_queue_new();
    for (int i = 0; i < WORKERS; i++)
        t->workers[i] = g_thread_new("block-io", worker, t);
    return t;
}

static void threads_submit(void *io, BlockRequest *request)
{
    push(io, (Job){ .request = request });
}

static void threads_post(void *io, BlockRequest *request, int result)
{
    push(io, (Job){ .request = request, .posted = true, .result = result });
}

static void threads_destroy(void *io)
{
    ThreadsIo *t = io;
    for (int i = 0; i < WORKERS; i++)
        push(t, (Job){ 0 });
    for (int i = 0; i < WORKERS; i++)
        g_thread_join(t->workers[i]);
    g_async_queue_unref(t->jobs);
    g_free(t);
}

const BlockIoOps block_io_threads_ops = {
    .name = "threads",
    .create = threads_create,
    .submit = threads_submit,
    .post = threads_post,
    .destroy = threads_destroy,
};
