// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-snapshots.h. The connection is made on a worker thread (a service may have to start);
// after that every call is asynchronous. What the service says is shown, never guessed: after each
// change the list is read again.
#include "app/snapshots/lodge-snapshots.h"

#include "app/client/snapshots-client.h"
#include "app/client/vm-client.h"
#include "app/client/vm-clone.h"
#include "app/lodge-dialogs.h"
#include "app/snapshots/lodge-automatic-dialog.h"
#include "app/snapshots/lodge-clone-dialog.h"
#include "app/snapshots/lodge-snapshot-dialog.h"
#include "app/snapshots/lodge-snapshot-row.h"
#include "app/snapshots/snapshot-forecast.h"

#include <glib/gi18n.h>

#define UNDO_SECONDS 15

struct _LodgeSnapshots {
    GtkWidget parent_instance;
    char *folder;
    gboolean on;
    LodgeSnapshots1 *proxy;
    GCancellable *cancellable; // of everything for this folder; NULL: nobody was asked yet
    GPtrArray *nodes;          // of SnapshotNode
    GHashTable *pictures;      // guint64 of a node -> GdkTexture
    SnapshotForecast forecast; // as of the list
    gboolean bin;              // deleted ones are listed
    GSimpleActionGroup *actions;

    GtkWidget *content;
    GtkStack *stack;
    GtkListBox *list;
    AdwStatusPage *status;
    GtkLabel *usage, *costs;
};

G_DEFINE_FINAL_TYPE(LodgeSnapshots, lodge_snapshots, GTK_TYPE_WIDGET)


static LodgeSnapshotRow *selected(LodgeSnapshots *self)
{
    return (LodgeSnapshotRow *)gtk_list_box_get_selected_row(self->list);
}

static void enable(LodgeSnapshots *self, const char *action, gboolean enabled)
{
    GAction *found = g_action_map_lookup_action(G_ACTION_MAP(self->actions), action);
    g_simple_action_set_enabled(G_SIMPLE_ACTION(found), enabled);
}

static void update_actions(LodgeSnapshots *self)
{
    LodgeSnapshotRow *row = selected(self);
    gboolean there = self->proxy != NULL;
    gboolean in_bin = row && lodge_snapshot_row_get_in_bin(row);
    gboolean is_protected = row && lodge_snapshot_row_get_protected(row);
    enable(self, "take", there);
    enable(self, "go-to", row != NULL);
    enable(self, "try", row && !in_bin && !self->on);
    enable(self, "clone", row && !in_bin && !self->on);
    enable(self, "delete", row && !in_bin && !is_protected);
    enable(self, "undelete", in_bin);
    enable(self, "rename", row != NULL);
    enable(self, "protect", row && !in_bin && !is_protected);
    enable(self, "unprotect", is_protected);
    enable(self, "empty-bin", there);
    enable(self, "automatic", self->folder != NULL);
}

static void show_status(LodgeSnapshots *self, const char *title, const char *text)
{
    g_autofree char *markup = g_markup_escape_text(text, -1);
    adw_status_page_set_title(self->status, title);
    adw_status_page_set_description(self->status, markup);
    gtk_stack_set_visible_child_name(self->stack, "status");
}

static void fail(LodgeSnapshots *self, const char *heading, GError *error)
{
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return;
    vm_client_strip_error(error);
    lodge_dialog_error(GTK_WIDGET(self), heading, error);
}

// ---- The list ----

static const SnapshotNode *selected_node(LodgeSnapshots *self)
{
    LodgeSnapshotRow *row = selected(self);
    for (guint i = 0; row && self->nodes && i < self->nodes->len; i++) {
        const SnapshotNode *node = self->nodes->pdata[i];
        if (node->id == lodge_snapshot_row_get_id(row))
            return node;
    }
    return NULL;
}

