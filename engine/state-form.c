// SPDX-License-Identifier: GPL-2.0-or-later
// Form: "LODGESTA", u32 version, u32 records, u64 bytes in all, 32 bytes SHA-256 of all that
// follows. Record: u16 name length, name, u32 size, bytes. All little-endian.
#include "engine/state-form.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>
#include <string.h>

enum { NAME_MAX_LENGTH = 63, HEAD_SIZE = 8 + 4 + 4 + 8 + STATE_DIGEST_SIZE };

static const char magic[8] = { 'L', 'O', 'D', 'G', 'E', 'S', 'T', 'A' };

typedef struct {
    char *name;
    GBytes *bytes;
} Record;

struct StateForm {
    GArray *records; // of Record
};

static void record_clear(void *data)
{
    Record *record = data;
    g_free(record->name);
    g_bytes_unref(record->bytes);
}

StateForm *state_form_new(void)
{
    StateForm *form = g_new0(StateForm, 1);
    form->records = g_array_new(FALSE, FALSE, sizeof(Record));
    g_array_set_clear_func(form->records, record_clear);
    return form;
}

void state_form_free(StateForm *form)
{
    if (!form)
        return;
    g_array_unref(form->records);
    g_free(form);
}

GBytes *state_form_get(const StateForm *form, const char *name)
{
    for (guint i = 0; i < form->records->len; i++) {
        const Record *record = &g_array_index(form->records, Record, i);
        if (strcmp(record->name, name) == 0)
            return record->bytes;
    }
    return NULL;
}

void state_form_add(StateForm *form, const char *name, GBytes *bytes)
{
    g_return_if_fail(*name && strlen(name) <= NAME_MAX_LENGTH && !state_form_get(form, name));
    Record record = { g_strdup(name), g_bytes_ref(bytes) };
    g_array_append_val(form->records, record);
}

unsigned state_form_count(const StateForm *form)
{
    return form->records->len;
}

const char *state_form_name(const StateForm *form, unsigned index)
{
    return g_array_index(form->records, Record, index).name;
}

void state_digest(const uint8_t *data, size_t size, uint8_t ret_digest[STATE_DIGEST_SIZE])
{
    gsize length = STATE_DIGEST_SIZE;
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(sum, data, (gssize)size);
    g_checksum_get_digest(sum, ret_digest, &length);
    g_checksum_free(sum);
}

GBytes *state_form_encode(const StateForm *form)
{
    GByteArray *out = g_byte_array_new();
    g_byte_array_set_size(out, HEAD_SIZE);
    for (guint i = 0; i < form->records->len; i++) {
        const Record *record = &g_array_index(form->records, Record, i);
        gsize size;
        const void *data = g_bytes_get_data(record->bytes, &size);
        uint8_t number[4];
        le16_write(number, (uint16_t)strlen(record->name));
        g_byte_array_append(out, number, 2);
        g_byte_array_append(out, (const guint8 *)record->name, (guint)strlen(record->name));
        le32_write(number, (uint32_t)size);
        g_byte_array_append(out, number, 4);
        g_byte_array_append(out, data, (guint)size);
    }
    memcpy(out->data, magic, sizeof magic);
    le32_write(out->data + 8, STATE_FORM_VERSION);
    le32_write(out->data + 12, form->records->len);
    le64_write(out->data + 16, out->len);
    state_digest(out->data + HEAD_SIZE, out->len - HEAD_SIZE, out->data + 24);
    return g_byte_array_free_to_bytes(out);
}

static bool refuse(GError **error, const char *what)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "the saved machine state %s", what);
    return false;
}

static bool check_head(ByteReader *r, uint32_t *ret_records, GError **error)
{
    const uint8_t *start = byte_reader_take(r, sizeof magic);
    uint32_t version = byte_reader_le32(r);
    *ret_records = byte_reader_le32(r);
    uint64_t size = byte_reader_le64(r);
    const uint8_t *digest = byte_reader_take(r, STATE_DIGEST_SIZE);
    if (!start || memcmp(start, magic, sizeof magic) != 0)
        return refuse(error, "is none: it does not begin as one");
    if (!digest)
        return refuse(error, "is cut off in its first line");
    if (version != STATE_FORM_VERSION) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "the saved machine state has format version %u; this Lodge reads version %u",
                    version, STATE_FORM_VERSION);
        return false;
    }
    if (size != r->size || size > STATE_FORM_SIZE_MAX)
        return refuse(error, "has another length than it says: it is cut off or damaged");
    uint8_t have[STATE_DIGEST_SIZE];
    state_digest(r->data + HEAD_SIZE, r->size - HEAD_SIZE, have);
    if (memcmp(have, digest, STATE_DIGEST_SIZE) != 0)
        return refuse(error, "is damaged: its checksum is wrong");
    return *ret_records <= STATE_FORM_RECORDS_MAX || refuse(error, "has too many records");
}

static bool name_is_printable(const uint8_t *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (name[i] <= 0x20 || name[i] > 0x7e)
            return false;
    }
    return length > 0 && length <= NAME_MAX_LENGTH;
}

static bool read_record(ByteReader *r, GBytes *bytes, StateForm *form, GError **error)
{
    size_t length = byte_reader_le16(r);
    const uint8_t *text = byte_reader_take(r, length);
    size_t size = byte_reader_le32(r);
    size_t at = r->position;
    if (!text || !byte_reader_take(r, size))
        return refuse(error, "ends within a record");
    if (!name_is_printable(text, length))
        return refuse(error, "has a record whose name is impossible");
    g_autofree char *name = g_strndup((const char *)text, length);
    if (state_form_get(form, name))
        return refuse(error, "has the same record twice");
    g_autoptr(GBytes) part = g_bytes_new_from_bytes(bytes, at, size);
    state_form_add(form, name, part);
    return true;
}

StateForm *state_form_decode(GBytes *bytes, GError **error)
{
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);
    ByteReader r = byte_reader(data, size);
    uint32_t records;
    if (!check_head(&r, &records, error))
        return NULL;
    g_autoptr(StateForm) form = state_form_new();
    for (uint32_t i = 0; i < records; i++) {
        if (!read_record(&r, bytes, form, error))
            return NULL;
    }
    if (r.position != size) {
        refuse(error, "has bytes behind its last record");
        return NULL;
    }
    return g_steal_pointer(&form);
}
