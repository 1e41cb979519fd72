// SPDX-License-Identifier: GPL-2.0-or-later
// The ring of block-io-uring.c, for its test.
#pragma once

#include <liburing.h>

// A ring that can only do what the block layer does: NOP, READV, WRITEV, FSYNC, FALLOCATE. 0 or
// -errno.
int block_ring_init(struct io_uring *ring, unsigned entries);
