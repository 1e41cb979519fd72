// SPDX-License-Identifier: GPL-2.0-or-later
// Connects the machine's session and serial port while its engine is there; the actions of the
// "machine" group follow its state. Errors are shown as dialogs that say what to do.
#include "app/lodge-machine-page.h"

#include "app/client/snapshots-client.h"
#include "engine/config/vm-readers.h"
#include "app/console/lodge-display.h"
#include "app/console/lodge-serial.h"
#include "app/console/lodge-session.h"
#include "app/lodge-dialogs.h"
#include "app/snapshots/lodge-snapshots.h"

#include <glib/gi18n.h>
#include <string.h>
#include <unistd.h>

// Where the pointer shows and hides the bar in full screen, from the top edge.
#define FULL_SCREEN_BAR_SHOW 2
#define FULL_SCREEN_BAR_HIDE 80

#define GRAB_DELAY_MS 150
#define SERIAL_RETRY_MS 300

struct _LodgeMachinePage {
    GtkWidget parent_instance;
    LodgeVm *vm;
    LodgeSession *session;
    GSimpleActionGroup *actions;
    gboolean was_on, was_suspending;
    guint serial_source; // tries again

    GtkWidget *content;
    GtkWidget *header;
    AdwWindowTitle *title;
    gboolean full_screen;
    GtkWidget *back_button, *start_button, *pause_button, *power_button, *keys_button, *view_button;
    GtkWidget *switcher;
    GtkWidget *snapshots_button;
    LodgeSnapshots *snapshots;
    gboolean shows_snapshots;
    GtkRevealer *grab_revealer;
    GtkStack *stack;
    AdwStatusPage *status;
    GtkWidget *big_start_button;
    GtkStack *consoles;
    GtkRevealer *paused, *full_screen_bar;
    GtkLabel *full_screen_name;
    LodgeDisplay *display;
    LodgeSerial *serial;
};

G_DEFINE_FINAL_TYPE(LodgeMachinePage, lodge_machine_page, GTK_TYPE_WIDGET)

enum { PROP_0, PROP_VM, PROP_COUNT };

static GParamSpec *properties[PROP_COUNT];

static void enable(LodgeMachinePage *self, const char *action, gboolean enabled)
{
    GAction *found = g_action_map_lookup_action(G_ACTION_MAP(self->actions), action);
    g_simple_action_set_enabled(G_SIMPLE_ACTION(found), enabled);
}

static void show_error(LodgeMachinePage *self, const char *heading, GError *error)
{
    lodge_dialog_error(GTK_WIDGET(self), heading, error);
}

// Serial port and display come and go with the engine.

typedef struct {
    LodgeMachinePage *page;
    LodgeVm *vm; // the page may show another one when the socket comes
} SerialRequest;

static void open_serial(LodgeMachinePage *self);

static gboolean retry_serial(gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    self->serial_source = 0;
    open_serial(self);
    return G_SOURCE_REMOVE;
}

// An engine that has just come to the bus may not be that far yet.
static void on_serial_socket(gpointer ready_data, int fd)
{
    g_autofree SerialRequest *request = ready_data;
    g_autoptr(LodgeMachinePage) self = request->page;
    g_autoptr(LodgeVm) vm = request->vm;
    gboolean wanted = self->vm == vm && self->session;
    if (wanted && fd >= 0)
        lodge_serial_set_socket(self->serial, fd);
    else if (fd >= 0)
        close(fd);
    else if (wanted && !self->serial_source)
        self->serial_source = g_timeout_add(SERIAL_RETRY_MS, retry_serial, self);
}

static void open_serial(LodgeMachinePage *self)
{
    SerialRequest *request = g_new(SerialRequest, 1);
    *request = (SerialRequest){ g_object_ref(self), g_object_ref(self->vm) };
    lodge_vm_open_serial(self->vm, on_serial_socket, request);
}

static void connect_consoles(LodgeMachinePage *self)
{
    self->session = lodge_session_new(lodge_vm_open_display, self->vm);
    lodge_display_set_session(self->display, self->session);
    lodge_session_set_active(self->session, TRUE);
    open_serial(self);
    gtk_widget_grab_focus(GTK_WIDGET(self->display));
}

