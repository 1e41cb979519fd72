// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshots-pin.h.
#include "app/client/snapshots-pin.h"

#include "app/client/snapshots-client.h"
#include "app/client/vm-client.h"
#include "engine/config/vm-holds.h"
#include "engine/config/vm-readers.h"

static bool find_node(LodgeSnapshots1 *proxy, const char *text, SnapshotPin *ret_pin,
                      GError **error)
{
    g_autoptr(GVariant) variant = NULL;
    if (!lodge_snapshots1_call_list_sync(proxy, &variant, NULL, error))
        return false;
    g_autoptr(GPtrArray) nodes = snapshots_nodes_from_variant(variant);
    const SnapshotNode *node = snapshots_find(nodes, text, error);
    if (!node)
        return false;
    *ret_pin = (SnapshotPin){ node->id, false, !node->is_protected };
    return true;
}

bool snapshots_unpin(const char *folder, const SnapshotPin *pin, GError **error)
{
    g_autoptr(Config) settings = vm_client_config(folder, NULL);
    if (!pin->protected_now)
        return true;
    if (settings && !vm_readers_check_node(settings, pin->id, NULL)) {
        vm_hold_remove(folder, pin->id); // a clone that was made meanwhile needs it
        return true;
    }
    // The service may have ended since: it is another connection.
    g_autoptr(LodgeSnapshots1) proxy = snapshots_connect(folder, error);
    bool done = proxy &&
                lodge_snapshots1_call_set_protected_sync(proxy, pin->id, FALSE, NULL, error) &&
                (!pin->made ||
                 (lodge_snapshots1_call_delete_sync(proxy, pin->id, NULL, error) &&
                  lodge_snapshots1_call_purge_sync(proxy, pin->id, NULL, error)));
    if (done)
        vm_hold_remove(folder, pin->id);
    return done;
}

bool snapshots_pin(const char *folder, const char *node, const char *why, SnapshotPin *ret_pin,
                   GError **error)
{
    g_autoptr(LodgeSnapshots1) proxy = snapshots_connect(folder, error);
    if (!proxy)
        return false;
    if (node) {
        if (!find_node(proxy, node, ret_pin, error))
            return false;
    } else {
        *ret_pin = (SnapshotPin){ 0, true, true };
        if (!lodge_snapshots1_call_take_sync(proxy, why, "", FALSE, &ret_pin->id, NULL, error))
            return false;
    }
    if (!ret_pin->protected_now ||
        (vm_hold_add(folder, ret_pin->id, ret_pin->made, error) &&
         lodge_snapshots1_call_set_protected_sync(proxy, ret_pin->id, TRUE, NULL, error)))
        return true;
    snapshots_unpin(folder, ret_pin, NULL);
    return false;
}
