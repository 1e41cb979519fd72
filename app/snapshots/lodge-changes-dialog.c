// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-changes-dialog.h. The work is snapshots_compare's, in a thread of its own, one at a
// time: what is chosen meanwhile stops it, and begins when it has put everything back.
#include "app/snapshots/lodge-changes-dialog.h"

#include "app/client/snapshots-compare.h"
#include "app/client/vm-client.h"
#include "app/snapshots/snapshot-changes.h"

#include <glib/gi18n.h>

#define PULSE_MS 100

struct _LodgeChangesDialog {
    AdwWindow parent_instance;
    char *folder;
    GArray *ids;               // guint64, of the rows of both choices; 0: now
    GCancellable *cancellable; // while it is under way
    gboolean again;            // another comparison is due behind that
    gboolean closing;          // and the dialog goes
    guint pulse;               // a source
    gboolean told;             // how far it is; else that is not known
    GPtrArray *rows;           // of SnapshotChange; NULL: none were asked for with success
    GListStore *shown;

    GtkWidget *search_button, *search_bar, *again_button, *stop;
    GtkDropDown *from, *to;
    GtkEditable *search;
    GtkStack *stack;
    GtkProgressBar *progress;
    AdwStatusPage *status;
    GtkListView *list;
};

G_DEFINE_FINAL_TYPE(LodgeChangesDialog, lodge_changes_dialog, ADW_TYPE_WINDOW)

// ---- What is shown ----

static void show_status(LodgeChangesDialog *self, const char *icon, const char *title,
                        const char *text, gboolean again)
{
    g_autofree char *markup = g_markup_escape_text(text, -1);
    adw_status_page_set_icon_name(self->status, icon);
    adw_status_page_set_title(self->status, title);
    adw_status_page_set_description(self->status, markup);
    gtk_widget_set_visible(self->again_button, again);
    gtk_stack_set_visible_child_name(self->stack, "status");
}

static void show_rows(LodgeChangesDialog *self)
{
    if (!self->rows)
        return;
    g_autoptr(GPtrArray) found =
        snapshot_changes_filter(self->rows, gtk_editable_get_text(self->search));
    g_list_store_splice(self->shown, 0, g_list_model_get_n_items(G_LIST_MODEL(self->shown)),
                        found->pdata, found->len);
    if (self->rows->len == 0)
        show_status(self, "object-select-symbolic", _("Nothing Differs"),
                    _("The disks are the same in both."), FALSE);
    else if (found->len == 0)
        show_status(self, "edit-find-symbolic", _("Nothing Found"),
                    _("No file that differs has that in its path."), FALSE);
    else
        gtk_stack_set_visible_child_name(self->stack, "list");
}

// ---- Rows ----

static void on_setup(GtkSignalListItemFactory *factory, GtkListItem *item)
{
    gtk_list_item_set_activatable(item, FALSE);
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12);
    GtkWidget *word = gtk_label_new(NULL);
    GtkWidget *texts = gtk_box_new(GTK_ORIENTATION_VERTICAL, 2);
    GtkWidget *title = gtk_label_new(NULL), *detail = gtk_label_new(NULL);
    gtk_label_set_width_chars(GTK_LABEL(word), 9);
    gtk_label_set_xalign(GTK_LABEL(word), 0);
    gtk_widget_set_valign(word, GTK_ALIGN_BASELINE);
    gtk_widget_add_css_class(word, "dim-label");
    gtk_widget_add_css_class(word, "caption");
    gtk_label_set_xalign(GTK_LABEL(title), 0);
    gtk_label_set_wrap(GTK_LABEL(title), TRUE);
    gtk_label_set_wrap_mode(GTK_LABEL(title), PANGO_WRAP_WORD_CHAR);
    gtk_label_set_xalign(GTK_LABEL(detail), 0);
    gtk_label_set_wrap(GTK_LABEL(detail), TRUE);
    gtk_label_set_wrap_mode(GTK_LABEL(detail), PANGO_WRAP_WORD_CHAR);
    gtk_widget_add_css_class(detail, "dim-label");
    gtk_widget_add_css_class(detail, "caption");
    gtk_widget_set_hexpand(texts, TRUE);
    gtk_box_append(GTK_BOX(texts), title);
    gtk_box_append(GTK_BOX(texts), detail);
    gtk_box_append(GTK_BOX(box), word);
    gtk_box_append(GTK_BOX(box), texts);
    gtk_widget_set_margin_start(box, 6);
    gtk_widget_set_margin_end(box, 6);
    gtk_widget_set_margin_bottom(box, 2);
    gtk_list_item_set_child(item, box);
}

