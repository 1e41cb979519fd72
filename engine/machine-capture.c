// SPDX-License-Identifier: GPL-2.0-or-later
// Two threads: a writer of our own, which reads guest memory and feeds the sink, and the main
// thread, which alone may stop and start the machine. The writer asks for a step (ask_main) and
// sleeps until it is done; only one of the two works on the capture at a time.
//
// Between rounds the machine stops for the time that it takes to look at the write log: CPUs give
// up their right to write to pages unseen before anybody reads those pages, so a write is either in
// what is read or in the next round.
#include "engine/machine-capture.h"

#include "engine/machine-private.h"

#include <gio/gio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define RUN_MAX (256u * 1024)  // bytes given to the sink at once
#define FINAL_PAGES 2048u      // as few as this are left for the pause: 8 MiB, a few ms
#define ROUNDS_MAX 12u
#define SETTLES_MAX 3u
#define HOT_MAX 16384u         // pages: 64 MiB
#define PROGRESS_STEP (8u << 20)

typedef enum { STEP_NONE, STEP_TAKE, STEP_FINAL } Step;

struct MachineCapture {
    MachineCaptureConfig config;
    uint64_t size[MACHINE_MEMORY_BLOCKS];
    uint8_t *host[MACHINE_MEMORY_BLOCKS];
    int64_t start;
    bool stopped; // by us, for good
    GThread *thread;
    uint8_t *buffer; // RUN_MAX; the writer's
    uint64_t *written; // bit a page of RAM: the sink has data there
    uint64_t *bitmap;  // bit a page of RAM: of the present round
    uint64_t *recent;  // bit a page of RAM: written in the rounds after the first
    uint64_t reported; // bytes, at the last progress
    MachineCaptureStats stats;

    // Filled in the pause.
    uint8_t *aside;         // pages of RAM in the order of bitmap
    uint64_t aside_room;    // in pages
    uint8_t *video;         // all of it
    StateForm *form;

    GMutex lock;
    GCond changed;
    Step step;          // what the main thread is asked to do
    double fraction;    // done
    bool cancelled;
    bool step_failed;
    bool step_again; // something had to be done before the machine could be saved
    uint64_t step_pages;
    GError *error;
};

static uint64_t words_of(const MachineCapture *capture)
{
    return (capture->size[MACHINE_MEMORY_RAM] / PAGE + 63) / 64;
}

static bool bit(const uint64_t *bitmap, uint64_t page)
{
    return bitmap[page / 64] >> page % 64 & 1;
}

static bool is_cancelled(MachineCapture *capture)
{
    g_mutex_lock(&capture->lock);
    bool cancelled = capture->cancelled;
    g_mutex_unlock(&capture->lock);
    return cancelled;
}

// ---- The main thread's part ----

// Microseconds of the processor that this thread has had.
static int64_t thread_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

static int64_t pause_machine(MachineCapture *capture)
{
    int64_t start = g_get_monotonic_time();
    if (capture->config.machine->running)
        machine_pause(capture->config.machine);
    return start;
}

static void end_pause(MachineCapture *capture, int64_t start, bool run)
{
    if (run)
        machine_run(capture->config.machine);
    int64_t pause = g_get_monotonic_time() - start;
    if (capture->form && !capture->stats.final_pause)
        capture->stats.final_pause = pause;
    capture->stats.longest_pause = MAX(capture->stats.longest_pause, pause);
}

static void take_log(MachineCapture *capture)
{
    Machine *machine = capture->config.machine;
    bool runs = machine->running;
    int64_t start = pause_machine(capture);
    bus_lock(machine->bus);
    capture->step_pages = guest_memory_log_take(machine->memory, capture->bitmap);
    bus_unlock(machine->bus);
    end_pause(capture, start, runs);
}

static void set_aside(MachineCapture *capture)
{
    if (capture->step_pages > capture->aside_room) {
        g_free(capture->aside);
        capture->aside = g_malloc(capture->step_pages * PAGE);
        capture->aside_room = capture->step_pages;
    }
    uint8_t *at = capture->aside;
    const uint8_t *ram = capture->host[MACHINE_MEMORY_RAM];
    for (uint64_t word = 0; word < words_of(capture); word++) {
        for (uint64_t left = capture->bitmap[word]; left; left &= left - 1, at += PAGE)
            memcpy(at, ram + (word * 64 + (unsigned)__builtin_ctzll(left)) * PAGE, PAGE);
    }
}

