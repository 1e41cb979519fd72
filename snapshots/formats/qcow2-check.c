// SPDX-License-Identifier: GPL-2.0-or-later
// Check and repair of a qcow2 image: every reference is counted and compared with what the refcount
// blocks say. Repair sets counts to what was counted (room that leaked comes back, clusters with
// two owners are copied before a write), or builds the refcount structure anew where its tables
// lead nowhere. Entries that point beyond the file are reported and left alone: what they should
// say cannot be known.
#include "snapshots/formats/qcow2-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

// 2 bytes each: what a check may take of memory.
#define CLUSTERS_MAX (UINT64_C(64) << 20)
#define COUNT_MAX    UINT16_MAX

typedef struct {
    Image *image;
    Qcow2 *q;
    ImageCheck *report;
    uint16_t *counts;
    uint64_t clusters; // in the file
    bool needs_rebuild;
    uint8_t *table; // one L2 table
} Check;

static void count_range(Check *c, const char *what, uint64_t offset, uint64_t length)
{
    if (!length)
        return;
    uint64_t end;
    if (!checked_add(offset, length, &end) || (end - 1) >> c->q->cluster_bits >= c->clusters) {
        image_check_error(c->report, "%s at %" G_GUINT64_FORMAT " lies beyond the end of the file",
                          what, offset);
        return;
    }
    for (uint64_t i = offset >> c->q->cluster_bits; i <= (end - 1) >> c->q->cluster_bits; i++)
        c->counts[i] = (uint16_t)MIN(c->counts[i] + 1, COUNT_MAX);
}

static void count_entry(Check *c, const uint8_t *raw, bool active)
{
    Qcow2 *q = c->q;
    uint64_t entry = be64_read(raw), host = entry & QCOW2_OFFSET_MASK;
    if (entry & QCOW2_COMPRESSED) {
        Qcow2Range packed = qcow2_packed_range(q, entry);
        uint64_t start = packed.offset & ~UINT64_C(511), end = packed.offset + packed.length;
        // The last sectors of a file need not be there.
        uint64_t file_end = c->clusters << q->cluster_bits;
        if (entry & QCOW2_COPIED)
            image_check_error(c->report, "a compressed cluster is marked as writable");
        count_range(c, "compressed data", start,
                    start < file_end ? MIN(end, file_end) - start : end - start);
        c->report->allocated += active ? q->cluster_size : 0;
        return;
    }
    if (q->extended) {
        uint64_t bitmap = be64_read(raw + 8);
        if (bitmap & bitmap >> 32 & UINT64_C(0xffffffff))
            image_check_error(c->report, "a subcluster is both data and zero");
        if ((bitmap & UINT64_C(0xffffffff)) && !host && q->data_file == c->image->file)
            image_check_error(c->report, "subclusters have data but no place");
    }
    if (!host)
        return;
    c->report->allocated += active ? q->cluster_size : 0;
    if (host % q->cluster_size)
        image_check_error(c->report, "data at %" G_GUINT64_FORMAT " does not begin at a cluster",
                          host);
    else if (q->data_file == c->image->file)
        count_range(c, "data", host, q->cluster_size);
}

static int count_table(Check *c, uint64_t table, bool active)
{
    Qcow2 *q = c->q;
    if (!qcow2_table_is_good(c->image, table)) {
        image_check_error(c->report,
                          "an L2 table at %" G_GUINT64_FORMAT " lies beyond the end of the file",
                          table);
        return 0;
    }
    count_range(c, "an L2 table", table, q->cluster_size);
    int result = image_file_read(c->image->file, table, c->table, (size_t)q->cluster_size);
    for (uint64_t at = 0; at < q->cluster_size && result == 0; at += q->entry_bytes)
        count_entry(c, c->table + at, active);
    return result;
}

static int count_l1(Check *c, uint64_t offset, uint32_t entries, bool active)
{
    size_t bytes = (size_t)entries * 8;
    count_range(c, "an L1 table", offset, bytes);
    g_autofree uint8_t *l1 = g_malloc(MAX(bytes, 8));
    int result = image_file_read(c->image->file, offset, l1, bytes);
    for (uint32_t i = 0; i < entries && result == 0; i++) {
        uint64_t table = be64_read(l1 + (size_t)i * 8) & QCOW2_OFFSET_MASK;
        if (table)
            result = count_table(c, table, active);
    }
    return result;
}