static void show_costs(LodgeSnapshots *self)
{
    const SnapshotNode *node = self->proxy ? selected_node(self) : NULL;
    gtk_widget_set_visible(GTK_WIDGET(self->costs), node != NULL);
    if (!node)
        return;
    g_autofree char *text =
        snapshot_forecast_text(&self->forecast, node,
                               node->id == lodge_snapshots1_get_position(self->proxy),
                               lodge_snapshots1_get_has_changes(self->proxy) ||
                                   self->forecast.discards > 0);
    gtk_label_set_label(self->costs, text);
}

static void on_take_forecast(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeSnapshots) self = user_data;
    guint64 needs, frees, discards;
    if (lodge_snapshots1_call_forecast_finish(LODGE_SNAPSHOTS1(source), &needs, &frees, &discards,
                                              result, NULL) && (gpointer)self->proxy == source)
        self->forecast.take_needs = needs;
}

static void on_go_to_forecast(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeSnapshots) self = user_data;
    guint64 needs, frees, discards;
    if (!lodge_snapshots1_call_forecast_finish(LODGE_SNAPSHOTS1(source), &needs, &frees, &discards,
                                               result, NULL) || (gpointer)self->proxy != source)
        return;
    self->forecast.discards = discards;
    show_costs(self);
}

// While the service is awake. What current would lose is the same for each node, and what deleting
// a node frees is its own size, so that choosing another node need not wake the service.
static void ask_forecast(LodgeSnapshots *self)
{
    lodge_snapshots1_call_forecast(self->proxy, "take", 0, self->cancellable, on_take_forecast,
                                   g_object_ref(self));
    if (!self->nodes || self->nodes->len == 0)
        return;
    const SnapshotNode *node = self->nodes->pdata[0];
    lodge_snapshots1_call_forecast(self->proxy, "goto", node->id, self->cancellable,
                                   on_go_to_forecast, g_object_ref(self));
}

