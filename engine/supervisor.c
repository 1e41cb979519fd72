// SPDX-License-Identifier: GPL-2.0-or-later
// Two pipes: the caretaker learns by the end of the first that this process is gone, and by a byte
// in it that it ended by itself; this process learns by the end of the second that all is tidy.
#include "engine/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static ssize_t read_byte(int fd, unsigned char *ret_byte)
{
    ssize_t got;
    do
        got = read(fd, ret_byte, 1);
    while (got < 0 && errno == EINTR);
    return got;
}

static void take_care(int from, void (*tidy)(void *opaque, int status), void *opaque,
                      const char *prefix)
{
    // A terminal sends these to both; the caretaker goes last.
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    prctl(PR_SET_NAME, "caretaker");
    unsigned char byte;
    int status = read_byte(from, &byte) == 1 ? byte : -1;
    tidy(opaque, status);
    if (status < 0)
        fprintf(stderr, "%s: the engine was killed or crashed; what it left behind is removed\n",
                prefix);
}

int supervise(int (*body)(void *opaque), void (*tidy)(void *opaque, int status), void *opaque,
              const char *prefix)
{
    int alive[2] = { -1, -1 }, tidied[2] = { -1, -1 };
    pid_t pid = -1;
    if (pipe2(alive, O_CLOEXEC) == 0 && pipe2(tidied, O_CLOEXEC) == 0)
        pid = fork();
    if (pid < 0) {
        fprintf(stderr, "%s: no process could be started: %s; end some others\n", prefix,
                strerror(errno));
        return 1;
    }
    if (pid == 0) {
        close(alive[1]);
        close(tidied[0]);
        take_care(alive[0], tidy, opaque, prefix);
        _exit(0);
    }
    close(alive[0]);
    close(tidied[1]);
    int status = body(opaque);
    unsigned char byte = (unsigned char)status;
    if (write(alive[1], &byte, 1) != 1)
        status = 1;
    close(alive[1]);
    read_byte(tidied[0], &byte); // its end
    close(tidied[0]);
    return status;
}
