// SPDX-License-Identifier: GPL-2.0-or-later
// write() until everything is written.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// Blocks until the descriptor has taken everything, also where it is set not to block. False, with
// errno, where it takes no more.
bool write_all(int fd, const void *data, size_t size);