static void disconnect_consoles(LodgeMachinePage *self)
{
    g_clear_handle_id(&self->serial_source, g_source_remove);
    lodge_serial_set_socket(self->serial, -1);
    lodge_display_set_session(self->display, NULL);
    if (self->session)
        lodge_session_set_active(self->session, FALSE);
    g_clear_object(&self->session);
}

static void update_status_page(LodgeMachinePage *self)
{
    g_autofree char *summary = NULL, *state = NULL;
    g_object_get(self->vm, "summary", &summary, "state-text", &state, NULL);
    const char *reason = lodge_vm_get_reason(self->vm);
    adw_status_page_set_title(self->status, lodge_vm_get_name(self->vm));
    gboolean suspended = strcmp(lodge_vm_get_state(self->vm), "suspended") == 0;
    g_autofree char *text =
        *reason     ? g_strdup_printf("%s\n%s", state, reason)
        : suspended ? g_strdup_printf("%s\n%s", summary, _("Suspended: goes on where it was"))
                    : g_strdup(summary);
    g_autofree char *markup = g_markup_escape_text(text, -1);
    adw_status_page_set_description(self->status, markup);
    adw_status_page_set_icon_name(self->status,
                                  *reason ? "dialog-warning-symbolic" : "computer-symbolic");
}

// The snapshots stand in front of the console as long as their button is pressed.
static const char *visible_page(LodgeMachinePage *self, gboolean on, gboolean crashed)
{
    if (!self->vm)
        return "none";
    if (self->shows_snapshots && gtk_widget_get_visible(self->snapshots_button))
        return "snapshots";
    return on && !crashed ? "on" : "off";
}

static void update_snapshots(LodgeMachinePage *self, gboolean on, gboolean off)
{
    gboolean there = self->vm && snapshots_has_store(lodge_vm_get_folder(self->vm));
    enable(self, "try", there && off);
    gtk_widget_set_visible(self->snapshots_button, there);
    lodge_snapshots_show(self->snapshots,
                         there && self->shows_snapshots ? lodge_vm_get_folder(self->vm) : NULL, on);
}

static void name_button(GtkWidget *button, const char *label)
{
    gtk_widget_set_tooltip_text(button, label);
    gtk_accessible_update_property(GTK_ACCESSIBLE(button), GTK_ACCESSIBLE_PROPERTY_LABEL, label,
                                   -1);
}

// The engine has gone on after a state that could not be saved.
static void tell_suspend_failed(LodgeMachinePage *self)
{
    g_autofree char *sentence = vm_client_sentence(lodge_vm_get_reason(self->vm));
    g_autoptr(GError) error = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_FAILED, sentence);
    show_error(self, _("The Machine Was Not Suspended"), error);
}

