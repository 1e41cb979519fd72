// SPDX-License-Identifier: GPL-2.0-or-later
// Drawing: the picture is cut into tiles of 256 guest pixels; each tile keeps its render node until
// damage drops it, so that a frame costs what changed. With the cairo renderer a node is a cairo
// recording over the live pixels (a texture would be converted pixel by pixel in GTK 4.8); with GL
// it is a texture over them, of which GTK uploads only new ones.
//
// Scheduling: spice-client-glib delivers one message per channel at idle priority, which is below
// repainting. If each message queued a draw at once, a slow renderer would get one message per
// paint. So damage is collected, and the draw is queued by an idle of low priority, no later than
// DRAW_DEADLINE_MS after the first damage.
//
// Input: keys go as scancodes and are all released when the focus leaves. Two chords are ours:
// Ctrl+Alt alone gives the keyboard back, Ctrl+Alt+Enter asks for full screen or out of it.
#include "app/console/lodge-display.h"

#include "app/console/keymap.h"

#include <math.h>

#define TILE 256
#define DRAW_DEADLINE_MS 33

struct _LodgeDisplay {
    GtkWidget parent_instance;
    LodgeSession *session;
    LodgeScaling scaling;
    gboolean grabbed;

    GskRenderNode **tiles; // columns * rows, NULL where damaged
    guint columns, rows;
    // What the nodes were made for.
    graphene_rect_t area;
    gboolean cairo_renderer;

    guint idle_source;
    guint deadline_source;

    GHashTable *keys_down; // scancode -> itself
    gboolean ctrl_down, alt_down, chord_used;
    double wheel;
    double last_x, last_y; // relative mode: where the pointer was
    gboolean has_last;
};

enum { PROP_0, PROP_GRABBED, PROP_COUNT };

static GParamSpec *properties[PROP_COUNT];

enum { RELEASED, FULLSCREEN_REQUESTED, SIGNAL_COUNT };

static guint signals[SIGNAL_COUNT];

G_DEFINE_FINAL_TYPE(LodgeDisplay, lodge_display, GTK_TYPE_WIDGET)

// Geometry.

static int pixels_to_widget_scale(LodgeDisplay *self)
{
    return gtk_widget_get_scale_factor(GTK_WIDGET(self));
}

// Where the picture lies, in widget coordinates, with whole device pixels at its edges.
static graphene_rect_t picture_area(LodgeDisplay *self)
{
    LodgePicture picture = { 0 };
    if (self->session)
        picture = lodge_session_get_picture(self->session);
    if (!picture.pixels)
        return GRAPHENE_RECT_INIT(0, 0, 0, 0);
    int device = pixels_to_widget_scale(self);
    double width = gtk_widget_get_width(GTK_WIDGET(self)) * device;
    double height = gtk_widget_get_height(GTK_WIDGET(self)) * device;
    double scale = MIN(width / picture.width, height / picture.height);
    if (self->scaling == LODGE_SCALING_ONE)
        scale = 1;
    else if (self->scaling == LODGE_SCALING_INTEGER && scale >= 1)
        scale = floor(scale);
    double w = MAX(1, round(picture.width * scale)), h = MAX(1, round(picture.height * scale));
    double x = floor((width - w) / 2), y = floor((height - h) / 2);
    return GRAPHENE_RECT_INIT((float)(x / device), (float)(y / device), (float)(w / device),
                              (float)(h / device));
}

// Tiles.

static void drop_tiles(LodgeDisplay *self)
{
    for (guint i = 0; i < self->columns * self->rows; i++)
        g_clear_pointer(&self->tiles[i], gsk_render_node_unref);
}

static void resize_tiles(LodgeDisplay *self)
{
    drop_tiles(self);
    LodgePicture picture = { 0 };
    if (self->session)
        picture = lodge_session_get_picture(self->session);
    self->columns = (picture.width + TILE - 1) / TILE;
    self->rows = (picture.height + TILE - 1) / TILE;
    g_free(self->tiles);
    self->tiles = g_new0(GskRenderNode *, MAX(1, self->columns * self->rows));
}

