// SPDX-License-Identifier: GPL-2.0-or-later
// A process that goes on by itself, away from its caller's terminal and session, and news of how
// its start went: "+" for success or a sentence, through a pipe.
#pragma once

#include <stdbool.h>

// Runs body(opaque, news_fd) in a child process and waits for its news. foreground: the child stays
// in the caller's session, and this returns when it has ended, with its exit status. Otherwise 0
// when it is up, or 1 with its sentence on standard error behind "PREFIX: ". Before any thread is
// started. silent: what to say where it ends without news.
int detached_start(const char *prefix, const char *silent, bool foreground,
                   int (*body)(void *opaque, int news_fd), void *opaque);

// Tells the news, once: closes *news_fd and sets it to -1; does nothing where it is -1.
void detached_tell(int *news_fd, const char *news);
