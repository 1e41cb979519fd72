// SPDX-License-Identifier: GPL-2.0-or-later
// The io_uring engine: one ring and one completion thread a file. Submitters enter the kernel
// themselves (no thread switch on the way in), the thread reaps and delivers in batches. Whether a
// ring can be had is found by making one; versions say nothing under a sandbox.
//
// What goes through a ring passes no seccomp filter, so a ring that could open files or sockets
// would be a hole in the sandbox around it (engine/sandbox.c). The kernel is therefore told, before
// the ring runs, which operations it may ever do (IORING_REGISTER_RESTRICTIONS, Linux 5.10); where
// it cannot be told, there is no ring.
#include "snapshots/block-io-uring.h"

#include "snapshots/block-io.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <limits.h>
#include <linux/falloc.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_DEPTH 128
#define WAKE_DATA RING_DEPTH // user_data of the NOP that wakes the thread; below: a slot's index

typedef struct {
    BlockRequest *request;
    uint64_t done;      // bytes transferred by earlier, short, transfers
    struct iovec *rest; // of a continued transfer, else NULL
} Slot;

typedef struct {
    struct io_uring ring;
    int fd;
    GThread *thread;
    GMutex mutex; // guards everything below and the submission queue
    Slot slots[RING_DEPTH];
    uint16_t free_slots[RING_DEPTH];
    unsigned free_count;
    BlockRequest *waiting; // no slot was free; linked through `next`, oldest first
    BlockRequest **waiting_tail;
    GArray *posted; // BlockCompletion
    bool wake_sent;
    bool closing;
} UringIo;

// EAGAIN is a passing lack of memory; entries that stay behind go with the next submission.
static void enter(UringIo *u)
{
    for (int tries = 0; tries < 1000 && io_uring_sq_ready(&u->ring); tries++) {
        int submitted = io_uring_submit(&u->ring);
        if (submitted < 0 && submitted != -EINTR)
            g_thread_yield();
    }
}

static void wake(UringIo *u)
{
    if (u->wake_sent)
        return;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (!sqe)
        return;
    u->wake_sent = true;
    io_uring_prep_nop(sqe);
    io_uring_sqe_set_data64(sqe, WAKE_DATA);
}

// The queue has room: it is twice as deep as there are slots.
static void prepare(UringIo *u, unsigned index)
{
    Slot *slot = &u->slots[index];
    BlockRequest *request = slot->request;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    struct iovec *iov = request->iov;
    int count = MIN(request->iov_count, IOV_MAX);
    if (slot->done) {
        g_free(slot->rest);
        slot->rest = g_new(struct iovec, IOV_MAX);
        count = block_io_rest(request, slot->done, slot->rest, IOV_MAX);
        iov = slot->rest;
    }
    switch (request->operation) {
    case BLOCK_READ:
        io_uring_prep_readv(sqe, u->fd, iov, (unsigned)count, request->offset + slot->done);
        break;
    case BLOCK_WRITE:
        io_uring_prep_writev(sqe, u->fd, iov, (unsigned)count, request->offset + slot->done);
        break;
    case BLOCK_FLUSH:
        io_uring_prep_fsync(sqe, u->fd, IORING_FSYNC_DATASYNC);
        break;
    case BLOCK_DISCARD:
    case BLOCK_WRITE_ZEROES:
        io_uring_prep_fallocate(sqe, u->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)request->offset, (off_t)request->length);
        break;
    }
    io_uring_sqe_set_data64(sqe, index);
}

static void start(UringIo *u, BlockRequest *request)
{
    unsigned index = u->free_slots[--u->free_count];
    u->slots[index] = (Slot){ .request = request };
    prepare(u, index);
}

// True where the slot's request is finished, with *ret_result.
static bool advance(UringIo *u, unsigned index, int result, int *ret_result)
{
    Slot *slot = &u->slots[index];
    BlockRequest *request = slot->request;
    bool transfer = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
    *ret_result = result;
    if (result == -EINTR || result == -EAGAIN) {
        prepare(u, index);
        return false;
    }
    if (request->operation == BLOCK_DISCARD)
        *ret_result = block_io_discard_result(result);
    if (request->operation == BLOCK_WRITE_ZEROES)
        *ret_result = block_io_zeroes_result(result);
    if (result < 0 || !transfer)
        return true;
    if (result == 0) {
        *ret_result = -EIO; // the file became shorter under us
        return true;
    }
    slot->done += (uint64_t)result;
    *ret_result = 0;
    if (slot->done >= request->length)
        return true;
    prepare(u, index);
    return false;
}

static void release(UringIo *u, unsigned index)
{
    g_free(u->slots[index].rest);
    u->slots[index] = (Slot){ 0 };
    u->free_slots[u->free_count++] = (uint16_t)index;
    if (u->waiting) {
        BlockRequest *request = u->waiting;
        u->waiting = request->next;
        if (!u->waiting)
            u->waiting_tail = &u->waiting;
        start(u, request);
    }
}

