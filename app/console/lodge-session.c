// SPDX-License-Identifier: GPL-2.0-or-later
// The SPICE client behind the console, on spice-client-glib. Not a widget: it knows channels and
// the memory that the picture lies in. Two ways for the picture: a primary surface, which
// spice-client-glib owns and draws into, or a scanout, which is a sealed memfd of the engine's that
// is mapped here and needs no copy at all.
#include "app/console/lodge-session.h"

#include <errno.h>
#include <fcntl.h>
#include <spice-client.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECONNECT_MS 300

struct _LodgeSession {
    GObject parent_instance;
    LodgeSocketOpen open;
    gpointer open_data;
    gboolean opening; // the main channel's socket was asked for
    SpiceSession *spice;
    SpiceMainChannel *main;
    SpiceDisplayChannel *display;
    SpiceInputsChannel *inputs;
    SpiceCursorChannel *cursor;
    gboolean active;
    gboolean connected;
    guint reconnect_source;
    LodgePicture picture;
    void *mapping; // of a scanout memfd, or NULL
    gsize mapping_size;
    GdkTexture *cursor_texture;
    int cursor_hot_x, cursor_hot_y;
    gboolean cursor_hidden;
    guint buttons; // SPICE_MOUSE_BUTTON_MASK_*
};

G_DEFINE_FINAL_TYPE(LodgeSession, lodge_session, G_TYPE_OBJECT)

enum {
    MODE_CHANGED,
    DAMAGED,
    CURSOR_CHANGED,
    POINTER_MODE_CHANGED,
    CONNECTED_CHANGED,
    LEDS_CHANGED,
    SIGNAL_COUNT
};

static guint signals[SIGNAL_COUNT];

static void set_connected(LodgeSession *self, gboolean connected)
{
    if (self->connected == connected)
        return;
    self->connected = connected;
    g_signal_emit(self, signals[CONNECTED_CHANGED], 0);
}

// Pictures.

static void drop_picture(LodgeSession *self)
{
    LodgePicture none = { 0 };
    gboolean had = self->picture.pixels != NULL;
    self->picture = none;
    if (had)
        g_signal_emit(self, signals[MODE_CHANGED], 0);
    if (self->mapping)
        munmap(self->mapping, self->mapping_size);
    self->mapping = NULL;
}

static void on_primary_create(SpiceChannel *channel, gint format, gint width, gint height,
                              gint stride, gint shmid, gpointer data, LodgeSession *self)
{
    drop_picture(self);
    if (format != SPICE_SURFACE_FMT_32_xRGB && format != SPICE_SURFACE_FMT_32_ARGB)
        return;
    self->picture = (LodgePicture){ data, (guint)width, (guint)height, (guint)stride };
    g_signal_emit(self, signals[MODE_CHANGED], 0);
}

static void on_primary_destroy(SpiceChannel *channel, LodgeSession *self)
{
    if (!self->mapping)
        drop_picture(self);
}

static void on_invalidate(SpiceChannel *channel, gint x, gint y, gint width, gint height,
                          LodgeSession *self)
{
    if (self->picture.pixels)
        g_signal_emit(self, signals[DAMAGED], 0, (guint)x, (guint)y, (guint)width, (guint)height);
}

static void on_scanout(SpiceChannel *channel, GParamSpec *pspec, LodgeSession *self)
{
    const SpiceGlScanout *scanout = spice_display_channel_get_gl_scanout(self->display);
    if (!scanout || scanout->fd < 0)
        return;
    drop_picture(self);
    // Only a memfd that can no longer shrink may be read: otherwise its owner could take the pages
    // away under us.
    int seals = fcntl(scanout->fd, F_GET_SEALS);
    off_t size = lseek(scanout->fd, 0, SEEK_END);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || scanout->width == 0 || scanout->height == 0 ||
        scanout->stride < scanout->width * 4 ||
        size < (off_t)scanout->stride * (off_t)scanout->height) {
        g_warning("the engine offered a picture that cannot be mapped safely");
        return;
    }
    void *pixels = mmap(NULL, (gsize)size, PROT_READ, MAP_SHARED, scanout->fd, 0);
    if (pixels == MAP_FAILED) {
        g_warning("the engine's picture cannot be mapped: %s", g_strerror(errno));
        return;
    }
    self->mapping = pixels;
    self->mapping_size = (gsize)size;
    self->picture =
        (LodgePicture){ pixels, scanout->width, scanout->height, scanout->stride };
    g_signal_emit(self, signals[MODE_CHANGED], 0);
}

