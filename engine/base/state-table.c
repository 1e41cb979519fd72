// SPDX-License-Identifier: GPL-2.0-or-later
// Record: "LDST" u32 version, u16 name length, name, u32 field count, then per field: u16 name
// length, name, u8 kind, u32 byte count, bytes. All little-endian.
#include "engine/base/state-table.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>

#define STATE_MAGIC 0x5453444cu

static size_t element_size(StateKind kind)
{
    switch (kind) {
    case STATE_U16:
        return 2;
    case STATE_U32:
        return 4;
    case STATE_U64:
        return 8;
    case STATE_BOOL:
        return sizeof(bool);
    case STATE_U8:
    case STATE_BYTES:
    case STATE_POINTED:
        return 1;
    }
    return 1;
}

static uint8_t *field_data(const StateField *field, void *object)
{
    uint8_t *at = (uint8_t *)object + field->offset;
    return field->kind == STATE_POINTED ? *(uint8_t **)at : at;
}

static void append_le(GByteArray *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++, value >>= 8) {
        uint8_t byte = (uint8_t)value;
        g_byte_array_append(out, &byte, 1);
    }
}

static void append_name(GByteArray *out, const char *name)
{
    size_t length = strlen(name);
    append_le(out, length, 2);
    g_byte_array_append(out, (const guint8 *)name, (guint)length);
}

static bool name_matches(ByteReader *r, const char *name)
{
    size_t length = byte_reader_le16(r);
    const uint8_t *text = byte_reader_take(r, length);
    return text && length == strlen(name) && memcmp(text, name, length) == 0;
}

GBytes *state_save(const StateTable *table, void *object)
{
    if (table->pre_save)
        table->pre_save(object);
    GByteArray *out = g_byte_array_new();
    append_le(out, STATE_MAGIC, 4);
    append_le(out, table->version, 4);
    append_name(out, table->name);
    append_le(out, table->field_count, 4);
    for (size_t i = 0; i < table->field_count; i++) {
        const StateField *field = &table->fields[i];
        size_t bytes = field->count * element_size(field->kind);
        append_name(out, field->name);
        append_le(out, field->kind, 1);
        append_le(out, bytes, 4);
        g_byte_array_append(out, field_data(field, object), (guint)bytes);
    }
    return g_byte_array_free_to_bytes(out);
}

gboolean state_load(const StateTable *table, void *object, GBytes *record, GError **error)
{
    gsize size;
    const void *data = g_bytes_get_data(record, &size);
    ByteReader r = byte_reader(data, size);
    if (byte_reader_le32(&r) != STATE_MAGIC || byte_reader_le32(&r) != table->version ||
        !name_matches(&r, table->name) || byte_reader_le32(&r) != table->field_count) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of '%s' is not version %u of it", table->name, table->version);
        return FALSE;
    }
    for (size_t i = 0; i < table->field_count; i++) {
        const StateField *field = &table->fields[i];
        size_t bytes = field->count * element_size(field->kind);
        if (!name_matches(&r, field->name) || byte_reader_u8(&r) != field->kind ||
            byte_reader_le32(&r) != bytes) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "saved state of '%s': field '%s' is missing or has another form",
                        table->name, field->name);
            return FALSE;
        }
        const uint8_t *from = byte_reader_take(&r, bytes);
        if (!from) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "saved state of '%s' ends within field '%s'", table->name, field->name);
            return FALSE;
        }
        if (field->kind == STATE_BOOL) {
            // A bool with another bit pattern is undefined behaviour; normalise.
            for (size_t b = 0; b < bytes; b++)
                field_data(field, object)[b] = from[b] != 0;
        } else {
            memcpy(field_data(field, object), from, bytes);
        }
    }
    return table->post_load ? table->post_load(object, error) : TRUE;
}
