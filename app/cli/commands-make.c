// SPDX-License-Identifier: GPL-2.0-or-later
// create, set, delete: a machine's folder and its machine.conf. A machine comes into being as one
// step (vm_folder_commit) after everything about it was checked, or not at all.
#include "app/cli/commands.h"

#include "engine/config/vm-readers.h"
#include "app/client/vm-create.h"
#include "app/client/vm-client.h"

#include <stdio.h>
#include <string.h>

#define DISKS_MAX 8

// Sets a key; the message has the option's name in place of the key's.
static bool set_key(Config *config, const char *option, const char *name, const char *value,
                    GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (config_set(config, name, value, &problem))
        return true;
    const char *must = strstr(problem->message, ": must be ");
    g_set_error(error, problem->domain, problem->code, "%s %s%s", option, value,
                must ? must : problem->message);
    return false;
}

static bool set_absolute(Config *config, const char *option, const char *name, const char *path,
                         GError **error)
{
    g_autofree char *absolute = g_canonicalize_filename(path, NULL);
    return set_key(config, option, name, absolute, error);
}

// SIZE: a new image in the machine's folder; FILE: that image, where it is.
static bool add_disk(Config *config, const char *folder, const char *value, unsigned number,
                     GError **error)
{
    if (number >= DISKS_MAX) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "--disk was given more than %d times; a machine has at most %d disks",
                    DISKS_MAX, DISKS_MAX);
        return false;
    }
    g_autofree char *key = g_strdup_printf("disk%u.path", number);
    int64_t size;
    if (!config_size_parse(value, &size) || g_file_test(value, G_FILE_TEST_EXISTS))
        return set_absolute(config, "--disk", key, value, error);
    return vm_create_disk(config, folder, number, value, error);
}

static bool apply_option(Config *config, const char *folder, const char *option, const char *value,
                         unsigned *disks, GError **error)
{
    if (strcmp(option, "--disk") == 0)
        return add_disk(config, folder, value, (*disks)++, error);
    if (strcmp(option, "--iso") == 0)
        return set_absolute(config, option, "cdrom0.path", value, error);
    if (strcmp(option, "--memory") == 0)
        return set_key(config, option, "memory.size", value, error);
    if (strcmp(option, "--cpus") == 0)
        return set_key(config, option, "cpu.count", value, error);
    if (strcmp(option, "--engine") == 0)
        return set_key(config, option, "cpu.engine", value, error);
    return config_set_assignment(config, value, error); // --set
}

static bool fill(Config *config, const char *folder, void *data, GError **error)
{
    const CliCall *call = data;
    unsigned disks = 0;
    for (guint i = 0; i < call->names->len; i++) {
        if (!apply_option(config, folder, call->names->pdata[i], call->values->pdata[i], &disks,
                          error))
            return false;
    }
    return true;
}

static int run_create(const CliCall *call)
{
    GError *error = NULL;
    g_autofree char *folder = vm_create(cli_argument(call, 0), fill, (void *)call, &error);
    if (!folder)
        return cli_fail(error);
    printf("%s\n", folder);
    return CLI_OK;
}

static const CliOption create_options[] = {
    { "--iso", "FILE", "a disc in the CD drive" },
    { "--disk", "SIZE|FILE", "a new disk of this size, or an image; up to 8 times" },
    { "--memory", "SIZE", "memory, like 512M or 2G (default 1G)" },
    { "--cpus", "N", "virtual CPUs, 1 to 64 (default 1)" },
    { "--engine", "NAME", "auto, kvm, monitor, translator or interpreter" },
    { "--set", "KEY=VALUE", "any setting of lodge.conf(5); may be repeated" },
};

const CliCommand command_create = {
    .name = "create",
    .arguments = "NAME",
    .summary = "Makes a new machine and prints its folder.",
    .options = create_options,
    .option_count = G_N_ELEMENTS(create_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_create,
};

static int run_set(const CliCall *call)
{
    GError *error = NULL;
    g_autofree char *folder = vm_folder_find(cli_argument(call, 0), &error);
    g_autoptr(Config) config = folder ? vm_client_config(folder, &error) : NULL;
    if (!config)
        return cli_fail(error);
    for (guint i = 1; i < call->arguments->len; i++) {
        if (!config_set_assignment(config, cli_argument(call, i), &error))
            return cli_fail(error);
    }
    g_autofree char *path = g_build_filename(folder, VM_CONFIG_FILE, NULL);
    if (!config_check(config, &error) || !config_save(config, path, &error))
        return cli_fail(error);
    g_autofree char *state = vm_client_state(config);
    if (strcmp(state, "off") != 0)
        fprintf(stderr, "lodgectl: the machine is %s; the change takes effect at its next start\n",
                state);
    return CLI_OK;
}

const CliCommand command_set = {
    .name = "set",
    .arguments = "NAME KEY=VALUE...",
    .summary = "Changes a machine's settings; lodge.conf(5) lists them.",
    .min_arguments = 2,
    .max_arguments = 1000,
    .run = run_set,
};

static int run_delete(const CliCall *call)
{
    const char *name = cli_argument(call, 0);
    GError *error = NULL;
    g_autofree char *folder = vm_folder_find(name, &error);
    if (!folder)
        return cli_fail(error);
    // A machine whose machine.conf cannot be read can be deleted; it cannot run either.
    g_autoptr(Config) config = vm_client_config(folder, NULL);
    g_autofree char *state = config ? vm_client_state(config) : g_strdup("off");
    if (strcmp(state, "off") != 0)
        return cli_fail_text("the machine %s is %s; stop it first (lodgectl stop %s --force)", name,
                             state, name);
    if (config && !vm_readers_check_none(config, &error))
        return cli_fail(error);
    return vm_folder_delete(folder, &error) ? CLI_OK : cli_fail(error);
}

const CliCommand command_delete = {
    .name = "delete",
    .arguments = "NAME",
    .summary = "Removes a machine with everything in its folder.",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_delete,
};
