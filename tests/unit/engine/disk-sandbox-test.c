// SPDX-License-Identifier: GPL-2.0-or-later
// What is left to a process that works on images. Each check runs in a child of its own, which says
// by its status whether it could.
#include "engine/disk-sandbox.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *folder, *image, *target;

static int can_read_image(void)
{
    return open(image, O_RDONLY) >= 0;
}

static int can_write_image(void)
{
    return open(image, O_RDWR) >= 0;
}

static int can_read_password(void)
{
    return open("/etc/passwd", O_RDONLY) >= 0;
}

static int can_create(void)
{
    g_autofree char *path = g_build_filename(target, "new", NULL);
    return open(path, O_RDWR | O_CREAT | O_EXCL, 0600) >= 0;
}

static int can_connect(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static int can_execute(void)
{
    execl("/bin/true", "true", NULL);
    return 0;
}

static int can_make_ring(void)
{
    char parameters[120] = "";
    return syscall(SYS_io_uring_setup, 4, parameters) >= 0;
}

// 0 or 1; -1: it was killed.
static int in_child(const DiskSandbox *sandbox, int (*what)(void))
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(disk_sandbox_enter(sandbox, NULL) ? what() : 77);
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
}

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 1;
}

static void test_files(void)
{
    if (!has_landlock()) {
        g_test_skip("this kernel has no Landlock (Linux 5.13 has)");
        return;
    }
    DiskSandbox reader = { .source = image };
    g_assert_cmpint(in_child(&reader, can_read_image), ==, 1);
    g_assert_cmpint(in_child(&reader, can_write_image), ==, 0);
    g_assert_cmpint(in_child(&reader, can_read_password), ==, 0);
    g_assert_cmpint(in_child(&reader, can_create), ==, 0);
    DiskSandbox writer = { .source = image, .writes = true };
    g_assert_cmpint(in_child(&writer, can_write_image), ==, 1);
    g_assert_cmpint(in_child(&writer, can_read_password), ==, 0);
    g_autofree char *made = g_build_filename(target, "made.qcow2", NULL);
    DiskSandbox maker = { .source = image, .target = made };
    g_assert_cmpint(in_child(&maker, can_create), ==, 1);
    g_assert_cmpint(in_child(&maker, can_write_image), ==, 0);
}

static void test_calls(void)
{
    DiskSandbox reader = { .source = image };
    g_assert_cmpint(in_child(&reader, can_connect), ==, 0);
    g_assert_cmpint(in_child(&reader, can_make_ring), ==, 0);
    g_assert_cmpint(in_child(&reader, can_execute), ==, -1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("lodge-sandbox-XXXXXX", NULL);
    image = g_build_filename(folder, "disk.raw", NULL);
    // Beside the image's folder: that one is open to the image as a whole.
    target = g_dir_make_tmp("lodge-sandbox-XXXXXX", NULL);
    g_assert_true(g_file_set_contents(image, "image", 5, NULL));
    g_test_add_func("/disk-sandbox/files", test_files);
    g_test_add_func("/disk-sandbox/calls", test_calls);
    int status = g_test_run();
    g_autofree char *new = g_build_filename(target, "new", NULL);
    g_unlink(new);
    g_rmdir(target);
    g_unlink(image);
    g_rmdir(folder);
    g_free(folder);
    g_free(image);
    g_free(target);
    return status;
}
