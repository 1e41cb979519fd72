// SPDX-License-Identifier: GPL-2.0-or-later
// The part of LodgeSnapshots that does what the toolbar, the menu and the keys ask for.
#include "app/snapshots/lodge-snapshots-private.h"

#include "app/client/vm-client.h"
#include "engine/config/vm-readers.h"
#include "app/lodge-dialogs.h"
#include "app/snapshots/lodge-automatic-dialog.h"
#include "app/snapshots/lodge-changes-dialog.h"
#include "app/snapshots/lodge-clone-dialog.h"
#include "app/snapshots/lodge-snapshot-dialog.h"

#include <glib/gi18n.h>

#define UNDO_SECONDS 15

static void enable(LodgeSnapshots *self, const char *action, gboolean enabled)
{
    GAction *found = g_action_map_lookup_action(G_ACTION_MAP(self->actions), action);
    g_simple_action_set_enabled(G_SIMPLE_ACTION(found), enabled);
}

void lodge_snapshots_update_actions(LodgeSnapshots *self)
{
    LodgeSnapshotRow *row = lodge_snapshots_selected(self);
    gboolean there = self->proxy != NULL;
    gboolean in_bin = row && lodge_snapshot_row_get_in_bin(row);
    gboolean is_protected = row && lodge_snapshot_row_get_protected(row);
    enable(self, "take", there);
    enable(self, "go-to", row != NULL);
    enable(self, "try", row && !in_bin && !self->on);
    enable(self, "changes", row && !in_bin && self->nodes);
    enable(self, "clone", row && !in_bin && !self->on);
    enable(self, "delete", row && !in_bin && !is_protected);
    enable(self, "undelete", in_bin);
    enable(self, "rename", row != NULL);
    enable(self, "protect", row && !in_bin && !is_protected);
    enable(self, "unprotect", is_protected);
    enable(self, "empty-bin", there);
    enable(self, "automatic", self->folder != NULL);
}

static void on_take_named(gpointer user_data, const char *name, const char *note)
{
    LodgeSnapshots *self = user_data;
    gtk_list_box_unselect_all(self->list); // the new one is where the machine is
    lodge_snapshots_call(self, _("No Snapshot Was Taken"), "Take",
                         g_variant_new("(ssb)", name, note, TRUE), NULL, 0);
}

static void activate_take(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    guint number = self->nodes ? self->nodes->len + 1 : 1;
    g_autofree char *name = g_strdup_printf(_("Snapshot %u"), number);
    g_autoptr(Config) config = vm_client_config(self->folder, NULL);
    guint64 memory = self->on && config ? (guint64)config_integer(config, "memory.size") : 0;
    g_autofree char *costs = snapshot_forecast_take_text(&self->forecast, memory);
    g_autofree char *body =
        self->on ? g_strconcat(_("The machine's memory is kept with its disks. It goes on "
                                 "meanwhile, and you can come back to this moment."),
                               "\n", costs, NULL)
                 : g_steal_pointer(&costs);
    LodgeSnapshotQuestion question = {
        .heading = _("Take a Snapshot"),
        .body = body,
        .action = _("_Take"),
        .name = name,
        .note = "",
        .done = on_take_named,
        .user_data = self,
    };
    lodge_snapshot_dialog_ask(GTK_WIDGET(self), &question);
}

// A way back, for as long as the toast is there and the screen shows the same machine.
typedef struct {
    LodgeSnapshots *self; // a reference
    char *folder;
    guint64 id;
    void (*undo)(LodgeSnapshots *self, guint64 id);
} Undo;

static void undo_free(gpointer data, GClosure *closure)
{
    Undo *undo = data;
    g_object_unref(undo->self);
    g_free(undo->folder);
    g_free(undo);
}

static void on_undo(AdwToast *toast, Undo *undo)
{
    if (g_strcmp0(undo->self->folder, undo->folder) == 0)
        undo->undo(undo->self, undo->id);
}

// The toast lies above this widget, so that its actions would not be found.
static void toast_undo(LodgeSnapshots *self, const char *text,
                       void (*function)(LodgeSnapshots *self, guint64 id), guint64 id)
{
    GtkWidget *toasts = gtk_widget_get_ancestor(GTK_WIDGET(self), ADW_TYPE_TOAST_OVERLAY);
    if (!toasts)
        return;
    Undo *undo = g_new0(Undo, 1);
    *undo = (Undo){ g_object_ref(self), g_strdup(self->folder), id, function };
    AdwToast *toast = adw_toast_new(text);
    adw_toast_set_button_label(toast, _("_Undo"));
    adw_toast_set_timeout(toast, UNDO_SECONDS);
    g_signal_connect_data(toast, "button-clicked", G_CALLBACK(on_undo), undo, undo_free, 0);
    adw_toast_overlay_add_toast(ADW_TOAST_OVERLAY(toasts), toast);
}

