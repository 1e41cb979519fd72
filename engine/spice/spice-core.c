// SPDX-License-Identifier: GPL-2.0-or-later
// libspice's timers and file watches as GSources. libspice makes them from the thread that set it
// up, whose thread-default main context they join.
#include "engine/spice/spice-private.h"

#include <glib-unix.h>

struct SpiceTimer {
    SpiceTimerFunc function;
    void *opaque;
    GSource *source; // while it is armed
};

static SpiceTimer *timer_add(SpiceTimerFunc function, void *opaque)
{
    SpiceTimer *timer = g_new0(SpiceTimer, 1);
    timer->function = function;
    timer->opaque = opaque;
    return timer;
}

static void timer_cancel(SpiceTimer *timer)
{
    if (!timer->source)
        return;
    g_source_destroy(timer->source);
    g_clear_pointer(&timer->source, g_source_unref);
}

static gboolean timer_expired(gpointer data)
{
    SpiceTimer *timer = data;
    timer_cancel(timer);
    timer->function(timer->opaque); // may free the timer
    return G_SOURCE_REMOVE;
}

static void timer_start(SpiceTimer *timer, uint32_t ms)
{
    timer_cancel(timer);
    timer->source = g_timeout_source_new(ms);
    g_source_set_callback(timer->source, timer_expired, timer, NULL);
    g_source_attach(timer->source, g_main_context_get_thread_default());
}

static void timer_remove(SpiceTimer *timer)
{
    timer_cancel(timer);
    g_free(timer);
}

struct SpiceWatch {
    GSource source;
    gpointer tag;
    int fd;
    SpiceWatchFunc function;
    void *opaque;
};

static gboolean watch_check(GSource *source)
{
    SpiceWatch *watch = (SpiceWatch *)source;
    return g_source_query_unix_fd(source, watch->tag) != 0;
}

// The function may remove the watch; GLib holds a reference meanwhile.
static gboolean watch_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    SpiceWatch *watch = (SpiceWatch *)source;
    GIOCondition condition = g_source_query_unix_fd(source, watch->tag);
    int events = 0;
    if (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR))
        events |= SPICE_WATCH_EVENT_READ;
    if (condition & G_IO_OUT)
        events |= SPICE_WATCH_EVENT_WRITE;
    if (events)
        watch->function(watch->fd, events, watch->opaque);
    return G_SOURCE_CONTINUE;
}

static GIOCondition condition_of(int mask)
{
    return (mask & SPICE_WATCH_EVENT_READ ? G_IO_IN : 0) |
           (mask & SPICE_WATCH_EVENT_WRITE ? G_IO_OUT : 0);
}

static SpiceWatch *watch_add(int fd, int mask, SpiceWatchFunc function, void *opaque)
{
    static GSourceFuncs functions = { .check = watch_check, .dispatch = watch_dispatch };
    GSource *source = g_source_new(&functions, sizeof(SpiceWatch));
    SpiceWatch *watch = (SpiceWatch *)source;
    watch->fd = fd;
    watch->function = function;
    watch->opaque = opaque;
    watch->tag = g_source_add_unix_fd(source, fd, condition_of(mask));
    g_source_attach(source, g_main_context_get_thread_default());
    return watch;
}

static void watch_update_mask(SpiceWatch *watch, int mask)
{
    g_source_modify_unix_fd(&watch->source, watch->tag, condition_of(mask));
}

static void watch_remove(SpiceWatch *watch)
{
    g_source_destroy(&watch->source);
    g_source_unref(&watch->source);
}

void lodge_spice_core_fill(SpiceCoreInterface *core)
{
    core->base = (SpiceBaseInterface){ SPICE_INTERFACE_CORE, "lodge", SPICE_INTERFACE_CORE_MAJOR,
                                       SPICE_INTERFACE_CORE_MINOR };
    core->timer_add = timer_add;
    core->timer_start = timer_start;
    core->timer_cancel = timer_cancel;
    core->timer_remove = timer_remove;
    core->watch_add = watch_add;
    core->watch_update_mask = watch_update_mask;
    core->watch_remove = watch_remove;
}
