// SPDX-License-Identifier: GPL-2.0-or-later
// Snapshots with memory in a store: taken while the guest writes, gone to from a machine that is
// off and from one that runs, given up half-way.
#include "engine/config/vm-folder.h"
#include "engine/devices/chipset/vm-generation.h"
#include "engine/machine-capture.h"
#include "engine/machine-private.h"
#include "engine/store-state.h"
#include "engine/store-taking.h"
#include "tests/unit/engine/state-box.h"

#include <glib/gstdio.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__ // much slower
#define ROUNDS 20000000u
#else
#define ROUNDS 60000000u
#endif
#define MIB (1024u * 1024u)

typedef struct {
    StateBox box;
    char *path;
    StoreTaking *taking;
    bool ended;
    char *message; // of a failure
    MachineCaptureStats stats;
} Fixture;

static void build(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_clear_pointer(&f->box.machine, machine_free);
    state_box_build(&f->box, NULL, &error);
    g_assert_no_error(error);
}

static void set_up(Fixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    uint8_t code[128];
    state_box_init(&f->box, code, state_box_sum_code(code, ROUNDS));
    f->path = g_build_filename(f->box.folder, VM_STORE_FILE, NULL);
    g_assert_true(store_create(f->path, &error));
    StoreOpen options = { .path = f->path };
    Store *store = store_open(&options, &error);
    g_assert_true(store_volume_add(store, "disk0", STORE_DISK, MIB, NULL, &error));
    store_close(store);
    g_assert_true(config_set_assignment(f->box.config, "disk0.path=snapshots.store", NULL));
    build(f);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    g_clear_pointer(&f->box.machine, machine_free);
    g_unlink(f->path);
    state_box_clear(&f->box);
    g_free(f->path);
    g_free(f->message);
}

static Store *store_of(Fixture *f)
{
    return machine_store(f->box.machine);
}

static bool freeze(void *opaque, GError **error)
{
    Fixture *f = opaque;
    g_assert_false(machine_is_running(f->box.machine));
    return store_taking_freeze(f->taking, error);
}

static void done(void *opaque, const GError *error, const MachineCaptureStats *stats)
{
    Fixture *f = opaque;
    f->ended = true;
    g_free(f->message);
    f->message = error ? g_strdup(error->message) : NULL;
    f->stats = *stats;
    g_main_loop_quit(f->box.loop);
}

static MachineCapture *begin(Fixture *f, const char *name)
{
    StoreTake take = { .name = name };
    f->taking = store_taking_new(store_of(f), &take, NULL);
    f->ended = false;
    MachineCaptureConfig config = { .machine = f->box.machine,
                                    .sink = store_taking_sink(f->taking),
                                    .freeze = freeze, .done = done, .opaque = f };
    return machine_capture_new(&config);
}

static StoreNodeId end(Fixture *f, MachineCapture *capture)
{
    while (!f->ended)
        g_main_loop_run(f->box.loop);
    machine_capture_free(capture);
    StoreNodeId id = store_taking_id(f->taking);
    g_clear_pointer(&f->taking, store_taking_free);
    return id;
}

static StoreNodeId take(Fixture *f, const char *name)
{
    StoreNodeId id = end(f, begin(f, name));
    g_assert_cmpstr(f->message, ==, NULL);
    return id;
}

static void run_for(Fixture *f, unsigned ms)
{
    if (!machine_is_running(f->box.machine))
        machine_run(f->box.machine);
    state_box_run_for(&f->box, ms);
}

static void run_to_the_end(Fixture *f)
{
    f->box.exited = false;
    if (!machine_is_running(f->box.machine))
        machine_run(f->box.machine);
    state_box_run_until_exit(&f->box);
    g_assert_cmphex(f->box.value, ==, state_box_result(ROUNDS));
}

static void go_to(Fixture *f, StoreNodeId id)
{
    g_autoptr(GError) error = NULL;
    if (machine_is_running(f->box.machine))
        machine_pause(f->box.machine);
    machine_drain(f->box.machine);
    g_assert_true(store_goto(store_of(f), id, NULL, NULL, &error));
    machine_load_from_store(f->box.machine, &error);
    g_assert_no_error(error);
}

static void check_store(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_auto(StoreReport) report = { 0 };
    g_assert_true(store_check(store_of(f), false, &report, &error));
    g_assert_cmpuint(store_report_problems(&report), ==, 0);
}

static uint8_t *ram_copy(Fixture *f)
{
    return g_memdup2(f->box.machine->ram->host, f->box.machine->ram->size);
}

// From the running machine, several times, to and fro; and the guest comes to the right result each
// time.
static void live(Fixture *f, gconstpointer unused)
{
    run_for(f, 100);
    StoreNodeId first = take(f, "first");
    g_assert_true(machine_is_running(f->box.machine));
    run_for(f, 50);
    StoreNodeId second = take(f, "second");
    run_to_the_end(f);
    for (unsigned i = 0; i < 4; i++) {
        go_to(f, i % 2 ? second : first);
        run_for(f, 20);
    }
    run_to_the_end(f);
    check_store(f);
}

