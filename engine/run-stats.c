// SPDX-License-Identifier: GPL-2.0-or-later
// See run-stats.h. The names are a contract with scripts.
#include "engine/run-stats.h"

#include "engine/base/write-all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static int by_count(const void *a, const void *b)
{
    uint64_t left = ((const VcpuCallOut *)a)->count, right = ((const VcpuCallOut *)b)->count;
    return (left < right) - (left > right);
}

static void append_call_outs(GString *json, VcpuCallOut *rows)
{
    unsigned count = 0;
    while (count < VCPU_CALL_OUTS && rows[count].name)
        count++;
    qsort(rows, count, sizeof *rows, by_count);
    g_string_append(json, "  \"call_outs\": {");
    for (unsigned i = 0; i < count; i++)
        g_string_append_printf(json, "%s\"%s\": %" G_GUINT64_FORMAT, i ? ", " : "", rows[i].name,
                               rows[i].count);
    g_string_append(json, "},\n");
}

char *run_stats_json(Machine *machine, double wall_seconds, int status)
{
    VcpuStats stats = { 0 };
    machine_stats(machine, &stats);
    struct rusage usage = { 0 };
    getrusage(RUSAGE_SELF, &usage);

    GString *json = g_string_new("{\n");
    g_string_append_printf(json, "  \"backend\": \"%s\",\n", machine_backend_name(machine));
    g_string_append_printf(json, "  \"instructions\": %" G_GUINT64_FORMAT ",\n",
                           stats.instructions);
    g_string_append(json, "  \"exits\": {");
    for (int reason = VCPU_EXIT_NONE + 1; reason < VCPU_EXIT_COUNT; reason++)
        g_string_append_printf(json, "%s\"%s\": %" G_GUINT64_FORMAT,
                               reason > VCPU_EXIT_NONE + 1 ? ", " : "", vcpu_exit_name(reason),
                               stats.exits[reason]);
    g_string_append(json, "},\n");
    g_string_append_printf(json, "  \"translations\": %" G_GUINT64_FORMAT ",\n",
                           stats.translations);
    g_string_append_printf(json, "  \"tlb_misses\": %" G_GUINT64_FORMAT ",\n", stats.tlb_misses);
    g_string_append_printf(json, "  \"exceptions\": %" G_GUINT64_FORMAT ",\n", stats.exceptions);
    g_string_append_printf(json, "  \"interrupts\": %" G_GUINT64_FORMAT ",\n", stats.interrupts);
    g_string_append(json, "  \"translator\": {");
    for (unsigned counter = 0; counter < VCPU_UNIT_COUNTERS; counter++)
        g_string_append_printf(json, "%s\"%s\": %" G_GUINT64_FORMAT, counter ? ", " : "",
                               vcpu_unit_counter_name(counter), stats.units[counter]);
    g_string_append(json, "},\n");
    append_call_outs(json, stats.call_outs);
    g_string_append_printf(json, "  \"wall_seconds\": %.3f,\n", wall_seconds);
    g_string_append_printf(json, "  \"cpu_seconds\": %.3f,\n",
                           seconds(usage.ru_utime) + seconds(usage.ru_stime));
    g_string_append_printf(json, "  \"peak_memory_bytes\": %ld,\n", usage.ru_maxrss * 1024);
    g_string_append_printf(json, "  \"status\": %d\n}\n", status);
    return g_string_free(json, FALSE);
}

void run_stats_write(int fd, Machine *machine, double wall_seconds, int status)
{
    g_autofree char *json = run_stats_json(machine, wall_seconds, status);
    if (!write_all(fd, json, strlen(json)))
        g_warning("the statistics could not be written: %s", g_strerror(errno));
}
