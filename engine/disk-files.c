// SPDX-License-Identifier: GPL-2.0-or-later
// See disk-files.h. What the disks say is the guest's: this runs locked in (disk-sandbox.h), and
// names are made harmless before they reach a terminal.
#include "engine/disk-files.h"

#include "engine/base/json-text.h"
#include "snapshots/filesystems/tree-compare.h"

static const char *const words[] = { "added", "deleted", "modified", "renamed" };
static const char letters[] = "ADMR";

static int read_volume(void *opaque, uint64_t offset, void *buffer, size_t size)
{
    return block_read_sync(opaque, offset, buffer, size);
}

// Takes what differs on a disk into what is made: text or a builder.
typedef void (*Append)(gpointer into, const char *disk, const DiskChanges *changes);

// ---- Text ----

static void append_name(GString *text, const char *name)
{
    g_autofree char *valid = g_utf8_make_valid(name, -1);
    for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);
        if (g_unichar_isprint(c))
            g_string_append_unichar(text, c);
        else
            g_string_append_printf(text, "\\x%02X", c);
    }
}

static void append_problems(GString *text, GPtrArray *problems)
{
    for (guint i = 0; i < problems->len; i++) {
        g_string_append(text, "  note: ");
        append_name(text, problems->pdata[i]);
        g_string_append_c(text, '\n');
    }
}

static void append_change(GString *text, const FileChange *change)
{
    g_string_append_printf(text, "%c ", letters[change->kind]);
    if (change->old_path) {
        append_name(text, change->old_path);
        g_string_append(text, " -> ");
    }
    append_name(text, change->path);
    g_string_append(text, change->is_directory ? "/\n" : "\n");
}

static void append_text(gpointer into, const char *disk, const DiskChanges *changes)
{
    GString *text = into;
    if (changes->problems->len)
        g_string_append_printf(text, "%s\n", disk);
    append_problems(text, changes->problems);
    for (guint i = 0; i < changes->partitions->len; i++) {
        const PartitionChanges *partition = changes->partitions->pdata[i];
        g_string_append(text, disk);
        if (partition->number)
            g_string_append_printf(text, ", partition %u", partition->number);
        g_string_append_printf(text, ": %s\n", partition->filesystem
                                                   ? partition->filesystem
                                                   : "no file system that can be compared");
        append_problems(text, partition->problems);
        for (guint j = 0; j < partition->changes->len; j++)
            append_change(text, partition->changes->pdata[j]);
    }
}

// ---- JSON ----

static void append_json_text(GString *json, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    json_append_string(json, valid);
}

static void append_json_problems(GString *json, GPtrArray *problems)
{
    g_string_append(json, "\"notes\": [");
    for (guint i = 0; i < problems->len; i++) {
        g_string_append(json, i ? ", " : "");
        append_json_text(json, problems->pdata[i]);
    }
    g_string_append_c(json, ']');
}

static void append_json_partition(GString *json, const PartitionChanges *partition)
{
    g_string_append_printf(json, "      { \"partition\": %u, \"filesystem\": ", partition->number);
    if (partition->filesystem)
        append_json_text(json, partition->filesystem);
    else
        g_string_append(json, "null");
    g_string_append(json, ", ");
    append_json_problems(json, partition->problems);
    g_string_append(json, ", \"changes\": [");
    for (guint i = 0; i < partition->changes->len; i++) {
        const FileChange *change = partition->changes->pdata[i];
        g_string_append_printf(json, "%s\n        { \"change\": \"%s\", \"directory\": %s, ",
                               i ? "," : "", words[change->kind],
                               change->is_directory ? "true" : "false");
        g_string_append(json, "\"path\": ");
        append_json_text(json, change->path);
        if (change->old_path) {
            g_string_append(json, ", \"from\": ");
            append_json_text(json, change->old_path);
        }
        g_string_append(json, " }");
    }
    g_string_append(json, "] }");
}

static void append_json(gpointer into, const char *disk, const DiskChanges *changes)
{
    GString *json = into;
    g_string_append(json, json->len > 1 ? ",\n  " : "\n  ");
    append_json_text(json, disk);
    g_string_append(json, ": {\n    ");
    append_json_problems(json, changes->problems);
    g_string_append(json, ",\n    \"partitions\": [");
    for (guint i = 0; i < changes->partitions->len; i++) {
        g_string_append(json, i ? ",\n" : "\n");
        append_json_partition(json, changes->partitions->pdata[i]);
    }
    g_string_append(json, "]\n  }");
}

// ---- For a program ----

static void add_valid(GVariantBuilder *b, const char *text)
{
    g_variant_builder_add_value(b, g_variant_new_take_string(g_utf8_make_valid(text, -1)));
}

