// SPDX-License-Identifier: GPL-2.0-or-later
// See lodge-attach.h. An application of its own: it neither waits for the library nor opens it.
#include "app/lodge-attach.h"

#include "app/console/lodge-display.h"

#include <adwaita.h>
#include <glib/gi18n.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
    const char *path;
    LodgeSession *session;
    GtkWindow *window;
    gboolean was_connected;
} Attachment;

static void open_socket(gpointer open_data, LodgeSocketReady ready, gpointer ready_data)
{
    const Attachment *attachment = open_data;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = -1;
    if (strlen(attachment->path) < sizeof(address.sun_path)) {
        strcpy(address.sun_path, attachment->path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
            close(fd);
            fd = -1;
        }
    }
    ready(ready_data, fd);
}

// The engine does not come back: a transient machine is gone with it.
static void on_connected_changed(LodgeSession *session, gpointer user_data)
{
    Attachment *attachment = user_data;
    if (lodge_session_get_connected(session))
        attachment->was_connected = TRUE;
    else if (attachment->was_connected)
        gtk_window_close(attachment->window);
}

static void on_activate(GtkApplication *application, gpointer user_data)
{
    Attachment *attachment = user_data;
    attachment->window = GTK_WINDOW(adw_application_window_new(application));
    attachment->session = lodge_session_new(open_socket, attachment);
    g_signal_connect(attachment->session, "connected-changed", G_CALLBACK(on_connected_changed),
                     attachment);

    GtkWidget *display = lodge_display_new();
    gtk_widget_set_vexpand(display, TRUE);
    lodge_display_set_session(LODGE_DISPLAY(display), attachment->session);
    GtkWidget *bar = adw_header_bar_new();
    adw_header_bar_set_title_widget(ADW_HEADER_BAR(bar),
                                    adw_window_title_new("Lodge", _("Ctrl+Alt gives back the "
                                                                    "keyboard")));
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0);
    gtk_box_append(GTK_BOX(box), bar);
    gtk_box_append(GTK_BOX(box), display);
    adw_application_window_set_content(ADW_APPLICATION_WINDOW(attachment->window), box);
    gtk_window_set_title(attachment->window, "Lodge");
    gtk_window_set_default_size(attachment->window, 800, 660);
    gtk_window_present(attachment->window);
    gtk_widget_grab_focus(display);
    lodge_session_set_active(attachment->session, TRUE);
}

int lodge_attach(const char *socket)
{
    Attachment attachment = { .path = socket };
    g_autoptr(AdwApplication) application =
        adw_application_new("org.lodge.Attach", G_APPLICATION_NON_UNIQUE);
    g_signal_connect(application, "activate", G_CALLBACK(on_activate), &attachment);
    int status = g_application_run(G_APPLICATION(application), 0, NULL);
    if (attachment.session) {
        g_signal_handlers_disconnect_by_data(attachment.session, &attachment);
        lodge_session_set_active(attachment.session, FALSE);
    }
    g_clear_object(&attachment.session);
    return status;
}
