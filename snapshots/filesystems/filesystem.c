// SPDX-License-Identifier: GPL-2.0-or-later
// See filesystem.h.
#include "snapshots/filesystems/filesystem.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>

void filesystem_entry_free(FilesystemEntry *entry)
{
    g_free(entry->name);
    g_free(entry->problem);
    g_free(entry);
}

const FilesystemOps *filesystem_probe(DiskReader *disk)
{
    static const FilesystemOps *const all[] = { &filesystem_ext4_ops, &filesystem_ntfs_ops,
                                              &filesystem_exfat_ops, &filesystem_fat_ops };
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

static void append_unit(GString *text, uint32_t unit)
{
    if (unit >= 0xd800 && unit < 0xe000) {
        g_string_append_c(text, (char)0xed);
        g_string_append_c(text, (char)(0x80 | (unit >> 6 & 0x3f)));
        g_string_append_c(text, (char)(0x80 | (unit & 0x3f)));
    } else {
        g_string_append_unichar(text, unit);
    }
}

char *filesystem_name_from_utf16(const uint8_t *name, size_t units)
{
    g_autoptr(GString) text = g_string_new("");
    for (size_t i = 0; i < units; i++) {
        uint32_t unit = le16_read(name + 2 * i);
        uint32_t next = i + 1 < units ? le16_read(name + 2 * i + 2) : 0;
        if (unit == 0 || unit == '/')
            return NULL;
        if (unit >= 0xd800 && unit < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
            unit = 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00);
            i++;
        }
        append_unit(text, unit);
    }
    bool is_taken = strcmp(text->str, ".") == 0 || strcmp(text->str, "..") == 0;
    return text->len && !is_taken ? g_strdup(text->str) : NULL;
}

uint64_t filesystem_hash(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    return hash;
}