static void update(LodgeMachinePage *self)
{
    gboolean have = self->vm != NULL;
    const char *state = have ? lodge_vm_get_state(self->vm) : "off";
    gboolean on = have && lodge_vm_is_on(self->vm);
    gboolean running = on && strcmp(state, "running") == 0;
    gboolean paused = on && strcmp(state, "paused") == 0;
    gboolean starting = strcmp(state, "starting") == 0;
    gboolean crashed = on && strcmp(state, "crashed") == 0;
    gboolean suspending = on && strcmp(state, "suspending") == 0;
    gboolean suspended = strcmp(state, "suspended") == 0;
    if (self->was_suspending && (running || paused) && *lodge_vm_get_reason(self->vm))
        tell_suspend_failed(self);
    self->was_suspending = suspending;
    if (on != self->was_on) {
        self->was_on = on;
        if (on)
            connect_consoles(self);
        else
            disconnect_consoles(self);
    }
    enable(self, "start", have && !on && !starting);
    enable(self, "pause", running || paused);
    enable(self, "reset", running || paused || crashed);
    enable(self, "shut-down", running);
    enable(self, "power-off", on);
    enable(self, "suspend", (running || paused) && !lodge_vm_is_disposable(self->vm));
    enable(self, "discard-state", suspended);
    enable(self, "keys", running);
    enable(self, "grab", running);
    enable(self, "screenshot", on);
    enable(self, "delete", have && !on && !starting);
    gtk_widget_set_visible(self->start_button, have && !on);
    gtk_widget_set_visible(self->pause_button, on);
    gtk_widget_set_visible(self->power_button, on);
    gtk_widget_set_visible(self->keys_button, on);
    gtk_widget_set_visible(self->view_button, have);
    gtk_widget_set_visible(self->switcher, on);
    gtk_button_set_icon_name(GTK_BUTTON(self->pause_button),
                             paused ? "media-playback-start-symbolic"
                                    : "media-playback-pause-symbolic");
    name_button(self->pause_button, paused ? _("Resume") : _("Pause"));
    name_button(self->start_button, suspended ? _("Resume") : _("Start"));
    gtk_button_set_label(GTK_BUTTON(self->big_start_button),
                         suspended ? _("_Resume") : _("_Start"));
    gtk_revealer_set_reveal_child(self->paused, paused);
    gtk_widget_set_can_target(GTK_WIDGET(self->paused), paused);
    update_snapshots(self, on, have && !on && !starting && !suspended);
    gtk_stack_set_visible_child_name(self->stack, visible_page(self, on, crashed));
    if (have) {
        g_autofree char *text = NULL;
        g_object_get(self->vm, "state-text", &text, NULL);
        adw_window_title_set_title(self->title, lodge_vm_get_name(self->vm));
        adw_window_title_set_subtitle(self->title, text);
        gtk_label_set_label(self->full_screen_name, lodge_vm_get_name(self->vm));
        update_status_page(self);
    } else {
        adw_window_title_set_title(self->title, "Lodge");
        adw_window_title_set_subtitle(self->title, "");
    }
}

static void on_vm_changed(LodgeVm *vm, GParamSpec *pspec, LodgeMachinePage *self)
{
    update(self);
}

// Actions.

static void on_started(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeMachinePage) self = user_data;
    g_autoptr(GError) error = NULL;
    if (!lodge_vm_start_finish(LODGE_VM(source), result, &error))
        show_error(self, _("The Machine Does Not Start"), error);
}

static void activate_start(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    lodge_vm_start_async(self->vm, NULL, on_started, g_object_ref(self));
}

// Without keeping changes; the parameter is the snapshot that it begins at, 0: where it is.
static void activate_try(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    EngineStart how = { .disposable = true, .node = g_variant_get_uint64(parameter) };
    g_action_group_change_action_state(G_ACTION_GROUP(self->actions), "snapshots",
                                       g_variant_new_boolean(FALSE));
    lodge_vm_start_async(self->vm, &how, on_started, g_object_ref(self));
}

static void on_acted(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeMachinePage) self = user_data;
    g_autoptr(GError) error = NULL;
    if (!lodge_vm_act_finish(LODGE_VM(source), result, &error))
        show_error(self, _("That Did Not Work"), error);
}

static void act(LodgeMachinePage *self, LodgeVmAction action)
{
    lodge_vm_act_async(self->vm, action, on_acted, g_object_ref(self));
}

static void activate_pause(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    gboolean paused = strcmp(lodge_vm_get_state(self->vm), "paused") == 0;
    act(self, paused ? LODGE_VM_RESUME : LODGE_VM_PAUSE);
}

static void activate_reset(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    act(user_data, LODGE_VM_RESET);
}

static void activate_shut_down(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    act(user_data, LODGE_VM_SHUT_DOWN);
}

static void activate_suspend(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    act(user_data, LODGE_VM_SUSPEND);
}

static void on_discard_confirmed(gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    g_autoptr(GError) error = NULL;
    if (!snapshots_discard_state(lodge_vm_get_folder(self->vm), &error))
        show_error(self, _("The Saved State Was Not Discarded"), error);
}

static void activate_discard_state(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    g_autofree char *heading =
        g_strdup_printf(_("Discard the Saved State of “%s”?"), lodge_vm_get_name(self->vm));
    lodge_dialog_confirm(GTK_WIDGET(self), heading,
                         _("The machine starts anew then, as if its power had been cut when it "
                           "was suspended. Its disks stay."),
                         _("_Discard"), on_discard_confirmed, self);
}

