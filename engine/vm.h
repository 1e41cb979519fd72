// SPDX-License-Identifier: GPL-2.0-or-later
// The commands of lodge-engine for machines that live in a folder. Each takes the arguments after
// its name and returns an exit status; errors are one line on standard error.
#pragma once

// FOLDER [--wait] [--foreground]: runs the machine with its object on the session bus. Returns when
// the machine is up (0) or could not be started (1), and leaves an engine behind; with --foreground
// it returns when the machine is off. --wait: it is built, but does not run until Start is called.
int vm_command(int argc, char **argv);

// FOLDER: whether the machine could be started, without doing so.
int vm_check_command(int argc, char **argv);

// STORE NAME SIZE: an empty disk in a snapshot store, which is made where it does not exist.
int vm_create_volume_command(int argc, char **argv);

// FILE SIZE: an empty disk image; nothing is left behind on failure.
int vm_create_disk_command(int argc, char **argv);
