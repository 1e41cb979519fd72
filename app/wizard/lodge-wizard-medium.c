// SPDX-License-Identifier: GPL-2.0-or-later
// A file is looked at in a thread, a moment after its name last changed; only the newest look
// counts.
#include "app/wizard/lodge-wizard-medium.h"

#include "app/wizard/lodge-finding.h"

#include <glib/gi18n.h>
#include <string.h>

#define TYPING_PAUSE_MS 250
#define DOWNLOADS_MAX 5

struct _LodgeWizardMedium {
    LodgeWizardPage parent_instance;
    GuestDatabase *database;
    guint probe_source;
    guint look; // number of the newest

    AdwEntryRow *path;
    GtkWidget *spinner;
    GtkCheckButton *none;
    AdwPreferencesGroup *downloads;
    AdwActionRow *found;
    LodgeFinding *finding;
};

G_DEFINE_FINAL_TYPE(LodgeWizardMedium, lodge_wizard_medium, LODGE_TYPE_WIZARD_PAGE)

typedef struct {
    GuestDatabase *database;
    char *path;
    guint look;
} Look;

static void look_free(Look *look)
{
    guest_database_unref(look->database);
    g_free(look->path);
    g_free(look);
}

static void set_busy(LodgeWizardMedium *self, gboolean busy)
{
    gtk_widget_set_visible(self->spinner, busy);
    gtk_spinner_set_spinning(GTK_SPINNER(self->spinner), busy);
}

static void show_nothing(LodgeWizardMedium *self)
{
    set_busy(self, FALSE);
    gtk_widget_set_visible(GTK_WIDGET(self->found), FALSE);
    lodge_finding_take(self->finding, NULL, FALSE);
}

static void show_medium(LodgeWizardMedium *self, const Medium *medium)
{
    gboolean usable = !medium->problem;
    set_busy(self, FALSE);
    gtk_widget_set_visible(GTK_WIDGET(self->found), usable);
    if (usable) {
        g_autofree char *size = g_format_size(medium->size);
        g_autofree char *kind =
            g_strdup_printf(_("%s, %s"), medium_kind_name(medium->kind), size);
        const char *name = medium->system.name;
        g_autofree char *base = g_path_get_basename(medium->path);
        adw_preferences_row_set_title(ADW_PREFERENCES_ROW(self->found), name ? name : base);
        adw_action_row_set_subtitle(self->found, kind);
    }
    lodge_finding_take(self->finding, g_strdup(usable ? medium->warning : medium->problem),
                       !usable);
}

static void probe_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Look *look = data;
    g_task_return_pointer(task, medium_probe(look->database, look->path),
                          (GDestroyNotify)medium_free);
}

static void on_probed(GObject *source, GAsyncResult *result, gpointer user_data)
{
    LodgeWizardMedium *self = LODGE_WIZARD_MEDIUM(source);
    Look *look = g_task_get_task_data(G_TASK(result));
    Draft *draft = lodge_wizard_page_get_draft(LODGE_WIZARD_PAGE(self));
    Medium *medium = g_task_propagate_pointer(G_TASK(result), NULL);
    if (look->look != self->look || !draft) {
        medium_free(medium);
        return;
    }
    show_medium(self, medium);
    if (medium->problem) {
        medium_free(medium);
        return;
    }
    draft_set_medium(draft, medium);
    lodge_wizard_page_set_ready(LODGE_WIZARD_PAGE(self), TRUE);
}

// What was pasted or dropped may be a URI, or begin with ~.
static char *entered_path(LodgeWizardMedium *self)
{
    g_autofree char *text = g_strdup(gtk_editable_get_text(GTK_EDITABLE(self->path)));
    g_strstrip(text);
    if (!*text)
        return NULL;
    g_autoptr(GFile) file = g_file_parse_name(text);
    char *path = g_file_get_path(file);
    return path ? path : g_steal_pointer(&text);
}

static gboolean probe(gpointer user_data)
{
    LodgeWizardMedium *self = user_data;
    self->probe_source = 0;
    g_autofree char *path = entered_path(self);
    if (!path)
        return G_SOURCE_REMOVE;
    Look *look = g_new(Look, 1);
    *look = (Look){ guest_database_ref(self->database), g_steal_pointer(&path), self->look };
    g_autoptr(GTask) task = g_task_new(self, NULL, on_probed, NULL);
    g_task_set_task_data(task, look, (GDestroyNotify)look_free);
    g_task_run_in_thread(task, probe_thread);
    return G_SOURCE_REMOVE;
}

static void update(LodgeWizardMedium *self)
{
    LodgeWizardPage *page = LODGE_WIZARD_PAGE(self);
    Draft *draft = lodge_wizard_page_get_draft(page);
    gboolean none = gtk_check_button_get_active(self->none);
    g_autofree char *path = entered_path(self);
    self->look++;
    g_clear_handle_id(&self->probe_source, g_source_remove);
    gtk_widget_set_sensitive(GTK_WIDGET(self->path), !none);
    gtk_widget_set_sensitive(GTK_WIDGET(self->downloads), !none);
    lodge_wizard_page_set_ready(page, none);
    show_nothing(self);
    if (none && draft) {
        draft_set_medium(draft, NULL);
    } else if (path) {
        set_busy(self, TRUE);
        self->probe_source = g_timeout_add(TYPING_PAUSE_MS, probe, self);
    }
}

static void on_chosen(GtkNativeDialog *dialog, int response, LodgeWizardMedium *self)
{
    if (response == GTK_RESPONSE_ACCEPT) {
        g_autoptr(GFile) file = gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog));
        g_autofree char *name = g_file_get_parse_name(file);
        gtk_editable_set_text(GTK_EDITABLE(self->path), name);
    }
    g_object_unref(dialog);
}

