// SPDX-License-Identifier: GPL-2.0-or-later
// Timers sit in an intrusive list sorted by deadline: a machine has a few dozen, so an insertion
// walk costs less than keeping a heap. `lock` guards the list and the time base and is the
// innermost lock (taken under the machine lock, never the other way round): the timer thread picks
// the due timer, drops `lock`, takes the machine lock, and looks again before it calls.
#include "engine/loop/clock.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct Clock {
    GMutex *machine_lock; // NULL for a manual clock
    pthread_mutex_t lock;
    pthread_cond_t changed; // waits on CLOCK_MONOTONIC
    pthread_t thread;
    bool manual;
    bool running;
    bool quit;
    int64_t base;    // virtual time when stopped; virtual minus host time when running
    Timer *earliest; // sorted by deadline
};

struct Timer {
    Clock *clock;
    void (*expired)(void *opaque);
    void *opaque;
    int64_t deadline; // -1: not in the list
    Timer *next;
};

static int64_t host_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_SECOND + ts.tv_nsec;
}

int64_t clock_wall(void)
{
    const char *offset = g_getenv("LODGE_CLOCK_OFFSET");
    int64_t seconds = offset ? g_ascii_strtoll(offset, NULL, 10) : 0;
    return g_get_real_time() + CLAMP(seconds, -INT32_MAX, INT32_MAX) * G_USEC_PER_SEC;
}

int64_t clock_now(Clock *clock)
{
    // base and running change only under `lock`, with every vCPU stopped; readers tolerate the
    // moment of change.
    int64_t base = __atomic_load_n(&clock->base, __ATOMIC_ACQUIRE);
    if (!__atomic_load_n(&clock->running, __ATOMIC_ACQUIRE) || clock->manual)
        return base;
    return base + host_now();
}

static void list_remove(Clock *clock, Timer *timer)
{
    for (Timer **at = &clock->earliest; *at; at = &(*at)->next) {
        if (*at == timer) {
            *at = timer->next;
            break;
        }
    }
    timer->deadline = -1;
    timer->next = NULL;
}

static void list_insert(Clock *clock, Timer *timer, int64_t deadline)
{
    Timer **at = &clock->earliest;
    while (*at && (*at)->deadline <= deadline)
        at = &(*at)->next;
    timer->deadline = deadline;
    timer->next = *at;
    *at = timer;
}

// Calls every timer that is due at `now`. Machine lock held (running clock), `lock` not held.
static void run_due(Clock *clock, int64_t now)
{
    for (;;) {
        pthread_mutex_lock(&clock->lock);
        Timer *due = clock->earliest;
        if (!due || due->deadline > now) {
            pthread_mutex_unlock(&clock->lock);
            return;
        }
        list_remove(clock, due);
        pthread_mutex_unlock(&clock->lock);
        due->expired(due->opaque);
    }
}

static void *timer_thread(void *opaque)
{
    Clock *clock = opaque;
    pthread_mutex_lock(&clock->lock);
    while (!clock->quit) {
        if (!clock->running || !clock->earliest) {
            pthread_cond_wait(&clock->changed, &clock->lock);
            continue;
        }
        int64_t host_deadline = clock->earliest->deadline - clock->base;
        if (host_deadline > host_now()) {
            struct timespec ts = { host_deadline / NS_PER_SECOND, host_deadline % NS_PER_SECOND };
            pthread_cond_timedwait(&clock->changed, &clock->lock, &ts);
            continue;
        }
        pthread_mutex_unlock(&clock->lock);
        g_mutex_lock(clock->machine_lock);
        if (clock_is_running(clock))
            run_due(clock, clock_now(clock));
        g_mutex_unlock(clock->machine_lock);
        pthread_mutex_lock(&clock->lock);
    }
    pthread_mutex_unlock(&clock->lock);
    return NULL;
}

static Clock *clock_alloc(void)
{
    Clock *clock = g_new0(Clock, 1);
    pthread_mutex_init(&clock->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&clock->changed, &attr);
    pthread_condattr_destroy(&attr);
    return clock;
}

Clock *clock_new(GMutex *machine_lock)
{
    Clock *clock = clock_alloc();
    clock->machine_lock = machine_lock;
    if (pthread_create(&clock->thread, NULL, timer_thread, clock))
        g_error("no thread for timers: %s", g_strerror(errno));
    pthread_setname_np(clock->thread, "timers");
    return clock;
}

Clock *clock_new_manual(void)
{
    Clock *clock = clock_alloc();
    clock->manual = true;
    return clock;
}

void clock_free(Clock *clock)
{
    if (!clock)
        return;
    if (!clock->manual) {
        pthread_mutex_lock(&clock->lock);
        clock->quit = true;
        pthread_cond_signal(&clock->changed);
        pthread_mutex_unlock(&clock->lock);
        pthread_join(clock->thread, NULL);
    }
    pthread_cond_destroy(&clock->changed);
    pthread_mutex_destroy(&clock->lock);
    g_free(clock);
}

static void set_running(Clock *clock, bool running)
{
    pthread_mutex_lock(&clock->lock);
    if (clock->running != running && !clock->manual) {
        int64_t base = running ? clock->base - host_now() : clock->base + host_now();
        __atomic_store_n(&clock->base, base, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&clock->running, running, __ATOMIC_RELEASE);
    pthread_cond_signal(&clock->changed);
    pthread_mutex_unlock(&clock->lock);
}

void clock_start(Clock *clock)
{
    set_running(clock, true);
}

void clock_stop(Clock *clock)
{
    set_running(clock, false);
}

bool clock_is_running(Clock *clock)
{
    return __atomic_load_n(&clock->running, __ATOMIC_ACQUIRE);
}

void clock_advance(Clock *clock, int64_t ns)
{
    g_return_if_fail(clock->manual && ns >= 0);
    int64_t end = clock->base + ns;
    while (clock->earliest && clock->earliest->deadline <= end) {
        if (clock->earliest->deadline > clock->base)
            clock->base = clock->earliest->deadline;
        run_due(clock, clock->base);
    }
    clock->base = end;
}

void clock_set(Clock *clock, int64_t now_ns)
{
    g_return_if_fail(clock->manual || !clock->running);
    __atomic_store_n(&clock->base, now_ns, __ATOMIC_RELEASE);
}

Timer *timer_new(Clock *clock, void (*expired)(void *opaque), void *opaque)
{
    Timer *timer = g_new0(Timer, 1);
    timer->clock = clock;
    timer->expired = expired;
    timer->opaque = opaque;
    timer->deadline = -1;
    return timer;
}

void timer_free(Timer *timer)
{
    if (!timer)
        return;
    timer_cancel(timer);
    g_free(timer);
}

void timer_arm(Timer *timer, int64_t deadline_ns)
{
    Clock *clock = timer->clock;
    pthread_mutex_lock(&clock->lock);
    if (timer->deadline >= 0)
        list_remove(clock, timer);
    list_insert(clock, timer, MAX(deadline_ns, 0));
    if (clock->earliest == timer)
        pthread_cond_signal(&clock->changed);
    pthread_mutex_unlock(&clock->lock);
}

void timer_cancel(Timer *timer)
{
    pthread_mutex_lock(&timer->clock->lock);
    if (timer->deadline >= 0)
        list_remove(timer->clock, timer);
    pthread_mutex_unlock(&timer->clock->lock);
}

int64_t timer_deadline(const Timer *timer)
{
    return timer->deadline;
}
