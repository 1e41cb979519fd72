// SPDX-License-Identifier: GPL-2.0-or-later
// The file in memory of the store's tests. Its address space is reserved, not backed, so that it
// may be as sparse as a real one.
#include "tests/unit/snapshots/store/store-rig.h"

#include <errno.h>
#include <sys/mman.h>

// takes_room: only such operations find none.
static int step(Rig *rig, bool takes_room)
{
    uint64_t now = rig_operations(rig);
    if (rig->before)
        rig->before(rig->opaque, now);
    if (rig->fail_with == ENOSPC && !takes_room)
        return 0;
    if (rig->fail_at && (now == rig->fail_at || (rig->fail_on && now > rig->fail_at)))
        return -rig->fail_with;
    return 0;
}

static void record(Rig *rig, RigKind kind, uint64_t offset, const void *bytes, uint64_t length)
{
    if (!rig->log)
        return;
    RigOperation operation = { kind, offset, length, bytes ? g_memdup2(bytes, length) : NULL };
    g_array_append_val(rig->log, operation);
}

// Old bytes, before they are changed.
static void keep_old(Rig *rig, uint64_t offset, uint64_t length)
{
    if (!rig->journal)
        return;
    RigOperation old = { RIG_WRITE, offset, length, g_memdup2(rig->image + offset, length) };
    g_array_append_val(rig->journal, old);
}

static int rig_read(void *io, uint64_t offset, void *buffer, size_t size)
{
    Rig *rig = io;
    rig->reads++;
    if (offset + size > rig->limit)
        return -EIO;
    memcpy(buffer, rig->image + offset, size);
    return 0;
}

static int put(Rig *rig, uint64_t offset, const void *buffer, uint64_t size)
{
    if (offset + size > rig->limit)
        return -ENOSPC;
    record(rig, RIG_WRITE, offset, buffer, size);
    keep_old(rig, offset, size);
    memcpy(rig->image + offset, buffer, size);
    rig->size = MAX(rig->size, offset + size);
    return 0;
}

static int rig_write(void *io, uint64_t offset, const void *buffer, size_t size)
{
    Rig *rig = io;
    rig->writes++;
    int result = step(rig, true);
    return result < 0 ? result : put(rig, offset, buffer, size);
}

static int rig_sync(void *io)
{
    Rig *rig = io;
    rig->syncs++;
    int result = step(rig, false);
    if (result == 0)
        record(rig, RIG_SYNC, 0, NULL, 0);
    return result;
}

static int rig_punch(void *io, uint64_t offset, uint64_t length)
{
    Rig *rig = io;
    rig->punches++;
    int result = step(rig, false);
    if (result < 0)
        return result;
    record(rig, RIG_PUNCH, offset, NULL, length);
    keep_old(rig, offset, length);
    if (length >= 65536)
        madvise(rig->image + offset, length, MADV_DONTNEED);
    else
        memset(rig->image + offset, 0, length);
    return 0;
}

static int rig_allocate(void *io, uint64_t offset, uint64_t length)
{
    Rig *rig = io;
    rig->allocations++;
    int result = step(rig, true);
    if (result < 0)
        return result;
    if (offset + length > rig->limit)
        return -ENOSPC;
    record(rig, RIG_ALLOCATE, offset, NULL, length);
    rig->size = MAX(rig->size, offset + length);
    return 0;
}

static uint64_t rig_size(void *io)
{
    return ((Rig *)io)->size;
}

static int transfer(Rig *rig, BlockRequest *request)
{
    uint64_t at = request->offset;
    if (request->operation == BLOCK_FLUSH)
        return rig_sync(rig);
    if (request->operation == BLOCK_WRITE) {
        rig->writes++;
        int result = step(rig, true);
        if (result < 0)
            return result;
    }
    for (int i = 0; i < request->iov_count; i++) {
        struct iovec *v = &request->iov[i];
        int result = request->operation == BLOCK_READ ? rig_read(rig, at, v->iov_base, v->iov_len)
                                                      : put(rig, at, v->iov_base, v->iov_len);
        if (result < 0)
            return result;
        at += v->iov_len;
    }
    return 0;
}

static void rig_submit(void *io, BlockRequest *request)
{
    request->complete(request, transfer(io, request));
}

static void rig_post(void *io, BlockRequest *request, int result)
{
    request->complete(request, result);
}

static void rig_close(void *io)
{
}

static const StoreIoOps rig_ops = {
    .read = rig_read,
    .write = rig_write,
    .sync = rig_sync,
    .punch = rig_punch,
    .allocate = rig_allocate,
    .size = rig_size,
    .submit = rig_submit,
    .post = rig_post,
    .close = rig_close,
};

static void clear_operation(gpointer data)
{
    g_free(((RigOperation *)data)->bytes);
}

Rig *rig_new(uint64_t limit)
{
    Rig *rig = g_new0(Rig, 1);
    rig->limit = limit;
    rig->image = mmap(NULL, limit, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(rig->image != MAP_FAILED);
    return rig;
}

void rig_free(Rig *rig)
{
    if (!rig)
        return;
    munmap(rig->image, rig->limit);
    if (rig->log)
        g_array_unref(rig->log);
    g_free(rig);
}

StoreIo rig_io(Rig *rig)
{
    return (StoreIo){ .ops = &rig_ops, .io = rig };
}

void rig_record(Rig *rig)
{
    if (rig->log)
        g_array_unref(rig->log);
    rig->log = g_array_new(FALSE, FALSE, sizeof(RigOperation));
    g_array_set_clear_func(rig->log, clear_operation);
}

uint64_t rig_operations(const Rig *rig)
{
    return rig->writes + rig->syncs + rig->punches + rig->allocations;
}

void rig_apply(Rig *rig, const RigOperation *operation, uint64_t from, uint64_t length)
{
    uint64_t at = operation->offset + from;
    switch (operation->kind) {
    case RIG_WRITE:
        keep_old(rig, at, length);
        memcpy(rig->image + at, operation->bytes + from, length);
        break;
    case RIG_PUNCH:
        keep_old(rig, at, length);
        memset(rig->image + at, 0, length);
        break;
    case RIG_SYNC:
    case RIG_ALLOCATE:
        break;
    }
    rig->size = MAX(rig->size, operation->offset + operation->length);
}

void rig_try(Rig *rig)
{
    rig->journal = g_array_new(FALSE, FALSE, sizeof(RigOperation));
    g_array_set_clear_func(rig->journal, clear_operation);
}

void rig_roll_back(Rig *rig)
{
    GArray *journal = g_steal_pointer(&rig->journal);
    for (unsigned i = journal->len; i-- > 0;) {
        const RigOperation *old = &g_array_index(journal, RigOperation, i);
        memcpy(rig->image + old->offset, old->bytes, old->length);
    }
    g_array_unref(journal);
}

Store *rig_open(Rig *rig)
{
    g_autoptr(GError) error = NULL;
    StoreOpen options = { .path = "rig" };
    Store *store = store_open_io(rig_io(rig), &options, &error);
    g_assert_no_error(error);
    return store;
}
