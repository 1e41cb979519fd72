// SPDX-License-Identifier: GPL-2.0-or-later
// A volume's requests as a guest makes them: many at once, of any size, most of which go to the
// file as they are; and one that finds no room there.
#include "tests/unit/snapshots/store/store-fixture.h"

#include <errno.h>

// Readers on threads while blocks are written, discarded and shared: what comes is always a block's
// own bytes or zeros.
typedef struct {
    BlockDevice *disk;
    gint stop;
    unsigned seed;
    uint64_t wrong;
} Reader;

#define SHARED_BLOCKS 512u

static gpointer read_on(gpointer data)
{
    Reader *r = data;
    GRand *random = g_rand_new_with_seed(r->seed);
    uint8_t bytes[3 * STORE_BLOCK];
    while (!g_atomic_int_get(&r->stop)) {
        unsigned vblock = (unsigned)g_rand_int_range(random, 0, SHARED_BLOCKS - 2);
        r->wrong += block_read_sync(r->disk, (uint64_t)vblock * STORE_BLOCK, bytes,
                                    sizeof bytes) != 0;
        for (unsigned i = 0; i < sizeof bytes; i++)
            r->wrong += bytes[i] && bytes[i] != (uint8_t)(1 + (vblock + i / STORE_BLOCK) % 251);
    }
    g_rand_free(random);
    return NULL;
}

static void change(Fixture *f, BlockDevice *disk, GRand *random)
{
    unsigned vblock = (unsigned)g_rand_int_range(random, 0, SHARED_BLOCKS);
    memset(f->buffer, (int)(1 + vblock % 251), STORE_BLOCK);
    g_assert_cmpint(block_write_sync(disk, (uint64_t)vblock * STORE_BLOCK, f->buffer, STORE_BLOCK),
                    ==, 0);
    if (vblock % 16 == 0) {
        StoreDevice device = { f->store, f->store->current, f->store->current->slots[0].volume,
                               true };
        uint64_t at = (uint64_t)g_rand_int_range(random, 0, SHARED_BLOCKS) * STORE_BLOCK;
        g_assert_cmpint(store_data_sync(&device, BLOCK_DISCARD, at, NULL, STORE_BLOCK), ==, 0);
    }
}

static void test_at_once(Fixture *f, gconstpointer data)
{
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, NULL);
    Reader readers[2] = { { disk, 0, 1, 0 }, { disk, 0, 2, 0 } };
    GThread *threads[2];
    g_autoptr(GRand) random = g_rand_new_with_seed(3);
    for (unsigned i = 0; i < 2; i++)
        threads[i] = g_thread_new("reader", read_on, &readers[i]);
    for (unsigned i = 0; i < 2000; i++) {
        g_autoptr(GError) error = NULL;
        change(f, disk, random);
        if (i % 100 == 50) {
            StoreNodeId id = take(f->store, "Shared");
            g_assert_true(i % 200 == 50 || store_delete(f->store, id, &error));
            g_assert_true(store_purge(f->store, STORE_CURRENT, &error));
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        g_atomic_int_set(&readers[i].stop, 1);
        g_thread_join(threads[i]);
        g_assert_cmpuint(readers[i].wrong, ==, 0);
    }
    block_close(disk);
}

#define AREA (4 * MIB)

static int discard(Fixture *f, uint64_t offset, uint64_t size)
{
    StoreDevice device = { f->store, f->store->current, f->store->current->slots[0].volume, true };
    return store_data_sync(&device, BLOCK_DISCARD, offset, NULL, size);
}

// One random read, write or discard of the disk, and the same of what it must hold.
static void do_request(Fixture *f, BlockDevice *disk, GRand *random, uint8_t *expected,
                       uint8_t *bytes)
{
    unsigned kind = (unsigned)g_rand_int_range(random, 0, 16);
    uint32_t most = kind % 4 ? 32 : 640; // sectors
    uint64_t size = (uint64_t)g_rand_int_range(random, 1, (gint32)most) * 512;
    uint64_t offset = (uint64_t)g_rand_int_range(random, 0, (gint32)((AREA - size) / 512)) * 512;
    if (kind == 0) {
        offset &= ~(uint64_t)(STORE_BLOCK - 1);
        size &= ~(uint64_t)(STORE_BLOCK - 1);
        g_assert_cmpint(discard(f, offset, size), ==, 0);
        memset(expected + offset, 0, size);
    } else if (kind < 8) {
        for (uint64_t i = 0; i < size; i += 4)
            memcpy(bytes + i, &(guint32){ g_rand_int(random) }, 4);
        g_assert_cmpint(block_write_sync(disk, offset, bytes, size), ==, 0);
        memcpy(expected + offset, bytes, size);
    } else {
        g_assert_cmpint(block_read_sync(disk, offset, bytes, size), ==, 0);
        g_assert_true(memcmp(bytes, expected + offset, size) == 0);
    }
}

static void test_any_size(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    GRand *random = g_rand_new_with_seed(19);
    g_autofree uint8_t *expected = g_malloc0(AREA), *bytes = g_malloc(AREA);
    g_autofree uint8_t *taken = g_malloc0(AREA);
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, NULL);
    StoreNodeId node = take(f->store, "Empty");
    for (unsigned i = 0; i < 4000; i++) {
        do_request(f, disk, random, expected, bytes);
        if (i % 500 == 250) {
            node = take(f->store, "On the way");
            memcpy(taken, expected, AREA);
        } else if (i % 1500 == 1499) {
            g_assert_true(store_goto(f->store, node, NULL, NULL, &error));
            memcpy(expected, taken, AREA);
        }
    }
    block_close(disk);
    reopen(f);
    disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, NULL);
    g_assert_cmpint(block_read_sync(disk, 0, bytes, AREA), ==, 0);
    g_assert_true(memcmp(bytes, expected, AREA) == 0);
    block_close(disk);
    g_rand_free(random);
    check(f->store);
}

static const StoreIoOps *real_ops;
static gint without_room; // writes that have found none

static void submit_without_room(void *io, BlockRequest *request)
{
    if (request->operation == BLOCK_WRITE && g_atomic_int_add(&without_room, 1) == 0)
        real_ops->post(io, request, -EDQUOT);
    else
        real_ops->submit(io, request);
}

// A file system that copies on write may have no room for a write in place, either. That is tried
// again like any other.
static void test_no_room_in_place(Fixture *f, gconstpointer data)
{
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, NULL);
    memset(f->buffer, 4, sizeof f->buffer);
    g_assert_cmpint(block_write_sync(disk, 0, f->buffer, 65536), ==, 0);
    real_ops = f->store->io.ops;
    StoreIoOps ops = *real_ops;
    ops.submit = submit_without_room;
    g_atomic_int_set(&without_room, 0);
    f->store->io.ops = &ops;
    memset(f->buffer, 5, sizeof f->buffer);
    g_assert_cmpint(block_write_sync(disk, 4096, f->buffer, 8192), ==, 0);
    g_assert_cmpint(g_atomic_int_get(&without_room), ==, 2);
    f->store->io.ops = real_ops;
    block_close(disk);
    expect_at(f->store, STORE_CURRENT, "disk0", 0, 4, 4096);
    expect_at(f->store, STORE_CURRENT, "disk0", 4096, 5, 8192);
    expect_at(f->store, STORE_CURRENT, "disk0", 12288, 4, 53248);
    check(f->store);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("at-once", test_at_once);
    TEST("any-size", test_any_size);
    TEST("no-room-in-place", test_no_room_in_place);
    return g_test_run();
}
