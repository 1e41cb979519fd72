// SPDX-License-Identifier: GPL-2.0-or-later
// lodgectl: virtual machines from a shell.
#include "app/cli/commands.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static const CliCommand *const commands[] = {
    &command_create, &command_list,   &command_show,   &command_set,        &command_delete,
    &command_start,  &command_stop,   &command_pause,  &command_resume,     &command_suspend,
    &command_reset,
    &command_console, &command_screenshot, &command_type, &command_key, &command_run,
    &command_snapshot, &command_clone, &command_fork, &command_disk, &command_trace,
    &command_doctor,
};

static void print_help(FILE *out)
{
    fprintf(out, "Usage: lodgectl COMMAND [ARGUMENT]...\nVirtual machines from a shell.\n\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(out, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\nlodgectl COMMAND --help explains a command; lodgectl(1) explains all.\n"
                 "Status: 0 done, 1 failed, 2 wrong usage; run has its own.\n");
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    const char *name = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return cli_command_run(commands[i], argc - 2, argv + 2);
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    if (strcmp(name, "--version") == 0) {
        printf("lodgectl %s\n", LODGE_VERSION);
        return CLI_OK;
    }
    if (*name)
        fprintf(stderr, "lodgectl: there is no command %s; see lodgectl --help\n", name);
    else
        print_help(stderr);
    return CLI_USAGE;
}