static void on_power_off_confirmed(gpointer user_data)
{
    act(user_data, LODGE_VM_POWER_OFF);
}

static void activate_power_off(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    g_autofree char *heading =
        g_strdup_printf(_("Power Off “%s”?"), lodge_vm_get_name(self->vm));
    lodge_dialog_confirm(GTK_WIDGET(self), heading,
                         lodge_vm_is_disposable(self->vm)
                             ? _("All that it has changed since it was started is thrown away.")
                             : _("What the guest has not saved is lost. Shut Down asks the guest "
                                 "to finish first."),
                         _("_Power Off"), on_power_off_confirmed, self);
}

static void activate_keys(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    lodge_vm_send_chord(self->vm, g_variant_get_string(parameter, NULL));
    gtk_widget_grab_focus(GTK_WIDGET(self->display));
}

static gboolean grab(gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    gtk_widget_grab_focus(GTK_WIDGET(self->display));
    lodge_display_set_grabbed(self->display, TRUE);
    return G_SOURCE_REMOVE;
}

// When the menu is gone, which takes the focus with it once more.
static void activate_grab(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    g_action_group_change_action_state(G_ACTION_GROUP(LODGE_MACHINE_PAGE(user_data)->actions),
                                       "console", g_variant_new_string("display"));
    g_timeout_add_full(G_PRIORITY_DEFAULT, GRAB_DELAY_MS, grab, g_object_ref(user_data),
                       g_object_unref);
}

static void change_scaling(GSimpleAction *action, GVariant *value, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    const char *name = g_variant_get_string(value, NULL);
    lodge_display_set_scaling(self->display, strcmp(name, "one") == 0 ? LODGE_SCALING_ONE
                                             : strcmp(name, "integer") == 0
                                                 ? LODGE_SCALING_INTEGER
                                                 : LODGE_SCALING_FIT);
    g_simple_action_set_state(action, value);
}

static void on_screenshot(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(LodgeMachinePage) self = user_data;
    g_autoptr(GError) error = NULL;
    if (!lodge_vm_screenshot_finish(LODGE_VM(source), result, &error))
        show_error(self, _("No Screenshot Was Taken"), error);
    GtkWidget *toasts = gtk_widget_get_ancestor(GTK_WIDGET(self), ADW_TYPE_TOAST_OVERLAY);
    if (!error && toasts)
        adw_toast_overlay_add_toast(ADW_TOAST_OVERLAY(toasts),
                                    adw_toast_new(_("Screenshot saved")));
}

static void on_screenshot_file(GtkNativeDialog *dialog, int response, LodgeMachinePage *self)
{
    if (response == GTK_RESPONSE_ACCEPT && self->vm) {
        g_autoptr(GFile) file = gtk_file_chooser_get_file(GTK_FILE_CHOOSER(dialog));
        g_autofree char *path = g_file_get_path(file);
        if (path)
            lodge_vm_screenshot_async(self->vm, path, on_screenshot, g_object_ref(self));
    }
    g_object_unref(dialog);
}

static void activate_screenshot(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    GtkWindow *window = GTK_WINDOW(gtk_widget_get_root(GTK_WIDGET(self)));
    GtkFileChooserNative *dialog =
        gtk_file_chooser_native_new(_("Save Screenshot"), window, GTK_FILE_CHOOSER_ACTION_SAVE,
                                    _("_Save"), _("_Cancel"));
    g_autofree char *name = g_strdup_printf("%s.png", lodge_vm_get_name(self->vm));
    gtk_file_chooser_set_current_name(GTK_FILE_CHOOSER(dialog), name);
    g_signal_connect(dialog, "response", G_CALLBACK(on_screenshot_file), self);
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}

static void on_delete_confirmed(gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(Config) config = vm_client_config(lodge_vm_get_folder(self->vm), NULL);
    if ((config && !vm_readers_check_none(config, &error)) ||
        !vm_folder_delete(lodge_vm_get_folder(self->vm), &error))
        show_error(self, _("The Machine Was Not Deleted"), error);
}

