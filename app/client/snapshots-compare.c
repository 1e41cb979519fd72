// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshots-compare.h.
#include "app/client/snapshots-compare.h"

#include "app/client/engine-launcher.h"
#include "app/client/snapshots-client.h"
#include "app/client/snapshots-pin.h"
#include "engine/config/vm-folder.h"

typedef struct {
    const char *folder;
    guint64 from, to; // both are kept from being freed
    GCancellable *cancellable;
} Comparison;

// The identifier of what is now, as a snapshot; 0: there is none, because of changes.
static bool find_now(const char *folder, guint64 *ret_id, GError **error)
{
    g_autoptr(LodgeSnapshots1) proxy = snapshots_connect(folder, error);
    if (!proxy)
        return false;
    *ret_id = lodge_snapshots1_get_has_changes(proxy) ? 0 : lodge_snapshots1_get_position(proxy);
    return true;
}

static bool pin(const char *folder, guint64 id, SnapshotPin *ret_pin, GError **error)
{
    if (!id && !find_now(folder, &id, error))
        return false;
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, id);
    return snapshots_pin(folder, id ? text : NULL, "For a comparison", ret_pin, error);
}

static GVariant *compare_blocks(const Comparison *c, GError **error)
{
    g_autoptr(LodgeSnapshots1) proxy = snapshots_connect(c->folder, error);
    g_autoptr(GVariant) reply =
        proxy ? snapshots_call(proxy, "Diff", g_variant_new("(tt)", c->from, c->to),
                               c->cancellable, error)
              : NULL;
    return reply ? g_variant_get_child_value(reply, 0) : NULL;
}

static bool any_differs(GVariant *blocks)
{
    for (gsize i = 0; i < g_variant_n_children(blocks); i++) {
        g_autoptr(GVariant) disk = g_variant_get_child_value(blocks, i);
        g_autoptr(GVariant) ranges = g_variant_get_child_value(disk, 1);
        if (g_variant_n_children(ranges) > 0)
            return true;
    }
    return false;
}

// What the process tells is checked: a disk may have taken it over.
static GVariant *compare_files(const Comparison *c, GError **error)
{
    g_autofree char *store = g_build_filename(c->folder, VM_STORE_FILE, NULL);
    g_autofree char *from = g_strdup_printf("%" G_GUINT64_FORMAT, c->from);
    g_autofree char *to = g_strdup_printf("%" G_GUINT64_FORMAT, c->to);
    const char *arguments[] = { "--disk", "compare-volumes", "--gvariant", "--",
                                store,    from,              to,           NULL };
    g_autoptr(GError) problem = NULL;
    g_autoptr(GBytes) bytes =
        engine_output(arguments, SNAPSHOTS_COMPARE_MAX, c->cancellable, &problem);
    if (g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_MESSAGE_TOO_LARGE)) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_MESSAGE_TOO_LARGE,
                            "more files differ than can be shown here; lodgectl snapshot diff "
                            "--files lists them all");
        return NULL;
    }
    if (!bytes) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    g_autoptr(GVariant) files =
        g_variant_ref_sink(g_variant_new_from_bytes(SNAPSHOTS_FILES_TYPE, bytes, FALSE));
    if (g_variant_is_normal_form(files))
        return g_steal_pointer(&files);
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "the process that compares files answers what cannot be read; a disk may "
                        "have harmed it");
    return NULL;
}

static bool compare(const Comparison *c, GVariant **ret_blocks, GVariant **ret_files,
                    GError **error)
{
    g_autoptr(GVariant) blocks = compare_blocks(c, error);
    if (!blocks || g_cancellable_set_error_if_cancelled(c->cancellable, error))
        return false;
    g_autoptr(GVariant) files =
        any_differs(blocks) ? compare_files(c, error)
                            : g_variant_ref_sink(g_variant_new_array(
                                  g_variant_type_element(SNAPSHOTS_FILES_TYPE), NULL, 0));
    if (!files)
        return false;
    *ret_blocks = g_steal_pointer(&blocks);
    *ret_files = g_steal_pointer(&files);
    return true;
}

bool snapshots_compare(const char *folder, guint64 from, guint64 to, GCancellable *cancellable,
                       GVariant **ret_blocks, GVariant **ret_files, GError **error)
{
    g_autoptr(GVariant) blocks = NULL, files = NULL;
    g_autoptr(GError) untidy = NULL;
    SnapshotPin before, after;
    if (!pin(folder, from, &before, error))
        return false;
    bool done = !g_cancellable_set_error_if_cancelled(cancellable, error) &&
                pin(folder, to, &after, error);
    if (done) {
        Comparison c = { folder, before.id, after.id, cancellable };
        done = compare(&c, &blocks, &files, error);
        snapshots_unpin(folder, &after, &untidy);
    }
    snapshots_unpin(folder, &before, untidy ? NULL : &untidy);
    if (done && untidy) {
        g_propagate_error(error, g_steal_pointer(&untidy));
        return false;
    }
    if (!done)
        return false;
    *ret_blocks = g_steal_pointer(&blocks);
    *ret_files = g_steal_pointer(&files);
    return true;
}
