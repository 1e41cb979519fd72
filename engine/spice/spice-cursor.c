// SPDX-License-Identifier: GPL-2.0-or-later
// A hardware cursor's shape and place as SPICE cursor commands. A display device calls in with the
// machine lock held; the worker thread fetches.
#include "engine/spice/spice-private.h"

#define CURSOR_MAX 512u // pixels either way

typedef struct {
    QXLCommandExt command; // first: the release id is the address of both
    QXLCursorCmd cursor_command;
    QXLCursor cursor; // last: its pixels follow
} SpiceCursorDraw;

static SpiceCursorDraw *make_cursor(uint8_t type, size_t pixel_bytes)
{
    SpiceCursorDraw *draw = g_malloc0(sizeof *draw + pixel_bytes);
    draw->cursor_command.release_info.id = (uintptr_t)draw;
    draw->cursor_command.type = type;
    draw->command.cmd.type = QXL_CMD_CURSOR;
    draw->command.cmd.data = (uintptr_t)&draw->cursor_command;
    return draw;
}

static void push_cursor(SpiceDisplay *display, SpiceCursorDraw *draw)
{
    g_mutex_lock(&display->lock);
    // Only the newest move counts.
    SpiceCursorDraw *last = g_queue_peek_tail(&display->cursors);
    if (last && last->cursor_command.type == QXL_CURSOR_MOVE &&
        draw->cursor_command.type == QXL_CURSOR_MOVE)
        g_free(g_queue_pop_tail(&display->cursors));
    g_queue_push_tail(&display->cursors, draw);
    g_mutex_unlock(&display->lock);
    spice_qxl_wakeup(&display->qxl);
}

// SPICE wants premultiplied BGRA.
static void convert_pixels(uint8_t *to, const uint8_t *rgba, size_t count)
{
    for (size_t i = 0; i < count; i++, to += 4, rgba += 4) {
        unsigned alpha = rgba[3];
        to[0] = (uint8_t)(rgba[2] * alpha / 255);
        to[1] = (uint8_t)(rgba[1] * alpha / 255);
        to[2] = (uint8_t)(rgba[0] * alpha / 255);
        to[3] = (uint8_t)alpha;
    }
}

void lodge_spice_cursor_define(void *opaque, uint32_t width, uint32_t height, uint32_t hot_x,
                               uint32_t hot_y, const uint8_t *rgba)
{
    SpiceDisplay *display = opaque;
    if (!rgba || width == 0 || height == 0 || width > CURSOR_MAX || height > CURSOR_MAX) {
        push_cursor(display, make_cursor(QXL_CURSOR_HIDE, 0));
        return;
    }
    size_t bytes = (size_t)width * height * 4;
    SpiceCursorDraw *draw = make_cursor(QXL_CURSOR_SET, bytes);
    draw->cursor_command.u.set.visible = 1;
    draw->cursor_command.u.set.shape = (uintptr_t)&draw->cursor;
    QXLCursor *cursor = &draw->cursor;
    cursor->header.unique = 0; // not cached by the client
    cursor->header.type = SPICE_CURSOR_TYPE_ALPHA;
    cursor->header.width = (uint16_t)width;
    cursor->header.height = (uint16_t)height;
    cursor->header.hot_spot_x = (uint16_t)hot_x;
    cursor->header.hot_spot_y = (uint16_t)hot_y;
    cursor->data_size = (uint32_t)bytes;
    cursor->chunk.data_size = (uint32_t)bytes;
    convert_pixels(cursor->chunk.data, rgba, (size_t)width * height);
    push_cursor(display, draw);
}

void lodge_spice_cursor_move(void *opaque, int32_t x, int32_t y)
{
    SpiceCursorDraw *draw = make_cursor(QXL_CURSOR_MOVE, 0);
    draw->cursor_command.u.position.x = (int16_t)CLAMP(x, INT16_MIN, INT16_MAX);
    draw->cursor_command.u.position.y = (int16_t)CLAMP(y, INT16_MIN, INT16_MAX);
    push_cursor(opaque, draw);
}

bool lodge_spice_cursor_fetch(SpiceDisplay *display, QXLCommandExt *command)
{
    g_mutex_lock(&display->lock);
    SpiceCursorDraw *draw = g_queue_pop_head(&display->cursors);
    if (draw)
        *command = draw->command;
    g_mutex_unlock(&display->lock);
    return draw != NULL;
}

void lodge_spice_cursors_clear(SpiceDisplay *display)
{
    g_queue_clear_full(&display->cursors, g_free);
}
