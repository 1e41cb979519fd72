// SPDX-License-Identifier: GPL-2.0-or-later
// run, doctor: lodge-engine does them, and knows their options. become_engine serves others, too.
#include "app/cli/commands.h"

#include "app/client/engine-launcher.h"

#include <errno.h>
#include <unistd.h>

int become_engine(const char *mode, int argc, char **argv)
{
    GError *error = NULL;
    g_autofree char *program = program_find("lodge-engine", &error);
    if (!program)
        return cli_fail(error);
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    g_ptr_array_add(all, program);
    g_ptr_array_add(all, (char *)mode);
    for (int i = 0; i < argc; i++)
        g_ptr_array_add(all, argv[i]);
    g_ptr_array_add(all, NULL);
    g_setenv("LODGE_PROGRAM_NAME", "lodgectl", TRUE);
    execv(program, (char **)all->pdata);
    return cli_fail_text("%s cannot be started: %s; reinstall Lodge", program, g_strerror(errno));
}

static int run_run(int argc, char **argv)
{
    return become_engine("--run", argc, argv);
}

const CliCommand command_run = {
    .name = "run",
    .arguments = "",
    .summary = "Runs one machine in the foreground; nothing of it is left afterwards.",
    .run_raw = run_run,
};

static int run_doctor(int argc, char **argv)
{
    return become_engine("--doctor", argc, argv);
}

const CliCommand command_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "Says what this computer offers and which engine would be taken.",
    .run_raw = run_doctor,
};
