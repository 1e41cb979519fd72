// SPDX-License-Identifier: GPL-2.0-or-later
// See display-hub.h.
#include "engine/display-hub.h"

#include <gio/gio.h>
#include <png.h>

struct DisplayHub {
    DisplaySink sink;
    DisplaySink viewer;
    bool has_viewer;
    DisplaySource source;
    bool has_source;
    DisplayMode mode;
    bool has_mode;
};

static void sink_mode_set(void *opaque, const DisplayMode *mode)
{
    DisplayHub *hub = opaque;
    hub->mode = *mode;
    hub->has_mode = true;
    if (hub->has_viewer)
        hub->viewer.mode_set(hub->viewer.opaque, mode);
}

static void sink_update(void *opaque, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    DisplayHub *hub = opaque;
    if (hub->has_viewer)
        hub->viewer.update(hub->viewer.opaque, x, y, width, height);
}

static void sink_cursor_define(void *opaque, uint32_t width, uint32_t height, uint32_t hot_x,
                               uint32_t hot_y, const uint8_t *rgba)
{
    DisplayHub *hub = opaque;
    if (hub->has_viewer && hub->viewer.cursor_define)
        hub->viewer.cursor_define(hub->viewer.opaque, width, height, hot_x, hot_y, rgba);
}

static void sink_cursor_move(void *opaque, int32_t x, int32_t y)
{
    DisplayHub *hub = opaque;
    if (hub->has_viewer && hub->viewer.cursor_move)
        hub->viewer.cursor_move(hub->viewer.opaque, x, y);
}

DisplayHub *display_hub_new(void)
{
    DisplayHub *hub = g_new0(DisplayHub, 1);
    hub->sink = (DisplaySink){ sink_mode_set, sink_update, sink_cursor_define, sink_cursor_move,
                               hub };
    return hub;
}

void display_hub_free(DisplayHub *hub)
{
    g_free(hub);
}

const DisplaySink *display_hub_sink(DisplayHub *hub)
{
    return &hub->sink;
}

void display_hub_set_viewer(DisplayHub *hub, const DisplaySink *viewer)
{
    hub->has_viewer = viewer != NULL;
    if (!viewer)
        return;
    hub->viewer = *viewer;
    if (hub->has_mode)
        hub->viewer.mode_set(hub->viewer.opaque, &hub->mode);
}

void display_hub_set_source(DisplayHub *hub, const DisplaySource *source)
{
    hub->has_source = source != NULL;
    if (source)
        hub->source = *source;
}

bool display_hub_picture(DisplayHub *hub, DisplayPicture *ret_picture)
{
    if (hub->has_source)
        hub->source.refresh(hub->source.device);
    if (!hub->has_mode)
        return false;
    const DisplayMode *mode = &hub->mode;
    uint8_t *out = g_malloc((size_t)mode->width * mode->height * 3);
    *ret_picture = (DisplayPicture){ mode->width, mode->height, out };
    for (uint32_t y = 0; y < mode->height; y++) {
        const uint8_t *in = mode->pixels + (size_t)y * mode->stride;
        for (uint32_t x = 0; x < mode->width; x++, in += 4, out += 3) {
            out[0] = in[2];
            out[1] = in[1];
            out[2] = in[0];
        }
    }
    return true;
}

static void png_append(png_structp png, png_bytep data, png_size_t size)
{
    g_byte_array_append(png_get_io_ptr(png), data, (guint)size);
}

static void png_nothing(png_structp png)
{
}

GBytes *display_picture_png(const DisplayPicture *picture, GError **error)
{
    GByteArray *bytes = g_byte_array_new();
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        g_byte_array_unref(bytes);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "the screen (%u x %u) could not be stored as PNG", picture->width,
                    picture->height);
        return NULL;
    }
    png_set_write_fn(png, bytes, png_append, png_nothing);
    png_set_IHDR(png, info, picture->width, picture->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 3);
    png_write_info(png, info);
    for (uint32_t y = 0; y < picture->height; y++)
        png_write_row(png, picture->rgb + (size_t)y * picture->width * 3);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return g_byte_array_free_to_bytes(bytes);
}
