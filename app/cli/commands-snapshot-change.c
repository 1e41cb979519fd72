// SPDX-License-Identifier: GPL-2.0-or-later
// snapshot goto, delete, undelete, empty-bin, rename, note, protect: what changes the tree. What is
// done to several nodes is done to all of them or to none.
#include "app/cli/commands.h"

#include "app/cli/job.h"
#include "app/cli/snapshot-tree.h"
#include "app/client/vm-client.h"
#include "engine/config/vm-readers.h"

#include <stdio.h>

// ---- goto ----

typedef struct {
    LodgeSnapshots1 *proxy;
    guint64 id, kept;
    const char *keep;
} GoTo;

static bool do_goto(void *opaque, GCancellable *cancellable, GError **error)
{
    GoTo *go = opaque;
    g_autoptr(GVariant) reply = snapshots_call(go->proxy, "GoTo",
                                               g_variant_new("(ts)", go->id, go->keep), cancellable,
                                               error);
    if (reply)
        g_variant_get(reply, "(t)", &go->kept);
    return reply != NULL;
}

static int run_goto(const CliCall *call)
{
    GError *error = NULL;
    g_auto(SnapshotTree) tree = { 0 };
    const SnapshotNode *node = NULL;
    if (snapshot_tree_open(cli_argument(call, 0), &tree, &error))
        node = snapshots_find(tree.nodes, cli_argument(call, 1), &error);
    if (!node)
        return snapshot_fail(error);
    bool keeps = !cli_has(call, "--discard") && lodge_snapshots1_get_has_changes(tree.proxy);
    g_autofree char *keep = keeps ? g_strdup_printf("Before %.200s", node->name) : g_strdup("");
    g_autofree char *valid = g_utf8_make_valid(keep, -1);
    GoTo go = { .proxy = tree.proxy, .id = node->id, .keep = valid };
    if (!cli_job_run(tree.proxy, do_goto, &go, &error))
        return snapshot_fail(error);
    if (go.kept)
        printf("what was changed since is snapshot %" G_GUINT64_FORMAT " in the bin\n", go.kept);
    return CLI_OK;
}

static const CliOption goto_options[] = {
    { "--discard", NULL, "do not keep what was changed since the last snapshot" },
};

const CliCommand command_snapshot_goto = {
    .name = "snapshot goto",
    .arguments = "MACHINE NODE",
    .summary = "Takes the machine back, or over, to a snapshot.",
    .options = goto_options,
    .option_count = G_N_ELEMENTS(goto_options),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_goto,
};

// ---- delete, undelete ----

typedef gboolean (*NodeCall)(LodgeSnapshots1 *proxy, guint64 id, GCancellable *cancellable,
                             GError **error);

typedef bool (*NodeCheck)(const Config *settings, guint64 id, GError **error);

static Config *settings_of(const char *machine, GError **error)
{
    g_autofree char *folder = vm_folder_find(machine, error);
    return folder ? vm_client_config(folder, error) : NULL;
}

// What can be done to several nodes at once.
typedef struct {
    NodeCall function, undo;
    bool (*is_so)(const SnapshotNode *node); // already: it is passed over
    NodeCheck check;                         // with the machine's settings; may be NULL
} NodesChange;

typedef struct {
    const NodesChange *change;
    SnapshotTree tree;
    GPtrArray *found; // SnapshotNode, the tree's
} NodesJob;

