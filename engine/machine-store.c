// SPDX-License-Identifier: GPL-2.0-or-later
// Disks that are volumes of the machine's snapshot store: disk0.path=snapshots.store. All of a
// machine's are in one store, so that a snapshot has all of them at one moment.
#include "engine/machine-private.h"

#include <gio/gio.h>
#include <string.h>

// For a machine that stands still because the host's disk is full: what saves its devices.
#define STORE_RESERVE_BYTES (16u << 20)

static bool open_store(Machine *machine, const char *path, GError **error)
{
    if (machine->store) {
        if (strcmp(machine->store_path, path) == 0)
            return true;
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "a machine's disks must be in one snapshot store; these are in %s and %s",
                    machine->store_path, path);
        return false;
    }
    StoreOpen options = { .path = path, .reserve = STORE_RESERVE_BYTES };
    machine->store = store_open(&options, error);
    g_free(machine->store_path);
    machine->store_path = g_strdup(path);
    return machine->store != NULL;
}

BlockDevice *machine_open_volume(Machine *machine, unsigned disk, const char *file, GError **error)
{
    g_autofree char *path = config_resolve_path(machine->folder, file);
    if (!open_store(machine, path, error))
        return NULL;
    g_autofree char *name = g_strdup_printf("disk%u", disk);
    const char *set = config_string_at(machine->config, "disk", disk, "volume");
    return store_volume_open(machine->store, STORE_CURRENT, *set ? set : name,
                             bus_mutex(machine->bus), error);
}

Store *machine_store(Machine *machine)
{
    return machine->store;
}

void machine_close_store(Machine *machine)
{
    g_clear_pointer(&machine->store, store_close);
    g_clear_pointer(&machine->store_path, g_free);
}
