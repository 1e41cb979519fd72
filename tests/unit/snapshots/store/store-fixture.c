// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/snapshots/store/store-fixture.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

Store *open_store(const char *path)
{
    g_autoptr(GError) error = NULL;
    StoreOpen options = { .path = path };
    Store *store = store_open(&options, &error);
    g_assert_no_error(error);
    return store;
}

void set_up(Fixture *f, gconstpointer data)
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

void tear_down(Fixture *f, gconstpointer data)
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

void reopen(Fixture *f)
{
    store_close(f->store);
    f->store = open_store(f->path);
}

void write_at(Store *store, const char *volume, uint64_t offset, uint8_t byte, uint32_t size)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = g_malloc(size);
    BlockDevice *block = store_volume_open(store, STORE_CURRENT, volume, NULL, &error);
    g_assert_no_error(error);
    memset(bytes, byte, size);
    g_assert_cmpint(block_write_sync(block, offset, bytes, size), ==, 0);
    block_close(block);
}

void expect_at(Store *store, StoreNodeId node, const char *volume, uint64_t offset,
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

StoreNodeId take(Store *store, const char *name)
{
    g_autoptr(GError) error = NULL;
    StoreNodeId id;
    store_take(store, &(StoreTake){ .name = name, .note = "a note" }, &id, &error);
    g_assert_no_error(error);
    return id;
}

void check(Store *store)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoreReport) report = { 0 };
    store_check(store, false, &report, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(store_report_problems(&report), ==, 0);
}

uint64_t host_bytes(const char *path)
{
    struct stat st;
    g_assert_cmpint(stat(path, &st), ==, 0);
    return (uint64_t)st.st_blocks * 512;
}
