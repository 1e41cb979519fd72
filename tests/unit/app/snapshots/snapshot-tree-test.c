// SPDX-License-Identifier: GPL-2.0-or-later
// The order of a tree's rows and their lines, as text: one line a row, "|" for a line that goes
// through, "+" for the way to the node, "*" with children, "o" without.
#include "app/snapshots/snapshot-tree.h"

#include <string.h>

typedef struct {
    guint64 id, parent;
    bool in_bin;
} Given;

static GPtrArray *make_nodes(const Given *given, gsize count)
{
    GVariantBuilder b;
    g_variant_builder_init(&b, G_VARIANT_TYPE("aa{sv}"));
    for (gsize i = 0; i < count; i++) {
        g_variant_builder_open(&b, G_VARIANT_TYPE_VARDICT);
        g_variant_builder_add(&b, "{sv}", "id", g_variant_new_uint64(given[i].id));
        g_variant_builder_add(&b, "{sv}", "parent", g_variant_new_uint64(given[i].parent));
        g_variant_builder_add(&b, "{sv}", "in-bin", g_variant_new_boolean(given[i].in_bin));
        g_variant_builder_close(&b);
    }
    g_autoptr(GVariant) variant = g_variant_ref_sink(g_variant_builder_end(&b));
    return snapshots_nodes_from_variant(variant);
}

static char *draw(const Given *given, gsize count, bool bin)
{
    g_autoptr(GPtrArray) nodes = make_nodes(given, count);
    g_autoptr(GArray) rows = snapshot_tree_rows(nodes, bin);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < rows->len; i++) {
        const SnapshotTreeRow *row = &g_array_index(rows, SnapshotTreeRow, i);
        for (guint column = 1; column < row->depth; column++)
            g_string_append_c(text, row->rails >> column & 1 ? '|' : ' ');
        if (row->depth > 0)
            g_string_append_c(text, row->last ? 'L' : '+');
        g_string_append_printf(text, "%c%" G_GUINT64_FORMAT "\n", row->has_children ? '*' : 'o',
                               row->node->id);
    }
    return g_string_free(text, FALSE);
}

#define ASSERT_DRAWN(given, bin, wanted)                                                           \
    do {                                                                                           \
        g_autofree char *drawn = draw(given, G_N_ELEMENTS(given), bin);                            \
        g_assert_cmpstr(drawn, ==, wanted);                                                        \
    } while (0)

static void test_branches(void)
{
    static const Given given[] = { { 1, 0, 0 }, { 2, 1, 0 }, { 3, 2, 0 },
                                   { 4, 1, 0 }, { 5, 4, 0 } };
    ASSERT_DRAWN(given, false, "*1\n+*2\n|Lo3\nL*4\n Lo5\n");
}

static void test_several_roots(void)
{
    static const Given given[] = { { 1, 0, 0 }, { 2, 0, 0 }, { 3, 1, 0 } };
    ASSERT_DRAWN(given, false, "*1\nLo3\no2\n");
}

static void test_bin_is_passed_over(void)
{
    static const Given given[] = { { 1, 0, 0 }, { 2, 1, 1 }, { 3, 2, 0 } };
    ASSERT_DRAWN(given, false, "*1\nLo3\n");
    ASSERT_DRAWN(given, true, "*1\nL*2\n Lo3\n");
}

static void test_parent_that_is_not_there(void)
{
    static const Given given[] = { { 7, 6, 0 }, { 8, 7, 0 } };
    ASSERT_DRAWN(given, false, "*7\nLo8\n");
}

static void test_cycle(void)
{
    static const Given given[] = { { 1, 2, 0 }, { 2, 1, 0 }, { 3, 3, 0 } };
    g_autoptr(GPtrArray) nodes = make_nodes(given, G_N_ELEMENTS(given));
    g_autoptr(GArray) rows = snapshot_tree_rows(nodes, false);
    g_assert_cmpuint(rows->len, ==, 3);
}

static void test_long_chain(void)
{
    enum { LENGTH = 5000 };
    g_autofree Given *given = g_new0(Given, LENGTH);
    for (guint i = 0; i < LENGTH; i++)
        given[i] = (Given){ i + 1, i, false };
    g_autoptr(GPtrArray) nodes = make_nodes(given, LENGTH);
    g_autoptr(GArray) rows = snapshot_tree_rows(nodes, false);
    g_assert_cmpuint(rows->len, ==, LENGTH);
    g_assert_cmpuint(g_array_index(rows, SnapshotTreeRow, LENGTH - 1).depth, ==,
                     SNAPSHOT_TREE_DEPTH_MAX);
}

static void test_find(void)
{
    static const Given given[] = { { 1, 0, 0 }, { 2, 1, 0 } };
    g_autoptr(GPtrArray) nodes = make_nodes(given, G_N_ELEMENTS(given));
    g_autoptr(GError) error = NULL;
    g_assert_cmpuint(snapshots_find(nodes, "2", &error)->id, ==, 2);
    g_assert_null(snapshots_find(nodes, "nothing", &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_null(snapshots_find(nodes, "", &error)); // both are named so
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot-tree/branches", test_branches);
    g_test_add_func("/snapshot-tree/several-roots", test_several_roots);
    g_test_add_func("/snapshot-tree/bin-is-passed-over", test_bin_is_passed_over);
    g_test_add_func("/snapshot-tree/parent-that-is-not-there", test_parent_that_is_not_there);
    g_test_add_func("/snapshot-tree/cycle", test_cycle);
    g_test_add_func("/snapshot-tree/long-chain", test_long_chain);
    g_test_add_func("/snapshot-tree/find", test_find);
    return g_test_run();
}
