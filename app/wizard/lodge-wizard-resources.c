// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/wizard/lodge-wizard-resources.h"

#include "app/wizard/lodge-finding.h"

struct _LodgeWizardResources {
    LodgeWizardPage parent_instance;
    gboolean showing; // the draft is being shown, not changed
    GtkSpinButton *memory, *cpus, *disk;
    GtkSwitch *new_disk;
    GtkWidget *disk_row;
    LodgeFinding *memory_finding, *cpus_finding, *disk_finding;
};

G_DEFINE_FINAL_TYPE(LodgeWizardResources, lodge_wizard_resources, LODGE_TYPE_WIZARD_PAGE)

static gboolean check(LodgeFinding *finding, const Draft *draft,
                      char *(*checker)(const Draft *draft, bool *ret_stops))
{
    bool stops = false;
    char *text = checker(draft, &stops);
    gboolean passes = !text || !stops;
    lodge_finding_take(finding, text, stops);
    return passes;
}

static void check_all(LodgeWizardResources *self, const Draft *draft)
{
    gboolean memory = check(self->memory_finding, draft, draft_check_memory);
    gboolean cpus = check(self->cpus_finding, draft, draft_check_cpus);
    gboolean disk = check(self->disk_finding, draft, draft_check_disk);
    lodge_wizard_page_set_ready(LODGE_WIZARD_PAGE(self), memory && cpus && disk);
}

static void on_changed(LodgeWizardResources *self)
{
    Draft *draft = lodge_wizard_page_get_draft(LODGE_WIZARD_PAGE(self));
    if (!draft || self->showing)
        return;
    draft->memory = (uint64_t)gtk_spin_button_get_value(self->memory);
    draft->cpus = (uint64_t)gtk_spin_button_get_value(self->cpus);
    draft->disk = gtk_switch_get_active(self->new_disk)
                      ? (uint64_t)gtk_spin_button_get_value(self->disk)
                      : 0;
    check_all(self, draft);
}

static void lodge_wizard_resources_enter(LodgeWizardPage *page, Draft *draft)
{
    LodgeWizardResources *self = LODGE_WIZARD_RESOURCES(page);
    self->showing = TRUE;
    gtk_spin_button_set_value(self->memory, (double)draft->memory);
    gtk_spin_button_set_value(self->cpus, (double)draft->cpus);
    gtk_switch_set_active(self->new_disk, draft->disk > 0);
    if (draft->disk > 0)
        gtk_spin_button_set_value(self->disk, (double)draft->disk);
    self->showing = FALSE;
    check_all(self, draft);
}

static void lodge_wizard_resources_class_init(LodgeWizardResourcesClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    LODGE_WIZARD_PAGE_CLASS(klass)->enter = lodge_wizard_resources_enter;
    g_type_ensure(LODGE_TYPE_FINDING);
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-wizard-resources.ui");
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardResources, memory);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardResources, cpus);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardResources, disk);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardResources, new_disk);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardResources, disk_row);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardResources, memory_finding);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardResources, cpus_finding);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardResources, disk_finding);
    gtk_widget_class_bind_template_callback(widget_class, on_changed);
}

static void lodge_wizard_resources_init(LodgeWizardResources *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    g_object_bind_property(self->new_disk, "active", self->disk_row, "sensitive",
                           G_BINDING_SYNC_CREATE);
}