static void damage_tiles(LodgeDisplay *self, guint x, guint y, guint width, guint height)
{
    // Interpolation reaches two pixels into a neighbour.
    guint left = x > 2 ? x - 2 : 0, top = y > 2 ? y - 2 : 0;
    guint last_column = MIN((x + width + 1) / TILE, self->columns - 1);
    guint last_row = MIN((y + height + 1) / TILE, self->rows - 1);
    if (!self->columns || !self->rows)
        return;
    for (guint row = top / TILE; row <= last_row; row++)
        for (guint column = left / TILE; column <= last_column; column++)
            g_clear_pointer(&self->tiles[row * self->columns + column], gsk_render_node_unref);
}

// A tile's rectangle in widget coordinates, snapped to device pixels so that neighbours meet.
static graphene_rect_t tile_bounds(LodgeDisplay *self, const LodgePicture *picture, guint column,
                                   guint row)
{
    int device = pixels_to_widget_scale(self);
    double sx = self->area.size.width / picture->width;
    double sy = self->area.size.height / picture->height;
    double x0 = self->area.origin.x + round(column * TILE * sx * device) / device;
    double y0 = self->area.origin.y + round(row * TILE * sy * device) / device;
    guint right = MIN((column + 1) * TILE, picture->width);
    guint bottom = MIN((row + 1) * TILE, picture->height);
    double x1 = self->area.origin.x + round(right * sx * device) / device;
    double y1 = self->area.origin.y + round(bottom * sy * device) / device;
    return GRAPHENE_RECT_INIT((float)x0, (float)y0, (float)(x1 - x0), (float)(y1 - y0));
}

static GskRenderNode *cairo_tile(LodgeDisplay *self, const LodgePicture *picture,
                                 const graphene_rect_t *bounds, guint column, guint row)
{
    double sx = self->area.size.width / picture->width;
    double sy = self->area.size.height / picture->height;
    guint x = column * TILE, y = row * TILE;
    guint apron_x = MIN(x, 2), apron_y = MIN(y, 2);
    guint right = MIN(x + TILE + 2, picture->width), bottom = MIN(y + TILE + 2, picture->height);
    const guint8 *from = picture->pixels + (gsize)(y - apron_y) * picture->stride +
                         (gsize)(x - apron_x) * 4;
    // Read only: the cast is for cairo's prototype.
    cairo_surface_t *surface = cairo_image_surface_create_for_data(
        (guchar *)from, CAIRO_FORMAT_RGB24, (int)(right - x + apron_x),
        (int)(bottom - y + apron_y), (int)picture->stride);
    GskRenderNode *node = gsk_cairo_node_new(bounds);
    cairo_t *cr = gsk_cairo_node_get_draw_context(node);
    cairo_translate(cr, self->area.origin.x, self->area.origin.y);
    cairo_scale(cr, sx, sy);
    cairo_set_source_surface(cr, surface, (double)x - apron_x, (double)y - apron_y);
    cairo_pattern_set_extend(cairo_get_source(cr), CAIRO_EXTEND_PAD);
    gboolean whole = sx * pixels_to_widget_scale(self) == 1.0;
    cairo_pattern_set_filter(cairo_get_source(cr),
                             whole || self->scaling == LODGE_SCALING_INTEGER
                                 ? CAIRO_FILTER_NEAREST
                                 : CAIRO_FILTER_BILINEAR);
    cairo_paint(cr);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    return node;
}

static GskRenderNode *texture_tile(const LodgePicture *picture, const graphene_rect_t *bounds,
                                   guint column, guint row)
{
    guint x = column * TILE, y = row * TILE;
    guint width = MIN(TILE, picture->width - x), height = MIN(TILE, picture->height - y);
    gsize size = (gsize)(height - 1) * picture->stride + width * 4;
    const guint8 *from = picture->pixels + (gsize)y * picture->stride + (gsize)x * 4;
    g_autoptr(GBytes) bytes = g_bytes_new_static(from, size);
    // The X byte is anything; over opaque black, premultiplied, it does not count.
    g_autoptr(GdkTexture) texture =
        gdk_memory_texture_new((int)width, (int)height, GDK_MEMORY_B8G8R8A8_PREMULTIPLIED, bytes,
                               picture->stride);
    return gsk_texture_node_new(texture, bounds);
}

