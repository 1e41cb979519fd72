// SPDX-License-Identifier: GPL-2.0-or-later
// disk: images are opened by lodge-engine only, which knows the commands and their options
// (engine/disk-jobs.c).
#include "app/cli/commands.h"

static int run_disk(int argc, char **argv)
{
    return become_engine("--disk", argc, argv);
}

const CliCommand command_disk = {
    .name = "disk",
    .arguments = "COMMAND FILE...",
    .summary = "Says what disk images are; checks, converts and resizes them.",
    .run_raw = run_disk,
};
