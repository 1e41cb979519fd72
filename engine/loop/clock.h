// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's virtual time and the timers on it. Devices get a Clock from their host and never
// ask the operating system; a test makes a manual clock and owns time.
//
// Virtual time is in nanoseconds since the machine was powered on; it stands still while the
// machine is paused. Timer callbacks run with the machine lock held: on the clock's own thread for
// a running clock, inside clock_advance for a manual one.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Clock Clock;
typedef struct Timer Timer;

#define NS_PER_SECOND INT64_C(1000000000)

// A clock that follows CLOCK_MONOTONIC while it runs; it starts stopped at 0. machine_lock is taken
// around callbacks and must outlive the clock. Owned by the caller.
Clock *clock_new(GMutex *machine_lock);

// A clock that moves only by clock_advance. It takes no lock.
Clock *clock_new_manual(void);

// Stops the timer thread. All timers must be freed before. NULL is allowed.
void clock_free(Clock *clock);

// Virtual time, ns. Any thread, no lock needed.
int64_t clock_now(Clock *clock);

// The host's wall clock, microseconds since 1970: what a guest's clocks of the day start from.
// LODGE_CLOCK_OFFSET in the environment, in seconds, moves it, for tests. Any thread.
int64_t clock_wall(void);

// Let time run or stand still. Main thread, machine lock not held.
void clock_start(Clock *clock);
void clock_stop(Clock *clock);
bool clock_is_running(Clock *clock);

// Manual clock: moves time by ns and calls due timers in order of their deadlines.
void clock_advance(Clock *clock, int64_t ns);

// Restores a saved time. The clock must be stopped.
void clock_set(Clock *clock, int64_t now_ns);

// A timer, not armed. The callback may arm it again or free other timers, never itself.
Timer *timer_new(Clock *clock, void (*expired)(void *opaque), void *opaque);

// NULL is allowed. Machine lock held (no callback of this timer runs afterwards).
void timer_free(Timer *timer);

// Calls back once at or after deadline_ns of virtual time, replacing an earlier deadline.
// Machine lock held.
void timer_arm(Timer *timer, int64_t deadline_ns);
void timer_cancel(Timer *timer);

// The deadline, or -1 where the timer is not armed.
int64_t timer_deadline(const Timer *timer);
