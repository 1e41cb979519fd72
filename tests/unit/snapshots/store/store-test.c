// SPDX-License-Identifier: GPL-2.0-or-later
// The store's interface on real files: one behaviour each.
#include "tests/unit/snapshots/store/store-rig.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

typedef struct {
    char *folder, *path;
    Store *store;
    uint8_t buffer[64 * 1024];
} Fixture;

static Store *open_store(const char *path)
{
    g_autoptr(GError) error = NULL;
    StoreOpen options = { .path = path };
    Store *store = store_open(&options, &error);
    g_assert_no_error(error);
    return store;
}

static void set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->folder = g_dir_make_tmp("lodge-store-XXXXXX", &error);
    f->path = g_build_filename(f->folder, STORE_FILE_NAME, NULL);
    store_create(f->path, &error);
    g_assert_no_error(error);
    f->store = open_store(f->path);
    store_volume_add(f->store, "disk0", STORE_DISK, 64 * MIB, NULL, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    g_autoptr(GDir) dir = g_dir_open(f->folder, 0, NULL);
    const char *name;
    store_close(f->store);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(f->folder, name, NULL);
        g_unlink(path);
    }
    g_rmdir(f->folder);
    g_free(f->path);
    g_free(f->folder);
}

static void reopen(Fixture *f)
{
    store_close(f->store);
    f->store = open_store(f->path);
}

static void write_at(Store *store, const char *volume, uint64_t offset, uint8_t byte,
                     uint32_t size)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = g_malloc(size);
    BlockDevice *block = store_volume_open(store, STORE_CURRENT, volume, NULL, &error);
    g_assert_no_error(error);
    memset(bytes, byte, size);
    g_assert_cmpint(block_write_sync(block, offset, bytes, size), ==, 0);
    block_close(block);
}

static void expect_at(Store *store, StoreNodeId node, const char *volume, uint64_t offset,
                      uint8_t byte, uint32_t size)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = g_malloc(size);
    BlockDevice *block = store_volume_open(store, node, volume, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_read_sync(block, offset, bytes, size), ==, 0);
    for (uint32_t i = 0; i < size; i++)
        g_assert_cmphex(bytes[i], ==, byte);
    block_close(block);
}

static StoreNodeId take(Store *store, const char *name)
{
    g_autoptr(GError) error = NULL;
    StoreNodeId id;
    store_take(store, &(StoreTake){ .name = name, .note = "a note" }, &id, &error);
    g_assert_no_error(error);
    return id;
}

static void check(Store *store)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoreReport) report = { 0 };
    store_check(store, false, &report, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(store_report_problems(&report), ==, 0);
}

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

