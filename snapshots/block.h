// SPDX-License-Identifier: GPL-2.0-or-later
// The block layer that disk devices stand on. A BlockDevice is a driver (raw, ISO, later the
// snapshot store and foreign formats) over another one (`next`) or over a file descriptor.
// Requests are asynchronous: submit, then one completion, in any order; limits are checked at open
// and at submit, after that no size from a file is trusted again.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct BlockDevice BlockDevice;

// DISCARD is a hint: what is given up may keep its bytes. WRITE_ZEROES makes them zero by giving up
// their room; -EOPNOTSUPP where that cannot be, for this range at least: zeros are to be written.
typedef enum {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_WRITE_ZEROES,
} BlockOperation;

// Owned by the submitter, which keeps it and its buffers alive until `complete` was called.
typedef struct BlockRequest {
    BlockOperation operation;
    uint64_t offset; // bytes; sector-aligned requests only from devices
    uint64_t length; // bytes; for READ and WRITE the sum of iov
    struct iovec *iov;
    int iov_count;
    // result: 0, or a negative errno. Called with the machine lock held where the device was
    // opened with one (BlockOpen.lock), never from within block_submit.
    void (*complete)(struct BlockRequest *request, int result);
    void *opaque;
    // The layer's own, set and read by the driver that holds the request.
    struct BlockRequest *next;
    uint64_t driver_tag, driver_offset; // of a driver that wants `completed`; 0: it does not
    BlockDevice *device; // where it was submitted; set by block_submit
} BlockRequest;

// How the lowest file is read and written. AUTO makes a ring and falls back to threads where the
// kernel or a sandbox refuses one; the environment's LODGE_BLOCK_IO=uring|threads overrides AUTO.
typedef enum { BLOCK_IO_AUTO, BLOCK_IO_URING, BLOCK_IO_THREADS } BlockIoKind;

typedef struct {
    uint64_t offset;
    uint64_t length;
    bool allocated; // false: reads as zero and takes no room
} BlockExtent;

// Options of an open. path or fd (taken over, closed on failure too) names the lowest file.
typedef struct {
    const char *path;  // also the name in messages where fd is given
    int fd;            // -1 to open path
    bool read_only;
    const char *driver; // "raw", "iso" or NULL to probe; a writable image is never probed as a
                        // format that its first bytes chose (a guest could write them)
    GMutex *lock;       // taken around completions, or NULL
    BlockIoKind io;
} BlockOpen;

typedef struct BlockDriverOps {
    const char *name;
    // How sure the first bytes are of this format: 0 no .. 100.
    int (*probe)(const uint8_t *head, size_t size, const char *path);
    // `next` is the layer below (owned by the new device on success). NULL and error otherwise.
    void *(*open)(BlockDevice *next, const BlockOpen *options, uint64_t *ret_size, GError **error);
    void (*submit)(void *driver, BlockRequest *request); // any operation
    int (*extents)(void *driver, uint64_t offset, uint64_t length, BlockExtent *ret_extents,
                   size_t max); // count, or -errno
    // Either is NULL where the format has nothing to resize or check.
    int (*resize)(void *driver, uint64_t size);
    int (*check)(void *driver, GError **error); // problems found, or -errno
    void (*close)(void *driver);                // every request is complete
    // Completes a request with `result` from the driver's I/O thread. NULL in a driver with a
    // `next`, which is asked instead.
    void (*post)(void *driver, BlockRequest *request, int result);
    // May be NULL. A request that the driver gave a tag and handed on as it was is through; called
    // before its submitter is told, on the I/O thread, the machine lock held. False: it was not,
    // the driver goes on with it.
    bool (*completed)(void *driver, BlockRequest *request, int result);
} BlockDriverOps;

// Opens an image and locks it (OFD lock: shared for read_only, exclusive otherwise). Errors
// (G_IO_ERROR) say in one sentence what was wrong and what would be right: not found, a directory,
// empty, truncated, not a multiple of 512, in use by another machine, no permission.
BlockDevice *block_open(const BlockOpen *options, GError **error);

// Waits for requests in flight, flushes, closes. NULL is allowed. Machine lock not held.
void block_close(BlockDevice *block);

uint64_t block_size(const BlockDevice *block); // bytes
bool block_read_only(const BlockDevice *block);
const char *block_driver_name(const BlockDevice *block);
const char *block_path(const BlockDevice *block); // as it was opened, for messages
const char *block_io_name(const BlockDevice *block); // "io_uring" or "threads"

// Any thread. A request past the end, or a write to a read-only device, completes with -EINVAL or
// -EROFS.
void block_submit(BlockDevice *block, BlockRequest *request);

// Blocks until every request submitted before has completed; held ones (see below) complete with
// -ENOSPC. Machine lock not held.
void block_drain(BlockDevice *block);

// Asks to be told when a write found no room, instead of an error to the guest: no_room is called
// like a completion (lock held, I/O thread) and returns true to have the write held. The machine
// pauses, a person makes room, block_retry submits what is held again. Set before the first
// request; NULL removes it.
void block_set_no_room(BlockDevice *block, bool (*no_room)(void *opaque), void *opaque);
void block_retry(BlockDevice *block);

int block_extents(BlockDevice *block, uint64_t offset, uint64_t length, BlockExtent *ret_extents,
                  size_t max);

// Synchronous, for readers of headers and for tests. 0 or -errno. Machine lock not held.
int block_read_sync(BlockDevice *block, uint64_t offset, void *buffer, size_t size);
int block_write_sync(BlockDevice *block, uint64_t offset, const void *buffer, size_t size);
int block_flush_sync(BlockDevice *block);

// Creates an empty raw image of `size` bytes, sparse; refuses an existing file, and a size that
// the file system has no room for even in metadata. On failure nothing is left behind.
bool block_create_raw(const char *path, uint64_t size, GError **error);
