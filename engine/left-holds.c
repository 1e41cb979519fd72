// SPDX-License-Identifier: GPL-2.0-or-later
// See left-holds.h.
#include "engine/left-holds.h"

#include "engine/config/vm-folder.h"
#include "engine/config/vm-holds.h"
#include "engine/config/vm-readers.h"

#include <glib/gstdio.h>

static bool is_read(const char *folder, uint64_t node)
{
    g_autofree char *path = g_build_filename(folder, VM_CONFIG_FILE, NULL);
    g_autoptr(Config) settings = config_load(path, NULL);
    return settings && !vm_readers_check_node(settings, node, NULL);
}

static bool end(Store *store, const char *folder, const VmHold *hold, GError **error)
{
    g_autoptr(StoreNode) node = store_node_get(store, hold->node, NULL);
    // It came as far as that; or a clone that was made meanwhile needs the protection.
    if (!node || is_read(folder, hold->node))
        return true;
    return store_set_protected(store, hold->node, false, error) &&
           (!hold->made || ((node->in_bin || store_delete(store, hold->node, error)) &&
                            store_purge(store, hold->node, error)));
}

void left_holds_end(Store *store, const char *folder)
{
    g_autoptr(GPtrArray) left = vm_holds_left(folder);
    for (guint i = 0; i < left->len; i++) {
        const VmHold *hold = left->pdata[i];
        g_autoptr(GError) error = NULL;
        if (end(store, folder, hold, &error))
            g_unlink(hold->path);
        else
            g_info("snapshot %" G_GUINT64_FORMAT " keeps a protection that nobody needs: %s",
                   hold->node, error->message);
    }
}
