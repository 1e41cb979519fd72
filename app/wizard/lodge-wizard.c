// SPDX-License-Identifier: GPL-2.0-or-later
// Leads from page to page; the last one makes the machine in a thread. Each page is a file of its
// own and knows only the draft.
#include "app/wizard/lodge-wizard.h"

#include "app/client/vm-client.h"
#include "app/wizard/lodge-wizard-medium.h"
#include "app/wizard/lodge-wizard-resources.h"
#include "app/wizard/lodge-wizard-summary.h"
#include "app/wizard/lodge-wizard-system.h"

#include <glib/gi18n.h>

#define PAGES 4

struct _LodgeWizard {
    AdwWindow parent_instance;
    Draft *draft;
    guint page;
    gboolean creating;

    AdwWindowTitle *title;
    GtkButton *back_button, *next_button;
    GtkSpinner *spinner;
    GtkStack *stack;
    LodgeWizardPage *pages[PAGES];
};

G_DEFINE_FINAL_TYPE(LodgeWizard, lodge_wizard, ADW_TYPE_WINDOW)

static guint created;

static void update(LodgeWizard *self)
{
    LodgeWizardPage *page = self->pages[self->page];
    gboolean last = self->page == PAGES - 1;
    gboolean ready = lodge_wizard_page_get_ready(page) && !self->creating;
    g_autofree char *step = g_strdup_printf(_("Step %u of %u"), self->page + 1, PAGES);
    adw_window_title_set_title(self->title, lodge_wizard_page_get_title(page));
    adw_window_title_set_subtitle(self->title, step);
    gtk_button_set_label(self->back_button, self->page ? _("_Back") : _("_Cancel"));
    gtk_button_set_label(self->next_button, last ? _("C_reate") : _("_Next"));
    gtk_widget_set_sensitive(GTK_WIDGET(self->back_button), !self->creating);
    gtk_widget_set_sensitive(GTK_WIDGET(self->next_button), ready);
    gtk_widget_set_sensitive(GTK_WIDGET(self->stack), !self->creating);
    gtk_widget_set_visible(GTK_WIDGET(self->spinner), self->creating);
    gtk_spinner_set_spinning(self->spinner, self->creating);
}

static void show_page(LodgeWizard *self, guint page)
{
    self->page = page;
    lodge_wizard_page_enter(self->pages[page], self->draft);
    gtk_stack_set_visible_child(self->stack, GTK_WIDGET(self->pages[page]));
    update(self);
}

static void create_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    GError *error = NULL;
    char *folder = draft_create(data, &error);
    if (folder)
        g_task_return_pointer(task, folder, g_free);
    else
        g_task_return_error(task, error);
}

static void on_created(GObject *source, GAsyncResult *result, gpointer user_data)
{
    LodgeWizard *self = LODGE_WIZARD(source);
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_task_propagate_pointer(G_TASK(result), &error);
    self->creating = FALSE;
    if (folder) {
        g_signal_emit(self, created, 0, folder, self->draft->start);
        gtk_window_destroy(GTK_WINDOW(self));
        return;
    }
    lodge_wizard_summary_take_problem(LODGE_WIZARD_SUMMARY(self->pages[PAGES - 1]),
                                      vm_client_sentence(error->message));
    update(self);
}

static void create(LodgeWizard *self)
{
    self->creating = TRUE;
    update(self);
    g_autoptr(GTask) task = g_task_new(self, NULL, on_created, NULL);
    // The draft lives as long as the wizard, which the task holds.
    g_task_set_task_data(task, self->draft, NULL);
    g_task_run_in_thread(task, create_thread);
}

static void on_next(LodgeWizard *self)
{
    if (!lodge_wizard_page_get_ready(self->pages[self->page]) || self->creating)
        return;
    if (self->page + 1 < PAGES)
        show_page(self, self->page + 1);
    else
        create(self);
}

static void on_back(LodgeWizard *self)
{
    if (self->page > 0)
        show_page(self, self->page - 1);
    else
        gtk_window_close(GTK_WINDOW(self));
}

// Not while the machine is being made: that takes a moment and must end one way or the other.
static gboolean lodge_wizard_close_request(GtkWindow *window)
{
    return LODGE_WIZARD(window)->creating;
}

static void lodge_wizard_finalize(GObject *object)
{
    draft_free(LODGE_WIZARD(object)->draft);
    G_OBJECT_CLASS(lodge_wizard_parent_class)->finalize(object);
}

static void lodge_wizard_class_init(LodgeWizardClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->finalize = lodge_wizard_finalize;
    GTK_WINDOW_CLASS(klass)->close_request = lodge_wizard_close_request;
    gtk_widget_class_set_template_from_resource(widget_class, "/org/lodge/Lodge/lodge-wizard.ui");
    gtk_widget_class_bind_template_child(widget_class, LodgeWizard, title);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizard, back_button);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizard, next_button);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizard, spinner);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizard, stack);
    gtk_widget_class_bind_template_callback(widget_class, on_back);
    gtk_widget_class_bind_template_callback(widget_class, on_next);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_Escape, 0, "window.close", NULL);
    created = g_signal_new("created", LODGE_TYPE_WIZARD, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                           G_TYPE_NONE, 2, G_TYPE_STRING, G_TYPE_BOOLEAN);
}

static void lodge_wizard_init(LodgeWizard *self)
{
    const GType types[PAGES] = { LODGE_TYPE_WIZARD_MEDIUM, LODGE_TYPE_WIZARD_SYSTEM,
                                 LODGE_TYPE_WIZARD_RESOURCES, LODGE_TYPE_WIZARD_SUMMARY };
    gtk_widget_init_template(GTK_WIDGET(self));
    self->draft = draft_new();
    for (guint i = 0; i < PAGES; i++) {
        self->pages[i] = g_object_new(types[i], NULL);
        gtk_stack_add_child(self->stack, GTK_WIDGET(self->pages[i]));
        g_signal_connect_swapped(self->pages[i], "notify::ready", G_CALLBACK(update), self);
    }
    show_page(self, 0);
}

GtkWidget *lodge_wizard_new(GtkWindow *parent)
{
    return g_object_new(LODGE_TYPE_WIZARD, "transient-for", parent, "modal", TRUE, NULL);
}
