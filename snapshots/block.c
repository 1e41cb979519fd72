// SPDX-License-Identifier: GPL-2.0-or-later
// The stack of drivers, limits, counting of requests in flight, and delivery of completions.
//
// Lock order: the machine lock (BlockOpen.lock) before BlockDevice.mutex. A submitter may hold the
// machine lock; I/O threads take it to deliver and hold nothing else then.
#include "snapshots/block-private.h"

#include "engine/base/checked.h"

#include <errno.h>
#include <gio/gio.h>

// Sectors 0..16 of an optical medium: as much as a driver may look at to know its format.
#define PROBE_SIZE (17 * 2048)

static const BlockDriverOps *const drivers[] = {
    &block_raw_ops, &block_iso_ops, &block_qcow2_ops, &block_vmdk_ops,
    &block_vdi_ops, &block_vhd_ops, &block_vhdx_ops,
};

struct BlockDevice {
    const BlockDriverOps *ops;
    void *driver;
    BlockDevice *next;
    char *path;
    uint64_t size;
    bool read_only;
    GMutex *lock;
    bool (*no_room)(void *opaque);
    void *no_room_opaque;
    GMutex mutex; // guards what follows
    GCond idle;
    unsigned in_flight;
    BlockRequest *held; // found no room; linked through `next`
};

static void finish_request(BlockDevice *block)
{
    g_mutex_lock(&block->mutex);
    if (--block->in_flight == 0)
        g_cond_broadcast(&block->idle);
    g_mutex_unlock(&block->mutex);
}

static bool hold_for_room(BlockDevice *block, const BlockCompletion *completion)
{
    BlockRequest *request = completion->request;
    if (completion->result != -ENOSPC || !block->no_room ||
        !block->no_room(block->no_room_opaque))
        return false;
    g_mutex_lock(&block->mutex);
    request->next = block->held;
    block->held = request;
    g_cond_broadcast(&block->idle); // a drain under way gives held requests up
    g_mutex_unlock(&block->mutex);
    return true;
}

// Whoever waits for a device's last request may free the lock next, so that goes before.
typedef struct {
    GMutex *held; // NULL: none
    BlockDevice *finished[32];
    unsigned count;
} Completing;

static void let_go(Completing *c)
{
    if (c->held)
        g_mutex_unlock(c->held);
    c->held = NULL;
    for (unsigned i = 0; i < c->count; i++)
        finish_request(c->finished[i]);
    c->count = 0;
}

static void hold_lock(Completing *c, GMutex *lock)
{
    if (lock == c->held && c->count < G_N_ELEMENTS(c->finished))
        return;
    let_go(c);
    c->held = lock;
    if (lock)
        g_mutex_lock(lock);
}

void block_complete(const BlockCompletion *completions, size_t count)
{
    Completing c = { .held = NULL };
    for (size_t i = 0; i < count; i++) {
        BlockRequest *request = completions[i].request;
        BlockDevice *block = request->device;
        hold_lock(&c, block ? block->lock : NULL);
        if (!block) {
            request->complete(request, completions[i].result);
            continue;
        }
        if (request->driver_tag &&
            !block->ops->completed(block->driver, request, completions[i].result))
            continue;
        if (hold_for_room(block, &completions[i]))
            continue;
        request->complete(request, completions[i].result); // may free the request
        if (c.held)
            c.finished[c.count++] = block;
        else
            finish_request(block);
    }
    let_go(&c);
}

static int check_limits(const BlockDevice *block, const BlockRequest *request)
{
    bool clears = request->operation == BLOCK_DISCARD || request->operation == BLOCK_WRITE_ZEROES;
    bool changes = request->operation == BLOCK_WRITE || clears;
    if (changes && block->read_only)
        return -EROFS;
    if (request->operation == BLOCK_FLUSH)
        return 0;
    if (!range_within(request->offset, request->length, block->size))
        return -EINVAL;
    if (clears)
        return 0;
    uint64_t sum = 0;
    for (int i = 0; i < request->iov_count; i++) {
        if (!checked_add(sum, request->iov[i].iov_len, &sum))
            return -EINVAL;
    }
    return sum == request->length ? 0 : -EINVAL;
}

void block_post(BlockDevice *block, BlockRequest *request, int result)
{
    while (!block->ops->post)
        block = block->next;
    block->ops->post(block->driver, request, result);
}

