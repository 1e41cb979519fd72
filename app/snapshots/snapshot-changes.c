// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshot-changes.h.
#include "app/snapshots/snapshot-changes.h"

#include <glib/gi18n.h>
#include <string.h>

G_DEFINE_FINAL_TYPE(SnapshotChange, snapshot_change, G_TYPE_OBJECT)

static void snapshot_change_finalize(GObject *object)
{
    SnapshotChange *self = SNAPSHOT_CHANGE(object);
    g_free(self->title);
    g_free(self->detail);
    G_OBJECT_CLASS(snapshot_change_parent_class)->finalize(object);
}

static void snapshot_change_class_init(SnapshotChangeClass *klass)
{
    G_OBJECT_CLASS(klass)->finalize = snapshot_change_finalize;
}

static void snapshot_change_init(SnapshotChange *self)
{
    self->word = "";
}

// ---- Rows ----

// Takes title and detail over.
static SnapshotChange *add_row(GPtrArray *rows, SnapshotChangeKind kind, char *title, char *detail)
{
    SnapshotChange *row = g_object_new(SNAPSHOT_TYPE_CHANGE, NULL);
    row->kind = kind;
    row->title = title;
    row->detail = detail;
    g_ptr_array_add(rows, row);
    return row;
}

// Names of files may hold line ends and what turns the direction of writing round.
static char *harmless(const char *name)
{
    GString *text = g_string_new(NULL);
    for (const char *at = name; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);
        if (g_unichar_isprint(c) && g_unichar_type(c) != G_UNICODE_FORMAT)
            g_string_append_unichar(text, c);
        else
            g_string_append_printf(text, "\\x%02X", c);
    }
    return g_string_free(text, FALSE);
}

static void add_notes(GPtrArray *rows, GVariant *notes)
{
    GVariantIter iter;
    const char *note;
    g_variant_iter_init(&iter, notes);
    while (g_variant_iter_next(&iter, "&s", &note))
        add_row(rows, SNAPSHOT_CHANGE_NOTE, harmless(note), g_strdup(""));
}

static const char *word_of(guint8 letter)
{
    return letter == 'A'   ? _("Added")
           : letter == 'D' ? _("Deleted")
           : letter == 'R' ? _("Renamed")
                           : _("Changed");
}

static void add_files(GPtrArray *rows, GVariant *changes)
{
    GVariantIter iter;
    guint8 letter;
    gboolean is_directory;
    const char *path, *old_path;
    g_variant_iter_init(&iter, changes);
    while (g_variant_iter_next(&iter, "(yb&s&s)", &letter, &is_directory, &path, &old_path)) {
        g_autofree char *name = harmless(path), *old = harmless(old_path);
        SnapshotChange *row =
            add_row(rows, SNAPSHOT_CHANGE_FILE, g_strconcat(name, is_directory ? "/" : "", NULL),
                    *old ? g_strdup_printf(_("was %s"), old) : g_strdup(""));
        row->word = word_of(letter);
    }
}

static char *count_files(gsize count, const char *filesystem)
{
    if (!*filesystem)
        return g_strdup(_("No file system whose files can be compared"));
    if (count == 0)
        return g_strdup_printf(_("%s, no file differs"), filesystem);
    return g_strdup_printf(g_dngettext(GETTEXT_PACKAGE, "%s, %u file or folder differs",
                                       "%s, %u files or folders differ", count),
                           filesystem, (guint)count);
}

static void add_partitions(GPtrArray *rows, const char *disk, GVariant *partitions)
{
    for (gsize i = 0; i < g_variant_n_children(partitions); i++) {
        guint32 number;
        const char *filesystem;
        g_autoptr(GVariant) notes = NULL, changes = NULL;
        g_autoptr(GVariant) partition = g_variant_get_child_value(partitions, i);
        g_variant_get(partition, "(u&s@as@a(ybss))", &number, &filesystem, &notes, &changes);
        add_row(rows, SNAPSHOT_CHANGE_PARTITION,
                number ? g_strdup_printf(_("%s, Partition %u"), disk, number)
                       : g_strdup_printf(_("%s, Without Partitions"), disk),
                count_files(g_variant_n_children(changes), filesystem));
        add_notes(rows, notes);
        add_files(rows, changes);
    }
}

static void add_disk_files(GPtrArray *rows, const char *disk, GVariant *files)
{
    for (gsize i = 0; i < g_variant_n_children(files); i++) {
        const char *name;
        g_autoptr(GVariant) notes = NULL, partitions = NULL;
        g_autoptr(GVariant) child = g_variant_get_child_value(files, i);
        g_variant_get(child, "(&s@as@a(usasa(ybss)))", &name, &notes, &partitions);
        if (!g_str_equal(name, disk))
            continue;
        add_notes(rows, notes);
        add_partitions(rows, disk, partitions);
    }
}

static char *count_blocks(GVariant *ranges)
{
    GVariantIter iter;
    guint64 offset, length, sum = 0;
    gsize count = g_variant_n_children(ranges);
    g_variant_iter_init(&iter, ranges);
    while (g_variant_iter_next(&iter, "(tt)", &offset, &length))
        sum += length;
    g_autofree char *size = g_format_size_full(sum, G_FORMAT_SIZE_IEC_UNITS);
    return g_strdup_printf(g_dngettext(GETTEXT_PACKAGE, "%s differ, in %u place",
                                       "%s differ, in %u places", count),
                           size, (guint)count);
}

GPtrArray *snapshot_changes_rows(GVariant *blocks, GVariant *files)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func(g_object_unref);
    for (gsize i = 0; i < g_variant_n_children(blocks); i++) {
        const char *disk;
        g_autoptr(GVariant) ranges = NULL;
        g_autoptr(GVariant) child = g_variant_get_child_value(blocks, i);
        g_variant_get(child, "{&s@a(tt)}", &disk, &ranges);
        if (g_variant_n_children(ranges) == 0)
            continue;
        add_row(rows, SNAPSHOT_CHANGE_DISK, g_strdup(disk), count_blocks(ranges));
        add_disk_files(rows, disk, files);
    }
    return rows;
}

// ---- The search ----

static gboolean holds(const char *text, const char *folded)
{
    g_autofree char *own = g_utf8_casefold(text, -1);
    return strstr(own, folded) != NULL;
}

static void add_once(GPtrArray *found, SnapshotChange **heading)
{
    if (*heading)
        g_ptr_array_add(found, g_object_ref(*heading));
    *heading = NULL;
}

GPtrArray *snapshot_changes_filter(GPtrArray *rows, const char *text)
{
    GPtrArray *found = g_ptr_array_new_with_free_func(g_object_unref);
    g_autofree char *folded = g_utf8_casefold(text, -1);
    SnapshotChange *disk = NULL, *partition = NULL; // that are not among them yet
    for (guint i = 0; i < rows->len; i++) {
        SnapshotChange *row = rows->pdata[i];
        if (!*folded) {
            g_ptr_array_add(found, g_object_ref(row));
        } else if (row->kind == SNAPSHOT_CHANGE_DISK) {
            disk = row;
            partition = NULL;
        } else if (row->kind == SNAPSHOT_CHANGE_PARTITION) {
            partition = row;
        } else if (row->kind == SNAPSHOT_CHANGE_FILE &&
                   (holds(row->title, folded) || holds(row->detail, folded))) {
            add_once(found, &disk);
            add_once(found, &partition);
            g_ptr_array_add(found, g_object_ref(row));
        }
    }
    return found;
}
