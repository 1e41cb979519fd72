// SPDX-License-Identifier: GPL-2.0-or-later
// Where a guest spends its time: samples of its CPUs, counted by address. Knows neither machine nor
// clock: whoever owns it calls guest_trace_look, about every millisecond.
#pragma once

#include "engine/vcpu/vcpu-backend.h"

#include <glib.h>

// As machine_sample.
typedef bool GuestTraceSample(void *opaque, unsigned cpu, VcpuSample *ret_sample);

typedef struct {
    uint64_t address; // linear
    uint8_t ring, bits;
    uint32_t count; // of looks that found a CPU there
} GuestTracePlace;

typedef struct GuestTrace GuestTrace;

// Looks that found more places than that count only as a whole: the guest chooses its addresses.
#define GUEST_TRACE_PLACES 65536

// cpus: how many to look at. NULL where `sample` can tell nothing.
GuestTrace *guest_trace_new(unsigned cpus, GuestTraceSample *sample, void *opaque);
void guest_trace_free(GuestTrace *trace); // NULL is allowed
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestTrace, guest_trace_free)

// Looks at every CPU once.
void guest_trace_look(GuestTrace *trace);

// Looks at CPUs so far, and how many of them found one that had not moved: it was halted, stood
// still, or was busy outside of guest code.
uint64_t guest_trace_looks(const GuestTrace *trace);
uint64_t guest_trace_waits(const GuestTrace *trace);
// Of GuestTracePlace, the most frequent first, at most `most`. Free with g_array_unref.
GArray *guest_trace_places(const GuestTrace *trace, unsigned most);
