// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-automatic-dialog.h. The configuration is read once more when it is written, so that
// what somebody else changed meanwhile stays; a key that the person left alone is not touched.
#include "app/snapshots/lodge-automatic-dialog.h"

#include "app/client/vm-client.h"

#include <glib/gi18n.h>

#define MIB (1 << 20)
#define GIB (1 << 30)
#define MINUTES_DEFAULT 60

struct _LodgeAutomaticDialog {
    AdwWindow parent_instance;
    char *folder;
    double minutes_before, budget_before; // of the spin buttons
    gboolean taken_before, memory_before;

    AdwPreferencesGroup *group;
    GtkSwitch *taken, *memory;
    GtkSpinButton *minutes, *budget;
    GtkLabel *problem;
};

G_DEFINE_FINAL_TYPE(LodgeAutomaticDialog, lodge_automatic_dialog, ADW_TYPE_WINDOW)

static gboolean set_interval(LodgeAutomaticDialog *self, Config *config, GError **error)
{
    gboolean taken = gtk_switch_get_active(self->taken);
    double minutes = gtk_spin_button_get_value(self->minutes);
    if (taken == self->taken_before && (!taken || minutes == self->minutes_before))
        return TRUE;
    g_autofree char *text = g_strdup_printf("%d", taken ? (int)minutes : 0);
    return config_set(config, "snapshots.interval", text, error);
}

static gboolean set_memory(LodgeAutomaticDialog *self, Config *config, GError **error)
{
    gboolean memory = gtk_switch_get_active(self->memory);
    return memory == self->memory_before ||
           config_set(config, "snapshots.memory", memory ? "true" : "false", error);
}

static gboolean set_budget(LodgeAutomaticDialog *self, Config *config, GError **error)
{
    double budget = gtk_spin_button_get_value(self->budget);
    if (budget == self->budget_before)
        return TRUE;
    g_autofree char *text =
        g_strdup_printf("%" G_GUINT64_FORMAT "M", (guint64)(budget * (GIB / MIB) + 0.5));
    return config_set(config, "snapshots.budget", text, error);
}

static gboolean write_settings(LodgeAutomaticDialog *self, GError **error)
{
    g_autoptr(Config) config = vm_client_config(self->folder, error);
    g_autofree char *path = g_build_filename(self->folder, VM_CONFIG_FILE, NULL);
    return config && set_interval(self, config, error) && set_memory(self, config, error) &&
           set_budget(self, config, error) && config_check(config, error) &&
           config_save(config, path, error);
}

static void save(LodgeAutomaticDialog *self)
{
    // What was typed and not yet left counts, too.
    gtk_spin_button_update(self->minutes);
    gtk_spin_button_update(self->budget);
    g_autoptr(GError) error = NULL;
    if (write_settings(self, &error)) {
        gtk_window_close(GTK_WINDOW(self));
        return;
    }
    g_autofree char *sentence = vm_client_sentence(error->message);
    gtk_label_set_label(self->problem, sentence);
    gtk_widget_set_visible(GTK_WIDGET(self->problem), TRUE);
}

static void show_settings(LodgeAutomaticDialog *self, const Config *config)
{
    gint64 minutes = config_integer(config, "snapshots.interval");
    self->taken_before = minutes > 0;
    self->memory_before = config_boolean(config, "snapshots.memory");
    gtk_switch_set_active(self->taken, self->taken_before);
    gtk_spin_button_set_value(self->minutes, self->taken_before ? (double)minutes
                                                                : MINUTES_DEFAULT);
    gtk_switch_set_active(self->memory, self->memory_before);
    gtk_spin_button_set_value(self->budget,
                              (double)config_integer(config, "snapshots.budget") / GIB);
    self->minutes_before = gtk_spin_button_get_value(self->minutes);
    self->budget_before = gtk_spin_button_get_value(self->budget);
}

static void lodge_automatic_dialog_finalize(GObject *object)
{
    g_free(LODGE_AUTOMATIC_DIALOG(object)->folder);
    G_OBJECT_CLASS(lodge_automatic_dialog_parent_class)->finalize(object);
}

static void lodge_automatic_dialog_class_init(LodgeAutomaticDialogClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->finalize = lodge_automatic_dialog_finalize;
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-automatic-dialog.ui");
#define BIND(name) gtk_widget_class_bind_template_child(widget_class, LodgeAutomaticDialog, name)
    BIND(group);
    BIND(taken);
    BIND(minutes);
    BIND(memory);
    BIND(budget);
    BIND(problem);
#undef BIND
    gtk_widget_class_bind_template_callback(widget_class, save);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_Escape, 0, "window.close", NULL);
}

static void lodge_automatic_dialog_init(LodgeAutomaticDialog *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
}

GtkWidget *lodge_automatic_dialog_new(GtkWindow *parent, const char *folder, gboolean on,
                                      GError **error)
{
    g_autoptr(Config) config = vm_client_config(folder, error);
    if (!config)
        return NULL;
    LodgeAutomaticDialog *self =
        g_object_new(LODGE_TYPE_AUTOMATIC_DIALOG, "transient-for", parent, NULL);
    self->folder = g_strdup(folder);
    show_settings(self, config);
    if (on)
        adw_preferences_group_set_description(self->group,
                                              _("The machine is on: a change takes effect at its "
                                                "next start."));
    return GTK_WIDGET(self);
}