// Every byte of memory is as it was.
static void whole(Fixture *f, gconstpointer unused)
{
    run_for(f, 100);
    machine_pause(f->box.machine);
    memset(f->box.machine->ram->host + 8 * MIB, 0x77, MIB);       // a large piece
    for (unsigned at = 16 * MIB; at < 20 * MIB; at += 3 * 4096)    // many small ones
        memset(f->box.machine->ram->host + at, (int)(at >> 12), 4096);
    g_autofree uint8_t *before = ram_copy(f);
    StoreNodeId first = take(f, "first");
    memset(f->box.machine->ram->host + 8 * MIB, 0, MIB / 2);       // zero again
    memset(f->box.machine->ram->host + 24 * MIB, 1, MIB);
    g_autofree uint8_t *after = ram_copy(f);
    StoreNodeId second = take(f, "second");
    size_t size = f->box.machine->ram->size;
    go_to(f, first);
    g_assert_true(memcmp(before, f->box.machine->ram->host, size) == 0);
    go_to(f, second);
    g_assert_true(memcmp(after, f->box.machine->ram->host, size) == 0);
    // Written to in memory, not in the store.
    memset(f->box.machine->ram->host + 8 * MIB, 9, MIB);
    go_to(f, first);
    g_assert_true(memcmp(before, f->box.machine->ram->host, size) == 0);
    check_store(f);
}

// What the snapshot before has is not written again.
static void shared(Fixture *f, gconstpointer unused)
{
    memset(f->box.machine->ram->host + 8 * MIB, 0x55, 16 * MIB);
    StoreNodeId first = take(f, "first");
    memset(f->box.machine->ram->host + 9 * MIB, 0x56, 64 * 1024);
    StoreNodeId second = take(f, "second");
    StoreSize size;
    g_assert_true(store_node_size(store_of(f), first, &size, NULL));
    g_assert_cmpuint(size.own, <, 2 * MIB);
    g_assert_cmpuint(size.shared, >, 15 * MIB);
    g_assert_true(store_node_size(store_of(f), second, &size, NULL));
    g_assert_cmpuint(size.own, <, 2 * MIB);
}

// From a machine that is off: it goes on where the snapshot was taken, once.
static void from_off(Fixture *f, gconstpointer unused)
{
    run_for(f, 100);
    StoreNodeId id = take(f, "node");
    run_for(f, 20);
    machine_pause(f->box.machine);
    g_assert_true(store_goto(store_of(f), id, NULL, NULL, NULL));
    build(f);
    g_assert_true(machine_is_resumed(f->box.machine));
    g_assert_true(machine_use_state(f->box.machine, NULL));
    run_to_the_end(f);
    build(f);
    g_assert_false(machine_is_resumed(f->box.machine));
}

// The node is deleted for good before the machine starts: memory is current's then.
static void node_is_gone(Fixture *f, gconstpointer unused)
{
    run_for(f, 100);
    StoreNodeId id = take(f, "node");
    machine_pause(f->box.machine);
    g_assert_true(store_goto(store_of(f), id, NULL, NULL, NULL));
    g_assert_true(store_delete(store_of(f), id, NULL));
    g_assert_true(store_purge(store_of(f), id, NULL));
    g_assert_true(store_purge_wait(store_of(f), NULL, NULL));
    build(f);
    g_assert_true(machine_is_resumed(f->box.machine));
    g_assert_true(machine_use_state(f->box.machine, NULL));
    run_for(f, 20);
    take(f, "again"); // into the image that was read
    run_to_the_end(f);
    check_store(f);
}

// The node that memory is mapped from is deleted for good while the guest runs, and its room is
// wanted by others.
static void deleted_while_it_runs(Fixture *f, gconstpointer unused)
{
    run_for(f, 100);
    StoreNodeId id = take(f, "node");
    go_to(f, id);
    g_assert_true(store_delete(store_of(f), id, NULL));
    g_assert_true(store_purge(store_of(f), id, NULL));
    run_for(f, 20);
    for (unsigned i = 0; i < 3; i++) {
        memset(f->box.machine->ram->host + 8 * MIB, (int)i + 1, 8 * MIB);
        take(f, "other");
    }
    run_to_the_end(f);
    check_store(f);
}

static void cancelled(Fixture *f, gconstpointer unused)
{
    machine_run(f->box.machine);
    for (unsigned ms = 0; ms < 60; ms += 10) {
        MachineCapture *capture = begin(f, "none");
        if (ms)
            state_box_run_for(&f->box, ms);
        if (!f->ended)
            machine_capture_cancel(capture);
        end(f, capture);
        g_assert_true(machine_is_running(f->box.machine));
    }
    g_autoptr(GPtrArray) nodes = store_node_list(store_of(f));
    g_assert_cmpuint(nodes->len, <, 6);
    take(f, "one");
    run_to_the_end(f);
    check_store(f);
}

