// SPDX-License-Identifier: GPL-2.0-or-later
// Stores on real files that are damaged, or have no room left.
#include "tests/unit/snapshots/store/store-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("repair", test_repair);
    TEST("damaged-map", test_damaged_map);
    g_test_add_data_func("/store/full", test_full_within_limit, test_full);
    g_test_add_data_func("/store/full-discard", test_discard_within_limit, test_full);
    g_test_add_data_func("/store/reserve", test_reserve_within_limit, test_full);
    return g_test_run();
}