// The next [start, end) of the block at or behind `from` that may hold anything but zeros. A memfd
// knows what was never touched, and reading there would make it take room.
static bool next_extent(const MachineCapture *capture, MachineMemoryBlock block, uint64_t from,
                        uint64_t *ret_start, uint64_t *ret_end)
{
    uint64_t size = capture->size[block];
    const RamBlock *ram = machine_state_ram_block(capture->config.machine, block);
    if (from >= size)
        return false;
    *ret_start = from;
    *ret_end = size;
    if (ram->foreign)
        return true;
    off_t data = lseek(ram->fd, (off_t)from, SEEK_DATA);
    if (data < 0)
        return false;
    off_t hole = lseek(ram->fd, data, SEEK_HOLE);
    *ret_start = (uint64_t)data & ~(uint64_t)(PAGE - 1);
    *ret_end = hole < 0 ? size : MIN(((uint64_t)hole + PAGE - 1) & ~(uint64_t)(PAGE - 1), size);
    return *ret_start < *ret_end;
}

static void copy_video(MachineCapture *capture)
{
    uint64_t start, end = 0;
    while (next_extent(capture, MACHINE_MEMORY_VIDEO, end, &start, &end))
        memcpy(capture->video + start, capture->host[MACHINE_MEMORY_VIDEO] + start, end - start);
}

static void stand_still(MachineCapture *capture)
{
    Machine *machine = capture->config.machine;
    bool runs = machine->running;
    int64_t start = pause_machine(capture), work = thread_time();
    // A reset that a CPU asked for is carried out by us and is not a part of the state.
    if (g_async_queue_length(machine->events) > 0) {
        capture->step_again = true;
        end_pause(capture, start, runs);
        return;
    }
    machine_drain_storage(machine);
    bus_lock(machine->bus);
    capture->form = machine_state_collect(machine);
    capture->step_pages = guest_memory_log_take(machine->memory, capture->bitmap);
    set_aside(capture);
    copy_video(capture);
    bus_unlock(machine->bus);
    capture->step_failed = capture->config.freeze &&
                           !capture->config.freeze(capture->config.opaque, &capture->error);
    capture->stats.final_work = thread_time() - work;
    capture->stopped = runs && capture->config.stay_stopped && !capture->step_failed;
    end_pause(capture, start, runs && !capture->stopped);
}

static gboolean do_step(gpointer opaque)
{
    MachineCapture *capture = opaque;
    capture->step_failed = capture->step_again = false;
    if (is_cancelled(capture)) // the writer is on its way out
        capture->step_failed = true;
    else if (capture->step == STEP_TAKE)
        take_log(capture);
    else
        stand_still(capture);
    g_mutex_lock(&capture->lock);
    capture->step = STEP_NONE;
    g_cond_broadcast(&capture->changed);
    g_mutex_unlock(&capture->lock);
    return G_SOURCE_REMOVE;
}

static void stop_log(MachineCapture *capture)
{
    Machine *machine = capture->config.machine;
    if (!guest_memory_is_logged(machine->memory))
        return;
    bool runs = machine->running;
    int64_t start = pause_machine(capture);
    bus_lock(machine->bus);
    guest_memory_log_stop(machine->memory);
    bus_unlock(machine->bus);
    end_pause(capture, start, runs);
}

static gboolean finish(gpointer opaque)
{
    MachineCapture *capture = opaque;
    g_thread_join(g_steal_pointer(&capture->thread));
    stop_log(capture);
    capture->stats.duration = g_get_monotonic_time() - capture->start;
    if (capture->error && capture->stopped && !capture->config.machine->running)
        machine_run(capture->config.machine);
    capture->config.done(capture->config.opaque, capture->error, &capture->stats);
    return G_SOURCE_REMOVE;
}

static gboolean report(gpointer opaque)
{
    MachineCapture *capture = opaque;
    g_mutex_lock(&capture->lock);
    double fraction = capture->fraction;
    g_mutex_unlock(&capture->lock);
    capture->config.progress(capture->config.opaque, fraction);
    return G_SOURCE_REMOVE;
}

// ---- The writer's part ----

static bool ask_main(MachineCapture *capture, Step step)
{
    memset(capture->bitmap, 0, words_of(capture) * 8);
    g_mutex_lock(&capture->lock);
    if (!capture->cancelled) {
        capture->step = step;
        g_idle_add_full(G_PRIORITY_HIGH, do_step, capture, NULL);
    }
    while (capture->step != STEP_NONE && !capture->cancelled)
        g_cond_wait(&capture->changed, &capture->lock);
    bool done = !capture->cancelled && !capture->step_failed;
    g_mutex_unlock(&capture->lock);
    return done;
}

static bool ask_for_final(MachineCapture *capture)
{
    do {
        if (!ask_main(capture, STEP_FINAL))
            return false;
    } while (capture->step_again);
    return true;
}

