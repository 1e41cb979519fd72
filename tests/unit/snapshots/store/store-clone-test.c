// SPDX-License-Identifier: GPL-2.0-or-later
// Stores on real files that stand on something: clones, branches, base images, where bytes are.
#include "tests/unit/snapshots/store/store-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("linked-clone", test_linked_clone);
    TEST("full-clone", test_full_clone);
    TEST("clone-chain", test_clone_chain);
    TEST("clone-cancelled", test_clone_cancelled);
    TEST("base-image", test_base_image);
    TEST("base-outside", test_base_outside);
    TEST("base-named", test_base_named);
    TEST("places", test_places);
    TEST("places-of-a-base", test_places_of_a_base);
    TEST("branch", test_branch);
    return g_test_run();
}
