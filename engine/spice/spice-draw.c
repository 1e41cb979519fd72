// SPDX-License-Identifier: GPL-2.0-or-later
// The picture as draw commands, for any SPICE client: opaque copies of changed areas, cut into
// bands, because a client takes a message in one piece and an 8 MB one stalls it.
//
// A command owns a copy of its pixels: the worker may read it long after the framebuffer is gone.
#include "engine/spice/spice-private.h"

#define BAND_BYTES (512u * 1024)

typedef struct {
    QXLCommandExt command; // first: the release id is the address of both
    QXLDrawable drawable;
    QXLImage image;
    size_t bytes;
    uint8_t pixels[];
} SpiceDraw;

static SpiceDraw *make_draw(SpiceDisplay *display, SpiceArea area)
{
    const DisplayMode *mode = &display->mode;
    uint32_t width = area.right - area.left, height = area.bottom - area.top;
    uint32_t stride = width * 4;
    size_t bytes = (size_t)stride * height;
    SpiceDraw *draw = g_malloc(sizeof *draw + bytes);
    memset(draw, 0, sizeof *draw);
    draw->bytes = bytes;
    for (uint32_t y = 0; y < height; y++)
        memcpy(draw->pixels + (size_t)y * stride,
               mode->pixels + (size_t)(area.top + y) * mode->stride + area.left * 4, stride);

    QXLDrawable *d = &draw->drawable;
    d->release_info.id = (uintptr_t)draw;
    d->bbox = (QXLRect){ .left = (int32_t)area.left, .top = (int32_t)area.top,
                         .right = (int32_t)area.right, .bottom = (int32_t)area.bottom };
    d->clip.type = SPICE_CLIP_TYPE_NONE;
    d->effect = QXL_EFFECT_OPAQUE;
    d->type = QXL_DRAW_COPY;
    for (unsigned i = 0; i < 3; i++)
        d->surfaces_dest[i] = -1;
    d->mm_time = (uint32_t)(g_get_monotonic_time() / 1000);
    d->u.copy.rop_descriptor = SPICE_ROPD_OP_PUT;
    d->u.copy.src_bitmap = (uintptr_t)&draw->image;
    d->u.copy.src_area = (QXLRect){ .right = (int32_t)width, .bottom = (int32_t)height };

    QXLImage *image = &draw->image;
    QXL_SET_IMAGE_ID(image, QXL_IMAGE_GROUP_DEVICE, ++display->image_serial);
    image->descriptor.type = SPICE_IMAGE_TYPE_BITMAP;
    image->descriptor.width = width;
    image->descriptor.height = height;
    image->bitmap.format = SPICE_BITMAP_FMT_32BIT;
    image->bitmap.flags = QXL_BITMAP_DIRECT | QXL_BITMAP_TOP_DOWN;
    image->bitmap.x = width;
    image->bitmap.y = height;
    image->bitmap.stride = stride;
    image->bitmap.data = (uintptr_t)draw->pixels;

    draw->command.cmd.type = QXL_CMD_DRAW;
    draw->command.cmd.data = (uintptr_t)d;
    return draw;
}

void lodge_spice_draw_area(SpiceDisplay *display, SpiceArea area)
{
    uint32_t rows = MAX(BAND_BYTES / ((area.right - area.left) * 4), 1);
    for (uint32_t top = area.top; top < area.bottom; top += rows) {
        SpiceArea band = { area.left, top, area.right, MIN(top + rows, area.bottom) };
        SpiceDraw *draw = make_draw(display, band);
        display->outstanding += draw->bytes;
        g_queue_push_tail(&display->draws, draw);
    }
}

void lodge_spice_draws_clear(SpiceDisplay *display)
{
    SpiceDraw *draw;
    while ((draw = g_queue_pop_head(&display->draws))) {
        display->outstanding -= draw->bytes;
        g_free(draw);
    }
}

bool lodge_spice_draw_fetch(SpiceDisplay *display, QXLCommandExt *command)
{
    g_mutex_lock(&display->lock);
    SpiceDraw *draw = g_queue_pop_head(&display->draws);
    if (draw)
        *command = draw->command;
    g_mutex_unlock(&display->lock);
    return draw != NULL;
}

void lodge_spice_draw_release(SpiceDisplay *display, void *held)
{
    SpiceDraw *draw = held;
    g_mutex_lock(&display->lock);
    display->outstanding -= draw->bytes;
    g_mutex_unlock(&display->lock);
    g_free(draw);
}