static void note_progress(MachineCapture *capture, double fraction)
{
    if (!capture->config.progress || capture->stats.bytes < capture->reported + PROGRESS_STEP)
        return;
    capture->reported = capture->stats.bytes;
    g_mutex_lock(&capture->lock);
    capture->fraction = fraction;
    g_mutex_unlock(&capture->lock);
    g_idle_add(report, capture);
}

static bool is_zero(const uint8_t *page)
{
    return !page[0] && memcmp(page, page + 1, PAGE - 1) == 0;
}

static bool put(MachineCapture *capture, MachineMemoryBlock block, uint64_t offset,
                const void *data, size_t size)
{
    capture->stats.bytes += data ? size : 0;
    return capture->config.sink.pages(capture->config.sink.opaque, block, offset, data, size,
                                      &capture->error);
}

// A page of RAM that the sink may have other bytes of.
static bool put_zero(MachineCapture *capture, MachineMemoryBlock block, uint64_t offset)
{
    return block != MACHINE_MEMORY_RAM || !bit(capture->written, offset / PAGE) ||
           put(capture, block, offset, NULL, PAGE);
}

// Pages [from, from + count) of a block, read at data: runs without zero pages go to the sink. The
// guest may write while they are looked at, so they are copied first.
static bool put_pages(MachineCapture *capture, MachineMemoryBlock block, uint64_t from,
                      const uint8_t *data, uint64_t count)
{
    while (count) {
        uint64_t n = MIN(count, RUN_MAX / PAGE), run = 0;
        memcpy(capture->buffer, data, n * PAGE);
        for (uint64_t i = 0; i <= n; i++) {
            bool zero = i == n || is_zero(capture->buffer + i * PAGE);
            if (!zero)
                continue;
            if (i > run && !put(capture, block, (from + run) * PAGE, capture->buffer + run * PAGE,
                                (i - run) * PAGE))
                return false;
            if (i < n && !put_zero(capture, block, (from + i) * PAGE))
                return false;
            for (; block == MACHINE_MEMORY_RAM && run < i; run++)
                capture->written[(from + run) / 64] |= UINT64_C(1) << (from + run) % 64;
            run = i + 1;
        }
        from += n;
        data += n * PAGE;
        count -= n;
        if (is_cancelled(capture))
            return false;
    }
    return true;
}

static bool put_all_of_ram(MachineCapture *capture)
{
    const uint8_t *ram = capture->host[MACHINE_MEMORY_RAM];
    uint64_t start, end = 0, size = capture->size[MACHINE_MEMORY_RAM];
    while (next_extent(capture, MACHINE_MEMORY_RAM, end, &start, &end)) {
        for (uint64_t at = start; at < end; at += PROGRESS_STEP) {
            uint64_t bytes = MIN(end - at, PROGRESS_STEP);
            if (!put_pages(capture, MACHINE_MEMORY_RAM, at / PAGE, ram + at, bytes / PAGE))
                return false;
            note_progress(capture, (double)(at + bytes) / (double)size * 0.9);
        }
    }
    capture->stats.rounds = 1;
    return true;
}

// The pages of the bitmap, out of RAM or, packed, out of `packed`.
static bool put_marked(MachineCapture *capture, const uint8_t *packed)
{
    uint64_t pages = capture->size[MACHINE_MEMORY_RAM] / PAGE;
    for (uint64_t page = 0; page < pages; page++) {
        if (!capture->bitmap[page / 64]) {
            page |= 63;
            continue;
        }
        uint64_t count = 0;
        while (page + count < pages && count < RUN_MAX / PAGE && bit(capture->bitmap, page + count))
            count++;
        if (!count)
            continue;
        const uint8_t *data = packed ? packed : capture->host[MACHINE_MEMORY_RAM] + page * PAGE;
        if (!put_pages(capture, MACHINE_MEMORY_RAM, page, data, count))
            return false;
        packed = packed ? packed + count * PAGE : NULL;
        page += count - 1;
    }
    for (uint64_t word = 0; word < words_of(capture); word++)
        capture->recent[word] |= capture->bitmap[word];
    capture->stats.rounds++;
    return true;
}

// Until little is left, or what is left does not get less.
static bool put_what_changes(MachineCapture *capture)
{
    uint64_t before = UINT64_MAX;
    while (capture->stats.rounds < ROUNDS_MAX) {
        if (!ask_main(capture, STEP_TAKE) || !put_marked(capture, NULL))
            return false;
        note_progress(capture, 0.95);
        if (capture->step_pages <= FINAL_PAGES ||
            (capture->stats.rounds > 4 && capture->step_pages > before - before / 4))
            return true;
        before = capture->step_pages;
    }
    return true;
}

