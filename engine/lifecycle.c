// SPDX-License-Identifier: GPL-2.0-or-later
// See lifecycle.h.
#include "engine/lifecycle.h"

#include "engine/base/guest-log.h"

#include <gio/gio.h>

#define SHUTDOWN_PATIENCE_SECONDS 120

struct Lifecycle {
    LifecycleConfig config;
    Machine *machine;
    LifecycleState state;
    LifecycleEnd end;
    uint32_t debug_value;
    char *reason;
    guint patience; // timer of an asked-for shutdown
    MachineCapture *capture; // while suspending or taking
    MachineCaptureConfig take; // its done is NULL while nothing is taken
};

static void set_state(Lifecycle *lifecycle, LifecycleState state, const char *reason)
{
    if (state != LIFECYCLE_STOPPING && lifecycle->patience) {
        g_source_remove(lifecycle->patience);
        lifecycle->patience = 0;
    }
    lifecycle->state = state;
    g_free(lifecycle->reason);
    lifecycle->reason = g_strdup(reason ? reason : "");
    if (lifecycle->config.changed)
        lifecycle->config.changed(lifecycle->config.opaque, state, lifecycle->reason);
}

// What is being taken is given up, and whoever asked for it is told.
static void give_up_capture(Lifecycle *lifecycle)
{
    g_clear_pointer(&lifecycle->capture, machine_capture_free);
    MachineCaptureConfig take = lifecycle->take;
    lifecycle->take = (MachineCaptureConfig){ 0 };
    if (!take.done)
        return;
    g_autoptr(GError) error = g_error_new_literal(
        G_IO_ERROR, G_IO_ERROR_CANCELLED, "the machine was turned off while its state was saved");
    take.done(take.opaque, error, &(MachineCaptureStats){ 0 });
}

static void halt(Lifecycle *lifecycle)
{
    give_up_capture(lifecycle);
    if (machine_is_running(lifecycle->machine))
        machine_pause(lifecycle->machine);
}

static void turn_off(Lifecycle *lifecycle, LifecycleEnd end, const char *reason)
{
    halt(lifecycle);
    lifecycle->end = end;
    set_state(lifecycle, LIFECYCLE_OFF, reason);
}

static void machine_event(void *opaque, MachineEvent event, uint32_t value, const char *text)
{
    Lifecycle *lifecycle = opaque;
    if (lifecycle->state == LIFECYCLE_OFF || lifecycle->state == LIFECYCLE_CRASHED)
        return; // a vCPU's last words
    switch (event) {
    case MACHINE_WANTS_RESET:
        machine_reset(lifecycle->machine, false);
        break;
    case MACHINE_TRIPLE_FAULT:
        guest_log_once("machine", "triple-fault", "CPU %u: the machine resets itself", value);
        machine_reset(lifecycle->machine, false);
        break;
    case MACHINE_WANTS_POWER_OFF:
        turn_off(lifecycle, LIFECYCLE_GUEST_POWERED_OFF, "the guest powered off");
        break;
    case MACHINE_DEBUG_EXIT:
        lifecycle->debug_value = value;
        turn_off(lifecycle, LIFECYCLE_DEBUG_EXIT, "the guest wrote to the debug-exit port");
        break;
    case MACHINE_FAILED:
        halt(lifecycle);
        g_warning("the machine cannot go on: %s", text);
        set_state(lifecycle, LIFECYCLE_CRASHED, text);
        break;
    }
}

Lifecycle *lifecycle_new(const LifecycleConfig *config, GError **error)
{
    Lifecycle *lifecycle = g_new0(Lifecycle, 1);
    lifecycle->config = *config;
    lifecycle->state = LIFECYCLE_STARTING;
    lifecycle->reason = g_strdup("");
    MachineOptions options = config->machine;
    options.event = machine_event;
    options.opaque = lifecycle;
    lifecycle->machine = machine_new(&options, error);
    if (!lifecycle->machine) {
        lifecycle_free(lifecycle);
        return NULL;
    }
    return lifecycle;
}

void lifecycle_free(Lifecycle *lifecycle)
{
    if (!lifecycle)
        return;
    if (lifecycle->patience)
        g_source_remove(lifecycle->patience);
    give_up_capture(lifecycle);
    machine_free(lifecycle->machine);
    g_free(lifecycle->reason);
    g_free(lifecycle);
}

static bool refuse(const Lifecycle *lifecycle, const char *what, GError **error)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "the machine is %s and cannot be %s",
                lifecycle_state_name(lifecycle->state), what);
    return false;
}

bool lifecycle_start(Lifecycle *lifecycle, GError **error)
{
    if (lifecycle->state != LIFECYCLE_STARTING)
        return refuse(lifecycle, "started", error);
    bool resumed = machine_is_resumed(lifecycle->machine);
    if (!machine_use_state(lifecycle->machine, error))
        return false;
    machine_run(lifecycle->machine);
    set_state(lifecycle, LIFECYCLE_RUNNING, resumed ? "it goes on where it was" : NULL);
    return true;
}

