// SPDX-License-Identifier: GPL-2.0-or-later
// See filesystem.h.
#include "snapshots/filesystems/filesystem.h"

#include <gio/gio.h>

void filesystem_entry_free(FilesystemEntry *entry)
{
    g_free(entry->name);
    g_free(entry);
}

const FilesystemOps *filesystem_probe(DiskReader *disk)
{
    static const FilesystemOps *const all[] = { &filesystem_ext4_ops };
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        if (all[i]->probe(disk))
            return all[i];
    }
    return NULL;
}

bool filesystem_damaged(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, message);
    return false;
}

uint64_t filesystem_hash(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    return hash;
}