// Moves what is complete into `done`. Returns false once the engine closes.
static bool reap(UringIo *u, GArray *done)
{
    struct io_uring_cqe *cqes[RING_DEPTH + 1];
    unsigned count = io_uring_peek_batch_cqe(&u->ring, cqes, G_N_ELEMENTS(cqes));
    for (unsigned i = 0; i < count; i++) {
        unsigned index = (unsigned)io_uring_cqe_get_data64(cqes[i]);
        int result = cqes[i]->res;
        if (index == WAKE_DATA) {
            u->wake_sent = false;
            continue;
        }
        BlockCompletion completion = { .request = u->slots[index].request };
        if (advance(u, index, result, &completion.result)) {
            g_array_append_val(done, completion);
            release(u, index);
        }
    }
    io_uring_cq_advance(&u->ring, count);
    g_array_append_vals(done, u->posted->data, u->posted->len);
    g_array_set_size(u->posted, 0);
    enter(u);
    return !u->closing;
}

static gpointer completion_thread(gpointer opaque)
{
    UringIo *u = opaque;
    g_autoptr(GArray) done = g_array_new(FALSE, FALSE, sizeof(BlockCompletion));
    bool running = true;
    while (running) {
        struct io_uring_cqe *cqe;
        if (io_uring_wait_cqe(&u->ring, &cqe) < 0)
            continue; // EINTR
        g_mutex_lock(&u->mutex);
        running = reap(u, done);
        g_mutex_unlock(&u->mutex);
        block_complete((const BlockCompletion *)(void *)done->data, done->len);
        g_array_set_size(done, 0);
    }
    return NULL;
}

static void *uring_create(int fd, GError **error)
{
    UringIo *u = g_new0(UringIo, 1);
    int made = block_ring_init(&u->ring, RING_DEPTH * 2);
    if (made < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-made),
                    "the kernel refuses io_uring: %s", g_strerror(-made));
        g_free(u);
        return NULL;
    }
    u->fd = fd;
    g_mutex_init(&u->mutex);
    u->posted = g_array_new(FALSE, FALSE, sizeof(BlockCompletion));
    u->waiting_tail = &u->waiting;
    for (unsigned i = 0; i < RING_DEPTH; i++)
        u->free_slots[u->free_count++] = (uint16_t)(RING_DEPTH - 1 - i);
    u->thread = g_thread_new("block-uring", completion_thread, u);
    return u;
}

static void uring_submit(void *io, BlockRequest *request)
{
    UringIo *u = io;
    g_mutex_lock(&u->mutex);
    if (u->free_count) {
        start(u, request);
        enter(u);
    } else {
        request->next = NULL;
        *u->waiting_tail = request;
        u->waiting_tail = &request->next;
    }
    g_mutex_unlock(&u->mutex);
}

static void uring_post(void *io, BlockRequest *request, int result)
{
    UringIo *u = io;
    BlockCompletion completion = { request, result };
    g_mutex_lock(&u->mutex);
    g_array_append_val(u->posted, completion);
    wake(u);
    enter(u);
    g_mutex_unlock(&u->mutex);
}

static void uring_destroy(void *io)
{
    UringIo *u = io;
    g_mutex_lock(&u->mutex);
    u->closing = true;
    wake(u);
    enter(u);
    g_mutex_unlock(&u->mutex);
    g_thread_join(u->thread);
    io_uring_queue_exit(&u->ring);
    g_array_unref(u->posted);
    g_mutex_clear(&u->mutex);
    g_free(u);
}

const BlockIoOps block_io_uring_ops = {
    .name = "io_uring",
    .create = uring_create,
    .submit = uring_submit,
    .post = uring_post,
    .destroy = uring_destroy,
};

int block_ring_init(struct io_uring *ring, unsigned entries)
{
    static const uint8_t operations[] = { IORING_OP_NOP, IORING_OP_READV, IORING_OP_WRITEV,
                                          IORING_OP_FSYNC, IORING_OP_FALLOCATE };
    struct io_uring_restriction allowed[G_N_ELEMENTS(operations)] = { 0 };
    for (size_t i = 0; i < G_N_ELEMENTS(operations); i++) {
        allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
        allowed[i].sqe_op = operations[i];
    }
    int result = io_uring_queue_init(entries, ring, IORING_SETUP_R_DISABLED);
    if (result < 0)
        return result;
    // Declared by liburing 2.3, but not exported by its library.
    if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed,
                G_N_ELEMENTS(allowed)) == 0 &&
        syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0)
        return 0;
    result = -errno;
    io_uring_queue_exit(ring);
    return result;
}