static void nodes_job_clear(NodesJob *job)
{
    snapshot_tree_clear(&job->tree);
    g_ptr_array_unref(job->found);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(NodesJob, nodes_job_clear)

static void undo_nodes(const NodesJob *job, guint done)
{
    while (done-- > 0) {
        const SnapshotNode *node = job->found->pdata[done];
        g_autoptr(GError) error = NULL;
        if (!job->change->undo(job->tree.proxy, node->id, NULL, &error))
            g_warning("snapshot %s stays as it is now: %s", node->name, error->message);
    }
}

// All, or where one fails or it is given up none.
static bool do_nodes(void *opaque, GCancellable *cancellable, GError **error)
{
    const NodesJob *job = opaque;
    for (guint i = 0; i < job->found->len; i++) {
        const SnapshotNode *node = job->found->pdata[i];
        if (g_cancellable_set_error_if_cancelled(cancellable, error) ||
            !job->change->function(job->tree.proxy, node->id, NULL, error)) {
            undo_nodes(job, i);
            return false;
        }
    }
    return true;
}

// All nodes are looked up, and checked, before the first call, so that a wrong name changes
// nothing.
static int change_nodes(const CliCall *call, const NodesChange *change)
{
    GError *error = NULL;
    g_auto(NodesJob) job = { .change = change, .found = g_ptr_array_new() };
    const char *machine = cli_argument(call, 0);
    g_autoptr(Config) settings = change->check ? settings_of(machine, &error) : NULL;
    if ((change->check && !settings) || !snapshot_tree_open(machine, &job.tree, &error))
        return snapshot_fail(error);
    for (guint i = 1; i < call->arguments->len; i++) {
        const SnapshotNode *node = snapshots_find(job.tree.nodes, cli_argument(call, i), &error);
        if (!node || (change->check && !change->check(settings, node->id, &error)))
            return snapshot_fail(error);
        if (!change->is_so(node) && !g_ptr_array_find(job.found, node, NULL))
            g_ptr_array_add(job.found, (gpointer)node);
    }
    return cli_job_run(job.tree.proxy, do_nodes, &job, &error) ? CLI_OK : snapshot_fail(error);
}

static bool is_in_bin(const SnapshotNode *node)
{
    return node->in_bin;
}

static bool is_out_of_bin(const SnapshotNode *node)
{
    return !node->in_bin;
}

static int run_delete(const CliCall *call)
{
    static const NodesChange change = { lodge_snapshots1_call_delete_sync,
                                        lodge_snapshots1_call_undelete_sync, is_in_bin, NULL };
    return change_nodes(call, &change);
}

const CliCommand command_snapshot_delete = {
    .name = "snapshot delete",
    .arguments = "MACHINE NODE...",
    .summary = "Puts snapshots into the bin; undelete brings them back.",
    .min_arguments = 2,
    .max_arguments = 1000,
    .run = run_delete,
};

static int run_undelete(const CliCall *call)
{
    static const NodesChange change = { lodge_snapshots1_call_undelete_sync,
                                        lodge_snapshots1_call_delete_sync, is_out_of_bin, NULL };
    return change_nodes(call, &change);
}

const CliCommand command_snapshot_undelete = {
    .name = "snapshot undelete",
    .arguments = "MACHINE NODE...",
    .summary = "Takes snapshots out of the bin.",
    .min_arguments = 2,
    .max_arguments = 1000,
    .run = run_undelete,
};

static int run_empty_bin(const CliCall *call)
{
    GError *error = NULL;
    g_auto(SnapshotTree) tree = { 0 };
    if (!snapshot_tree_open(cli_argument(call, 0), &tree, &error) ||
        !lodge_snapshots1_call_empty_bin_sync(tree.proxy, NULL, &error))
        return snapshot_fail(error);
    return CLI_OK;
}

const CliCommand command_snapshot_empty_bin = {
    .name = "snapshot empty-bin",
    .arguments = "MACHINE",
    .summary = "Gives back the room of deleted snapshots, for good.",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_empty_bin,
};

// ---- rename, note, protect ----

static int change_text(const CliCall *call,
                       gboolean (*change)(LodgeSnapshots1 *proxy, guint64 id, const gchar *text,
                                          GCancellable *cancellable, GError **error))
{
    GError *error = NULL;
    g_auto(SnapshotTree) tree = { 0 };
    const SnapshotNode *node = NULL;
    if (snapshot_tree_open(cli_argument(call, 0), &tree, &error))
        node = snapshots_find(tree.nodes, cli_argument(call, 1), &error);
    if (!node || !change(tree.proxy, node->id, cli_argument(call, 2), NULL, &error))
        return snapshot_fail(error);
    return CLI_OK;
}

static int run_rename(const CliCall *call)
{
    return change_text(call, lodge_snapshots1_call_rename_sync);
}

const CliCommand command_snapshot_rename = {
    .name = "snapshot rename",
    .arguments = "MACHINE NODE NAME",
    .summary = "Gives a snapshot another name.",
    .min_arguments = 3,
    .max_arguments = 3,
    .run = run_rename,
};

static int run_note(const CliCall *call)
{
    return change_text(call, lodge_snapshots1_call_set_note_sync);
}

const CliCommand command_snapshot_note = {
    .name = "snapshot note",
    .arguments = "MACHINE NODE TEXT",
    .summary = "Gives a snapshot another note.",
    .min_arguments = 3,
    .max_arguments = 3,
    .run = run_note,
};

static gboolean protect(LodgeSnapshots1 *proxy, guint64 id, GCancellable *cancellable,
                        GError **error)
{
    return lodge_snapshots1_call_set_protected_sync(proxy, id, TRUE, cancellable, error);
}

static gboolean unprotect(LodgeSnapshots1 *proxy, guint64 id, GCancellable *cancellable,
                          GError **error)
{
    return lodge_snapshots1_call_set_protected_sync(proxy, id, FALSE, cancellable, error);
}

static bool is_protected(const SnapshotNode *node)
{
    return node->is_protected;
}

static bool is_unprotected(const SnapshotNode *node)
{
    return !node->is_protected;
}

// Clones that read from one of them keep it from being unprotected.
static int run_protect(const CliCall *call)
{
    static const NodesChange on = { protect, unprotect, is_protected, NULL };
    static const NodesChange off = { unprotect, protect, is_unprotected,
                                     vm_readers_check_node };
    return change_nodes(call, cli_has(call, "--off") ? &off : &on);
}

static const CliOption protect_options[] = {
    { "--off", NULL, "they may be deleted again" },
};

const CliCommand command_snapshot_protect = {
    .name = "snapshot protect",
    .arguments = "MACHINE NODE...",
    .summary = "Keeps snapshots from being deleted.",
    .options = protect_options,
    .option_count = G_N_ELEMENTS(protect_options),
    .min_arguments = 2,
    .max_arguments = 1000,
    .run = run_protect,
};