// The engine is gone in the middle of a take: no half snapshot, and the disks are there.
static void freed_half_way(Fixture *f, gconstpointer unused)
{
    machine_run(f->box.machine);
    for (unsigned ms = 5; ms < 40; ms += 10) {
        MachineCapture *capture = begin(f, "none");
        state_box_run_for(&f->box, ms);
        machine_capture_free(capture);
        g_clear_pointer(&f->taking, store_taking_free);
        build(f);
        g_assert_false(machine_is_resumed(f->box.machine));
        check_store(f);
        machine_run(f->box.machine);
    }
}

// A branch in a store of its own, made while the machine has its store open, goes on from the node.
static void branch(Fixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    Fixture other = { 0 };
    uint8_t code[128];
    state_box_init(&other.box, code, state_box_sum_code(code, ROUNDS));
    other.path = g_build_filename(other.box.folder, VM_STORE_FILE, NULL);
    run_for(f, 100);
    StoreNodeId node = take(f, "node");
    g_assert_true(store_set_protected(store_of(f), node, true, &error));
    run_for(f, 20);
    const StoreTake first = { .name = "First" };
    StoreOpen reading = { .path = f->path, .read_only = true };
    Store *reader = store_open(&reading, &error);
    store_branch(reader, node, &first, other.path, &error);
    g_assert_no_error(error);
    store_close(reader);
    machine_pause(f->box.machine);

    g_assert_true(config_set_assignment(other.box.config, "disk0.path=snapshots.store", NULL));
    build(&other);
    g_assert_true(machine_is_resumed(other.box.machine));
    uint8_t id[VM_GENERATION_SIZE], branch_id[VM_GENERATION_SIZE];
    vm_generation_get(f->box.machine->generation, id);
    vm_generation_get(other.box.machine->generation, branch_id);
    g_assert_true(memcmp(id, branch_id, sizeof id) != 0);
    g_assert_true(machine_use_state(other.box.machine, NULL));
    run_for(&other, 20);
    StoreNodeId later = take(&other, "later"); // writes what differs from the node
    run_to_the_end(&other);
    go_to(&other, later);
    run_to_the_end(&other);
    go_to(&other, 1); // its birth
    run_to_the_end(&other);
    check_store(&other);
    run_to_the_end(f);
    check_store(f);
    tear_down(&other, NULL);
}

// What the guest sees is what is returned.
static void read_generation(Fixture *f, uint8_t ret_id[VM_GENERATION_SIZE])
{
    vm_generation_get(f->box.machine->generation, ret_id);
    uint8_t seen[VM_GENERATION_SIZE];
    g_assert_true(guest_memory_read(f->box.machine->memory, VM_GENERATION_ADDRESS, seen,
                                    sizeof seen));
    g_assert_cmpmem(seen, sizeof seen, ret_id, VM_GENERATION_SIZE);
}

// Whether it differs from the one that was read last.
static bool generation_changed(Fixture *f, uint8_t last[VM_GENERATION_SIZE])
{
    uint8_t id[VM_GENERATION_SIZE];
    read_generation(f, id);
    bool changed = memcmp(id, last, sizeof id) != 0;
    memcpy(last, id, sizeof id);
    return changed;
}

// The generation ID tells the guest when its time is repeated, and only then.
static void generation(Fixture *f, gconstpointer unused)
{
    uint8_t id[VM_GENERATION_SIZE], at_node[VM_GENERATION_SIZE];
    run_for(f, 20);
    read_generation(f, id);
    machine_pause(f->box.machine);
    run_for(f, 20);
    StoreNodeId node = take(f, "node");
    machine_reset(f->box.machine, true);
    g_assert_false(generation_changed(f, id));
    build(f); // off, and on again
    g_assert_false(generation_changed(f, id));
    memcpy(at_node, id, sizeof id);

    go_to(f, node);
    g_assert_true(generation_changed(f, id));
    go_to(f, node);
    g_assert_true(generation_changed(f, id));
    build(f);
    g_assert_false(generation_changed(f, id));

    machine_drain(f->box.machine); // while it is off, and its state is gone
    g_assert_true(store_goto(store_of(f), node, NULL, NULL, NULL));
    g_assert_true(store_remove_state(store_of(f), NULL));
    build(f);
    g_assert_true(generation_changed(f, id));
    g_assert_true(memcmp(id, at_node, sizeof id) != 0);
    build(f);
    g_assert_false(generation_changed(f, id));

    g_assert_true(store_goto(store_of(f), node, NULL, NULL, NULL));
    build(f); // goes on from the state
    g_assert_true(generation_changed(f, id));
    g_assert_true(machine_use_state(f->box.machine, NULL));
    build(f);
    g_assert_false(generation_changed(f, id));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    ADD("/machine-snapshot/live", live);
    ADD("/machine-snapshot/whole", whole);
    ADD("/machine-snapshot/shared", shared);
    ADD("/machine-snapshot/from-off", from_off);
    ADD("/machine-snapshot/node-is-gone", node_is_gone);
    ADD("/machine-snapshot/deleted-while-it-runs", deleted_while_it_runs);
    ADD("/machine-snapshot/cancelled", cancelled);
    ADD("/machine-snapshot/freed-half-way", freed_half_way);
    ADD("/machine-snapshot/branch", branch);
    ADD("/machine-snapshot/generation", generation);
    return g_test_run();
}
