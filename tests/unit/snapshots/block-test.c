// SPDX-License-Identifier: GPL-2.0-or-later
// The block layer over real files, every test of requests once per I/O engine. The program gives
// itself a private mount namespace where it may, for a file system that is nearly full.
#include "snapshots/block.h"

#include "engine/base/bytes.h"
#include "snapshots/block-iso.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *folder;      // of this run
static char *small_mount; // a 256 KiB tmpfs, or NULL

static char *image_path(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

static void write_file(const char *path, const void *data, size_t size)
{
    g_assert_true(g_file_set_contents(path, data, (gssize)size, NULL));
}

static char *make_image(const char *name, uint64_t size)
{
    char *path = image_path(name);
    g_unlink(path);
    g_autoptr(GError) error = NULL;
    g_assert_true(block_create_raw(path, size, &error));
    g_assert_no_error(error);
    return path;
}

static BlockDevice *open_image(const char *path, bool read_only, BlockIoKind io, GMutex *lock)
{
    g_autoptr(GError) error = NULL;
    BlockOpen options = { .path = path, .fd = -1, .read_only = read_only, .io = io, .lock = lock };
    BlockDevice *block = block_open(&options, &error);
    g_assert_no_error(error);
    g_assert_nonnull(block);
    return block;
}

// Checks that opening fails and the message has all of `words` (separated by '|').
static void assert_refused(const BlockOpen *options, gint code, const char *words)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(block_open(options, &error));
    g_assert_error(error, G_IO_ERROR, code);
    g_auto(GStrv) parts = g_strsplit(words, "|", -1);
    for (char **part = parts; *part; part++) {
        if (!strstr(error->message, *part))
            g_error("message '%s' lacks '%s'", error->message, *part);
    }
    g_assert_null(strchr(error->message, '\n'));
}

static void assert_path_refused(const char *path, bool read_only, const char *driver, gint code,
                                const char *words)
{
    assert_refused(&(BlockOpen){ .path = path, .fd = -1, .read_only = read_only,
                                 .driver = driver }, code, words);
}

static BlockIoKind kind_of(gconstpointer data)
{
    return (BlockIoKind)GPOINTER_TO_INT(data);
}

static void test_engine_name(gconstpointer data)
{
    g_autofree char *path = make_image("engine.raw", 4096);
    BlockDevice *block = open_image(path, false, kind_of(data), NULL);
    g_assert_cmpstr(block_io_name(block), ==,
                    kind_of(data) == BLOCK_IO_URING ? "io_uring" : "threads");
    block_close(block);
}

static void test_write_read(gconstpointer data)
{
    g_autofree char *path = make_image("rw.raw", 1 << 20);
    BlockDevice *block = open_image(path, false, kind_of(data), NULL);
    g_assert_cmpuint(block_size(block), ==, 1 << 20);
    g_assert_cmpstr(block_driver_name(block), ==, "raw");
    uint8_t out[8192], in[8192];
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (uint8_t)(i * 7 + (i >> 8));
    g_assert_cmpint(block_write_sync(block, 512 * 3, out, sizeof out), ==, 0);
    g_assert_cmpint(block_flush_sync(block), ==, 0);
    g_assert_cmpint(block_read_sync(block, 512 * 3, in, sizeof in), ==, 0);
    g_assert_cmpmem(out, sizeof out, in, sizeof in);
    g_assert_cmpint(block_read_sync(block, 0, in, 512), ==, 0);
    for (size_t i = 0; i < 512; i++)
        g_assert_cmpuint(in[i], ==, 0);
    block_close(block);

    g_autofree char *file = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &file, &size, NULL));
    g_assert_cmpuint(size, ==, 1 << 20);
    g_assert_cmpmem(file + 512 * 3, sizeof out, out, sizeof out);
}

