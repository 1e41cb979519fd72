// SPDX-License-Identifier: GPL-2.0-or-later
// state-bench [MEMORY [ENGINE [FOLDER [store]]]]: how long a machine with all its memory in use
// stands still while its state is taken, and how long it takes to go on from one. The guest writes
// all the while. With "store": snapshots with memory, and going to one, instead of suspending.
#include "engine/config/vm-folder.h"
#include "engine/machine-capture.h"
#include "engine/machine-private.h"
#include "engine/store-taking.h"
#include "engine/suspend-file.h"
#include "tests/unit/engine/state-box.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIRMWARE_END (16u << 20) // pages below stay as firmware and boot sector have them
#define TAKES 3

typedef struct {
    StateBox box;
    bool ended;
    MachineCaptureStats stats;
    StoreTaking *taking;
} Bench;

static void done(void *opaque, const GError *error, const MachineCaptureStats *stats)
{
    Bench *bench = opaque;
    if (error)
        g_error("%s", error->message);
    bench->ended = true;
    bench->stats = *stats;
    g_main_loop_quit(bench->box.loop);
}

static void build(Bench *bench, const MachineStateSource *resume)
{
    g_autoptr(GError) error = NULL;
    state_box_build(&bench->box, resume, &error);
    if (error)
        g_error("%s", error->message);
}

static void set(Bench *bench, const char *key, const char *value)
{
    g_autoptr(GError) error = NULL;
    if (!config_set(bench->box.config, key, value, &error))
        g_error("%s", error->message);
}

static void capture(Bench *bench, const MachineCaptureConfig *config, const char *what)
{
    bench->ended = false;
    MachineCapture *capture = machine_capture_new(config);
    while (!bench->ended)
        g_main_loop_run(bench->box.loop);
    machine_capture_free(capture);
    const MachineCaptureStats *s = &bench->stats;
    printf("%-8s pause %7.2f ms (work %5.2f ms), longest %7.2f ms, %2u rounds, %5" G_GUINT64_FORMAT
           " pages at the end, %5" G_GUINT64_FORMAT " MiB in %6.0f ms\n", what,
           (double)s->final_pause / 1e3, (double)s->final_work / 1e3,
           (double)s->longest_pause / 1e3, s->rounds, s->final_pages, s->bytes >> 20,
           (double)s->duration / 1e3);
}

static void take(Bench *bench, SuspendFile *file, bool stop)
{
    MachineCaptureConfig config = { .machine = bench->box.machine,
                                    .sink = *suspend_file_sink(file),
                                    .stay_stopped = stop,
                                    .done = done,
                                    .opaque = bench };
    capture(bench, &config, stop ? "suspend" : "live");
}

static bool freeze(void *opaque, GError **error)
{
    return store_taking_freeze(((Bench *)opaque)->taking, error);
}

static StoreNodeId take_into_store(Bench *bench)
{
    StoreTake take = { .name = "bench" };
    bench->taking = store_taking_new(machine_store(bench->box.machine), &take, NULL);
    MachineCaptureConfig config = { .machine = bench->box.machine,
                                    .sink = store_taking_sink(bench->taking),
                                    .freeze = freeze,
                                    .done = done,
                                    .opaque = bench };
    capture(bench, &config, "snapshot");
    StoreNodeId id = store_taking_id(bench->taking);
    printf("         %" G_GUINT64_FORMAT " MiB of it were new\n",
           store_taking_written(bench->taking) >> 20);
    store_taking_free(bench->taking);
    return id;
}

// Until the guest has executed an instruction.
static void run_on(Bench *bench, const char *what, int64_t start, int64_t built)
{
    VcpuStats before = { 0 }, stats;
    machine_stats(bench->box.machine, &before);
    machine_run(bench->box.machine);
    int64_t now;
    do {
        machine_stats(bench->box.machine, &stats);
        now = g_get_monotonic_time();
    } while (stats.instructions == before.instructions && now < built + 2000000);
    printf("%-8s %.1f ms to the machine, %.1f ms to instruction %" G_GUINT64_FORMAT "\n", what,
           (double)(built - start) / 1e3, (double)(now - start) / 1e3,
           stats.instructions - before.instructions);
}

