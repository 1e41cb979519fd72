// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-snapshot-dialog.h.
#include "app/snapshots/lodge-snapshot-dialog.h"

#include <glib/gi18n.h>

#define NAME_MAX_BYTES 255

typedef struct {
    AdwMessageDialog *dialog;
    GtkEditable *name, *note; // note: NULL where none is asked for
    void (*done)(gpointer user_data, const char *name, const char *note);
    gpointer user_data;
} Asked;

// A name is needed, and the store's limit is in bytes.
static void check_name(GtkEditable *entry, Asked *asked)
{
    g_autofree char *name = g_strstrip(g_strdup(gtk_editable_get_text(entry)));
    gboolean good = *name && strlen(name) <= NAME_MAX_BYTES;
    adw_message_dialog_set_response_enabled(asked->dialog, "accept", good);
    if (*name && !good)
        gtk_widget_add_css_class(GTK_WIDGET(entry), "error");
    else
        gtk_widget_remove_css_class(GTK_WIDGET(entry), "error");
}

static void on_response(AdwMessageDialog *dialog, const char *response, Asked *asked)
{
    if (!g_str_equal(response, "accept"))
        return;
    g_autofree char *name = g_strstrip(g_strdup(gtk_editable_get_text(asked->name)));
    asked->done(asked->user_data, name, asked->note ? gtk_editable_get_text(asked->note) : "");
}

static GtkEditable *add_entry(GtkListBox *list, const char *title, const char *text)
{
    GtkWidget *row = adw_entry_row_new();
    adw_preferences_row_set_title(ADW_PREFERENCES_ROW(row), title);
    gtk_editable_set_text(GTK_EDITABLE(row), text);
    adw_entry_row_set_activates_default(ADW_ENTRY_ROW(row), TRUE);
    gtk_list_box_append(list, row);
    return GTK_EDITABLE(row);
}

void lodge_snapshot_dialog_ask(GtkWidget *parent, const LodgeSnapshotQuestion *question)
{
    GtkWindow *window = GTK_WINDOW(gtk_widget_get_root(parent));
    GtkWidget *dialog = adw_message_dialog_new(window, question->heading, question->body);
    Asked *asked = g_new0(Asked, 1);
    asked->dialog = ADW_MESSAGE_DIALOG(dialog);
    asked->done = question->done;
    asked->user_data = question->user_data;
    g_object_set_data_full(G_OBJECT(dialog), "asked", asked, g_free);
    adw_message_dialog_add_responses(asked->dialog, "cancel", _("_Cancel"), "accept",
                                     question->action, NULL);
    adw_message_dialog_set_response_appearance(asked->dialog, "accept", ADW_RESPONSE_SUGGESTED);
    adw_message_dialog_set_default_response(asked->dialog, "accept");
    GtkWidget *list = gtk_list_box_new();
    gtk_list_box_set_selection_mode(GTK_LIST_BOX(list), GTK_SELECTION_NONE);
    gtk_widget_add_css_class(list, "boxed-list");
    asked->name = add_entry(GTK_LIST_BOX(list), _("Name"), question->name);
    if (question->note)
        asked->note = add_entry(GTK_LIST_BOX(list), _("Note"), question->note);
    adw_message_dialog_set_extra_child(asked->dialog, list);
    g_signal_connect(asked->name, "changed", G_CALLBACK(check_name), asked);
    check_name(asked->name, asked);
    g_signal_connect(dialog, "response", G_CALLBACK(on_response), asked);
    gtk_window_present(GTK_WINDOW(dialog));
    gtk_widget_grab_focus(GTK_WIDGET(asked->name));
}