static void on_choose(LodgeWizardMedium *self)
{
    GtkWindow *window = GTK_WINDOW(gtk_widget_get_root(GTK_WIDGET(self)));
    GtkFileChooserNative *dialog =
        gtk_file_chooser_native_new(_("Choose a Medium"), window, GTK_FILE_CHOOSER_ACTION_OPEN,
                                    _("_Open"), _("_Cancel"));
    GtkFileFilter *images = gtk_file_filter_new(), *all = gtk_file_filter_new();
    gtk_file_filter_set_name(images, _("Disc and disk images"));
    gtk_file_filter_add_suffix(images, "iso");
    gtk_file_filter_add_suffix(images, "img");
    gtk_file_filter_add_suffix(images, "raw");
    gtk_file_filter_add_suffix(images, "qcow2");
    gtk_file_filter_add_suffix(images, "vmdk");
    gtk_file_filter_add_suffix(images, "vdi");
    gtk_file_filter_add_suffix(images, "vhd");
    gtk_file_filter_set_name(all, _("All files"));
    gtk_file_filter_add_pattern(all, "*");
    gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(dialog), images);
    gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(dialog), all);
    g_object_unref(images);
    g_object_unref(all);
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_chosen), self, 0);
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

static gboolean on_drop(GtkDropTarget *target, const GValue *value, double x, double y,
                        LodgeWizardMedium *self)
{
    g_autofree char *name = g_file_get_parse_name(g_value_get_object(value));
    gtk_check_button_set_active(self->none, FALSE);
    gtk_editable_set_text(GTK_EDITABLE(self->path), name);
    return TRUE;
}

// Discs that were downloaded, one click away.

static void on_download(AdwActionRow *row, LodgeWizardMedium *self)
{
    gtk_editable_set_text(GTK_EDITABLE(self->path), g_object_get_data(G_OBJECT(row), "path"));
}

static void add_download(LodgeWizardMedium *self, const char *folder, const char *name)
{
    GtkWidget *row = adw_action_row_new();
    adw_preferences_row_set_use_markup(ADW_PREFERENCES_ROW(row), FALSE);
    adw_preferences_row_set_title(ADW_PREFERENCES_ROW(row), name);
    adw_action_row_set_icon_name(ADW_ACTION_ROW(row), "media-optical-symbolic");
    gtk_list_box_row_set_activatable(GTK_LIST_BOX_ROW(row), TRUE);
    g_object_set_data_full(G_OBJECT(row), "path", g_build_filename(folder, name, NULL), g_free);
    g_signal_connect_object(row, "activated", G_CALLBACK(on_download), self, 0);
    adw_preferences_group_add(self->downloads, row);
    gtk_widget_set_visible(GTK_WIDGET(self->downloads), TRUE);
}

static void on_downloads_listed(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeWizardMedium) self = user_data;
    g_autofree char *folder = g_file_get_path(G_FILE(source));
    g_autoptr(GFileEnumerator) names =
        g_file_enumerate_children_finish(G_FILE(source), result, NULL);
    unsigned rows = 0;
    GFileInfo *info;
    while (names && rows < DOWNLOADS_MAX &&
           g_file_enumerator_iterate(names, &info, NULL, NULL, NULL) && info) {
        const char *name = g_file_info_get_name(info);
        if (!g_str_has_suffix(name, ".iso"))
            continue;
        add_download(self, folder, name);
        rows++;
    }
}

static void list_downloads(LodgeWizardMedium *self)
{
    const char *path = g_get_user_special_dir(G_USER_DIRECTORY_DOWNLOAD);
    g_autoptr(GFile) folder = path ? g_file_new_for_path(path) : NULL;
    if (folder)
        g_file_enumerate_children_async(folder, G_FILE_ATTRIBUTE_STANDARD_NAME,
                                        G_FILE_QUERY_INFO_NONE, G_PRIORITY_DEFAULT, NULL,
                                        on_downloads_listed, g_object_ref(self));
}

static void lodge_wizard_medium_enter(LodgeWizardPage *page, Draft *draft)
{
    gtk_widget_grab_focus(GTK_WIDGET(LODGE_WIZARD_MEDIUM(page)->path));
}

static void lodge_wizard_medium_dispose(GObject *object)
{
    LodgeWizardMedium *self = LODGE_WIZARD_MEDIUM(object);
    g_clear_handle_id(&self->probe_source, g_source_remove);
    self->look++;
    g_clear_pointer(&self->database, guest_database_unref);
    G_OBJECT_CLASS(lodge_wizard_medium_parent_class)->dispose(object);
}

static void lodge_wizard_medium_class_init(LodgeWizardMediumClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = lodge_wizard_medium_dispose;
    LODGE_WIZARD_PAGE_CLASS(klass)->enter = lodge_wizard_medium_enter;
    g_type_ensure(LODGE_TYPE_FINDING);
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-wizard-medium.ui");
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardMedium, path);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardMedium, spinner);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardMedium, none);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardMedium, downloads);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardMedium, found);
    gtk_widget_class_bind_template_child(widget_class, LodgeWizardMedium, finding);
    gtk_widget_class_bind_template_callback(widget_class, on_choose);
    gtk_widget_class_bind_template_callback(widget_class, update);
}

static void lodge_wizard_medium_init(LodgeWizardMedium *self)
{
    self->database = guest_database_new();
    gtk_widget_init_template(GTK_WIDGET(self));
    GtkDropTarget *drop = gtk_drop_target_new(G_TYPE_FILE, GDK_ACTION_COPY);
    g_signal_connect(drop, "drop", G_CALLBACK(on_drop), self);
    gtk_widget_add_controller(GTK_WIDGET(self), GTK_EVENT_CONTROLLER(drop));
    list_downloads(self);
}
