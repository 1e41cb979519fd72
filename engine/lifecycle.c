// SPDX-License-Identifier: GPL-2.0-or-later
// See lifecycle.h.
#include "engine/lifecycle.h"

#include "engine/base/guest-log.h"
#include "engine/machine-capture.h"

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
    MachineCapture *capture; // while suspending
    bool resumed;            // built from a state that is not used up yet
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

static void halt(Lifecycle *lifecycle)
{
    g_clear_pointer(&lifecycle->capture, machine_capture_free);
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
    lifecycle->resumed = options.resume != NULL;
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
    machine_capture_free(lifecycle->capture);
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
    const MachineStateSource *source = lifecycle->config.machine.resume;
    if (lifecycle->resumed && !source->consume(source->opaque, error))
        return false;
    machine_run(lifecycle->machine);
    set_state(lifecycle, LIFECYCLE_RUNNING, lifecycle->resumed ? "it goes on where it was" : NULL);
    lifecycle->resumed = false;
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
