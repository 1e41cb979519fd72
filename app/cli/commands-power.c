// SPDX-License-Identifier: GPL-2.0-or-later
// start, stop, pause, resume, reset.
#include "app/cli/commands.h"

#include "app/cli/running.h"
#include "app/client/engine-launcher.h"

static int run_start(const CliCall *call)
{
    GError *error = NULL;
    g_autofree char *folder = vm_folder_find(cli_argument(call, 0), &error);
    return folder && engine_start(folder, false, &error) ? CLI_OK : cli_fail(error);
}

const CliCommand command_start = {
    .name = "start",
    .arguments = "NAME",
    .summary = "Starts a machine; it runs on by itself.",
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

static int run_stop(const CliCall *call)
{
    return running_call(cli_argument(call, 0),
                        cli_has(call, "--force") ? stop_by_force : stop_gently);
}

static const CliOption stop_options[] = {
    { "--force", NULL, "take the power away; unsaved work of the guest is lost" },
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
