// SPDX-License-Identifier: GPL-2.0-or-later
// Random operations on a store beside an oracle that keeps every node's sectors as plain arrays.
// What is read is compared at each step; from time to time everything is, the store is checked and
// opened anew. --operations and --from repeat and lengthen a run.
#include "tests/unit/snapshots/store/store-rig.h"

#include <stdlib.h>

#define SECTOR  512u
#define VOLUMES 3u
#define NODES   40u
#define LARGEST (9u * 1024 * 1024 / SECTOR) // sectors of a volume

typedef struct {
    uint32_t *sectors[VOLUMES]; // a number for each, 0: zeros
    uint32_t count[VOLUMES];
    StoreNodeId id;             // 0: not there
    StoreNodeId parent;
    bool in_bin;
} Model;

typedef struct {
    Rig *rig;
    Store *store;
    GRand *rand;
    Model current;
    Model nodes[NODES];
    uint32_t number; // last one written
    uint8_t *buffer;
    uint64_t done[16];
} Run;

static const char *const names[VOLUMES] = { "disk0", "disk1", "disk2" };

static gint arg_operations = 60000, arg_seed = 1;

static uint32_t pick(Run *run, uint32_t limit)
{
    return g_rand_int(run->rand) % limit;
}

static void fill(uint8_t *sector, uint32_t number)
{
    uint64_t word = number ? (uint64_t)number << 32 | ~number : 0;
    for (unsigned i = 0; i < SECTOR; i += 64)
        memcpy(sector + i, &word, 8);
    memcpy(sector + SECTOR - 8, &word, 8);
    if (number == 0)
        memset(sector, 0, SECTOR);
}

static void expect(const uint8_t *sector, uint32_t number)
{
    uint64_t word = number ? (uint64_t)number << 32 | ~number : 0, first, last;
    memcpy(&first, sector + 64, 8);
    memcpy(&last, sector + SECTOR - 8, 8);
    g_assert_cmphex(first, ==, word);
    g_assert_cmphex(last, ==, word);
}

static void model_copy(Model *to, const Model *from)
{
    for (unsigned v = 0; v < VOLUMES; v++) {
        if (!to->sectors[v])
            to->sectors[v] = g_new0(uint32_t, LARGEST);
        memcpy(to->sectors[v], from->sectors[v], LARGEST * sizeof(uint32_t));
        to->count[v] = from->count[v];
    }
}

static StoreRecord *record_of(Run *run, StoreNodeId id)
{
    return id ? store_record_find(run->store, id) : run->store->current;
}

static StoreDevice device_of(Run *run, StoreNodeId id, unsigned v)
{
    StoreRecord *record = record_of(run, id);
    g_assert_nonnull(record);
    StoreSlot *slot = store_slot_named(run->store, record, names[v]);
    return (StoreDevice){ .store = run->store, .record = record, .volume = slot->volume,
                          .writable = id == STORE_CURRENT };
}

static void transfer(Run *run, StoreNodeId id, unsigned v, BlockOperation operation,
                     uint64_t sector, uint32_t count)
{
    StoreDevice device = device_of(run, id, v);
    g_assert_cmpint(store_data_sync(&device, operation, sector * SECTOR, run->buffer,
                                    (uint64_t)count * SECTOR), ==, 0);
}

// Sizes as guests have them: mostly whole blocks, sometimes sectors, sometimes long.
static void pick_range(Run *run, uint32_t size, uint32_t *ret_sector, uint32_t *ret_count)
{
    uint32_t kind = pick(run, 16), sector = pick(run, size), count;
    if (kind < 10) {
        sector &= ~7u;
        count = 8 * (1 + pick(run, 4));
    } else if (kind < 15) {
        count = 1 + pick(run, 24);
    } else {
        sector &= ~7u;
        count = 8 * (1 + pick(run, 100));
    }
    *ret_sector = sector;
    *ret_count = MIN(count, size - sector);
}

static void do_write(Run *run)
{
    uint32_t sector, count, v = pick(run, VOLUMES);
    pick_range(run, run->current.count[v], &sector, &count);
    bool zeros = pick(run, 20) == 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = zeros ? 0 : ++run->number;
        fill(run->buffer + i * SECTOR, number);
        run->current.sectors[v][sector + i] = number;
    }
    transfer(run, STORE_CURRENT, v, BLOCK_WRITE, sector, count);
}

