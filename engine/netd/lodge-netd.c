// SPDX-License-Identifier: GPL-2.0-or-later
// lodge-netd: the user-level network of one virtual machine, in a process of its own because the
// stack parses what a guest sends. Started by the engine with two sockets (netd-protocol.h); ends
// when the engine closes them, and never otherwise.
//
// Two processes: a supervisor, which parses nothing, and a worker, which does everything. When the
// worker dies of a fault, the supervisor starts another on the same sockets. The engine cannot do
// that itself, since after its own lock-down it cannot execute anything.
#include "engine/netd/netd-protocol.h"
#include "engine/netd/netd-sandbox.h"
#include "engine/netd/netd-worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "Usage: lodge-netd [--no-ipv6] [--restricted] [--hostname NAME]\n"
    "The network process of a Lodge virtual machine. The engine starts it with its sockets as\n"
    "descriptors 3 and 4; it is of no use by hand.\n";

// Returns -1 to go on, else the exit status.
static int parse_arguments(int argc, char **argv, NatStackConfig *config)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            return 0;
        }
        if (!strcmp(argv[i], "--no-ipv6")) {
            config->ipv6 = false;
        } else if (!strcmp(argv[i], "--restricted")) {
            config->restricted = true;
        } else if (!strcmp(argv[i], "--hostname") && i + 1 < argc) {
            config->hostname = argv[++i];
        } else {
            fprintf(stderr, "lodge-netd: unknown option '%s'; see --help\n", argv[i]);
            return 2;
        }
    }
    return -1;
}

static bool is_seqpacket(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

static _Noreturn void worker(const NatStackConfig *config)
{
    bool files = false;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int rc = netd_sandbox_worker(&files);
    if (rc) {
        fprintf(stderr, "lodge-netd: cannot enter the sandbox: %s\n", strerror(-rc));
        _exit(1);
    }
    _exit(netd_worker_run(NETD_FRAMES_FD, NETD_CONTROL_FD, config));
}

static void say_down(int status)
{
    char line[NETD_LINE_MAX];
    if (WIFSIGNALED(status))
        snprintf(line, sizeof line, "down the network process died of signal %d",
                 WTERMSIG(status));
    else
        snprintf(line, sizeof line, "down the network process ended with status %d",
                 WEXITSTATUS(status));
    send(NETD_CONTROL_FD, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
}

// A worker that dies at once never sees the end of its sockets, so the supervisor looks too.
static bool engine_gone(void)
{
    struct pollfd control = { NETD_CONTROL_FD, 0, 0 };
    return poll(&control, 1, 0) > 0 && (control.revents & (POLLHUP | POLLERR | POLLNVAL));
}

// Starts workers until the engine has gone.
static int supervise(const NatStackConfig *config)
{
    for (;;) {
        struct timespec begun, ended;
        int status = 0;
        clock_gettime(CLOCK_MONOTONIC, &begun);
        pid_t child = fork();
        if (child == 0)
            worker(config);
        if (child < 0) {
            fprintf(stderr, "lodge-netd: cannot start a process: %s\n", strerror(errno));
            return 1;
        }
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) || engine_gone())
            return 0;
        say_down(status);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        // A stack that dies at once is not hammered.
        if (ended.tv_sec - begun.tv_sec < 2 &&
            !(WIFEXITED(status) && WEXITSTATUS(status) == NETD_EXIT_RENEW))
            nanosleep(&(struct timespec){ 1, 0 }, NULL);
        if (engine_gone())
            return 0;
    }
}

int main(int argc, char **argv)
{
    NatStackConfig config = { .ipv6 = true };
    int status = parse_arguments(argc, argv, &config);
    if (status >= 0)
        return status;
    if (!is_seqpacket(NETD_FRAMES_FD) || !is_seqpacket(NETD_CONTROL_FD)) {
        fputs("lodge-netd: descriptors 3 and 4 must be the engine's sockets; "
              "it is started by lodge-engine, not by hand\n", stderr);
        return 2;
    }
    syscall(SYS_close_range, NETD_CONTROL_FD + 1, ~0u, 0);
    // A terminal's Ctrl+C and a service manager's SIGTERM reach the engine, whose end is ours.
    setsid();
    static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    int rc = netd_sandbox_supervisor();
    if (rc) {
        fprintf(stderr, "lodge-netd: cannot enter the sandbox: %s\n", strerror(-rc));
        return 1;
    }
    // Not by returning: what runs at exit (a sanitizer's search for leaks starts a process that
    // traces this one) is not what the sandbox allows.
    _exit(supervise(&config));
}