static void resume(Bench *bench, SuspendFile *file)
{
    int64_t start = g_get_monotonic_time();
    const MachineStateSource *source = suspend_file_source(file);
    build(bench, source);
    int64_t built = g_get_monotonic_time();
    if (!source->consume(source->opaque, NULL))
        g_error("the state cannot be used up");
    run_on(bench, "resume", start, built);
}

// Microseconds of the processor that this thread has had.
static int64_t thread_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

static void go_to(Bench *bench, StoreNodeId id)
{
    g_autoptr(GError) error = NULL;
    int64_t start = g_get_monotonic_time(), work = thread_time();
    machine_pause(bench->box.machine);
    machine_drain(bench->box.machine);
    if (!store_goto(machine_store(bench->box.machine), id, NULL, NULL, &error) ||
        !machine_load_from_store(bench->box.machine, &error))
        g_error("%s", error->message);
    printf("         %.1f ms of work\n", (double)(thread_time() - work) / 1e3);
    run_on(bench, "go to", start, g_get_monotonic_time());
}

static void make_store(Bench *bench, const char *path)
{
    g_autoptr(GError) error = NULL;
    StoreOpen options = { .path = path };
    Store *store = store_create(path, &error) ? store_open(&options, &error) : NULL;
    if (!store || !store_volume_add(store, "disk0", STORE_DISK, 1 << 20, NULL, &error))
        g_error("%s", error->message);
    store_close(store);
    set(bench, "disk0.path", path);
}

static void run_with_store(Bench *bench)
{
    StoreNodeId id = 0;
    for (unsigned i = 0; i < TAKES; i++)
        id = take_into_store(bench);
    for (unsigned i = 0; i < TAKES; i++) {
        state_box_run_for(&bench->box, 500);
        go_to(bench, id);
    }
}

int main(int argc, char **argv)
{
    Bench bench = { .ended = false };
    setlinebuf(stdout);
    uint8_t code[128];
    g_autoptr(GError) error = NULL;
    state_box_init(&bench.box, code, state_box_sum_code(code, UINT32_MAX));
    set(&bench, "memory.size", argc > 1 ? argv[1] : "2G");
    set(&bench, "cpu.engine", argc > 2 ? argv[2] : "interpreter");
    set(&bench, "display.vram", "16M");
    const char *folder = argc > 3 ? argv[3] : bench.box.folder;
    g_autofree char *store = argc > 4 ? g_build_filename(folder, "bench.store", NULL) : NULL;
    if (store)
        make_store(&bench, store);
    build(&bench, NULL);
    memset(bench.box.machine->ram->host + FIRMWARE_END, 0x5a,
           bench.box.machine->ram->size - FIRMWARE_END);
    machine_run(bench.box.machine);
    state_box_run_for(&bench.box, 1500);
    if (store) {
        run_with_store(&bench);
        g_unlink(store);
        state_box_clear(&bench.box);
        return 0;
    }
    for (unsigned i = 0; i < TAKES; i++) {
        SuspendFile *file = suspend_file_open(folder, &error);
        if (!file)
            g_error("%s", error->message);
        take(&bench, file, i == TAKES - 1);
        if (i == TAKES - 1)
            g_clear_pointer(&bench.box.machine, machine_free);
        suspend_file_close(file);
    }
    SuspendFile *file = suspend_file_open(folder, &error);
    if (!file)
        g_error("%s", error->message);
    resume(&bench, file);
    machine_free(g_steal_pointer(&bench.box.machine));
    suspend_file_close(file);
    vm_folder_discard_state(folder, NULL);
    state_box_clear(&bench.box);
    return 0;
}
