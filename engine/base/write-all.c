// SPDX-License-Identifier: GPL-2.0-or-later
// See write-all.h.
#include "engine/base/write-all.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

bool write_all(int fd, const void *data, size_t size)
{
    const char *rest = data;
    while (size > 0) {
        ssize_t n = write(fd, rest, size);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd room = { fd, POLLOUT, 0 };
            poll(&room, 1, -1);
        } else if (n < 0 && errno != EINTR) {
            return false;
        } else if (n > 0) {
            rest += n;
            size -= (size_t)n;
        }
    }
    return true;
}
