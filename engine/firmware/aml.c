// SPDX-License-Identifier: GPL-2.0-or-later
// See aml.h. Encodings: ACPI 6.4, sections 20.2.2 (names), 20.2.3 (data), 20.2.4 (package
// length), 20.2.5 (named objects).
#include "engine/firmware/aml.h"

#include "engine/base/bytes.h"

#include <string.h>

enum {
    AML_NAME = 0x08,
    AML_DWORD = 0x0c,
    AML_SCOPE = 0x10,
    AML_EXTENDED = 0x5b,
    AML_EXTENDED_PROCESSOR = 0x83,
    AML_DUAL_NAME = 0x2e,
    NAME_SEGMENT = 4,
    PACKAGE_LENGTH_BYTES = 4, // always the longest form, so that closing needs no moving
};

static void append_u8(GByteArray *aml, uint8_t value)
{
    g_byte_array_append(aml, &value, 1);
}

// A segment, padded with underscores.
static void append_segment(GByteArray *aml, const char *segment, size_t length)
{
    char padded[NAME_SEGMENT] = { '_', '_', '_', '_' };
    memcpy(padded, segment, MIN(length, NAME_SEGMENT));
    g_byte_array_append(aml, (const uint8_t *)padded, NAME_SEGMENT);
}

// "NAME", "\\NAME" or "\\NAME.NAME".
static void append_path(GByteArray *aml, const char *path)
{
    if (*path == '\\')
        append_u8(aml, (uint8_t)*path++);
    const char *dot = strchr(path, '.');
    if (dot) {
        append_u8(aml, AML_DUAL_NAME);
        append_segment(aml, path, (size_t)(dot - path));
        path = dot + 1;
    }
    append_segment(aml, path, strlen(path));
}

static guint open_package(GByteArray *aml)
{
    guint start = aml->len;
    static const uint8_t room[PACKAGE_LENGTH_BYTES];
    g_byte_array_append(aml, room, sizeof(room));
    return start;
}

guint aml_open_scope(GByteArray *aml, const char *path)
{
    append_u8(aml, AML_SCOPE);
    guint start = open_package(aml);
    append_path(aml, path);
    return start;
}

void aml_close(GByteArray *aml, guint start)
{
    guint length = aml->len - start; // counts its own bytes; below 2^28 for any table of ours
    aml->data[start] = (uint8_t)((PACKAGE_LENGTH_BYTES - 1) << 6 | (length & 0xf));
    aml->data[start + 1] = (uint8_t)(length >> 4);
    aml->data[start + 2] = (uint8_t)(length >> 12);
    aml->data[start + 3] = (uint8_t)(length >> 20);
}

void aml_processor(GByteArray *aml, const char *name, uint8_t id)
{
    append_u8(aml, AML_EXTENDED);
    append_u8(aml, AML_EXTENDED_PROCESSOR);
    guint start = open_package(aml);
    append_path(aml, name);
    uint8_t fields[6] = { id }; // id, then the register block's address and length: none
    g_byte_array_append(aml, fields, sizeof(fields));
    aml_close(aml, start);
}

gboolean aml_patch_name(uint8_t *aml, gsize size, const char *name, uint32_t value)
{
    uint8_t pattern[1 + NAME_SEGMENT + 1] = { AML_NAME, '_', '_', '_', '_', AML_DWORD };
    memcpy(pattern + 1, name, MIN(strlen(name), NAME_SEGMENT));
    uint8_t *found = NULL;
    for (gsize i = 0; i + sizeof(pattern) + 4 <= size; i++) {
        if (memcmp(aml + i, pattern, sizeof(pattern)) != 0)
            continue;
        if (found)
            return FALSE;
        found = aml + i + sizeof(pattern);
    }
    if (!found)
        return FALSE;
    le32_write(found, value);
    return TRUE;
}