static uint64_t host_bytes(const char *path)
{
    struct stat st;
    g_assert_cmpint(stat(path, &st), ==, 0);
    return (uint64_t)st.st_blocks * 512;
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

static void test_linked_clone(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->folder, "clone.store", NULL);
    write_at(f->store, "disk0", 0, 1, MIB);
    StoreNodeId one = take(f->store, "One");
    g_assert_true(store_clone_linked(f->store, one, path, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(host_bytes(path), <=, MIB);
    g_assert_false(store_delete(f->store, one, NULL));
    write_at(f->store, "disk0", 0, 2, MIB);
    Store *clone = open_store(path);
    expect_at(clone, STORE_CURRENT, "disk0", 0, 1, MIB);
    write_at(clone, "disk0", 512, 4, 512);
    StoreNodeId inside = take(clone, "In the clone");
    expect_at(clone, inside, "disk0", 0, 1, 512);
    expect_at(clone, inside, "disk0", 512, 4, 512);
    expect_at(clone, inside, "disk0", 1024, 1, 65536);
    StoreDevice device = { clone, clone->current, clone->current->slots[0].volume, true };
    g_assert_cmpint(store_data_sync(&device, BLOCK_DISCARD, 65536, NULL, 65536), ==, 0);
    expect_at(clone, STORE_CURRENT, "disk0", 65536, 0, 65536);
    check(clone);
    store_close(clone);
    expect_at(f->store, one, "disk0", 0, 1, MIB);
}

#define CHAIN        3u
#define CHAIN_BLOCKS 1600u // crosses several leaves

// A store, and what each block of its disk must be filled with.
typedef struct {
    Store *store;
    char *path;
    uint8_t bytes[CHAIN_BLOCKS];
} Link;

static void change_link(Link *link, GRand *random, uint8_t *buffer)
{
    StoreDevice device = { link->store, link->store->current, link->store->current->slots[0].volume,
                           true };
    unsigned first = (unsigned)g_rand_int_range(random, 0, CHAIN_BLOCKS);
    unsigned count = (unsigned)g_rand_int_range(random, 1, 17);
    count = MIN(count, CHAIN_BLOCKS - first);
    bool zeroes = g_rand_int_range(random, 0, 4) == 0;
    uint8_t byte = zeroes ? 0 : (uint8_t)g_rand_int_range(random, 1, 256);
    memset(buffer, byte, count * STORE_BLOCK);
    memset(link->bytes + first, byte, count);
    g_assert_cmpint(store_data_sync(&device, zeroes ? BLOCK_WRITE_ZEROES : BLOCK_WRITE,
                                    (uint64_t)first * STORE_BLOCK, zeroes ? NULL : buffer,
                                    (uint64_t)count * STORE_BLOCK), ==, 0);
}

static void verify_link(const Link *link, uint8_t *buffer)
{
    BlockDevice *disk = store_volume_open(link->store, STORE_CURRENT, "disk0", NULL, NULL);
    for (unsigned block = 0; block < CHAIN_BLOCKS; block++) {
        g_assert_cmpint(block_read_sync(disk, (uint64_t)block * STORE_BLOCK, buffer, STORE_BLOCK),
                        ==, 0);
        g_assert_cmpuint(buffer[0], ==, link->bytes[block]);
        g_assert_true(memcmp(buffer, buffer + 1, STORE_BLOCK - 1) == 0);
    }
    block_close(disk);
}

// The next one begins as the last one is now; what either does later the other must not see.
static void add_link(Fixture *f, Link *links, unsigned number, bool linked)
{
    g_autoptr(GError) error = NULL;
    const Link *from = &links[number - 1];
    Link *to = &links[number];
    g_autofree char *name = g_strdup_printf("clone%u.store", number);
    to->path = g_build_filename(f->folder, name, NULL);
    memcpy(to->bytes, from->bytes, sizeof to->bytes);
    if (linked)
        store_clone_linked(from->store, STORE_CURRENT, to->path, &error);
    else
        store_clone_full(from->store, STORE_CURRENT, to->path, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    to->store = open_store(to->path);
}

static void test_clone_chain(Fixture *f, gconstpointer data)
{
    Link links[CHAIN + 1] = { { f->store, f->path, { 0 } } };
    g_autoptr(GRand) random = g_rand_new_with_seed(17);
    for (unsigned count = 1; count <= CHAIN + 1; count++) {
        for (unsigned i = 0; i < 150 * count; i++) {
            Link *link = &links[g_rand_int_range(random, 0, (int)count)];
            change_link(link, random, f->buffer);
            if (i % 75 == 0) { // snapshots come and go meanwhile
                StoreNodeId id = take(link->store, "Meanwhile");
                g_assert_true(i % 150 || store_delete(link->store, id, NULL));
                g_assert_true(store_purge(link->store, STORE_CURRENT, NULL));
            }
        }
        for (unsigned i = 0; i < count; i++)
            verify_link(&links[i], f->buffer);
        if (count <= CHAIN)
            add_link(f, links, count, count < CHAIN);
    }
    for (unsigned i = CHAIN; i > 0; i--) {
        check(links[i].store);
        store_close(links[i].store);
        g_free(links[i].path);
    }
    check(f->store);
}

static void count_progress(uint64_t done, uint64_t total, void *opaque)
{
    g_assert_cmpuint(done, <=, total);
    ++*(unsigned *)opaque;
}

static void test_full_clone(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->folder, "clone.store", NULL);
    unsigned calls = 0;
    write_at(f->store, "disk0", 5 * MIB, 1, 3 * MIB);
    StoreNodeId one = take(f->store, "One");
    g_assert_true(store_clone_full(f->store, one, path, count_progress, &calls, NULL, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(calls, >=, 3);
    Store *clone = open_store(path);
    expect_at(clone, STORE_CURRENT, "disk0", 5 * MIB, 1, 3 * MIB);
    expect_at(clone, STORE_CURRENT, "disk0", 0, 0, MIB);
    check(clone);
    store_close(clone);
}

static void test_clone_cancelled(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_autofree char *path = g_build_filename(f->folder, "clone.store", NULL);
    write_at(f->store, "disk0", 0, 1, MIB);
    g_cancellable_cancel(cancellable);
    g_assert_false(store_clone_full(f->store, STORE_CURRENT, path, NULL, NULL, cancellable,
                                    &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_autoptr(GDir) dir = g_dir_open(f->folder, 0, NULL);
    unsigned files = 0;
    while (g_dir_read_name(dir))
        files++;
    g_assert_cmpuint(files, ==, 1);
}

static void test_base_image(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->folder, "base.img", NULL);
    g_autofree char *bytes = g_malloc(MIB);
    memset(bytes, 6, MIB);
    g_assert_true(g_file_set_contents(path, bytes, MIB, &error));
    StoreBase base = { .path = (char *)"base.img", .driver = (char *)"raw" };
    g_assert_true(store_volume_add(f->store, "disk1", STORE_DISK, 4 * MIB, &base, &error));
    write_at(f->store, "disk1", 1024, 2, 512);
    reopen(f);
    expect_at(f->store, STORE_CURRENT, "disk1", 0, 6, 1024);
    expect_at(f->store, STORE_CURRENT, "disk1", 1024, 2, 512);
    expect_at(f->store, STORE_CURRENT, "disk1", 1536, 6, MIB - 1536);
    expect_at(f->store, STORE_CURRENT, "disk1", MIB, 0, 3 * MIB);
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk1", NULL, &error);
    BlockExtent extents[8];
    g_assert_cmpint(block_extents(disk, 0, 4 * MIB, extents, 8), >=, 2);
    g_assert_true(extents[0].allocated);
    block_close(disk);
    g_assert_cmpint(g_unlink(path), ==, 0);
    store_close(g_steal_pointer(&f->store));
    StoreOpen options = { .path = f->path };
    g_assert_null(store_open(&options, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "disk1"));
}

// A store that somebody else made must not show this computer's files as a disk.
static void test_base_outside(Fixture *f, gconstpointer data)
{
    static const char *const outside[] = { "/etc/services", "../../../../etc/services", "link" };
    g_autofree char *link = g_build_filename(f->folder, "link", NULL);
    g_assert_cmpint(symlink("/etc/services", link), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(outside); i++) {
        g_autoptr(GError) error = NULL;
        StoreBase base = { .path = (char *)outside[i], .driver = (char *)(i ? "raw" : "store") };
        g_assert_false(store_volume_add(f->store, "disk1", STORE_DISK, MIB, &base, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
        g_assert_nonnull(strstr(error->message, i ? "import it" : "beside one another"));
    }
}

static BlockDevice *open_named(const StoreBase *base, const char *path, void *opaque,
                               GError **error)
{
    BlockOpen options = { .path = path, .fd = -1, .read_only = true, .driver = base->driver };
    return block_open(&options, error);
}

// The same file, once named by a person and once found in the store.
static void test_base_named(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_path_get_basename(f->folder);
    g_autofree char *name = g_strdup_printf("../%s.img", folder);
    g_autofree char *path = g_build_filename(f->folder, name, NULL);
    StoreOpen trusting = { .path = f->path, .open_base = open_named }, plain = { .path = f->path };
    StoreBase base = { .path = name, .driver = (char *)"raw" };
    g_assert_true(block_create_raw(path, 4 * MIB, &error));
    store_close(f->store);
    f->store = store_open(&trusting, &error);
    g_assert_true(store_volume_add(f->store, "disk1", STORE_DISK, 4 * MIB, &base, &error));
    store_close(f->store);
    f->store = store_open(&plain, &error);
    g_assert_null(f->store);
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
    g_unlink(path);
}

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

// Bytes by their places are those that a read gives; `mappable` of them may be mapped.
static void expect_places(Fixture *f, StoreNodeId node, uint64_t mappable)
{
    g_autoptr(GError) error = NULL;
    BlockDevice *block = store_volume_open(f->store, node, "memory", NULL, &error);
    g_assert_no_error(error);
    g_autoptr(GArray) places = store_volume_places(block, &error);
    g_assert_no_error(error);
    g_autofree uint8_t *all = g_malloc0(8 * MIB), *read = g_malloc(8 * MIB);
    for (guint i = 0; i < places->len; i++) {
        const StorePlace *place = &g_array_index(places, StorePlace, i);
        mappable -= place->fd >= 0 ? place->length : 0;
        if (place->fd >= 0)
            g_assert_cmpint(pread(place->fd, all + place->offset, place->length,
                                  (off_t)place->at), ==, (ssize_t)place->length);
        else
            g_assert_cmpint(block_read_sync(block, place->offset, all + place->offset,
                                            place->length), ==, 0);
    }
    g_assert_cmpint(block_read_sync(block, 0, read, 8 * MIB), ==, 0);
    g_assert_true(memcmp(all, read, 8 * MIB) == 0);
    g_assert_cmpuint(mappable, ==, 0);
    block_close(block);
}

static void test_places(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(store_volume_add(f->store, "memory", STORE_STATE, 8 * MIB, NULL, &error));
    write_at(f->store, "memory", 0, 1, 3 * MIB);
    write_at(f->store, "memory", 5 * MIB, 2, 4096);
    StoreNodeId one = take(f->store, "One");
    write_at(f->store, "memory", MIB, 0, MIB);
    for (unsigned at = 0; at < 64; at += 2)
        write_at(f->store, "memory", 2 * MIB + at * 4096, 3, 4096);
    StoreNodeId two = take(f->store, "Two");
    expect_places(f, one, 3 * MIB + 4096);
    expect_places(f, two, 2 * MIB + 4096);
    expect_places(f, STORE_CURRENT, 0);
}

// What a clone's volume shows of its base is where the base has it.
static void test_places_of_a_base(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->folder, "clone.store", NULL);
    g_assert_true(store_volume_add(f->store, "memory", STORE_STATE, 8 * MIB, NULL, &error));
    write_at(f->store, "memory", MIB, 7, MIB);
    StoreNodeId one = take(f->store, "One");
    g_assert_true(store_clone_linked(f->store, one, path, &error));
    store_close(f->store);
    f->store = open_store(path);
    StoreBase base = { .path = (char *)STORE_FILE_NAME, .driver = (char *)"store", .node = one,
                       .volume = (char *)"memory" };
    g_assert_true(store_volume_add(f->store, "memory", STORE_STATE, 8 * MIB, &base, &error));
    expect_places(f, STORE_CURRENT, MIB);
    write_at(f->store, "memory", 3 * MIB, 8, 4096);
    write_at(f->store, "memory", MIB + MIB / 2, 9, 8192);
    expect_places(f, STORE_CURRENT, MIB - 8192);
    StoreNodeId two = take(f->store, "Two");
    expect_places(f, two, MIB + 4096);
}

// A branch goes on from the node's moment, state and all, and shares memory with it.
static void test_branch(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->folder, "clone.store", NULL);
    g_autoptr(GBytes) form = g_bytes_new_static("form", 4);
    const StoreTake first = { .name = "First" };
    g_assert_true(store_volume_add(f->store, "memory", STORE_STATE, 8 * MIB, NULL, &error));
    write_at(f->store, "memory", MIB, 7, MIB);
    write_at(f->store, "disk0", 0, 1, MIB);
    StoreNodeId bare = take(f->store, "Without memory");
    g_assert_true(store_blob_put(f->store, STORE_CURRENT, STORE_DEVICE_STATE, form, &error));
    StoreNodeId one = take(f->store, "One");
    g_assert_false(store_branch(f->store, one, &first, path, NULL)); // not protected
    g_assert_true(store_set_protected(f->store, bare, true, &error));
    g_assert_false(store_branch(f->store, bare, &first, path, NULL));
    g_assert_true(store_set_protected(f->store, one, true, &error));
    write_at(f->store, "memory", MIB, 9, 4096); // what comes later does not show
    StoreOpen reading = { .path = f->path, .read_only = true };
    Store *reader = store_open(&reading, &error);
    g_assert_no_error(error);
    store_branch(reader, one, &first, path, &error);
    g_assert_no_error(error);
    store_close(reader);

    store_close(f->store);
    f->store = open_store(path);
    g_assert_cmpuint(store_position(f->store), ==, 1);
    g_assert_true(store_has_state(f->store));
    g_autoptr(GBytes) again = store_blob_get(f->store, 1, STORE_DEVICE_STATE, &error);
    g_assert_true(g_bytes_equal(form, again));
    expect_at(f->store, STORE_CURRENT, "memory", MIB, 7, MIB);
    expect_at(f->store, STORE_CURRENT, "disk0", 0, 1, MIB);
    expect_places(f, 1, MIB);
    StoreInfo info;
    store_info(f->store, &info);
    g_assert_cmpuint(info.data_bytes, <, 64 * 1024);
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

static void test_repair(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoreReport) report = { 0 }, again = { 0 };
    write_at(f->store, "disk0", 0, 1, MIB);
    g_assert_true(store_commit(f->store, &error));
    uint64_t entry;
    g_mutex_lock(&f->store->mutex);
    StoreSlot *slot = &f->store->current->slots[0];
    g_assert_cmpint(store_map_entry(f->store, &slot->tree, 0, 3, false, &entry), ==, 0);
    store_space_set_used(f->store, entry_block(entry), false);
    store_space_set_used(f->store, entry_block(entry) + 400, true);
    g_mutex_unlock(&f->store->mutex);
    g_assert_true(store_check(f->store, true, &report, &error));
    g_assert_cmpuint(report.leaked_blocks, ==, 1);
    g_assert_cmpuint(report.missing_blocks, ==, 1);
    g_assert_cmpuint(report.repaired, ==, 2);
    g_assert_true(store_check(f->store, false, &again, &error));
    g_assert_cmpuint(store_report_problems(&again), ==, 0);
}

static void test_damaged_map(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoreReport) report = { 0 };
    write_at(f->store, "disk0", 0, 1, MIB);
    uint8_t junk[STORE_BLOCK] = { 1 };
    g_assert_true(store_commit(f->store, &error));
    StorePointer p;
    g_assert_cmpint(store_map_pointer(f->store, &f->store->current->slots[0].tree, 1, 0, &p), ==,
                    0);
    store_close(g_steal_pointer(&f->store));
    int fd = open(f->path, O_RDWR);
    g_assert_cmpint(pwrite(fd, junk, sizeof junk, (off_t)(entry_block(p.entry) * STORE_BLOCK)), ==,
                    sizeof junk);
    close(fd);
    f->store = open_store(f->path);
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, &error);
    g_assert_cmpint(block_read_sync(disk, 0, f->buffer, 4096), ==, -EBADMSG);
    g_assert_cmpint(block_read_sync(disk, 8 * MIB, f->buffer, 4096), ==, 0);
    block_close(disk);
    g_assert_true(store_check(f->store, false, &report, &error));
    g_assert_cmpuint(report.bad_blocks, ==, 1);
}

// Writes until there is no room; how many MiB went in.
static unsigned fill_up(BlockDevice *disk, uint8_t *buffer, unsigned from, int *ret_result)
{
    unsigned done = from;
    for (*ret_result = 0; done < 64; done++) {
        for (unsigned i = 0; i < 16 && *ret_result == 0; i++)
            *ret_result = block_write_sync(disk, (uint64_t)done * MIB + i * 65536, buffer, 65536);
        if (*ret_result < 0)
            break;
    }
    return done - from;
}

// The file system has 24 MiB. Deleted snapshots are freed when their room is needed, without the
// guest noticing; when there is nothing left to free it is told, and a delete makes room again.
static void test_full_within_limit(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    int result;
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, &error);
    memset(f->buffer, 1, sizeof f->buffer);
    for (unsigned i = 0; i < 8 * 16; i++)
        g_assert_cmpint(block_write_sync(disk, i * 65536u, f->buffer, 65536), ==, 0);
    StoreNodeId one = take(f->store, "One");
    for (unsigned i = 0; i < 8 * 16; i++)
        g_assert_cmpint(block_write_sync(disk, i * 65536u, f->buffer, 65536), ==, 0);
    g_assert_true(store_delete(f->store, one, &error));
    unsigned more = fill_up(disk, f->buffer, 8, &result);
    g_assert_cmpint(result, ==, -ENOSPC);
    g_assert_cmpuint(more, >=, 10); // 24 less 8 of its own; without the bin it were 5
    g_assert_null(store_node_get(f->store, one, NULL));
    StoreNodeId two = take(f->store, "Two");
    g_assert_true(store_rename(f->store, two, "Two, renamed", &error));
    g_assert_true(store_goto(f->store, two, NULL, NULL, &error));
    g_assert_cmpint(block_flush_sync(disk), ==, 0);
    g_assert_cmpint(block_write_sync(disk, 60 * MIB, f->buffer, 65536), ==, -ENOSPC);
    StoreInfo info;
    store_info(f->store, &info);
    g_assert_true(info.full);
    StoreDevice device = { f->store, f->store->current, f->store->current->slots[0].volume, true };
    g_assert_cmpint(store_data_sync(&device, BLOCK_DISCARD, 0, NULL, 64 * MIB), ==, 0);
    g_assert_true(store_delete(f->store, two, &error));
    g_assert_cmpint(block_write_sync(disk, 60 * MIB, f->buffer, 65536), ==, 0);
    block_close(disk);
    check(f->store);
}

// What saves a machine is written when its disks find no room any more; what that took is set aside
// again when there is.
static void test_reserve_within_limit(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    StoreOpen options = { .path = f->path, .reserve = 6 * MIB };
    StoreInfo info;
    int result;
    store_close(f->store);
    f->store = store_open(&options, &error);
    store_info(f->store, &info);
    g_assert_cmpuint(info.reserve_bytes, ==, 6 * MIB);
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, &error);
    memset(f->buffer, 3, sizeof f->buffer);
    g_assert_cmpuint(fill_up(disk, f->buffer, 0, &result), <, 18);
    g_assert_cmpint(result, ==, -ENOSPC);
    g_autoptr(GBytes) state = g_bytes_new_take(g_strnfill(3 * MIB - 100, 's'), 3 * MIB - 100);
    g_assert_true(store_blob_put(f->store, STORE_CURRENT, "device-state", state, &error));
    g_assert_true(store_volume_add(f->store, "memory", STORE_STATE, 8 * MIB, NULL, &error));
    BlockDevice *memory = store_volume_open(f->store, STORE_CURRENT, "memory", NULL, &error);
    g_assert_cmpuint(fill_up(memory, f->buffer, 0, &result), >=, 2); // of 6 less 3 MiB
    g_assert_cmpint(result, ==, -ENOSPC);
    g_assert_cmpint(block_flush_sync(memory), ==, 0);
    block_close(memory);
    g_assert_cmpint(block_write_sync(disk, 63 * MIB, f->buffer, 65536), ==, -ENOSPC);
    StoreNodeId saved = take(f->store, "Saved");
    block_close(disk);
    store_close(f->store);
    f->store = store_open(&options, &error);
    g_autoptr(GBytes) again = store_blob_get(f->store, saved, "device-state", &error);
    g_assert_true(again && g_bytes_equal(again, state));
    expect_at(f->store, saved, "memory", 0, 3, 2 * MIB);
    StoreDevice device = { f->store, f->store->current, f->store->current->slots[0].volume, true };
    g_assert_true(store_delete(f->store, saved, &error));
    g_assert_true(store_purge(f->store, saved, &error));
    g_assert_cmpint(store_data_sync(&device, BLOCK_DISCARD, 0, NULL, 64 * MIB), ==, 0);
    g_assert_true(store_purge_wait(f->store, NULL, &error));
    g_assert_true(store_commit(f->store, &error)); // its room is given out again behind it
    write_at(f->store, "disk0", 0, 1, 65536);
    g_assert_true(store_commit(f->store, &error));
    store_info(f->store, &info);
    g_assert_cmpuint(info.reserve_bytes, ==, 6 * MIB);
    store_reserve_release(f->store);
    store_info(f->store, &info);
    g_assert_cmpuint(info.reserve_bytes, ==, 0);
    check(f->store);
}

// What a guest gives up is room for it at once.
static void test_discard_within_limit(Fixture *f)
{
    int result;
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, NULL);
    StoreDevice device = { f->store, f->store->current, f->store->current->slots[0].volume, true };
    memset(f->buffer, 5, sizeof f->buffer);
    for (unsigned round = 0; round < 4; round++) {
        unsigned from = round % 2 ? 0 : 32;
        g_assert_cmpuint(fill_up(disk, f->buffer, from, &result), >=, 20);
        g_assert_cmpint(result, ==, -ENOSPC);
        g_assert_cmpint(store_data_sync(&device, BLOCK_DISCARD, from * (uint64_t)MIB, NULL,
                                        32 * MIB), ==, 0);
    }
    block_close(disk);
    check(f->store);
}

