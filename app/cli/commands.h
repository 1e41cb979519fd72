// SPDX-License-Identifier: GPL-2.0-or-later
// Every command, for the table in lodgectl.c.
#pragma once

#include "app/cli/command.h"

extern const CliCommand command_create, command_set, command_delete;
extern const CliCommand command_list, command_show;
extern const CliCommand command_start, command_stop, command_pause, command_resume,
    command_suspend, command_reset;
extern const CliCommand command_screenshot, command_type, command_key;
extern const CliCommand command_console;
extern const CliCommand command_run, command_doctor;
extern const CliCommand command_snapshot, command_clone, command_fork;
extern const CliCommand command_snapshot_goto, command_snapshot_delete, command_snapshot_undelete,
    command_snapshot_empty_bin, command_snapshot_rename, command_snapshot_note,
    command_snapshot_protect;
extern const CliCommand command_disk;
extern const CliCommand command_trace;

// snapshot diff --files: MACHINE NODE [NODE].
int run_snapshot_files(const CliCall *call);

// Replaces this process by lodge-engine in that mode, with the arguments. Returns only where it
// could not be started: an exit status.
int become_engine(const char *mode, int argc, char **argv);
