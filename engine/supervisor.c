// SPDX-License-Identifier: GPL-2.0-or-later
// See supervisor.h.
#include "engine/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// A signal handler has no other way to know it.
static volatile sig_atomic_t child_pid;

static void forward_signal(int number)
{
    if (child_pid > 0)
        kill(child_pid, number);
}

int supervise(int (*body)(void *opaque), void *opaque, const char *prefix)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(body(opaque));
    }
    if (pid < 0) {
        fprintf(stderr, "%s: no process could be started: %s; end some others\n", prefix,
                strerror(errno));
        return 1;
    }
    child_pid = pid;
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, forward_signal);
    signal(SIGHUP, forward_signal);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    fprintf(stderr, "%s: the engine died of signal %d (%s); please report it\n", prefix,
            WTERMSIG(status), strsignal(WTERMSIG(status)));
    return 1;
}