static void add_problems(GVariantBuilder *b, GPtrArray *problems)
{
    g_variant_builder_open(b, G_VARIANT_TYPE_STRING_ARRAY);
    for (guint i = 0; i < problems->len; i++)
        add_valid(b, problems->pdata[i]);
    g_variant_builder_close(b);
}

static void add_partition(GVariantBuilder *b, const PartitionChanges *partition)
{
    g_variant_builder_open(b, G_VARIANT_TYPE("(usasa(ybss))"));
    g_variant_builder_add(b, "u", partition->number);
    g_variant_builder_add(b, "s", partition->filesystem ? partition->filesystem : "");
    add_problems(b, partition->problems);
    g_variant_builder_open(b, G_VARIANT_TYPE("a(ybss)"));
    for (guint i = 0; i < partition->changes->len; i++) {
        const FileChange *change = partition->changes->pdata[i];
        g_variant_builder_open(b, G_VARIANT_TYPE("(ybss)"));
        g_variant_builder_add(b, "y", letters[change->kind]);
        g_variant_builder_add(b, "b", change->is_directory);
        add_valid(b, change->path);
        add_valid(b, change->old_path ? change->old_path : "");
        g_variant_builder_close(b);
    }
    g_variant_builder_close(b);
    g_variant_builder_close(b);
}

static void add_disk(gpointer into, const char *disk, const DiskChanges *changes)
{
    GVariantBuilder *b = into;
    g_variant_builder_open(b, G_VARIANT_TYPE("(sasa(usasa(ybss)))"));
    add_valid(b, disk);
    add_problems(b, changes->problems);
    g_variant_builder_open(b, G_VARIANT_TYPE("a(usasa(ybss))"));
    for (guint i = 0; i < changes->partitions->len; i++)
        add_partition(b, changes->partitions->pdata[i]);
    g_variant_builder_close(b);
    g_variant_builder_close(b);
}

// ---- Disks ----

// NULL without an error where a node does not have the disk.
static BlockDevice *open_volume(Store *store, StoreNodeId node, const char *volume, GError **error)
{
    BlockDevice *device = store_volume_open(store, node, volume, NULL, error);
    if (!device && g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
        g_clear_error(error);
    return device;
}

// NULL without an error where one of both does not have the disk.
static DiskChanges *compare_volume(Store *store, const char *volume, StoreNodeId before,
                                   StoreNodeId after, GError **error)
{
    BlockDevice *one = open_volume(store, before, volume, error);
    BlockDevice *two = one ? open_volume(store, after, volume, error) : NULL;
    DiskChanges *changes = NULL;
    if (two) {
        g_autoptr(DiskReader) a = disk_reader_new(read_volume, one, block_size(one));
        g_autoptr(DiskReader) b = disk_reader_new(read_volume, two, block_size(two));
        changes = disk_compare(a, b);
    }
    block_close(two);
    block_close(one);
    return changes;
}

static bool compare_all(Store *store, StoreNodeId before, StoreNodeId after, Append append,
                        gpointer into, GError **error)
{
    g_autoptr(GPtrArray) volumes = store_volume_list(store);
    for (guint i = 0; i < volumes->len; i++) {
        const StoreVolume *volume = volumes->pdata[i];
        if (volume->kind != STORE_DISK)
            continue;
        GError *problem = NULL;
        g_autoptr(DiskChanges) changes =
            compare_volume(store, volume->name, before, after, &problem);
        if (problem) {
            g_propagate_error(error, problem);
            return false;
        }
        if (changes)
            append(into, volume->name, changes);
    }
    return true;
}

static bool compare(const char *path, StoreNodeId before, StoreNodeId after, Append append,
                    gpointer into, GError **error)
{
    StoreOpen options = { .path = path, .read_only = true };
    Store *store = store_open(&options, error);
    bool done = store && compare_all(store, before, after, append, into, error);
    store_close(store);
    return done;
}

char *disk_files_compare(const char *store, StoreNodeId before, StoreNodeId after, bool json,
                         GError **error)
{
    g_autoptr(GString) text = g_string_new(json ? "{" : "");
    bool done = compare(store, before, after, json ? append_json : append_text, text, error);
    if (json)
        g_string_append(text, "\n}\n");
    return done ? g_strdup(text->str) : NULL;
}

GVariant *disk_files_compare_variant(const char *store, StoreNodeId before, StoreNodeId after,
                                     GError **error)
{
    g_auto(GVariantBuilder) b = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE("a(sasa(usasa(ybss)))"));
    if (!compare(store, before, after, add_disk, &b, error))
        return NULL;
    return g_variant_ref_sink(g_variant_builder_end(&b));
}