static void test_limits(gconstpointer data)
{
    g_autofree char *path = make_image("limits.raw", 8192);
    BlockDevice *block = open_image(path, false, kind_of(data), NULL);
    uint8_t buffer[1024] = { 0 };
    g_assert_cmpint(block_read_sync(block, 8192, buffer, 512), ==, -EINVAL);
    g_assert_cmpint(block_read_sync(block, 8192 - 512, buffer, 1024), ==, -EINVAL);
    g_assert_cmpint(block_read_sync(block, UINT64_MAX - 511, buffer, 1024), ==, -EINVAL);
    g_assert_cmpint(block_write_sync(block, 7680, buffer, 1024), ==, -EINVAL);
    g_assert_cmpint(block_read_sync(block, 7680, buffer, 512), ==, 0);
    g_assert_cmpint(block_read_sync(block, 8192, buffer, 0), ==, 0);
    block_close(block);

    block = open_image(path, true, kind_of(data), NULL);
    g_assert_true(block_read_only(block));
    g_assert_cmpint(block_write_sync(block, 0, buffer, 512), ==, -EROFS);
    g_assert_cmpint(block_flush_sync(block), ==, 0);
    block_close(block);
}

typedef struct {
    BlockRequest request;
    struct iovec iov[3];
    uint8_t data[3][512];
    GMutex *lock;
    GThread *submitter;
    gint *completed;
    int result;
} Async;

static void async_complete(BlockRequest *request, int result)
{
    Async *async = request->opaque;
    // Held by this thread, hence not to be had again, and never the submitter's thread.
    if (async->lock)
        g_assert_false(g_mutex_trylock(async->lock));
    g_assert_true(g_thread_self() != async->submitter);
    async->result = result;
    g_atomic_int_inc(async->completed);
}

static void submit_async(Async *async, BlockDevice *block, BlockOperation operation,
                         uint64_t offset, GMutex *lock, gint *completed)
{
    for (int i = 0; i < 3; i++)
        async->iov[i] = (struct iovec){ async->data[i], 512 };
    async->lock = lock;
    async->completed = completed;
    async->submitter = g_thread_self();
    async->result = 1;
    async->request = (BlockRequest){ .operation = operation, .offset = offset, .length = 1536,
                                     .iov = async->iov, .iov_count = 3,
                                     .complete = async_complete, .opaque = async };
    block_submit(block, &async->request);
}

// More requests than a ring has slots, submitted with the machine lock held.
static void test_many(gconstpointer data)
{
    enum { COUNT = 600 };
    GMutex lock;
    gint completed = 0;
    g_mutex_init(&lock);
    g_autofree char *path = make_image("many.raw", COUNT * 1536);
    BlockDevice *block = open_image(path, false, kind_of(data), &lock);
    g_autofree Async *requests = g_new0(Async, COUNT);
    g_mutex_lock(&lock);
    for (int i = 0; i < COUNT; i++) {
        for (int part = 0; part < 3; part++)
            memset(requests[i].data[part], i + part * 85, 512);
        submit_async(&requests[i], block, BLOCK_WRITE, (uint64_t)i * 1536, &lock, &completed);
    }
    g_assert_cmpint(g_atomic_int_get(&completed), ==, 0); // we hold the lock
    g_mutex_unlock(&lock);
    block_drain(block);
    g_assert_cmpint(completed, ==, COUNT);
    g_mutex_lock(&lock);
    for (int i = 0; i < COUNT; i++) {
        g_assert_cmpint(requests[i].result, ==, 0);
        memset(requests[i].data, 0xee, sizeof requests[i].data);
        submit_async(&requests[i], block, BLOCK_READ, (uint64_t)i * 1536, &lock, &completed);
    }
    g_mutex_unlock(&lock);
    block_drain(block);
    for (int i = 0; i < COUNT; i++) {
        g_assert_cmpint(requests[i].result, ==, 0);
        for (int part = 0; part < 3; part++) {
            g_assert_cmpuint(requests[i].data[part][0], ==, (uint8_t)(i + part * 85));
            g_assert_cmpuint(requests[i].data[part][511], ==, (uint8_t)(i + part * 85));
        }
    }
    block_close(block);
    g_mutex_clear(&lock);
}

