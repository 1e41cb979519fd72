// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-snapshot-rails.h. A column is COLUMN pixels wide; a node's dot is in its depth's
// column, its line comes from the column to the left.
#include "app/snapshots/lodge-snapshot-rails.h"

#define COLUMN 22.0f
#define LINE 2.0f
#define DOT 5.0f
#define DOT_HERE 7.0f
#define BEYOND 4.0f // rows have a border between them, which lines must cross

struct _LodgeSnapshotRails {
    GtkWidget parent_instance;
    SnapshotTreeRow row;
    gboolean here;
};

G_DEFINE_FINAL_TYPE(LodgeSnapshotRails, lodge_snapshot_rails, GTK_TYPE_WIDGET)

static float middle_of(guint column)
{
    return COLUMN * ((float)column + 0.5f);
}

static void add_line(GtkSnapshot *snapshot, const GdkRGBA *color, float x1, float y1, float x2,
                     float y2)
{
    graphene_rect_t line = GRAPHENE_RECT_INIT(x1 - LINE / 2, y1 - LINE / 2, x2 - x1 + LINE,
                                              y2 - y1 + LINE);
    gtk_snapshot_append_color(snapshot, color, &line);
}

static void add_dot(GtkSnapshot *snapshot, const GdkRGBA *color, float x, float y, float radius)
{
    GskRoundedRect dot;
    graphene_rect_t bounds = GRAPHENE_RECT_INIT(x - radius, y - radius, 2 * radius, 2 * radius);
    gsk_rounded_rect_init_from_rect(&dot, &bounds, radius);
    gtk_snapshot_push_rounded_clip(snapshot, &dot);
    gtk_snapshot_append_color(snapshot, color, &bounds);
    gtk_snapshot_pop(snapshot);
}

static void lodge_snapshot_rails_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    LodgeSnapshotRails *self = LODGE_SNAPSHOT_RAILS(widget);
    const SnapshotTreeRow *row = &self->row;
    float height = (float)gtk_widget_get_height(widget), y = height / 2;
    GdkRGBA color, accent;
    GtkStyleContext *style = gtk_widget_get_style_context(widget);
    gtk_style_context_get_color(style, &color);
    if (!gtk_style_context_lookup_color(style, "accent_color", &accent))
        accent = color;
    GdkRGBA faint = color;
    faint.alpha *= 0.35f;
    for (guint column = 1; column <= SNAPSHOT_TREE_DEPTH_MAX; column++) {
        if (row->rails >> column & 1)
            add_line(snapshot, &faint, middle_of(column - 1), -BEYOND, middle_of(column - 1),
                     height + BEYOND);
    }
    float x = middle_of(row->depth);
    if (row->depth > 0) {
        float from = middle_of(row->depth - 1);
        add_line(snapshot, &faint, from, -BEYOND, from, row->last ? y : height + BEYOND);
        add_line(snapshot, &faint, from, y, x, y);
    }
    if (row->has_children)
        add_line(snapshot, &faint, x, y, x, height + BEYOND);
    add_dot(snapshot, self->here ? &accent : &color, x, y, self->here ? DOT_HERE : DOT);
}

static void lodge_snapshot_rails_measure(GtkWidget *widget, GtkOrientation orientation,
                                         int for_size, int *minimum, int *natural,
                                         int *minimum_baseline, int *natural_baseline)
{
    const LodgeSnapshotRails *self = LODGE_SNAPSHOT_RAILS(widget);
    float size = orientation == GTK_ORIENTATION_HORIZONTAL
                     ? COLUMN * (float)(self->row.depth + 1)
                     : 2 * DOT_HERE;
    *minimum = *natural = (int)size;
}

static void lodge_snapshot_rails_class_init(LodgeSnapshotRailsClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    widget_class->snapshot = lodge_snapshot_rails_snapshot;
    widget_class->measure = lodge_snapshot_rails_measure;
    gtk_widget_class_set_accessible_role(widget_class, GTK_ACCESSIBLE_ROLE_PRESENTATION);
}

static void lodge_snapshot_rails_init(LodgeSnapshotRails *self)
{
}

void lodge_snapshot_rails_set(LodgeSnapshotRails *self, const SnapshotTreeRow *row, gboolean here)
{
    self->row = *row;
    self->row.node = NULL;
    self->here = here;
    gtk_widget_queue_resize(GTK_WIDGET(self));
}