bool lifecycle_pause(Lifecycle *lifecycle, GError **error)
{
    if (lifecycle->state != LIFECYCLE_RUNNING && lifecycle->state != LIFECYCLE_STOPPING)
        return refuse(lifecycle, "paused", error);
    machine_pause(lifecycle->machine);
    set_state(lifecycle, LIFECYCLE_PAUSED, NULL);
    return true;
}

bool lifecycle_resume(Lifecycle *lifecycle, GError **error)
{
    if (lifecycle->state != LIFECYCLE_PAUSED)
        return refuse(lifecycle, "resumed", error);
    machine_run(lifecycle->machine);
    set_state(lifecycle, LIFECYCLE_RUNNING, NULL);
    return true;
}

bool lifecycle_reset(Lifecycle *lifecycle, GError **error)
{
    if (lifecycle->state == LIFECYCLE_OFF || lifecycle->state == LIFECYCLE_STARTING ||
        lifecycle->state == LIFECYCLE_SUSPENDING)
        return refuse(lifecycle, "reset", error);
    machine_reset(lifecycle->machine, true);
    if (lifecycle->state == LIFECYCLE_CRASHED) {
        machine_run(lifecycle->machine);
        set_state(lifecycle, LIFECYCLE_RUNNING, NULL);
    } else if (lifecycle->state == LIFECYCLE_STOPPING) {
        set_state(lifecycle, LIFECYCLE_RUNNING, NULL);
    }
    return true;
}

static gboolean patience_ends(gpointer opaque)
{
    Lifecycle *lifecycle = opaque;
    lifecycle->patience = 0;
    set_state(lifecycle, LIFECYCLE_RUNNING,
              "the guest was asked to shut down and did not; stop it by force");
    return G_SOURCE_REMOVE;
}

bool lifecycle_stop(Lifecycle *lifecycle, bool force, GError **error)
{
    if (lifecycle->state == LIFECYCLE_OFF)
        return refuse(lifecycle, "stopped", error);
    if (force) {
        turn_off(lifecycle, LIFECYCLE_STOPPED, "stopped by force");
        return true;
    }
    if (lifecycle->state != LIFECYCLE_RUNNING && lifecycle->state != LIFECYCLE_STOPPING)
        return refuse(lifecycle, "asked to shut down; stop it by force", error);
    machine_power_button(lifecycle->machine);
    if (!lifecycle->patience)
        lifecycle->patience =
            g_timeout_add_seconds(SHUTDOWN_PATIENCE_SECONDS, patience_ends, lifecycle);
    set_state(lifecycle, LIFECYCLE_STOPPING, NULL);
    return true;
}

static bool is_taking(const Lifecycle *lifecycle, GError **error)
{
    if (!lifecycle->capture)
        return false;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                        "the machine's state is being saved; wait until that is done, or cancel "
                        "it");
    return true;
}

static void suspend_progress(void *opaque, double fraction)
{
    Lifecycle *lifecycle = opaque;
    lifecycle->config.progress(lifecycle->config.opaque, fraction);
}

static void suspend_done(void *opaque, const GError *error, const MachineCaptureStats *stats)
{
    Lifecycle *lifecycle = opaque;
    g_autofree char *reason =
        error ? g_strdup_printf("it could not be suspended: %s", error->message) : NULL;
    g_clear_pointer(&lifecycle->capture, machine_capture_free);
    if (error) {
        g_warning("%s", reason);
        set_state(lifecycle, machine_is_running(lifecycle->machine) ? LIFECYCLE_RUNNING
                                                                    : LIFECYCLE_PAUSED, reason);
        return;
    }
    g_info("suspended in %" G_GINT64_FORMAT " ms: %" G_GUINT64_FORMAT " MiB in %u rounds",
           stats->duration / 1000, stats->bytes >> 20, stats->rounds);
    turn_off(lifecycle, LIFECYCLE_SUSPENDED, "suspended; a start goes on from here");
}

bool lifecycle_suspend(Lifecycle *lifecycle, GError **error)
{
    if (lifecycle->state != LIFECYCLE_RUNNING && lifecycle->state != LIFECYCLE_PAUSED)
        return refuse(lifecycle, "suspended", error);
    if (is_taking(lifecycle, error))
        return false;
    if (lifecycle->config.machine.disposable) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                            "the machine runs without keeping changes, so its disks would not be "
                            "there when it goes on; take a snapshot instead");
        return false;
    }
    if (!lifecycle->config.suspend_to) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_INITIALIZED,
                            "this machine has no place for its state: it is not run from a folder "
                            "of its own that can be written");
        return false;
    }
    MachineCaptureConfig config = {
        .machine = lifecycle->machine,
        .sink = *lifecycle->config.suspend_to,
        .stay_stopped = true,
        .progress = lifecycle->config.progress ? suspend_progress : NULL,
        .done = suspend_done,
        .opaque = lifecycle,
    };
    lifecycle->capture = machine_capture_new(&config);
    set_state(lifecycle, LIFECYCLE_SUSPENDING, NULL);
    return true;
}