// Persistent bitmaps are not ours, but their room is taken.
static int count_bitmaps(Check *c)
{
    Qcow2Range directory = c->q->bitmaps;
    if (!directory.length)
        return 0;
    count_range(c, "the bitmap directory", directory.offset, directory.length);
    uint64_t at = directory.offset, end = directory.offset + directory.length;
    for (uint32_t i = 0; i < c->q->bitmap_count && at + 24 <= end; i++) {
        uint8_t head[24];
        int result = image_file_read(c->image->file, at, head, sizeof head);
        if (result < 0)
            return result;
        uint64_t table = be64_read(head), entries = be32_read(head + 8);
        count_range(c, "a bitmap table", table, entries * 8);
        for (uint64_t e = 0; e < entries && image_file_has(c->image->file, table + e * 8, 8); e++) {
            uint8_t raw[8];
            result = image_file_read(c->image->file, table + e * 8, raw, sizeof raw);
            if (result < 0)
                return result;
            uint64_t data = be64_read(raw) & QCOW2_OFFSET_MASK;
            if (data)
                count_range(c, "a bitmap", data, c->q->cluster_size);
        }
        uint64_t length = 24 + be16_read(head + 18) + (uint64_t)be32_read(head + 20);
        at += (length + 7) & ~UINT64_C(7);
    }
    return 0;
}

static int count_owners(Check *c)
{
    Qcow2 *q = c->q;
    count_range(c, "the header", 0, q->cluster_size);
    count_range(c, "the snapshot table", q->snapshot_table.offset, q->snapshot_table.length);
    int result = count_l1(c, q->l1_offset, q->l1_size, true);
    for (guint i = 0; i < q->snapshots->len && result == 0; i++) {
        const Qcow2Snapshot *snapshot = &g_array_index(q->snapshots, Qcow2Snapshot, i);
        result = count_l1(c, snapshot->l1_offset, snapshot->l1_size, false);
    }
    return result == 0 ? count_bitmaps(c) : result;
}

// Loads what the refcount table says, as far as it can be followed.
static bool load_table(Check *c)
{
    Qcow2 *q = c->q;
    g_autoptr(GError) problem = NULL;
    uint64_t bytes = (uint64_t)q->reftable_clusters * q->cluster_size;
    if (bytes == 0 || bytes > QCOW2_REFTABLE_BYTES_MAX || q->reftable_offset % q->cluster_size ||
        !image_file_has(c->image->file, q->reftable_offset, bytes)) {
        image_check_error(c->report, "the refcount table lies beyond the end of the file");
        return false;
    }
    bool good = qcow2_load_refcounts(c->image, &problem) || q->ref_cache != NULL;
    bool blocks_good = true;
    for (uint64_t i = 0; i < q->reftable_entries; i++)
        blocks_good =
            blocks_good && (!q->reftable[i] || qcow2_table_is_good(c->image, q->reftable[i]));
    if (!good || !blocks_good)
        image_check_error(c->report, "a refcount block lies beyond the end of the file");
    return good && blocks_good;
}

static void count_refcounts(Check *c)
{
    Qcow2 *q = c->q;
    count_range(c, "the refcount table", q->reftable_offset,
                (uint64_t)q->reftable_clusters * q->cluster_size);
    for (uint64_t i = 0; i < q->reftable_entries; i++) {
        if (q->reftable[i])
            count_range(c, "a refcount block", q->reftable[i], q->cluster_size);
    }
}