// A refused request, too, completes later and under the lock.
static void test_refusal_is_late(gconstpointer data)
{
    GMutex lock;
    gint completed = 0;
    Async async = { 0 };
    g_mutex_init(&lock);
    g_autofree char *path = make_image("late.raw", 4096);
    BlockDevice *block = open_image(path, false, kind_of(data), &lock);
    g_mutex_lock(&lock);
    submit_async(&async, block, BLOCK_READ, 4096, &lock, &completed);
    g_assert_cmpint(g_atomic_int_get(&completed), ==, 0);
    g_mutex_unlock(&lock);
    block_drain(block);
    g_assert_cmpint(async.result, ==, -EINVAL);
    block_close(block);
    g_mutex_clear(&lock);
}

// More elements than one system call takes.
static void test_long_iov(gconstpointer data)
{
    enum { PARTS = 2500 };
    g_autofree char *path = make_image("iov.raw", PARTS * 512);
    BlockDevice *block = open_image(path, false, kind_of(data), NULL);
    g_autofree uint8_t *bytes = g_malloc(PARTS * 512);
    g_autofree uint8_t *back = g_malloc0(PARTS * 512);
    g_autofree struct iovec *iov = g_new(struct iovec, PARTS);
    gint completed = 0;
    for (size_t i = 0; i < PARTS * 512; i++)
        bytes[i] = (uint8_t)(i / 512 * 3 + i);
    for (int i = 0; i < PARTS; i++)
        iov[i] = (struct iovec){ bytes + i * 512, 512 };
    Async async = { .completed = &completed, .submitter = g_thread_self() };
    async.request = (BlockRequest){ .operation = BLOCK_WRITE, .length = PARTS * 512, .iov = iov,
                                    .iov_count = PARTS, .complete = async_complete,
                                    .opaque = &async };
    block_submit(block, &async.request);
    block_drain(block);
    g_assert_cmpint(async.result, ==, 0);
    g_assert_cmpint(block_read_sync(block, 0, back, PARTS * 512), ==, 0);
    g_assert_cmpmem(bytes, PARTS * 512, back, PARTS * 512);
    block_close(block);
}

static void test_shrunk(gconstpointer data)
{
    g_autofree char *path = make_image("shrunk.raw", 8192);
    BlockDevice *block = open_image(path, false, kind_of(data), NULL);
    uint8_t buffer[4096];
    g_assert_cmpint(truncate(path, 6144), ==, 0);
    g_assert_cmpint(block_read_sync(block, 4096, buffer, 4096), ==, -EIO);
    g_assert_cmpint(block_read_sync(block, 2048, buffer, 4096), ==, 0);
    block_close(block);
}

static void punch_holes(BlockOperation operation, gconstpointer data)
{
    g_autofree char *path = make_image("discard.raw", 1 << 20);
    BlockDevice *block = open_image(path, false, kind_of(data), NULL);
    g_autofree uint8_t *bytes = g_malloc(1 << 20);
    memset(bytes, 0xa5, 1 << 20);
    g_assert_cmpint(block_write_sync(block, 0, bytes, 1 << 20), ==, 0);
    BlockExtent extents[8];
    g_assert_cmpint(block_extents(block, 0, 1 << 20, extents, 8), ==, 1);
    g_assert_true(extents[0].allocated);

    gint completed = 0;
    Async async = { .completed = &completed, .submitter = g_thread_self() };
    async.request = (BlockRequest){ .operation = operation, .offset = 256 * 1024,
                                    .length = 512 * 1024, .complete = async_complete,
                                    .opaque = &async };
    block_submit(block, &async.request);
    block_drain(block);
    g_assert_cmpint(async.result, ==, 0);

    g_assert_cmpint(block_extents(block, 0, 1 << 20, extents, 8), ==, 3);
    g_assert_cmpuint(extents[1].offset, ==, 256 * 1024);
    g_assert_cmpuint(extents[1].length, ==, 512 * 1024);
    g_assert_false(extents[1].allocated);
    g_assert_true(extents[0].allocated && extents[2].allocated);
    g_assert_cmpint(block_extents(block, 0, 1 << 20, extents, 2), ==, 2);
    g_assert_cmpint(block_extents(block, 1 << 20, 1, extents, 2), ==, -EINVAL);
    g_assert_cmpint(block_read_sync(block, 256 * 1024, bytes, 512), ==, 0);
    g_assert_cmpuint(bytes[0], ==, 0);
    struct stat st;
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1 << 20);
    g_assert_cmpint(st.st_blocks * 512, <, 600 * 1024);
    block_close(block);
}