static bool take_freeze(void *opaque, GError **error)
{
    const MachineCaptureConfig *take = &((Lifecycle *)opaque)->take;
    return !take->freeze || take->freeze(take->opaque, error);
}

static void take_progress(void *opaque, double fraction)
{
    const MachineCaptureConfig *take = &((Lifecycle *)opaque)->take;
    if (take->progress)
        take->progress(take->opaque, fraction);
}

static void take_done(void *opaque, const GError *error, const MachineCaptureStats *stats)
{
    Lifecycle *lifecycle = opaque;
    MachineCaptureConfig take = lifecycle->take;
    MachineCaptureStats copy = *stats; // it goes with the capture
    g_autoptr(GError) problem = error ? g_error_copy(error) : NULL;
    lifecycle->take = (MachineCaptureConfig){ 0 };
    g_clear_pointer(&lifecycle->capture, machine_capture_free);
    take.done(take.opaque, problem, &copy);
}

bool lifecycle_capture(Lifecycle *lifecycle, const MachineCaptureConfig *config, GError **error)
{
    if (lifecycle->state != LIFECYCLE_RUNNING && lifecycle->state != LIFECYCLE_PAUSED &&
        lifecycle->state != LIFECYCLE_STOPPING)
        return refuse(lifecycle, "saved with its memory", error);
    if (is_taking(lifecycle, error))
        return false;
    lifecycle->take = *config;
    MachineCaptureConfig own = {
        .machine = lifecycle->machine,
        .sink = config->sink,
        .freeze = take_freeze,
        .progress = take_progress,
        .done = take_done,
        .opaque = lifecycle,
    };
    lifecycle->capture = machine_capture_new(&own);
    return true;
}

void lifecycle_cancel_capture(Lifecycle *lifecycle)
{
    if (lifecycle->take.done)
        machine_capture_cancel(lifecycle->capture);
}

static bool go_on_from_store(Lifecycle *lifecycle, GError **error)
{
    GError *problem = NULL;
    if (machine_load_from_store(lifecycle->machine, &problem)) {
        machine_run(lifecycle->machine);
        set_state(lifecycle, LIFECYCLE_RUNNING, "it goes on where the snapshot was taken");
        return true;
    }
    g_warning("the machine cannot go on from the snapshot: %s", problem->message);
    set_state(lifecycle, LIFECYCLE_CRASHED, problem->message);
    g_propagate_error(error, problem);
    return false;
}

bool lifecycle_go_to(Lifecycle *lifecycle, bool (*swap)(void *opaque, GError **error),
                     void *opaque, bool with_memory, GError **error)
{
    if (lifecycle->state == LIFECYCLE_OFF || lifecycle->state == LIFECYCLE_STARTING ||
        lifecycle->state == LIFECYCLE_SUSPENDING)
        return refuse(lifecycle, "taken to a snapshot", error);
    if (is_taking(lifecycle, error))
        return false;
    bool was_running = machine_is_running(lifecycle->machine);
    if (was_running)
        machine_pause(lifecycle->machine);
    machine_drain(lifecycle->machine);
    if (!swap(opaque, error)) {
        if (was_running)
            machine_run(lifecycle->machine);
        return false;
    }
    if (with_memory)
        return go_on_from_store(lifecycle, error);
    turn_off(lifecycle, LIFECYCLE_WENT_OFF,
             "it went to a snapshot that was taken without memory; a start begins there");
    return true;
}

LifecycleState lifecycle_state(const Lifecycle *lifecycle)
{
    return lifecycle->state;
}

const char *lifecycle_state_name(LifecycleState state)
{
    static const char *const names[] = {
        [LIFECYCLE_OFF] = "off",         [LIFECYCLE_STARTING] = "starting",
        [LIFECYCLE_RUNNING] = "running", [LIFECYCLE_PAUSED] = "paused",
        [LIFECYCLE_STOPPING] = "stopping", [LIFECYCLE_SUSPENDING] = "suspending",
        [LIFECYCLE_CRASHED] = "crashed",
    };
    return names[state];
}

const char *lifecycle_reason(const Lifecycle *lifecycle)
{
    return lifecycle->reason;
}

LifecycleEnd lifecycle_end(const Lifecycle *lifecycle)
{
    return lifecycle->end;
}

uint32_t lifecycle_debug_value(const Lifecycle *lifecycle)
{
    return lifecycle->debug_value;
}

Machine *lifecycle_machine(Lifecycle *lifecycle)
{
    return lifecycle->machine;
}
