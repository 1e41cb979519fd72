// SPDX-License-Identifier: GPL-2.0-or-later
// Changes of a qcow2 image. What reaches the file, in what order, so that it is whole after a power
// cut at any moment:
//
//   data -> refcount blocks -> refcount table -> L2 tables -> L1 table
//
// with a sync between. Tables change in memory (image-cache.h) and go out at the guest's flush;
// data goes out at once, into clusters that nothing on disk names yet or that are written in place.
// What is given up is reused only after the tables that no longer name it are out. A cut may
// therefore leak room but never lets two owners have one cluster. The dirty bit is not needed.
#include "snapshots/formats/qcow2-private.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define DIRTY_MAX 512u // pages of tables held back before they are written without being asked

typedef struct {
    uint64_t position; // of the L2 entry in the file
    uint64_t entry;
    uint64_t bitmap; // of subclusters
} Slot;

bool qcow2_needs_flush(Image *image)
{
    const Qcow2 *q = image->state;
    return q->l1_dirty || q->reftable_dirty || q->pending->len || image_cache_dirty(q->l2_cache) ||
           image_cache_dirty(q->ref_cache);
}

static int write_table(Image *image, uint64_t offset, const uint64_t *table, uint64_t entries)
{
    g_autofree uint8_t *bytes = g_malloc((size_t)entries * 8);
    for (uint64_t i = 0; i < entries; i++)
        be64_write(bytes + i * 8, table[i]);
    return image_file_write(image->file, offset, bytes, (size_t)entries * 8);
}

static int write_back(Image *image, ImageCache *cache)
{
    if (!image_cache_dirty(cache))
        return 0;
    int result = image_cache_write_back(cache);
    return result < 0 ? result : image_file_sync(image->file);
}

// The caller has synced the data.
static int write_tables(Image *image)
{
    Qcow2 *q = image->state;
    int result = write_back(image, q->ref_cache);
    if (result == 0 && q->reftable_dirty) {
        result = write_table(image, q->reftable_offset, q->reftable, q->reftable_entries);
        if (result == 0)
            result = image_file_sync(image->file);
        q->reftable_dirty = result < 0;
    }
    if (result == 0)
        result = write_back(image, q->l2_cache);
    if (result == 0 && q->l1_dirty) {
        result = write_table(image, q->l1_offset, q->l1, q->l1_size);
        if (result == 0)
            result = image_file_sync(image->file);
        q->l1_dirty = result < 0;
    }
    return result;
}

int qcow2_flush(Image *image)
{
    Qcow2 *q = image->state;
    int result = write_tables(image);
    if (result == 0)
        result = qcow2_free_pending(image);
    // Counts that went down may reach the disk whenever they like.
    if (result == 0)
        result = image_cache_write_back(q->ref_cache);
    return result;
}

static int limit_dirty(Image *image)
{
    Qcow2 *q = image->state;
    if (image_cache_dirty(q->l2_cache) + image_cache_dirty(q->ref_cache) < DIRTY_MAX &&
        q->pending->len < 65536)
        return 0;
    int result = image_file_sync(image->file);
    return result < 0 ? result : qcow2_flush(image);
}

// An L2 table that is this image's alone, made or copied where it is not.
static int own_table(Image *image, uint64_t offset, uint64_t *ret_table)
{
    Qcow2 *q = image->state;
    uint64_t *entry = &q->l1[offset >> (q->cluster_bits + q->l2_bits)];
    uint64_t old = *entry & QCOW2_OFFSET_MASK, table;
    if (old && (*entry & QCOW2_COPIED)) {
        *ret_table = old;
        return 0;
    }
    int result = qcow2_allocate(image, &table);
    if (result < 0)
        return result;
    if (old) {
        g_autofree uint8_t *copy = g_malloc((size_t)q->cluster_size);
        result = image_cache_read(q->l2_cache, old, copy, (size_t)q->cluster_size);
        if (result == 0)
            result = image_cache_write(q->l2_cache, table, copy, (size_t)q->cluster_size);
    } else {
        result = image_cache_zero(q->l2_cache, table, q->cluster_size);
    }
    if (result < 0)
        return result;
    qcow2_metadata_add(q, table, q->cluster_size);
    if (old)
        qcow2_free_later(image, old, q->cluster_size);
    *entry = table | QCOW2_COPIED;
    q->l1_dirty = true;
    *ret_table = table;
    return 0;
}

static int read_slot(Image *image, uint64_t offset, Slot *ret_slot)
{
    Qcow2 *q = image->state;
    uint64_t table;
    int result = own_table(image, offset, &table);
    if (result < 0)
        return result;
    uint64_t index = offset >> q->cluster_bits & ((UINT64_C(1) << q->l2_bits) - 1);
    uint8_t raw[16] = { 0 };
    ret_slot->position = table + index * q->entry_bytes;
    result = image_cache_read(q->l2_cache, ret_slot->position, raw, q->entry_bytes);
    ret_slot->entry = be64_read(raw);
    ret_slot->bitmap = q->extended ? be64_read(raw + 8) : 0;
    return result;
}