static void show_usage(LodgeSnapshots *self)
{
    g_autofree char *size = g_format_size_full(lodge_snapshots1_get_file_size(self->proxy),
                                               G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *bin = g_format_size_full(lodge_snapshots1_get_bin_size(self->proxy),
                                              G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *text = lodge_snapshots1_get_bin_size(self->proxy)
                                ? g_strdup_printf(_("%s in all, %s of it in the bin"), size, bin)
                                : g_strdup_printf(_("%s in all"), size);
    gtk_label_set_label(self->usage, text);
}

typedef struct {
    LodgeSnapshots *self; // both are references
    LodgeSnapshotRow *row;
} Picture;

static void on_picture(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autofree Picture *picture = user_data;
    g_autoptr(LodgeSnapshots) self = picture->self;
    g_autoptr(LodgeSnapshotRow) row = picture->row;
    g_autoptr(GVariant) results = g_dbus_proxy_call_finish(G_DBUS_PROXY(source), result, NULL);
    if (!results) // it has none
        return;
    g_autoptr(GVariant) bytes = g_variant_get_child_value(results, 0);
    g_autoptr(GBytes) png = g_variant_get_data_as_bytes(bytes);
    g_autoptr(GdkTexture) texture = gdk_texture_new_from_bytes(png, NULL);
    if (!texture)
        return;
    lodge_snapshot_row_set_picture(row, GDK_PAINTABLE(texture));
    if ((gpointer)self->proxy == source) // for when the list is filled again: a node never changes
        g_hash_table_insert(self->pictures, g_memdup2(&(guint64){ lodge_snapshot_row_get_id(row) },
                                                      sizeof(guint64)), g_steal_pointer(&texture));
}

static void show_picture(LodgeSnapshots *self, LodgeSnapshotRow *row)
{
    guint64 id = lodge_snapshot_row_get_id(row);
    GdkPaintable *known = g_hash_table_lookup(self->pictures, &id);
    if (known) {
        lodge_snapshot_row_set_picture(row, known);
        return;
    }
    Picture *picture = g_new0(Picture, 1);
    *picture = (Picture){ g_object_ref(self), g_object_ref(row) };
    g_dbus_proxy_call(G_DBUS_PROXY(self->proxy), "Thumbnail", g_variant_new("(t)", id),
                      G_DBUS_CALL_FLAGS_NO_AUTO_START, -1, self->cancellable, on_picture, picture);
}

static void fill_list(LodgeSnapshots *self)
{
    LodgeSnapshotRow *old = selected(self);
    guint64 wanted = old ? lodge_snapshot_row_get_id(old)
                         : lodge_snapshots1_get_position(self->proxy);
    guint64 position = lodge_snapshots1_get_position(self->proxy);
    gboolean changed = lodge_snapshots1_get_has_changes(self->proxy);
    GtkWidget *child;
    while ((child = gtk_widget_get_first_child(GTK_WIDGET(self->list))))
        gtk_list_box_remove(self->list, child);
    g_autoptr(GArray) rows = snapshot_tree_rows(self->nodes, self->bin);
    for (guint i = 0; i < rows->len; i++) {
        const SnapshotTreeRow *row = &g_array_index(rows, SnapshotTreeRow, i);
        GtkWidget *widget = lodge_snapshot_row_new(row, row->node->id == position, changed);
        gtk_list_box_append(self->list, widget);
        if (row->node->has_memory)
            show_picture(self, LODGE_SNAPSHOT_ROW(widget));
        if (row->node->id == wanted)
            gtk_list_box_select_row(self->list, GTK_LIST_BOX_ROW(widget));
    }
    if (rows->len == 0)
        show_status(self, _("No Snapshots Yet"),
                    _("A snapshot keeps the machine's disks as they are now. You can come back to "
                      "it at any time."));
    else
        gtk_stack_set_visible_child_name(self->stack, "list");
    show_usage(self);
    show_costs(self);
    update_actions(self);
}

static void on_list(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeSnapshots) self = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) nodes = NULL;
    if (!lodge_snapshots1_call_list_finish(LODGE_SNAPSHOTS1(source), &nodes, result, &error)) {
        fail(self, _("The Snapshots Cannot Be Listed"), error);
        return;
    }
    if ((gpointer)self->proxy != source)
        return;
    g_clear_pointer(&self->nodes, g_ptr_array_unref);
    self->nodes = snapshots_nodes_from_variant(nodes);
    fill_list(self);
    ask_forecast(self);
}

// The service's properties are not announced one by one: they are read with the list.
static void on_properties(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeSnapshots) self = user_data;
    g_autoptr(GVariant) reply = g_dbus_proxy_call_finish(G_DBUS_PROXY(source), result, NULL);
    if (!reply || (gpointer)self->proxy != source)
        return;
    g_autoptr(GVariantIter) properties = NULL;
    const char *name;
    GVariant *value;
    g_variant_get(reply, "(a{sv})", &properties);
    while (g_variant_iter_loop(properties, "{&sv}", &name, &value))
        g_dbus_proxy_set_cached_property(G_DBUS_PROXY(source), name, value);
    lodge_snapshots1_call_list(self->proxy, self->cancellable, on_list, g_object_ref(self));
}

static void read_list(LodgeSnapshots *self)
{
    if (!self->proxy)
        return;
    g_dbus_proxy_call(G_DBUS_PROXY(self->proxy), "org.freedesktop.DBus.Properties.GetAll",
                      g_variant_new("(s)", "org.lodge.Snapshots1"), G_DBUS_CALL_FLAGS_NONE, -1,
                      self->cancellable, on_properties, g_object_ref(self));
}

static void on_tree_changed(LodgeSnapshots1 *proxy, LodgeSnapshots *self)
{
    read_list(self);
}

// ---- The connection ----

static void on_owner(LodgeSnapshots1 *proxy, GParamSpec *pspec, LodgeSnapshots *self)
{
    // The service ended, or an engine took the store over: the next action connects anew.
    g_autofree char *owner = g_dbus_proxy_get_name_owner(G_DBUS_PROXY(proxy));
    if (owner)
        read_list(self);
}

