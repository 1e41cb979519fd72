// SPDX-License-Identifier: GPL-2.0-or-later
// The part of LodgeSnapshots that reads and shows the tree: rows, pictures, sizes, forecasts.
#include "app/snapshots/lodge-snapshots-private.h"

#include "app/client/vm-client.h"
#include "app/lodge-dialogs.h"
#include "app/snapshots/lodge-snapshot-row.h"

#include <glib/gi18n.h>

LodgeSnapshotRow *lodge_snapshots_selected(LodgeSnapshots *self)
{
    return (LodgeSnapshotRow *)gtk_list_box_get_selected_row(self->list);
}

void lodge_snapshots_show_status(LodgeSnapshots *self, const char *title, const char *text)
{
    g_autofree char *markup = g_markup_escape_text(text, -1);
    adw_status_page_set_title(self->status, title);
    adw_status_page_set_description(self->status, markup);
    gtk_stack_set_visible_child_name(self->stack, "status");
}

void lodge_snapshots_fail(LodgeSnapshots *self, const char *heading, GError *error)
{
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return;
    vm_client_strip_error(error);
    lodge_dialog_error(GTK_WIDGET(self), heading, error);
}

const SnapshotNode *lodge_snapshots_find(LodgeSnapshots *self, guint64 id)
{
    for (guint i = 0; self->nodes && i < self->nodes->len; i++) {
        const SnapshotNode *node = self->nodes->pdata[i];
        if (node->id == id)
            return node;
    }
    return NULL;
}

static const SnapshotNode *selected_node(LodgeSnapshots *self)
{
    LodgeSnapshotRow *row = lodge_snapshots_selected(self);
    return row ? lodge_snapshots_find(self, lodge_snapshot_row_get_id(row)) : NULL;
}

void lodge_snapshots_show_costs(LodgeSnapshots *self)
{
    const SnapshotNode *node = self->proxy ? selected_node(self) : NULL;
    gtk_widget_set_visible(GTK_WIDGET(self->costs), node != NULL);
    if (!node)
        return;
    g_autofree char *text =
        snapshot_forecast_text(&self->forecast, node,
                               node->id == lodge_snapshots1_get_position(self->proxy),
                               lodge_snapshots1_get_has_changes(self->proxy) ||
                                   self->forecast.discards > 0);
    gtk_label_set_label(self->costs, text);
}

static void on_take_forecast(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeSnapshots) self = user_data;
    guint64 needs, frees, discards;
    if (lodge_snapshots1_call_forecast_finish(LODGE_SNAPSHOTS1(source), &needs, &frees, &discards,
                                              result, NULL) && (gpointer)self->proxy == source)
        self->forecast.take_needs = needs;
}

static void on_go_to_forecast(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeSnapshots) self = user_data;
    guint64 needs, frees, discards;
    if (!lodge_snapshots1_call_forecast_finish(LODGE_SNAPSHOTS1(source), &needs, &frees, &discards,
                                               result, NULL) || (gpointer)self->proxy != source)
        return;
    self->forecast.discards = discards;
    lodge_snapshots_show_costs(self);
}

// While the service is awake. What current would lose is the same for each node, and what deleting
// a node frees is its own size, so that choosing another node need not wake the service.
void lodge_snapshots_ask_forecast(LodgeSnapshots *self)
{
    lodge_snapshots1_call_forecast(self->proxy, "take", 0, self->cancellable, on_take_forecast,
                                   g_object_ref(self));
    if (!self->nodes || self->nodes->len == 0)
        return;
    const SnapshotNode *node = self->nodes->pdata[0];
    lodge_snapshots1_call_forecast(self->proxy, "goto", node->id, self->cancellable,
                                   on_go_to_forecast, g_object_ref(self));
}