static int store_slot(Image *image, const Slot *slot)
{
    Qcow2 *q = image->state;
    uint8_t raw[16];
    be64_write(raw, slot->entry);
    be64_write(raw + 8, slot->bitmap);
    return image_cache_write(q->l2_cache, slot->position, raw, q->entry_bytes);
}

static void free_old(Image *image, uint64_t entry)
{
    Qcow2 *q = image->state;
    if (entry & QCOW2_COMPRESSED) {
        Qcow2Range packed = qcow2_packed_range(q, entry);
        uint64_t start = packed.offset & ~UINT64_C(511);
        qcow2_free_later(image, start, packed.offset + packed.length - start);
    } else if (entry & QCOW2_OFFSET_MASK) {
        qcow2_free_later(image, entry & QCOW2_OFFSET_MASK, q->cluster_size);
    }
}

// Bytes [start, end) of a cluster as they will be: the old ones with the new ones laid over.
static uint8_t *merge(Image *image, uint64_t cluster, uint64_t start, uint64_t end, uint64_t offset,
                      const uint8_t *bytes, size_t size, int *ret_result)
{
    g_autofree uint8_t *merged = g_malloc((size_t)(end - start));
    uint64_t from = cluster + start, to = MIN(cluster + end, image->size);
    uint64_t data_end = offset + size;
    int result = 0;
    if (from < offset)
        result = image_read_locked(image, from, merged, (size_t)(offset - from));
    memcpy(merged + (offset - from), bytes, size);
    if (result == 0 && data_end < to)
        result =
            image_read_locked(image, data_end, merged + (data_end - from), (size_t)(to - data_end));
    if (to < cluster + end)
        memset(merged + (to - from), 0, (size_t)(cluster + end - to));
    *ret_result = result;
    return result < 0 ? NULL : g_steal_pointer(&merged);
}

// What of the old cluster's range outside of the new bytes is known to be zero.
static bool old_is_zero(Image *image, uint64_t offset)
{
    const Qcow2 *q = image->state;
    ImageMapping mapping;
    if (q->extended && image->backing) // neighbouring subclusters may differ
        return false;
    return qcow2_map(image, offset, 512, &mapping) == 0 &&
           (mapping.kind == MAP_ZERO || (mapping.kind == MAP_BACKING && !image->backing));
}

int qcow2_write(Image *image, uint64_t offset, const uint8_t *bytes, size_t size, size_t *ret_done)
{
    Qcow2 *q = image->state;
    if (q->stopped)
        return -EIO;
    int result = limit_dirty(image);
    if (result < 0)
        return result;
    uint64_t cluster = offset & ~(q->cluster_size - 1), within = offset - cluster;
    size_t count = (size_t)MIN(size, q->cluster_size - within);
    Slot slot;
    result = read_slot(image, offset, &slot);
    if (result < 0)
        return result;
    bool packed = slot.entry & QCOW2_COMPRESSED;
    uint64_t host = packed ? 0 : slot.entry & QCOW2_OFFSET_MASK;
    bool reuse = host && (slot.entry & QCOW2_COPIED);
    // Subclusters that nobody has written stay as they are, unless they would be lost.
    uint64_t sub = UINT64_C(1) << q->sub_bits;
    bool whole = packed || (host && !reuse);
    uint64_t start = whole ? 0 : within & ~(sub - 1);
    uint64_t end = whole ? q->cluster_size : (within + count + sub - 1) & ~(sub - 1);
    uint64_t position = host;
    if (!reuse) {
        result = qcow2_allocate(image, &position);
        if (result < 0)
            return result;
    }
    if (qcow2_metadata_hit(q, position, q->cluster_size))
        return qcow2_damage(image, "data would lie over its tables", position);
    if (!reuse && !host && !packed && position >= image_file_size(image->file) &&
        old_is_zero(image, offset)) {
        // Beyond the end of the file there are zeros already.
        result = image_file_write(image->file, position + within, bytes, count);
    } else if (start == within && end == within + count) {
        result = image_file_write(image->file, position + within, bytes, count);
    } else {
        g_autofree uint8_t *merged =
            merge(image, cluster, start, end, offset, bytes, count, &result);
        if (merged)
            result = image_file_write(image->file, position + start, merged, (size_t)(end - start));
    }
    if (result < 0) {
        if (!reuse)
            qcow2_free_later(image, position, q->cluster_size);
        return result;
    }
    if (!reuse)
        free_old(image, slot.entry);
    slot.entry = position | QCOW2_COPIED;
    if (q->extended) {
        unsigned first = (unsigned)(start >> q->sub_bits), last = (unsigned)(end >> q->sub_bits);
        uint64_t mask = (last == 32 ? UINT64_C(0xffffffff) : (UINT64_C(1) << last) - 1) &
                        ~((UINT64_C(1) << first) - 1);
        slot.bitmap = whole ? mask : (slot.bitmap | mask) & ~(mask << 32);
    }
    if (packed)
        image_forget_unpacked(image, cluster);
    *ret_done = count;
    return store_slot(image, &slot);
}

