// SPDX-License-Identifier: GPL-2.0-or-later
// The life of a store that tests cut off, and its oracle.
#include "tests/unit/snapshots/store/store-scenario.h"

static const char *const disks[SCENARIO_DISKS] = { "disk0", "disk1" };

static uint32_t pick(Scenario *s, uint32_t limit)
{
    return g_rand_int(s->rand) % limit;
}

static uint64_t key_of(unsigned disk, unsigned sector, uint32_t number)
{
    return (uint64_t)(disk * SCENARIO_SECTORS + sector) << 32 | number;
}

static void fill(uint8_t *bytes, size_t size, uint32_t number)
{
    for (size_t i = 0; i < size; i += 4)
        memcpy(bytes + i, &number, 4);
}

// The number that fills it, or UINT32_MAX where it is a mix.
static uint32_t number_in(const uint8_t *bytes, size_t size)
{
    uint32_t number;
    memcpy(&number, bytes, 4);
    return memcmp(bytes, bytes + 4, size - 4) == 0 ? number : UINT32_MAX;
}

static const ScenarioState *keep_state(Scenario *s, const ScenarioState *state)
{
    ScenarioState *copy = g_memdup2(state, sizeof *state);
    g_ptr_array_add(s->states, copy);
    return copy;
}

static ScenarioMoment *last_moment(Scenario *s)
{
    return s->moments->pdata[s->moments->len - 1];
}

static void add_moment(Scenario *s)
{
    ScenarioMoment *m = g_new0(ScenarioMoment, 1);
    m->position = s->position(s->opaque);
    m->current = keep_state(s, &s->current);
    m->at = store_position(s->store);
    m->nodes = g_array_copy(s->nodes);
    m->seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    m->blobs = g_hash_table_new(g_direct_hash, g_direct_equal);
    g_ptr_array_add(s->moments, m);
}

static void free_moment(gpointer data)
{
    ScenarioMoment *m = data;
    g_array_unref(m->nodes);
    g_hash_table_unref(m->seen);
    g_hash_table_unref(m->blobs);
    g_free(m);
}

static StoreDevice device_of(Store *store, StoreRecord *record, const char *name)
{
    const StoreSlot *slot = store_slot_named(store, record, name);
    return (StoreDevice){ .store = store, .record = record, .volume = slot ? slot->volume : 0,
                          .writable = true };
}

static int request(Scenario *s, unsigned disk, BlockOperation operation, uint64_t offset,
                   void *bytes, uint64_t size)
{
    StoreDevice device = device_of(s->store, s->store->current, disks[disk]);
    int result = store_data_sync(&device, operation, offset, bytes, size);
    if (result < 0)
        s->failures++;
    g_assert_true(result == 0 || s->may_fail);
    return result;
}

static uint64_t offset_of(unsigned sector)
{
    return (uint64_t)(sector / 8) * 8 * STORE_BLOCK + sector % 8 * 512;
}

static void do_write(Scenario *s)
{
    uint8_t bytes[STORE_BLOCK];
    unsigned disk = pick(s, SCENARIO_DISKS), block = pick(s, SCENARIO_BLOCKS);
    unsigned first = pick(s, 2) ? pick(s, 8) : 0, count = 1 + pick(s, 8 - first);
    if (pick(s, 2)) {
        first = 0;
        count = 8;
    }
    uint32_t number = pick(s, 12) ? ++s->number : 0;
    fill(bytes, count * 512, number);
    bool done = request(s, disk, BLOCK_WRITE, offset_of(block * 8 + first), bytes, count * 512) ==
                0;
    for (unsigned i = 0; i < count; i++) {
        unsigned sector = block * 8 + first + i;
        g_hash_table_add(last_moment(s)->seen,
                         g_memdup2(&(uint64_t){ key_of(disk, sector, number) }, 8));
        if (done)
            s->current.sectors[disk][sector] = number;
    }
}

