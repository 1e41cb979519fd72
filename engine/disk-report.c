// SPDX-License-Identifier: GPL-2.0-or-later
// See disk-report.h.
#include "engine/disk-report.h"

#include "engine/base/json-text.h"

#include <sys/stat.h>

static uint64_t taken_on_disk(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static char *size_text(uint64_t bytes)
{
    return g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS | G_FORMAT_SIZE_LONG_FORMAT);
}

static void append_text(GString *text, Image *image, const char *indent)
{
    ImageInfo info;
    image_info(image, &info);
    g_autofree char *size = size_text(image_size(image));
    g_autofree char *taken = size_text(taken_on_disk(image_path(image)));
    g_string_append_printf(text, "%sfile       %s\n", indent, image_path(image));
    g_string_append_printf(text, "%sformat     %s%s%s%s\n", indent, info.format,
                           info.features->len ? " (" : "", info.features->str,
                           info.features->len ? ")" : "");
    g_string_append_printf(text, "%sdisk       %s\n%son host    %s\n", indent, size, indent, taken);
    if (info.unit) {
        g_autofree char *unit = g_format_size_full(info.unit, G_FORMAT_SIZE_IEC_UNITS);
        g_string_append_printf(text, "%sunit       %s\n", indent, unit);
    }
    if (info.snapshots)
        g_string_append_printf(text, "%ssnapshots  %" G_GUINT64_FORMAT "\n", indent,
                               info.snapshots);
    g_string_append_printf(text, "%swritable   %s\n", indent,
                           info.writable ? "yes" : "no, Lodge only reads it");
    if (info.corrupt)
        g_string_append_printf(text, "%sstate      marked as corrupt\n", indent);
    else if (info.dirty)
        g_string_append_printf(text, "%sstate      was not closed\n", indent);
    if (info.backing_name)
        g_string_append_printf(text, "%sstands on  %s\n", indent, info.backing_name);
    image_info_clear(&info);
}

char *disk_report_text(Image *image)
{
    GString *text = g_string_new(NULL);
    append_text(text, image, "");
    for (Image *below = image_backing(image); below; below = image_backing(below)) {
        g_string_append_c(text, '\n');
        append_text(text, below, "  ");
    }
    return g_string_free(text, FALSE);
}

static void append_member(GString *json, const char *name, const char *value)
{
    g_string_append_printf(json, "\"%s\": ", name);
    if (value)
        json_append_string(json, value);
    else
        g_string_append(json, "null");
    g_string_append(json, ", ");
}

static void append_json(GString *json, Image *image)
{
    ImageInfo info;
    image_info(image, &info);
    g_string_append_c(json, '{');
    append_member(json, "file", image_path(image));
    append_member(json, "format", info.format);
    append_member(json, "features", info.features->str);
    append_member(json, "backing_name", info.backing_name);
    g_string_append_printf(json,
                           "\"size\": %" G_GUINT64_FORMAT ", \"on_host\": %" G_GUINT64_FORMAT
                           ", \"unit\": %" G_GUINT64_FORMAT ", \"snapshots\": %" G_GUINT64_FORMAT
                           ", \"writable\": %s, \"dirty\": %s, \"corrupt\": %s, \"backing\": ",
                           image_size(image), taken_on_disk(image_path(image)), info.unit,
                           info.snapshots, info.writable ? "true" : "false",
                           info.dirty ? "true" : "false", info.corrupt ? "true" : "false");
    if (image_backing(image))
        append_json(json, image_backing(image));
    else
        g_string_append(json, "null");
    g_string_append_c(json, '}');
    image_info_clear(&info);
}

char *disk_report_json(Image *image)
{
    GString *json = g_string_new(NULL);
    append_json(json, image);
    g_string_append_c(json, '\n');
    return g_string_free(json, FALSE);
}

char *disk_check_text(Image *image, const ImageCheck *check)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < check->messages->len; i++)
        g_string_append_printf(text, "%s\n", (const char *)check->messages->pdata[i]);
    if (check->errors + check->leaks == 0)
        g_string_append(text, "No damage found.\n");
    else
        g_string_append_printf(text,
                               "%" G_GUINT64_FORMAT " errors, %" G_GUINT64_FORMAT
                               " leaks; %" G_GUINT64_FORMAT " repaired.\n",
                               check->errors, check->leaks, check->repaired);
    g_autofree char *size = g_format_size_full(image_size(image), G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *held = g_format_size_full(check->allocated, G_FORMAT_SIZE_IEC_UNITS);
    g_string_append_printf(text, "%s of a disk of %s are in the image.\n", held, size);
    return g_string_free(text, FALSE);
}

char *disk_check_json(Image *image, const ImageCheck *check)
{
    GString *json = g_string_new("{");
    append_member(json, "file", image_path(image));
    append_member(json, "format", image_format(image));
    g_string_append_printf(json,
                           "\"errors\": %" G_GUINT64_FORMAT ", \"leaks\": %" G_GUINT64_FORMAT
                           ", \"repaired\": %" G_GUINT64_FORMAT ", \"size\": %" G_GUINT64_FORMAT
                           ", \"allocated\": %" G_GUINT64_FORMAT ", \"messages\": [",
                           check->errors, check->leaks, check->repaired, image_size(image),
                           check->allocated);
    for (guint i = 0; i < check->messages->len; i++) {
        g_string_append(json, i ? ", " : "");
        json_append_string(json, check->messages->pdata[i]);
    }
    g_string_append(json, "]}\n");
    return g_string_free(json, FALSE);
}

char *disk_made_json(const char *disk, const char *file, const char *format, uint64_t size)
{
    GString *json = g_string_new("{");
    append_member(json, "disk", disk);
    append_member(json, "file", file);
    append_member(json, "format", format);
    g_string_append_printf(json, "\"size\": %" G_GUINT64_FORMAT "}\n", size);
    return g_string_free(json, FALSE);
}