static void undelete(LodgeSnapshots *self, guint64 id)
{
    lodge_snapshots_call(self, _("The Snapshot Stays Deleted"), "Undelete",
                         g_variant_new("(t)", id), NULL, 0);
}

static void on_back(LodgeSnapshots *self, GVariant *results, guint64 id)
{
    undelete(self, id);
}

// The node is in the bin, where the list would not show that the machine is there.
static void go_back(LodgeSnapshots *self, guint64 id)
{
    lodge_snapshots_call(self, _("The Machine Stays Where It Is"), "GoTo",
                         g_variant_new("(ts)", id, ""), on_back, id);
}

static void on_gone(LodgeSnapshots *self, GVariant *results, guint64 id)
{
    guint64 kept;
    g_variant_get(results, "(t)", &kept);
    if (kept)
        toast_undo(self, _("The machine went to another snapshot"), go_back, kept);
}

// What the machine has beyond its snapshot is kept in the bin, so that there is a way back.
static void go_to(LodgeSnapshots *self, guint64 id, const char *name)
{
    gboolean changed = self->proxy && lodge_snapshots1_get_has_changes(self->proxy);
    g_autofree char *keep = changed ? g_strdup_printf(_("Before “%.150s”"), name) : g_strdup("");
    g_autofree char *valid = g_utf8_make_valid(keep, -1);
    gtk_list_box_unselect_all(self->list);
    lodge_snapshots_call(self, _("The Machine Stays Where It Is"), "GoTo",
                         g_variant_new("(ts)", id, valid), on_gone, id);
}

// The list may have been read again while the dialog was open, and another row be selected.
static void on_go_to_confirmed(gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    const SnapshotNode *node = lodge_snapshots_find(self, self->asked);
    if (node)
        go_to(self, node->id, node->name);
}

static void activate_go_to(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = lodge_snapshots_selected(self);
    if (!row)
        return;
    self->asked = lodge_snapshot_row_get_id(row);
    if (!self->on) {
        on_go_to_confirmed(self);
        return;
    }
    g_autofree char *heading =
        g_strdup_printf(_("Go to “%s”?"), lodge_snapshot_row_get_name(row));
    const char *body = lodge_snapshot_row_has_memory(row)
                           ? _("What the machine is doing now is lost. It goes on from that "
                               "moment.")
                           : _("What the machine is doing now is lost, and it is off then: the "
                               "snapshot has no memory.");
    lodge_dialog_confirm(GTK_WIDGET(self), heading, body, _("_Go"), on_go_to_confirmed, self);
}

// The machine's page does it, and shows the console then.
static void activate_try(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshotRow *row = lodge_snapshots_selected(user_data);
    if (row)
        gtk_widget_activate_action(GTK_WIDGET(user_data), "machine.try", "t",
                                   lodge_snapshot_row_get_id(row));
}

static void on_cloned(LodgeCloneDialog *dialog, const char *folder, LodgeSnapshots *self)
{
    gtk_widget_activate_action(GTK_WIDGET(self), "win.show-machine", "s", folder);
}

static void activate_clone(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = lodge_snapshots_selected(self);
    if (!row || !self->proxy)
        return;
    GtkWidget *dialog = lodge_clone_dialog_new(
        GTK_WINDOW(gtk_widget_get_root(GTK_WIDGET(self))), self->folder, self->proxy,
        lodge_snapshot_row_get_id(row), lodge_snapshot_row_get_name(row));
    g_signal_connect_object(dialog, "cloned", G_CALLBACK(on_cloned), self, 0);
    gtk_window_present(GTK_WINDOW(dialog));
}

static void activate_changes(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = lodge_snapshots_selected(self);
    if (!row || !self->nodes || !self->proxy)
        return;
    GtkWidget *dialog = lodge_changes_dialog_new(
        GTK_WINDOW(gtk_widget_get_root(GTK_WIDGET(self))), self->folder, self->proxy, self->nodes,
        lodge_snapshot_row_get_id(row));
    gtk_window_present(GTK_WINDOW(dialog));
}

static void on_deleted(LodgeSnapshots *self, GVariant *results, guint64 id)
{
    toast_undo(self, _("Snapshot deleted"), undelete, id);
}

static void activate_delete(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = lodge_snapshots_selected(self);
    if (!row)
        return;
    guint64 id = lodge_snapshot_row_get_id(row);
    lodge_snapshots_call(self, _("The Snapshot Was Not Deleted"), "Delete",
                         g_variant_new("(t)", id), on_deleted, id);
}

