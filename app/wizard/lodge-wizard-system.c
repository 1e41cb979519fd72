// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/wizard/lodge-wizard-system.h"

#include "app/wizard/lodge-finding.h"

#include <glib/gi18n.h>

struct _LodgeWizardSystem {
    LodgeWizardPage parent_instance;
    AdwActionRow *detected;
    AdwComboRow *family;
    AdwEntryRow *name;
    LodgeFinding *name_finding;
};

G_DEFINE_FINAL_TYPE(LodgeWizardSystem, lodge_wizard_system, LODGE_TYPE_WIZARD_PAGE)

static void on_family(LodgeWizardSystem *self)
{
    Draft *draft = lodge_wizard_page_get_draft(LODGE_WIZARD_PAGE(self));
    guint family = adw_combo_row_get_selected(self->family);
    if (draft && family < GUEST_FAMILIES)
        draft_set_family(draft, (GuestFamily)family);
}

static void on_name(LodgeWizardSystem *self)
{
    Draft *draft = lodge_wizard_page_get_draft(LODGE_WIZARD_PAGE(self));
    if (!draft)
        return;
    g_free(draft->name);
    draft->name = g_strdup(gtk_editable_get_text(GTK_EDITABLE(self->name)));
    g_strstrip(draft->name);
    bool stops = false;
    char *problem = draft_check_name(draft, &stops);
    lodge_wizard_page_set_ready(LODGE_WIZARD_PAGE(self), !problem || !stops);
    lodge_finding_take(self->name_finding, problem, stops);
}

static void show_detected(LodgeWizardSystem *self, const Medium *medium)
{
    const GuestSystem *system = medium ? &medium->system : NULL;
    const char *title = _("Not Recognised"), *subtitle;
    if (!medium) {
        title = _("No Medium");
        subtitle = _("Say below what you will install, so that the machine suits it.");
    } else if (system->name) {
        title = system->name;
        subtitle = system->evidence;
    } else {
        subtitle = _("That is no obstacle. Say below what it is, so that the machine suits it.");
    }
    adw_preferences_row_set_title(ADW_PREFERENCES_ROW(self->detected), title);
    adw_action_row_set_subtitle(self->detected, subtitle);
    adw_action_row_set_icon_name(self->detected, system && system->name
                                                     ? "emblem-ok-symbolic"
                                                     : "dialog-question-symbolic");
}

static void lodge_wizard_system_enter(LodgeWizardPage *page, Draft *draft)
{
    LodgeWizardSystem *self = LODGE_WIZARD_SYSTEM(page);
    show_detected(self, draft->medium);
    adw_combo_row_set_selected(self->family, draft->family);
    g_autofree char *name = g_strdup(draft->name);
    gtk_editable_set_text(GTK_EDITABLE(self->name), name);
    on_name(self);
    gtk_widget_grab_focus(GTK_WIDGET(self->name));
}

static void lodge_wizard_system_class_init(LodgeWizardSystemClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    LODGE_WIZARD_PAGE_CLASS(klass)->enter = lodge_wizard_system_enter;
    g_type_ensure(LODGE_TYPE_FINDING);
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-wizard-system.ui");
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSystem, detected);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSystem, family);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSystem, name);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSystem, name_finding);
    gtk_widget_class_bind_template_callback(widget_class, on_family);
    gtk_widget_class_bind_template_callback(widget_class, on_name);
}

static void lodge_wizard_system_init(LodgeWizardSystem *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    g_autoptr(GtkStringList) names = gtk_string_list_new(NULL);
    for (guint i = 0; i < GUEST_FAMILIES; i++)
        gtk_string_list_append(names, guest_family_name((GuestFamily)i));
    adw_combo_row_set_model(self->family, G_LIST_MODEL(names));
}