static void test_discard(gconstpointer data)
{
    punch_holes(BLOCK_DISCARD, data);
}

static void test_write_zeroes(gconstpointer data)
{
    punch_holes(BLOCK_WRITE_ZEROES, data);
}

typedef struct {
    BlockDevice *block;
    gint asked;
} RoomState;

static bool no_room(void *opaque)
{
    RoomState *state = opaque;
    g_atomic_int_inc(&state->asked);
    return true;
}

static void test_no_space(gconstpointer data)
{
    if (!small_mount) {
        g_test_skip("needs a private mount namespace");
        return;
    }
    g_autofree char *path = g_build_filename(small_mount, "disk.raw", NULL);
    g_autofree char *filler = g_build_filename(small_mount, "filler", NULL);
    g_autofree uint8_t *bytes = g_malloc0(192 * 1024);
    memset(bytes, 1, 192 * 1024);
    g_autoptr(GError) error = NULL;
    g_assert_true(block_create_raw(path, 1 << 20, &error));
    write_file(filler, bytes, 192 * 1024);

    BlockDevice *block = open_image(path, false, kind_of(data), NULL);
    g_assert_cmpint(block_write_sync(block, 0, bytes, 192 * 1024), ==, -ENOSPC);

    // Held instead, until somebody makes room.
    RoomState state = { block, 0 };
    gint completed = 0;
    struct iovec iov = { bytes, 192 * 1024 };
    Async async = { .completed = &completed, .submitter = g_thread_self() };
    async.request = (BlockRequest){ .operation = BLOCK_WRITE, .length = 192 * 1024, .iov = &iov,
                                    .iov_count = 1, .complete = async_complete,
                                    .opaque = &async };
    block_set_no_room(block, no_room, &state);
    block_submit(block, &async.request);
    while (g_atomic_int_get(&state.asked) == 0)
        g_thread_yield();
    g_assert_cmpint(g_atomic_int_get(&completed), ==, 0);
    g_assert_cmpint(g_unlink(filler), ==, 0);
    // The hook was asked before the request is on the list: retry until it was there.
    while (g_atomic_int_get(&completed) == 0) {
        block_retry(block);
        g_thread_yield();
    }
    g_assert_cmpint(async.result, ==, 0);

    // A drain gives up what is held, on its own thread.
    async.submitter = NULL;
    async.request.offset = 512 * 1024;
    block_submit(block, &async.request);
    block_drain(block);
    g_assert_cmpint(async.result, ==, -ENOSPC);
    g_assert_cmpint(completed, ==, 2);
    block_close(block);
    g_assert_cmpint(g_unlink(path), ==, 0);
}

