// SPDX-License-Identifier: GPL-2.0-or-later
// States that are written while the guest runs and writes, into memory and into a machine's folder.
#include "engine/machine-capture.h"
#include "engine/config/vm-folder.h"
#include "engine/machine-private.h"
#include "engine/suspend-file.h"
#include "tests/unit/engine/state-box.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__ // much slower
#define ROUNDS 60000000u
#else
#define ROUNDS 200000000u
#endif

typedef struct {
    StateBox box;
    HeldState held;
    SuspendFile *file;
    bool ended, failed;
    char *message;
    unsigned freezes;
    double progress;
    MachineCaptureStats stats;
} Fixture;

static void build(Fixture *f, const MachineStateSource *resume)
{
    g_autoptr(GError) error = NULL;
    g_clear_pointer(&f->box.machine, machine_free);
    state_box_build(&f->box, resume, &error);
    g_assert_no_error(error);
}

static void set_up(Fixture *f, gconstpointer unused)
{
    uint8_t code[128];
    state_box_init(&f->box, code, state_box_sum_code(code, ROUNDS));
    build(f, NULL);
}

static void open_file(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->file = suspend_file_open(f->box.folder, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    g_clear_pointer(&f->box.machine, machine_free);
    suspend_file_close(f->file);
    vm_folder_discard_state(f->box.folder, NULL);
    held_state_clear(&f->held);
    state_box_clear(&f->box);
    g_free(f->message);
}

static bool freeze(void *opaque, GError **error)
{
    Fixture *f = opaque;
    g_assert_false(machine_is_running(f->box.machine));
    f->freezes++;
    return true;
}

static bool refuse_to_freeze(void *opaque, GError **error)
{
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED, "the disks do not freeze");
    return false;
}

static void progress(void *opaque, double fraction)
{
    Fixture *f = opaque;
    g_assert_cmpfloat(fraction, >=, f->progress);
    f->progress = fraction;
}

static void done(void *opaque, const GError *error, const MachineCaptureStats *stats)
{
    Fixture *f = opaque;
    f->ended = true;
    f->failed = error != NULL;
    f->message = error ? g_strdup(error->message) : NULL;
    f->stats = *stats;
    g_main_loop_quit(f->box.loop);
}

static MachineCaptureConfig capture_config(Fixture *f, const MachineStateSink *sink, bool stop)
{
    return (MachineCaptureConfig){ .machine = f->box.machine, .sink = *sink, .stay_stopped = stop,
                                   .freeze = freeze, .progress = progress, .done = done,
                                   .opaque = f };
}

static void capture(Fixture *f, const MachineCaptureConfig *config)
{
    MachineCapture *capture = machine_capture_new(config);
    f->ended = f->failed = false;
    f->progress = 0;
    while (!f->ended)
        g_main_loop_run(f->box.loop);
    machine_capture_free(capture);
}

static void run_to_the_end(Fixture *f)
{
    if (!machine_is_running(f->box.machine))
        machine_run(f->box.machine);
    state_box_run_until_exit(&f->box);
    g_assert_cmphex(f->box.value, ==, state_box_result(ROUNDS));
}

// The guest runs on undisturbed; the state goes on from where it was taken.
static void live(Fixture *f, gconstpointer unused)
{
    machine_run(f->box.machine);
    state_box_run_for(&f->box, 100);
    MachineStateSink sink = held_state_sink(&f->held);
    MachineCaptureConfig config = capture_config(f, &sink, false);
    capture(f, &config);
    g_assert_false(f->failed);
    g_assert_cmpuint(f->freezes, ==, 1);
    g_assert_cmpuint(f->stats.rounds, >=, 3);
    g_assert_cmpuint(f->held.hot_count, >, 0);
    g_assert_true(machine_is_running(f->box.machine));
    g_assert_false(f->box.exited);
    g_test_message("pause %" G_GINT64_FORMAT " us, longest %" G_GINT64_FORMAT " us, %u rounds, %"
                   G_GUINT64_FORMAT " pages in the pause", f->stats.final_pause,
                   f->stats.longest_pause, f->stats.rounds, f->stats.final_pages);
    run_to_the_end(f);
    f->box.exited = false;
    build(f, &f->held.source);
    run_to_the_end(f);
}

static void suspend_and_resume(Fixture *f, gconstpointer unused)
{
    for (unsigned round = 0; round < 4; round++) {
        open_file(f);
        const MachineStateSource *source = suspend_file_source(f->file);
        g_assert_true(round == 0 ? source == NULL : source != NULL);
        build(f, source);
        if (source) {
            g_assert_true(source->consume(source->opaque, NULL));
            g_assert_false(vm_folder_is_suspended(f->box.folder));
        }
        machine_run(f->box.machine);
        state_box_run_for(&f->box, round ? 50 : 100);
        g_assert_false(f->box.exited);
        MachineCaptureConfig config = capture_config(f, suspend_file_sink(f->file), true);
        capture(f, &config);
        g_assert_false(f->failed);
        g_assert_false(machine_is_running(f->box.machine));
        g_assert_true(vm_folder_is_suspended(f->box.folder));
        g_clear_pointer(&f->box.machine, machine_free);
        g_clear_pointer(&f->file, suspend_file_close);
        suspend_file_tidy(f->box.folder);
    }
    open_file(f);
    build(f, suspend_file_source(f->file));
    run_to_the_end(f);
}

