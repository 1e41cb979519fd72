// SPDX-License-Identifier: GPL-2.0-or-later
// A volume's requests as a guest makes them: many at once.
#include "tests/unit/snapshots/store/store-fixture.h"

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("at-once", test_at_once);
    return g_test_run();
}
