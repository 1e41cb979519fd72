// SPDX-License-Identifier: GPL-2.0-or-later
// snapshot take, list, show, diff, and the table of all of them (commands-snapshot-change.c has the
// others). The JSON forms are for scripts; members are added, never changed.
#include "app/cli/commands.h"

#include "engine/base/json-text.h"
#include "app/cli/job.h"
#include "app/cli/snapshot-tree.h"

#include <stdio.h>
#include <string.h>

static const char *size_text(guint64 bytes)
{
    static char text[32];
    g_autofree char *formatted = g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
    g_strlcpy(text, formatted, sizeof text);
    return text;
}

#define TIME_FORMAT "%Y-%m-%d %H:%M"

// ---- As JSON ----

static void append_node(GString *json, const SnapshotNode *node, guint64 position)
{
    g_string_append_printf(json, "{\"id\": %" G_GUINT64_FORMAT ", \"parent\": %" G_GUINT64_FORMAT
                           ", \"name\": ", node->id, node->parent);
    json_append_string(json, node->name);
    g_string_append(json, ", \"note\": ");
    json_append_string(json, node->note);
    g_string_append_printf(
        json, ", \"time\": %" G_GINT64_FORMAT ".%06d, \"own\": %" G_GUINT64_FORMAT
        ", \"shared\": %" G_GUINT64_FORMAT ", \"here\": %s, \"protected\": %s, \"in-bin\": %s, "
        "\"automatic\": %s, \"has-memory\": %s}",
        node->time / G_USEC_PER_SEC, (int)(node->time % G_USEC_PER_SEC), node->own, node->shared,
        node->id == position ? "true" : "false", node->is_protected ? "true" : "false",
        node->in_bin ? "true" : "false", node->automatic ? "true" : "false",
        node->has_memory ? "true" : "false");
}

// ---- take ----

typedef struct {
    LodgeSnapshots1 *proxy;
    const char *name, *note;
    bool memory;
    guint64 id;
} Take;

static bool do_take(void *opaque, GCancellable *cancellable, GError **error)
{
    Take *take = opaque;
    return snapshots_take(take->proxy, take->name, take->note, take->memory, cancellable, &take->id,
                          error);
}

static int run_take(const CliCall *call)
{
    GError *error = NULL;
    g_auto(SnapshotTree) tree = { 0 };
    const char *note = cli_value(call, "--note");
    if (!snapshot_tree_open(cli_argument(call, 0), &tree, &error))
        return snapshot_fail(error);
    Take take = { tree.proxy, cli_argument(call, 1), note ? note : "",
                  !cli_has(call, "--disks-only"), 0 };
    if (!cli_job_run(tree.proxy, do_take, &take, &error))
        return snapshot_fail(error);
    if (!cli_has(call, "--json")) {
        printf("%" G_GUINT64_FORMAT "\n", take.id);
        return CLI_OK;
    }
    g_autoptr(GVariant) list = NULL;
    if (!lodge_snapshots1_call_list_sync(tree.proxy, &list, NULL, &error))
        return snapshot_fail(error);
    g_autoptr(GPtrArray) nodes = snapshots_nodes_from_variant(list);
    g_autofree char *id = g_strdup_printf("%" G_GUINT64_FORMAT, take.id);
    const SnapshotNode *node = snapshots_find(nodes, id, &error);
    if (!node)
        return snapshot_fail(error);
    g_autoptr(GString) json = g_string_new(NULL);
    append_node(json, node, take.id);
    printf("%s\n", json->str);
    return CLI_OK;
}

static const CliOption take_options[] = {
    { "--json", NULL, "say as JSON what was taken" },
    { "--note", "TEXT", "what the snapshot is for" },
    { "--disks-only", NULL, "of a machine that is on: without its memory" },
};

static const CliCommand command_take = {
    .name = "snapshot take",
    .arguments = "MACHINE NAME",
    .summary = "Takes a snapshot and prints its identifier.",
    .options = take_options,
    .option_count = G_N_ELEMENTS(take_options),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_take,
};

// ---- list, show ----

static void print_json(const SnapshotTree *tree)
{
    guint64 position = lodge_snapshots1_get_position(tree->proxy);
    g_autoptr(GString) json = g_string_new("[");
    for (guint i = 0; i < tree->nodes->len; i++) {
        g_string_append(json, i ? ",\n  " : "\n  ");
        append_node(json, tree->nodes->pdata[i], position);
    }
    printf("%s\n]\n", json->str);
}

