// SPDX-License-Identifier: GPL-2.0-or-later
// Remembers the mode that a device set last and passes everything on. Calls of the sink come with
// the machine lock held, which also guards the fields here.
#include "engine/spice/display-recorder.h"

#include "engine/spice/display-png.h"

#include <string.h>

struct DisplayRecorder {
    DisplaySink sink;
    DisplaySink next;
    DisplayMode mode; // width 0: none yet
};

static void mode_set(void *opaque, const DisplayMode *mode)
{
    DisplayRecorder *r = opaque;
    r->mode = *mode;
    if (r->next.mode_set)
        r->next.mode_set(r->next.opaque, mode);
}

static void update(void *opaque, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    DisplayRecorder *r = opaque;
    if (r->next.update)
        r->next.update(r->next.opaque, x, y, width, height);
}

static void cursor_define(void *opaque, uint32_t width, uint32_t height, uint32_t hot_x,
                          uint32_t hot_y, const uint8_t *rgba)
{
    DisplayRecorder *r = opaque;
    if (r->next.cursor_define)
        r->next.cursor_define(r->next.opaque, width, height, hot_x, hot_y, rgba);
}

static void cursor_move(void *opaque, int32_t x, int32_t y)
{
    DisplayRecorder *r = opaque;
    if (r->next.cursor_move)
        r->next.cursor_move(r->next.opaque, x, y);
}

DisplayRecorder *display_recorder_new(const DisplaySink *next)
{
    DisplayRecorder *r = g_new0(DisplayRecorder, 1);
    r->sink = (DisplaySink){ mode_set, update, cursor_define, cursor_move, r };
    if (next)
        r->next = *next;
    return r;
}

void display_recorder_free(DisplayRecorder *recorder)
{
    g_free(recorder);
}

const DisplaySink *display_recorder_sink(DisplayRecorder *recorder)
{
    return &recorder->sink;
}

bool display_recorder_write_png(DisplayRecorder *recorder, GMutex *machine_lock,
                                const DisplaySource *source, const char *path, GError **error)
{
    g_autofree uint8_t *copy = NULL;
    g_mutex_lock(machine_lock);
    if (source)
        source->refresh(source->device);
    DisplayMode mode = recorder->mode;
    if (mode.width)
        copy = g_memdup2(mode.pixels, (gsize)mode.stride * (mode.height - 1) + mode.width * 4);
    g_mutex_unlock(machine_lock);
    if (!copy) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: the machine shows no picture",
                    path);
        return false;
    }
    return display_write_png(path, copy, mode.width, mode.height, mode.stride, error);
}
