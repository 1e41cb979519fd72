// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-trace.h. One trace at a time: the CPUs keep one sample each.
#include "engine/dbus/vm-trace.h"

#include "engine/dbus/errors.h"
#include "engine/guest-trace.h"

#define INTERVAL_MS 1
#define LONGEST_MS 60000
#define MOST_PLACES 4096

struct VmTrace {
    Machine *machine;
    // While one runs:
    LodgeVm1 *skeleton;
    GDBusMethodInvocation *invocation;
    GuestTrace *guest;
    gint64 end; // us
    guint timer;
};

static bool sample(void *opaque, unsigned cpu, VcpuSample *ret_sample)
{
    return machine_sample(opaque, cpu, ret_sample);
}

VmTrace *vm_trace_new(Machine *machine)
{
    VmTrace *trace = g_new0(VmTrace, 1);
    trace->machine = machine;
    return trace;
}

static void forget(VmTrace *trace)
{
    g_clear_handle_id(&trace->timer, g_source_remove);
    g_clear_pointer(&trace->guest, guest_trace_free);
    trace->invocation = NULL;
    trace->skeleton = NULL;
}

void vm_trace_free(VmTrace *trace)
{
    if (!trace)
        return;
    if (trace->invocation) {
        g_autoptr(GError) error = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_NOT_INITIALIZED,
                                                      "the machine ended during the trace");
        errors_return(trace->invocation, error);
    }
    forget(trace);
    g_free(trace);
}

static void finish(VmTrace *trace)
{
    g_autoptr(GArray) places = guest_trace_places(trace->guest, MOST_PLACES);
    GVariantBuilder builder;
    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(tyyu)"));
    for (guint i = 0; i < places->len; i++) {
        const GuestTracePlace *place = &g_array_index(places, GuestTracePlace, i);
        g_variant_builder_add(&builder, "(tyyu)", place->address, place->ring, place->bits,
                              place->count);
    }
    lodge_vm1_complete_trace(trace->skeleton, trace->invocation, guest_trace_looks(trace->guest),
                             guest_trace_waits(trace->guest), g_variant_builder_end(&builder));
    forget(trace);
}

static gboolean look(gpointer data)
{
    VmTrace *trace = data;
    guest_trace_look(trace->guest);
    if (g_get_monotonic_time() < trace->end)
        return G_SOURCE_CONTINUE;
    finish(trace);
    return G_SOURCE_REMOVE;
}

bool vm_trace_start(VmTrace *trace, LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                    guint milliseconds, GError **error)
{
    if (trace->invocation) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                            "another trace of this machine runs; try again when it is over");
        return false;
    }
    if (milliseconds == 0 || milliseconds > LONGEST_MS) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "a trace takes 1 to %d ms, not %u", LONGEST_MS, milliseconds);
        return false;
    }
    unsigned cpus = (unsigned)config_integer(machine_config(trace->machine), "cpu.count");
    trace->guest = guest_trace_new(cpus, sample, trace->machine);
    if (!trace->guest) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_INITIALIZED,
                    "the engine '%s' cannot tell where the guest is; set cpu.engine=translator",
                    machine_backend_name(trace->machine));
        return false;
    }
    trace->skeleton = skeleton;
    trace->invocation = invocation;
    trace->end = g_get_monotonic_time() + (gint64)milliseconds * 1000;
    trace->timer = g_timeout_add(INTERVAL_MS, look, trace);
    return true;
}
