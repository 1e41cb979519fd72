// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-snapshot-row.h. The row's accessible label says in words what the lines, the badge and
// the columns show.
#include "app/snapshots/lodge-snapshot-row.h"

#include "app/snapshots/lodge-snapshot-rails.h"

#include <glib/gi18n.h>

struct _LodgeSnapshotRow {
    GtkListBoxRow parent_instance;
    guint64 id;
    char *node_name, *node_note;
    gboolean is_protected, in_bin, has_memory;
    LodgeSnapshotRails *rails;
    GtkPicture *picture;
    GtkLabel *name, *detail, *size;
    GtkWidget *here, *lock;
};

G_DEFINE_FINAL_TYPE(LodgeSnapshotRow, lodge_snapshot_row, GTK_TYPE_LIST_BOX_ROW)

static void set_texts(LodgeSnapshotRow *self, const SnapshotTreeRow *row, gboolean here,
                      gboolean changed)
{
    const SnapshotNode *node = row->node;
    g_autofree char *time = snapshot_node_time(node, "%x %H:%M");
    g_autofree char *own = g_format_size_full(node->own, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *shared = g_format_size_full(node->shared, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *size = g_strdup_printf(_("%s own\n%s shared"), own, shared);
    g_autoptr(GString) detail = g_string_new(time);
    if (node->has_memory)
        g_string_append_printf(detail, " · %s", _("with memory"));
    if (node->in_bin)
        g_string_append_printf(detail, " · %s", _("deleted"));
    if (*node->note)
        g_string_append_printf(detail, " · %s", node->note);
    gtk_label_set_label(self->name, node->name);
    gtk_label_set_label(self->detail, detail->str);
    gtk_label_set_label(self->size, size);
    const char *where = !here     ? ""
                        : changed ? _(", you are here, with changes since")
                                  : _(", you are here");
    // Translators: name, level in the tree, details, sizes, and where the machine is.
    g_autofree char *label = g_strdup_printf(_("%s, level %u, %s, %s%s%s"), node->name,
                                             row->depth + 1, detail->str, size, where,
                                             node->is_protected ? _(", protected") : "");
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_LABEL, label, -1);
}

static void lodge_snapshot_row_finalize(GObject *object)
{
    LodgeSnapshotRow *self = LODGE_SNAPSHOT_ROW(object);
    g_free(self->node_name);
    g_free(self->node_note);
    G_OBJECT_CLASS(lodge_snapshot_row_parent_class)->finalize(object);
}

static void lodge_snapshot_row_class_init(LodgeSnapshotRowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->finalize = lodge_snapshot_row_finalize;
    g_type_ensure(LODGE_TYPE_SNAPSHOT_RAILS);
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-snapshot-row.ui");
#define BIND(name) gtk_widget_class_bind_template_child(widget_class, LodgeSnapshotRow, name)
    BIND(rails);
    BIND(picture);
    BIND(name);
    BIND(detail);
    BIND(size);
    BIND(here);
    BIND(lock);
#undef BIND
}

static void lodge_snapshot_row_init(LodgeSnapshotRow *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
}

GtkWidget *lodge_snapshot_row_new(const SnapshotTreeRow *row, gboolean here, gboolean changed)
{
    LodgeSnapshotRow *self = g_object_new(LODGE_TYPE_SNAPSHOT_ROW, NULL);
    const SnapshotNode *node = row->node;
    self->id = node->id;
    self->node_name = g_strdup(node->name);
    self->node_note = g_strdup(node->note);
    self->is_protected = node->is_protected;
    self->in_bin = node->in_bin;
    self->has_memory = node->has_memory;
    lodge_snapshot_rails_set(self->rails, row, here);
    gtk_widget_set_visible(self->here, here);
    gtk_label_set_label(GTK_LABEL(self->here),
                        changed ? _("You are here, with changes") : _("You are here"));
    gtk_widget_set_visible(self->lock, node->is_protected);
    if (node->in_bin)
        gtk_widget_add_css_class(GTK_WIDGET(self->name), "dim-label");
    set_texts(self, row, here, changed);
    return GTK_WIDGET(self);
}

guint64 lodge_snapshot_row_get_id(LodgeSnapshotRow *self)
{
    return self->id;
}

const char *lodge_snapshot_row_get_name(LodgeSnapshotRow *self)
{
    return self->node_name;
}

const char *lodge_snapshot_row_get_note(LodgeSnapshotRow *self)
{
    return self->node_note;
}

gboolean lodge_snapshot_row_has_memory(LodgeSnapshotRow *self)
{
    return self->has_memory;
}

void lodge_snapshot_row_set_picture(LodgeSnapshotRow *self, GdkPaintable *picture)
{
    gtk_picture_set_paintable(self->picture, picture);
    gtk_widget_set_visible(GTK_WIDGET(self->picture), TRUE);
}

gboolean lodge_snapshot_row_get_protected(LodgeSnapshotRow *self)
{
    return self->is_protected;
}

gboolean lodge_snapshot_row_get_in_bin(LodgeSnapshotRow *self)
{
    return self->in_bin;
}