static void on_gl_draw(SpiceDisplayChannel *channel, guint x, guint y, guint width, guint height,
                       LodgeSession *self)
{
    if (self->picture.pixels)
        g_signal_emit(self, signals[DAMAGED], 0, x, y, width, height);
    // The memory is shared, so there is nothing to wait for.
    spice_display_channel_gl_draw_done(channel);
}

static void watch_display(LodgeSession *self, SpiceChannel *channel)
{
    self->display = SPICE_DISPLAY_CHANNEL(channel);
    g_signal_connect(channel, "display-primary-create", G_CALLBACK(on_primary_create), self);
    g_signal_connect(channel, "display-primary-destroy", G_CALLBACK(on_primary_destroy), self);
    g_signal_connect(channel, "display-invalidate", G_CALLBACK(on_invalidate), self);
    g_signal_connect(channel, "notify::gl-scanout", G_CALLBACK(on_scanout), self);
    g_signal_connect(channel, "gl-draw", G_CALLBACK(on_gl_draw), self);
}

// Pointer.

static void set_cursor(LodgeSession *self, GdkTexture *texture, int hot_x, int hot_y,
                       gboolean hidden)
{
    g_set_object(&self->cursor_texture, texture);
    self->cursor_hot_x = hot_x;
    self->cursor_hot_y = hot_y;
    self->cursor_hidden = hidden;
    g_signal_emit(self, signals[CURSOR_CHANGED], 0);
}

static void on_cursor(SpiceChannel *channel, GParamSpec *pspec, LodgeSession *self)
{
    g_autoptr(GdkTexture) texture = NULL;
    SpiceCursorShape *shape = NULL;
    g_object_get(channel, "cursor", &shape, NULL);
    if (shape && shape->data && shape->width > 0 && shape->height > 0) {
        gsize stride = (gsize)shape->width * 4;
        g_autoptr(GBytes) bytes = g_bytes_new(shape->data, stride * shape->height);
        texture = gdk_memory_texture_new(shape->width, shape->height, GDK_MEMORY_R8G8B8A8, bytes,
                                         stride);
        set_cursor(self, texture, shape->hot_spot_x, shape->hot_spot_y, FALSE);
    }
    if (shape)
        g_boxed_free(SPICE_TYPE_CURSOR_SHAPE, shape);
}

static void on_cursor_hide(SpiceChannel *channel, LodgeSession *self)
{
    set_cursor(self, NULL, 0, 0, TRUE);
}

static void on_cursor_reset(SpiceChannel *channel, LodgeSession *self)
{
    set_cursor(self, NULL, 0, 0, FALSE);
}

static void on_mouse_mode(SpiceChannel *channel, GParamSpec *pspec, LodgeSession *self)
{
    g_signal_emit(self, signals[POINTER_MODE_CHANGED], 0);
}

static void on_leds(SpiceChannel *channel, LodgeSession *self)
{
    g_signal_emit(self, signals[LEDS_CHANGED], 0);
}

// Connection.

static void close_spice(LodgeSession *self);

static gboolean on_reconnect(gpointer user_data)
{
    LodgeSession *self = user_data;
    self->reconnect_source = 0;
    lodge_session_set_active(self, TRUE);
    return G_SOURCE_REMOVE;
}

static void schedule_reconnect(LodgeSession *self)
{
    if (self->active && !self->reconnect_source)
        self->reconnect_source = g_timeout_add(RECONNECT_MS, on_reconnect, self);
}

static gboolean on_lost(gpointer user_data)
{
    LodgeSession *self = user_data;
    close_spice(self);
    schedule_reconnect(self);
    return G_SOURCE_REMOVE;
}

static void on_main_event(SpiceChannel *channel, SpiceChannelEvent event, LodgeSession *self)
{
    if (event == SPICE_CHANNEL_OPENED) {
        set_connected(self, TRUE);
        return;
    }
    set_connected(self, FALSE);
    // Not from within the channel's own signal.
    g_idle_add_full(G_PRIORITY_DEFAULT, on_lost, g_object_ref(self), g_object_unref);
}

static void on_channel_socket(gpointer ready_data, int fd)
{
    g_autoptr(GObject) channel = ready_data;
    if (fd >= 0)
        spice_channel_open_fd(SPICE_CHANNEL(channel), fd);
}

static void on_open_fd(SpiceChannel *channel, gint with_tls, LodgeSession *self)
{
    self->open(self->open_data, on_channel_socket, g_object_ref(channel));
}

