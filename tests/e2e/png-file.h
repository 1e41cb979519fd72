// SPDX-License-Identifier: GPL-2.0-or-later
// A picture as a PNG file, for test programs.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

// pixels: XRGB8888, little-endian; the X byte is ignored. stride: bytes. Replaces the file as a
// whole or not at all. On failure false and error (G_FILE_ERROR) names the file.
bool png_file_write(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height,
                       uint32_t stride, GError **error);
