// SPDX-License-Identifier: GPL-2.0-or-later
// What lodgectl disk info and check print. All return text that ends in a line feed; free with
// g_free.
#pragma once

#include "snapshots/formats/image.h"

char *disk_report_text(Image *image);
char *disk_report_json(Image *image);
// What the others say of what they made: disk of a machine (or NULL), file, format, size in bytes.
char *disk_made_json(const char *disk, const char *file, const char *format, uint64_t size);
char *disk_check_text(Image *image, const ImageCheck *check);
char *disk_check_json(Image *image, const ImageCheck *check);