static void lodge_display_snapshot(GtkWidget *widget, GtkSnapshot *snapshot)
{
    LodgeDisplay *self = LODGE_DISPLAY(widget);
    const GdkRGBA black = { 0, 0, 0, 1 };
    int width = gtk_widget_get_width(widget), height = gtk_widget_get_height(widget);
    gtk_snapshot_append_color(snapshot, &black, &GRAPHENE_RECT_INIT(0, 0, width, height));
    LodgePicture picture = { 0 };
    if (self->session)
        picture = lodge_session_get_picture(self->session);
    if (!picture.pixels || !self->columns)
        return;
    GskRenderer *renderer = gtk_native_get_renderer(gtk_widget_get_native(widget));
    gboolean cairo = g_strcmp0(G_OBJECT_TYPE_NAME(renderer), "GskCairoRenderer") == 0;
    graphene_rect_t area = picture_area(self);
    if (!graphene_rect_equal(&area, &self->area) || cairo != self->cairo_renderer) {
        self->area = area;
        self->cairo_renderer = cairo;
        drop_tiles(self);
    }
    gtk_snapshot_push_clip(snapshot, &GRAPHENE_RECT_INIT(0, 0, width, height));
    for (guint row = 0; row < self->rows; row++) {
        for (guint column = 0; column < self->columns; column++) {
            GskRenderNode **tile = &self->tiles[row * self->columns + column];
            if (!*tile) {
                graphene_rect_t bounds = tile_bounds(self, &picture, column, row);
                *tile = cairo ? cairo_tile(self, &picture, &bounds, column, row)
                              : texture_tile(&picture, &bounds, column, row);
            }
            gtk_snapshot_append_node(snapshot, *tile);
        }
    }
    gtk_snapshot_pop(snapshot);
    if (!lodge_session_get_connected(self->session)) {
        const GdkRGBA veil = { 0.3f, 0.3f, 0.3f, 0.6f };
        gtk_snapshot_append_color(snapshot, &veil, &self->area);
    }
}

// Scheduling.

static gboolean draw_now(gpointer user_data)
{
    LodgeDisplay *self = user_data;
    g_clear_handle_id(&self->idle_source, g_source_remove);
    g_clear_handle_id(&self->deadline_source, g_source_remove);
    gtk_widget_queue_draw(GTK_WIDGET(self));
    return G_SOURCE_REMOVE;
}

static gboolean on_draw_idle(gpointer user_data)
{
    LODGE_DISPLAY(user_data)->idle_source = 0;
    return draw_now(user_data);
}

static gboolean on_draw_deadline(gpointer user_data)
{
    LODGE_DISPLAY(user_data)->deadline_source = 0;
    return draw_now(user_data);
}

static void schedule_draw(LodgeDisplay *self)
{
    if (!self->idle_source)
        self->idle_source = g_idle_add_full(G_PRIORITY_LOW, on_draw_idle, self, NULL);
    if (!self->deadline_source)
        self->deadline_source = g_timeout_add(DRAW_DEADLINE_MS, on_draw_deadline, self);
}

static void on_damaged(LodgeSession *session, guint x, guint y, guint width, guint height,
                       LodgeDisplay *self)
{
    damage_tiles(self, x, y, width, height);
    schedule_draw(self);
}

