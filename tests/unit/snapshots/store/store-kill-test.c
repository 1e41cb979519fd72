// SPDX-License-Identifier: GPL-2.0-or-later
// kill -9 in every phase: a child lives a store's life on a real file, with its threads and
// io_uring, and is killed at a counted write, sync, hole or allocation. What it had been told is
// durable, which it reports through a pipe, must be there afterwards.
#include "tests/unit/snapshots/store/store-rig.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK  (8u * 1024 * 1024)
#define ROUNDS 90

// The file's own functions, counted.
typedef struct {
    StoreIo file;
    gint left; // operations until the end
} Killer;

static void count(Killer *k)
{
    if (g_atomic_int_dec_and_test(&k->left))
        kill(getpid(), SIGKILL);
}

static int killer_read(void *io, uint64_t offset, void *buffer, size_t size)
{
    Killer *k = io;
    return k->file.ops->read(k->file.io, offset, buffer, size);
}

static int killer_write(void *io, uint64_t offset, const void *buffer, size_t size)
{
    Killer *k = io;
    count(k);
    return k->file.ops->write(k->file.io, offset, buffer, size);
}

static int killer_sync(void *io)
{
    Killer *k = io;
    count(k);
    return k->file.ops->sync(k->file.io);
}

static int killer_punch(void *io, uint64_t offset, uint64_t length)
{
    Killer *k = io;
    count(k);
    return k->file.ops->punch(k->file.io, offset, length);
}

static int killer_allocate(void *io, uint64_t offset, uint64_t length)
{
    Killer *k = io;
    count(k);
    return k->file.ops->allocate(k->file.io, offset, length);
}

static uint64_t killer_size(void *io)
{
    Killer *k = io;
    return k->file.ops->size(k->file.io);
}

static void killer_submit(void *io, BlockRequest *request)
{
    Killer *k = io;
    count(k);
    k->file.ops->submit(k->file.io, request);
}

static void killer_post(void *io, BlockRequest *request, int result)
{
    Killer *k = io;
    k->file.ops->post(k->file.io, request, result);
}

static void killer_close(void *io)
{
    Killer *k = io;
    k->file.ops->close(k->file.io);
    g_free(k);
}

static const StoreIoOps killer_ops = {
    .read = killer_read,
    .write = killer_write,
    .sync = killer_sync,
    .punch = killer_punch,
    .allocate = killer_allocate,
    .size = killer_size,
    .submit = killer_submit,
    .post = killer_post,
    .close = killer_close,
};

// What the parent is told: after round `round` this is durable.
typedef struct {
    uint32_t round;
    StoreNodeId node; // taken in this round, or 0
} Message;

static void tell(int fd, uint32_t round, StoreNodeId node)
{
    Message message = { round, node };
    g_assert_cmpint(write(fd, &message, sizeof message), ==, sizeof message);
}

// Every block of the disk's first half holds the round, as of a flush.
static void write_round(BlockDevice *disk, uint8_t *buffer, uint32_t round)
{
    for (uint32_t i = 0; i < DISK / 2; i += 4)
        memcpy(buffer + i, &round, 4);
    for (uint32_t at = 0; at < DISK / 2; at += 256 * 1024)
        g_assert_cmpint(block_write_sync(disk, at, buffer + at, 256 * 1024), ==, 0);
    g_assert_cmpint(block_flush_sync(disk), ==, 0);
}

static void live(const char *path, int fd, gint operations)
{
    Killer *k = g_new0(Killer, 1);
    StoreOpen options = { .path = path };
    StoreNodeId nodes[3] = { 0 };
    g_autofree uint8_t *buffer = g_malloc(DISK / 2);
    g_assert_true(store_io_open_file(&k->file, path, false, BLOCK_IO_AUTO, NULL));
    k->left = operations;
    Store *store = store_open_io((StoreIo){ &killer_ops, k, true }, &options, NULL);
    g_assert_nonnull(store);
    BlockDevice *disk = store_volume_open(store, STORE_CURRENT, "disk0", NULL, NULL);
    for (uint32_t round = 1;; round++) {
        write_round(disk, buffer, round);
        tell(fd, round, 0);
        g_assert_true(store_take(store, &(StoreTake){ .name = "round" }, &nodes[round % 3], NULL));
        tell(fd, round, nodes[round % 3]);
        StoreNodeId old = nodes[(round + 1) % 3];
        if (round % 4 == 3)
            g_assert_true(store_goto(store, nodes[round % 3], NULL, NULL, NULL));
        if (old) {
            g_assert_true(store_delete(store, old, NULL));
            g_assert_true(store_purge(store, old, NULL));
        }
        g_assert_cmpint(store_commit(store, NULL), ==, TRUE);
    }
}

static uint32_t round_in(Store *store, StoreNodeId node, uint32_t at)
{
    uint32_t words[STORE_BLOCK / 4];
    BlockDevice *disk = store_volume_open(store, node, "disk0", NULL, NULL);
    g_assert_nonnull(disk);
    g_assert_cmpint(block_read_sync(disk, at, words, sizeof words), ==, 0);
    block_close(disk);
    for (unsigned i = 1; i < STORE_BLOCK / 4; i++)
        g_assert_cmpuint(words[i], ==, words[0]);
    return words[0];
}

static void expect(const char *path, const Message *last, uint32_t last_round)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoreReport) report = { 0 };
    StoreOpen options = { .path = path };
    Store *store = store_open(&options, &error);
    g_assert_no_error(error);
    g_assert_true(store_check(store, false, &report, &error));
    g_assert_cmpuint(store_report_problems(&report), ==, 0);
    for (uint32_t at = 0; at < DISK / 2; at += 96 * 1024) {
        uint32_t found = round_in(store, STORE_CURRENT, at);
        g_assert_true(found == last_round || found == last_round + 1);
        if (last->node)
            g_assert_cmpuint(round_in(store, last->node, at), ==, last->round);
    }
    g_assert_true(store_purge_wait(store, NULL, &error));
    store_close(store);
}

static void kill_at(const char *path, gint operations, uint64_t *ret_rounds)
{
    int ends[2];
    Message message, last = { 0 };
    uint32_t last_round = 0;
    int status;
    g_unlink(path);
    g_assert_true(store_create(path, NULL));
    StoreOpen options = { .path = path };
    Store *store = store_open(&options, NULL);
    g_assert_true(store_volume_add(store, "disk0", STORE_DISK, DISK, NULL, NULL));
    store_close(store);
    g_assert_cmpint(pipe(ends), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        live(path, ends[1], operations);
        _exit(1);
    }
    close(ends[1]);
    while (read(ends[0], &message, sizeof message) == sizeof message) {
        last_round = message.round;
        if (message.node)
            last = message;
    }
    close(ends[0]);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    *ret_rounds += last_round;
    expect(path, &last, last_round);
}

static void test_kill(void)
{
    g_autofree char *folder = g_dir_make_tmp("lodge-store-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, STORE_FILE_NAME, NULL);
    uint64_t rounds = 0;
    for (gint i = 1; i <= ROUNDS; i++)
        kill_at(path, i <= 60 ? 20 + i : i * 9, &rounds);
    g_test_message("killed at %d points of %" G_GUINT64_FORMAT " rounds: nothing lost", ROUNDS,
                   rounds);
    g_unlink(path);
    g_rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/kill", test_kill);
    return g_test_run();
}
