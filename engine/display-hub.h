// SPDX-License-Identifier: GPL-2.0-or-later
// Between the display device and those who show its picture: passes everything on to one sink (the
// SPICE display) and remembers the mode, so that a screenshot needs no viewer.
#pragma once

#include "engine/bus/display.h"

#include <glib.h>

typedef struct DisplayHub DisplayHub;

DisplayHub *display_hub_new(void);
void display_hub_free(DisplayHub *hub);

// What the device is given; lives as long as the hub.
const DisplaySink *display_hub_sink(DisplayHub *hub);

// Copied; NULL: none. Before the device exists, or machine lock held.
void display_hub_set_viewer(DisplayHub *hub, const DisplaySink *viewer);
void display_hub_set_source(DisplayHub *hub, const DisplaySource *source);

// A picture that stays as it is.
typedef struct {
    uint32_t width, height;
    uint8_t *rgb; // 3 bytes a pixel, rows without padding; free with g_free
} DisplayPicture;

// The screen now. False where no mode was ever set. Machine lock held.
bool display_hub_picture(DisplayHub *hub, DisplayPicture *ret_picture);

// As a PNG file's bytes; NULL and error where libpng fails. No lock needed.
GBytes *display_picture_png(const DisplayPicture *picture, GError **error);