void block_forward(BlockDevice *next, BlockRequest *request)
{
    int result = check_limits(next, request);
    if (result < 0 || (request->length == 0 && request->operation != BLOCK_FLUSH))
        block_post(next, request, result);
    else
        next->ops->submit(next->driver, request);
}

void block_submit(BlockDevice *block, BlockRequest *request)
{
    request->device = block;
    request->driver_tag = 0;
    g_mutex_lock(&block->mutex);
    block->in_flight++;
    g_mutex_unlock(&block->mutex);
    block_forward(block, request);
}

static BlockRequest *take_held(BlockDevice *block)
{
    g_mutex_lock(&block->mutex);
    BlockRequest *held = g_steal_pointer(&block->held);
    g_mutex_unlock(&block->mutex);
    return held;
}

void block_set_no_room(BlockDevice *block, bool (*no_room)(void *opaque), void *opaque)
{
    block->no_room = no_room;
    block->no_room_opaque = opaque;
}

void block_retry(BlockDevice *block)
{
    BlockRequest *next;
    for (BlockRequest *request = take_held(block); request; request = next) {
        next = request->next;
        block_forward(block, request);
    }
}

void block_drain(BlockDevice *block)
{
    g_mutex_lock(&block->mutex);
    while (block->in_flight) {
        BlockRequest *request = block->held;
        if (!request) {
            g_cond_wait(&block->idle, &block->mutex);
            continue;
        }
        block->held = request->next;
        g_mutex_unlock(&block->mutex);
        if (block->lock)
            g_mutex_lock(block->lock);
        request->complete(request, -ENOSPC);
        if (block->lock)
            g_mutex_unlock(block->lock);
        finish_request(block);
        g_mutex_lock(&block->mutex);
    }
    g_mutex_unlock(&block->mutex);
}

static void free_device(BlockDevice *block)
{
    if (!block)
        return;
    if (block->driver)
        block->ops->close(block->driver);
    free_device(block->next);
    g_mutex_clear(&block->mutex);
    g_cond_clear(&block->idle);
    g_free(block->path);
    g_free(block);
}

// One layer. `next` is taken over on success only.
BlockDevice *block_new(const BlockDriverOps *ops, void *driver, uint64_t size, const char *path,
                       bool read_only, GMutex *lock)
{
    BlockDevice *block = g_new0(BlockDevice, 1);
    g_mutex_init(&block->mutex);
    g_cond_init(&block->idle);
    block->ops = ops;
    block->driver = driver;
    block->size = size;
    block->path = g_strdup(path);
    block->read_only = read_only;
    block->lock = lock;
    return block;
}

static BlockDevice *open_layer(const BlockDriverOps *ops, BlockDevice *next,
                               const BlockOpen *options, GError **error)
{
    uint64_t size = 0;
    void *driver = ops->open(next, options, &size, error);
    if (!driver)
        return NULL;
    BlockDevice *block =
        block_new(ops, driver, size, options->path, options->read_only, options->lock);
    block->next = next;
    return block;
}

void block_set_size(BlockDevice *block, uint64_t size)
{
    block->size = size;
}

static const BlockDriverOps *driver_named(const char *name, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (g_str_equal(drivers[i]->name, name))
            return drivers[i];
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                "image format '%s' is unknown: use raw, iso, qcow2, vmdk, vdi, vhd or vhdx", name);
    return NULL;
}

static const BlockDriverOps *probe(BlockDevice *file, GError **error)
{
    g_autofree uint8_t *head = g_malloc(PROBE_SIZE);
    size_t size = MIN(PROBE_SIZE, file->size);
    int result = block_read_sync(file, 0, head, size);
    if (result < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                    "image '%s' cannot be read: %s", file->path, g_strerror(-result));
        return NULL;
    }
    const BlockDriverOps *best = NULL;
    int best_score = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        int score = drivers[i]->probe(head, size, file->path);
        if (score > best_score) {
            best_score = score;
            best = drivers[i];
        }
    }
    return best;
}

static const BlockDriverOps *choose_driver(const BlockOpen *options, BlockDevice *file,
                                           GError **error)
{
    if (options->driver)
        return driver_named(options->driver, error);
    return options->read_only ? probe(file, error) : &block_raw_ops;
}

