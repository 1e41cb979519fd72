// SPDX-License-Identifier: GPL-2.0-or-later
// lodge-engine: one process per virtual machine.
#include "engine/branch.h"
#include "engine/bus/device-table.h"
#include "engine/disk-jobs.h"
#include "engine/doctor.h"
#include "engine/run.h"
#include "engine/sandbox.h"
#include "engine/snapshot-service.h"
#include "engine/vm.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: lodge-engine --run [OPTION]...     one machine in the foreground; see lodgectl run\n"
    "       lodge-engine --vm FOLDER [--wait] [--foreground] [--disposable [--node N]]\n"
    "                                          a machine with its object on the session bus\n"
    "       lodge-engine --check FOLDER        check a machine's configuration and files\n"
    "       lodge-engine --create-disk FILE SIZE\n"
    "                                          make an empty disk image\n"
    "       lodge-engine --disk COMMAND FILE...  work on disk images; see lodgectl disk\n"
    "       lodge-engine --create-volume STORE NAME SIZE\n"
    "                                          add an empty disk to a snapshot store\n"
    "       lodge-engine --branch STORE NODE NAME FILE\n"
    "                                          make a store that goes on from a snapshot\n"
    "       lodge-engine --snapshots FOLDER [--foreground]\n"
    "                                          a machine's snapshots on the session bus\n"
    "       lodge-engine --doctor [--json]     what this computer offers\n"
    "       lodge-engine --list-devices        the device models and what they follow\n"
    "       lodge-engine --self-test-sandbox   check that the engine can lock itself in here\n"
    "       lodge-engine --version\n";

static int run_command(int argc, char **argv)
{
    const char *prefix = g_getenv("LODGE_PROGRAM_NAME");
    if (!prefix)
        prefix = "lodge-engine";
    g_autoptr(GError) error = NULL;
    g_autoptr(RunOptions) options = run_options_parse(argc, argv, &error);
    if (options)
        return run_machine(options, prefix);
    if (!error)
        return 0;
    fprintf(stderr, "%s: %s\n", prefix, error->message);
    return 1;
}

static int list_devices(void)
{
    for (size_t i = 0; i < device_table_size; i++)
        printf("%-16s %s\n", device_table[i].ops->name, device_table[i].ops->spec);
    return 0;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    signal(SIGPIPE, SIG_IGN); // a reader that leaves must not take the guest with it
    const char *command = argc > 1 ? argv[1] : "--help";
    if (strcmp(command, "--run") == 0)
        return run_command(argc - 2, argv + 2);
    if (strcmp(command, "--vm") == 0)
        return vm_command(argc - 2, argv + 2);
    if (strcmp(command, "--check") == 0)
        return vm_check_command(argc - 2, argv + 2);
    if (strcmp(command, "--create-disk") == 0)
        return vm_create_disk_command(argc - 2, argv + 2);
    if (strcmp(command, "--disk") == 0)
        return disk_command(argc - 2, argv + 2);
    if (strcmp(command, "--create-volume") == 0)
        return vm_create_volume_command(argc - 2, argv + 2);
    if (strcmp(command, "--branch") == 0)
        return branch_command(argc - 2, argv + 2);
    if (strcmp(command, "--snapshots") == 0)
        return snapshot_service_command(argc - 2, argv + 2);
    if (strcmp(command, "--doctor") == 0)
        return doctor_command(argc - 2, argv + 2);
    if (strcmp(command, "--list-devices") == 0)
        return list_devices();
    if (strcmp(command, "--self-test-sandbox") == 0)
        return sandbox_self_test();
    if (strcmp(command, "--version") == 0) {
        puts("lodge-engine " LODGE_VERSION);
        return 0;
    }
    bool help = strcmp(command, "--help") == 0 && argc > 1;
    fputs(usage, help ? stdout : stderr);
    return help ? 0 : 2;
}
