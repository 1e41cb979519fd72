// SPDX-License-Identifier: GPL-2.0-or-later
// See thumbnail.h. Each pixel of the small picture is the mean of those that it stands for.
#include "engine/thumbnail.h"

static void mean(const DisplayPicture *from, uint32_t left, uint32_t right, uint32_t top,
                 uint32_t bottom, uint8_t ret_pixel[3])
{
    uint64_t sum[3] = { 0 };
    for (uint32_t y = top; y < bottom; y++) {
        const uint8_t *pixel = from->rgb + ((size_t)y * from->width + left) * 3;
        for (uint32_t x = left; x < right; x++, pixel += 3) {
            for (unsigned i = 0; i < 3; i++)
                sum[i] += pixel[i];
        }
    }
    uint64_t count = (uint64_t)(right - left) * (bottom - top);
    for (unsigned i = 0; i < 3; i++)
        ret_pixel[i] = (uint8_t)(sum[i] / count);
}

// Where row or column i of `small` begins among `large`.
static uint32_t edge(uint32_t i, uint32_t small, uint32_t large)
{
    return (uint32_t)((uint64_t)i * large / small);
}

GBytes *thumbnail_png(const DisplayPicture *picture, GError **error)
{
    uint32_t width = MAX(picture->width, 1), height = MAX(picture->height, 1);
    if (width <= THUMBNAIL_WIDTH && height <= THUMBNAIL_HEIGHT)
        return display_picture_png(picture, error);
    DisplayPicture small = { .width = THUMBNAIL_WIDTH,
                             .height = (uint32_t)((uint64_t)height * THUMBNAIL_WIDTH / width) };
    if (small.height > THUMBNAIL_HEIGHT) {
        small.height = THUMBNAIL_HEIGHT;
        small.width = (uint32_t)((uint64_t)width * THUMBNAIL_HEIGHT / height);
    }
    small.width = CLAMP(small.width, 1, width);
    small.height = CLAMP(small.height, 1, height);
    g_autofree uint8_t *rgb = g_malloc((size_t)small.width * small.height * 3);
    uint8_t *pixel = small.rgb = rgb;
    for (uint32_t y = 0; y < small.height; y++) {
        for (uint32_t x = 0; x < small.width; x++, pixel += 3)
            mean(picture, edge(x, small.width, width), edge(x + 1, small.width, width),
                 edge(y, small.height, height), edge(y + 1, small.height, height), pixel);
    }
    return display_picture_png(&small, error);
}
