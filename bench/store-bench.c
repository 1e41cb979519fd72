// SPDX-License-Identifier: GPL-2.0-or-later
// The snapshot store's speed: take, goto and delete at a given amount of mapped disk, and random
// 4 KiB transfers beside a raw image through the same I/O engine, in a fresh store and in a tree of
// a thousand nodes. One line a figure, tab-separated; bench/store.sh puts qemu-img's beside them.
// Ratios are given by the clock, and by CPU time (raw's over the store's), which a busy machine
// does not spoil.
#include "snapshots/store/store-private.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define DEPTH 16u
#define AREA  (UINT64_C(1) << 30) // bytes that the transfers go to
#define BLOCK 4096u

static gint arg_count = 60000, arg_rounds = 5, arg_nodes = 1000;
static gchar *arg_folder = NULL;
static gboolean arg_transfers = FALSE;

static double now(void)
{
    return (double)g_get_monotonic_time() / 1e6;
}

static void must(bool ok, GError *error)
{
    if (ok)
        return;
    g_printerr("store-bench: %s\n", error ? error->message : "failed");
    exit(1);
}

static void print(const char *what, const char *size, double value, const char *unit)
{
    g_print("%s\t%s\t%.4g\t%s\n", what, size, value, unit);
}

static Store *new_store(const char *path, uint64_t size)
{
    GError *error = NULL;
    g_unlink(path);
    must(store_create(path, &error), error);
    Store *store = store_open(&(StoreOpen){ .path = path }, &error);
    must(store != NULL, error);
    must(store_volume_add(store, "disk0", STORE_DISK, size, NULL, &error), error);
    return store;
}

// --- Snapshots ---

// Maps the whole disk without writing it: the file stays sparse, the maps are as they would be.
// Every 32nd leaf is scattered, so that there are leaves as well as runs.
static void map_everything(Store *store, uint64_t size)
{
    StoreRecord *current = store->current;
    StoreSlot *slot = &current->slots[0];
    for (uint64_t vblock = 0; vblock < size / STORE_BLOCK; vblock += STORE_LEAF_ENTRIES) {
        StoreBlock *leaf;
        uint64_t phys, count;
        g_mutex_lock(&store->mutex);
        must(store_space_new_data(store, slot->volume, vblock, STORE_LEAF_ENTRIES, 0, true, &phys,
                                  &count) == 0 && count == STORE_LEAF_ENTRIES, NULL);
        must(store_map_modify(store, current, slot, &slot->tree, vblock, &leaf) == 0, NULL);
        uint64_t flip = vblock / STORE_LEAF_ENTRIES % 32 ? 0 : 1;
        for (unsigned i = 0; i < STORE_LEAF_ENTRIES; i++)
            leaf->leaf[i] = entry_make(ENTRY_DATA, current->stamp, phys + (i ^ flip));
        store_space_use(store, phys, count);
        slot->mapped += count;
        g_mutex_unlock(&store->mutex);
        if (vblock % (STORE_LEAF_ENTRIES * 2048) == 0)
            must(store_commit(store, NULL), NULL);
    }
    must(store_commit(store, NULL), NULL);
}

static void touch(Store *store, uint64_t size)
{
    uint8_t block[BLOCK];
    BlockDevice *disk = store_volume_open(store, STORE_CURRENT, "disk0", NULL, NULL);
    memset(block, 1, sizeof block);
    for (unsigned i = 0; i < 100; i++)
        block_write_sync(disk, g_random_int() % (size / BLOCK) * BLOCK, block, sizeof block);
    block_close(disk);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return values[count / 2];
}

static void bench_clone(Store *store, const char *path, const char *label)
{
    enum { ROUNDS = 5 };
    g_autofree char *clone = g_strdup_printf("%s.linked", path);
    GError *error = NULL;
    StoreNodeId id;
    struct stat st;
    double taken[ROUNDS];
    must(store_take(store, &(StoreTake){ .name = "base" }, &id, &error), error);
    for (unsigned i = 0; i < ROUNDS; i++) {
        double start = now();
        must(store_clone_linked(store, id, clone, &error), error);
        taken[i] = now() - start;
        must(stat(clone, &st) == 0, NULL);
        g_unlink(clone);
    }
    print("store linked clone", label, median(taken, ROUNDS) * 1e3, "ms");
    print("store linked clone, room", label, (double)st.st_blocks / 2, "KiB");
}

