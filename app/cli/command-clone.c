// SPDX-License-Identifier: GPL-2.0-or-later
// clone: a machine that begins as a copy of another one's snapshot. Ctrl+C leaves nothing behind.
#include "app/cli/commands.h"

#include "app/cli/copy-json.h"
#include "app/cli/job.h"
#include "app/client/vm-client.h"
#include "app/client/vm-clone.h"

#include <stdio.h>

typedef struct {
    LodgeSnapshots1 *proxy;
    const char *source, *name;
    guint64 node;
    bool linked;
    char *folder;
} Job;

static bool find_node(Job *job, const char *text, GError **error)
{
    job->proxy = snapshots_connect(job->source, error);
    g_autoptr(GVariant) variant = NULL;
    if (!job->proxy || !text)
        return job->proxy != NULL;
    if (!lodge_snapshots1_call_list_sync(job->proxy, &variant, NULL, error))
        return false;
    g_autoptr(GPtrArray) nodes = snapshots_nodes_from_variant(variant);
    const SnapshotNode *node = snapshots_find(nodes, text, error);
    job->node = node ? node->id : 0;
    return node != NULL;
}

static bool work(void *opaque, GCancellable *cancellable, GError **error)
{
    Job *job = opaque;
    job->folder = vm_clone(job->source, job->node, job->name, job->linked, cancellable, error);
    return job->folder != NULL;
}

static int run_clone(const CliCall *call)
{
    GError *error = NULL;
    g_autofree char *source = vm_folder_find(cli_argument(call, 0), &error);
    Job job = { .source = source, .name = cli_argument(call, 1),
                .linked = cli_has(call, "--linked") };
    if (source && find_node(&job, cli_value(call, "--node"), &error))
        cli_job_run(job.proxy, work, &job, &error);
    g_clear_object(&job.proxy);
    g_autofree char *folder = job.folder;
    if (folder && cli_has(call, "--json")) {
        g_autoptr(GString) json = g_string_new(NULL);
        copy_json_append(json, job.name, folder, vm_clone_room(folder));
        printf("%s\n", json->str);
    } else if (folder) {
        printf("%s\n", folder);
    }
    vm_client_strip_error(error);
    return folder ? CLI_OK : cli_fail(error);
}

static const CliOption clone_options[] = {
    { "--linked", NULL, "share what is there already; the snapshot becomes protected" },
    { "--json", NULL, "say as JSON what was made" },
    { "--node", "NODE", "as it was then (default: as it is now)" },
};

const CliCommand command_clone = {
    .name = "clone",
    .arguments = "NAME NEW",
    .summary = "Makes a new machine that begins as a copy.",
    .options = clone_options,
    .option_count = G_N_ELEMENTS(clone_options),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_clone,
};
