// SPDX-License-Identifier: GPL-2.0-or-later
// What a ring can be made to do by code that took over the process: nothing but what the block
// layer does with it.
#include "snapshots/block-io-uring.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <unistd.h>

// The result of one write through the ring; what was written is read back.
static int write_through(struct io_uring *ring, int operation)
{
    int ends[2];
    char byte = 'x';
    g_assert_true(g_unix_open_pipe(ends, FD_CLOEXEC, NULL));
    struct iovec one = { &byte, 1 };
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (operation == IORING_OP_WRITEV)
        io_uring_prep_writev(sqe, ends[1], &one, 1, 0);
    else
        io_uring_prep_write(sqe, ends[1], &byte, 1, 0);
    io_uring_submit(ring);
    struct io_uring_cqe *cqe;
    g_assert_cmpint(io_uring_wait_cqe(ring, &cqe), ==, 0);
    int result = cqe->res;
    io_uring_cqe_seen(ring, cqe);
    struct pollfd written = { ends[0], POLLIN, 0 };
    g_assert_cmpint(poll(&written, 1, 0), ==, result == 1);
    close(ends[0]);
    close(ends[1]);
    return result;
}

static void test_restricted(void)
{
    struct io_uring ring;
    if (block_ring_init(&ring, 8) < 0) {
        g_test_skip("the kernel refuses io_uring here");
        return;
    }
    g_assert_cmpint(write_through(&ring, IORING_OP_WRITEV), ==, 1);
    g_assert_cmpint(write_through(&ring, IORING_OP_WRITE), ==, -EACCES);
    g_assert_cmpint(io_uring_register_eventfd(&ring, STDIN_FILENO), <, 0);
    io_uring_queue_exit(&ring);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-io-uring/restricted", test_restricted);
    return g_test_run();
}