// What is on its way to a disk would be waited for in the pause.
static bool settle(MachineCapture *capture)
{
    const MachineStateSink *sink = &capture->config.sink;
    if (!sink->settle)
        return true;
    unsigned tries = 0;
    do {
        if (!sink->settle(sink->opaque, &capture->error) || !ask_main(capture, STEP_TAKE) ||
            !put_marked(capture, NULL))
            return false;
    } while (capture->step_pages > FINAL_PAGES && ++tries < SETTLES_MAX);
    return true;
}

static GArray *hot_pages(const MachineCapture *capture)
{
    GArray *hot = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (uint64_t page = 0; page < capture->size[MACHINE_MEMORY_RAM] / PAGE; page++) {
        uint32_t number = (uint32_t)page;
        if (hot->len < HOT_MAX && bit(capture->recent, page) && bit(capture->written, page))
            g_array_append_val(hot, number);
    }
    return hot;
}

static bool put_rest(MachineCapture *capture)
{
    capture->stats.final_pages = capture->step_pages;
    if (!put_marked(capture, capture->aside) ||
        !put_pages(capture, MACHINE_MEMORY_VIDEO, 0, capture->video,
                   capture->size[MACHINE_MEMORY_VIDEO] / PAGE))
        return false;
    g_autoptr(GBytes) bytes = state_form_encode(capture->form);
    g_autoptr(GArray) hot = hot_pages(capture);
    return capture->config.sink.commit(capture->config.sink.opaque, bytes,
                                       (const uint32_t *)hot->data, hot->len, &capture->error);
}

static gpointer writer(gpointer opaque)
{
    MachineCapture *capture = opaque;
    const MachineStateSink *sink = &capture->config.sink;
    bool done = sink->begin(sink->opaque, capture->size, &capture->error) &&
                put_all_of_ram(capture) && put_what_changes(capture) && settle(capture) &&
                ask_for_final(capture) && put_rest(capture);
    if (!done)
        sink->discard(sink->opaque);
    if (!done && !capture->error)
        g_set_error_literal(&capture->error, G_IO_ERROR, G_IO_ERROR_CANCELLED,
                            "saving the machine's state was given up");
    g_idle_add_full(G_PRIORITY_HIGH, finish, capture, NULL);
    return NULL;
}

// ---- Life ----

MachineCapture *machine_capture_new(const MachineCaptureConfig *config)
{
    MachineCapture *capture = g_new0(MachineCapture, 1);
    Machine *machine = config->machine;
    capture->config = *config;
    capture->start = g_get_monotonic_time();
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++)
        capture->host[block] = machine_state_block(machine, block, &capture->size[block]);
    capture->buffer = g_malloc(RUN_MAX);
    capture->written = g_new0(uint64_t, words_of(capture));
    capture->bitmap = g_new0(uint64_t, words_of(capture));
    capture->recent = g_new0(uint64_t, words_of(capture));
    // Touched now, so that the pause does not pay for it.
    capture->aside_room = FINAL_PAGES;
    capture->aside = g_malloc(FINAL_PAGES * PAGE);
    memset(capture->aside, 1, FINAL_PAGES * PAGE);
    capture->video = g_malloc(capture->size[MACHINE_MEMORY_VIDEO]);
    memset(capture->video, 0, capture->size[MACHINE_MEMORY_VIDEO]);
    g_mutex_init(&capture->lock);
    g_cond_init(&capture->changed);

    bool runs = machine->running;
    int64_t start = pause_machine(capture);
    bus_lock(machine->bus);
    guest_memory_log_start(machine->memory, capture->host[MACHINE_MEMORY_RAM],
                           capture->size[MACHINE_MEMORY_RAM]);
    bus_unlock(machine->bus);
    end_pause(capture, start, runs);
    capture->thread = g_thread_new("capture", writer, capture);
    return capture;
}

void machine_capture_cancel(MachineCapture *capture)
{
    g_mutex_lock(&capture->lock);
    capture->cancelled = true;
    g_cond_broadcast(&capture->changed);
    g_mutex_unlock(&capture->lock);
}

void machine_capture_free(MachineCapture *capture)
{
    if (!capture)
        return;
    g_mutex_lock(&capture->lock);
    capture->cancelled = true;
    g_cond_broadcast(&capture->changed);
    g_mutex_unlock(&capture->lock);
    if (capture->thread)
        g_thread_join(capture->thread);
    while (g_source_remove_by_user_data(capture))
        ;
    stop_log(capture);
    state_form_free(capture->form);
    g_free(capture->video);
    g_free(capture->aside);
    g_free(capture->buffer);
    g_free(capture->written);
    g_free(capture->bitmap);
    g_free(capture->recent);
    g_clear_error(&capture->error);
    g_mutex_clear(&capture->lock);
    g_cond_clear(&capture->changed);
    g_free(capture);
}