static void on_channel_new(SpiceSession *spice, SpiceChannel *channel, LodgeSession *self)
{
    if (spice != self->spice)
        return;
    g_signal_connect(channel, "open-fd", G_CALLBACK(on_open_fd), self);
    if (SPICE_IS_MAIN_CHANNEL(channel)) {
        self->main = SPICE_MAIN_CHANNEL(channel);
        g_signal_connect(channel, "channel-event", G_CALLBACK(on_main_event), self);
        g_signal_connect(channel, "notify::mouse-mode", G_CALLBACK(on_mouse_mode), self);
        return; // the session connects it
    }
    if (SPICE_IS_DISPLAY_CHANNEL(channel) && !self->display) {
        watch_display(self, channel);
    } else if (SPICE_IS_INPUTS_CHANNEL(channel)) {
        self->inputs = SPICE_INPUTS_CHANNEL(channel);
        g_signal_connect(channel, "inputs-modifiers", G_CALLBACK(on_leds), self);
    } else if (SPICE_IS_CURSOR_CHANNEL(channel)) {
        self->cursor = SPICE_CURSOR_CHANNEL(channel);
        g_signal_connect(channel, "notify::cursor", G_CALLBACK(on_cursor), self);
        g_signal_connect(channel, "cursor-hide", G_CALLBACK(on_cursor_hide), self);
        g_signal_connect(channel, "cursor-reset", G_CALLBACK(on_cursor_reset), self);
    } else {
        return; // ports, audio, USB: not used here, so not opened
    }
    spice_channel_connect(channel);
}

static void on_channel_destroy(SpiceSession *spice, SpiceChannel *channel, LodgeSession *self)
{
    g_signal_handlers_disconnect_by_data(channel, self);
    if ((gpointer)channel == self->display) {
        drop_picture(self);
        self->display = NULL;
    } else if ((gpointer)channel == self->inputs) {
        self->inputs = NULL;
    } else if ((gpointer)channel == self->cursor) {
        self->cursor = NULL;
    } else if ((gpointer)channel == self->main) {
        self->main = NULL;
    }
}

static void close_spice(LodgeSession *self)
{
    set_connected(self, FALSE);
    if (!self->spice)
        return;
    SpiceSession *spice = g_steal_pointer(&self->spice);
    g_autoptr(GList) channels = spice_session_get_channels(spice);
    for (GList *l = channels; l; l = l->next)
        on_channel_destroy(spice, l->data, self);
    g_signal_handlers_disconnect_by_data(spice, self);
    spice_session_disconnect(spice);
    g_object_unref(spice);
    self->buttons = 0;
}

static void start_spice(LodgeSession *self, int fd)
{
    self->spice = spice_session_new();
    g_object_set(self->spice, "gl-scanout", TRUE, "enable-usbredir", FALSE, "enable-audio", FALSE,
                 "enable-smartcard", FALSE, NULL);
    g_signal_connect(self->spice, "channel-new", G_CALLBACK(on_channel_new), self);
    g_signal_connect(self->spice, "channel-destroy", G_CALLBACK(on_channel_destroy), self);
    if (!spice_session_open_fd(self->spice, fd)) {
        close_spice(self);
        schedule_reconnect(self);
    }
}

static void on_main_socket(gpointer ready_data, int fd)
{
    g_autoptr(LodgeSession) self = ready_data;
    self->opening = FALSE;
    if (fd < 0)
        schedule_reconnect(self);
    else if (self->active && !self->spice)
        start_spice(self, fd);
    else
        close(fd);
}

void lodge_session_set_active(LodgeSession *self, gboolean active)
{
    g_return_if_fail(LODGE_IS_SESSION(self));
    self->active = active;
    g_clear_handle_id(&self->reconnect_source, g_source_remove);
    if (!active) {
        close_spice(self);
    } else if (!self->spice && !self->opening) {
        self->opening = TRUE;
        self->open(self->open_data, on_main_socket, g_object_ref(self));
    }
}

gboolean lodge_session_get_connected(LodgeSession *self)
{
    return self->connected;
}

LodgePicture lodge_session_get_picture(LodgeSession *self)
{
    return self->picture;
}

GdkTexture *lodge_session_get_cursor(LodgeSession *self, int *ret_hot_x, int *ret_hot_y,
                                     gboolean *ret_hidden)
{
    *ret_hot_x = self->cursor_hot_x;
    *ret_hot_y = self->cursor_hot_y;
    *ret_hidden = self->cursor_hidden;
    return self->cursor_texture;
}

gboolean lodge_session_get_absolute(LodgeSession *self)
{
    gint mode = SPICE_MOUSE_MODE_CLIENT;
    if (self->main)
        g_object_get(self->main, "mouse-mode", &mode, NULL);
    return mode == SPICE_MOUSE_MODE_CLIENT;
}