static void activate_delete(GSimpleAction *action, GVariant *parameter, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    g_autofree char *heading = g_strdup_printf(_("Delete “%s”?"), lodge_vm_get_name(self->vm));
    lodge_dialog_confirm(GTK_WIDGET(self), heading,
                         _("The machine and the disks in its folder are removed for good. Discs "
                           "and images elsewhere stay."),
                         _("_Delete"), on_delete_confirmed, self);
}

// In full screen the way out is in the bar at the top edge.
static void on_grabbed(LodgeDisplay *display, GParamSpec *pspec, LodgeMachinePage *self)
{
    gtk_revealer_set_reveal_child(self->grab_revealer,
                                  lodge_display_get_grabbed(display) && !self->full_screen);
}

// The keyboard goes where the machine's buttons are.
static void on_released(LodgeDisplay *display, LodgeMachinePage *self)
{
    if (self->full_screen)
        gtk_revealer_set_reveal_child(self->full_screen_bar, TRUE);
    else
        gtk_widget_grab_focus(self->pause_button);
}

static void on_fullscreen_requested(LodgeDisplay *display, LodgeMachinePage *self)
{
    gtk_widget_activate_action(GTK_WIDGET(self), "win.fullscreen", NULL);
}

static void on_motion(GtkEventControllerMotion *controller, double x, double y,
                      LodgeMachinePage *self)
{
    if (self->full_screen && y < FULL_SCREEN_BAR_SHOW)
        gtk_revealer_set_reveal_child(self->full_screen_bar, TRUE);
    else if (y > FULL_SCREEN_BAR_HIDE)
        gtk_revealer_set_reveal_child(self->full_screen_bar, FALSE);
}

static void change_console(GSimpleAction *action, GVariant *value, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    const char *name = g_variant_get_string(value, NULL);
    gboolean serial = strcmp(name, "serial") == 0;
    gtk_stack_set_visible_child_name(self->consoles, serial ? "serial" : "display");
    gtk_widget_grab_focus(serial ? GTK_WIDGET(self->serial) : GTK_WIDGET(self->display));
    g_simple_action_set_state(action, value);
}

static void change_snapshots(GSimpleAction *action, GVariant *value, gpointer user_data)
{
    LodgeMachinePage *self = user_data;
    self->shows_snapshots = g_variant_get_boolean(value);
    g_simple_action_set_state(action, value);
    update(self);
}

static const GActionEntry action_entries[] = {
    { .name = "snapshots", .state = "false", .change_state = change_snapshots },
    { .name = "start", .activate = activate_start },
    { .name = "try", .activate = activate_try, .parameter_type = "t" },
    { .name = "pause", .activate = activate_pause },
    { .name = "reset", .activate = activate_reset },
    { .name = "shut-down", .activate = activate_shut_down },
    { .name = "power-off", .activate = activate_power_off },
    { .name = "suspend", .activate = activate_suspend },
    { .name = "discard-state", .activate = activate_discard_state },
    { .name = "keys", .activate = activate_keys, .parameter_type = "s" },
    { .name = "grab", .activate = activate_grab },
    { .name = "screenshot", .activate = activate_screenshot },
    { .name = "delete", .activate = activate_delete },
    { .name = "console",
      .parameter_type = "s",
      .state = "'display'",
      .change_state = change_console },
    { .name = "scaling", .parameter_type = "s", .state = "'fit'", .change_state = change_scaling },
};

// The page.

void lodge_machine_page_set_vm(LodgeMachinePage *self, LodgeVm *vm)
{
    g_return_if_fail(LODGE_IS_MACHINE_PAGE(self));
    if (self->vm == vm)
        return;
    if (self->vm) {
        g_signal_handlers_disconnect_by_data(self->vm, self);
        disconnect_consoles(self);
        self->was_on = self->was_suspending = FALSE;
        g_clear_object(&self->vm);
    }
    if (vm) {
        self->vm = g_object_ref(vm);
        g_signal_connect(vm, "notify::state", G_CALLBACK(on_vm_changed), self);
    }
    update(self);
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_VM]);
}

LodgeVm *lodge_machine_page_get_vm(LodgeMachinePage *self)
{
    return self->vm;
}

