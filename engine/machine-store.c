// SPDX-License-Identifier: GPL-2.0-or-later
// Disks that are volumes of the machine's snapshot store: disk0.path=snapshots.store. All of a
// machine's are in one store, so that a snapshot has all of them at one moment.
#include "engine/disposable.h"
#include "engine/left-holds.h"
#include "engine/machine-private.h"
#include "engine/machine-state.h"
#include "engine/store-state.h"

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
    // A run that keeps nothing may have been cut off before this one.
    if (!machine->store || !disposable_end(machine->store, error))
        return false;
    g_autofree char *folder = g_path_get_dirname(path);
    left_holds_end(machine->store, folder);
    return !machine->options.disposable ||
           disposable_begin(machine->store, machine->options.node, error);
}

// A disk or floppy that is written outside the store would keep what the run does.
bool machine_check_disposable(Machine *machine, GError **error)
{
    static const char *const sections[] = { "disk", "floppy" };
    static const unsigned counts[] = { DISKS_MAX, FLOPPIES_MAX };
    for (unsigned kind = 0; machine->options.disposable && kind < 2; kind++) {
        for (unsigned i = 0; i < counts[kind]; i++) {
            const char *path = config_string_at(machine->config, sections[kind], i, "path");
            if (!*path || g_str_has_suffix(path, ".store") ||
                config_boolean_at(machine->config, sections[kind], i, "read-only"))
                continue;
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                        "%s%u is the image %s, which is not in the snapshot store and would keep "
                        "what the run does; set %s%u.read-only=yes, or run it with its changes",
                        sections[kind], i, path, sections[kind], i);
            return false;
        }
    }
    if (!machine->options.disposable || machine->store)
        return true;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                        "the machine has no disk in a snapshot store, so there is nothing to throw "
                        "away; run it as it is");
    return false;
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

bool machine_find_state(Machine *machine, GError **error)
{
    if (machine->options.resume || !machine->store)
        return true;
    g_autoptr(GError) problem = NULL;
    machine->store_state = store_state_open(machine->store, &problem);
    if (machine->store_state)
        machine->options.resume = store_state_source(machine->store_state);
    if (!problem)
        return true;
    g_propagate_prefixed_error(error, g_steal_pointer(&problem),
                               "the machine cannot go on from its snapshot: ");
    return false;
}

bool machine_fits_form(Machine *machine, GBytes *form, GError **error)
{
    g_autoptr(StateForm) decoded = state_form_decode(form, error);
    return decoded && machine_state_check(machine, decoded, error);
}

bool machine_load_from_store(Machine *machine, GError **error)
{
    g_return_val_if_fail(machine->store && !machine->running, false);
    StoreState *state = store_state_open(machine->store, error);
    if (!state) {
        g_prefix_error(error, "the snapshot's state is not there: ");
        return false;
    }
    machine_reset(machine, true); // what no state table holds begins anew, as in a new machine
    const MachineStateSource *source = store_state_source(state);
    bool loaded = machine_state_load(machine, source, error) &&
                  source->consume(source->opaque, error);
    // Memory is mapped from the new one now, at least in part.
    g_clear_pointer(&machine->store_state, store_state_close);
    machine->store_state = state;
    return loaded;
}

void machine_close_store(Machine *machine)
{
    g_clear_pointer(&machine->store_state, store_state_close);
    g_autoptr(GError) error = NULL;
    if (machine->store && machine->options.disposable && !disposable_end(machine->store, &error))
        g_warning("what the run changed is thrown away when the machine starts next, not now: %s",
                  error->message);
    g_clear_pointer(&machine->store, store_close);
    g_clear_pointer(&machine->store_path, g_free);
}