static void test_create_no_room(void)
{
    if (!small_mount) {
        g_test_skip("needs a private mount namespace");
        return;
    }
    g_autofree char *path = g_build_filename(small_mount, "new.raw", NULL);
    g_autofree char *filler = g_build_filename(small_mount, "filler", NULL);
    g_autofree uint8_t *bytes = g_malloc0(224 * 1024);
    write_file(filler, bytes, 224 * 1024);
    g_autoptr(GError) error = NULL;
    g_assert_false(block_create_raw(path, 1 << 20, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_assert_cmpint(g_unlink(filler), ==, 0);
}

static void test_create(void)
{
    g_autofree char *path = image_path("created.raw");
    g_autofree char *nowhere = g_build_filename(folder, "no-folder", "x.raw", NULL);
    g_autoptr(GError) error = NULL;
    g_assert_true(block_create_raw(path, UINT64_C(20) << 30, &error));
    struct stat st;
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, INT64_C(20) << 30);
    g_assert_cmpint(st.st_blocks, <, 1024);
    g_assert_false(block_create_raw(path, 512, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS);
    g_clear_error(&error);
    g_assert_false(block_create_raw(nowhere, 512, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_unlink(path);
    g_assert_false(block_create_raw(path, 1000, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    g_assert_false(block_create_raw(path, 0, &error));
    g_clear_error(&error);
    // Larger than the file system takes: nothing is left behind.
    if (!block_create_raw(path, UINT64_C(1) << 60, &error))
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static void test_refused_missing(void)
{
    g_autofree char *path = image_path("no-such-file");
    assert_path_refused(path, false, NULL, G_IO_ERROR_NOT_FOUND, "no-such-file|does not exist");
}

static void test_refused_directory(void)
{
    assert_path_refused(folder, true, NULL, G_IO_ERROR_IS_DIRECTORY, "is a directory");
    assert_path_refused(folder, false, NULL, G_IO_ERROR_IS_DIRECTORY, "is a directory");
}

static void test_refused_fifo(void)
{
    g_autofree char *path = image_path("fifo");
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    assert_path_refused(path, true, NULL, G_IO_ERROR_NOT_REGULAR_FILE, "neither a file nor a disk");
}

static void test_refused_empty(void)
{
    g_autofree char *path = image_path("empty.raw");
    write_file(path, "", 0);
    assert_path_refused(path, false, NULL, G_IO_ERROR_INVALID_DATA, "is empty");
}

static void test_refused_odd_size(void)
{
    g_autofree char *path = image_path("odd.raw");
    g_autofree char *bytes = g_malloc0(1000);
    write_file(path, bytes, 1000);
    assert_path_refused(path, false, NULL, G_IO_ERROR_INVALID_DATA, "512-byte sectors|1000");
}

// This thread's effective capabilities, without which it is an ordinary user.
static void set_effective(const struct __user_cap_data_struct *data)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    g_assert_cmpint(syscall(SYS_capset, &header, data), ==, 0);
}

static void test_refused_permission(void)
{
    g_autofree char *path = make_image("private.raw", 4096);
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct own[2], none[2];
    g_assert_cmpint(chmod(path, 0), ==, 0);
    g_assert_cmpint(syscall(SYS_capget, &header, own), ==, 0);
    memcpy(none, own, sizeof none);
    none[0].effective = none[1].effective = 0;
    set_effective(none);
    assert_path_refused(path, false, NULL, G_IO_ERROR_PERMISSION_DENIED, "cannot be written");
    assert_path_refused(path, true, NULL, G_IO_ERROR_PERMISSION_DENIED, "cannot be read");
    set_effective(own);
}

static void test_refused_unknown_driver(void)
{
    g_autofree char *path = make_image("driver.raw", 4096);
    assert_path_refused(path, false, "vmdk9", G_IO_ERROR_NOT_SUPPORTED, "vmdk9|raw, iso");
    block_close(open_image(path, false, BLOCK_IO_AUTO, NULL)); // no lock was left
}

static void test_lock(void)
{
    g_autofree char *path = make_image("locked.raw", 4096);
    BlockDevice *writer = open_image(path, false, BLOCK_IO_AUTO, NULL);
    assert_path_refused(path, false, NULL, G_IO_ERROR_BUSY, "in use by another machine");
    assert_path_refused(path, true, NULL, G_IO_ERROR_BUSY, "in use by another machine");
    block_close(writer);
    BlockDevice *first = open_image(path, true, BLOCK_IO_AUTO, NULL);
    BlockDevice *second = open_image(path, true, BLOCK_IO_AUTO, NULL);
    assert_path_refused(path, false, NULL, G_IO_ERROR_BUSY, "share it read-only");
    block_close(first);
    block_close(second);
    block_close(open_image(path, false, BLOCK_IO_AUTO, NULL));

    // As a QEMU that writes would
    int other = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
    g_assert_cmpint(fcntl(other, F_OFD_SETLK, &lock), ==, 0);
    assert_path_refused(path, true, NULL, G_IO_ERROR_BUSY, "in use by another machine");
    assert_path_refused(path, false, NULL, G_IO_ERROR_BUSY, "in use by another machine");
    close(other);
}

static void test_descriptor(void)
{
    g_autofree char *path = make_image("fd.raw", 4096);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    g_autoptr(GError) error = NULL;
    BlockDevice *block = block_open(&(BlockOpen){ .fd = fd }, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(block_size(block), ==, 4096);
    block_close(block);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1); // taken over
    write_file(path, "", 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_refused(&(BlockOpen){ .fd = fd }, G_IO_ERROR_INVALID_DATA, "is empty");
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
}

#define ISO_SECTORS 40

// A minimal ISO 9660 skeleton: descriptors at 16 (primary), 17 (boot), 18 (end), catalogue at 30.
static uint8_t *iso_skeleton(void)
{
    uint8_t *iso = g_malloc0(ISO_SECTORS * 2048);
    uint8_t *primary = iso + 16 * 2048, *boot = iso + 17 * 2048, *end = iso + 18 * 2048;
    uint8_t *catalogue = iso + 30 * 2048;
    memcpy(primary, "\1CD001\1", 7);
    le32_write(primary + 80, ISO_SECTORS);
    le16_write(primary + 128, 2048);
    memcpy(boot, "\0CD001\1EL TORITO SPECIFICATION", 30);
    le32_write(boot + 0x47, 30);
    memcpy(end, "\377CD001\1", 7);
    catalogue[0] = 1;
    catalogue[30] = 0x55;
    catalogue[31] = 0xaa;
    le16_write(catalogue + 28, (uint16_t)(0x10000 - 0xaa55 - 1));
    catalogue[32] = 0x88;
    return iso;
}

static BlockDevice *open_iso(const uint8_t *iso, size_t size)
{
    g_autofree char *path = image_path("test.iso");
    write_file(path, iso, size);
    return open_image(path, true, BLOCK_IO_AUTO, NULL);
}

static void test_iso_probe(void)
{
    g_autofree uint8_t *iso = iso_skeleton();
    g_autofree char *path = image_path("probe.iso");
    BlockDevice *block = open_iso(iso, ISO_SECTORS * 2048);
    g_assert_cmpstr(block_driver_name(block), ==, "iso");
    g_assert_cmpuint(block_size(block), ==, ISO_SECTORS * 2048);
    uint8_t sector[2048];
    g_assert_cmpint(block_read_sync(block, 16 * 2048, sector, 2048), ==, 0);
    g_assert_cmpmem(sector, 2048, iso + 16 * 2048, 2048);
    g_assert_cmpint(block_write_sync(block, 0, sector, 2048), ==, -EROFS);
    BlockExtent extent[4];
    g_assert_cmpint(block_extents(block, 0, block_size(block), extent, 4), >, 0);
    block_close(block);
    // A writable image is never what its first bytes say.
    write_file(path, iso, ISO_SECTORS * 2048);
    block = open_image(path, false, BLOCK_IO_AUTO, NULL);
    g_assert_cmpstr(block_driver_name(block), ==, "raw");
    block_close(block);
}

static void test_iso_truncated(void)
{
    g_autofree uint8_t *iso = iso_skeleton();
    g_autofree char *path = image_path("short.iso");
    write_file(path, iso, (ISO_SECTORS - 1) * 2048);
    assert_path_refused(path, true, NULL, G_IO_ERROR_INVALID_DATA,
                        "short.iso|truncated|81920|79872");
    write_file(path, iso, 17 * 2048 - 1);
    assert_path_refused(path, true, "iso", G_IO_ERROR_INVALID_DATA, "too small");
    write_file(path, iso, 0);
    assert_path_refused(path, true, "iso", G_IO_ERROR_INVALID_DATA, "is empty");
    write_file(path, iso, ISO_SECTORS * 2048);
    assert_path_refused(path, false, "iso", G_IO_ERROR_READ_ONLY, "read-only");
}

static void test_iso_odd_tail(void)
{
    g_autofree uint8_t *iso = iso_skeleton();
    le32_write(iso + 16 * 2048 + 80, ISO_SECTORS - 1);
    BlockDevice *block = open_iso(iso, ISO_SECTORS * 2048 - 100);
    g_assert_cmpuint(block_size(block), ==, (ISO_SECTORS - 1) * 2048);
    uint8_t sector[2048];
    g_assert_cmpint(block_read_sync(block, (ISO_SECTORS - 1) * 2048, sector, 512), ==, -EINVAL);
    block_close(block);
}

static void assert_bootable(const uint8_t *iso, const char *missing)
{
    g_autoptr(GError) error = NULL;
    BlockDevice *block = open_iso(iso, ISO_SECTORS * 2048);
    bool bootable = iso_is_bootable(block, &error);
    if (missing) {
        g_assert_false(bootable);
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
        g_assert_nonnull(strstr(error->message, missing));
    } else {
        g_assert_no_error(error);
        g_assert_true(bootable);
    }
    block_close(block);
}

static void test_iso_bootable(void)
{
    g_autofree uint8_t *iso = iso_skeleton();
    uint8_t *catalogue = iso + 30 * 2048;
    assert_bootable(iso, NULL);
    catalogue[4] = 'x'; // checksum
    assert_bootable(iso, "damaged boot catalogue");
    catalogue[4] = 0;
    catalogue[32] = 0;
    assert_bootable(iso, "damaged boot catalogue");
    catalogue[96] = 0x88; // in a section instead
    assert_bootable(iso, NULL);
    le32_write(iso + 17 * 2048 + 0x47, 0xffffffff);
    assert_bootable(iso, "damaged boot catalogue");
    iso[17 * 2048] = 3;
    assert_bootable(iso, "no El Torito boot record");
}

// What xorriso makes: a real image, plain and bootable, where the tool is installed.
static void test_iso_xorriso(void)
{
    g_autofree char *tool = g_find_program_in_path("xorriso");
    g_autofree char *tree = image_path("tree");
    g_autofree char *boot = g_build_filename(tree, "boot.img", NULL);
    g_autofree char *path = image_path("x.iso");
    g_autofree char *data = g_malloc0(2048);
    if (!tool) {
        g_test_skip("xorriso is not installed");
        return;
    }
    g_assert_cmpint(g_mkdir(tree, 0755), ==, 0);
    write_file(boot, data, 2048);
    for (int bootable = 0; bootable < 2; bootable++) {
        char *argv[] = { tool, (char *)"-as", (char *)"mkisofs", (char *)"-quiet", (char *)"-o",
                         path, tree, bootable ? (char *)"-b" : NULL, (char *)"boot.img",
                         (char *)"-no-emul-boot", NULL };
        gint status;
        g_assert_true(g_spawn_sync(NULL, argv, NULL,
                                   G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                                   NULL, NULL, NULL, &status, NULL));
        g_assert_cmpint(status, ==, 0);
        BlockDevice *block = open_image(path, true, BLOCK_IO_AUTO, NULL);
        g_autoptr(GError) error = NULL;
        g_assert_cmpstr(block_driver_name(block), ==, "iso");
        g_assert_cmpint(iso_is_bootable(block, &error), ==, bootable);
        block_close(block);
    }
}

// user_namespaces(7): the maps, and "deny" to setgroups before the group map.
static bool write_map(const char *path, unsigned id)
{
    g_autofree char *map = g_strdup_printf("%u %u 1", id, id);
    const char *text = g_str_has_suffix(path, "setgroups") ? "deny" : map;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return written;
}

static gint run_tool(char **argv, char **ret_output)
{
    gint status = -1;
    g_assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, ret_output,
                               NULL, &status, NULL));
    return status;
}

// The same size as another program sees, and a lock that it respects.
static void test_qemu_img(void)
{
    g_autofree char *tool = g_find_program_in_path("qemu-img");
    g_autofree char *path = make_image("qemu.raw", 3 * 1024 * 1024 + 512);
    g_autofree char *output = NULL;
    if (!tool) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    char *argv[] = { tool, (char *)"info", (char *)"--output=json", (char *)"-f", (char *)"raw",
                     path, NULL };
    char *read[] = { tool, (char *)"compare", (char *)"-f", (char *)"raw", (char *)"-F",
                     (char *)"raw", path, path, NULL };
    g_assert_cmpint(run_tool(argv, &output), ==, 0);
    g_assert_nonnull(strstr(output, "\"virtual-size\": 3146240"));
    BlockDevice *block = open_image(path, false, BLOCK_IO_AUTO, NULL);
    g_assert_cmpint(run_tool(read, NULL), !=, 0);
    block_close(block);
    block = open_image(path, true, BLOCK_IO_AUTO, NULL);
    g_assert_cmpint(run_tool(read, NULL), ==, 0);
    block_close(block);
}

static void set_up_small_mount(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)) < 0)
        return;
    if (uid && !(write_map("/proc/self/uid_map", uid) && write_map("/proc/self/setgroups", 0) &&
                 write_map("/proc/self/gid_map", gid)))
        return;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return;
    g_autofree char *at = image_path("small");
    if (g_mkdir(at, 0755) == 0 && mount("none", at, "tmpfs", 0, "size=256k") == 0)
        small_mount = g_steal_pointer(&at);
}

static void remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        if (g_file_test(child, G_FILE_TEST_IS_DIR))
            remove_tree(child);
        else
            g_unlink(child);
    }
    g_rmdir(path);
}