static void activate_undelete(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshotRow *row = lodge_snapshots_selected(user_data);
    if (row)
        undelete(user_data, lodge_snapshot_row_get_id(row));
}

static void on_renamed(gpointer user_data, const char *name, const char *note)
{
    LodgeSnapshots *self = user_data;
    const SnapshotNode *node = lodge_snapshots_find(self, self->asked);
    if (!node)
        return;
    const char *heading = _("The Snapshot Was Not Changed");
    if (!g_str_equal(name, node->name))
        lodge_snapshots_call(self, heading, "Rename", g_variant_new("(ts)", node->id, name), NULL,
                             0);
    if (!g_str_equal(note, node->note))
        lodge_snapshots_call(self, heading, "SetNote", g_variant_new("(ts)", node->id, note), NULL,
                             0);
}

static void activate_rename(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = lodge_snapshots_selected(self);
    if (!row)
        return;
    self->asked = lodge_snapshot_row_get_id(row);
    LodgeSnapshotQuestion question = {
        .heading = _("Name and Note"),
        .body = "",
        .action = _("_Change"),
        .name = lodge_snapshot_row_get_name(row),
        .note = lodge_snapshot_row_get_note(row),
        .done = on_renamed,
        .user_data = self,
    };
    lodge_snapshot_dialog_ask(GTK_WIDGET(self), &question);
}

// Whether no clone reads from it; says so else.
static gboolean may_unprotect(LodgeSnapshots *self, guint64 id)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Config) settings = vm_client_config(self->folder, &error);
    if (settings && vm_readers_check_node(settings, id, &error))
        return TRUE;
    lodge_snapshots_fail(self, _("The Snapshot Stays Protected"), error);
    return FALSE;
}

static void set_protected(LodgeSnapshots *self, gboolean is_protected)
{
    LodgeSnapshotRow *row = lodge_snapshots_selected(self);
    if (row && (is_protected || may_unprotect(self, lodge_snapshot_row_get_id(row))))
        lodge_snapshots_call(self, _("The Snapshot Was Not Changed"), "SetProtected",
                             g_variant_new("(tb)", lodge_snapshot_row_get_id(row), is_protected),
                             NULL, 0);
}

static void activate_protect(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    set_protected(user_data, TRUE);
}

static void activate_unprotect(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    set_protected(user_data, FALSE);
}

static void on_empty_confirmed(gpointer user_data)
{
    lodge_snapshots_call(user_data, _("The Bin Was Not Emptied"), "EmptyBin", g_variant_new("()"),
                         NULL, 0);
}

static void activate_empty_bin(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    lodge_dialog_confirm(GTK_WIDGET(user_data), _("Empty the Bin?"),
                         _("Deleted snapshots cannot be brought back after that. Their room is "
                           "given back in the background."),
                         _("_Empty"), on_empty_confirmed, user_data);
}

static void activate_automatic(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    g_autoptr(GError) error = NULL;
    GtkWidget *dialog =
        lodge_automatic_dialog_new(GTK_WINDOW(gtk_widget_get_root(GTK_WIDGET(self))), self->folder,
                                   self->on, &error);
    if (dialog)
        gtk_window_present(GTK_WINDOW(dialog));
    else
        lodge_snapshots_fail(self, _("The Settings Cannot Be Read"), error);
}

static void change_bin(GSimpleAction *action, GVariant *value, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    self->bin = g_variant_get_boolean(value);
    g_simple_action_set_state(action, value);
    if (self->nodes && self->proxy)
        lodge_snapshots_fill(self);
}

static const GActionEntry action_entries[] = {
    { .name = "take", .activate = activate_take },
    { .name = "go-to", .activate = activate_go_to },
    { .name = "try", .activate = activate_try },
    { .name = "changes", .activate = activate_changes },
    { .name = "clone", .activate = activate_clone },
    { .name = "delete", .activate = activate_delete },
    { .name = "undelete", .activate = activate_undelete },
    { .name = "rename", .activate = activate_rename },
    { .name = "protect", .activate = activate_protect },
    { .name = "unprotect", .activate = activate_unprotect },
    { .name = "empty-bin", .activate = activate_empty_bin },
    { .name = "automatic", .activate = activate_automatic },
    { .name = "bin", .state = "false", .change_state = change_bin },
};

void lodge_snapshots_add_actions(LodgeSnapshots *self)
{
    self->actions = g_simple_action_group_new();
    g_action_map_add_action_entries(G_ACTION_MAP(self->actions), action_entries,
                                    G_N_ELEMENTS(action_entries), self);
    gtk_widget_insert_action_group(GTK_WIDGET(self), "snapshots", G_ACTION_GROUP(self->actions));
}