static void bench_snapshots(const char *path, uint64_t size, const char *label)
{
    enum { ROUNDS = 9 };
    double take[ROUNDS], delete[ROUNDS], go[ROUNDS], gone[ROUNDS], opened;
    GError *error = NULL;
    Store *store = new_store(path, size);
    map_everything(store, size);
    store_close(store);
    opened = now();
    store = store_open(&(StoreOpen){ .path = path }, &error);
    opened = now() - opened;
    must(store != NULL, error);
    for (unsigned i = 0; i < ROUNDS; i++) {
        StoreNodeId a, b;
        touch(store, size);
        double start = now();
        must(store_take(store, &(StoreTake){ .name = "a" }, &a, &error), error);
        take[i] = now() - start;
        touch(store, size);
        must(store_take(store, &(StoreTake){ .name = "b" }, &b, &error), error);
        touch(store, size);
        start = now();
        must(store_goto(store, a, NULL, NULL, &error), error);
        go[i] = now() - start;
        start = now();
        must(store_delete(store, b, &error), error);
        must(store_purge(store, b, &error), error);
        delete[i] = now() - start;
        must(store_purge_wait(store, NULL, &error), error);
        gone[i] = now() - start;
    }
    print("store open", label, opened * 1e3, "ms");
    print("store take", label, median(take, ROUNDS) * 1e3, "ms");
    print("store goto", label, median(go, ROUNDS) * 1e3, "ms");
    print("store delete", label, median(delete, ROUNDS) * 1e3, "ms");
    print("store delete, all freed", label, median(gone, ROUNDS) * 1e3, "ms");
    bench_clone(store, path, label);
    store_close(store);
    g_unlink(path);
}

// --- Transfers ---

typedef struct {
    BlockDevice *block;
    BlockOperation operation;
    guint32 state;
    gint left, running;
    GMutex mutex;
    GCond done;
    uint8_t *buffers;
} Load;

typedef struct {
    BlockRequest request;
    struct iovec iov;
    Load *load;
} Slot;

// The next offset of a fixed random sequence.
static uint64_t next_offset(Load *load)
{
    load->state ^= load->state << 13;
    load->state ^= load->state >> 17;
    load->state ^= load->state << 5;
    return load->state % (AREA / BLOCK) * (uint64_t)BLOCK;
}

