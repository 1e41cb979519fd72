// SPDX-License-Identifier: GPL-2.0-or-later
// PNG by libpng: 8-bit RGB, no alpha, no time stamp, so that equal pictures give equal files.
#include "tests/e2e/png-file.h"

#include <png.h>
#include <setjmp.h>

static void append_data(png_structp png, png_bytep data, png_size_t size)
{
    g_byte_array_append(png_get_io_ptr(png), data, (guint)size);
}

static void no_flush(png_structp png)
{
}

static void keep_message(png_structp png, png_const_charp message)
{
    char **kept = png_get_error_ptr(png);
    g_free(*kept);
    *kept = g_strdup(message);
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp message)
{
}

static GByteArray *encode(const uint8_t *pixels, uint32_t width, uint32_t height,
                               uint32_t stride, GError **error)
{
    // Not changed after setjmp, so that they hold their values when it returns again.
    GByteArray *out = g_byte_array_new();
    uint8_t *row = g_malloc((size_t)width * 3);
    char *message = NULL;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &message, keep_message,
                                              ignore_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info || setjmp(png_jmpbuf(png))) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "no PNG of %ux%u pixels: %s", width,
                    height, message ? message : "out of memory");
        png_destroy_write_struct(&png, &info);
        g_byte_array_unref(out);
        g_free(row);
        g_free(message);
        return NULL;
    }
    png_set_write_fn(png, out, append_data, no_flush);
    png_set_compression_level(png, 3);
    png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (uint32_t y = 0; y < height; y++) {
        const uint8_t *from = pixels + (size_t)y * stride;
        for (uint32_t x = 0; x < width; x++) {
            row[3 * x] = from[4 * x + 2];
            row[3 * x + 1] = from[4 * x + 1];
            row[3 * x + 2] = from[4 * x];
        }
        png_write_row(png, row);
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    g_free(row);
    return out;
}

bool png_file_write(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height,
                       uint32_t stride, GError **error)
{
    GByteArray *png = encode(pixels, width, height, stride, error);
    if (!png)
        return false;
    bool ok = g_file_set_contents(path, (const char *)png->data, png->len, error);
    g_byte_array_unref(png);
    return ok;
}