// The channel for keyboard and pointer, while it is connected: it says only later that the engine
// is gone, and warns of what it is given meanwhile.
static SpiceInputsChannel *connected_inputs(LodgeSession *self)
{
    g_autoptr(GSocket) socket = NULL;
    if (self->inputs)
        g_object_get(self->inputs, "socket", &socket, NULL);
    return socket ? self->inputs : NULL;
}

void lodge_session_key(LodgeSession *self, guint scancode, gboolean down)
{
    SpiceInputsChannel *inputs = connected_inputs(self);
    if (!inputs || !scancode)
        return;
    if (down)
        spice_inputs_channel_key_press(inputs, scancode);
    else
        spice_inputs_channel_key_release(inputs, scancode);
}

void lodge_session_position(LodgeSession *self, guint x, guint y)
{
    SpiceInputsChannel *inputs = connected_inputs(self);
    if (inputs)
        spice_inputs_channel_position(inputs, (gint)x, (gint)y, 0, (gint)self->buttons);
}

void lodge_session_motion(LodgeSession *self, int dx, int dy)
{
    SpiceInputsChannel *inputs = connected_inputs(self);
    if (inputs)
        spice_inputs_channel_motion(inputs, dx, dy, (gint)self->buttons);
}

void lodge_session_button(LodgeSession *self, guint button, gboolean down)
{
    static const struct {
        gint button;
        guint mask;
    } map[] = {
        [1] = { SPICE_MOUSE_BUTTON_LEFT, SPICE_MOUSE_BUTTON_MASK_LEFT },
        [2] = { SPICE_MOUSE_BUTTON_MIDDLE, SPICE_MOUSE_BUTTON_MASK_MIDDLE },
        [3] = { SPICE_MOUSE_BUTTON_RIGHT, SPICE_MOUSE_BUTTON_MASK_RIGHT },
        [4] = { SPICE_MOUSE_BUTTON_UP, 0 },
        [5] = { SPICE_MOUSE_BUTTON_DOWN, 0 },
        [6] = { SPICE_MOUSE_BUTTON_SIDE, SPICE_MOUSE_BUTTON_MASK_SIDE },
        [7] = { SPICE_MOUSE_BUTTON_EXTRA, SPICE_MOUSE_BUTTON_MASK_EXTRA },
    };
    SpiceInputsChannel *inputs = connected_inputs(self);
    if (!inputs || button == 0 || button >= G_N_ELEMENTS(map))
        return;
    if (down) {
        self->buttons |= map[button].mask;
        spice_inputs_channel_button_press(inputs, map[button].button, (gint)self->buttons);
    } else {
        self->buttons &= ~map[button].mask;
        spice_inputs_channel_button_release(inputs, map[button].button, (gint)self->buttons);
    }
}

static void lodge_session_dispose(GObject *object)
{
    LodgeSession *self = LODGE_SESSION(object);
    self->active = FALSE;
    g_clear_handle_id(&self->reconnect_source, g_source_remove);
    close_spice(self);
    drop_picture(self);
    g_clear_object(&self->cursor_texture);
    G_OBJECT_CLASS(lodge_session_parent_class)->dispose(object);
}

static guint plain_signal(const char *name)
{
    return g_signal_new(name, LODGE_TYPE_SESSION, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                        G_TYPE_NONE, 0);
}

static void lodge_session_class_init(LodgeSessionClass *klass)
{
    G_OBJECT_CLASS(klass)->dispose = lodge_session_dispose;
    signals[MODE_CHANGED] = plain_signal("mode-changed");
    signals[CURSOR_CHANGED] = plain_signal("cursor-changed");
    signals[POINTER_MODE_CHANGED] = plain_signal("pointer-mode-changed");
    signals[CONNECTED_CHANGED] = plain_signal("connected-changed");
    signals[LEDS_CHANGED] = plain_signal("leds-changed");
    signals[DAMAGED] = g_signal_new("damaged", LODGE_TYPE_SESSION, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                    NULL, G_TYPE_NONE, 4, G_TYPE_UINT, G_TYPE_UINT, G_TYPE_UINT,
                                    G_TYPE_UINT);
}

static void lodge_session_init(LodgeSession *self)
{
}

LodgeSession *lodge_session_new(LodgeSocketOpen open, gpointer open_data)
{
    LodgeSession *self = g_object_new(LODGE_TYPE_SESSION, NULL);
    self->open = open;
    self->open_data = open_data;
    return self;
}
