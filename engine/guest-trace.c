// SPDX-License-Identifier: GPL-2.0-or-later
// See guest-trace.h.
#include "engine/guest-trace.h"

#include <stdlib.h>

struct GuestTrace {
    GuestTraceSample *sample;
    void *opaque;
    unsigned cpus;
    uint64_t *number; // of each CPU's last sample
    uint64_t looks, waits;
    GHashTable *places; // of GuestTracePlace, each its own key
};

static guint place_hash(gconstpointer key)
{
    const GuestTracePlace *place = key;
    guint64 address = place->address;
    return g_int64_hash(&address) ^ place->ring << 8 ^ place->bits;
}

static gboolean place_equal(gconstpointer a, gconstpointer b)
{
    const GuestTracePlace *left = a, *right = b;
    return left->address == right->address && left->ring == right->ring &&
           left->bits == right->bits;
}

GuestTrace *guest_trace_new(unsigned cpus, GuestTraceSample *sample, void *opaque)
{
    GuestTrace *trace = g_new0(GuestTrace, 1);
    trace->sample = sample;
    trace->opaque = opaque;
    trace->cpus = cpus;
    trace->number = g_new0(uint64_t, cpus);
    trace->places = g_hash_table_new_full(place_hash, place_equal, g_free, NULL);
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        VcpuSample first;
        if (!sample(opaque, cpu, &first)) {
            guest_trace_free(trace);
            return NULL;
        }
        trace->number[cpu] = first.number;
    }
    return trace;
}

void guest_trace_free(GuestTrace *trace)
{
    if (!trace)
        return;
    g_hash_table_unref(trace->places);
    g_free(trace->number);
    g_free(trace);
}

static void count_place(GuestTrace *trace, const VcpuSample *sample)
{
    GuestTracePlace key = { sample->address, sample->ring, sample->bits, 1 };
    GuestTracePlace *place = g_hash_table_lookup(trace->places, &key);
    if (place)
        place->count++;
    else if (g_hash_table_size(trace->places) < GUEST_TRACE_PLACES)
        g_hash_table_add(trace->places, g_memdup2(&key, sizeof key));
}

void guest_trace_look(GuestTrace *trace)
{
    for (unsigned cpu = 0; cpu < trace->cpus; cpu++) {
        VcpuSample sample;
        if (!trace->sample(trace->opaque, cpu, &sample))
            continue;
        trace->looks++;
        if (sample.number == trace->number[cpu]) {
            trace->waits++;
            continue;
        }
        trace->number[cpu] = sample.number;
        count_place(trace, &sample);
    }
}

uint64_t guest_trace_looks(const GuestTrace *trace)
{
    return trace->looks;
}

uint64_t guest_trace_waits(const GuestTrace *trace)
{
    return trace->waits;
}

static int by_count(const void *a, const void *b)
{
    const GuestTracePlace *left = a, *right = b;
    if (left->count != right->count)
        return left->count < right->count ? 1 : -1;
    return (left->address > right->address) - (left->address < right->address);
}

GArray *guest_trace_places(const GuestTrace *trace, unsigned most)
{
    GArray *places = g_array_new(FALSE, FALSE, sizeof(GuestTracePlace));
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, trace->places);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        g_array_append_vals(places, key, 1);
    g_array_sort(places, by_count);
    if (places->len > most)
        g_array_set_size(places, most);
    return places;
}
