// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/wizard/lodge-wizard-summary.h"

#include "app/client/vm-client.h"
#include "app/wizard/lodge-finding.h"

#include <glib/gi18n.h>

struct _LodgeWizardSummary {
    LodgeWizardPage parent_instance;
    AdwActionRow *name, *medium, *memory, *disk, *network;
    GtkSwitch *start;
    LodgeFinding *finding;
};

G_DEFINE_FINAL_TYPE(LodgeWizardSummary, lodge_wizard_summary, LODGE_TYPE_WIZARD_PAGE)

void lodge_wizard_summary_take_problem(LodgeWizardSummary *self, char *text)
{
    lodge_finding_take(self->finding, text, TRUE);
}

static void on_start(LodgeWizardSummary *self)
{
    Draft *draft = lodge_wizard_page_get_draft(LODGE_WIZARD_PAGE(self));
    if (draft)
        draft->start = gtk_switch_get_active(self->start);
}

static void show_medium(LodgeWizardSummary *self, const Medium *medium)
{
    g_autofree char *base = medium ? g_path_get_basename(medium->path) : NULL;
    adw_preferences_row_set_title(ADW_PREFERENCES_ROW(self->medium),
                                  medium ? medium_kind_name(medium->kind) : _("Medium"));
    adw_action_row_set_subtitle(self->medium, base ? base : _("None"));
}

static void show_disk(LodgeWizardSummary *self, const Draft *draft)
{
    g_autofree char *size =
        vm_client_format_memory(draft->disk * 1024 * 1024 * 1024);
    g_autofree char *text = draft->disk ? g_strdup_printf(_("New disk of %s"), size)
                                        : g_strdup(_("No new disk"));
    adw_action_row_set_subtitle(self->disk, text);
}

static void lodge_wizard_summary_enter(LodgeWizardPage *page, Draft *draft)
{
    LodgeWizardSummary *self = LODGE_WIZARD_SUMMARY(page);
    g_autofree char *memory =
        vm_client_format_memory(draft->memory * 1024 * 1024);
    guint cpus = (guint)draft->cpus;
    g_autofree char *processors =
        g_strdup_printf(g_dngettext(NULL, "%u processor", "%u processors", cpus), cpus);
    g_autofree char *resources = g_strdup_printf(_("%s memory, %s"), memory, processors);
    adw_preferences_row_set_title(ADW_PREFERENCES_ROW(self->name), draft->name);
    const char *system = draft->medium && draft->medium->system.name &&
                                 draft->medium->system.family == draft->family
                             ? draft->medium->system.name
                             : guest_family_name(draft->family);
    adw_action_row_set_subtitle(self->name, system);
    show_medium(self, draft->medium);
    adw_action_row_set_subtitle(self->memory, resources);
    show_disk(self, draft);
    adw_action_row_set_subtitle(self->network, _("Through this computer (NAT)"));
    gtk_switch_set_active(self->start, draft->start);
    lodge_wizard_summary_take_problem(self, NULL);
    lodge_wizard_page_set_ready(page, TRUE);
}

static void lodge_wizard_summary_class_init(LodgeWizardSummaryClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    LODGE_WIZARD_PAGE_CLASS(klass)->enter = lodge_wizard_summary_enter;
    g_type_ensure(LODGE_TYPE_FINDING);
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-wizard-summary.ui");
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSummary, name);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSummary, medium);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSummary, memory);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSummary, disk);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSummary, network);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSummary, start);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardSummary, finding);
    gtk_widget_class_bind_template_callback(widget_class, on_start);
}

static void lodge_wizard_summary_init(LodgeWizardSummary *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
}
