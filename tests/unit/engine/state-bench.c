// SPDX-License-Identifier: GPL-2.0-or-later
// state-bench [MEMORY [ENGINE [FOLDER]]]: how long a machine with all its memory in use stands
// still while its state is taken, and how long it takes to go on from one. The guest writes all the
// while.
#include "engine/config/vm-folder.h"
#include "engine/machine-capture.h"
#include "engine/machine-private.h"
#include "engine/suspend-file.h"
#include "tests/unit/engine/state-box.h"

#include <stdio.h>
#include <string.h>

#define FIRMWARE_END (16u << 20) // pages below stay as firmware and boot sector have them
#define TAKES 3

typedef struct {
    StateBox box;
    bool ended;
    MachineCaptureStats stats;
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

static void take(Bench *bench, SuspendFile *file, bool stop)
{
    MachineCaptureConfig config = { .machine = bench->box.machine,
                                    .sink = *suspend_file_sink(file),
                                    .stay_stopped = stop,
                                    .done = done,
                                    .opaque = bench };
    bench->ended = false;
    MachineCapture *capture = machine_capture_new(&config);
    while (!bench->ended)
        g_main_loop_run(bench->box.loop);
    machine_capture_free(capture);
    const MachineCaptureStats *s = &bench->stats;
    printf("%-8s pause %7.2f ms (work %5.2f ms), longest %7.2f ms, %2u rounds, %5" G_GUINT64_FORMAT
           " pages at the end, %5" G_GUINT64_FORMAT " MiB in %6.0f ms\n",
           stop ? "suspend" : "live", (double)s->final_pause / 1e3,
           (double)s->final_work / 1e3,
           (double)s->longest_pause / 1e3, s->rounds, s->final_pages, s->bytes >> 20,
           (double)s->duration / 1e3);
}

static void resume(Bench *bench, SuspendFile *file)
{
    int64_t start = g_get_monotonic_time();
    const MachineStateSource *source = suspend_file_source(file);
    build(bench, source);
    int64_t built = g_get_monotonic_time();
    if (!source->consume(source->opaque, NULL))
        g_error("the state cannot be used up");
    machine_run(bench->box.machine);
    VcpuStats stats = { 0 };
    int64_t now = g_get_monotonic_time();
    while (!stats.instructions && now < built + 2000000) {
        machine_stats(bench->box.machine, &stats);
        now = g_get_monotonic_time();
    }
    printf("resume   %.1f ms to the machine, %.1f ms to instruction %" G_GUINT64_FORMAT "\n",
           (double)(built - start) / 1e3, (double)(now - start) / 1e3, stats.instructions);
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
    build(&bench, NULL);
    memset(bench.box.machine->ram->host + FIRMWARE_END, 0x5a,
           bench.box.machine->ram->size - FIRMWARE_END);
    machine_run(bench.box.machine);
    state_box_run_for(&bench.box, 1500);
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