static void complete(BlockRequest *request, int result)
{
    Slot *slot = request->opaque;
    Load *load = slot->load;
    must(result == 0, NULL);
    g_mutex_lock(&load->mutex);
    bool more = load->left > 0;
    if (more) {
        load->left--;
        request->offset = next_offset(load);
    } else if (--load->running == 0) {
        g_cond_signal(&load->done);
    }
    g_mutex_unlock(&load->mutex);
    if (more)
        block_submit(load->block, request);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

typedef struct {
    double rate;      // operations a second, a flush at the end included
    double unflushed; // the same without it
    double cpu;       // seconds
} Result;

static Result run(BlockDevice *block, BlockOperation operation, guint32 seed)
{
    Result result;
    Load load = { .block = block, .operation = operation, .state = seed, .left = arg_count };
    Slot slots[DEPTH] = { 0 };
    load.buffers = g_malloc(DEPTH * BLOCK);
    memset(load.buffers, 0x5a, DEPTH * BLOCK);
    load.running = DEPTH;
    double start = now(), cpu = cpu_seconds();
    for (unsigned i = 0; i < DEPTH; i++) {
        slots[i].load = &load;
        slots[i].iov = (struct iovec){ load.buffers + i * BLOCK, BLOCK };
        slots[i].request = (BlockRequest){ .operation = operation, .length = BLOCK,
                                           .iov = &slots[i].iov, .iov_count = 1,
                                           .complete = complete, .opaque = &slots[i] };
        g_mutex_lock(&load.mutex);
        slots[i].request.offset = next_offset(&load);
        g_mutex_unlock(&load.mutex);
        block_submit(block, &slots[i].request);
    }
    g_mutex_lock(&load.mutex);
    while (load.running)
        g_cond_wait(&load.done, &load.mutex);
    g_mutex_unlock(&load.mutex);
    result.unflushed = arg_count / (now() - start);
    if (operation == BLOCK_WRITE)
        must(block_flush_sync(block) == 0, NULL);
    result.rate = arg_count / (now() - start);
    result.cpu = cpu_seconds() - cpu;
    block_drain(block);
    g_free(load.buffers);
    return result;
}

static void fill(BlockDevice *block)
{
    g_autofree uint8_t *bytes = g_malloc(1 << 20);
    memset(bytes, 0x33, 1 << 20);
    for (uint64_t at = 0; at < AREA; at += 1 << 20)
        must(block_write_sync(block, at, bytes, 1 << 20) == 0, NULL);
    must(block_flush_sync(block) == 0, NULL);
}

// The raw image is a hole again, so that each block's first write has to find it a place.
static void empty(BlockDevice *raw)
{
    must(fallocate(block_raw_fd(raw), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                   (off_t)AREA) == 0, NULL);
    must(block_flush_sync(raw) == 0, NULL);
}

// take_first: a snapshot before each round, so that each block's first write finds it shared.
// new_places: the raw image's blocks get new places as well.
static void compare_with_raw(BlockDevice *raw, BlockDevice *disk, BlockOperation operation,
                             Store *take_first, bool new_places, const char *label)
{
    enum { RAW, STORE, RATIO, CPU, RAW_UNFLUSHED, STORE_UNFLUSHED, UNFLUSHED, FIGURES };
    static const char *const names[FIGURES] = {
        "raw 4K %s", "store 4K %s", "store/raw 4K %s", "store/raw 4K %s, by CPU",
        "raw 4K %s, unflushed", "store 4K %s, unflushed", "store/raw 4K %s, unflushed",
    };
    static const char *const units[FIGURES] = { "1/s", "1/s", "", "", "1/s", "1/s", "" };
    unsigned rounds = (unsigned)arg_rounds;
    g_autofree double *values = g_new(double, rounds * FIGURES);
    for (unsigned i = 0; i < rounds; i++) {
        guint32 seed = 12345 + 77 * i;
        StoreNodeId id;
        GError *error = NULL;
        if (take_first)
            must(store_take(take_first, &(StoreTake){ .name = "again" }, &id, &error), error);
        if (new_places)
            empty(raw);
        Result a = run(raw, operation, seed), b = run(disk, operation, seed);
        values[RAW * rounds + i] = a.rate;
        values[STORE * rounds + i] = b.rate;
        values[RATIO * rounds + i] = b.rate / a.rate;
        values[CPU * rounds + i] = a.cpu / b.cpu;
        values[RAW_UNFLUSHED * rounds + i] = a.unflushed;
        values[STORE_UNFLUSHED * rounds + i] = b.unflushed;
        values[UNFLUSHED * rounds + i] = b.unflushed / a.unflushed;
    }
    for (unsigned n = 0; n < (operation == BLOCK_READ ? RAW_UNFLUSHED : FIGURES); n++) {
        g_autoptr(GString) what = g_string_new(names[n]);
        g_string_replace(what, "%s", operation == BLOCK_READ ? "read" : "write", 1);
        print(what->str, label, median(values + n * rounds, rounds), units[n]);
    }
}

static void grow_tree(Store *store, BlockDevice *disk)
{
    uint8_t block[BLOCK];
    StoreNodeId id;
    GError *error = NULL;
    memset(block, 7, sizeof block);
    for (gint i = 0; i < arg_nodes; i++) {
        for (unsigned n = 0; n < 50; n++)
            block_write_sync(disk, g_random_int() % (AREA / BLOCK) * BLOCK, block, sizeof block);
        must(store_take(store, &(StoreTake){ .name = "node" }, &id, &error), error);
    }
}

static void bench_transfers(const char *path, const char *raw_path)
{
    GError *error = NULL;
    g_unlink(raw_path);
    must(block_create_raw(raw_path, AREA, &error), error);
    BlockDevice *raw = block_open(&(BlockOpen){ .path = raw_path, .fd = -1, .driver = "raw" },
                                  &error);
    must(raw != NULL, error);
    Store *store = new_store(path, AREA);
    BlockDevice *disk = store_volume_open(store, STORE_CURRENT, "disk0", NULL, &error);
    must(disk != NULL, error);
    fill(raw);
    fill(disk);
    compare_with_raw(raw, disk, BLOCK_READ, NULL, false, "fresh");
    compare_with_raw(raw, disk, BLOCK_WRITE, NULL, false, "fresh");
    grow_tree(store, disk);
    g_autofree char *label = g_strdup_printf("%d nodes", arg_nodes);
    g_autofree char *first = g_strdup_printf("%d nodes, first writes", arg_nodes);
    g_autofree char *sparse = g_strdup_printf("%d nodes, first writes, raw's too", arg_nodes);
    compare_with_raw(raw, disk, BLOCK_READ, NULL, false, label);
    compare_with_raw(raw, disk, BLOCK_WRITE, store, false, first);
    compare_with_raw(raw, disk, BLOCK_WRITE, store, true, sparse);
    fill(raw);
    fill(disk);
    compare_with_raw(raw, disk, BLOCK_WRITE, NULL, false, label);
    block_close(disk);
    block_close(raw);
    store_close(store);
    g_unlink(path);
    g_unlink(raw_path);
}

int main(int argc, char **argv)
{
    GOptionEntry entries[] = {
        { "folder", 0, 0, G_OPTION_ARG_FILENAME, &arg_folder, "where the files go", "DIR" },
        { "count", 0, 0, G_OPTION_ARG_INT, &arg_count, "transfers a round", "N" },
        { "rounds", 0, 0, G_OPTION_ARG_INT, &arg_rounds, "rounds, interleaved with raw", "N" },
        { "transfers", 0, 0, G_OPTION_ARG_NONE, &arg_transfers, "nothing but those", NULL },
        { "nodes", 0, 0, G_OPTION_ARG_INT, &arg_nodes, "nodes of the tree", "N" },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- measure the snapshot store");
    GError *error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    must(g_option_context_parse(context, &argc, &argv, &error), error);
    const char *folder = arg_folder ? arg_folder : ".";
    g_autofree char *path = g_build_filename(folder, "bench.store", NULL);
    g_autofree char *raw_path = g_build_filename(folder, "bench.raw", NULL);
    if (!arg_transfers) {
        bench_snapshots(path, UINT64_C(2) << 30, "2 GiB");
        bench_snapshots(path, UINT64_C(512) << 30, "512 GiB");
    }
    bench_transfers(path, raw_path);
    return 0;
}