static void on_mode_changed(LodgeSession *session, LodgeDisplay *self)
{
    // At once: the old pixels may be gone when this returns.
    resize_tiles(self);
    gtk_widget_queue_resize(GTK_WIDGET(self));
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

static void on_connected_changed(LodgeSession *session, LodgeDisplay *self)
{
    gtk_widget_queue_draw(GTK_WIDGET(self));
}

// Pointer.

static void on_cursor_changed(LodgeSession *session, LodgeDisplay *self)
{
    int hot_x, hot_y;
    gboolean hidden;
    GdkTexture *texture = lodge_session_get_cursor(session, &hot_x, &hot_y, &hidden);
    if (texture) {
        g_autoptr(GdkCursor) cursor = gdk_cursor_new_from_texture(texture, hot_x, hot_y, NULL);
        gtk_widget_set_cursor(GTK_WIDGET(self), cursor);
    } else {
        gtk_widget_set_cursor_from_name(GTK_WIDGET(self), hidden ? "none" : NULL);
    }
}

static void on_motion(GtkEventControllerMotion *controller, double x, double y, LodgeDisplay *self)
{
    if (!self->session)
        return;
    LodgePicture picture = lodge_session_get_picture(self->session);
    graphene_rect_t area = picture_area(self);
    if (!picture.pixels || area.size.width <= 0 || area.size.height <= 0)
        return;
    double gx = (x - area.origin.x) * picture.width / area.size.width;
    double gy = (y - area.origin.y) * picture.height / area.size.height;
    if (lodge_session_get_absolute(self->session)) {
        lodge_session_position(self->session, (guint)CLAMP(gx, 0, picture.width - 1.0),
                               (guint)CLAMP(gy, 0, picture.height - 1.0));
    } else {
        if (self->has_last)
            lodge_session_motion(self->session, (int)(gx - self->last_x), (int)(gy - self->last_y));
        self->last_x = floor(gx);
        self->last_y = floor(gy);
        self->has_last = TRUE;
    }
}

static void on_leave(GtkEventControllerMotion *controller, LodgeDisplay *self)
{
    self->has_last = FALSE;
}

static guint session_button(guint gdk_button)
{
    switch (gdk_button) {
    case GDK_BUTTON_PRIMARY:
        return 1;
    case GDK_BUTTON_MIDDLE:
        return 2;
    case GDK_BUTTON_SECONDARY:
        return 3;
    case 8:
        return 6;
    case 9:
        return 7;
    default:
        return 0;
    }
}

static void on_pressed(GtkGestureClick *gesture, int presses, double x, double y,
                       LodgeDisplay *self)
{
    gtk_widget_grab_focus(GTK_WIDGET(self));
    guint button = gtk_gesture_single_get_current_button(GTK_GESTURE_SINGLE(gesture));
    on_motion(NULL, x, y, self);
    if (self->session)
        lodge_session_button(self->session, session_button(button), TRUE);
}

static void on_released(GtkGestureClick *gesture, int presses, double x, double y,
                        LodgeDisplay *self)
{
    guint button = gtk_gesture_single_get_current_button(GTK_GESTURE_SINGLE(gesture));
    if (self->session)
        lodge_session_button(self->session, session_button(button), FALSE);
}

static gboolean on_scroll(GtkEventControllerScroll *controller, double dx, double dy,
                          LodgeDisplay *self)
{
    if (!self->session)
        return GDK_EVENT_PROPAGATE;
    for (self->wheel += dy; fabs(self->wheel) >= 1; self->wheel -= self->wheel > 0 ? 1 : -1) {
        guint button = self->wheel > 0 ? 5 : 4;
        lodge_session_button(self->session, button, TRUE);
        lodge_session_button(self->session, button, FALSE);
    }
    return GDK_EVENT_STOP;
}

// Keyboard.

static void release_keys(LodgeDisplay *self)
{
    GHashTableIter iter;
    gpointer scancode;
    g_hash_table_iter_init(&iter, self->keys_down);
    while (g_hash_table_iter_next(&iter, &scancode, NULL)) {
        if (self->session)
            lodge_session_key(self->session, GPOINTER_TO_UINT(scancode), FALSE);
    }
    g_hash_table_remove_all(self->keys_down);
    self->ctrl_down = self->alt_down = FALSE;
}

static void note_modifiers(LodgeDisplay *self, guint keyval, gboolean down)
{
    if (keyval == GDK_KEY_Control_L || keyval == GDK_KEY_Control_R)
        self->ctrl_down = down;
    else if (keyval == GDK_KEY_Alt_L || keyval == GDK_KEY_Alt_R)
        self->alt_down = down;
    else if (down)
        self->chord_used = TRUE;
    if (down && self->ctrl_down != self->alt_down)
        self->chord_used = FALSE;
}

static gboolean on_key_pressed(GtkEventControllerKey *controller, guint keyval, guint keycode,
                               GdkModifierType state, LodgeDisplay *self)
{
    guint scancode = keymap_scancode(keycode);
    if (!self->session || !scancode)
        return GDK_EVENT_PROPAGATE;
    if (self->ctrl_down && self->alt_down &&
        (keyval == GDK_KEY_Return || keyval == GDK_KEY_KP_Enter)) {
        release_keys(self);
        g_signal_emit(self, signals[FULLSCREEN_REQUESTED], 0);
        return GDK_EVENT_STOP;
    }
    note_modifiers(self, keyval, TRUE);
    g_hash_table_add(self->keys_down, GUINT_TO_POINTER(scancode));
    lodge_session_key(self->session, scancode, TRUE);
    return GDK_EVENT_STOP;
}

static void on_key_released(GtkEventControllerKey *controller, guint keyval, guint keycode,
                            GdkModifierType state, LodgeDisplay *self)
{
    guint scancode = keymap_scancode(keycode);
    if (!self->session || !scancode)
        return;
    // Ctrl+Alt alone, pressed and let go, gives the keyboard back.
    gboolean both = self->ctrl_down && self->alt_down && !self->chord_used;
    note_modifiers(self, keyval, FALSE);
    if (g_hash_table_remove(self->keys_down, GUINT_TO_POINTER(scancode)))
        lodge_session_key(self->session, scancode, FALSE);
    if (both) {
        release_keys(self);
        lodge_display_set_grabbed(self, FALSE);
        g_signal_emit(self, signals[RELEASED], 0);
    }
}

static void on_focus_leave(GtkEventControllerFocus *controller, LodgeDisplay *self)
{
    release_keys(self);
    lodge_display_set_grabbed(self, FALSE);
}

void lodge_display_set_grabbed(LodgeDisplay *self, gboolean grabbed)
{
    g_return_if_fail(LODGE_IS_DISPLAY(self));
    if (self->grabbed == grabbed)
        return;
    GtkNative *native = gtk_widget_get_native(GTK_WIDGET(self));
    GdkSurface *surface = native ? gtk_native_get_surface(native) : NULL;
    if (surface && GDK_IS_TOPLEVEL(surface)) {
        if (grabbed)
            gdk_toplevel_inhibit_system_shortcuts(GDK_TOPLEVEL(surface), NULL);
        else
            gdk_toplevel_restore_system_shortcuts(GDK_TOPLEVEL(surface));
    }
    self->grabbed = grabbed;
    if (grabbed)
        gtk_widget_grab_focus(GTK_WIDGET(self));
    g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_GRABBED]);
}

