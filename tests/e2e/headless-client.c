// SPDX-License-Identifier: GPL-2.0-or-later
// On spice-client-glib, which runs its coroutines in the default main context.
#include "tests/e2e/headless-client.h"

#include <fcntl.h>
#include <spice-client.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct HeadlessClient {
    SpiceSession *session;
    bool scanout;
    SpiceDisplayChannel *display; // channels: weak, cleared when they go
    SpiceInputsChannel *inputs;
    SpiceMainChannel *main;
    SpicePortChannel *port;
    const uint8_t *pixels;
    uint32_t width, height, stride;
    void *map;
    size_t map_size;
    unsigned updates;
    bool inputs_open; // before, spice-glib drops what is sent
    unsigned buttons;
    char *error;
    GByteArray *serial;
};

static void fail(HeadlessClient *c, const char *why)
{
    if (!c->error)
        c->error = g_strdup(why);
}

static void drop_picture(HeadlessClient *c)
{
    if (c->map)
        munmap(c->map, c->map_size);
    c->map = NULL;
    c->pixels = NULL;
}

static void primary_created(SpiceChannel *channel, gint format, gint width, gint height,
                            gint stride, gint shmid, gpointer data, HeadlessClient *c)
{
    drop_picture(c);
    c->pixels = data;
    c->width = (uint32_t)width;
    c->height = (uint32_t)height;
    c->stride = (uint32_t)stride;
}

static void primary_destroyed(SpiceChannel *channel, HeadlessClient *c)
{
    if (!c->map)
        drop_picture(c);
}

static void invalidated(SpiceChannel *channel, gint x, gint y, gint width, gint height,
                        HeadlessClient *c)
{
    c->updates++;
}

static void scanout_changed(SpiceDisplayChannel *channel, GParamSpec *pspec, HeadlessClient *c)
{
    const SpiceGlScanout *s = spice_display_channel_get_gl_scanout(channel);
    drop_picture(c);
    if (!s || s->fd < 0)
        return;
    struct stat st;
    size_t size = (size_t)s->stride * s->height;
    int seals = fcntl(s->fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(s->fd, &st) < 0 ||
        (size_t)st.st_size < size) {
        fail(c, "the scanout is not a sealed memfd of its size");
        return;
    }
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, s->fd, 0);
    if (map == MAP_FAILED) {
        fail(c, "the scanout cannot be mapped");
        return;
    }
    c->map = map;
    c->map_size = size;
    c->pixels = map;
    c->width = s->width;
    c->height = s->height;
    c->stride = s->stride;
}

static void gl_drawn(SpiceDisplayChannel *channel, guint x, guint y, guint width, guint height,
                     HeadlessClient *c)
{
    c->updates++;
    spice_display_channel_gl_draw_done(channel);
}

static void main_event(SpiceChannel *channel, SpiceChannelEvent event, HeadlessClient *c)
{
    if (event != SPICE_CHANNEL_OPENED) {
        g_autofree char *why = g_strdup_printf("channel event %d", event);
        fail(c, why);
    }
}

static void inputs_event(SpiceChannel *channel, SpiceChannelEvent event, HeadlessClient *c)
{
    c->inputs_open = event == SPICE_CHANNEL_OPENED;
}

static void port_data(SpicePortChannel *channel, gpointer data, gint size, HeadlessClient *c)
{
    g_byte_array_append(c->serial, data, (guint)size);
}

static void keep(HeadlessClient *c, gpointer slot, SpiceChannel *channel)
{
    gpointer *at = slot;
    if (*at)
        g_object_remove_weak_pointer(*at, at);
    *at = channel;
    g_object_add_weak_pointer(G_OBJECT(channel), at);
}

static void channel_new(SpiceSession *session, SpiceChannel *channel, HeadlessClient *c)
{
    if (SPICE_IS_MAIN_CHANNEL(channel)) {
        keep(c, &c->main, channel);
        g_signal_connect(channel, "channel-event", G_CALLBACK(main_event), c);
        return;
    }
    if (SPICE_IS_DISPLAY_CHANNEL(channel)) {
        keep(c, &c->display, channel);
        g_signal_connect(channel, "display-primary-create", G_CALLBACK(primary_created), c);
        g_signal_connect(channel, "display-primary-destroy", G_CALLBACK(primary_destroyed), c);
        g_signal_connect(channel, "display-invalidate", G_CALLBACK(invalidated), c);
        g_signal_connect(channel, "notify::gl-scanout", G_CALLBACK(scanout_changed), c);
        g_signal_connect(channel, "gl-draw", G_CALLBACK(gl_drawn), c);
    } else if (SPICE_IS_INPUTS_CHANNEL(channel)) {
        keep(c, &c->inputs, channel);
        g_signal_connect(channel, "channel-event", G_CALLBACK(inputs_event), c);
    } else if (SPICE_IS_PORT_CHANNEL(channel)) {
        keep(c, &c->port, channel);
        g_signal_connect(channel, "port-data", G_CALLBACK(port_data), c);
    }
    spice_channel_connect(channel);
}

HeadlessClient *headless_client_new(const char *socket_path, bool scanout)
{
    HeadlessClient *c = g_new0(HeadlessClient, 1);
    c->scanout = scanout;
    c->serial = g_byte_array_new();
    c->session = spice_session_new();
    g_object_set(c->session, "unix-path", socket_path, "enable-audio", FALSE, "enable-usbredir",
                 FALSE, "enable-smartcard", FALSE, "gl-scanout", (gboolean)scanout, NULL);
    g_signal_connect(c->session, "channel-new", G_CALLBACK(channel_new), c);
    if (!spice_session_connect(c->session))
        fail(c, "no connection");
    return c;
}