static void connect_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    GError *error = NULL;
    LodgeSnapshots1 *proxy = snapshots_connect(data, &error);
    if (proxy)
        g_task_return_pointer(task, proxy, g_object_unref);
    else
        g_task_return_error(task, error);
}

static void on_connected(GObject *source, GAsyncResult *result, gpointer user_data)
{
    LodgeSnapshots *self = LODGE_SNAPSHOTS(source);
    g_autoptr(GError) error = NULL;
    g_autoptr(LodgeSnapshots1) proxy = g_task_propagate_pointer(G_TASK(result), &error);
    if (g_strcmp0(g_task_get_task_data(G_TASK(result)), self->folder) != 0)
        return; // another machine is shown by now
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return; // and then this one again
    if (!proxy) {
        g_clear_object(&self->cancellable); // shown again, it asks again
        vm_client_strip_error(error);
        g_autofree char *sentence = vm_client_sentence(error->message);
        show_status(self, _("No Snapshots"), sentence);
        return;
    }
    if (self->proxy)
        g_signal_handlers_disconnect_by_data(self->proxy, self);
    g_set_object(&self->proxy, proxy);
    g_signal_connect(proxy, "tree-changed", G_CALLBACK(on_tree_changed), self);
    g_signal_connect(proxy, "notify::g-name-owner", G_CALLBACK(on_owner), self);
    read_list(self);
}

static void connect_store(LodgeSnapshots *self)
{
    g_autoptr(GTask) task = g_task_new(self, self->cancellable, on_connected, NULL);
    g_task_set_task_data(task, g_strdup(self->folder), g_free);
    g_task_run_in_thread(task, connect_thread);
}

// ---- Calls that wake the service where it went to sleep ----

typedef struct {
    char *folder;
    char *method;
    GVariant *arguments;
    char *heading; // of the error's dialog
    // With the results, on success. May be NULL.
    void (*done)(LodgeSnapshots *self, GVariant *results, guint64 id);
    guint64 id;
} Request;

static void request_free(gpointer data)
{
    Request *request = data;
    g_free(request->folder);
    g_free(request->method);
    g_variant_unref(request->arguments);
    g_free(request->heading);
    g_free(request);
}

static void request_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Request *request = data;
    GError *error = NULL;
    g_autoptr(LodgeSnapshots1) proxy = snapshots_connect(request->folder, &error);
    GVariant *results = proxy ? g_dbus_proxy_call_sync(G_DBUS_PROXY(proxy), request->method,
                                                       request->arguments, G_DBUS_CALL_FLAGS_NONE,
                                                       -1, cancellable, &error)
                              : NULL;
    if (results)
        g_task_return_pointer(task, results, (GDestroyNotify)g_variant_unref);
    else
        g_task_return_error(task, error);
}

static void on_request(GObject *source, GAsyncResult *result, gpointer user_data)
{
    LodgeSnapshots *self = LODGE_SNAPSHOTS(source);
    Request *request = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) results = g_task_propagate_pointer(G_TASK(result), &error);
    if (!results) {
        fail(self, request->heading, error);
        return;
    }
    if (request->done)
        request->done(self, results, request->id);
    read_list(self);
}

static void call(LodgeSnapshots *self, const char *heading, const char *method, GVariant *arguments,
                 void (*done)(LodgeSnapshots *self, GVariant *results, guint64 id), guint64 id)
{
    Request *request = g_new0(Request, 1);
    request->folder = g_strdup(self->folder);
    request->method = g_strdup(method);
    request->arguments = g_variant_ref_sink(arguments);
    request->heading = g_strdup(heading);
    request->done = done;
    request->id = id;
    g_autoptr(GTask) task = g_task_new(self, NULL, on_request, NULL);
    g_task_set_task_data(task, request, request_free);
    g_task_run_in_thread(task, request_thread);
}

// ---- Actions ----