gboolean lodge_display_get_grabbed(LodgeDisplay *self)
{
    return self->grabbed;
}

void lodge_display_send_chord(LodgeDisplay *self, const guint *scancodes, guint count)
{
    if (!self->session)
        return;
    for (guint i = 0; i < count; i++)
        lodge_session_key(self->session, scancodes[i], TRUE);
    for (guint i = count; i-- > 0;)
        lodge_session_key(self->session, scancodes[i], FALSE);
}

// The widget.

static void lodge_display_measure(GtkWidget *widget, GtkOrientation orientation, int for_size,
                                  int *minimum, int *natural, int *minimum_baseline,
                                  int *natural_baseline)
{
    LodgeDisplay *self = LODGE_DISPLAY(widget);
    LodgePicture picture = { 0 };
    if (self->session)
        picture = lodge_session_get_picture(self->session);
    guint size = orientation == GTK_ORIENTATION_HORIZONTAL ? picture.width : picture.height;
    int device = gtk_widget_get_scale_factor(widget);
    *minimum = 160;
    *natural = MAX(*minimum, (int)size / device);
    // One to one does not shrink: a scrolled window around the widget scrolls.
    if (self->scaling == LODGE_SCALING_ONE)
        *minimum = *natural;
}

static void disconnect_session(LodgeDisplay *self)
{
    if (!self->session)
        return;
    release_keys(self);
    g_signal_handlers_disconnect_by_data(self->session, self);
    g_clear_object(&self->session);
}

void lodge_display_set_session(LodgeDisplay *self, LodgeSession *session)
{
    g_return_if_fail(LODGE_IS_DISPLAY(self));
    disconnect_session(self);
    if (session) {
        self->session = g_object_ref(session);
        g_signal_connect(session, "mode-changed", G_CALLBACK(on_mode_changed), self);
        g_signal_connect(session, "damaged", G_CALLBACK(on_damaged), self);
        g_signal_connect(session, "cursor-changed", G_CALLBACK(on_cursor_changed), self);
        g_signal_connect(session, "connected-changed", G_CALLBACK(on_connected_changed), self);
    }
    resize_tiles(self);
    gtk_widget_queue_resize(GTK_WIDGET(self));
}

void lodge_display_set_scaling(LodgeDisplay *self, LodgeScaling scaling)
{
    g_return_if_fail(LODGE_IS_DISPLAY(self));
    self->scaling = scaling;
    drop_tiles(self);
    gtk_widget_queue_resize(GTK_WIDGET(self));
}

LodgeScaling lodge_display_get_scaling(LodgeDisplay *self)
{
    return self->scaling;
}

