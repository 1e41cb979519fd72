// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-library.h"

#include <string.h>

struct _LodgeLibrary {
    GObject parent_instance;
    GPtrArray *machines; // LodgeVm, by folder name
    GFileMonitor *monitor;
    guint refresh_source;
};

static GType library_item_type(GListModel *model)
{
    return LODGE_TYPE_VM;
}

static guint library_n_items(GListModel *model)
{
    return LODGE_LIBRARY(model)->machines->len;
}

static gpointer library_item(GListModel *model, guint position)
{
    LodgeLibrary *self = LODGE_LIBRARY(model);
    return position < self->machines->len ? g_object_ref(self->machines->pdata[position]) : NULL;
}

static void library_list_init(GListModelInterface *iface)
{
    iface->get_item_type = library_item_type;
    iface->get_n_items = library_n_items;
    iface->get_item = library_item;
}

G_DEFINE_FINAL_TYPE_WITH_CODE(LodgeLibrary, lodge_library, G_TYPE_OBJECT,
                              G_IMPLEMENT_INTERFACE(G_TYPE_LIST_MODEL, library_list_init))

static void insert_machine(LodgeLibrary *self, guint position, const char *folder)
{
    g_ptr_array_insert(self->machines, (gint)position, lodge_vm_new(folder));
    g_list_model_items_changed(G_LIST_MODEL(self), position, 0, 1);
}

static void remove_machine(LodgeLibrary *self, guint position)
{
    g_ptr_array_remove_index(self->machines, position);
    g_list_model_items_changed(G_LIST_MODEL(self), position, 1, 0);
}

static int compare_folders(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The machines' folders, sorted as `machines` is.
static GPtrArray *list_folders(void)
{
    g_auto(GStrv) names = vm_folder_list();
    GPtrArray *folders = g_ptr_array_new_with_free_func(g_free);
    for (char **name = names; *name; name++) {
        char *folder = vm_folder_find(*name, NULL);
        if (folder)
            g_ptr_array_add(folders, folder);
    }
    g_ptr_array_sort(folders, compare_folders);
    return folders;
}

// Both lists are sorted: one walk finds what came and what went. A machine whose machine.conf could
// not be read is looked at anew each time.
void lodge_library_refresh(LodgeLibrary *self)
{
    g_clear_handle_id(&self->refresh_source, g_source_remove);
    g_autoptr(GPtrArray) folders = list_folders();
    guint at = 0;
    for (guint i = 0; i < folders->len;) {
        LodgeVm *vm = at < self->machines->len ? self->machines->pdata[at] : NULL;
        int order = vm ? strcmp(lodge_vm_get_folder(vm), folders->pdata[i]) : 1;
        if (order < 0 || (order == 0 && !lodge_vm_get_config(vm))) {
            remove_machine(self, at);
        } else if (order == 0) {
            at++;
            i++;
        } else {
            insert_machine(self, at++, folders->pdata[i++]);
        }
    }
    while (at < self->machines->len)
        remove_machine(self, at);
}

LodgeVm *lodge_library_find(LodgeLibrary *self, const char *folder)
{
    for (guint i = 0; i < self->machines->len; i++) {
        LodgeVm *vm = self->machines->pdata[i];
        if (strcmp(lodge_vm_get_folder(vm), folder) == 0)
            return vm;
    }
    return NULL;
}

static gboolean on_refresh(gpointer user_data)
{
    LodgeLibrary *self = user_data;
    self->refresh_source = 0;
    lodge_library_refresh(self);
    return G_SOURCE_REMOVE;
}

static void on_folder_changed(GFileMonitor *monitor, GFile *file, GFile *other,
                              GFileMonitorEvent event, LodgeLibrary *self)
{
    if (!self->refresh_source)
        self->refresh_source = g_timeout_add(200, on_refresh, self);
}

static void lodge_library_dispose(GObject *object)
{
    LodgeLibrary *self = LODGE_LIBRARY(object);
    g_clear_handle_id(&self->refresh_source, g_source_remove);
    g_clear_object(&self->monitor);
    g_ptr_array_set_size(self->machines, 0);
    G_OBJECT_CLASS(lodge_library_parent_class)->dispose(object);
}

static void lodge_library_finalize(GObject *object)
{
    g_ptr_array_unref(LODGE_LIBRARY(object)->machines);
    G_OBJECT_CLASS(lodge_library_parent_class)->finalize(object);
}

static void lodge_library_class_init(LodgeLibraryClass *klass)
{
    G_OBJECT_CLASS(klass)->dispose = lodge_library_dispose;
    G_OBJECT_CLASS(klass)->finalize = lodge_library_finalize;
}

static void lodge_library_init(LodgeLibrary *self)
{
    self->machines = g_ptr_array_new_with_free_func(g_object_unref);
    g_autofree char *root = vm_folder_root();
    g_mkdir_with_parents(root, 0700);
    g_autoptr(GFile) folder = g_file_new_for_path(root);
    self->monitor = g_file_monitor_directory(folder, G_FILE_MONITOR_WATCH_MOVES, NULL, NULL);
    if (self->monitor)
        g_signal_connect(self->monitor, "changed", G_CALLBACK(on_folder_changed), self);
    lodge_library_refresh(self);
}

LodgeLibrary *lodge_library_new(void)
{
    return g_object_new(LODGE_TYPE_LIBRARY, NULL);
}
