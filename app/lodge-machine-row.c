// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-machine-row.h"

struct _LodgeMachineRow {
    GtkListBoxRow parent_instance;
    LodgeVm *vm;
    GtkWidget *icon;
    GtkLabel *name;
    GtkLabel *state;
};

G_DEFINE_FINAL_TYPE(LodgeMachineRow, lodge_machine_row, GTK_TYPE_LIST_BOX_ROW)

static void on_state(LodgeVm *vm, GParamSpec *pspec, LodgeMachineRow *self)
{
    g_autofree char *state = NULL;
    g_object_get(vm, "state-text", &state, NULL);
    gtk_label_set_label(self->state, state);
    if (lodge_vm_is_on(vm))
        gtk_widget_add_css_class(self->icon, "accent");
    else
        gtk_widget_remove_css_class(self->icon, "accent");
    g_autofree char *label = g_strdup_printf("%s, %s", lodge_vm_get_name(vm), state);
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_LABEL, label, -1);
}

static void lodge_machine_row_dispose(GObject *object)
{
    LodgeMachineRow *self = LODGE_MACHINE_ROW(object);
    if (self->vm)
        g_signal_handlers_disconnect_by_data(self->vm, self);
    g_clear_object(&self->vm);
    G_OBJECT_CLASS(lodge_machine_row_parent_class)->dispose(object);
}

static void lodge_machine_row_class_init(LodgeMachineRowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = lodge_machine_row_dispose;
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-machine-row.ui");
    gtk_widget_class_bind_template_child(widget_class, LodgeMachineRow, icon);
    gtk_widget_class_bind_template_child(widget_class, LodgeMachineRow, name);
    gtk_widget_class_bind_template_child(widget_class, LodgeMachineRow, state);
}

static void lodge_machine_row_init(LodgeMachineRow *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
}

GtkWidget *lodge_machine_row_new(LodgeVm *vm)
{
    LodgeMachineRow *self = g_object_new(LODGE_TYPE_MACHINE_ROW, NULL);
    self->vm = g_object_ref(vm);
    gtk_label_set_label(self->name, lodge_vm_get_name(vm));
    g_signal_connect(vm, "notify::state", G_CALLBACK(on_state), self);
    on_state(vm, NULL, self);
    return GTK_WIDGET(self);
}

LodgeVm *lodge_machine_row_get_vm(LodgeMachineRow *self)
{
    return self->vm;
}