static bool is_root(const SnapshotTree *tree, const SnapshotNode *node)
{
    for (guint i = 0; i < tree->nodes->len; i++) {
        const SnapshotNode *other = tree->nodes->pdata[i];
        if (other->id == node->parent)
            return false;
    }
    return true;
}

// Depth first, without recursion: a tree may be a chain of thousands.
static void print_tree(const SnapshotTree *tree)
{
    typedef struct {
        const SnapshotNode *node;
        guint depth;
    } Place;
    guint64 position = lodge_snapshots1_get_position(tree->proxy);
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(Place));
    for (guint i = tree->nodes->len; i-- > 0;) {
        Place root = { tree->nodes->pdata[i], 0 };
        if (is_root(tree, root.node))
            g_array_append_val(stack, root);
    }
    while (stack->len > 0) {
        Place place = g_array_index(stack, Place, stack->len - 1);
        g_array_set_size(stack, stack->len - 1);
        g_autofree char *time = snapshot_node_time(place.node, TIME_FORMAT);
        printf("%6" G_GUINT64_FORMAT "  %s  %9s  %*s%s%s%s%s%s\n", place.node->id, time,
               size_text(place.node->own), (int)MIN(place.depth, 20) * 2, "", place.node->name,
               place.node->has_memory ? "  (with memory)" : "",
               place.node->is_protected ? "  (protected)" : "",
               place.node->in_bin ? "  (deleted)" : "",
               place.node->id == position ? "  <- you are here" : "");
        for (guint i = tree->nodes->len; i-- > 0;) {
            Place child = { tree->nodes->pdata[i], place.depth + 1 };
            if (child.node->parent == place.node->id)
                g_array_append_val(stack, child);
        }
    }
}

static int run_list(const CliCall *call)
{
    GError *error = NULL;
    g_auto(SnapshotTree) tree = { 0 };
    if (!snapshot_tree_open(cli_argument(call, 0), &tree, &error))
        return snapshot_fail(error);
    if (cli_has(call, "--json"))
        print_json(&tree);
    else
        print_tree(&tree);
    return CLI_OK;
}

static const CliOption json_option[] = {
    { "--json", NULL, "as JSON, for scripts" },
};

static const CliCommand command_list_nodes = {
    .name = "snapshot list",
    .arguments = "MACHINE",
    .summary = "Lists the snapshots as a tree, with the room that each takes.",
    .options = json_option,
    .option_count = G_N_ELEMENTS(json_option),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_list,
};

static void print_forecasts(const SnapshotTree *tree, const SnapshotNode *node)
{
    guint64 needs, frees, discards;
    if (lodge_snapshots1_call_forecast_sync(tree->proxy, "delete", node->id, &needs, &frees,
                                            &discards, NULL, NULL))
        printf("deleting frees           %s\n", size_text(frees));
    if (lodge_snapshots1_call_forecast_sync(tree->proxy, "goto", node->id, &needs, &frees,
                                            &discards, NULL, NULL))
        printf("going there discards     %s\n", size_text(discards));
}

static int run_show(const CliCall *call)
{
    GError *error = NULL;
    g_auto(SnapshotTree) tree = { 0 };
    const SnapshotNode *node = NULL;
    if (snapshot_tree_open(cli_argument(call, 0), &tree, &error))
        node = snapshots_find(tree.nodes, cli_argument(call, 1), &error);
    if (!node)
        return snapshot_fail(error);
    if (cli_has(call, "--json")) {
        g_autoptr(GString) json = g_string_new(NULL);
        append_node(json, node, lodge_snapshots1_get_position(tree.proxy));
        printf("%s\n", json->str);
        return CLI_OK;
    }
    g_autofree char *time = snapshot_node_time(node, TIME_FORMAT);
    printf("identifier               %" G_GUINT64_FORMAT "\n", node->id);
    printf("name                     %s\n", node->name);
    if (*node->note)
        printf("note                     %s\n", node->note);
    printf("taken                    %s%s\n", time, node->automatic ? ", automatically" : "");
    printf("memory                   %s\n", node->has_memory ? "with it" : "without");
    printf("protected                %s\n", node->is_protected ? "yes" : "no");
    printf("deleted                  %s\n", node->in_bin ? "yes" : "no");
    printf("room of its own          %s\n", size_text(node->own));
    printf("room shared with others  %s\n", size_text(node->shared));
    print_forecasts(&tree, node);
    return CLI_OK;
}