static void set_text(GtkWidget *label, const char *text)
{
    gtk_label_set_label(GTK_LABEL(label), text);
    gtk_widget_set_visible(label, *text != 0);
}

static void set_class(GtkWidget *widget, const char *name, gboolean on)
{
    if (on)
        gtk_widget_add_css_class(widget, name);
    else
        gtk_widget_remove_css_class(widget, name);
}

static void on_bind(GtkSignalListItemFactory *factory, GtkListItem *item)
{
    SnapshotChange *change = gtk_list_item_get_item(item);
    GtkWidget *box = gtk_list_item_get_child(item);
    GtkWidget *word = gtk_widget_get_first_child(box);
    GtkWidget *title = gtk_widget_get_first_child(gtk_widget_get_next_sibling(word));
    set_text(word, change->word);
    set_text(title, change->title);
    set_text(gtk_widget_get_next_sibling(title), change->detail);
    gboolean heading = change->kind <= SNAPSHOT_CHANGE_PARTITION;
    set_class(title, "heading", heading);
    set_class(title, "dim-label", change->kind == SNAPSHOT_CHANGE_NOTE);
    gtk_widget_set_margin_top(box, change->kind == SNAPSHOT_CHANGE_DISK ? 12 : heading ? 6 : 2);
    // A row is read as a whole.
    g_autofree char *said =
        g_strdup_printf("%s%s%s%s%s", change->word, *change->word ? " " : "", change->title,
                        *change->detail ? ", " : "", change->detail);
    gtk_accessible_update_property(GTK_ACCESSIBLE(box), GTK_ACCESSIBLE_PROPERTY_LABEL, said, -1);
}

// ---- The comparison ----

typedef struct {
    char *folder;
    guint64 from, to;
    GVariant *blocks, *files; // what comes of it
} Job;

static void job_free(gpointer data)
{
    Job *job = data;
    g_free(job->folder);
    g_clear_pointer(&job->blocks, g_variant_unref);
    g_clear_pointer(&job->files, g_variant_unref);
    g_free(job);
}

