// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/wizard/lodge-finding.h"

struct _LodgeFinding {
    GtkWidget parent_instance;
    GtkWidget *box;
    GtkImage *icon;
    GtkLabel *label;
};

G_DEFINE_FINAL_TYPE(LodgeFinding, lodge_finding, GTK_TYPE_WIDGET)

void lodge_finding_take(LodgeFinding *self, char *text, gboolean stops)
{
    g_return_if_fail(LODGE_IS_FINDING(self));
    gtk_widget_set_visible(GTK_WIDGET(self), text != NULL);
    gtk_label_set_label(self->label, text ? text : "");
    gtk_image_set_from_icon_name(self->icon,
                                 stops ? "dialog-error-symbolic" : "dialog-warning-symbolic");
    gtk_widget_remove_css_class(self->box, stops ? "warning" : "error");
    gtk_widget_add_css_class(self->box, stops ? "error" : "warning");
    g_free(text);
}

static void lodge_finding_dispose(GObject *object)
{
    g_clear_pointer(&LODGE_FINDING(object)->box, gtk_widget_unparent);
    G_OBJECT_CLASS(lodge_finding_parent_class)->dispose(object);
}

static void lodge_finding_class_init(LodgeFindingClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = lodge_finding_dispose;
    gtk_widget_class_set_layout_manager_type(widget_class, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/lodge/Lodge/lodge-finding.ui");
    gtk_widget_class_bind_template_child(widget_class, LodgeFinding, box);
    gtk_widget_class_bind_template_child(widget_class, LodgeFinding, icon);
    gtk_widget_class_bind_template_child(widget_class, LodgeFinding, label);
}

static void lodge_finding_init(LodgeFinding *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
}