static void add_per_engine(const char *name, GTestDataFunc test)
{
    g_autofree char *uring = g_strdup_printf("/block/uring/%s", name);
    g_autofree char *pool = g_strdup_printf("/block/threads/%s", name);
    g_test_add_data_func(uring, GINT_TO_POINTER(BLOCK_IO_URING), test);
    g_test_add_data_func(pool, GINT_TO_POINTER(BLOCK_IO_THREADS), test);
}

int main(int argc, char **argv)
{
    folder = g_dir_make_tmp("lodge-block-XXXXXX", NULL);
    chmod(folder, 0755);
    set_up_small_mount();
    g_test_init(&argc, &argv, NULL);
    add_per_engine("engine-name", test_engine_name);
    add_per_engine("write-read", test_write_read);
    add_per_engine("limits", test_limits);
    add_per_engine("many-requests", test_many);
    add_per_engine("refusal-is-late", test_refusal_is_late);
    add_per_engine("long-iov", test_long_iov);
    add_per_engine("shrunk-file", test_shrunk);
    add_per_engine("discard-and-extents", test_discard);
    add_per_engine("write-zeroes", test_write_zeroes);
    add_per_engine("no-space", test_no_space);
    g_test_add_func("/block/create", test_create);
    g_test_add_func("/block/create/no-room", test_create_no_room);
    g_test_add_func("/block/refused/missing", test_refused_missing);
    g_test_add_func("/block/refused/directory", test_refused_directory);
    g_test_add_func("/block/refused/fifo", test_refused_fifo);
    g_test_add_func("/block/refused/empty", test_refused_empty);
    g_test_add_func("/block/refused/odd-size", test_refused_odd_size);
    g_test_add_func("/block/refused/permission", test_refused_permission);
    g_test_add_func("/block/refused/unknown-driver", test_refused_unknown_driver);
    g_test_add_func("/block/refused/locked", test_lock);
    g_test_add_func("/block/descriptor", test_descriptor);
    g_test_add_func("/block/qemu-img", test_qemu_img);
    g_test_add_func("/iso/probe", test_iso_probe);
    g_test_add_func("/iso/truncated", test_iso_truncated);
    g_test_add_func("/iso/odd-tail", test_iso_odd_tail);
    g_test_add_func("/iso/bootable", test_iso_bootable);
    g_test_add_func("/iso/xorriso", test_iso_xorriso);
    int result = g_test_run();
    if (small_mount)
        umount(small_mount);
    remove_tree(folder);
    return result;
}
