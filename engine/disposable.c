// SPDX-License-Identifier: GPL-2.0-or-later
// See disposable.h. The node is protected and automatic, and its note is the mark; a person who
// wants to keep what the run did takes a snapshot in it.
#include "engine/disposable.h"

#include <string.h>

#define MARK "The machine goes back here when it is off: it runs without keeping changes."

// The node of a run, or STORE_CURRENT.
static StoreNodeId find_mark(Store *store)
{
    g_autoptr(GPtrArray) nodes = store_node_list(store);
    for (guint i = nodes->len; i-- > 0;) {
        const StoreNode *node = nodes->pdata[i];
        if (node->automatic && node->is_protected && g_strcmp0(node->note, MARK) == 0)
            return node->id;
    }
    return STORE_CURRENT;
}

bool disposable_begin(Store *store, StoreNodeId node, GError **error)
{
    StoreTake take = { .name = "Before this run", .note = MARK, .automatic = true,
                       .time = g_get_real_time() };
    StoreNodeId id;
    g_autoptr(StoreNode) there = node ? store_node_get(store, node, error) : NULL;
    if (node && !there)
        return false;
    return store_take(store, &take, &id, error) && store_set_protected(store, id, true, error) &&
           (!node || store_goto(store, node, NULL, NULL, error));
}

bool disposable_end(Store *store, GError **error)
{
    StoreNodeId id = find_mark(store);
    return id == STORE_CURRENT ||
           (store_goto(store, id, NULL, NULL, error) &&
            store_set_protected(store, id, false, error) && store_delete(store, id, error) &&
            store_purge(store, id, error));
}
