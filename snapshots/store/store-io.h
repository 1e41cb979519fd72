// SPDX-License-Identifier: GPL-2.0-or-later
// The one door between the store and its file: every read, write, sync, punched hole, allocation
// and rename goes through it, so that tests can record them, play back any part of them, make them
// fail, and run the store in memory.
#pragma once

#include "snapshots/block-private.h"

typedef struct {
    // Synchronous, for metadata. 0 or -errno. Reading past the end gives zeros.
    int (*read)(void *io, uint64_t offset, void *buffer, size_t size);
    int (*write)(void *io, uint64_t offset, const void *buffer, size_t size);
    int (*sync)(void *io);
    int (*punch)(void *io, uint64_t offset, uint64_t length);
    // Room that later writes will find; -EOPNOTSUPP where the file system cannot promise.
    int (*allocate)(void *io, uint64_t offset, uint64_t length);
    uint64_t (*size)(void *io); // bytes of the file
    // Asynchronous, for data; completes through request->complete, perhaps before it returns.
    void (*submit)(void *io, BlockRequest *request);
    // Completes a device's request from an I/O thread, or at once where there is none.
    void (*post)(void *io, BlockRequest *request, int result);
    // The file's descriptor, which stays the io's. NULL where there is none.
    int (*descriptor)(void *io);
    void (*close)(void *io);
} StoreIoOps;

typedef struct {
    const StoreIoOps *ops;
    void *io;
    bool unchecked; // for fuzzing: every checksum is taken for right
    bool threaded; // requests complete on other threads; else the store has no worker either
} StoreIo;

// The file at `path`: locked as one writer or as any number of readers; a reader may look at a
// store that a writer has. False and error where it cannot be had.
bool store_io_open_file(StoreIo *io, const char *path, bool read_only, BlockIoKind kind,
                        GError **error);

// The folder entry of a new store: `from` becomes `to`, durably; never replaces. 0 or -errno.
int store_io_rename(const char *from, const char *to);
