// SPDX-License-Identifier: GPL-2.0-or-later
// What a worker can do after its lock-down, tried in child processes.
#include "engine/netd/netd-sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 10, SKIPPED = 77 };

// Runs `act` in a locked-down child; returns its wait status.
static int run_locked(void (*act)(bool files))
{
    pid_t child = fork();
    if (child == 0) {
        bool files = false;
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
        if (netd_sandbox_supervisor() || netd_sandbox_worker(&files))
            _exit(1);
        act(files);
        _exit(DONE);
    }
    int status;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    return status;
}

static void try_inet(bool files)
{
    if (socket(AF_INET, SOCK_STREAM, 0) < 0 || socket(AF_INET6, SOCK_DGRAM, 0) < 0)
        _exit(2);
    int fd = open("/etc/hosts", O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        _exit(3);
}

static void keeps_what_it_needs(void)
{
    int status = run_locked(try_inet);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, DONE);
}

static void try_file(bool files)
{
    if (!files)
        _exit(SKIPPED);
    if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        _exit(2);
}

static void other_files_refused(void)
{
    int status = run_locked(try_file);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED)
        g_test_skip("this kernel has no Landlock");
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, DONE);
}

static void try_unix(bool files)
{
    if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EAFNOSUPPORT)
        _exit(2);
}

static void unix_sockets_refused(void)
{
    int status = run_locked(try_unix);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, DONE);
}

static void expect_killed(void (*act)(bool files))
{
    int status = run_locked(act);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGSYS);
}

static void try_exec(bool files)
{
    execl("/bin/true", "true", NULL);
}

static void try_write(bool files)
{
    if (open("/tmp/lodge-netd-sandbox-test", O_WRONLY | O_CREAT, 0600) >= 0)
        _exit(2);
}

static void try_fork(bool files)
{
    if (fork() >= 0)
        _exit(2);
}

static void try_packet_socket(bool files)
{
    if (socket(AF_PACKET, SOCK_RAW, 0) >= 0)
        _exit(2);
}

static void try_executable_memory(bool files)
{
    if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        _exit(2);
}

static void exec_killed(void)
{
    expect_killed(try_exec);
}

static void write_killed(void)
{
    expect_killed(try_write);
}

static void fork_killed(void)
{
    expect_killed(try_fork);
}

static void packet_socket_killed(void)
{
    expect_killed(try_packet_socket);
}

static void executable_memory_killed(void)
{
    expect_killed(try_executable_memory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/netd-sandbox/keeps-what-it-needs", keeps_what_it_needs);
    g_test_add_func("/netd-sandbox/other-files-refused", other_files_refused);
    g_test_add_func("/netd-sandbox/unix-sockets-refused", unix_sockets_refused);
    g_test_add_func("/netd-sandbox/exec-killed", exec_killed);
    g_test_add_func("/netd-sandbox/write-killed", write_killed);
    g_test_add_func("/netd-sandbox/fork-killed", fork_killed);
    g_test_add_func("/netd-sandbox/packet-socket-killed", packet_socket_killed);
    g_test_add_func("/netd-sandbox/executable-memory-killed", executable_memory_killed);
    return g_test_run();
}
