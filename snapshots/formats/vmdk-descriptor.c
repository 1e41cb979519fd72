// SPDX-License-Identifier: GPL-2.0-or-later
// The text that describes a VMDK: what kind it is, of which extents it consists, what it stands on.
// Lines that say nothing about the data (ddb.*, comments) are passed over.
#include "snapshots/formats/vmdk-private.h"

#include <gio/gio.h>
#include <string.h>

#define EXTENTS_MAX 4096u

static bool refuse(Image *image, GError **error, const char *line)
{
    g_autofree char *escaped = g_strescape(line, NULL);
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "has a damaged VMDK descriptor: the line '%.60s' says nothing that can be; restore "
                "it from a copy",
                escaped);
    return false;
}

static void clear_line(void *opaque)
{
    VmdkExtentLine *line = opaque;
    g_free(line->file);
}

void vmdk_descriptor_clear(VmdkDescriptor *descriptor)
{
    g_free(descriptor->create_type);
    g_free(descriptor->parent_hint);
    if (descriptor->extents)
        g_array_unref(descriptor->extents);
}

// key = "value" or key=value. The value, or NULL where it is another key's line.
static char *value_of(const char *line, const char *key)
{
    size_t length = strlen(key);
    if (g_ascii_strncasecmp(line, key, length) != 0)
        return NULL;
    const char *rest = line + length;
    while (*rest == ' ' || *rest == '\t')
        rest++;
    if (*rest != '=')
        return NULL;
    char *value = g_strstrip(g_strdup(rest + 1));
    size_t size = strlen(value);
    if (size >= 2 && value[0] == '"' && value[size - 1] == '"') {
        memmove(value, value + 1, size - 2);
        value[size - 2] = 0;
    }
    return value;
}

// One word, or text in quotes; moves on behind it. NULL at the end.
static char *next_word(const char **at)
{
    const char *p = *at;
    while (*p == ' ' || *p == '\t')
        p++;
    if (!*p)
        return NULL;
    const char *start = p;
    char *word;
    if (*p == '"') {
        const char *end = strchr(p + 1, '"');
        if (!end)
            return NULL;
        word = g_strndup(p + 1, (gsize)(end - p - 1));
        p = end + 1;
    } else {
        while (*p && *p != ' ' && *p != '\t')
            p++;
        word = g_strndup(start, (gsize)(p - start));
    }
    *at = p;
    return word;
}

static bool read_number(const char *word, uint64_t max, uint64_t *ret_number)
{
    guint64 number;
    if (!word || !g_ascii_string_to_unsigned(word, 10, 0, max, &number, NULL))
        return false;
    *ret_number = number;
    return true;
}

static bool extent_type(Image *image, const char *word, VmdkExtentType *ret_type, GError **error)
{
    if (g_str_equal(word, "SPARSE"))
        *ret_type = VMDK_SPARSE;
    else if (g_str_equal(word, "FLAT") || g_str_equal(word, "VMFS"))
        *ret_type = VMDK_FLAT;
    else if (g_str_equal(word, "ZERO"))
        *ret_type = VMDK_ZERO;
    else {
        g_autofree char *escaped = g_strescape(word, NULL);
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "has an extent of type %.40s, which is not supported: convert it with "
                    "'vmkfstools -i' or vmware-vdiskmanager",
                    escaped);
        return false;
    }
    return true;
}

// RW 4192256 SPARSE "disk-s001.vmdk" [0]
static bool parse_extent(Image *image, const char *line, VmdkDescriptor *d, GError **error)
{
    const char *at = line;
    g_autofree char *access = next_word(&at);
    g_autofree char *sectors = next_word(&at);
    g_autofree char *type = next_word(&at);
    g_autofree char *file = next_word(&at);
    g_autofree char *offset = next_word(&at);
    VmdkExtentLine extent = { 0 };
    if (!type || !read_number(sectors, UINT64_C(1) << 51, &extent.sectors) || !extent.sectors)
        return refuse(image, error, line);
    if (g_str_equal(access, "NOACCESS"))
        type[0] = 0;
    if (!extent_type(image, *type ? type : "ZERO", &extent.type, error))
        return false;
    if (extent.type != VMDK_ZERO && (!file || !*file))
        return refuse(image, error, line);
    if (offset && extent.type == VMDK_FLAT &&
        !read_number(offset, UINT64_C(1) << 51, &extent.offset))
        return refuse(image, error, line);
    if (d->extents->len >= EXTENTS_MAX)
        return refuse(image, error, line);
    extent.file = extent.type == VMDK_ZERO ? NULL : g_steal_pointer(&file);
    g_array_append_val(d->extents, extent);
    return true;
}

static bool parse_cid(const char *value, uint32_t *ret_cid)
{
    guint64 number;
    if (!g_ascii_string_to_unsigned(value, 16, 0, UINT32_MAX, &number, NULL))
        return false;
    *ret_cid = (uint32_t)number;
    return true;
}

static bool parse_line(Image *image, const char *line, VmdkDescriptor *d, GError **error)
{
    if (g_str_has_prefix(line, "RW ") || g_str_has_prefix(line, "RDONLY ") ||
        g_str_has_prefix(line, "NOACCESS "))
        return parse_extent(image, line, d, error);
    g_autofree char *cid = value_of(line, "CID");
    g_autofree char *parent_cid = value_of(line, "parentCID");
    g_autofree char *type = value_of(line, "createType");
    g_autofree char *hint = value_of(line, "parentFileNameHint");
    if ((cid && !parse_cid(cid, &d->cid)) || (parent_cid && !parse_cid(parent_cid, &d->parent_cid)))
        return refuse(image, error, line);
    if (type) {
        g_free(d->create_type);
        d->create_type = g_steal_pointer(&type);
    }
    if (hint) {
        g_free(d->parent_hint);
        d->parent_hint = g_steal_pointer(&hint);
    }
    return true;
}

bool vmdk_descriptor_parse(Image *image, const char *text, VmdkDescriptor *ret_descriptor,
                           GError **error)
{
    VmdkDescriptor d = { .parent_cid = UINT32_MAX };
    d.extents = g_array_new(FALSE, FALSE, sizeof(VmdkExtentLine));
    g_array_set_clear_func(d.extents, clear_line);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    bool good = true;
    for (char **line = lines; *line && good; line++) {
        g_strstrip(*line);
        good = parse_line(image, *line, &d, error);
    }
    if (good && !d.extents->len) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "has a damaged VMDK descriptor: it names no extents; restore it from a copy");
        good = false;
    }
    if (good)
        *ret_descriptor = d;
    else
        vmdk_descriptor_clear(&d);
    return good;
}