// Compares, and puts right where asked to and possible. Counts of clusters beyond the file, too.
static int compare(Check *c, bool repair)
{
    Qcow2 *q = c->q;
    uint64_t last = c->clusters, per_block = UINT64_C(1) << q->refblock_bits;
    for (uint64_t i = 0; i < q->reftable_entries; i++) {
        if (q->reftable[i])
            last = MAX(last, MIN((i + 1) * per_block, c->clusters + 2 * per_block));
    }
    for (uint64_t i = 0; i < last; i++) {
        uint64_t count, wanted = i < c->clusters ? c->counts[i] : 0;
        int result = qcow2_refcount(c->image, i, &count);
        if (result < 0)
            return result;
        if (count == wanted || (wanted == COUNT_MAX && count > wanted))
            continue;
        uint64_t offset = i << q->cluster_bits;
        if (count > wanted)
            image_check_leak(c->report,
                             "the cluster at %" G_GUINT64_FORMAT " has %" G_GUINT64_FORMAT
                             " references, but only %" G_GUINT64_FORMAT " are there",
                             offset, count, wanted);
        else
            image_check_error(c->report,
                              "the cluster at %" G_GUINT64_FORMAT " has %" G_GUINT64_FORMAT
                              " references, but %" G_GUINT64_FORMAT " are there",
                              offset, count, wanted);
        if (!repair)
            continue;
        uint64_t limit =
            q->refcount_order == 6 ? UINT64_MAX : (UINT64_C(1) << (1u << q->refcount_order)) - 1;
        if (!qcow2_has_refblock(q, i)) {
            c->needs_rebuild = true;
            return 0;
        }
        if (wanted > limit)
            continue;
        result = qcow2_set_refcount(c->image, i, wanted);
        if (result < 0)
            return result;
        c->report->repaired++;
    }
    return 0;
}

static int write_new_block(Check *c, uint64_t block, uint64_t offset, uint64_t last)
{
    Qcow2 *q = c->q;
    uint64_t per_block = UINT64_C(1) << q->refblock_bits;
    g_autofree uint8_t *bytes = g_malloc0((size_t)q->cluster_size);
    for (uint64_t i = 0; i < per_block; i++) {
        uint64_t cluster = block * per_block + i;
        // Behind the old end: the new structure itself, one reference each.
        uint64_t count = cluster < c->clusters ? c->counts[cluster] : cluster < last;
        qcow2_refcount_put(bytes, i, q->refcount_order, count);
    }
    return image_file_write(c->image->file, offset, bytes, (size_t)q->cluster_size);
}

// Writes a refcount structure for what was counted behind the end of the file; the header then
// names it. Nothing that was there before is touched.
static int rebuild(Check *c)
{
    Qcow2 *q = c->q;
    uint64_t blocks = 0, table_clusters = 0, last = c->clusters;
    for (;;) { // the structure counts itself
        uint64_t need = last / (UINT64_C(1) << q->refblock_bits) + 1;
        uint64_t need_table = (need * 8 + q->cluster_size - 1) / q->cluster_size;
        if (need == blocks && need_table == table_clusters)
            break;
        blocks = need;
        table_clusters = need_table;
        last = c->clusters + blocks + table_clusters;
    }
    if (table_clusters * q->cluster_size > QCOW2_REFTABLE_BYTES_MAX)
        return -EFBIG;
    uint64_t table = c->clusters << q->cluster_bits,
             first = table + table_clusters * q->cluster_size;
    g_autofree uint8_t *bytes = g_malloc0((size_t)(table_clusters * q->cluster_size));
    int result = 0;
    for (uint64_t i = 0; i < blocks && result == 0; i++) {
        uint64_t offset = first + (i << q->cluster_bits);
        be64_write(bytes + i * 8, offset);
        result = write_new_block(c, i, offset, last);
    }
    if (result == 0)
        result = image_file_write(c->image->file, table, bytes,
                                  (size_t)(table_clusters * q->cluster_size));
    if (result == 0)
        result = image_file_sync(c->image->file);
    uint8_t fields[12];
    be64_write(fields, table);
    be32_write(fields + 8, (uint32_t)table_clusters);
    if (result == 0)
        result = image_file_write(c->image->file, QCOW2_REFTABLE, fields, sizeof fields);
    if (result == 0)
        result = image_file_sync(c->image->file);
    if (result < 0)
        return result;
    q->reftable_offset = table;
    q->reftable_clusters = (uint32_t)table_clusters;
    return 0;
}

// COPIED of one L1 or L2 entry against the count of what it points to.
static bool fix_copied(Check *c, uint8_t *raw, const char *what, bool repair)
{
    uint64_t entry = be64_read(raw), host = entry & QCOW2_OFFSET_MASK;
    uint64_t index = host >> c->q->cluster_bits;
    if (!host || (entry & QCOW2_COMPRESSED) || host % c->q->cluster_size || index >= c->clusters)
        return false;
    bool copied = entry & QCOW2_COPIED, single = c->counts[index] == 1;
    if (copied == single)
        return false;
    if (copied)
        image_check_error(c->report, "%s at %" G_GUINT64_FORMAT " is shared but marked as writable",
                          what, host);
    else
        image_check_error(c->report, "%s at %" G_GUINT64_FORMAT " is not shared but marked so",
                          what, host);
    if (!repair)
        return false;
    be64_write(raw, entry ^ QCOW2_COPIED);
    c->report->repaired++;
    return true;
}

