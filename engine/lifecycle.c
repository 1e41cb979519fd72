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
    machine_run(lifecycle->machine);
    set_state(lifecycle, LIFECYCLE_RUNNING, NULL);
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
    if (lifecycle->state == LIFECYCLE_OFF || lifecycle->state == LIFECYCLE_STARTING)
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

LifecycleState lifecycle_state(const Lifecycle *lifecycle)
{
    return lifecycle->state;
}

const char *lifecycle_state_name(LifecycleState state)
{
    static const char *const names[] = {
        [LIFECYCLE_OFF] = "off",         [LIFECYCLE_STARTING] = "starting",
        [LIFECYCLE_RUNNING] = "running", [LIFECYCLE_PAUSED] = "paused",
        [LIFECYCLE_STOPPING] = "stopping", [LIFECYCLE_CRASHED] = "crashed",
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