static void forget(gpointer slot, HeadlessClient *c)
{
    gpointer *at = slot;
    if (!*at)
        return;
    g_signal_handlers_disconnect_by_data(*at, c);
    g_object_remove_weak_pointer(*at, at);
    *at = NULL;
}

void headless_client_free(HeadlessClient *client)
{
    if (!client)
        return;
    forget(&client->main, client);
    forget(&client->display, client);
    forget(&client->inputs, client);
    forget(&client->port, client);
    g_signal_handlers_disconnect_by_data(client->session, client);
    spice_session_disconnect(client->session);
    g_object_unref(client->session);
    // Coroutines end in the main context.
    for (unsigned i = 0; i < 20; i++) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_usleep(500);
    }
    drop_picture(client);
    g_byte_array_unref(client->serial);
    g_free(client->error);
    g_free(client);
}

static gboolean wake(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

bool headless_client_wait(HeadlessClient *client, bool (*until)(HeadlessClient *client, void *data),
                          void *data, unsigned ms)
{
    int64_t end = g_get_monotonic_time() + (int64_t)ms * 1000;
    guint timer = g_timeout_add(5, wake, NULL);
    bool met = until(client, data);
    while (!met && g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, TRUE);
        met = until(client, data);
    }
    g_source_remove(timer);
    return met;
}

static bool never(HeadlessClient *client, void *data)
{
    return false;
}

void headless_client_run(HeadlessClient *client, unsigned ms)
{
    headless_client_wait(client, never, NULL, ms);
}

const char *headless_client_error(HeadlessClient *client)
{
    return client->error;
}

const uint8_t *headless_client_pixels(HeadlessClient *client, uint32_t *ret_width,
                                      uint32_t *ret_height, uint32_t *ret_stride)
{
    *ret_width = client->width;
    *ret_height = client->height;
    *ret_stride = client->stride;
    return client->pixels;
}

bool headless_client_mapped(HeadlessClient *client)
{
    return client->map != NULL;
}

unsigned headless_client_updates(HeadlessClient *client)
{
    return client->updates;
}

bool headless_client_ready(HeadlessClient *client)
{
    return client->inputs && client->inputs_open;
}

bool headless_client_key(HeadlessClient *client, uint16_t scancode, bool down)
{
    if (!headless_client_ready(client))
        return false;
    guint code = (scancode & 0x7f) | (scancode >> 8 == 0xe0 ? 0x100 : 0);
    if (down)
        spice_inputs_channel_key_press(client->inputs, code);
    else
        spice_inputs_channel_key_release(client->inputs, code);
    return true;
}

// SPICE orders the buttons left, middle, right.
static gint button_mask(unsigned buttons)
{
    return (buttons & 1 ? SPICE_MOUSE_BUTTON_MASK_LEFT : 0) |
           (buttons & 2 ? SPICE_MOUSE_BUTTON_MASK_RIGHT : 0) |
           (buttons & 4 ? SPICE_MOUSE_BUTTON_MASK_MIDDLE : 0);
}

static void change_buttons(HeadlessClient *c, unsigned buttons)
{
    static const gint numbers[3] = { SPICE_MOUSE_BUTTON_LEFT, SPICE_MOUSE_BUTTON_RIGHT,
                                     SPICE_MOUSE_BUTTON_MIDDLE };
    for (unsigned i = 0; i < 3; i++) {
        unsigned bit = 1u << i;
        if (!((c->buttons ^ buttons) & bit))
            continue;
        c->buttons ^= bit;
        if (buttons & bit)
            spice_inputs_channel_button_press(c->inputs, numbers[i], button_mask(c->buttons));
        else
            spice_inputs_channel_button_release(c->inputs, numbers[i], button_mask(c->buttons));
    }
}

bool headless_client_pointer(HeadlessClient *client, int x, int y, unsigned buttons)
{
    if (!headless_client_ready(client))
        return false;
    spice_inputs_channel_position(client->inputs, x, y, 0, button_mask(client->buttons));
    change_buttons(client, buttons);
    return true;
}

bool headless_client_motion(HeadlessClient *client, int dx, int dy, unsigned buttons)
{
    if (!headless_client_ready(client))
        return false;
    spice_inputs_channel_motion(client->inputs, dx, dy, button_mask(client->buttons));
    change_buttons(client, buttons);
    return true;
}

bool headless_client_wheel(HeadlessClient *client, int clicks)
{
    if (!headless_client_ready(client))
        return false;
    gint button = clicks < 0 ? SPICE_MOUSE_BUTTON_UP : SPICE_MOUSE_BUTTON_DOWN;
    for (int i = 0; i < ABS(clicks); i++) {
        spice_inputs_channel_button_press(client->inputs, button, button_mask(client->buttons));
        spice_inputs_channel_button_release(client->inputs, button, button_mask(client->buttons));
    }
    return true;
}

bool headless_client_absolute(HeadlessClient *client)
{
    gint mode = 0;
    if (client->main)
        g_object_get(client->main, "mouse-mode", &mode, NULL);
    return mode == SPICE_MOUSE_MODE_CLIENT;
}

const GByteArray *headless_client_serial(HeadlessClient *client)
{
    return client->serial;
}

static void written(GObject *port, GAsyncResult *result, gpointer data)
{
    spice_port_channel_write_finish(SPICE_PORT_CHANNEL(port), result, NULL);
    g_free(data);
}

bool headless_client_serial_write(HeadlessClient *client, const void *data, size_t size)
{
    if (!client->port)
        return false;
    void *copy = g_memdup2(data, size);
    spice_port_channel_write_async(client->port, copy, size, NULL, written, copy);
    return true;
}