static const CliCommand command_show_node = {
    .name = "snapshot show",
    .arguments = "MACHINE NODE",
    .summary = "Shows one snapshot, and what deleting it or going to it would do.",
    .options = json_option,
    .option_count = G_N_ELEMENTS(json_option),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_show,
};

// ---- diff ----

static bool find_or_current(const SnapshotTree *tree, const char *text, guint64 *ret_id,
                            GError **error)
{
    const SnapshotNode *node = text ? snapshots_find(tree->nodes, text, error) : NULL;
    *ret_id = node ? node->id : 0;
    return node || !text;
}

static void print_diff(GVariant *changes, bool as_json)
{
    GVariantIter disks, *ranges;
    const char *disk;
    g_autoptr(GString) json = g_string_new("{");
    g_variant_iter_init(&disks, changes);
    while (g_variant_iter_loop(&disks, "{&sa(tt)}", &disk, &ranges)) {
        guint64 offset, length;
        bool first = true;
        g_string_append(json, json->len > 1 ? ",\n  " : "\n  ");
        json_append_string(json, disk);
        g_string_append(json, ": [");
        while (g_variant_iter_next(ranges, "(tt)", &offset, &length)) {
            if (!as_json)
                printf("%-10s %16" G_GUINT64_FORMAT " %12" G_GUINT64_FORMAT "\n", disk, offset,
                       length);
            g_string_append_printf(json, "%s[%" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT "]",
                                   first ? "" : ", ", offset, length);
            first = false;
        }
        g_string_append_c(json, ']');
    }
    if (as_json)
        printf("%s\n}\n", json->str);
}

typedef struct {
    LodgeSnapshots1 *proxy;
    guint64 from, to;
    GVariant *changes;
} Diff;

static bool do_diff(void *opaque, GCancellable *cancellable, GError **error)
{
    Diff *diff = opaque;
    g_autoptr(GVariant) reply = snapshots_call(diff->proxy, "Diff",
                                               g_variant_new("(tt)", diff->from, diff->to),
                                               cancellable, error);
    if (reply)
        g_variant_get(reply, "(@a{sa(tt)})", &diff->changes);
    return reply != NULL;
}

static int run_diff(const CliCall *call)
{
    if (cli_has(call, "--files"))
        return run_snapshot_files(call);
    GError *error = NULL;
    g_auto(SnapshotTree) tree = { 0 };
    Diff diff = { 0 };
    const char *second = call->arguments->len > 2 ? cli_argument(call, 2) : NULL;
    if (!snapshot_tree_open(cli_argument(call, 0), &tree, &error) ||
        !find_or_current(&tree, cli_argument(call, 1), &diff.from, &error) ||
        !find_or_current(&tree, second, &diff.to, &error))
        return snapshot_fail(error);
    diff.proxy = tree.proxy;
    if (!cli_job_run(tree.proxy, do_diff, &diff, &error))
        return snapshot_fail(error);
    g_autoptr(GVariant) changes = diff.changes;
    print_diff(changes, cli_has(call, "--json"));
    return CLI_OK;
}

static const CliOption diff_options[] = {
    { "--files", NULL, "files added (A), deleted (D), modified (M), renamed (R): ext4, FAT, NTFS" },
    { "--json", NULL, "print JSON" },
};

static const CliCommand command_diff = {
    .name = "snapshot diff",
    .arguments = "MACHINE NODE [NODE]",
    .summary = "Lists what differs, by disk: offset and length in bytes, or files.",
    .options = diff_options,
    .option_count = G_N_ELEMENTS(diff_options),
    .min_arguments = 2,
    .max_arguments = 3,
    .run = run_diff,
};

static const CliCommand *const subcommands[] = {
    &command_take, &command_list_nodes, &command_show_node, &command_snapshot_goto,
    &command_snapshot_delete, &command_snapshot_undelete, &command_snapshot_empty_bin,
    &command_snapshot_rename, &command_snapshot_note, &command_snapshot_protect, &command_diff,
};

const CliCommand command_snapshot = {
    .name = "snapshot",
    .arguments = "",
    .summary = "Snapshots of a machine: take, list, go to, delete and more.",
    .subcommands = subcommands,
    .subcommand_count = G_N_ELEMENTS(subcommands),
};