static void do_discard(Run *run)
{
    uint32_t sector, count, v = pick(run, VOLUMES), size = run->current.count[v];
    pick_range(run, size, &sector, &count);
    if (pick(run, 50) == 0)
        count = size - sector; // up to the end
    uint32_t first = (sector + 7) & ~7u;
    uint32_t end = sector + count == size ? size : (sector + count) & ~7u;
    for (uint32_t i = first; i < end; i++)
        run->current.sectors[v][i] = 0;
    transfer(run, STORE_CURRENT, v, BLOCK_DISCARD, sector, count);
}

static void compare(Run *run, const Model *model, unsigned v, uint32_t sector, uint32_t count)
{
    transfer(run, model->id, v, BLOCK_READ, sector, count);
    for (uint32_t i = 0; i < count; i++)
        expect(run->buffer + i * SECTOR, model->sectors[v][sector + i]);
}

static Model *pick_node(Run *run, bool binned)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        Model *node = &run->nodes[pick(run, NODES)];
        if (node->id && node->in_bin == binned)
            return node;
    }
    return NULL;
}

static void do_read(Run *run)
{
    uint32_t sector, count, v = pick(run, VOLUMES);
    Model *node = pick(run, 4) == 0 ? pick_node(run, false) : NULL;
    const Model *model = node ? node : &run->current;
    pick_range(run, model->count[v], &sector, &count);
    compare(run, model, v, sector, count);
}

static void do_flush(Run *run)
{
    StoreDevice device = device_of(run, STORE_CURRENT, 0);
    g_assert_cmpint(store_data_sync(&device, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
}

static Model *free_place(Run *run)
{
    for (unsigned i = 0; i < NODES; i++) {
        if (!run->nodes[i].id)
            return &run->nodes[i];
    }
    return NULL;
}

static void do_take(Run *run)
{
    g_autoptr(GError) error = NULL;
    Model *node = free_place(run);
    StoreTake take = { .name = "taken" };
    if (!node)
        return;
    model_copy(node, &run->current);
    store_take(run->store, &take, &node->id, &error);
    g_assert_no_error(error);
    node->in_bin = false;
    g_assert_cmpuint(store_position(run->store), ==, node->id);
}

static void do_goto(Run *run)
{
    g_autoptr(GError) error = NULL;
    Model *node = pick_node(run, false), *kept = pick(run, 4) == 0 ? free_place(run) : NULL;
    StoreTake take = { .name = "kept" };
    StoreNodeId id = 0;
    if (!node)
        return;
    if (kept)
        model_copy(kept, &run->current);
    store_goto(run->store, node->id, kept ? &take : NULL, &id, &error);
    g_assert_no_error(error);
    if (kept) {
        kept->id = id;
        kept->in_bin = true;
    }
    model_copy(&run->current, node);
}

static void do_delete(Run *run)
{
    g_autoptr(GError) error = NULL;
    Model *node = pick_node(run, false);
    if (!node)
        return;
    store_delete(run->store, node->id, &error);
    g_assert_no_error(error);
    node->in_bin = true;
}

static void do_undelete(Run *run)
{
    g_autoptr(GError) error = NULL;
    Model *node = pick_node(run, true);
    if (!node)
        return;
    store_undelete(run->store, node->id, &error);
    g_assert_no_error(error);
    node->in_bin = false;
}

static void do_purge(Run *run)
{
    g_autoptr(GError) error = NULL;
    Model *node = pick_node(run, true);
    if (!node)
        return;
    store_purge(run->store, node->id, &error);
    g_assert_no_error(error);
    node->id = 0;
}

// A single slice, so that other operations fall between slices.
static void do_slice(Run *run)
{
    bool more;
    g_mutex_lock(&run->store->mutex);
    g_assert_cmpint(store_purge_slice(run->store, &more), ==, 0);
    store_cache_trim(run->store);
    g_mutex_unlock(&run->store->mutex);
}

static void do_resize(Run *run)
{
    g_autoptr(GError) error = NULL;
    uint32_t v = pick(run, VOLUMES), count = 1 + pick(run, LARGEST);
    if (pick(run, 2))
        count = MIN((count + 7) & ~7u, LARGEST);
    for (uint32_t i = count; i < LARGEST; i++)
        run->current.sectors[v][i] = 0;
    store_volume_resize(run->store, STORE_CURRENT, names[v], (uint64_t)count * SECTOR, &error);
    g_assert_no_error(error);
    run->current.count[v] = count;
}

static void compare_all(Run *run)
{
    for (int n = -1; n < (int)NODES; n++) {
        const Model *model = n < 0 ? &run->current : &run->nodes[n];
        for (unsigned v = 0; v < VOLUMES && (n < 0 || model->id); v++) {
            for (uint32_t at = 0; at < model->count[v]; at += 2048)
                compare(run, model, v, at, MIN(2048, model->count[v] - at));
        }
    }
}

static void check(Run *run)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoreReport) report = { 0 };
    store_check(run->store, false, &report, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < report.messages->len; i++)
        g_printerr("%s\n", (char *)report.messages->pdata[i]);
    g_assert_cmpuint(store_report_problems(&report), ==, 0);
}

