// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshot-tree.h. Without recursion: a tree may be a chain of thousands, and what the bus
// says may be wrong in any way (cycles among parents become roots that are never reached, so nodes
// that no root leads to are listed as roots in the end).
#include "app/snapshots/snapshot-tree.h"

typedef struct {
    GPtrArray *nodes;
    bool bin;
    GHashTable *by_id;    // guint64 * -> SnapshotNode *
    GHashTable *children; // SnapshotNode * or NULL -> GPtrArray of SnapshotNode *
    GHashTable *listed;   // SnapshotNode *
    GArray *rows;
} Builder;

static bool is_shown(const Builder *b, const SnapshotNode *node)
{
    return b->bin || !node->in_bin;
}

// The nearest ancestor that is listed, or NULL.
static const SnapshotNode *shown_parent(const Builder *b, const SnapshotNode *node)
{
    guint steps = 0;
    const SnapshotNode *parent = g_hash_table_lookup(b->by_id, &node->parent);
    while (parent && !is_shown(b, parent) && steps++ < b->nodes->len)
        parent = g_hash_table_lookup(b->by_id, &parent->parent);
    return parent && is_shown(b, parent) && parent != node ? parent : NULL;
}

static void add_child(Builder *b, const SnapshotNode *parent, const SnapshotNode *child)
{
    GPtrArray *list = g_hash_table_lookup(b->children, parent);
    if (!list) {
        list = g_ptr_array_new();
        g_hash_table_insert(b->children, (gpointer)parent, list);
    }
    g_ptr_array_add(list, (gpointer)child);
}

static void push_children(Builder *b, GArray *stack, const SnapshotTreeRow *above,
                          const SnapshotNode *parent)
{
    GPtrArray *list = g_hash_table_lookup(b->children, parent);
    for (guint i = list ? list->len : 0; i-- > 0;) {
        SnapshotTreeRow row = { .node = list->pdata[i], .last = i + 1 == list->len };
        if (above) {
            row.depth = MIN(above->depth + 1, SNAPSHOT_TREE_DEPTH_MAX);
            row.rails = above->rails;
            // The line of the parent's column goes on where the parent has a sibling below it.
            if (above->depth > 0 && !above->last)
                row.rails |= 1u << above->depth;
        }
        g_array_append_val(stack, row);
    }
}

static void list_below(Builder *b, GArray *stack)
{
    while (stack->len > 0) {
        SnapshotTreeRow row = g_array_index(stack, SnapshotTreeRow, stack->len - 1);
        g_array_set_size(stack, stack->len - 1);
        if (!g_hash_table_add(b->listed, (gpointer)row.node))
            continue;
        row.has_children = g_hash_table_contains(b->children, row.node);
        g_array_append_val(b->rows, row);
        push_children(b, stack, &row, row.node);
    }
}

GArray *snapshot_tree_rows(GPtrArray *nodes, bool bin)
{
    Builder b = {
        .nodes = nodes,
        .bin = bin,
        .by_id = g_hash_table_new(g_int64_hash, g_int64_equal),
        .children = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_ptr_array_unref),
        .listed = g_hash_table_new(NULL, NULL),
        .rows = g_array_new(FALSE, FALSE, sizeof(SnapshotTreeRow)),
    };
    g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(SnapshotTreeRow));
    for (guint i = 0; i < nodes->len; i++) {
        SnapshotNode *node = nodes->pdata[i];
        g_hash_table_insert(b.by_id, &node->id, node);
    }
    for (guint i = 0; i < nodes->len; i++) {
        if (is_shown(&b, nodes->pdata[i]))
            add_child(&b, shown_parent(&b, nodes->pdata[i]), nodes->pdata[i]);
    }
    push_children(&b, stack, NULL, NULL);
    list_below(&b, stack);
    for (guint i = 0; i < nodes->len; i++) {
        SnapshotTreeRow root = { .node = nodes->pdata[i], .last = true };
        if (!is_shown(&b, root.node) || g_hash_table_contains(b.listed, root.node))
            continue;
        g_array_append_val(stack, root);
        list_below(&b, stack);
    }
    g_hash_table_unref(b.by_id);
    g_hash_table_unref(b.children);
    g_hash_table_unref(b.listed);
    return b.rows;
}