// A whole cluster. Without a backing image it becomes unallocated, with one it becomes zero.
static int discard_cluster(Image *image, uint64_t cluster)
{
    Qcow2 *q = image->state;
    bool shadows = image->backing && cluster < image->backing->size;
    ImageMapping mapping;
    int result = qcow2_map(image, cluster, q->cluster_size, &mapping);
    if (result < 0)
        return result;
    if (mapping.length >= MIN(q->cluster_size, image->size - cluster) &&
        (mapping.kind == MAP_ZERO || (mapping.kind == MAP_BACKING && !shadows)))
        return 0;
    if (shadows && q->version < 3)
        return 0; // cannot say "zero" without room for it: the hint is not taken
    Slot slot;
    result = read_slot(image, cluster, &slot);
    if (result < 0)
        return result;
    free_old(image, slot.entry);
    image_forget_unpacked(image, cluster);
    slot.entry = shadows && !q->extended ? QCOW2_READS_ZERO : 0;
    slot.bitmap = shadows ? UINT64_C(0xffffffff) << 32 : 0;
    return store_slot(image, &slot);
}

int qcow2_discard(Image *image, uint64_t offset, uint64_t length)
{
    Qcow2 *q = image->state;
    if (q->stopped)
        return -EIO;
    uint64_t end = offset + length, span = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
    uint64_t at = (offset + q->cluster_size - 1) & ~(q->cluster_size - 1);
    while (at < end && (at + q->cluster_size <= end || end == image->size)) {
        if (!q->l1[at / span] && !image->backing) {
            at = at / span * span + span; // nothing in this L2 table's whole range
            continue;
        }
        int result = limit_dirty(image);
        if (result == 0)
            result = discard_cluster(image, at);
        if (result < 0)
            return result;
        at += q->cluster_size;
    }
    return 0;
}

// A longer L1 table, and the header that names it.
static int grow_l1(Image *image, uint64_t entries)
{
    Qcow2 *q = image->state;
    uint64_t bytes = entries * 8, offset;
    if (bytes > QCOW2_L1_BYTES_MAX)
        return -EFBIG;
    uint64_t clusters = (bytes + q->cluster_size - 1) >> q->cluster_bits;
    int result = qcow2_allocate_run(image, clusters, &offset);
    if (result < 0)
        return result;
    Qcow2Range old = { q->l1_offset, (uint64_t)q->l1_size * 8 };
    q->l1 = g_realloc_n(q->l1, (gsize)entries, 8);
    memset(q->l1 + q->l1_size, 0, (size_t)(entries - q->l1_size) * 8);
    result = write_tables(image); // what the new table will name
    if (result == 0)
        result = write_table(image, offset, q->l1, entries);
    if (result == 0)
        result = image_file_sync(image->file);
    uint8_t fields[12]; // l1_size and l1_table_offset are neighbours
    be32_write(fields, (uint32_t)entries);
    be64_write(fields + 4, offset);
    if (result == 0)
        result = image_file_write(image->file, QCOW2_L1_SIZE, fields, sizeof fields);
    if (result < 0)
        return result;
    q->l1_offset = offset;
    q->l1_size = (uint32_t)entries;
    qcow2_metadata_add(q, offset, bytes);
    qcow2_free_later(image, old.offset, MAX(old.length, 1));
    return image_file_sync(image->file);
}

// What the backing image has behind the old end must not shine through.
static int hide_backing(Image *image, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[65536];
    while (from < to) {
        size_t done, count = (size_t)MIN(sizeof zeros, to - from);
        int result = qcow2_write(image, from, zeros, count, &done);
        if (result < 0)
            return result;
        from += done;
    }
    return 0;
}

bool qcow2_resize(Image *image, uint64_t size, GError **error)
{
    Qcow2 *q = image->state;
    uint64_t span = UINT64_C(1) << (q->cluster_bits + q->l2_bits), old = image->size;
    uint64_t entries = size / span + (size % span != 0);
    int result = image_file_sync(image->file);
    if (q->snapshots->len && q->version < 3) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "has snapshots inside, which version 2 ties to its size: delete them first");
        return false;
    }
    if (result == 0 && entries > q->l1_size)
        result = grow_l1(image, entries);
    if (result == 0) {
        image->size = size;
        if (image->backing && image->backing->size > old)
            result = hide_backing(image, old, MIN(size, image->backing->size));
    }
    if (result == 0)
        result = write_tables(image);
    if (result == 0)
        result = qcow2_write_field64(image, QCOW2_SIZE, size);
    if (result == 0)
        return true;
    image->size = old;
    image_error_errno(image, result, "resized", error);
    return false;
}
