// SPDX-License-Identifier: GPL-2.0-or-later
// clone: a machine that begins as a copy of another one's snapshot. Ctrl+C leaves nothing behind.
#include "app/cli/commands.h"

#include "app/client/snapshots-client.h"
#include "app/client/vm-client.h"
#include "app/client/vm-clone.h"

#include <glib-unix.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
    GMainLoop *loop;
    GCancellable *cancellable;
    LodgeSnapshots1 *proxy;
    const char *source, *name;
    guint64 node;
    bool linked, shows_progress;
    char *folder;
    GError *error;
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

static void progress(LodgeSnapshots1 *proxy, guint64 done, guint64 total, gpointer data)
{
    Job *job = data;
    if (job->shows_progress && total > 0)
        fprintf(stderr, "\r%3d %%", (int)(100.0 * (double)done / (double)total));
}

static void work(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Job *job = data;
    job->folder = vm_clone(job->source, job->node, job->name, job->linked, job->cancellable,
                           &job->error);
    g_task_return_boolean(task, TRUE);
}

static void ended(GObject *source, GAsyncResult *result, gpointer data)
{
    Job *job = data;
    g_main_loop_quit(job->loop);
}

static gboolean interrupt(gpointer data)
{
    Job *job = data;
    g_cancellable_cancel(job->cancellable);
    return G_SOURCE_CONTINUE;
}

static void run_job(Job *job)
{
    job->loop = g_main_loop_new(NULL, FALSE);
    job->cancellable = g_cancellable_new();
    g_signal_connect(job->proxy, "progress", G_CALLBACK(progress), job);
    guint source = g_unix_signal_add(SIGINT, interrupt, job);
    g_autoptr(GTask) task = g_task_new(NULL, NULL, ended, job);
    g_task_set_task_data(task, job, NULL);
    g_task_run_in_thread(task, work);
    g_main_loop_run(job->loop);
    g_source_remove(source);
    if (job->shows_progress)
        fputs("\r     \r", stderr);
    g_main_loop_unref(job->loop);
    g_object_unref(job->cancellable);
}

static int run_clone(const CliCall *call)
{
    GError *error = NULL;
    g_autofree char *source = vm_folder_find(cli_argument(call, 0), &error);
    Job job = { .source = source, .name = cli_argument(call, 1),
                .linked = cli_has(call, "--linked"),
                .shows_progress = isatty(STDERR_FILENO) };
    if (source && find_node(&job, cli_value(call, "--node"), &error)) {
        run_job(&job);
        error = job.error;
    }
    g_clear_object(&job.proxy);
    g_autofree char *folder = job.folder;
    if (folder)
        printf("%s\n", folder);
    vm_client_strip_error(error);
    return folder ? CLI_OK : cli_fail(error);
}

static const CliOption clone_options[] = {
    { "--linked", NULL, "share what is there already; the snapshot becomes protected" },
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
