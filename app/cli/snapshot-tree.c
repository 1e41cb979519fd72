// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshot-tree.h.
#include "app/cli/snapshot-tree.h"

#include "app/cli/command.h"
#include "app/client/vm-client.h"

void snapshot_tree_clear(SnapshotTree *tree)
{
    g_clear_object(&tree->proxy);
    g_clear_pointer(&tree->nodes, g_ptr_array_unref);
}

bool snapshot_tree_open(const char *machine, SnapshotTree *tree, GError **error)
{
    g_autofree char *folder = vm_folder_find(machine, error);
    tree->proxy = folder ? snapshots_connect(folder, error) : NULL;
    g_autoptr(GVariant) nodes = NULL;
    if (!tree->proxy || !lodge_snapshots1_call_list_sync(tree->proxy, &nodes, NULL, error))
        return false;
    tree->nodes = snapshots_nodes_from_variant(nodes);
    return true;
}

int snapshot_fail(GError *error)
{
    vm_client_strip_error(error);
    return cli_fail(error);
}
