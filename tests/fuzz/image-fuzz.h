// SPDX-License-Identifier: GPL-2.0-or-later
// What the targets for image formats share: a sound image in memory, edited where its tables lie by
// the input, then opened, read, checked, repaired and written to.
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct {
    uint32_t offset, length; // of the template
} ImageArea;

typedef struct {
    const char *format;
    const uint8_t *bytes; // the template
    size_t size;
    const ImageArea *areas; // where edits go
    size_t area_count;
    void (*seal)(uint8_t *image, size_t size); // sets checksums anew after the edits, or NULL
} ImageTemplate;

// A new image of 8 MiB with some data, made by the format's writer. Free with g_free.
uint8_t *image_fuzz_make(const char *format, size_t *ret_size);

// Input: 12 bytes an edit: area, offset (2), width, value (8).
void image_fuzz(const ImageTemplate *t, const uint8_t *data, size_t size);

// Bytes as they are, without a template.
void image_fuzz_bytes(const char *format, const uint8_t *bytes, size_t size);
