// SPDX-License-Identifier: GPL-2.0-or-later
// disk: images are opened by lodge-engine only, which knows the commands and their options
// (engine/disk-jobs.c). import and export are between an image and a machine: what concerns the
// machine is done here, the copying by an engine that ends with it.
#include "app/cli/commands.h"

#include "app/client/engine-launcher.h"
#include "app/client/snapshots-pin.h"
#include "app/client/vm-client.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define DISKS_MAX 8

typedef struct {
    char *folder, *store;
    Config *config;
    unsigned number; // of the disk
    char *volume;
} Target;

static void target_clear(Target *target)
{
    g_free(target->folder);
    g_free(target->store);
    g_free(target->volume);
    g_clear_pointer(&target->config, config_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Target, target_clear)

static bool target_open(Target *target, const char *machine, GError **error)
{
    target->folder = vm_folder_find(machine, error);
    target->config = target->folder ? vm_client_config(target->folder, error) : NULL;
    if (target->config)
        target->store = g_build_filename(target->folder, VM_STORE_FILE, NULL);
    return target->config != NULL;
}

static bool parse_number(const char *text, unsigned *ret_number, GError **error)
{
    const char *digit = g_str_has_prefix(text, "disk") ? text + 4 : "";
    if (*digit >= '0' && *digit < '0' + DISKS_MAX && !digit[1]) {
        *ret_number = (unsigned)(*digit - '0');
        return true;
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "--disk %s must be one of disk0 to disk%d", text, DISKS_MAX - 1);
    return false;
}

static void add(GPtrArray *arguments, ...) G_GNUC_NULL_TERMINATED;

static void add(GPtrArray *arguments, ...)
{
    va_list args;
    va_start(args, arguments);
    for (const char *argument; (argument = va_arg(args, const char *));)
        g_ptr_array_add(arguments, (char *)argument);
    va_end(args);
}

static void pass_on(GPtrArray *arguments, const CliCall *call, const char *option)
{
    const char *value = cli_value(call, option);
    if (cli_has(call, option))
        add(arguments, option, value, NULL);
}

// ---- The engine's part ----

// Ctrl+C and SIGTERM end the engine's part; what was begun here is taken back behind it.
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t engine_pid; // 0: it does not run

typedef struct {
    struct sigaction interrupt, terminate; // what was before
} SignalGuard;

static void note_signal(int number)
{
    interrupted = 1;
    if (engine_pid)
        kill(engine_pid, SIGINT); // tidies up as well
}

static void signal_guard_set(SignalGuard *guard)
{
    struct sigaction action = { .sa_handler = note_signal, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &guard->interrupt);
    sigaction(SIGTERM, &action, &guard->terminate);
}

static void signal_guard_clear(SignalGuard *guard)
{
    sigaction(SIGINT, &guard->interrupt, NULL);
    sigaction(SIGTERM, &guard->terminate, NULL);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SignalGuard, signal_guard_clear)

static bool check_interrupted(GError **error)
{
    if (!interrupted)
        return true;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_CANCELLED, "cancelled");
    return false;
}

// It shares the terminal, and says itself what goes wrong: no error then.
static bool wait_for_engine(GSubprocess *process, GError **error)
{
    const char *pid = g_subprocess_get_identifier(process);
    engine_pid = pid ? (sig_atomic_t)g_ascii_strtoll(pid, NULL, 10) : 0;
    if (interrupted && engine_pid) // before its number was known
        kill(engine_pid, SIGINT);
    bool waited = g_subprocess_wait(process, NULL, error);
    engine_pid = 0;
    if (!waited || g_subprocess_get_successful(process))
        return waited;
    if (g_subprocess_get_if_exited(process))
        return false;
    if (check_interrupted(error))
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "lodge-engine was ended by signal %d",
                    g_subprocess_get_term_sig(process));
    return false;
}