static bool write_map(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

// A file system of our own at `folder`, without privileges where the system allows that.
static bool mount_small(const char *folder)
{
    g_autofree char *map = g_strdup_printf("0 %u 1", getuid());
    if (unshare(CLONE_NEWNS) < 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || !write_map("/proc/self/uid_map", map)))
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("small", folder, "tmpfs", 0, "size=24m") == 0;
}

static void test_full(gconstpointer data)
{
    void (*test)(Fixture *f) = data;
    Fixture f = { 0 };
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
        g_test_trap_assert_passed();
        return;
    }
    g_autofree char *folder = g_dir_make_tmp("lodge-store-XXXXXX", NULL);
    if (!mount_small(folder)) {
        g_printerr("no small file system can be mounted here; user namespaces would do\n");
        g_rmdir(folder);
        return;
    }
    f.path = g_build_filename(folder, STORE_FILE_NAME, NULL);
    g_assert_true(store_create(f.path, NULL));
    f.store = open_store(f.path);
    g_assert_true(store_volume_add(f.store, "disk0", STORE_DISK, 64 * MIB, NULL, NULL));
    test(&f);
    store_close(f.store);
    umount2(folder, MNT_DETACH);
    g_rmdir(folder);
    g_free(f.path);
}

#define TEST(name, function)                                                                       \
    g_test_add("/store/" name, Fixture, NULL, set_up, function, tear_down)

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
    TEST("linked-clone", test_linked_clone);
    TEST("full-clone", test_full_clone);
    TEST("clone-chain", test_clone_chain);
    TEST("clone-cancelled", test_clone_cancelled);
    TEST("base-image", test_base_image);
    TEST("base-outside", test_base_outside);
    TEST("base-named", test_base_named);
    TEST("at-once", test_at_once);
    TEST("places", test_places);
    TEST("places-of-a-base", test_places_of_a_base);
    TEST("branch", test_branch);
    TEST("purge-of-what-is-open", test_purge_of_what_is_open);
    TEST("locked", test_locked);
    TEST("refusals", test_refusals);
    TEST("repair", test_repair);
    TEST("damaged-map", test_damaged_map);
    g_test_add_data_func("/store/full", test_full_within_limit, test_full);
    g_test_add_data_func("/store/full-discard", test_discard_within_limit, test_full);
    g_test_add_data_func("/store/reserve", test_reserve_within_limit, test_full);
    return g_test_run();
}