static void compare_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Job *job = data;
    GError *error = NULL;
    if (snapshots_compare(job->folder, job->from, job->to, cancellable, &job->blocks, &job->files,
                          &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

static gboolean on_pulse(gpointer user_data)
{
    LodgeChangesDialog *self = LODGE_CHANGES_DIALOG(user_data);
    if (!self->told)
        gtk_progress_bar_pulse(self->progress);
    return G_SOURCE_CONTINUE;
}

// Of the disks, one after the other. The process that reads the files does not tell.
static void on_progress(LodgeSnapshots1 *proxy, guint64 done, guint64 total,
                        LodgeChangesDialog *self)
{
    self->told = done < total;
    if (self->told)
        gtk_progress_bar_set_fraction(self->progress, CLAMP((double)done / (double)total, 0, 1));
}

static guint64 chosen(LodgeChangesDialog *self, GtkDropDown *choice)
{
    guint row = gtk_drop_down_get_selected(choice);
    return row < self->ids->len ? g_array_index(self->ids, guint64, row) : 0;
}

static void start(LodgeChangesDialog *self);

static void on_done(GObject *source, GAsyncResult *result, gpointer user_data)
{
    LodgeChangesDialog *self = LODGE_CHANGES_DIALOG(source);
    Job *job = g_task_get_task_data(G_TASK(result));
    g_autoptr(GError) error = NULL;
    gboolean done = g_task_propagate_boolean(G_TASK(result), &error);
    gboolean given_up = g_cancellable_is_cancelled(self->cancellable);
    g_clear_object(&self->cancellable);
    g_clear_handle_id(&self->pulse, g_source_remove);
    if (self->closing) {
        gtk_window_destroy(GTK_WINDOW(self));
    } else if (self->again) {
        start(self);
    } else if (done) {
        self->rows = snapshot_changes_rows(job->blocks, job->files);
        gtk_widget_set_sensitive(self->search_button, self->rows->len > 0);
        show_rows(self);
    } else if (given_up) {
        show_status(self, "process-stop-symbolic", _("Stopped"),
                    _("The snapshots were not compared to the end."), TRUE);
    } else {
        vm_client_strip_error(error);
        g_autofree char *sentence = vm_client_sentence(error->message);
        show_status(self, "dialog-error-symbolic", _("They Cannot Be Compared"), sentence, TRUE);
    }
}

static void start(LodgeChangesDialog *self)
{
    self->again = self->cancellable != NULL;
    if (self->again) {
        g_cancellable_cancel(self->cancellable);
        return;
    }
    g_clear_pointer(&self->rows, g_ptr_array_unref);
    g_list_store_remove_all(self->shown);
    gtk_widget_set_sensitive(self->search_button, FALSE);
    gtk_search_bar_set_search_mode(GTK_SEARCH_BAR(self->search_bar), FALSE);
    guint64 from = chosen(self, self->from), to = chosen(self, self->to);
    if (from == to) {
        show_status(self, "dialog-information-symbolic", _("Twice the Same"),
                    _("Choose two snapshots, or a snapshot and now."), FALSE);
        return;
    }
    self->cancellable = g_cancellable_new();
    self->told = FALSE;
    self->pulse = g_timeout_add(PULSE_MS, on_pulse, self);
    gtk_stack_set_visible_child_name(self->stack, "busy");
    Job *job = g_new0(Job, 1);
    *job = (Job){ .folder = g_strdup(self->folder), .from = from, .to = to };
    g_autoptr(GTask) task = g_task_new(self, self->cancellable, on_done, NULL);
    // The thread says when everything is as it was, also where it was cancelled.
    g_task_set_check_cancellable(task, FALSE);
    g_task_set_task_data(task, job, job_free);
    g_task_run_in_thread(task, compare_thread);
}

static void on_stop(LodgeChangesDialog *self)
{
    self->again = FALSE;
    if (self->cancellable)
        g_cancellable_cancel(self->cancellable);
}

// ---- The widget ----

static gboolean lodge_changes_dialog_close_request(GtkWindow *window)
{
    LodgeChangesDialog *self = LODGE_CHANGES_DIALOG(window);
    if (!self->cancellable)
        return GTK_WINDOW_CLASS(lodge_changes_dialog_parent_class)->close_request(window);
    self->closing = TRUE;
    g_cancellable_cancel(self->cancellable);
    return TRUE;
}

static void lodge_changes_dialog_dispose(GObject *object)
{
    LodgeChangesDialog *self = LODGE_CHANGES_DIALOG(object);
    g_clear_handle_id(&self->pulse, g_source_remove);
    G_OBJECT_CLASS(lodge_changes_dialog_parent_class)->dispose(object);
}

static void lodge_changes_dialog_finalize(GObject *object)
{
    LodgeChangesDialog *self = LODGE_CHANGES_DIALOG(object);
    g_free(self->folder);
    g_array_unref(self->ids);
    g_clear_pointer(&self->rows, g_ptr_array_unref);
    g_object_unref(self->shown);
    G_OBJECT_CLASS(lodge_changes_dialog_parent_class)->finalize(object);
}

static gboolean on_find(GtkWidget *widget, GVariant *parameter, gpointer user_data)
{
    LodgeChangesDialog *self = LODGE_CHANGES_DIALOG(widget);
    if (!self->rows || self->rows->len == 0)
        return FALSE;
    gtk_search_bar_set_search_mode(GTK_SEARCH_BAR(self->search_bar), TRUE);
    gtk_widget_grab_focus(GTK_WIDGET(self->search));
    return TRUE;
}

static void lodge_changes_dialog_class_init(LodgeChangesDialogClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = lodge_changes_dialog_dispose;
    G_OBJECT_CLASS(klass)->finalize = lodge_changes_dialog_finalize;
    GTK_WINDOW_CLASS(klass)->close_request = lodge_changes_dialog_close_request;
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-changes-dialog.ui");
#define BIND(name) gtk_widget_class_bind_template_child(widget_class, LodgeChangesDialog, name)
    BIND(search_button);
    BIND(search_bar);
    BIND(again_button);
    BIND(stop);
    BIND(from);
    BIND(to);
    BIND(search);
    BIND(stack);
    BIND(progress);
    BIND(status);
    BIND(list);
#undef BIND
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_Escape, 0, "window.close", NULL);
    gtk_widget_class_add_binding(widget_class, GDK_KEY_f, GDK_CONTROL_MASK, on_find, NULL);
}

static void on_choice_setup(GtkSignalListItemFactory *factory, GtkListItem *item)
{
    GtkWidget *label = gtk_label_new(NULL);
    gtk_label_set_xalign(GTK_LABEL(label), 0);
    gtk_label_set_ellipsize(GTK_LABEL(label), PANGO_ELLIPSIZE_END); // names may be long
    gtk_list_item_set_child(item, label);
}

static void on_choice_bind(GtkSignalListItemFactory *factory, GtkListItem *item)
{
    const char *text = gtk_string_object_get_string(gtk_list_item_get_item(item));
    gtk_label_set_label(GTK_LABEL(gtk_list_item_get_child(item)), text);
}

static GtkListItemFactory *new_factory(gpointer setup, gpointer bind)
{
    GtkListItemFactory *factory = gtk_signal_list_item_factory_new();
    g_signal_connect(factory, "setup", G_CALLBACK(setup), NULL);
    g_signal_connect(factory, "bind", G_CALLBACK(bind), NULL);
    return factory;
}

static void lodge_changes_dialog_init(LodgeChangesDialog *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    self->ids = g_array_new(FALSE, FALSE, sizeof(guint64));
    self->shown = g_list_store_new(SNAPSHOT_TYPE_CHANGE);
    g_autoptr(GtkListItemFactory) factory = new_factory(on_setup, on_bind);
    g_autoptr(GtkListItemFactory) choice_factory = new_factory(on_choice_setup, on_choice_bind);
    g_autoptr(GtkNoSelection) selection =
        gtk_no_selection_new(g_object_ref(G_LIST_MODEL(self->shown)));
    gtk_list_view_set_factory(self->list, factory);
    gtk_drop_down_set_factory(self->from, choice_factory);
    gtk_drop_down_set_factory(self->to, choice_factory);
    gtk_list_view_set_model(self->list, GTK_SELECTION_MODEL(selection));
    gtk_search_bar_connect_entry(GTK_SEARCH_BAR(self->search_bar), self->search);
    g_signal_connect_swapped(self->search, "search-changed", G_CALLBACK(show_rows), self);
    g_signal_connect_swapped(self->stop, "clicked", G_CALLBACK(on_stop), self);
    g_signal_connect_swapped(self->again_button, "clicked", G_CALLBACK(start), self);
}

// Fills both choices, and returns the rows of the node, its parent and now.
static void fill_choices(LodgeChangesDialog *self, GPtrArray *nodes, guint64 wanted,
                         guint *ret_node, guint *ret_parent)
{
    g_autoptr(GtkStringList) names = gtk_string_list_new(NULL);
    const guint64 now = 0;
    guint64 parent = 0;
    for (guint i = 0; i < nodes->len; i++) {
        const SnapshotNode *node = nodes->pdata[i];
        if (node->in_bin)
            continue;
        if (node->id == wanted)
            parent = node->parent;
        g_autofree char *time = snapshot_node_time(node, "%x %H:%M");
        g_autofree char *text = g_strdup_printf("%s · %s", node->name, time);
        gtk_string_list_append(names, text);
        g_array_append_val(self->ids, node->id);
    }
    gtk_string_list_append(names, _("Now"));
    g_array_append_val(self->ids, now);
    *ret_node = *ret_parent = self->ids->len - 1;
    for (guint i = 0; i < self->ids->len; i++) {
        guint64 id = g_array_index(self->ids, guint64, i);
        *ret_node = id == wanted ? i : *ret_node;
        *ret_parent = id == parent ? i : *ret_parent;
    }
    gtk_drop_down_set_model(self->from, G_LIST_MODEL(names));
    gtk_drop_down_set_model(self->to, G_LIST_MODEL(names));
}

GtkWidget *lodge_changes_dialog_new(GtkWindow *parent, const char *folder, LodgeSnapshots1 *proxy,
                                    GPtrArray *nodes, guint64 node)
{
    LodgeChangesDialog *self =
        g_object_new(LODGE_TYPE_CHANGES_DIALOG, "transient-for", parent, NULL);
    guint row, before;
    self->folder = g_strdup(folder);
    g_signal_connect_object(proxy, "progress", G_CALLBACK(on_progress), self, 0);
    fill_choices(self, nodes, node, &row, &before);
    gboolean has_parent = before != self->ids->len - 1;
    gtk_drop_down_set_selected(self->from, has_parent ? before : row);
    gtk_drop_down_set_selected(self->to, has_parent ? row : before);
    g_signal_connect_swapped(self->from, "notify::selected", G_CALLBACK(start), self);
    g_signal_connect_swapped(self->to, "notify::selected", G_CALLBACK(start), self);
    start(self);
    return GTK_WIDGET(self);
}