static void on_take_named(gpointer user_data, const char *name, const char *note)
{
    LodgeSnapshots *self = user_data;
    gtk_list_box_unselect_all(self->list); // the new one is where the machine is
    call(self, _("No Snapshot Was Taken"), "Take", g_variant_new("(ssb)", name, note, TRUE),
         NULL, 0);
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
    call(self, _("The Snapshot Stays Deleted"), "Undelete", g_variant_new("(t)", id), NULL, 0);
}

static void on_back(LodgeSnapshots *self, GVariant *results, guint64 id)
{
    undelete(self, id);
}

// The node is in the bin, where the list would not show that the machine is there.
static void go_back(LodgeSnapshots *self, guint64 id)
{
    call(self, _("The Machine Stays Where It Is"), "GoTo", g_variant_new("(ts)", id, ""), on_back,
         id);
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
    call(self, _("The Machine Stays Where It Is"), "GoTo", g_variant_new("(ts)", id, valid),
         on_gone, id);
}

static void on_go_to_confirmed(gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = selected(self);
    if (row)
        go_to(self, lodge_snapshot_row_get_id(row), lodge_snapshot_row_get_name(row));
}

static void activate_go_to(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = selected(self);
    if (!row)
        return;
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
    LodgeSnapshotRow *row = selected(user_data);
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
    LodgeSnapshotRow *row = selected(self);
    if (!row || !self->proxy)
        return;
    GtkWidget *dialog = lodge_clone_dialog_new(
        GTK_WINDOW(gtk_widget_get_root(GTK_WIDGET(self))), self->folder, self->proxy,
        lodge_snapshot_row_get_id(row), lodge_snapshot_row_get_name(row));
    g_signal_connect_object(dialog, "cloned", G_CALLBACK(on_cloned), self, 0);
    gtk_window_present(GTK_WINDOW(dialog));
}

static void on_deleted(LodgeSnapshots *self, GVariant *results, guint64 id)
{
    toast_undo(self, _("Snapshot deleted"), undelete, id);
}

static void activate_delete(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = selected(self);
    if (!row)
        return;
    guint64 id = lodge_snapshot_row_get_id(row);
    call(self, _("The Snapshot Was Not Deleted"), "Delete", g_variant_new("(t)", id), on_deleted,
         id);
}

static void activate_undelete(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshotRow *row = selected(user_data);
    if (row)
        undelete(user_data, lodge_snapshot_row_get_id(row));
}

static void on_renamed(gpointer user_data, const char *name, const char *note)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = selected(self);
    if (!row)
        return;
    guint64 id = lodge_snapshot_row_get_id(row);
    const char *heading = _("The Snapshot Was Not Changed");
    if (!g_str_equal(name, lodge_snapshot_row_get_name(row)))
        call(self, heading, "Rename", g_variant_new("(ts)", id, name), NULL, 0);
    if (!g_str_equal(note, lodge_snapshot_row_get_note(row)))
        call(self, heading, "SetNote", g_variant_new("(ts)", id, note), NULL, 0);
}

static void activate_rename(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    LodgeSnapshotRow *row = selected(self);
    if (!row)
        return;
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
    if (settings && vm_clone_check_node_unused(settings, id, &error))
        return TRUE;
    fail(self, _("The Snapshot Stays Protected"), error);
    return FALSE;
}

static void set_protected(LodgeSnapshots *self, gboolean is_protected)
{
    LodgeSnapshotRow *row = selected(self);
    if (row && (is_protected || may_unprotect(self, lodge_snapshot_row_get_id(row))))
        call(self, _("The Snapshot Was Not Changed"), "SetProtected",
             g_variant_new("(tb)", lodge_snapshot_row_get_id(row), is_protected), NULL, 0);
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
    call(user_data, _("The Bin Was Not Emptied"), "EmptyBin", g_variant_new("()"), NULL, 0);
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
        fail(self, _("The Settings Cannot Be Read"), error);
}