static void failing_sink(Fixture *f, gconstpointer unused)
{
    machine_run(f->box.machine);
    state_box_run_for(&f->box, 500);
    MachineStateSink sink = held_state_sink(&f->held);
    f->held.fail_after = 2;
    MachineCaptureConfig config = capture_config(f, &sink, true);
    capture(f, &config);
    g_assert_true(f->failed && f->held.discarded);
    g_assert_nonnull(strstr(f->message, "no room"));
    g_assert_true(machine_is_running(f->box.machine));
    run_to_the_end(f);
}

static void failing_freeze(Fixture *f, gconstpointer unused)
{
    machine_run(f->box.machine);
    state_box_run_for(&f->box, 500);
    MachineStateSink sink = held_state_sink(&f->held);
    MachineCaptureConfig config = capture_config(f, &sink, true);
    config.freeze = refuse_to_freeze;
    capture(f, &config);
    g_assert_true(f->failed && f->held.discarded);
    g_assert_true(machine_is_running(f->box.machine));
    run_to_the_end(f);
}

static void given_up(Fixture *f, gconstpointer unused)
{
    MachineStateSink sink = held_state_sink(&f->held);
    MachineCaptureConfig config = capture_config(f, &sink, false);
    machine_run(f->box.machine);
    for (unsigned ms = 0; ms < 40; ms += 10) {
        f->held.discarded = f->ended = false;
        MachineCapture *capture = machine_capture_new(&config);
        if (ms)
            state_box_run_for(&f->box, ms);
        machine_capture_free(capture);
        // It may have been complete already, and nobody told yet.
        g_assert_true(f->held.discarded == !f->held.form);
        held_state_clear(&f->held);
    }
    run_to_the_end(f);
}

// A machine that stands still can be saved too, and stays so.
static void paused(Fixture *f, gconstpointer unused)
{
    machine_run(f->box.machine);
    state_box_run_for(&f->box, 600);
    machine_pause(f->box.machine);
    MachineStateSink sink = held_state_sink(&f->held);
    MachineCaptureConfig config = capture_config(f, &sink, false);
    capture(f, &config);
    g_assert_false(f->failed);
    g_assert_false(machine_is_running(f->box.machine));
    build(f, &f->held.source);
    run_to_the_end(f);
}

static void save_into_file(Fixture *f)
{
    open_file(f);
    MachineCaptureConfig config = capture_config(f, suspend_file_sink(f->file), true);
    capture(f, &config);
    g_assert_false(f->failed);
    g_clear_pointer(&f->file, suspend_file_close);
}

// Every bit of the head counts; where the file is cut off it is no state, and nobody maps it.
static void damaged_file(Fixture *f, gconstpointer unused)
{
    save_into_file(f);
    g_autofree char *path = vm_folder_state_path(f->box.folder, 0);
    int fd = g_open(path, O_RDWR, 0);
    uint8_t byte;
    for (off_t at = 8; at < 1024; at += 1) {
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(pread(fd, &byte, 1, at), ==, 1);
        byte ^= 0x10;
        g_assert_cmpint(pwrite(fd, &byte, 1, at), ==, 1);
        g_assert_null(suspend_file_open(f->box.folder, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
        byte ^= 0x10;
        g_assert_cmpint(pwrite(fd, &byte, 1, at), ==, 1);
    }
    off_t end = lseek(fd, 0, SEEK_END);
    for (off_t size = end - 1; size > 4096; size = size * 2 / 3) {
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(ftruncate(fd, size), ==, 0);
        g_assert_null(suspend_file_open(f->box.folder, &error));
        g_assert_nonnull(strstr(error->message, "cut off"));
    }
    close(fd);
}

// The engine dies while it writes: what was there before the last page is no state.
static void cut_before_commit(Fixture *f, gconstpointer unused)
{
    open_file(f);
    MachineStateSink sink = *suspend_file_sink(f->file);
    const uint64_t sizes[MACHINE_MEMORY_BLOCKS] = { 1 << 20, 1 << 20 };
    static uint8_t page[4096] = { 1 };
    g_assert_true(sink.begin(sink.opaque, sizes, NULL));
    g_assert_true(sink.pages(sink.opaque, MACHINE_MEMORY_RAM, 4096, page, 4096, NULL));
    g_clear_pointer(&f->file, suspend_file_close);
    g_assert_false(vm_folder_is_suspended(f->box.folder));
    open_file(f);
    g_assert_null(suspend_file_source(f->file));
}

static void locked(Fixture *f, gconstpointer unused)
{
    open_file(f);
    g_autoptr(GError) error = NULL;
    g_assert_null(suspend_file_open(f->box.folder, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_BUSY);
    suspend_file_tidy(f->box.folder); // leaves them alone
    g_autofree char *path = vm_folder_state_path(f->box.folder, 0);
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    ADD("/machine-capture/live", live);
    ADD("/machine-capture/suspend-and-resume", suspend_and_resume);
    ADD("/machine-capture/paused", paused);
    ADD("/machine-capture/failing-sink", failing_sink);
    ADD("/machine-capture/failing-freeze", failing_freeze);
    ADD("/machine-capture/given-up", given_up);
    ADD("/suspend-file/damaged", damaged_file);
    ADD("/suspend-file/cut-before-commit", cut_before_commit);
    ADD("/suspend-file/locked", locked);
    return g_test_run();
}
