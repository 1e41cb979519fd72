// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-readers.h.
#include "engine/config/vm-readers.h"

#include "engine/config/vm-folder.h"

#include <gio/gio.h>

// The name of a machine that reads from the store, NULL: none does. node: from that snapshot, or
// nobody knows from which; 0: from any. Free with g_free.
static char *reader_of(const Config *settings, uint64_t node)
{
    const char *uuid = config_string(settings, "machine.uuid");
    g_auto(GStrv) names = vm_folder_list();
    for (char **name = names; *name && *uuid; name++) {
        g_autofree char *folder = vm_folder_find(*name, NULL);
        g_autofree char *path = folder ? g_build_filename(folder, VM_CONFIG_FILE, NULL) : NULL;
        g_autoptr(Config) other = path ? config_load(path, NULL) : NULL;
        if (!other || !g_str_equal(config_string(other, VM_LINKED_TO), uuid))
            continue;
        uint64_t at = (uint64_t)config_integer(other, VM_LINKED_NODE);
        if (!node || !at || at == node)
            return g_strdup(*name);
    }
    return NULL;
}

bool vm_readers_check_none(const Config *settings, GError **error)
{
    g_autofree char *reader = reader_of(settings, 0);
    if (reader)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    "the machine %s reads what it shares from %s; delete it first, or make a whole "
                    "copy of it (lodgectl clone)", reader, config_string(settings, "machine.name"));
    return !reader;
}

bool vm_readers_check_node(const Config *settings, uint64_t node, GError **error)
{
    g_autofree char *reader = reader_of(settings, node);
    if (reader)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    "the machine %s reads what it shares from this snapshot, which so has to stay; "
                    "delete %s first, or make a whole copy of it (lodgectl clone)", reader, reader);
    return !reader;
}
