// SPDX-License-Identifier: GPL-2.0-or-later
// What is done with a store for a person who is not there: runs that keep nothing, automatic
// snapshots that go when they take up too much.
#include "engine/auto-snapshots.h"
#include "engine/config/vm-holds.h"
#include "engine/disposable.h"
#include "engine/left-holds.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

typedef struct {
    char *folder, *path;
    Store *store;
} Fixture;

static void reopen(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    StoreOpen options = { .path = f->path };
    store_close(f->store);
    f->store = store_open(&options, &error);
    g_assert_no_error(error);
}

static void set_up(Fixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    f->folder = g_dir_make_tmp("lodge-rules-XXXXXX", NULL);
    f->path = g_build_filename(f->folder, STORE_FILE_NAME, NULL);
    g_assert_true(store_create(f->path, &error));
    reopen(f);
    g_assert_true(store_volume_add(f->store, "disk0", STORE_DISK, 16 * MIB, NULL, &error));
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    store_close(f->store);
    g_unlink(f->path);
    g_rmdir(f->folder);
    g_free(f->path);
    g_free(f->folder);
}

static void write_mib(Fixture *f, unsigned at, uint8_t byte)
{
    g_autofree uint8_t *bytes = g_malloc(MIB);
    memset(bytes, byte, MIB);
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, NULL);
    g_assert_cmpint(block_write_sync(disk, (uint64_t)at * MIB, bytes, MIB), ==, 0);
    block_close(disk);
}

static uint8_t byte_at(Fixture *f, unsigned at)
{
    uint8_t byte;
    BlockDevice *disk = store_volume_open(f->store, STORE_CURRENT, "disk0", NULL, NULL);
    g_assert_cmpint(block_read_sync(disk, (uint64_t)at * MIB, &byte, 1), ==, 0);
    block_close(disk);
    return byte;
}

static StoreNodeId take(Fixture *f, const char *name, bool automatic, int64_t time)
{
    StoreNodeId id;
    StoreTake options = { .name = name, .automatic = automatic, .time = time };
    g_assert_true(store_take(f->store, &options, &id, NULL));
    return id;
}

static unsigned count(Fixture *f)
{
    g_autoptr(GPtrArray) nodes = store_node_list(f->store);
    return nodes->len;
}

static void keeps_nothing(Fixture *f, gconstpointer unused)
{
    write_mib(f, 0, 1);
    StoreNodeId node = take(f, "node", false, 1);
    write_mib(f, 0, 2);
    g_assert_true(disposable_begin(f->store, STORE_CURRENT, NULL));
    write_mib(f, 0, 3);
    g_assert_true(disposable_end(f->store, NULL));
    g_assert_cmpuint(byte_at(f, 0), ==, 2);
    g_assert_true(disposable_begin(f->store, node, NULL));
    g_assert_cmpuint(byte_at(f, 0), ==, 1);
    write_mib(f, 0, 4);
    take(f, "of the run", false, 2);
    reopen(f); // it was cut off
    g_assert_true(disposable_end(f->store, NULL));
    g_assert_true(disposable_end(f->store, NULL));
    g_assert_cmpuint(byte_at(f, 0), ==, 2);
    g_assert_true(store_is_changed(f->store));
    g_assert_cmpuint(count(f), ==, 2); // what was taken in it stays
}

static void no_such_node(Fixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(disposable_begin(f->store, 77, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    g_assert_cmpuint(count(f), ==, 0);
}

static bool is_protected(Fixture *f, StoreNodeId id)
{
    g_autoptr(StoreNode) node = store_node_get(f->store, id, NULL);
    return node && node->is_protected;
}

static void write_hold(Fixture *f, StoreNodeId id, int pid, const char *text)
{
    g_autofree char *path = g_strdup_printf("%s/hold.%" G_GUINT64_FORMAT ".%d", f->folder, id, pid);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

// Of a program that was killed nothing stays; one that is at work is left alone.
static void holds(Fixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    StoreNodeId wanted = take(f, "a person's", false, 1), made = take(f, "for an export", false, 2);
    StoreNodeId ours = take(f, "for ours", false, 3);
    write_hold(f, wanted, (int)getpid(), "1"); // an earlier process had our number
    write_hold(f, made, G_MAXINT32, "1 made"); // no process has
    g_assert_true(vm_hold_add(f->folder, ours, true, &error));
    const StoreNodeId all[] = { wanted, made, ours };
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
        g_assert_true(store_set_protected(f->store, all[i], true, &error));
    left_holds_end(f->store, f->folder);
    g_assert_false(is_protected(f, wanted));
    g_assert_null(store_node_get(f->store, made, NULL));
    g_assert_true(is_protected(f, ours));
    g_assert_cmpuint(count(f), ==, 2);
    vm_hold_remove(f->folder, ours);
    g_autoptr(GPtrArray) left = vm_holds_left(f->folder);
    g_assert_cmpuint(left->len, ==, 0);
}

// Each has 1 MiB that no other has.
static void budget(Fixture *f, gconstpointer unused)
{
    StoreNodeId ids[5];
    for (unsigned i = 0; i < 5; i++) {
        write_mib(f, 0, (uint8_t)(i + 1));
        ids[i] = take(f, "automatic", i != 3, 100 + i);
    }
    g_assert_true(store_set_protected(f->store, ids[0], true, NULL));
    g_assert_true(auto_snapshots_trim(f->store, 64 * MIB, ids[4], NULL));
    g_assert_cmpuint(count(f), ==, 5);
    g_assert_true(auto_snapshots_trim(f->store, MIB + MIB / 2, ids[4], NULL));
    g_assert_cmpuint(count(f), ==, 4);
    g_autoptr(GError) error = NULL;
    g_assert_null(store_node_get(f->store, ids[1], &error)); // the oldest that may go
    // What is left may not go: protected, a person's, or just taken.
    g_assert_true(auto_snapshots_trim(f->store, 1, ids[4], NULL));
    g_assert_cmpuint(count(f), ==, 3);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    ADD("/disposable/keeps-nothing", keeps_nothing);
    ADD("/disposable/no-such-node", no_such_node);
    ADD("/left-holds/killed", holds);
    ADD("/auto-snapshots/budget", budget);
    return g_test_run();
}