static void lodge_display_dispose(GObject *object)
{
    LodgeDisplay *self = LODGE_DISPLAY(object);
    g_clear_handle_id(&self->idle_source, g_source_remove);
    g_clear_handle_id(&self->deadline_source, g_source_remove);
    disconnect_session(self);
    drop_tiles(self);
    g_clear_pointer(&self->tiles, g_free);
    self->columns = self->rows = 0;
    g_clear_pointer(&self->keys_down, g_hash_table_unref);
    G_OBJECT_CLASS(lodge_display_parent_class)->dispose(object);
}

static void lodge_display_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    if (id == PROP_GRABBED)
        g_value_set_boolean(value, LODGE_DISPLAY(object)->grabbed);
    else
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
}

static void lodge_display_class_init(LodgeDisplayClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);
    GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(klass);
    object_class->dispose = lodge_display_dispose;
    object_class->get_property = lodge_display_get_property;
    widget_class->snapshot = lodge_display_snapshot;
    widget_class->measure = lodge_display_measure;
    properties[PROP_GRABBED] =
        g_param_spec_boolean("grabbed", NULL, NULL, FALSE,
                             G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
    g_object_class_install_properties(object_class, PROP_COUNT, properties);
    signals[RELEASED] = g_signal_new("released", LODGE_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, NULL,
                                     NULL, NULL, G_TYPE_NONE, 0);
    signals[FULLSCREEN_REQUESTED] =
        g_signal_new("fullscreen-requested", LODGE_TYPE_DISPLAY, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                     NULL, G_TYPE_NONE, 0);
    gtk_widget_class_set_accessible_role(widget_class, GTK_ACCESSIBLE_ROLE_IMG);
    gtk_widget_class_set_css_name(widget_class, "display");
}

static void add_pointer_controllers(LodgeDisplay *self)
{
    GtkEventController *motion = gtk_event_controller_motion_new();
    g_signal_connect(motion, "motion", G_CALLBACK(on_motion), self);
    g_signal_connect(motion, "leave", G_CALLBACK(on_leave), self);
    gtk_widget_add_controller(GTK_WIDGET(self), motion);
    GtkGesture *click = gtk_gesture_click_new();
    gtk_gesture_single_set_button(GTK_GESTURE_SINGLE(click), 0);
    g_signal_connect(click, "pressed", G_CALLBACK(on_pressed), self);
    g_signal_connect(click, "released", G_CALLBACK(on_released), self);
    gtk_widget_add_controller(GTK_WIDGET(self), GTK_EVENT_CONTROLLER(click));
    GtkEventController *scroll =
        gtk_event_controller_scroll_new(GTK_EVENT_CONTROLLER_SCROLL_VERTICAL);
    g_signal_connect(scroll, "scroll", G_CALLBACK(on_scroll), self);
    gtk_widget_add_controller(GTK_WIDGET(self), scroll);
}

static void lodge_display_init(LodgeDisplay *self)
{
    self->keys_down = g_hash_table_new(NULL, NULL);
    gtk_widget_set_focusable(GTK_WIDGET(self), TRUE);
    gtk_widget_set_hexpand(GTK_WIDGET(self), TRUE);
    gtk_widget_set_vexpand(GTK_WIDGET(self), TRUE);
    gtk_widget_set_overflow(GTK_WIDGET(self), GTK_OVERFLOW_HIDDEN);
    gtk_accessible_update_property(GTK_ACCESSIBLE(self), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   "Virtual machine display", -1);
    add_pointer_controllers(self);
    GtkEventController *key = gtk_event_controller_key_new();
    // Before any shortcut of the window.
    gtk_event_controller_set_propagation_phase(key, GTK_PHASE_CAPTURE);
    g_signal_connect(key, "key-pressed", G_CALLBACK(on_key_pressed), self);
    g_signal_connect(key, "key-released", G_CALLBACK(on_key_released), self);
    gtk_widget_add_controller(GTK_WIDGET(self), key);
    GtkEventController *focus = gtk_event_controller_focus_new();
    g_signal_connect(focus, "leave", G_CALLBACK(on_focus_leave), self);
    gtk_widget_add_controller(GTK_WIDGET(self), focus);
}

GtkWidget *lodge_display_new(void)
{
    return g_object_new(LODGE_TYPE_DISPLAY, NULL);
}