static void change_bin(GSimpleAction *action, GVariant *value, gpointer user_data)
{
    LodgeSnapshots *self = user_data;
    self->bin = g_variant_get_boolean(value);
    g_simple_action_set_state(action, value);
    if (self->nodes && self->proxy)
        fill_list(self);
}

static const GActionEntry action_entries[] = {
    { .name = "take", .activate = activate_take },
    { .name = "go-to", .activate = activate_go_to },
    { .name = "try", .activate = activate_try },
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

// ---- The widget ----

static void on_selected(GtkListBox *list, GtkListBoxRow *row, LodgeSnapshots *self)
{
    update_actions(self);
    show_costs(self);
    if (self->on && self->proxy && row)
        ask_forecast(self); // it changes while the machine runs
}

static void on_activated(GtkListBox *list, GtkListBoxRow *row, LodgeSnapshots *self)
{
    gtk_widget_activate_action(GTK_WIDGET(self), "snapshots.go-to", NULL);
}

static void forget(LodgeSnapshots *self)
{
    if (self->cancellable)
        g_cancellable_cancel(self->cancellable);
    g_clear_object(&self->cancellable);
    if (self->proxy)
        g_signal_handlers_disconnect_by_data(self->proxy, self);
    g_clear_object(&self->proxy);
    g_clear_pointer(&self->nodes, g_ptr_array_unref);
    self->forecast = (SnapshotForecast){ 0 };
    g_hash_table_remove_all(self->pictures);
    g_clear_pointer(&self->folder, g_free);
}

void lodge_snapshots_show(LodgeSnapshots *self, const char *folder, gboolean on)
{
    g_return_if_fail(LODGE_IS_SNAPSHOTS(self));
    self->on = on;
    if (g_strcmp0(folder, self->folder) != 0) {
        forget(self);
        self->folder = g_strdup(folder);
    }
    update_actions(self);
    if (!folder || self->cancellable)
        return;
    self->cancellable = g_cancellable_new();
    show_status(self, _("Snapshots"), _("Looking…"));
    connect_store(self);
}

static void lodge_snapshots_dispose(GObject *object)
{
    LodgeSnapshots *self = LODGE_SNAPSHOTS(object);
    forget(self);
    g_clear_object(&self->actions);
    g_clear_pointer(&self->content, gtk_widget_unparent);
    G_OBJECT_CLASS(lodge_snapshots_parent_class)->dispose(object);
}

static void lodge_snapshots_finalize(GObject *object)
{
    g_hash_table_unref(LODGE_SNAPSHOTS(object)->pictures);
    G_OBJECT_CLASS(lodge_snapshots_parent_class)->finalize(object);
}

static void lodge_snapshots_class_init(LodgeSnapshotsClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = lodge_snapshots_dispose;
    G_OBJECT_CLASS(klass)->finalize = lodge_snapshots_finalize;
    gtk_widget_class_set_layout_manager_type(widget_class, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-snapshots.ui");
#define BIND(name) gtk_widget_class_bind_template_child(widget_class, LodgeSnapshots, name)
    BIND(content);
    BIND(stack);
    BIND(list);
    BIND(status);
    BIND(usage);
    BIND(costs);
#undef BIND
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_Delete, 0, "snapshots.delete", NULL);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_F2, 0, "snapshots.rename", NULL);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_Insert, 0, "snapshots.take", NULL);
}

static void lodge_snapshots_init(LodgeSnapshots *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    self->pictures = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_object_unref);
    self->actions = g_simple_action_group_new();
    g_action_map_add_action_entries(G_ACTION_MAP(self->actions), action_entries,
                                    G_N_ELEMENTS(action_entries), self);
    gtk_widget_insert_action_group(GTK_WIDGET(self), "snapshots", G_ACTION_GROUP(self->actions));
    g_signal_connect(self->list, "row-selected", G_CALLBACK(on_selected), self);
    g_signal_connect(self->list, "row-activated", G_CALLBACK(on_activated), self);
    update_actions(self);
}
