// SPDX-License-Identifier: GPL-2.0-or-later
// Chooses an I/O engine, and what both engines need. The engines are in block-io-uring.c and
// block-io-threads.c.
#include "snapshots/block-io.h"

#include <errno.h>

int block_io_rest(const BlockRequest *request, uint64_t done, struct iovec *ret_iov, int max)
{
    int count = 0;
    for (int i = 0; i < request->iov_count && count < max; i++) {
        const struct iovec *v = &request->iov[i];
        if (done >= v->iov_len) {
            done -= v->iov_len;
            continue;
        }
        ret_iov[count++] = (struct iovec){ (uint8_t *)v->iov_base + done, v->iov_len - done };
        done = 0;
    }
    return count;
}

int block_io_discard_result(int result)
{
    return result == -EOPNOTSUPP || result == -ENOSYS || result == -ENODEV ? 0 : result;
}

int block_io_zeroes_result(int result)
{
    return result == -ENOSYS || result == -ENODEV ? -EOPNOTSUPP : result;
}

bool block_io_open(BlockIo *io, int fd, BlockIoKind kind, GError **error)
{
    const char *wish = g_getenv("LODGE_BLOCK_IO");
    if (kind == BLOCK_IO_AUTO && wish) {
        if (g_str_equal(wish, "threads"))
            kind = BLOCK_IO_THREADS;
        else if (g_str_equal(wish, "uring"))
            kind = BLOCK_IO_URING;
    }
    if (kind != BLOCK_IO_THREADS) {
        g_autoptr(GError) refused = NULL;
        io->ops = &block_io_uring_ops;
        io->io = io->ops->create(fd, &refused);
        if (io->io)
            return true;
        if (kind == BLOCK_IO_URING) {
            g_propagate_error(error, g_steal_pointer(&refused));
            return false;
        }
        g_debug("%s; using threads", refused->message);
    }
    io->ops = &block_io_threads_ops;
    io->io = io->ops->create(fd, error);
    return io->io != NULL;
}

void block_io_close(BlockIo *io)
{
    if (io->io)
        io->ops->destroy(io->io);
    io->io = NULL;
}
