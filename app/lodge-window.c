// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/lodge-window.h"

#include "app/lodge-machine-page.h"
#include "app/lodge-machine-row.h"
#include "app/wizard/lodge-wizard.h"

#include <glib/gi18n.h>

struct _LodgeWindow {
    AdwApplicationWindow parent_instance;
    LodgeLibrary *library;
    gboolean close_confirmed;

    AdwToastOverlay *toasts;
    AdwLeaflet *leaflet;
    GtkListBox *list;
    LodgeMachinePage *page;
    GtkMenuButton *menu_button;
    AdwHeaderBar *library_header;
};

G_DEFINE_FINAL_TYPE(LodgeWindow, lodge_window, ADW_TYPE_APPLICATION_WINDOW)

static void select_row(LodgeWindow *self, LodgeVm *vm)
{
    GtkListBoxRow *row;
    for (int i = 0; (row = gtk_list_box_get_row_at_index(self->list, i)); i++) {
        if (lodge_machine_row_get_vm(LODGE_MACHINE_ROW(row)) == vm)
            gtk_list_box_select_row(self->list, row);
    }
}

void lodge_window_show_machine(LodgeWindow *self, LodgeVm *vm)
{
    g_return_if_fail(LODGE_IS_WINDOW(self));
    lodge_machine_page_set_vm(self->page, vm);
    select_row(self, vm);
    adw_leaflet_set_visible_child(self->leaflet, GTK_WIDGET(self->page));
    gtk_window_present(GTK_WINDOW(self));
}

static void on_row_activated(GtkListBox *list, GtkListBoxRow *row, LodgeWindow *self)
{
    lodge_machine_page_set_vm(self->page, lodge_machine_row_get_vm(LODGE_MACHINE_ROW(row)));
    adw_leaflet_set_visible_child(self->leaflet, GTK_WIDGET(self->page));
}

static GtkWidget *create_row(gpointer item, gpointer user_data)
{
    return lodge_machine_row_new(item);
}

static void on_library_changed(GListModel *model, guint position, guint removed, guint added,
                               LodgeWindow *self)
{
    LodgeVm *shown = lodge_machine_page_get_vm(self->page);
    if (shown && lodge_library_find(self->library, lodge_vm_get_folder(shown)) != shown)
        lodge_machine_page_set_vm(self->page, NULL);
}

// A machine that has just been made. False: somebody removed it again.
static gboolean show_folder(LodgeWindow *self, const char *folder)
{
    lodge_library_refresh(self->library);
    LodgeVm *vm = lodge_library_find(self->library, folder);
    if (vm)
        lodge_window_show_machine(self, vm);
    return vm != NULL;
}

static void on_created(LodgeWizard *wizard, const char *folder, gboolean start, LodgeWindow *self)
{
    if (show_folder(self, folder) && start)
        gtk_widget_activate_action(GTK_WIDGET(self->page), "machine.start", NULL);
}

static void activate_show_machine(GtkWidget *widget, const char *action, GVariant *parameter)
{
    show_folder(LODGE_WINDOW(widget), g_variant_get_string(parameter, NULL));
}

static void activate_new_machine(GtkWidget *widget, const char *action, GVariant *parameter)
{
    LodgeWindow *self = LODGE_WINDOW(widget);
    GtkWidget *wizard = lodge_wizard_new(GTK_WINDOW(self));
    g_signal_connect_object(wizard, "created", G_CALLBACK(on_created), self, 0);
    gtk_window_present(GTK_WINDOW(wizard));
}

static void activate_menu(GtkWidget *widget, const char *action, GVariant *parameter)
{
    gtk_menu_button_popup(LODGE_WINDOW(widget)->menu_button);
}

static void activate_back(GtkWidget *widget, const char *action, GVariant *parameter)
{
    adw_leaflet_navigate(LODGE_WINDOW(widget)->leaflet, ADW_NAVIGATION_DIRECTION_BACK);
}

static void activate_fullscreen(GtkWidget *widget, const char *action, GVariant *parameter)
{
    GtkWindow *window = GTK_WINDOW(widget);
    if (gtk_window_is_fullscreen(window))
        gtk_window_unfullscreen(window);
    else
        gtk_window_fullscreen(window);
}

// On a narrow window the library and the page take turns, and only the right one of the headers has
// window buttons.
static void on_folded(LodgeWindow *self)
{
    gboolean folded = adw_leaflet_get_folded(self->leaflet);
    adw_header_bar_set_show_end_title_buttons(self->library_header, folded);
    lodge_machine_page_set_folded(self->page, folded);
}

static void on_fullscreened(LodgeWindow *self, GParamSpec *pspec, gpointer unused)
{
    gboolean full = gtk_window_is_fullscreen(GTK_WINDOW(self));
    lodge_machine_page_set_full_screen(self->page, full);
    adw_leaflet_set_can_unfold(self->leaflet, !full);
    if (full) {
        adw_leaflet_set_visible_child(self->leaflet, GTK_WIDGET(self->page));
        adw_toast_overlay_add_toast(self->toasts,
                                    adw_toast_new(_("Ctrl+Alt+Enter leaves full screen")));
    }
}

