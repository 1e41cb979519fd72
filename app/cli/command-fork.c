// SPDX-License-Identifier: GPL-2.0-or-later
// fork: branches of a machine that is on. Ctrl+C leaves nothing behind.
#include "app/cli/commands.h"

#include "app/cli/copy-json.h"
#include "app/cli/job.h"
#include "app/client/vm-client.h"
#include "app/client/vm-fork.h"

#include <stdio.h>

typedef struct {
    LodgeSnapshots1 *proxy;
    const char *source;
    unsigned count;
    GPtrArray *branches;
} Job;

static bool work(void *opaque, GCancellable *cancellable, GError **error)
{
    Job *job = opaque;
    job->branches = vm_fork(job->source, job->proxy, job->count, cancellable, error);
    return job->branches != NULL;
}

static void print_branches(const GPtrArray *branches, bool as_json)
{
    g_autoptr(GString) json = g_string_new("[");
    for (guint i = 0; i < branches->len; i++) {
        const VmBranch *branch = branches->pdata[i];
        g_autofree char *size = g_format_size_full(branch->bytes, G_FORMAT_SIZE_IEC_UNITS);
        g_string_append(json, i ? ",\n  " : "\n  ");
        copy_json_append(json, branch->name, branch->folder, branch->bytes);
        if (!as_json)
            printf("%-20s %s\n", branch->name, size);
    }
    if (as_json)
        printf("%s\n]\n", json->str);
}

static int run_fork(const CliCall *call)
{
    GError *error = NULL;
    guint64 count;
    if (!g_ascii_string_to_unsigned(cli_argument(call, 1), 10, 1, VM_FORK_MAX, &count, NULL))
        return cli_fail_text("%s is no number of branches; give one from 1 to %d",
                             cli_argument(call, 1), VM_FORK_MAX);
    g_autofree char *source = vm_folder_find(cli_argument(call, 0), &error);
    Job job = { .source = source, .count = (unsigned)count };
    job.proxy = source ? snapshots_connect(source, &error) : NULL;
    if (job.proxy)
        cli_job_run(job.proxy, work, &job, &error);
    g_clear_object(&job.proxy);
    g_autoptr(GPtrArray) branches = job.branches;
    if (branches)
        print_branches(branches, cli_has(call, "--json"));
    vm_client_strip_error(error);
    return branches ? CLI_OK : cli_fail(error);
}

static const CliOption fork_options[] = {
    { "--json", NULL, "say as JSON what was made" },
};

const CliCommand command_fork = {
    .name = "fork",
    .arguments = "NAME COUNT",
    .summary = "Makes machines that go on from this moment of one that is on.",
    .options = fork_options,
    .option_count = G_N_ELEMENTS(fork_options),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_fork,
};