static int check_copied(Check *c, bool repair)
{
    Qcow2 *q = c->q;
    int result = 0;
    if (q->data_file != c->image->file)
        return 0;
    for (uint32_t i = 0; i < q->l1_size && result == 0; i++) {
        uint64_t table = q->l1[i] & QCOW2_OFFSET_MASK;
        if (!table || !qcow2_table_is_good(c->image, table))
            continue;
        uint8_t raw[8];
        be64_write(raw, q->l1[i]);
        if (fix_copied(c, raw, "an L2 table", repair)) {
            q->l1[i] = be64_read(raw);
            result = image_file_write(c->image->file, q->l1_offset + (uint64_t)i * 8, raw, 8);
        }
        if (result == 0)
            result = image_file_read(c->image->file, table, c->table, (size_t)q->cluster_size);
        bool changed = false;
        for (uint64_t at = 0; at < q->cluster_size && result == 0; at += q->entry_bytes)
            changed = fix_copied(c, c->table + at, "data", repair) || changed;
        if (result == 0 && changed)
            result = image_file_write(c->image->file, table, c->table, (size_t)q->cluster_size);
    }
    return result;
}

// The refcount structure was made anew: nothing of the old one counts, all leaks are mended.
static int replace_structure(Check *c)
{
    ImageCheck *report = c->report;
    int result = rebuild(c);
    if (result == 0)
        report->repaired = report->errors + report->leaks;
    return result;
}

static int run(Check *c, bool repair)
{
    int result = count_owners(c);
    uint64_t beyond_repair = c->report->errors;
    if (result < 0)
        return result;
    c->needs_rebuild = !load_table(c);
    if (!c->needs_rebuild) {
        g_autofree uint16_t *owners = g_memdup2(c->counts, (gsize)c->clusters * sizeof *c->counts);
        count_refcounts(c);
        result = compare(c, repair);
        if (c->needs_rebuild)
            memcpy(c->counts, owners, (size_t)c->clusters * sizeof *owners);
    }
    if (result == 0 && repair && c->needs_rebuild) {
        result = replace_structure(c);
        c->report->repaired -= MIN(c->report->repaired, beyond_repair);
    } else if (result == 0 && repair) {
        result = image_cache_write_back(c->q->ref_cache);
    }
    if (result == 0)
        result = check_copied(c, repair);
    if (result == 0 && repair)
        result = image_file_sync(c->image->file);
    return result;
}

static void note_marks(Check *c)
{
    if (c->q->incompatible & QCOW2_CORRUPT)
        image_check_error(c->report, "the image is marked as corrupt");
    if (c->q->incompatible & QCOW2_DIRTY)
        image_check_leak(c->report, "the image was not closed; its reference counts may be old");
}

static int clear_marks(Check *c)
{
    ImageCheck *report = c->report;
    uint64_t marks = c->q->incompatible & (QCOW2_CORRUPT | QCOW2_DIRTY);
    if (!marks ||
        report->repaired + (unsigned)__builtin_popcountll(marks) < report->errors + report->leaks)
        return 0;
    report->repaired += (unsigned)__builtin_popcountll(marks);
    return qcow2_set_incompatible(c->image, 0, marks);
}

bool qcow2_check(Image *image, bool repair, ImageCheck *check, GError **error)
{
    Qcow2 *q = image->state;
    Check c = { .image = image, .q = q, .report = check };
    c.clusters = (image_file_size(image->file) + q->cluster_size - 1) >> q->cluster_bits;
    if (c.clusters > CLUSTERS_MAX) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "has more than 64 million clusters, too many to check: convert it to one with "
                    "larger clusters");
        return false;
    }
    c.counts = g_new0(uint16_t, c.clusters);
    c.table = g_malloc((size_t)q->cluster_size);
    note_marks(&c);
    int result = run(&c, repair);
    if (result == 0 && repair)
        result = clear_marks(&c);
    g_free(c.counts);
    g_free(c.table);
    if (result < 0)
        image_error_errno(image, result, "checked", error);
    return result == 0;
}