static guint machines_on(LodgeWindow *self)
{
    guint on = 0;
    for (guint i = 0; i < g_list_model_get_n_items(G_LIST_MODEL(self->library)); i++) {
        g_autoptr(LodgeVm) vm = g_list_model_get_item(G_LIST_MODEL(self->library), i);
        on += lodge_vm_is_on(vm) || g_str_equal(lodge_vm_get_state(vm), "starting");
    }
    return on;
}

static void on_close_response(AdwMessageDialog *dialog, const char *response, LodgeWindow *self)
{
    if (g_strcmp0(response, "close") != 0)
        return;
    self->close_confirmed = TRUE;
    gtk_window_close(GTK_WINDOW(self));
}

// Machines go on without the window, and the person is told so.
static gboolean lodge_window_close_request(GtkWindow *window)
{
    LodgeWindow *self = LODGE_WINDOW(window);
    guint on = machines_on(self);
    if (on == 0 || self->close_confirmed)
        return GTK_WINDOW_CLASS(lodge_window_parent_class)->close_request(window);
    g_autofree char *body = g_strdup_printf(
        g_dngettext(NULL,
                    "%u machine keeps running without this window. Open Lodge again to get back "
                    "to it.",
                    "%u machines keep running without this window. Open Lodge again to get back "
                    "to them.", on), on);
    GtkWidget *dialog = adw_message_dialog_new(window, _("Close the Window?"), body);
    adw_message_dialog_add_responses(ADW_MESSAGE_DIALOG(dialog), "cancel", _("_Cancel"), "close",
                                     _("C_lose"), NULL);
    adw_message_dialog_set_default_response(ADW_MESSAGE_DIALOG(dialog), "close");
    adw_message_dialog_set_close_response(ADW_MESSAGE_DIALOG(dialog), "cancel");
    g_signal_connect_object(dialog, "response", G_CALLBACK(on_close_response), self, 0);
    gtk_window_present(GTK_WINDOW(dialog));
    return TRUE;
}

static void lodge_window_dispose(GObject *object)
{
    LodgeWindow *self = LODGE_WINDOW(object);
    if (self->library)
        g_signal_handlers_disconnect_by_data(self->library, self);
    g_clear_object(&self->library);
    G_OBJECT_CLASS(lodge_window_parent_class)->dispose(object);
}

static void lodge_window_class_init(LodgeWindowClass *klass)
{
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    G_OBJECT_CLASS(klass)->dispose = lodge_window_dispose;
    GTK_WINDOW_CLASS(klass)->close_request = lodge_window_close_request;
    g_type_ensure(LODGE_TYPE_MACHINE_PAGE);
    gtk_widget_class_set_template_from_resource(widget_class, "/org/lodge/Lodge/lodge-window.ui");
    gtk_widget_class_bind_template_child(widget_class, LodgeWindow, toasts);
    gtk_widget_class_bind_template_child(widget_class, LodgeWindow, leaflet);
    gtk_widget_class_bind_template_child(widget_class, LodgeWindow, list);
    gtk_widget_class_bind_template_child(widget_class, LodgeWindow, page);
    gtk_widget_class_bind_template_child(widget_class, LodgeWindow, menu_button);
    gtk_widget_class_bind_template_child(widget_class, LodgeWindow, library_header);
    gtk_widget_class_install_action(widget_class, "win.new-machine", NULL, activate_new_machine);
    gtk_widget_class_install_action(widget_class, "win.show-machine", "s", activate_show_machine);
    gtk_widget_class_install_action(widget_class, "win.menu", NULL, activate_menu);
    gtk_widget_class_install_action(widget_class, "win.back", NULL, activate_back);
    gtk_widget_class_install_action(widget_class, "win.fullscreen", NULL, activate_fullscreen);
    // Bindings and not application accelerators: those would take keys from a guest.
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_F10, 0, "win.menu", NULL);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_F11, 0, "win.fullscreen", NULL);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_question,
                                        GDK_CONTROL_MASK | GDK_SHIFT_MASK,
                                        "win.show-help-overlay", NULL);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_q, GDK_CONTROL_MASK, "window.close",
                                        NULL);
    gtk_widget_class_add_binding_action(widget_class, GDK_KEY_n, GDK_CONTROL_MASK,
                                        "win.new-machine", NULL);
}

static void lodge_window_init(LodgeWindow *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    g_signal_connect(self->list, "row-activated", G_CALLBACK(on_row_activated), self);
    g_signal_connect_swapped(self->leaflet, "notify::folded", G_CALLBACK(on_folded), self);
    g_signal_connect(self, "notify::fullscreened", G_CALLBACK(on_fullscreened), NULL);
}

GtkWidget *lodge_window_new(GtkApplication *application, LodgeLibrary *library)
{
    LodgeWindow *self = g_object_new(LODGE_TYPE_WINDOW, "application", application, NULL);
    self->library = g_object_ref(library);
    gtk_list_box_bind_model(self->list, G_LIST_MODEL(library), create_row, NULL, NULL);
    g_signal_connect(library, "items-changed", G_CALLBACK(on_library_changed), self);
    GtkListBoxRow *first = gtk_list_box_get_row_at_index(self->list, 0);
    if (first) {
        gtk_list_box_select_row(self->list, first);
        lodge_machine_page_set_vm(self->page, lodge_machine_row_get_vm(LODGE_MACHINE_ROW(first)));
    }
    return GTK_WIDGET(self);
}