static void do_discard(Scenario *s)
{
    unsigned disk = pick(s, SCENARIO_DISKS), block = pick(s, SCENARIO_BLOCKS);
    if (request(s, disk, BLOCK_DISCARD, offset_of(block * 8), NULL, STORE_BLOCK) < 0)
        return;
    for (unsigned i = 0; i < 8; i++) {
        s->current.sectors[disk][block * 8 + i] = 0;
        g_hash_table_add(last_moment(s)->seen,
                         g_memdup2(&(uint64_t){ key_of(disk, block * 8 + i, 0) }, 8));
    }
}

static void do_flush(Scenario *s)
{
    if (request(s, 0, BLOCK_FLUSH, 0, NULL, 0) == 0)
        add_moment(s);
}

// What a refusal must have left: nothing. (A commit that found no room may become durable later,
// so that the next moment's state is allowed as well: the caller ends the scenario.)
static bool went_well(Scenario *s, bool done, GError *error)
{
    if (!done)
        s->failures++;
    g_assert_true(done || s->may_fail);
    g_clear_error(&error);
    return done;
}

static void add_node(Scenario *s, StoreNodeId id, const ScenarioState *state, bool in_bin)
{
    ScenarioNode node = { id, in_bin, keep_state(s, state) };
    g_array_append_val(s->nodes, node);
}

static void do_take(Scenario *s)
{
    GError *error = NULL;
    StoreNodeId id;
    if (s->nodes->len > 7)
        return;
    bool done = store_take(s->store, &(StoreTake){ .name = "plain" }, &id, &error);
    if (!went_well(s, done, error))
        return;
    add_node(s, id, &s->current, false);
    add_moment(s);
}

static bool write_memory(Scenario *s, StoreNodeId id, ScenarioState *state)
{
    uint8_t page[STORE_BLOCK];
    StoreDevice device = device_of(s->store, s->store->pending, "memory");
    for (unsigned i = 0; i < 12; i++) {
        unsigned at = pick(s, SCENARIO_MEMORY);
        uint32_t number = pick(s, 4) ? ++s->number : 0;
        fill(page, sizeof page, number);
        if (store_data_sync(&device, BLOCK_WRITE, at * (uint64_t)STORE_BLOCK, page,
                            sizeof page) < 0) {
            g_assert_true(s->may_fail);
            s->failures++;
            return false;
        }
        state->memory[at] = number;
        if (i % 4 == 0)
            do_write(s);
        if (i == 7)
            do_flush(s);
    }
    return true;
}

static void do_live(Scenario *s)
{
    GError *error = NULL;
    StoreNodeId id;
    ScenarioState state = s->current;
    if (s->nodes->len > 7)
        return;
    bool done = store_take_begin(s->store, &(StoreTake){ .name = "live" }, &id, &error);
    if (!went_well(s, done, error))
        return;
    s->current.has_memory = false; // from the next flush on: the beginning alone is not durable
    done = write_memory(s, id, &state);
    if (!done || pick(s, 4) == 0) {
        store_take_abort(s->store, id);
        memset(s->current.memory, 0, sizeof s->current.memory);
        return;
    }
    state.has_memory = true;
    done = store_take_finish(s->store, id, &error);
    if (!went_well(s, done, error))
        return;
    add_node(s, id, &state, false);
    memcpy(s->current.memory, state.memory, sizeof state.memory);
    s->current.has_memory = true;
    add_moment(s);
}

static ScenarioNode *pick_node(Scenario *s, bool in_bin)
{
    for (unsigned tries = 0; tries < 4 && s->nodes->len; tries++) {
        ScenarioNode *node = &g_array_index(s->nodes, ScenarioNode, pick(s, s->nodes->len));
        if (node->in_bin == in_bin)
            return node;
    }
    return NULL;
}

static void do_goto(Scenario *s)
{
    GError *error = NULL;
    const ScenarioNode *node = pick_node(s, false);
    bool keep = pick(s, 2) && s->nodes->len < 8;
    StoreNodeId kept = 0;
    if (!node)
        return;
    const ScenarioState *target = node->state;
    bool done = store_goto(s->store, node->id, keep ? &(StoreTake){ .name = "kept" } : NULL, &kept,
                           &error);
    if (!went_well(s, done, error))
        return;
    if (keep)
        add_node(s, kept, &s->current, true);
    s->current = *target;
    last_moment(s)->moved = true;
    add_moment(s);
}

