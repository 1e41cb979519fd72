// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-application.h"

#include "app/lodge-library.h"
#include "app/lodge-window.h"

#include <glib/gi18n.h>

struct _LodgeApplication {
    AdwApplication parent_instance;
    LodgeLibrary *library;
};

G_DEFINE_FINAL_TYPE(LodgeApplication, lodge_application, ADW_TYPE_APPLICATION)

static LodgeWindow *the_window(LodgeApplication *self)
{
    GtkWindow *window = gtk_application_get_active_window(GTK_APPLICATION(self));
    while (window && !LODGE_IS_WINDOW(window))
        window = gtk_window_get_transient_for(window);
    if (!window)
        window = GTK_WINDOW(lodge_window_new(GTK_APPLICATION(self), self->library));
    return LODGE_WINDOW(window);
}

static void lodge_application_activate(GApplication *application)
{
    gtk_window_present(GTK_WINDOW(the_window(LODGE_APPLICATION(application))));
}

static int lodge_application_command_line(GApplication *application,
                                          GApplicationCommandLine *command_line)
{
    LodgeApplication *self = LODGE_APPLICATION(application);
    int argc;
    g_auto(GStrv) argv = g_application_command_line_get_arguments(command_line, &argc);
    g_application_activate(application);
    if (argc < 2)
        return 0;
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = vm_folder_find(argv[1], &error);
    LodgeVm *vm = folder ? lodge_library_find(self->library, folder) : NULL;
    if (!vm) {
        g_application_command_line_printerr(command_line, "lodge: %s\n",
                                            error ? error->message : "no such machine");
        return 1;
    }
    lodge_window_show_machine(the_window(self), vm);
    return 0;
}

static void activate_about(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    adw_show_about_window(gtk_application_get_active_window(GTK_APPLICATION(user_data)),
                          "application-name", "Lodge", "application-icon", "org.lodge.Lodge",
                          "version", LODGE_VERSION, "developer-name", _("The Lodge developers"),
                          "comments", _("Virtual machines on your desktop"),
                          "license-type", GTK_LICENSE_GPL_2_0, NULL);
}

static void activate_quit(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    GtkWindow *window = gtk_application_get_active_window(GTK_APPLICATION(user_data));
    if (window)
        gtk_window_close(window);
}

static const GActionEntry action_entries[] = {
    { .name = "about", .activate = activate_about },
    { .name = "quit", .activate = activate_quit },
};

static void lodge_application_startup(GApplication *application)
{
    G_APPLICATION_CLASS(lodge_application_parent_class)->startup(application);
    LodgeApplication *self = LODGE_APPLICATION(application);
    // GTK gives the shortcuts window accelerators, which would take keys from a guest.
    const char *const none[] = { NULL };
    gtk_application_set_accels_for_action(GTK_APPLICATION(application), "win.show-help-overlay",
                                          none);
    self->library = lodge_library_new();
    g_action_map_add_action_entries(G_ACTION_MAP(application), action_entries,
                                    G_N_ELEMENTS(action_entries), application);
}

static void lodge_application_dispose(GObject *object)
{
    g_clear_object(&LODGE_APPLICATION(object)->library);
    G_OBJECT_CLASS(lodge_application_parent_class)->dispose(object);
}

static void lodge_application_class_init(LodgeApplicationClass *klass)
{
    GApplicationClass *application_class = G_APPLICATION_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = lodge_application_dispose;
    application_class->activate = lodge_application_activate;
    application_class->command_line = lodge_application_command_line;
    application_class->startup = lodge_application_startup;
}

static void lodge_application_init(LodgeApplication *self)
{
}

LodgeApplication *lodge_application_new(void)
{
    return g_object_new(LODGE_TYPE_APPLICATION, "application-id", "org.lodge.Lodge", "flags",
                        G_APPLICATION_HANDLES_COMMAND_LINE, "resource-base-path",
                        "/org/lodge/Lodge", NULL);
}