static bool run_engine(GPtrArray *arguments, GError **error)
{
    g_autofree char *program = program_find("lodge-engine", error);
    if (!program || !check_interrupted(error))
        return false;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    add(argv, program, "--disk", NULL);
    g_ptr_array_extend(argv, arguments, NULL, NULL);
    g_ptr_array_add(argv, NULL);
    g_autoptr(GSubprocessLauncher) launcher =
        g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_INHERIT);
    g_subprocess_launcher_setenv(launcher, "LODGE_PROGRAM_NAME", "lodgectl", TRUE);
    g_autoptr(GSubprocess) process =
        g_subprocess_launcher_spawnv(launcher, (const char *const *)argv->pdata, error);
    return process && wait_for_engine(process, error);
}

static int fail(GError *error)
{
    if (!error)
        return CLI_FAILED;
    vm_client_strip_error(error);
    return cli_fail(error);
}

// ---- export ----

static bool choose_exported(Target *target, const char *disk, GError **error)
{
    if (disk && !parse_number(disk, &target->number, error))
        return false;
    const char *path = config_string_at(target->config, "disk", target->number, "path");
    if (strcmp(path, VM_STORE_FILE) != 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    *path ? "disk%u is the image %s already; lodgectl disk convert copies it"
                          : "the machine has no disk%u%s; lodgectl show lists its disks",
                    target->number, path);
        return false;
    }
    const char *volume = config_string_at(target->config, "disk", target->number, "volume");
    target->volume = *volume ? g_strdup(volume) : g_strdup_printf("disk%u", target->number);
    return true;
}

static int run_export(const CliCall *call)
{
    GError *error = NULL;
    g_auto(SignalGuard) guard;
    signal_guard_set(&guard);
    g_auto(Target) target = { 0 };
    SnapshotPin pinned = { 0 };
    if (!target_open(&target, cli_argument(call, 0), &error) ||
        !choose_exported(&target, cli_value(call, "--disk"), &error) ||
        !snapshots_pin(target.folder, cli_value(call, "--node"), "For an export", &pinned, &error))
        return fail(error);
    g_autofree char *id = g_strdup_printf("%" G_GUINT64_FORMAT, pinned.id);
    g_autoptr(GPtrArray) arguments = g_ptr_array_new();
    add(arguments, "export-volume", NULL);
    pass_on(arguments, call, "--format");
    pass_on(arguments, call, "--compress");
    pass_on(arguments, call, "--json");
    add(arguments, "--", target.store, target.volume, id, cli_argument(call, 1), NULL);
    bool done = run_engine(arguments, &error);
    bool tidy = snapshots_unpin(target.folder, &pinned, error ? NULL : &error);
    return done && tidy ? CLI_OK : fail(error);
}

static const CliOption export_options[] = {
    { "--disk", "DISK", "which disk: disk0 (default) to disk7" },
    { "--node", "NODE", "as it was in that snapshot (default: as it is now)" },
    { "--format", "NAME", "qcow2, raw, vmdk, vdi or vhd (default: what FILE ends in)" },
    { "--compress", "NAME", "qcow2: zlib or zstd" },
    { "--json", NULL, "say as JSON what was made" },
};

static const CliCommand command_export = {
    .name = "disk export",
    .arguments = "MACHINE FILE",
    .summary = "Copies a machine's disk into a new image.",
    .options = export_options,
    .option_count = G_N_ELEMENTS(export_options),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_export,
};

// ---- snapshot diff --files ----

