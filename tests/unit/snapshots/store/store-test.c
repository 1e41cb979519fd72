// SPDX-License-Identifier: GPL-2.0-or-later
// The store's interface on real files, within one store: one behaviour each.
#include "tests/unit/snapshots/store/store-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void test_tree(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    write_at(f->store, "disk0", 0, 1, 65536);
    StoreNodeId one = take(f->store, "One");
    write_at(f->store, "disk0", 4096, 2, 4096);
    StoreNodeId two = take(f->store, "Two");
    write_at(f->store, "disk0", 0, 3, 512);
    store_goto(f->store, one, NULL, NULL, &error);
    g_assert_no_error(error);
    expect_at(f->store, STORE_CURRENT, "disk0", 0, 1, 65536);
    expect_at(f->store, two, "disk0", 4096, 2, 4096);
    write_at(f->store, "disk0", 8192, 4, 4096);
    StoreNodeId three = take(f->store, "Three");
    reopen(f);
    g_assert_cmpuint(store_position(f->store), ==, three);
    g_autoptr(GPtrArray) nodes = store_node_list(f->store);
    g_assert_cmpuint(nodes->len, ==, 3);
    const StoreNode *last = nodes->pdata[2];
    g_assert_cmpuint(last->parent, ==, one);
    g_assert_cmpstr(last->name, ==, "Three");
    g_assert_cmpstr(last->note, ==, "a note");
    check(f->store);
}