void lodge_machine_page_set_full_screen(LodgeMachinePage *self, gboolean full_screen)
{
    self->full_screen = full_screen;
    gtk_widget_set_visible(self->header, !full_screen);
    gtk_revealer_set_reveal_child(self->full_screen_bar, FALSE);
    if (self->vm && lodge_vm_is_on(self->vm)) {
        gtk_widget_grab_focus(GTK_WIDGET(self->display));
        lodge_display_set_grabbed(self->display, full_screen);
    }
}

void lodge_machine_page_set_folded(LodgeMachinePage *self, gboolean folded)
{
    gtk_widget_set_visible(self->back_button, folded);
}

static void lodge_machine_page_dispose(GObject *object)
{
    LodgeMachinePage *self = LODGE_MACHINE_PAGE(object);
    if (self->vm) {
        g_signal_handlers_disconnect_by_data(self->vm, self);
        disconnect_consoles(self);
        g_clear_object(&self->vm);
    }
    g_clear_object(&self->actions);
    g_clear_pointer(&self->content, gtk_widget_unparent);
    G_OBJECT_CLASS(lodge_machine_page_parent_class)->dispose(object);
}

static void lodge_machine_page_get_property(GObject *object, guint id, GValue *value,
                                            GParamSpec *pspec)
{
    LodgeMachinePage *self = LODGE_MACHINE_PAGE(object);
    switch (id) {
    case PROP_VM:
        g_value_set_object(value, self->vm);
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void lodge_machine_page_set_property(GObject *object, guint id, const GValue *value,
                                            GParamSpec *pspec)
{
    LodgeMachinePage *self = LODGE_MACHINE_PAGE(object);
    switch (id) {
    case PROP_VM:
        lodge_machine_page_set_vm(self, g_value_get_object(value));
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

static void lodge_machine_page_class_init(LodgeMachinePageClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    object_class->dispose = lodge_machine_page_dispose;
    object_class->get_property = lodge_machine_page_get_property;
    object_class->set_property = lodge_machine_page_set_property;
    properties[PROP_VM] = g_param_spec_object("vm", NULL, NULL, LODGE_TYPE_VM,
                                              G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object_class, PROP_COUNT, properties);
    g_type_ensure(LODGE_TYPE_DISPLAY);
    g_type_ensure(LODGE_TYPE_SERIAL);
    g_type_ensure(LODGE_TYPE_SNAPSHOTS);
    gtk_widget_class_set_layout_manager_type(widget_class, GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_template_from_resource(widget_class,
                                                "/org/lodge/Lodge/lodge-machine-page.ui");
#define BIND(name) gtk_widget_class_bind_template_child(widget_class, LodgeMachinePage, name)
    BIND(content);
    BIND(header);
    BIND(title);
    BIND(back_button);
    BIND(start_button);
    BIND(pause_button);
    BIND(power_button);
    BIND(keys_button);
    BIND(view_button);
    BIND(switcher);
    BIND(snapshots_button);
    BIND(snapshots);
    BIND(grab_revealer);
    BIND(stack);
    BIND(status);
    BIND(big_start_button);
    BIND(consoles);
    BIND(paused);
    BIND(full_screen_bar);
    BIND(full_screen_name);
    BIND(display);
    BIND(serial);
#undef BIND
}

static void lodge_machine_page_init(LodgeMachinePage *self)
{
    gtk_widget_init_template(GTK_WIDGET(self));
    self->actions = g_simple_action_group_new();
    g_action_map_add_action_entries(G_ACTION_MAP(self->actions), action_entries,
                                    G_N_ELEMENTS(action_entries), self);
    gtk_widget_insert_action_group(GTK_WIDGET(self), "machine", G_ACTION_GROUP(self->actions));
    g_signal_connect(self->display, "notify::grabbed", G_CALLBACK(on_grabbed), self);
    g_signal_connect(self->display, "released", G_CALLBACK(on_released), self);
    g_signal_connect(self->display, "fullscreen-requested", G_CALLBACK(on_fullscreen_requested),
                     self);
    GtkEventController *motion = gtk_event_controller_motion_new();
    gtk_event_controller_set_propagation_phase(motion, GTK_PHASE_CAPTURE);
    g_signal_connect(motion, "motion", G_CALLBACK(on_motion), self);
    gtk_widget_add_controller(GTK_WIDGET(self), motion);
    update(self);
}
