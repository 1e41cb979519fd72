// SPDX-License-Identifier: GPL-2.0-or-later
// That take, goto and delete cost the same whatever the disk's size and the tree's, in operations
// on the file, counted: with 512 GiB mapped, and after a thousand nodes. Reads do not get longer
// with depth either.
#include "tests/unit/snapshots/store/store-rig.h"

#define HUGE_DISK (UINT64_C(512) << 30)
#define OPERATIONS 30u // of the file, for any of the three

static Store *new_store(Rig **ret_rig, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    Rig *rig = rig_new(UINT64_C(640) << 30);
    StoreIo io = rig_io(rig);
    g_assert_cmpint(store_format_io(&io), ==, 0);
    Store *store = rig_open(rig);
    store_volume_add(store, "disk0", STORE_DISK, size, NULL, &error);
    g_assert_no_error(error);
    *ret_rig = rig;
    return store;
}

// All of it mapped, without any data written; every 64th leaf scattered, the others in runs.
static void map_everything(Store *store)
{
    StoreRecord *current = store->current;
    StoreSlot *slot = &current->slots[0];
    for (uint64_t vblock = 0; vblock < HUGE_DISK / STORE_BLOCK; vblock += STORE_LEAF_ENTRIES) {
        StoreBlock *leaf;
        uint64_t phys, count;
        g_assert_cmpint(store_space_new_data(store, slot->volume, vblock, STORE_LEAF_ENTRIES, 0,
                                             true, &phys, &count), ==, 0);
        g_assert_cmpuint(count, ==, STORE_LEAF_ENTRIES);
        g_assert_cmpint(store_map_modify(store, current, slot, &slot->tree, vblock, &leaf), ==, 0);
        unsigned flip = vblock / STORE_LEAF_ENTRIES % 64 ? 0 : 1;
        for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++)
            leaf->leaf[i] = entry_make(ENTRY_DATA, current->stamp, phys + (i ^ flip));
        store_space_use(store, phys, count);
        slot->mapped += count;
        if (vblock % (STORE_LEAF_ENTRIES * 4096) == 0)
            g_assert_true(store_commit(store, NULL));
    }
    g_assert_true(store_commit(store, NULL));
}

static void write_block(Store *store, uint64_t vblock)
{
    uint8_t bytes[STORE_BLOCK];
    StoreDevice device = { store, store->current, store->current->slots[0].volume, true };
    memset(bytes, 0x11, sizeof bytes);
    g_assert_cmpint(store_data_sync(&device, BLOCK_WRITE, vblock * STORE_BLOCK, bytes,
                                    sizeof bytes), ==, 0);
}

static uint64_t operations(const Rig *rig)
{
    return rig_operations(rig) + rig->reads;
}

// One take, goto and delete; the most that any of them did to the file.
static uint64_t cost(Store *store, Rig *rig, StoreNodeId *ret_id)
{
    StoreNodeId a, b;
    uint64_t most = 0, before = operations(rig);
    g_assert_true(store_take(store, &(StoreTake){ .name = "a" }, &a, NULL));
    most = MAX(most, operations(rig) - before);
    write_block(store, 77);
    g_assert_true(store_take(store, &(StoreTake){ .name = "b" }, &b, NULL));
    before = operations(rig);
    g_assert_true(store_goto(store, a, NULL, NULL, NULL));
    most = MAX(most, operations(rig) - before);
    before = operations(rig);
    g_assert_true(store_delete(store, b, NULL));
    g_assert_true(store_purge(store, b, NULL));
    most = MAX(most, operations(rig) - before);
    *ret_id = a;
    return most;
}

static void test_huge(void)
{
    Rig *rig;
    StoreNodeId unused;
    Store *store = new_store(&rig, HUGE_DISK);
    uint64_t empty = cost(store, rig, &unused);
    store_close(store);
    rig_free(rig);
    store = new_store(&rig, HUGE_DISK);
    map_everything(store);
    uint64_t mapped = cost(store, rig, &unused);
    g_assert_cmpuint(mapped, <=, OPERATIONS);
    // What the deleted one alone had is little, and so is its freeing.
    uint64_t before = operations(rig);
    g_assert_true(store_purge_wait(store, NULL, NULL));
    g_assert_cmpuint(operations(rig) - before, <=, 2 * OPERATIONS);
    StoreInfo info;
    store_info(store, &info);
    g_test_message("512 GiB mapped: at most %" G_GUINT64_FORMAT " operations (%" G_GUINT64_FORMAT
                   " on an empty disk), %" G_GUINT64_FORMAT " MiB of metadata", mapped, empty,
                   info.metadata_bytes >> 20);
    store_close(store);
    rig_free(rig);
}

static void test_many(void)
{
    Rig *rig;
    StoreNodeId id, middle = 0, unused;
    Store *store = new_store(&rig, UINT64_C(4) << 30);
    uint64_t first = cost(store, rig, &unused);
    for (unsigned i = 0; i < 1000; i++) {
        for (unsigned n = 0; n < 8; n++)
            write_block(store, (i * 7919 + n * 104729) % (1u << 20));
        g_assert_true(store_take(store, &(StoreTake){ .name = "node" }, &id, NULL));
        if (i == 500)
            middle = id;
        if (i % 100 == 99) // branches, too
            g_assert_true(store_goto(store, middle ? middle : id, NULL, NULL, NULL));
    }
    uint64_t last = cost(store, rig, &unused);
    g_assert_cmpuint(last, <=, OPERATIONS);
    store_close(store);
    store = rig_open(rig);
    g_autoptr(GPtrArray) nodes = store_node_list(store);
    g_assert_cmpuint(nodes->len, >=, 1000);
    // A cold read: one block of each level of the map, and the data.
    uint8_t bytes[STORE_BLOCK];
    StoreDevice device = { store, store->current, store->current->slots[0].volume };
    uint64_t before = rig->reads;
    g_assert_cmpint(store_data_sync(&device, BLOCK_READ, 0, bytes, sizeof bytes), ==, 0);
    g_assert_cmpuint(rig->reads - before, <=, 4);
    before = operations(rig);
    g_assert_true(store_goto(store, middle, NULL, NULL, NULL));
    g_assert_cmpuint(operations(rig) - before, <=, OPERATIONS);
    g_test_message("1,000 nodes: at most %" G_GUINT64_FORMAT " operations, %" G_GUINT64_FORMAT
                   " at first", last, first);
    store_close(store);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/scale/huge", test_huge);
    g_test_add_func("/store/scale/many", test_many);
    return g_test_run();
}