static void test_delete_root(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    write_at(f->store, "disk0", 0, 1, 65536);
    StoreNodeId one = take(f->store, "One");
    write_at(f->store, "disk0", 4096, 2, 4096);
    StoreNodeId two = take(f->store, "Two");
    g_assert_true(store_delete(f->store, one, &error));
    g_assert_true(store_undelete(f->store, one, &error));
    g_assert_true(store_delete(f->store, one, &error));
    g_assert_true(store_purge(f->store, STORE_CURRENT, &error));
    g_assert_true(store_purge_wait(f->store, NULL, &error));
    g_assert_false(store_undelete(f->store, one, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    expect_at(f->store, two, "disk0", 0, 1, 4096);
    expect_at(f->store, two, "disk0", 4096, 2, 4096);
    g_autoptr(StoreNode) node = store_node_get(f->store, two, NULL);
    g_assert_cmpuint(node->parent, ==, STORE_CURRENT);
    check(f->store);
}

static void test_protected(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    StoreNodeId one = take(f->store, "One");
    g_assert_true(store_set_protected(f->store, one, true, &error));
    g_assert_false(store_delete(f->store, one, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
}

static void test_goto_keeps(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    StoreNodeId one = take(f->store, "One"), kept;
    write_at(f->store, "disk0", 0, 7, 4096);
    g_assert_true(store_is_changed(f->store));
    g_assert_true(store_goto(f->store, one, &(StoreTake){ .name = "Before" }, &kept, &error));
    g_assert_false(store_is_changed(f->store));
    expect_at(f->store, STORE_CURRENT, "disk0", 0, 0, 4096);
    g_assert_true(store_undelete(f->store, kept, &error));
    g_assert_true(store_goto(f->store, kept, NULL, NULL, &error));
    expect_at(f->store, STORE_CURRENT, "disk0", 0, 7, 4096);
}

static void test_live(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) state = g_bytes_new_static("registers", 9);
    StoreNodeId id;
    g_assert_true(store_volume_add(f->store, "memory", STORE_STATE, 8 * MIB, NULL, &error));
    write_at(f->store, "disk0", 0, 1, 4096);
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, &error);
    g_assert_true(store_take_begin(f->store, &(StoreTake){ .name = "Live" }, &id, &error));
    memset(f->buffer, 9, sizeof f->buffer);
    g_assert_cmpint(block_write_sync(disk, 0, f->buffer, 4096), ==, 0);
    BlockDevice *memory = store_volume_open(f->store, id, "memory", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_write_sync(memory, MIB, f->buffer, sizeof f->buffer), ==, 0);
    block_close(memory);
    g_assert_true(store_blob_put(f->store, id, "device-state", state, &error));
    g_assert_null(store_node_get(f->store, id, NULL));
    g_assert_true(store_take_finish(f->store, id, &error));
    block_close(disk);
    reopen(f);
    expect_at(f->store, id, "disk0", 0, 1, 4096);
    expect_at(f->store, id, "memory", MIB, 9, 65536);
    expect_at(f->store, STORE_CURRENT, "disk0", 0, 9, 4096);
    expect_at(f->store, STORE_CURRENT, "memory", MIB, 9, 65536);
    g_autoptr(GBytes) read = store_blob_get(f->store, id, "device-state", &error);
    g_assert_true(read && g_bytes_equal(read, state));
    g_assert_null(store_blob_get(f->store, STORE_CURRENT, "device-state", NULL));
    g_autoptr(StoreNode) node = store_node_get(f->store, id, NULL);
    g_assert_true(node->has_memory);
    check(f->store);
}

static void test_live_aborted(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    StoreNodeId id;
    g_assert_true(store_volume_add(f->store, "memory", STORE_STATE, 8 * MIB, NULL, &error));
    write_at(f->store, "memory", 0, 3, 65536);
    g_assert_true(store_take_begin(f->store, &(StoreTake){ .name = "Live" }, &id, &error));
    store_take_abort(f->store, id);
    g_assert_true(store_purge_wait(f->store, NULL, &error));
    StoreInfo info;
    store_info(f->store, &info);
    g_assert_cmpuint(info.data_bytes, ==, 0);
    check(f->store);
}

static void test_blobs(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = g_malloc(3 * MIB);
    for (uint32_t i = 0; i < 3 * MIB; i++)
        bytes[i] = (uint8_t)(i * 7 >> 3);
    g_autoptr(GBytes) large = g_bytes_new(bytes, 3 * MIB - 5);
    g_autoptr(GBytes) small = g_bytes_new_static("x", 1);
    g_autoptr(GBytes) none = g_bytes_new_static("", 0);
    g_assert_true(store_volume_add(f->store, "nvram", STORE_RECORD, 0, NULL, &error));
    g_assert_true(store_blob_put(f->store, STORE_CURRENT, "nvram", large, &error));
    StoreNodeId one = take(f->store, "One");
    g_assert_true(store_blob_put(f->store, STORE_CURRENT, "nvram", small, &error));
    g_assert_true(store_blob_put(f->store, STORE_CURRENT, "thumbnail", none, &error));
    g_assert_true(store_commit(f->store, &error));
    reopen(f);
    g_autoptr(GBytes) a = store_blob_get(f->store, one, "nvram", &error);
    g_autoptr(GBytes) b = store_blob_get(f->store, STORE_CURRENT, "nvram", &error);
    g_autoptr(GBytes) c = store_blob_get(f->store, STORE_CURRENT, "thumbnail", &error);
    g_assert_true(a && g_bytes_equal(a, large) && b && g_bytes_equal(b, small));
    g_assert_true(c && g_bytes_get_size(c) == 0);
    g_assert_false(store_blob_put(f->store, one, "nvram", small, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_READ_ONLY);
    g_assert_true(store_blob_put(f->store, STORE_CURRENT, "nvram", NULL, NULL));
    g_assert_null(store_blob_get(f->store, STORE_CURRENT, "nvram", NULL));
    check(f->store);
}

// Zeros within a blob take no room, and read back as such.
static void test_blob_with_zeros(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = g_malloc0(3 * MIB);
    bytes[5] = bytes[MIB - 1] = bytes[MIB] = bytes[2 * MIB] = 7;
    for (uint32_t size = 3 * MIB - 5; size > 4096; size /= 2) {
        g_autoptr(GBytes) blob = g_bytes_new(bytes, size);
        g_assert_true(store_blob_put(f->store, STORE_CURRENT, "nvram", blob, &error));
        g_assert_true(store_commit(f->store, &error));
        reopen(f);
        g_autoptr(GBytes) again = store_blob_get(f->store, STORE_CURRENT, "nvram", &error);
        g_assert_true(again && g_bytes_equal(again, blob));
        StoreInfo info;
        store_info(f->store, &info);
        g_assert_cmpuint(info.data_bytes, <=, 4 * 4096);
        check(f->store);
    }
    g_autoptr(GBytes) zeros = g_bytes_new(bytes + 2 * MIB + 1, 9000);
    g_assert_true(store_blob_put(f->store, STORE_CURRENT, "nvram", zeros, &error));
    reopen(f);
    g_autoptr(GBytes) again = store_blob_get(f->store, STORE_CURRENT, "nvram", &error);
    g_assert_true(again && g_bytes_equal(again, zeros));
    check(f->store);
}

static void test_discard_punches(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, &error);
    memset(f->buffer, 5, sizeof f->buffer);
    for (uint64_t at = 0; at < 16 * MIB; at += sizeof f->buffer)
        g_assert_cmpint(block_write_sync(disk, at, f->buffer, sizeof f->buffer), ==, 0);
    g_assert_cmpint(block_flush_sync(disk), ==, 0);
    uint64_t before = host_bytes(f->path);
    StoreDevice device = { f->store, f->store->current, f->store->current->slots[0].volume, true };
    g_assert_cmpint(store_data_sync(&device, BLOCK_DISCARD, 0, NULL, 16 * MIB), ==, 0);
    g_assert_cmpint(block_flush_sync(disk), ==, 0);
    block_close(disk);
    g_assert_true(store_commit(f->store, &error));
    g_assert_cmpuint(host_bytes(f->path) + 15 * MIB, <, before);
    expect_at(f->store, STORE_CURRENT, "disk0", 5 * MIB, 0, 65536);
}

static void test_sizes(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    StoreSize size;
    StoreForecast forecast;
    write_at(f->store, "disk0", 0, 1, MIB);
    StoreNodeId one = take(f->store, "One");
    write_at(f->store, "disk0", 0, 2, MIB / 2);
    StoreNodeId two = take(f->store, "Two");
    write_at(f->store, "disk0", 0, 3, MIB / 4);
    g_assert_true(store_node_size(f->store, one, &size, &error));
    g_assert_cmpuint(size.own & ~(uint64_t)0x1ffff, ==, MIB / 2);
    g_assert_cmpuint(size.shared, ==, MIB / 2);
    g_assert_true(store_node_size(f->store, two, &size, &error));
    g_assert_cmpuint(size.own & ~(uint64_t)0x1ffff, ==, MIB / 4);
    g_assert_true(store_forecast_goto(f->store, one, &forecast, &error));
    g_assert_cmpuint(forecast.discards & ~(uint64_t)0x1ffff, ==, MIB / 4);
    StoreInfo before, after;
    g_assert_true(store_forecast_delete(f->store, one, &forecast, &error));
    g_assert_true(store_delete(f->store, one, &error) && store_purge(f->store, one, &error));
    store_info(f->store, &before);
    g_assert_true(store_purge_wait(f->store, NULL, &error));
    g_assert_true(store_commit(f->store, &error));
    store_info(f->store, &after);
    g_assert_cmpuint(after.data_bytes, <=, 3 * MIB / 2 - MIB / 2 + MIB / 4);
}

static void count_calls(uint64_t done, uint64_t total, void *opaque)
{
    g_assert_cmpuint(done, <=, total);
    ++*(unsigned *)opaque;
}

static GArray *diff(Store *store, StoreNodeId from, StoreNodeId to, GError **error)
{
    unsigned calls = 0;
    StoreDiff diff = { .from = from, .to = to, .volume = "disk0", .progress = count_calls,
                       .opaque = &calls };
    GArray *ranges = store_diff(store, &diff, error);
    g_assert_cmpuint(calls, >, 0);
    return ranges;
}

static void test_diff(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    write_at(f->store, "disk0", 0, 1, 3 * MIB);
    StoreNodeId one = take(f->store, "One");
    write_at(f->store, "disk0", 8192, 2, 8192);
    write_at(f->store, "disk0", 40 * MIB, 2, 4096);
    StoreNodeId two = take(f->store, "Two");
    g_autoptr(GArray) ranges = diff(f->store, one, two, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(ranges->len, ==, 2);
    const StoreRange *r = &g_array_index(ranges, StoreRange, 0);
    g_assert_cmpuint(r->offset, ==, 8192);
    g_assert_cmpuint(r->length, ==, 8192);
    r = &g_array_index(ranges, StoreRange, 1);
    g_assert_cmpuint(r->offset, ==, 40 * MIB);
    g_assert_cmpuint(r->length, ==, 4096);
    g_autoptr(GArray) nothing = diff(f->store, two, STORE_CURRENT, &error);
    g_assert_cmpuint(nothing->len, ==, 0);
    g_assert_true(store_volume_resize(f->store, STORE_CURRENT, "disk0", 65 * MIB, &error));
    g_autoptr(GArray) grown = diff(f->store, two, STORE_CURRENT, &error);
    g_assert_cmpuint(grown->len, ==, 1);
    g_assert_cmpuint(g_array_index(grown, StoreRange, 0).offset, ==, 64 * MIB);

    // Given up, it keeps nothing open.
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    StoreDiff given_up = { .from = one, .to = two, .volume = "disk0", .cancellable = cancellable };
    g_cancellable_cancel(cancellable);
    g_assert_null(store_diff(f->store, &given_up, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_assert_true(store_delete(f->store, one, NULL));
    g_assert_true(store_purge(f->store, one, NULL));
}

static void test_resize(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    write_at(f->store, "disk0", 0, 1, MIB);
    StoreNodeId one = take(f->store, "One");
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, &error);
    g_assert_true(store_volume_resize(f->store, STORE_CURRENT, "disk0", 1536, &error));
    g_assert_cmpuint(block_size(disk), ==, 1536);
    g_assert_true(store_volume_resize(f->store, STORE_CURRENT, "disk0", UINT64_C(1) << 40, &error));
    g_assert_cmpuint(block_size(disk), ==, UINT64_C(1) << 40);
    block_close(disk);
    expect_at(f->store, STORE_CURRENT, "disk0", 0, 1, 1536);
    expect_at(f->store, STORE_CURRENT, "disk0", 1536, 0, 65536);
    write_at(f->store, "disk0", (UINT64_C(1) << 40) - 4096, 8, 4096);
    g_assert_true(store_goto(f->store, one, NULL, NULL, &error));
    expect_at(f->store, STORE_CURRENT, "disk0", 4096, 1, 4096);
    check(f->store);
}

// Zeros where the block is shared with a snapshot, over a base image, and where nothing ever was.
static void test_write_zeroes(Fixture *f, gconstpointer data)
{
    StoreDevice device = { f->store, f->store->current, f->store->current->slots[0].volume, true };
    write_at(f->store, "disk0", 0, 9, MIB);
    StoreNodeId one = take(f->store, "One");
    write_at(f->store, "disk0", MIB, 8, MIB);
    g_assert_cmpint(store_data_sync(&device, BLOCK_WRITE_ZEROES, MIB / 2, NULL, 4 * MIB), ==, 0);
    g_assert_cmpint(store_data_sync(&device, BLOCK_WRITE_ZEROES, 512, NULL, 4096), ==, -EOPNOTSUPP);
    expect_at(f->store, STORE_CURRENT, "disk0", 0, 9, MIB / 2);
    expect_at(f->store, STORE_CURRENT, "disk0", MIB / 2, 0, 4 * MIB);
    expect_at(f->store, one, "disk0", 0, 9, MIB);
    reopen(f);
    expect_at(f->store, STORE_CURRENT, "disk0", MIB / 2, 0, 4 * MIB);
    check(f->store);
}

static void test_volume_rename(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    write_at(f->store, "disk0", 0, 7, MIB);
    StoreNodeId one = take(f->store, "One");
    g_assert_true(store_volume_add(f->store, "other", STORE_DISK, MIB, NULL, &error));
    g_assert_false(store_volume_rename(f->store, "other", "disk0", NULL));
    g_assert_false(store_volume_rename(f->store, "none", "new", NULL));
    g_assert_false(store_volume_rename(f->store, "other", "A name", NULL));
    g_assert_true(store_volume_rename(f->store, "disk0", "disk7", &error));
    reopen(f);
    expect_at(f->store, STORE_CURRENT, "disk7", 0, 7, MIB);
    expect_at(f->store, one, "disk7", 0, 7, MIB);
    check(f->store);
}

// Emptying the bin does not wait for who reads, and takes nothing away from them.
static void test_purge_of_what_is_open(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    uint8_t byte = 0;
    write_at(f->store, "disk0", 0, 5, MIB);
    StoreNodeId one = take(f->store, "One");
    write_at(f->store, "disk0", 0, 6, MIB);
    BlockDevice *block = store_volume_open(f->store, one, "disk0", NULL, &error);
    g_assert_true(store_delete(f->store, one, &error));
    g_assert_true(store_purge(f->store, STORE_CURRENT, &error));
    for (unsigned i = 0; i < 3; i++) {
        write_at(f->store, "disk0", 8 * MIB, (uint8_t)i, 8 * MIB);
        take(f->store, "Other");
    }
    g_assert_cmpint(block_read_sync(block, MIB - 1, &byte, 1), ==, 0);
    g_assert_cmphex(byte, ==, 5);
    block_close(block);
    g_assert_true(store_purge_wait(f->store, NULL, &error));
    check(f->store);
}

static void test_locked(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    StoreOpen options = { .path = f->path };
    g_assert_null(store_open(&options, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_BUSY);
    options.read_only = true;
    Store *reader = store_open(&options, NULL);
    g_assert_nonnull(reader);
    g_assert_false(store_take(reader, &(StoreTake){ .name = "No" }, NULL, NULL));
    store_close(reader);
}

static void test_refusals(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    uint8_t super[STORE_BLOCK];
    g_assert_false(store_create(f->path, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS);
    g_clear_error(&error);
    store_close(g_steal_pointer(&f->store));
    int fd = open(f->path, O_RDWR);
    g_assert_cmpint(pread(fd, super, sizeof super, 0), ==, sizeof super);
    super[16] = 0x20; // incompatible feature 5
    uint64_t sum = store_checksum(super, STORE_BLOCK - 8);
    memcpy(super + STORE_BLOCK - 8, &sum, 8);
    g_assert_cmpint(pwrite(fd, super, sizeof super, 0), ==, sizeof super);
    StoreOpen options = { .path = f->path };
    g_assert_null(store_open(&options, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
    g_assert_nonnull(strstr(error->message, "feature bit 5"));
    g_clear_error(&error);
    memset(super, 0, sizeof super); // the first one lost: the second one does
    g_assert_cmpint(pwrite(fd, super, sizeof super, 0), ==, sizeof super);
    f->store = store_open(&options, &error);
    g_assert_no_error(error);
    store_close(g_steal_pointer(&f->store));
    g_assert_cmpint(pwrite(fd, super, sizeof super, STORE_SUPER_B * STORE_BLOCK), ==,
                    sizeof super);
    g_assert_null(store_open(&options, &error));
    g_assert_nonnull(strstr(error->message, "not a snapshot store"));
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("tree", test_tree);
    TEST("delete-root", test_delete_root);
    TEST("protected", test_protected);
    TEST("goto-keeps", test_goto_keeps);
    TEST("live", test_live);
    TEST("live-aborted", test_live_aborted);
    TEST("blobs", test_blobs);
    TEST("blob-with-zeros", test_blob_with_zeros);
    TEST("discard-punches", test_discard_punches);
    TEST("sizes", test_sizes);
    TEST("diff", test_diff);
    TEST("resize", test_resize);
    TEST("write-zeroes", test_write_zeroes);
    TEST("volume-rename", test_volume_rename);
    TEST("purge-of-what-is-open", test_purge_of_what_is_open);
    TEST("locked", test_locked);
    TEST("refusals", test_refusals);
    return g_test_run();
}