// What is now is looked at in a snapshot that lasts as long.
int run_snapshot_files(const CliCall *call)
{
    GError *error = NULL;
    g_auto(SignalGuard) guard;
    signal_guard_set(&guard);
    g_auto(Target) target = { 0 };
    SnapshotPin before = { 0 }, after = { 0 };
    const char *second = call->arguments->len > 2 ? cli_argument(call, 2) : NULL;
    if (!target_open(&target, cli_argument(call, 0), &error) ||
        !snapshots_pin(target.folder, cli_argument(call, 1), "", &before, &error))
        return fail(error);
    bool done = snapshots_pin(target.folder, second, "For a comparison", &after, &error);
    if (done) {
        g_autofree char *from = g_strdup_printf("%" G_GUINT64_FORMAT, before.id);
        g_autofree char *to = g_strdup_printf("%" G_GUINT64_FORMAT, after.id);
        g_autoptr(GPtrArray) arguments = g_ptr_array_new();
        add(arguments, "compare-volumes", NULL);
        pass_on(arguments, call, "--json");
        add(arguments, "--", target.store, from, to, NULL);
        done = run_engine(arguments, &error);
        done &= snapshots_unpin(target.folder, &after, error ? NULL : &error);
    }
    done &= snapshots_unpin(target.folder, &before, error ? NULL : &error);
    return done ? CLI_OK : fail(error);
}

// ---- import ----

static bool choose_imported(Target *target, const char *disk, GError **error)
{
    if (disk && !parse_number(disk, &target->number, error))
        return false;
    unsigned end = disk ? target->number + 1 : DISKS_MAX;
    while (target->number < end &&
           *config_string_at(target->config, "disk", target->number, "path"))
        target->number++;
    if (target->number < end) {
        target->volume = g_strdup_printf("disk%u", target->number);
        return true;
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                "the machine has %s already; take one out first (lodgectl set MACHINE diskN.path=)",
                disk ? disk : "eight disks");
    return false;
}

static bool check_off(const Target *target, const char *machine, GError **error)
{
    g_autofree char *state = vm_client_state_in(target->folder, target->config);
    if (strcmp(state, "off") == 0)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                "the machine %s is %s; a disk can be put in while it is off", machine, state);
    return false;
}

static bool put_in(Target *target, GError **error)
{
    g_autofree char *key = g_strdup_printf("disk%u.path", target->number);
    g_autofree char *path = g_build_filename(target->folder, VM_CONFIG_FILE, NULL);
    return config_set(target->config, key, VM_STORE_FILE, error) &&
           config_check(target->config, error) && config_save(target->config, path, error);
}

static int run_import(const CliCall *call)
{
    GError *error = NULL;
    g_auto(SignalGuard) guard;
    signal_guard_set(&guard);
    g_auto(Target) target = { 0 };
    const char *machine = cli_argument(call, 0);
    if (!target_open(&target, machine, &error) || !check_off(&target, machine, &error) ||
        !choose_imported(&target, cli_value(call, "--disk"), &error))
        return fail(error);
    g_autoptr(GPtrArray) arguments = g_ptr_array_new();
    add(arguments, "import-volume", NULL);
    pass_on(arguments, call, "--from");
    pass_on(arguments, call, "--json");
    add(arguments, "--", cli_argument(call, 1), target.store, target.volume, NULL);
    if (!run_engine(arguments, &error) || !put_in(&target, &error))
        return fail(error);
    return CLI_OK;
}

static const CliOption import_options[] = {
    { "--disk", "DISK", "which disk it becomes: disk0 to disk7 (default: the first free)" },
    { "--from", "NAME", "the image's format, where its name and first bytes may not tell" },
    { "--json", NULL, "say as JSON what was made" },
};

static const CliCommand command_import = {
    .name = "disk import",
    .arguments = "MACHINE FILE",
    .summary = "Copies an image into a machine's snapshot store, as a disk.",
    .options = import_options,
    .option_count = G_N_ELEMENTS(import_options),
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_import,
};

static int run_disk(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "export") == 0)
        return cli_command_run(&command_export, argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "import") == 0)
        return cli_command_run(&command_import, argc - 1, argv + 1);
    return become_engine("--disk", argc, argv);
}

const CliCommand command_disk = {
    .name = "disk",
    .arguments = "COMMAND FILE...",
    .summary = "Says what disk images are; checks, converts, resizes, imports and exports them.",
    .run_raw = run_disk,
};
