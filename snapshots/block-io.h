// SPDX-License-Identifier: GPL-2.0-or-later
// Asynchronous reads and writes of one file. Two engines fill BlockIoOps: io_uring, and a pool of
// threads for kernels and sandboxes that refuse a ring. Completions are delivered by
// block_complete on the engine's own threads.
#pragma once

#include "snapshots/block-private.h"

typedef struct {
    const char *name;
    // fd stays the caller's and outlives the engine. NULL and error where the kernel refuses.
    void *(*create)(int fd, GError **error);
    void (*submit)(void *io, BlockRequest *request); // any thread
    void (*post)(void *io, BlockRequest *request, int result);
    void (*destroy)(void *io); // every request is complete
} BlockIoOps;

typedef struct {
    const BlockIoOps *ops;
    void *io;
} BlockIo;

// Fails only where BLOCK_IO_URING was demanded and is refused.
bool block_io_open(BlockIo *io, int fd, BlockIoKind kind, GError **error);
void block_io_close(BlockIo *io);

extern const BlockIoOps block_io_uring_ops;
extern const BlockIoOps block_io_threads_ops;

// iov from byte `done` on, at most `max` elements, for the rest of a short transfer.
int block_io_rest(const BlockRequest *request, uint64_t done, struct iovec *ret_iov, int max);
// A discard is a hint: file systems that cannot do it are not an error.
int block_io_discard_result(int result);
// What WRITE_ZEROES is told where a hole could not be punched.
int block_io_zeroes_result(int result);
