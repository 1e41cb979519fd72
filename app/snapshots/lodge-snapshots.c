// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-snapshots.h. The connection is made on a worker thread (a service may have to start);
// after that every call is asynchronous. What the service says is shown, never guessed: after each
// change the list is read again.
#include "app/snapshots/lodge-snapshots-private.h"

#include "app/client/vm-client.h"

#include <glib/gi18n.h>

G_DEFINE_FINAL_TYPE(LodgeSnapshots, lodge_snapshots, GTK_TYPE_WIDGET)

// ---- The connection ----

static void on_tree_changed(LodgeSnapshots1 *proxy, LodgeSnapshots *self)
{
    lodge_snapshots_read(self);
}

static void on_owner(LodgeSnapshots1 *proxy, GParamSpec *pspec, LodgeSnapshots *self)
{
    // The service ended, or an engine took the store over: the next action connects anew.
    g_autofree char *owner = g_dbus_proxy_get_name_owner(G_DBUS_PROXY(proxy));
    if (owner)
        lodge_snapshots_read(self);
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
        lodge_snapshots_show_status(self, _("No Snapshots"), sentence);
        return;
    }
    if (self->proxy)
        g_signal_handlers_disconnect_by_data(self->proxy, self);
    g_set_object(&self->proxy, proxy);
    g_signal_connect(proxy, "tree-changed", G_CALLBACK(on_tree_changed), self);
    g_signal_connect(proxy, "notify::g-name-owner", G_CALLBACK(on_owner), self);
    lodge_snapshots_read(self);
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
        lodge_snapshots_fail(self, request->heading, error);
        return;
    }
    if (request->done)
        request->done(self, results, request->id);
    lodge_snapshots_read(self);
}

void lodge_snapshots_call(LodgeSnapshots *self, const char *heading, const char *method,
                          GVariant *arguments,
                          void (*done)(LodgeSnapshots *self, GVariant *results, guint64 id),
                          guint64 id)
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

// ---- The widget ----

static void on_selected(GtkListBox *list, GtkListBoxRow *row, LodgeSnapshots *self)
{
    lodge_snapshots_update_actions(self);
    lodge_snapshots_show_costs(self);
    if (self->on && self->proxy && row)
        lodge_snapshots_ask_forecast(self); // it changes while the machine runs
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
    self->asked = 0;
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
    lodge_snapshots_update_actions(self);
    if (!folder || self->cancellable)
        return;
    self->cancellable = g_cancellable_new();
    lodge_snapshots_show_status(self, _("Snapshots"), _("Looking…"));
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
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_d, GDK_CONTROL_MASK,
                                        "snapshots.changes", NULL);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_F2, 0, "snapshots.rename", NULL);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_Insert, 0, "snapshots.take", NULL);
}

static void lodge_snapshots_init(LodgeSnapshots *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    self->pictures = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_object_unref);
    lodge_snapshots_add_actions(self);
    g_signal_connect(self->list, "row-selected", G_CALLBACK(on_selected), self);
    g_signal_connect(self->list, "row-activated", G_CALLBACK(on_activated), self);
    lodge_snapshots_update_actions(self);
}