static void do_reopen(Run *run)
{
    store_close(run->store);
    run->store = rig_open(run->rig);
}

static void do_verify(Run *run)
{
    check(run);
    compare_all(run);
}

static const struct {
    const char *name;
    unsigned weight; // of 10,000
    void (*run)(Run *run);
} operations[] = {
    { "write", 5000, do_write },     { "read", 2900, do_read },     { "discard", 1000, do_discard },
    { "flush", 400, do_flush },      { "take", 60, do_take },       { "goto", 40, do_goto },
    { "delete", 70, do_delete },     { "undelete", 20, do_undelete }, { "purge", 45, do_purge },
    { "slice", 440, do_slice },      { "resize", 20, do_resize },   { "reopen", 4, do_reopen },
    { "verify", 1, do_verify },
};

static void one_operation(Run *run)
{
    uint32_t at = pick(run, 10000);
    for (unsigned i = 0; i < G_N_ELEMENTS(operations); i++) {
        if (at < operations[i].weight) {
            operations[i].run(run);
            run->done[i]++;
            return;
        }
        at -= operations[i].weight;
    }
}

static void empty(Run *run)
{
    g_autoptr(GError) error = NULL;
    for (unsigned i = 0; i < NODES; i++) {
        if (!run->nodes[i].id)
            continue;
        if (!run->nodes[i].in_bin)
            store_delete(run->store, run->nodes[i].id, &error);
        g_assert_no_error(error);
    }
    store_purge(run->store, STORE_CURRENT, &error);
    g_assert_no_error(error);
    for (unsigned v = 0; v < VOLUMES; v++)
        transfer(run, STORE_CURRENT, v, BLOCK_DISCARD, 0, run->current.count[v]);
    store_purge_wait(run->store, NULL, &error);
    g_assert_no_error(error);
    store_commit(run->store, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(run->store->space.data_used, ==, 0);
    g_assert_cmpuint(run->store->order->len, ==, 0);
    check(run);
}

static void test_model(void)
{
    Run run = { .rig = rig_new(UINT64_C(8) << 30) };
    run.rand = g_rand_new_with_seed((guint32)arg_seed);
    StoreIo io = rig_io(run.rig);
    run.buffer = g_malloc(LARGEST * SECTOR);
    g_assert_cmpint(store_format_io(&io), ==, 0);
    run.store = rig_open(run.rig);
    for (unsigned v = 0; v < VOLUMES; v++) {
        g_autoptr(GError) error = NULL;
        run.current.sectors[v] = g_new0(uint32_t, LARGEST);
        run.current.count[v] = LARGEST / (v + 1);
        store_volume_add(run.store, names[v], STORE_DISK, (uint64_t)run.current.count[v] * SECTOR,
                         NULL, &error);
        g_assert_no_error(error);
    }
    for (gint i = 0; i < arg_operations; i++)
        one_operation(&run);
    do_verify(&run);
    empty(&run);
    store_close(run.store);
    GString *line = g_string_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(operations); i++)
        g_string_append_printf(line, " %s %" G_GUINT64_FORMAT, operations[i].name, run.done[i]);
    g_test_message("%d operations, seed %d, nothing lost:%s", arg_operations, arg_seed, line->str);
    g_string_free(line, TRUE);
    for (unsigned v = 0; v < VOLUMES; v++) {
        g_free(run.current.sectors[v]);
        for (unsigned i = 0; i < NODES; i++)
            g_free(run.nodes[i].sectors[v]);
    }
    g_free(run.buffer);
    g_rand_free(run.rand);
    rig_free(run.rig);
}

int main(int argc, char **argv)
{
    GOptionEntry entries[] = {
        { "operations", 0, 0, G_OPTION_ARG_INT, &arg_operations, "how many", "N" },
        { "from", 0, 0, G_OPTION_ARG_INT, &arg_seed, "where they begin", "S" },
        { NULL },
    };
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, NULL))
        return 2;
    g_test_add_func("/store/model", test_model);
    return g_test_run();
}
