// SPDX-License-Identifier: GPL-2.0-or-later
// The smallest ISO 9660 images that tests need, made in memory.
#pragma once

#include "engine/base/bytes.h"

#include <glib.h>
#include <string.h>

#define DISC_SECTOR 2048
#define DISC_SECTORS 24

typedef struct {
    const char *volume;
    gboolean bootable;
    const char *file;  // in the root folder, or NULL
    const char *text;  // what is in it
    guint32 promised;  // sectors; 0: as many as there are
} DiscSpec;

static inline guint8 *disc_record(guint8 *at, const char *name, gsize length, guint32 sector,
                                  guint32 size, guint8 flags)
{
    guint8 total = (guint8)(33 + length + (length % 2 == 0));
    at[0] = total;
    le32_write(at + 2, sector);
    le32_write(at + 10, size);
    at[25] = flags;
    at[32] = (guint8)length;
    memcpy(at + 33, name, length);
    return at + total;
}

// DISC_SECTORS sectors; free with g_free.
static inline guint8 *disc_build(const DiscSpec *spec)
{
    guint8 *image = g_malloc0(DISC_SECTORS * DISC_SECTOR);
    guint8 *primary = image + 16 * DISC_SECTOR, *boot = image + 17 * DISC_SECTOR;
    guint8 *end = image + 18 * DISC_SECTOR, *root = image + 20 * DISC_SECTOR;
    memcpy(primary, "\1CD001\1", 7);
    memset(primary + 40, ' ', 32);
    memcpy(primary + 40, spec->volume, strlen(spec->volume));
    memset(primary + 318, ' ', 384);
    le32_write(primary + 80, spec->promised ? spec->promised : DISC_SECTORS);
    le16_write(primary + 128, DISC_SECTOR);
    disc_record(primary + 156, "\0", 1, 20, DISC_SECTOR, 2);
    if (spec->bootable)
        memcpy(boot, "\0CD001\1EL TORITO SPECIFICATION", 30);
    else
        memcpy(boot, "\2CD001\1", 7);
    memcpy(end, "\377CD001\1", 7);
    guint8 *next = disc_record(root, "\0", 1, 20, DISC_SECTOR, 2);
    next = disc_record(next, "\1", 1, 20, DISC_SECTOR, 2);
    if (spec->file) {
        disc_record(next, spec->file, strlen(spec->file), 21, (guint32)strlen(spec->text), 0);
        memcpy(image + 21 * DISC_SECTOR, spec->text, strlen(spec->text));
    }
    return image;
}