static void show_usage(LodgeSnapshots *self)
{
    g_autofree char *size = g_format_size_full(lodge_snapshots1_get_file_size(self->proxy),
                                               G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *bin = g_format_size_full(lodge_snapshots1_get_bin_size(self->proxy),
                                              G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *text = lodge_snapshots1_get_bin_size(self->proxy)
                                ? g_strdup_printf(_("%s in all, %s of it in the bin"), size, bin)
                                : g_strdup_printf(_("%s in all"), size);
    gtk_label_set_label(self->usage, text);
    gtk_widget_set_tooltip_text(GTK_WIDGET(self->usage), text); // in a narrow window it is cut off
}

typedef struct {
    LodgeSnapshots *self; // both are references
    LodgeSnapshotRow *row;
} Picture;

static void on_picture(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autofree Picture *picture = user_data;
    g_autoptr(LodgeSnapshots) self = picture->self;
    g_autoptr(LodgeSnapshotRow) row = picture->row;
    g_autoptr(GVariant) results = g_dbus_proxy_call_finish(G_DBUS_PROXY(source), result, NULL);
    if (!results) // it has none
        return;
    g_autoptr(GVariant) bytes = g_variant_get_child_value(results, 0);
    g_autoptr(GBytes) png = g_variant_get_data_as_bytes(bytes);
    g_autoptr(GdkTexture) texture = gdk_texture_new_from_bytes(png, NULL);
    if (!texture)
        return;
    lodge_snapshot_row_set_picture(row, GDK_PAINTABLE(texture));
    if ((gpointer)self->proxy == source) // for when the list is filled again: a node never changes
        g_hash_table_insert(self->pictures, g_memdup2(&(guint64){ lodge_snapshot_row_get_id(row) },
                                                      sizeof(guint64)), g_steal_pointer(&texture));
}

static void show_picture(LodgeSnapshots *self, LodgeSnapshotRow *row)
{
    guint64 id = lodge_snapshot_row_get_id(row);
    GdkPaintable *known = g_hash_table_lookup(self->pictures, &id);
    if (known) {
        lodge_snapshot_row_set_picture(row, known);
        return;
    }
    Picture *picture = g_new0(Picture, 1);
    *picture = (Picture){ g_object_ref(self), g_object_ref(row) };
    g_dbus_proxy_call(G_DBUS_PROXY(self->proxy), "Thumbnail", g_variant_new("(t)", id),
                      G_DBUS_CALL_FLAGS_NO_AUTO_START, -1, self->cancellable, on_picture, picture);
}

void lodge_snapshots_fill(LodgeSnapshots *self)
{
    LodgeSnapshotRow *old = lodge_snapshots_selected(self);
    guint64 wanted = old ? lodge_snapshot_row_get_id(old)
                         : lodge_snapshots1_get_position(self->proxy);
    guint64 position = lodge_snapshots1_get_position(self->proxy);
    gboolean changed = lodge_snapshots1_get_has_changes(self->proxy);
    GtkWidget *child;
    while ((child = gtk_widget_get_first_child(GTK_WIDGET(self->list))))
        gtk_list_box_remove(self->list, child);
    g_autoptr(GArray) rows = snapshot_tree_rows(self->nodes, self->bin);
    for (guint i = 0; i < rows->len; i++) {
        const SnapshotTreeRow *row = &g_array_index(rows, SnapshotTreeRow, i);
        GtkWidget *widget = lodge_snapshot_row_new(row, row->node->id == position, changed);
        gtk_list_box_append(self->list, widget);
        if (row->node->has_memory)
            show_picture(self, LODGE_SNAPSHOT_ROW(widget));
        if (row->node->id == wanted)
            gtk_list_box_select_row(self->list, GTK_LIST_BOX_ROW(widget));
    }
    if (rows->len == 0)
        lodge_snapshots_show_status(self, _("No Snapshots Yet"),
                                    _("A snapshot keeps the machine's disks as they are now. You "
                                      "can come back to it at any time."));
    else
        gtk_stack_set_visible_child_name(self->stack, "list");
    show_usage(self);
    lodge_snapshots_show_costs(self);
    lodge_snapshots_update_actions(self);
}

static void on_list(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeSnapshots) self = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) nodes = NULL;
    if (!lodge_snapshots1_call_list_finish(LODGE_SNAPSHOTS1(source), &nodes, result, &error)) {
        lodge_snapshots_fail(self, _("The Snapshots Cannot Be Listed"), error);
        return;
    }
    if ((gpointer)self->proxy != source)
        return;
    g_clear_pointer(&self->nodes, g_ptr_array_unref);
    self->nodes = snapshots_nodes_from_variant(nodes);
    lodge_snapshots_fill(self);
    lodge_snapshots_ask_forecast(self);
}

// The service's properties are not announced one by one: they are read with the list.
static void on_properties(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeSnapshots) self = user_data;
    g_autoptr(GVariant) reply = g_dbus_proxy_call_finish(G_DBUS_PROXY(source), result, NULL);
    if (!reply || (gpointer)self->proxy != source)
        return;
    g_autoptr(GVariantIter) properties = NULL;
    const char *name;
    GVariant *value;
    g_variant_get(reply, "(a{sv})", &properties);
    while (g_variant_iter_loop(properties, "{&sv}", &name, &value))
        g_dbus_proxy_set_cached_property(G_DBUS_PROXY(source), name, value);
    lodge_snapshots1_call_list(self->proxy, self->cancellable, on_list, g_object_ref(self));
}

void lodge_snapshots_read(LodgeSnapshots *self)
{
    if (!self->proxy)
        return;
    g_dbus_proxy_call(G_DBUS_PROXY(self->proxy), "org.freedesktop.DBus.Properties.GetAll",
                      g_variant_new("(s)", "org.lodge.Snapshots1"), G_DBUS_CALL_FLAGS_NONE, -1,
                      self->cancellable, on_properties, g_object_ref(self));
}
