// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/console/lodge-serial.h"

#include <errno.h>
#include <glib-unix.h>
#include <unistd.h>
#include <vte/vte.h>

// What a person pasted and the port has not taken yet; more is dropped.
#define PENDING_MAX (256 * 1024)

struct _LodgeSerial {
    GtkWidget parent_instance;
    GtkWidget *scrolled;
    VteTerminal *terminal;
    int fd;
    guint read_source, write_source;
    GByteArray *pending;
};

G_DEFINE_FINAL_TYPE(LodgeSerial, lodge_serial, GTK_TYPE_WIDGET)

static gboolean on_readable(gint fd, GIOCondition condition, gpointer user_data)
{
    LodgeSerial *self = user_data;
    char buffer[4096];
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got > 0) {
        vte_terminal_feed(self->terminal, buffer, got);
        return G_SOURCE_CONTINUE;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    self->read_source = 0;
    lodge_serial_set_socket(self, -1);
    return G_SOURCE_REMOVE;
}

static gboolean on_writable(gint fd, GIOCondition condition, gpointer user_data)
{
    LodgeSerial *self = user_data;
    ssize_t put = write(fd, self->pending->data, self->pending->len);
    if (put > 0)
        g_byte_array_remove_range(self->pending, 0, (guint)put);
    if (self->pending->len && (put > 0 || errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    self->write_source = 0;
    return G_SOURCE_REMOVE;
}

static void on_commit(VteTerminal *terminal, const char *text, guint size, LodgeSerial *self)
{
    if (self->fd < 0 || self->pending->len + size > PENDING_MAX)
        return;
    g_byte_array_append(self->pending, (const guint8 *)text, size);
    if (!self->write_source)
        self->write_source = g_unix_fd_add(self->fd, G_IO_OUT, on_writable, self);
}

void lodge_serial_set_socket(LodgeSerial *self, int fd)
{
    g_return_if_fail(LODGE_IS_SERIAL(self));
    g_clear_handle_id(&self->read_source, g_source_remove);
    g_clear_handle_id(&self->write_source, g_source_remove);
    g_byte_array_set_size(self->pending, 0);
    if (self->fd >= 0)
        close(self->fd);
    self->fd = fd;
    if (fd < 0)
        return;
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    vte_terminal_reset(self->terminal, TRUE, TRUE);
    self->read_source = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP, on_readable, self);
}

static void lodge_serial_dispose(GObject *object)
{
    LodgeSerial *self = LODGE_SERIAL(object);
    if (self->terminal)
        lodge_serial_set_socket(self, -1);
    self->terminal = NULL;
    g_clear_pointer(&self->scrolled, gtk_widget_unparent);
    G_OBJECT_CLASS(lodge_serial_parent_class)->dispose(object);
}

static void lodge_serial_finalize(GObject *object)
{
    g_byte_array_unref(LODGE_SERIAL(object)->pending);
    G_OBJECT_CLASS(lodge_serial_parent_class)->finalize(object);
}

static gboolean lodge_serial_grab_focus(GtkWidget *widget)
{
    return gtk_widget_grab_focus(GTK_WIDGET(LODGE_SERIAL(widget)->terminal));
}

static void lodge_serial_class_init(LodgeSerialClass *klass)
{
    G_OBJECT_CLASS(klass)->dispose = lodge_serial_dispose;
    G_OBJECT_CLASS(klass)->finalize = lodge_serial_finalize;
    GTK_WIDGET_CLASS(klass)->grab_focus = lodge_serial_grab_focus;
    gtk_widget_class_set_layout_manager_type(GTK_WIDGET_CLASS(klass), GTK_TYPE_BIN_LAYOUT);
    gtk_widget_class_set_css_name(GTK_WIDGET_CLASS(klass), "serial");
}

static void lodge_serial_init(LodgeSerial *self)
{
    self->fd = -1;
    self->pending = g_byte_array_new();
    self->terminal = VTE_TERMINAL(vte_terminal_new());
    vte_terminal_set_scrollback_lines(self->terminal, 10000);
    vte_terminal_set_scroll_on_keystroke(self->terminal, TRUE);
    gtk_accessible_update_property(GTK_ACCESSIBLE(self->terminal), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   "Serial console", -1);
    g_signal_connect(self->terminal, "commit", G_CALLBACK(on_commit), self);
    self->scrolled = gtk_scrolled_window_new();
    gtk_scrolled_window_set_child(GTK_SCROLLED_WINDOW(self->scrolled), GTK_WIDGET(self->terminal));
    gtk_widget_set_parent(self->scrolled, GTK_WIDGET(self));
}
