// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-dialogs.h"

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

// The engine's messages begin with a small letter; a dialog's text is a sentence.
static char *as_sentence(const char *message)
{
    if (!message || !*message)
        return g_strdup("");
    g_autofree char *first = g_utf8_substring(message, 0, 1);
    g_autofree char *upper = g_utf8_strup(first, -1);
    const char *rest = g_utf8_next_char(message);
    gboolean stop = g_str_has_suffix(message, ".");
    return g_strdup_printf("%s%s%s", upper, rest, stop ? "" : ".");
}

void lodge_dialog_error(GtkWidget *parent, const char *heading, const GError *error)
{
    g_autofree char *body = as_sentence(error ? error->message : NULL);
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
