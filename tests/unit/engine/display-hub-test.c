// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/display-hub.h"

#include <png.h>
#include <string.h>

typedef struct {
    unsigned refreshes, modes, updates;
} Ends;

static void refresh(void *device)
{
    ((Ends *)device)->refreshes++;
}

static void mode_set(void *opaque, const DisplayMode *mode)
{
    ((Ends *)opaque)->modes++;
}

static void update(void *opaque, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    ((Ends *)opaque)->updates++;
}

static void picture_as_png(void)
{
    DisplayHub *hub = display_hub_new();
    DisplayPicture picture;
    g_assert_false(display_hub_picture(hub, &picture));

    // 2 x 2, with padding at the end of each row.
    uint32_t pixels[6] = { 0x00ff0000, 0x0000ff00, 0, 0xff0000ff, 0x00ffffff, 0 };
    const DisplayMode mode = { 2, 2, 12, -1, 0, (uint8_t *)pixels };
    const DisplaySink *sink = display_hub_sink(hub);
    sink->mode_set(sink->opaque, &mode);
    g_assert_true(display_hub_picture(hub, &picture));
    const uint8_t rgb[12] = { 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255 };
    g_assert_cmpmem(picture.rgb, 12, rgb, 12);

    g_autoptr(GBytes) png = display_picture_png(&picture, NULL);
    png_image image = { .version = PNG_IMAGE_VERSION };
    g_assert_true(png_image_begin_read_from_memory(&image, g_bytes_get_data(png, NULL),
                                                   g_bytes_get_size(png)));
    g_assert_cmpuint(image.width, ==, 2);
    g_assert_cmpuint(image.height, ==, 2);
    image.format = PNG_FORMAT_RGB;
    uint8_t back[12];
    g_assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
    g_assert_cmpmem(back, 12, rgb, 12);
    g_free(picture.rgb);
    display_hub_free(hub);
}

static void viewer_and_source(void)
{
    DisplayHub *hub = display_hub_new();
    Ends viewer = { 0 }, device = { 0 };
    const DisplaySource source = { .refresh = refresh, .device = &device };
    const DisplaySink watcher = { .mode_set = mode_set, .update = update, .opaque = &viewer };
    const DisplayMode mode = { 1, 1, 4, -1, 0, (uint8_t[4]){ 0 } };
    const DisplaySink *sink = display_hub_sink(hub);
    display_hub_set_source(hub, &source);
    sink->mode_set(sink->opaque, &mode);
    display_hub_set_viewer(hub, &watcher); // who comes later gets the mode
    g_assert_cmpuint(viewer.modes, ==, 1);
    sink->update(sink->opaque, 0, 0, 1, 1);
    sink->cursor_move(sink->opaque, 1, 1); // a viewer without that function
    g_assert_cmpuint(viewer.updates, ==, 1);
    DisplayPicture picture;
    g_assert_true(display_hub_picture(hub, &picture));
    g_assert_cmpuint(device.refreshes, ==, 1);
    g_free(picture.rgb);
    display_hub_set_viewer(hub, NULL);
    sink->update(sink->opaque, 0, 0, 1, 1);
    g_assert_cmpuint(viewer.updates, ==, 1);
    display_hub_free(hub);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/display-hub/picture-as-png", picture_as_png);
    g_test_add_func("/display-hub/viewer-and-source", viewer_and_source);
    return g_test_run();
}