static bool check_choice(const BlockDriverOps *ops, const BlockOpen *options, BlockDevice *file,
                         GError **error)
{
    if (ops == &block_iso_ops && !options->read_only) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_READ_ONLY,
                    "ISO image '%s' cannot be written: attach it read-only", file->path);
        return false;
    }
    if (ops == &block_raw_ops && file->size % 512) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "image '%s' is not a whole number of 512-byte sectors (%" G_GINT64_MODIFIER
                    "u bytes): it is truncated or not a raw disk image",
                    file->path, file->size);
        return false;
    }
    return true;
}

BlockDevice *block_open(const BlockOpen *options, GError **error)
{
    BlockOpen layer = *options;
    g_autofree char *fd_path = NULL;
    if (!layer.path)
        layer.path = fd_path = g_strdup_printf("descriptor %d", options->fd);
    // Below the top nothing is delivered to devices, so nothing takes the machine lock.
    layer.lock = NULL;
    BlockDevice *file = open_layer(&block_raw_ops, NULL, &layer, error);
    if (!file)
        return NULL;
    const BlockDriverOps *ops = choose_driver(options, file, error);
    if (!ops || !check_choice(ops, options, file, error)) {
        free_device(file);
        return NULL;
    }
    layer.lock = options->lock;
    if (ops == &block_raw_ops) {
        file->lock = options->lock;
        return file;
    }
    BlockDevice *top = open_layer(ops, file, &layer, error);
    if (!top)
        free_device(file);
    return top;
}

void block_close(BlockDevice *block)
{
    if (!block)
        return;
    block_drain(block);
    if (!block->read_only)
        block_flush_sync(block);
    block_drain(block); // the flush was told, but whoever told it may not be through
    free_device(block);
}

uint64_t block_size(const BlockDevice *block)
{
    return block->size;
}

bool block_read_only(const BlockDevice *block)
{
    return block->read_only;
}

const char *block_driver_name(const BlockDevice *block)
{
    return block->ops->name;
}

const char *block_path(const BlockDevice *block)
{
    return block->path;
}

const char *block_io_name(const BlockDevice *block)
{
    while (block->next)
        block = block->next;
    return block->ops == &block_raw_ops ? block_raw_io_name(block->driver) : block->ops->name;
}

void *block_driver(const BlockDevice *block, const BlockDriverOps *ops)
{
    return block->ops == ops ? block->driver : NULL;
}

int block_raw_fd(const BlockDevice *raw)
{
    return block_raw_descriptor(raw->driver);
}

int block_extents(BlockDevice *block, uint64_t offset, uint64_t length, BlockExtent *ret_extents,
                  size_t max)
{
    if (!range_within(offset, length, block->size))
        return -EINVAL;
    return block->ops->extents(block->driver, offset, length, ret_extents, max);
}

typedef struct {
    GMutex mutex;
    GCond cond;
    bool done;
    int result;
} SyncWait;

static void sync_complete(BlockRequest *request, int result)
{
    SyncWait *wait = request->opaque;
    g_mutex_lock(&wait->mutex);
    wait->result = result;
    wait->done = true;
    g_cond_signal(&wait->cond);
    g_mutex_unlock(&wait->mutex);
}

static int run_sync(BlockDevice *block, BlockOperation operation, uint64_t offset, void *buffer,
                    size_t size)
{
    SyncWait wait = { .done = false };
    struct iovec iov = { buffer, size };
    BlockRequest request = {
        .operation = operation,
        .offset = offset,
        .length = size,
        .iov = &iov,
        .iov_count = 1,
        .complete = sync_complete,
        .opaque = &wait,
    };
    g_mutex_init(&wait.mutex);
    g_cond_init(&wait.cond);
    block_submit(block, &request);
    g_mutex_lock(&wait.mutex);
    while (!wait.done)
        g_cond_wait(&wait.cond, &wait.mutex);
    g_mutex_unlock(&wait.mutex);
    g_mutex_clear(&wait.mutex);
    g_cond_clear(&wait.cond);
    return wait.result;
}

int block_read_sync(BlockDevice *block, uint64_t offset, void *buffer, size_t size)
{
    return run_sync(block, BLOCK_READ, offset, buffer, size);
}

int block_write_sync(BlockDevice *block, uint64_t offset, const void *buffer, size_t size)
{
    return run_sync(block, BLOCK_WRITE, offset, (void *)(uintptr_t)buffer, size);
}

int block_flush_sync(BlockDevice *block)
{
    return run_sync(block, BLOCK_FLUSH, 0, NULL, 0);
}
