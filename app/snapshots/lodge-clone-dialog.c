// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-clone-dialog.h. The work is vm_clone's, in a thread of its own.
#include "app/snapshots/lodge-clone-dialog.h"

#include "app/client/vm-client.h"
#include "app/client/vm-clone.h"

#include <glib/gi18n.h>

struct _LodgeCloneDialog {
    AdwWindow parent_instance;
    char *source;
    guint64 node;
    GCancellable *cancellable; // while it is under way

    GtkWidget *clone_button;
    AdwPreferencesGroup *group;
    GtkEditable *name_row;
    GtkSwitch *linked;
    GtkProgressBar *progress;
    GtkLabel *problem;
};

G_DEFINE_FINAL_TYPE(LodgeCloneDialog, lodge_clone_dialog, ADW_TYPE_WINDOW)

static guint cloned;

// What the thread works with.
typedef struct {
    char *source, *name;
    guint64 node;
    gboolean linked;
} Job;

static void job_free(gpointer data)
{
    Job *job = data;
    g_free(job->source);
    g_free(job->name);
    g_free(job);
}

static void clone_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    const Job *job = data;
    GError *error = NULL;
    char *folder =
        vm_clone(job->source, job->node, job->name, job->linked, cancellable, &error);
    if (folder)
        g_task_return_pointer(task, folder, g_free);
    else
        g_task_return_error(task, error);
}

static char *wanted_name(LodgeCloneDialog *self)
{
    return g_strstrip(g_strdup(gtk_editable_get_text(self->name_row)));
}

static void update(LodgeCloneDialog *self)
{
    g_autofree char *name = wanted_name(self);
    gboolean busy = self->cancellable != NULL;
    gtk_widget_set_sensitive(self->clone_button, *name && !busy);
    gtk_widget_set_sensitive(GTK_WIDGET(self->group), !busy);
    gtk_widget_set_visible(GTK_WIDGET(self->progress), busy);
}

static void on_done(GObject *source, GAsyncResult *result, gpointer user_data)
{
    LodgeCloneDialog *self = LODGE_CLONE_DIALOG(source);
    g_autoptr(GError) error = NULL;
    // Also where it was cancelled too late: then the machine is there.
    g_task_set_check_cancellable(G_TASK(result), FALSE);
    g_autofree char *folder = g_task_propagate_pointer(G_TASK(result), &error);
    gboolean given_up = g_cancellable_is_cancelled(self->cancellable);
    g_clear_object(&self->cancellable);
    if (folder)
        g_signal_emit(self, cloned, 0, folder);
    if (folder || given_up) {
        gtk_window_destroy(GTK_WINDOW(self));
        return;
    }
    vm_client_strip_error(error);
    g_autofree char *sentence = vm_client_sentence(error->message);
    gtk_label_set_label(self->problem, sentence);
    gtk_widget_set_visible(GTK_WIDGET(self->problem), TRUE);
    update(self);
    gtk_widget_grab_focus(GTK_WIDGET(self->name_row));
}

static void start(LodgeCloneDialog *self)
{
    if (!gtk_widget_get_sensitive(self->clone_button))
        return;
    self->cancellable = g_cancellable_new();
    gtk_window_set_focus(GTK_WINDOW(self), NULL); // out of the entry, which cannot be used now
    gtk_progress_bar_set_fraction(self->progress, 0);
    gtk_widget_set_visible(GTK_WIDGET(self->problem), FALSE);
    update(self);
    Job *job = g_new(Job, 1);
    *job = (Job){ g_strdup(self->source), wanted_name(self), self->node,
                  gtk_switch_get_active(self->linked) };
    g_autoptr(GTask) task = g_task_new(self, self->cancellable, on_done, NULL);
    g_task_set_task_data(task, job, job_free);
    g_task_run_in_thread(task, clone_thread);
}

static void on_progress(LodgeSnapshots1 *proxy, guint64 done, guint64 total, LodgeCloneDialog *self)
{
    if (self->cancellable && total > 0)
        gtk_progress_bar_set_fraction(self->progress, CLAMP((double)done / (double)total, 0, 1));
}

// While it is under way the dialog goes when nothing is left of the clone.
static gboolean lodge_clone_dialog_close_request(GtkWindow *window)
{
    LodgeCloneDialog *self = LODGE_CLONE_DIALOG(window);
    if (!self->cancellable)
        return GTK_WINDOW_CLASS(lodge_clone_dialog_parent_class)->close_request(window);
    g_cancellable_cancel(self->cancellable);
    return TRUE;
}

static void lodge_clone_dialog_finalize(GObject *object)
{
    g_free(LODGE_CLONE_DIALOG(object)->source);
    G_OBJECT_CLASS(lodge_clone_dialog_parent_class)->finalize(object);
}

static void lodge_clone_dialog_class_init(LodgeCloneDialogClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->finalize = lodge_clone_dialog_finalize;
    GTK_WINDOW_CLASS(klass)->close_request = lodge_clone_dialog_close_request;
    cloned = g_signal_new("cloned", LODGE_TYPE_CLONE_DIALOG, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                          NULL, G_TYPE_NONE, 1, G_TYPE_STRING);
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-clone-dialog.ui");
#define BIND(name) gtk_widget_class_bind_template_child(widget_class, LodgeCloneDialog, name)
    BIND(clone_button);
    BIND(group);
    BIND(name_row);
    BIND(linked);
    BIND(progress);
    BIND(problem);
#undef BIND
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_Escape, 0, "window.close", NULL);
}

static void lodge_clone_dialog_init(LodgeCloneDialog *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    g_signal_connect_swapped(self->name_row, "changed", G_CALLBACK(update), self);
    g_signal_connect_swapped(self->name_row, "entry-activated", G_CALLBACK(start), self);
    g_signal_connect_swapped(self->clone_button, "clicked", G_CALLBACK(start), self);
}

GtkWidget *lodge_clone_dialog_new(GtkWindow *parent, const char *source, LodgeSnapshots1 *proxy,
                                  guint64 node, const char *node_name)
{
    LodgeCloneDialog *self =
        g_object_new(LODGE_TYPE_CLONE_DIALOG, "transient-for", parent, NULL);
    self->source = g_strdup(source);
    self->node = node;
    g_autofree char *plain =
        g_strdup_printf(_("A machine of its own that begins as “%s”."), node_name);
    g_autofree char *text = g_markup_escape_text(plain, -1);
    adw_preferences_group_set_description(self->group, text);
    g_signal_connect_object(proxy, "progress", G_CALLBACK(on_progress), self, 0);
    update(self);
    gtk_widget_grab_focus(GTK_WIDGET(self->name_row));
    return GTK_WIDGET(self);
}