static void do_delete(Scenario *s)
{
    GError *error = NULL;
    ScenarioNode *node = pick_node(s, false);
    if (node && went_well(s, store_delete(s->store, node->id, &error), error)) {
        node->in_bin = true;
        add_moment(s);
    }
}

static void do_undelete(Scenario *s)
{
    GError *error = NULL;
    ScenarioNode *node = pick_node(s, true);
    if (node && went_well(s, store_undelete(s->store, node->id, &error), error)) {
        node->in_bin = false;
        add_moment(s);
    }
}

static void do_purge(Scenario *s)
{
    GError *error = NULL;
    ScenarioNode *node = pick_node(s, true);
    if (!node || !went_well(s, store_purge(s->store, node->id, &error), error))
        return;
    g_array_remove_index(s->nodes, (guint)(node - (ScenarioNode *)(void *)s->nodes->data));
    add_moment(s);
}

static void do_slice(Scenario *s)
{
    bool more;
    g_mutex_lock(&s->store->mutex);
    int result = store_space_ensure(s->store, 64);
    if (result == 0)
        result = store_purge_slice(s->store, &more);
    g_mutex_unlock(&s->store->mutex);
    g_assert_true(result == 0 || s->may_fail);
}

static void do_blob(Scenario *s)
{
    GError *error = NULL;
    uint32_t number = ++s->number, size = 4 * (1 + pick(s, 3000));
    g_autofree uint8_t *bytes = g_malloc(size);
    fill(bytes, size, number);
    g_autoptr(GBytes) data = g_bytes_new(bytes, size);
    g_hash_table_add(last_moment(s)->blobs, GUINT_TO_POINTER(number));
    if (went_well(s, store_blob_put(s->store, STORE_CURRENT, "nvram", data, &error), error))
        s->current.nvram = number;
}

void scenario_step(Scenario *s)
{
    static const struct {
        unsigned weight; // of 100
        void (*run)(Scenario *s);
    } steps[] = { { 56, do_write }, { 8, do_discard }, { 9, do_flush },    { 4, do_take },
                  { 3, do_live },   { 4, do_goto },    { 4, do_delete },   { 1, do_undelete },
                  { 4, do_purge },  { 4, do_slice },   { 3, do_blob } };
    uint32_t at = pick(s, 100);
    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (at < steps[i].weight) {
            steps[i].run(s);
            return;
        }
        at -= steps[i].weight;
    }
}

void scenario_start(Scenario *s, Store *store, uint32_t seed, uint64_t (*position)(void *opaque),
                    void *opaque)
{
    g_autoptr(GError) error = NULL;
    *s = (Scenario){ .store = store, .position = position, .opaque = opaque };
    s->rand = g_rand_new_with_seed(seed);
    s->nodes = g_array_new(FALSE, FALSE, sizeof(ScenarioNode));
    s->moments = g_ptr_array_new_with_free_func(free_moment);
    s->states = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; i < SCENARIO_DISKS; i++)
        store_volume_add(store, disks[i], STORE_DISK, SCENARIO_BLOCKS * 8 * STORE_BLOCK, NULL,
                         &error);
    g_assert_no_error(error);
    store_volume_add(store, "nvram", STORE_RECORD, 0, NULL, &error);
    g_assert_no_error(error);
    store_volume_add(store, "memory", STORE_STATE, SCENARIO_MEMORY * STORE_BLOCK, NULL, &error);
    g_assert_no_error(error);
    s->current.has_memory = true;
    add_moment(s);
}

void scenario_clear(Scenario *s)
{
    g_rand_free(s->rand);
    g_array_unref(s->nodes);
    g_ptr_array_unref(s->moments);
    g_ptr_array_unref(s->states);
}

// --- Comparing ---

static bool sector_matches(const ScenarioState *state, const ScenarioMoment *m, unsigned disk,
                           unsigned sector, uint32_t found)
{
    if (state->sectors[disk][sector] == found)
        return true;
    uint64_t key = key_of(disk, sector, found);
    return m && g_hash_table_contains(m->seen, &key);
}

