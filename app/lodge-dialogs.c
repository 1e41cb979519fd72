// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-dialogs.h"

#include "app/client/vm-client.h"

#include <adwaita.h>
#include <glib/gi18n.h>

typedef struct {
    GtkWidget *parent;
    void (*confirmed)(gpointer user_data);
    gpointer user_data;
} Confirmation;

static GtkWindow *window_of(GtkWidget *widget)
{
    GtkRoot *root = widget ? gtk_widget_get_root(widget) : NULL;
    return GTK_IS_WINDOW(root) ? GTK_WINDOW(root) : NULL;
}

void lodge_dialog_error(GtkWidget *parent, const char *heading, const GError *error)
{
    g_autofree char *body = vm_client_sentence(error ? error->message : NULL);
    GtkWidget *dialog = adw_message_dialog_new(window_of(parent), heading, body);
    adw_message_dialog_add_response(ADW_MESSAGE_DIALOG(dialog), "close", _("_Close"));
    gtk_window_present(GTK_WINDOW(dialog));
}

static void on_response(AdwMessageDialog *dialog, const char *response, Confirmation *confirmation)
{
    if (g_strcmp0(response, "confirm") == 0)
        confirmation->confirmed(confirmation->user_data);
    g_object_unref(confirmation->parent);
    g_free(confirmation);
}

void lodge_dialog_confirm(GtkWidget *parent, const char *heading, const char *body,
                          const char *action, void (*confirmed)(gpointer user_data),
                          gpointer user_data)
{
    GtkWidget *dialog = adw_message_dialog_new(window_of(parent), heading, body);
    adw_message_dialog_add_responses(ADW_MESSAGE_DIALOG(dialog), "cancel", _("_Cancel"), "confirm",
                                     action, NULL);
    adw_message_dialog_set_response_appearance(ADW_MESSAGE_DIALOG(dialog), "confirm",
                                               ADW_RESPONSE_DESTRUCTIVE);
    adw_message_dialog_set_default_response(ADW_MESSAGE_DIALOG(dialog), "cancel");
    adw_message_dialog_set_close_response(ADW_MESSAGE_DIALOG(dialog), "cancel");
    Confirmation *confirmation = g_new(Confirmation, 1);
    *confirmation = (Confirmation){ g_object_ref(parent), confirmed, user_data };
    g_signal_connect(dialog, "response", G_CALLBACK(on_response), confirmation);
    gtk_window_present(GTK_WINDOW(dialog));
}
