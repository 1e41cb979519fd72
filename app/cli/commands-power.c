// SPDX-License-Identifier: GPL-2.0-or-later
// start, stop, pause, resume, suspend, reset.
#include "app/cli/commands.h"

#include "app/cli/running.h"
#include "app/client/engine-launcher.h"
#include "app/client/snapshots-client.h"
#include "app/client/vm-client.h"

#include <stdio.h>
#include <unistd.h>

static bool find_node(const char *folder, const char *text, guint64 *ret_id, GError **error)
{
    g_autoptr(LodgeSnapshots1) proxy = snapshots_connect(folder, error);
    g_autoptr(GVariant) variant = NULL;
    if (!proxy || !lodge_snapshots1_call_list_sync(proxy, &variant, NULL, error))
        return false;
    g_autoptr(GPtrArray) nodes = snapshots_nodes_from_variant(variant);
    const SnapshotNode *node = snapshots_find(nodes, text, error);
    *ret_id = node ? node->id : 0;
    return node != NULL;
}

static int run_start(const CliCall *call)
{
    GError *error = NULL;
    const char *node = cli_value(call, "--node");
    EngineStart how = { .disposable = cli_has(call, "--disposable") };
    if (node && !how.disposable)
        return cli_fail_text("--node goes with --disposable; lodgectl snapshot goto takes the "
                             "machine there to stay");
    g_autofree char *folder = vm_folder_find(cli_argument(call, 0), &error);
    if (folder && node && !find_node(folder, node, &how.node, &error))
        vm_client_strip_error(error);
    else if (folder && engine_start(folder, &how, &error))
        return CLI_OK;
    return cli_fail(error);
}

static const CliOption start_options[] = {
    { "--disposable", NULL, "throw away what it changes on its disks when it is off" },
    { "--node", "NODE", "a disposable run begins at this snapshot" },
};

const CliCommand command_start = {
    .name = "start",
    .arguments = "NAME",
    .summary = "Starts a machine; it runs on by itself.",
    .options = start_options,
    .option_count = G_N_ELEMENTS(start_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_start,
};

static gboolean stop_gently(LodgeVm1 *proxy, GCancellable *cancellable, GError **error)
{
    return lodge_vm1_call_stop_sync(proxy, FALSE, cancellable, error);
}

// The name leaves the bus when the engine has tidied up.
static gboolean stop_by_force(LodgeVm1 *proxy, GCancellable *cancellable, GError **error)
{
    if (!lodge_vm1_call_stop_sync(proxy, TRUE, cancellable, error))
        return FALSE;
    for (int i = 0; i < 500; i++) {
        g_autofree char *owner = g_dbus_proxy_get_name_owner(G_DBUS_PROXY(proxy));
        if (!owner)
            return TRUE;
        g_main_context_iteration(NULL, FALSE);
        g_usleep(10 * 1000);
    }
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                        "the machine is off, but its engine does not end; see engine.log");
    return FALSE;
}

// Of a machine that is suspended: there is nothing to stop but its state.
static int discard_state(const char *folder)
{
    GError *error = NULL;
    if (snapshots_discard_state(folder, &error))
        return CLI_OK;
    vm_client_strip_error(error);
    return cli_fail(error);
}

static int run_stop(const CliCall *call)
{
    const char *name = cli_argument(call, 0);
    GError *error = NULL;
    g_autofree char *folder = vm_folder_find(name, &error);
    g_autoptr(Config) config = folder ? vm_client_config(folder, &error) : NULL;
    if (!config)
        return cli_fail(error);
    g_autofree char *state = vm_client_state(config);
    if (g_str_equal(state, "off") && cli_has(call, "--discard-state"))
        return discard_state(folder);
    if (g_str_equal(state, "off") && vm_folder_is_suspended(folder))
        return cli_fail_text("the machine %s is suspended; lodgectl start %s goes on, lodgectl "
                             "stop %s --discard-state throws its state away", name, name, name);
    return running_call(cli_argument(call, 0),
                        cli_has(call, "--force") ? stop_by_force : stop_gently);
}

static const CliOption stop_options[] = {
    { "--force", NULL, "take the power away; unsaved work of the guest is lost" },
    { "--discard-state", NULL, "throw a suspended machine's state away; it starts anew then" },
};

const CliCommand command_stop = {
    .name = "stop",
    .arguments = "NAME",
    .summary = "Asks the guest to shut down.",
    .options = stop_options,
    .option_count = G_N_ELEMENTS(stop_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_stop,
};

static int run_pause(const CliCall *call)
{
    return running_call(cli_argument(call, 0), lodge_vm1_call_pause_sync);
}

const CliCommand command_pause = {
    .name = "pause",
    .arguments = "NAME",
    .summary = "Stops a machine's time until resume.",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_pause,
};

static int run_resume(const CliCall *call)
{
    return running_call(cli_argument(call, 0), lodge_vm1_call_resume_sync);
}

const CliCommand command_resume = {
    .name = "resume",
    .arguments = "NAME",
    .summary = "Goes on after pause.",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_resume,
};

static void show_progress(LodgeVm1 *proxy)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rsaving: %3.0f %%", lodge_vm1_get_suspend_progress(proxy) * 100);
}

// The engine ends when the state is safe. Interrupting the command leaves the engine at it.
static gboolean suspend(LodgeVm1 *proxy, GCancellable *cancellable, GError **error)
{
    if (!lodge_vm1_call_suspend_sync(proxy, cancellable, error))
        return FALSE;
    for (;;) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_autofree char *owner = g_dbus_proxy_get_name_owner(G_DBUS_PROXY(proxy));
        const char *state = owner ? lodge_vm1_get_state(proxy) : NULL;
        bool saving = g_strcmp0(state, "suspending") == 0;
        if (!owner || (!saving && g_strcmp0(state, "off") != 0)) {
            if (isatty(STDERR_FILENO))
                fprintf(stderr, "\r%*s\r", 20, "");
            if (!owner)
                return TRUE;
            g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                                lodge_vm1_get_state_reason(proxy));
            return FALSE;
        }
        if (saving)
            show_progress(proxy);
        g_usleep(10 * 1000);
    }
}

static int run_suspend(const CliCall *call)
{
    const char *name = cli_argument(call, 0);
    int status = running_call(name, suspend);
    g_autofree char *folder = status == CLI_OK ? vm_folder_find(name, NULL) : NULL;
    if (folder && !vm_folder_is_suspended(folder))
        return cli_fail_text("the machine %s is off, but its state was not saved: the guest "
                             "powered off, or the engine ended; see engine.log", name);
    return status;
}

const CliCommand command_suspend = {
    .name = "suspend",
    .arguments = "NAME",
    .summary = "Saves a machine's state; start goes on from there.",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_suspend,
};

static int run_reset(const CliCall *call)
{
    return running_call(cli_argument(call, 0), lodge_vm1_call_reset_sync);
}

const CliCommand command_reset = {
    .name = "reset",
    .arguments = "NAME",
    .summary = "Presses reset; unsaved work of the guest is lost.",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_reset,
};
