// SPDX-License-Identifier: GPL-2.0-or-later
// See detached.h.
#include "engine/detached.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void detach(void)
{
    setsid();
    int null = open("/dev/null", O_RDWR);
    if (null < 0)
        return;
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    if (null > STDERR_FILENO)
        close(null);
    // Where the caller was started may be unmounted one day.
    if (chdir("/") < 0)
        return;
}

// Waits for news of the start. 0: it is up.
static int hear(int fd, const char *prefix, const char *silent)
{
    char news[4096];
    size_t size = 0;
    ssize_t n;
    while (size < sizeof(news) - 1 && (n = read(fd, news + size, sizeof(news) - 1 - size)) != 0) {
        if (n > 0)
            size += (size_t)n;
        else if (errno != EINTR)
            break;
        // The pipe may stay open in a process beside the one that started.
        if (size > 0 && news[0] == '+')
            return 0;
    }
    news[size] = 0;
    fprintf(stderr, "%s: %s\n", prefix, *news ? news : silent);
    return 1;
}

int detached_start(const char *prefix, const char *silent, bool foreground,
                   int (*body)(void *opaque, int news_fd), void *opaque)
{
    int news[2];
    if (pipe2(news, O_CLOEXEC) < 0) {
        fprintf(stderr, "%s: no pipe: %s\n", prefix, g_strerror(errno));
        return 1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(news[0]);
        if (!foreground)
            detach();
        _exit(body(opaque, news[1]));
    }
    close(news[1]);
    int status = pid < 0 ? 1 : hear(news[0], prefix, silent);
    close(news[0]);
    if (status == 0 && foreground) {
        signal(SIGINT, SIG_IGN); // the child, in the same group, ends us
        int result = 0;
        while (waitpid(pid, &result, 0) < 0 && errno == EINTR)
            ;
        status = WIFEXITED(result) ? WEXITSTATUS(result) : 1;
    }
    return status;
}

void detached_tell(int *news_fd, const char *news)
{
    if (*news_fd < 0)
        return;
    if (write(*news_fd, news, strlen(news)) < 0)
        g_info("nobody listens for news of the start");
    close(*news_fd);
    *news_fd = -1;
}
