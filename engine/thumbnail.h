// SPDX-License-Identifier: GPL-2.0-or-later
// A machine's screen in small, for a snapshot.
#pragma once

#include "engine/display-hub.h"

#define THUMBNAIL_WIDTH 320u  // pixels, at most
#define THUMBNAIL_HEIGHT 240u

// The picture, made to fit, as a PNG file's bytes. Where it is smaller it keeps its size. NULL and
// error where libpng fails.
GBytes *thumbnail_png(const DisplayPicture *picture, GError **error);
