// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/base/write-all.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <unistd.h>

#define SIZE (1024 * 1024) // more than a pipe holds

static void *drain(void *opaque)
{
    size_t total = 0;
    char data[4096];
    for (ssize_t n; (n = read(GPOINTER_TO_INT(opaque), data, sizeof data)) > 0;)
        total += (size_t)n;
    return GSIZE_TO_POINTER(total);
}

static void test_more_than_fits(void)
{
    int ends[2];
    g_assert_true(g_unix_open_pipe(ends, FD_CLOEXEC, NULL));
    g_assert_true(g_unix_set_fd_nonblocking(ends[1], TRUE, NULL));
    g_autofree char *data = g_malloc0(SIZE);
    GThread *reader = g_thread_new("reader", drain, GINT_TO_POINTER(ends[0]));
    g_assert_true(write_all(ends[1], data, SIZE));
    close(ends[1]);
    g_assert_cmpuint(GPOINTER_TO_SIZE(g_thread_join(reader)), ==, SIZE);
    close(ends[0]);
}

static void test_nobody_reads(void)
{
    int ends[2];
    signal(SIGPIPE, SIG_IGN);
    g_assert_true(g_unix_open_pipe(ends, FD_CLOEXEC, NULL));
    close(ends[0]);
    g_assert_false(write_all(ends[1], "x", 1));
    g_assert_cmpint(errno, ==, EPIPE);
    close(ends[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/write-all/more-than-fits", test_more_than_fits);
    g_test_add_func("/write-all/nobody-reads", test_nobody_reads);
    return g_test_run();
}