static char *compare_disks(Store *store, StoreRecord *record, const ScenarioState *state,
                           const ScenarioMoment *m)
{
    uint8_t bytes[STORE_BLOCK];
    for (unsigned disk = 0; disk < SCENARIO_DISKS; disk++) {
        StoreDevice device = device_of(store, record, disks[disk]);
        for (unsigned block = 0; block < SCENARIO_BLOCKS; block++) {
            int result = store_data_sync(&device, BLOCK_READ, offset_of(block * 8), bytes,
                                         sizeof bytes);
            if (result < 0)
                return g_strdup_printf("disk %u block %u: %s", disk, block, g_strerror(-result));
            for (unsigned i = 0; i < 8; i++) {
                uint32_t found = number_in(bytes + i * 512, 512);
                if (!sector_matches(state, m, disk, block * 8 + i, found))
                    return g_strdup_printf("node %" G_GUINT64_FORMAT " disk %u sector %u: found "
                                           "%u, not %u", record->id, disk, block * 8 + i, found,
                                           state->sectors[disk][block * 8 + i]);
            }
        }
    }
    return NULL;
}

static char *compare_rest(Store *store, StoreRecord *record, const ScenarioState *state,
                          const ScenarioMoment *m)
{
    uint8_t page[STORE_BLOCK];
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) blob = store_blob_get(store, record->id, "nvram", &error);
    if (error && !g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
        return g_strdup(error->message);
    uint32_t number = blob ? number_in(g_bytes_get_data(blob, NULL), g_bytes_get_size(blob)) : 0;
    if (number != state->nvram && !(m && g_hash_table_contains(m->blobs, GUINT_TO_POINTER(number))))
        return g_strdup_printf("nvram %u, not %u", number, state->nvram);
    for (unsigned i = 0; i < SCENARIO_MEMORY && state->has_memory && record->id; i++) {
        StoreDevice device = device_of(store, record, "memory");
        int result = store_data_sync(&device, BLOCK_READ, i * (uint64_t)STORE_BLOCK, page,
                                     sizeof page);
        if (result < 0 || number_in(page, sizeof page) != state->memory[i])
            return g_strdup_printf("memory page %u of node %" G_GUINT64_FORMAT, i, record->id);
    }
    return NULL;
}

static char *compare_nodes(Store *store, const ScenarioMoment *m)
{
    g_autoptr(GPtrArray) list = store_node_list(store);
    if (list->len != m->nodes->len)
        return g_strdup_printf("%u nodes, not %u", list->len, m->nodes->len);
    for (unsigned i = 0; i < m->nodes->len; i++) {
        const ScenarioNode *node = &g_array_index(m->nodes, ScenarioNode, i);
        StoreRecord *record = store_record_find(store, node->id);
        if (!record || !(record->flags & NODE_IN_BIN) != !node->in_bin)
            return g_strdup_printf("node %" G_GUINT64_FORMAT " is missing", node->id);
        char *why = compare_disks(store, record, node->state, NULL);
        if (!why)
            why = compare_rest(store, record, node->state, NULL);
        if (why)
            return why;
    }
    return NULL;
}

// The store as of moment j, with what was written after moment k.
static char *compare_with(Store *store, const ScenarioMoment *k, const ScenarioMoment *j)
{
    bool whole = j != k && k->moved;
    char *why = store_position(store) == j->at ? NULL : g_strdup("current stands elsewhere");
    if (!why)
        why = compare_nodes(store, j);
    if (!why)
        why = compare_disks(store, store->current, whole ? j->current : k->current,
                            whole ? NULL : k);
    if (!why)
        why = compare_rest(store, store->current, whole ? j->current : k->current,
                           whole ? NULL : k);
    return why;
}

bool scenario_matches(const Scenario *s, Store *store, unsigned index, char **ret_why)
{
    const ScenarioMoment *k = s->moments->pdata[index];
    g_autofree char *first = compare_with(store, k, k);
    g_autofree char *second = NULL;
    if (!first)
        return true;
    if (index + 1 < s->moments->len) {
        second = compare_with(store, k, s->moments->pdata[index + 1]);
        if (!second)
            return true;
    }
    *ret_why = g_strdup_printf("moment %u: %s; next: %s", index, first, second ? second : "-");
    return false;
}
