// SPDX-License-Identifier: GPL-2.0-or-later
// trace: where a running guest spends its time, by address or by function. The JSON form is for
// scripts; members are added, never changed.
#include "app/cli/commands.h"

#include "app/cli/running.h"
#include "app/client/symbol-map.h"
#include "engine/base/json-text.h"

#include <stdio.h>
#include <string.h>

enum { DEFAULT_SECONDS = 5, LONGEST_SECONDS = 60, DEFAULT_ROWS = 20, MOST_ROWS = 4096 };

typedef struct {
    uint64_t address; // the most frequent one of a function
    guint8 ring, bits;
    uint64_t count;
    const char *symbol; // NULL: none
    uint64_t offset;
} Row;

typedef struct {
    guint64 looks, waits;
    GArray *rows; // of Row, the most frequent first
} Trace;

static bool read_number(const CliCall *call, const char *option, unsigned most, unsigned *number)
{
    const char *text = cli_value(call, option);
    if (!text)
        return true;
    guint64 value;
    GError *error = NULL;
    if (!g_ascii_string_to_unsigned(text, 10, 1, most, &value, &error)) {
        g_error_free(error);
        cli_fail_text("%s takes a number from 1 to %u, not '%s'", option, most, text);
        return false;
    }
    *number = (unsigned)value;
    return true;
}

static int by_count(const void *a, const void *b)
{
    const Row *left = a, *right = b;
    return (left->count < right->count) - (left->count > right->count);
}

// Places of one function become one row, in each ring for itself.
static void add_place(Trace *trace, GHashTable *functions, const Row *row)
{
    g_autofree char *key = NULL;
    gpointer known;
    if (row->symbol) {
        key = g_strdup_printf("%u %s", row->ring, row->symbol);
        known = g_hash_table_lookup(functions, key);
        if (known) {
            g_array_index(trace->rows, Row, GPOINTER_TO_UINT(known) - 1).count += row->count;
            return;
        }
    }
    g_array_append_vals(trace->rows, row, 1);
    if (key)
        g_hash_table_insert(functions, g_steal_pointer(&key), GUINT_TO_POINTER(trace->rows->len));
}

static void read_places(Trace *trace, GVariant *places, const SymbolMap *symbols)
{
    g_autoptr(GHashTable) functions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GVariantIter iter;
    Row row = { 0 };
    guint32 count;
    g_variant_iter_init(&iter, places);
    while (g_variant_iter_next(&iter, "(tyyu)", &row.address, &row.ring, &row.bits, &count)) {
        row.count = count;
        row.symbol = symbols ? symbol_map_find(symbols, row.address, &row.offset) : NULL;
        add_place(trace, functions, &row);
    }
    g_array_sort(trace->rows, by_count);
}

static double share(const Trace *trace, uint64_t count)
{
    return trace->looks ? 100.0 * (double)count / (double)trace->looks : 0;
}

static void print_text(const Trace *trace, unsigned rows)
{
    printf("%" G_GUINT64_FORMAT " looks; %.1f %% found a virtual CPU that was halted or busy "
           "outside of guest code\n", trace->looks, share(trace, trace->waits));
    if (trace->rows->len)
        printf("%7s  %4s  %-18s  %s\n", "share", "ring", "address", "function");
    for (guint i = 0; i < trace->rows->len && i < rows; i++) {
        const Row *row = &g_array_index(trace->rows, Row, i);
        printf("%5.1f %%  %4u  %#-18" G_GINT64_MODIFIER "x  %s\n", share(trace, row->count),
               row->ring, row->address, row->symbol ? row->symbol : "");
    }
}

static void print_json(const Trace *trace, unsigned rows)
{
    g_autoptr(GString) json = g_string_new(NULL);
    g_string_append_printf(json, "{\"looks\": %" G_GUINT64_FORMAT ", \"waits\": %" G_GUINT64_FORMAT
                                 ", \"places\": [", trace->looks, trace->waits);
    for (guint i = 0; i < trace->rows->len && i < rows; i++) {
        const Row *row = &g_array_index(trace->rows, Row, i);
        g_string_append_printf(json, "%s\n  {\"address\": \"%#" G_GINT64_MODIFIER "x\", "
                                     "\"ring\": %u, \"bits\": %u, \"count\": %" G_GUINT64_FORMAT,
                               i ? "," : "", row->address, row->ring, row->bits, row->count);
        if (row->symbol) {
            g_string_append(json, ", \"function\": ");
            json_append_string(json, row->symbol);
        }
        g_string_append_c(json, '}');
    }
    printf("%s\n]}\n", json->str);
}

static int run_trace(const CliCall *call)
{
    unsigned seconds = DEFAULT_SECONDS, rows = DEFAULT_ROWS;
    if (!read_number(call, "--seconds", LONGEST_SECONDS, &seconds) ||
        !read_number(call, "--count", MOST_ROWS, &rows))
        return CLI_USAGE;
    GError *error = NULL;
    g_autoptr(SymbolMap) symbols = NULL;
    if (cli_has(call, "--symbols")) {
        symbols = symbol_map_read(cli_value(call, "--symbols"), &error);
        if (!symbols)
            return cli_fail(error);
    }
    g_autoptr(LodgeVm1) proxy = running_connect(cli_argument(call, 0), &error);
    if (!proxy)
        return cli_fail(error);
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(proxy), (int)(seconds + 60) * 1000);
    Trace trace = { 0 };
    g_autoptr(GVariant) places = NULL;
    if (!lodge_vm1_call_trace_sync(proxy, seconds * 1000, &trace.looks, &trace.waits, &places, NULL,
                                   &error)) {
        vm_client_strip_error(error);
        return cli_fail(error);
    }
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(Row));
    trace.rows = all;
    read_places(&trace, places, symbols);
    if (cli_has(call, "--json"))
        print_json(&trace, rows);
    else
        print_text(&trace, rows);
    return CLI_OK;
}

static const CliOption trace_options[] = {
    { "--seconds", "SECONDS", "how long to look, 1 to 60 (5)" },
    { "--symbols", "FILE", "the guest kernel's System.map: functions instead of addresses" },
    { "--count", "N", "rows to show (20)" },
    { "--json", NULL, "as JSON, for scripts" },
};

const CliCommand command_trace = {
    .name = "trace",
    .arguments = "NAME",
    .summary = "Shows where a machine's guest spends its time.",
    .options = trace_options,
    .option_count = G_N_ELEMENTS(trace_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_trace,
};
