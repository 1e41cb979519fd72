// SPDX-License-Identifier: GPL-2.0-or-later
// Who uses which cluster: reference counts, allocation, and a map in memory of all clusters that
// hold tables, which every write of data is held against. A cluster that is given up waits in
// `pending` until nothing on disk names it any more.
#include "snapshots/formats/qcow2-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define METADATA_CHUNK_BITS 15 // clusters in a bitmap of 4 KiB
#define HIGHEST_OFFSET      (UINT64_C(1) << 56)
#define FREED_MAX           65536u
#define REF_CACHE_BYTES     (UINT64_C(4) << 20)

static uint64_t chunk_of(uint64_t cluster)
{
    return cluster >> METADATA_CHUNK_BITS;
}

void qcow2_metadata_add(Qcow2 *q, uint64_t offset, uint64_t length)
{
    if (!length)
        return;
    uint64_t last = (offset + length - 1) >> q->cluster_bits;
    for (uint64_t cluster = offset >> q->cluster_bits; cluster <= last; cluster++) {
        uint64_t key = chunk_of(cluster);
        uint8_t *bits = g_hash_table_lookup(q->metadata, &key);
        if (!bits) {
            bits = g_malloc0(1u << (METADATA_CHUNK_BITS - 3));
            g_hash_table_insert(q->metadata, g_memdup2(&key, sizeof key), bits);
        }
        uint64_t within = cluster & ((1u << METADATA_CHUNK_BITS) - 1);
        bits[within / 8] |= (uint8_t)(1u << within % 8);
    }
}

// A cluster that nobody uses any more, whatever it was.
static void metadata_remove(Qcow2 *q, uint64_t cluster)
{
    uint64_t key = chunk_of(cluster), within = cluster & ((1u << METADATA_CHUNK_BITS) - 1);
    uint8_t *bits = g_hash_table_lookup(q->metadata, &key);
    if (bits)
        bits[within / 8] &= (uint8_t) ~(1u << within % 8);
}

void qcow2_metadata_clear(Qcow2 *q)
{
    g_clear_pointer(&q->metadata, g_hash_table_unref);
    q->metadata = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
}

bool qcow2_metadata_hit(const Qcow2 *q, uint64_t offset, uint64_t length)
{
    if (!q->metadata || !length)
        return false;
    uint64_t last = (offset + length - 1) >> q->cluster_bits;
    for (uint64_t cluster = offset >> q->cluster_bits; cluster <= last; cluster++) {
        uint64_t key = chunk_of(cluster);
        const uint8_t *bits = g_hash_table_lookup(q->metadata, &key);
        uint64_t within = cluster & ((1u << METADATA_CHUNK_BITS) - 1);
        if (bits && (bits[within / 8] >> within % 8 & 1))
            return true;
    }
    return false;
}

int qcow2_damage(Image *image, const char *what, uint64_t offset)
{
    Qcow2 *q = image->state;
    image_trouble(image, "%s at %" G_GUINT64_FORMAT ", so nothing is written to it any more", what,
                  offset);
    // Several readers may find it at once; the header is rewritten with the same bytes.
    if (!q->stopped && !image->read_only)
        qcow2_set_incompatible(image, QCOW2_CORRUPT, 0);
    q->stopped = true;
    return -EIO;
}

uint64_t qcow2_refcount_get(const uint8_t *block, uint64_t index, unsigned order)
{
    switch (order) {
    case 3:
        return block[index];
    case 4:
        return be16_read(block + index * 2);
    case 5:
        return be32_read(block + index * 4);
    case 6:
        return be64_read(block + index * 8);
    default: {
        unsigned bits = 1u << order, shift = (unsigned)(index << order) & 7;
        return block[index << order >> 3] >> shift & ((1u << bits) - 1);
    }
    }
}

void qcow2_refcount_put(uint8_t *block, uint64_t index, unsigned order, uint64_t value)
{
    switch (order) {
    case 3:
        block[index] = (uint8_t)value;
        break;
    case 4:
        be16_write(block + index * 2, (uint16_t)value);
        break;
    case 5:
        be32_write(block + index * 4, (uint32_t)value);
        break;
    case 6:
        be64_write(block + index * 8, value);
        break;
    default: {
        unsigned bits = 1u << order, shift = (unsigned)(index << order) & 7;
        unsigned mask = ((1u << bits) - 1) << shift;
        uint8_t *byte = block + (index << order >> 3);
        *byte = (uint8_t)((*byte & ~mask) | (value << shift & mask));
    }
    }
}

// The aligned 8 bytes of a refcount block that hold a cluster's count, and its index among them.
static void locate(const Qcow2 *q, uint64_t cluster, uint64_t *ret_offset, uint64_t *ret_index)
{
    uint64_t block = q->reftable[cluster >> q->refblock_bits];
    uint64_t index = cluster & ((UINT64_C(1) << q->refblock_bits) - 1);
    uint64_t per_word = UINT64_C(64) >> q->refcount_order;
    *ret_offset = block + index / per_word * 8;
    *ret_index = index % per_word;
}

bool qcow2_has_refblock(const Qcow2 *q, uint64_t cluster)
{
    uint64_t block = cluster >> q->refblock_bits;
    return block < q->reftable_entries && q->reftable[block] != 0;
}

int qcow2_refcount(Image *image, uint64_t cluster, uint64_t *ret_count)
{
    Qcow2 *q = image->state;
    if (!qcow2_has_refblock(q, cluster)) {
        *ret_count = 0;
        return 0;
    }
    uint64_t offset, index;
    uint8_t word[8];
    locate(q, cluster, &offset, &index);
    int result = image_cache_read(q->ref_cache, offset, word, sizeof word);
    if (result == 0)
        *ret_count = qcow2_refcount_get(word, index, q->refcount_order);
    return result;
}

int qcow2_set_refcount(Image *image, uint64_t cluster, uint64_t count)
{
    Qcow2 *q = image->state;
    uint64_t offset, index;
    uint8_t word[8];
    locate(q, cluster, &offset, &index);
    int result = image_cache_read(q->ref_cache, offset, word, sizeof word);
    if (result < 0)
        return result;
    qcow2_refcount_put(word, index, q->refcount_order, count);
    return image_cache_write(q->ref_cache, offset, word, sizeof word);
}

static uint64_t file_end(const Image *image)
{
    const Qcow2 *q = image->state;
    return (image_file_size(image->file) + q->cluster_size - 1) >> q->cluster_bits;
}

static int grow_reftable(Image *image, uint64_t block);

// Makes sure that `cluster` has a refcount block. A new one takes the cluster itself, which nothing
// can use yet: ret_taken.
static int ensure_refblock(Image *image, uint64_t cluster, bool *ret_taken)
{
    Qcow2 *q = image->state;
    uint64_t block = cluster >> q->refblock_bits, offset = cluster << q->cluster_bits;
    *ret_taken = false;
    if (block >= q->reftable_entries) {
        int result = grow_reftable(image, block);
        if (result < 0)
            return result;
    }
    if (q->reftable[block])
        return 0;
    if (qcow2_metadata_hit(q, offset, 1))
        return qcow2_damage(image, "a table has no reference count", offset);
    q->reftable[block] = offset;
    q->reftable_dirty = true;
    q->allocated_end = MAX(q->allocated_end, offset + q->cluster_size);
    image_cache_forget(q->l2_cache, offset, q->cluster_size);
    int result = image_cache_zero(q->ref_cache, offset, q->cluster_size);
    if (result == 0)
        result = qcow2_set_refcount(image, cluster, 1);
    qcow2_metadata_add(q, offset, q->cluster_size);
    *ret_taken = true;
    return result;
}

// The first cluster from `cluster` on that has no reference, or the end of what one look shows.
static int skip_used(Image *image, uint64_t cluster, uint64_t *ret_cluster)
{
    Qcow2 *q = image->state;
    uint8_t words[512];
    uint64_t offset, index, per_word = UINT64_C(64) >> q->refcount_order;
    locate(q, cluster, &offset, &index);
    uint64_t left = q->cluster_size - offset % q->cluster_size;
    size_t size = (size_t)MIN(sizeof words, left);
    int result = image_cache_read(q->ref_cache, offset, words, size);
    if (result < 0)
        return result;
    uint64_t end = size / 8 * per_word;
    while (index < end && qcow2_refcount_get(words, index, q->refcount_order)) {
        index++;
        cluster++;
    }
    *ret_cluster = cluster;
    return 0;
}

// A cluster that was given up since the open. ret_found: false where there is none.
static int take_freed(Image *image, uint64_t *ret_cluster, bool *ret_found)
{
    Qcow2 *q = image->state;
    *ret_found = false;
    while (q->freed->len && !*ret_found) {
        uint64_t count, cluster = g_array_index(q->freed, uint64_t, q->freed->len - 1);
        g_array_set_size(q->freed, q->freed->len - 1);
        int result = qcow2_refcount(image, cluster, &count);
        if (result == 0 && count == 0 && !qcow2_metadata_hit(q, cluster << q->cluster_bits, 1)) {
            result = qcow2_set_refcount(image, cluster, 1);
            *ret_found = true;
            *ret_cluster = cluster;
        }
        if (result < 0)
            return result;
    }
    return 0;
}

// Takes the first run of free clusters from `from` on; their counts become 1.
static int take_run(Image *image, uint64_t from, uint64_t clusters, uint64_t *ret_first)
{
    Qcow2 *q = image->state;
    uint64_t first = from, have = 0;
    while (have < clusters) {
        uint64_t cluster = first + have, count;
        bool taken;
        if (cluster << q->cluster_bits >= HIGHEST_OFFSET)
            return -EFBIG;
        int result = ensure_refblock(image, cluster, &taken);
        if (result == 0)
            result = qcow2_refcount(image, cluster, &count);
        if (result < 0)
            return result;
        if (count == 0 && qcow2_metadata_hit(q, cluster << q->cluster_bits, 1))
            return qcow2_damage(image, "a table has no reference count",
                                cluster << q->cluster_bits);
        if (taken || count) {
            first = cluster + 1;
            have = 0;
            if (qcow2_has_refblock(q, first))
                result = skip_used(image, first, &first);
            if (result < 0)
                return result;
        } else {
            have++;
        }
    }
    for (uint64_t i = 0; i < clusters; i++) {
        int result = qcow2_set_refcount(image, first + i, 1);
        if (result < 0)
            return result;
    }
    q->allocated_end = MAX(q->allocated_end, (first + clusters) << q->cluster_bits);
    *ret_first = first;
    return 0;
}

// As it was: blocks that only the larger table would have named are no blocks.
static void shrink_reftable(Image *image, uint64_t entries)
{
    Qcow2 *q = image->state;
    for (uint64_t i = entries; i < q->reftable_entries; i++) {
        if (!q->reftable[i])
            continue;
        image_cache_forget(q->ref_cache, q->reftable[i], q->cluster_size);
        metadata_remove(q, q->reftable[i] >> q->cluster_bits);
    }
    q->reftable_entries = entries;
}

static int write_reftable(Image *image, uint64_t offset, uint64_t clusters)
{
    Qcow2 *q = image->state;
    g_autofree uint8_t *bytes = g_malloc((size_t)q->reftable_entries * 8);
    for (uint64_t i = 0; i < q->reftable_entries; i++)
        be64_write(bytes + i * 8, q->reftable[i]);
    int result = image_file_write(image->file, offset, bytes, (size_t)q->reftable_entries * 8);
    if (result == 0)
        result = image_file_sync(image->file);
    uint8_t fields[12];
    be64_write(fields, offset);
    be32_write(fields + 8, (uint32_t)clusters);
    if (result == 0)
        result = image_file_write(image->file, QCOW2_REFTABLE, fields, sizeof fields);
    return result;
}

// A larger refcount table behind everything else. The old one is given up once the header names
// the new one; where that fails, nothing has changed.
static int grow_reftable(Image *image, uint64_t block)
{
    Qcow2 *q = image->state;
    uint64_t needed = (block + 1) * 8 / q->cluster_size + 1;
    uint64_t clusters = MAX(needed, (uint64_t)q->reftable_clusters * 2);
    if (clusters * q->cluster_size > QCOW2_REFTABLE_BYTES_MAX)
        return -EFBIG;
    Qcow2Range old = { q->reftable_offset, (uint64_t)q->reftable_clusters * q->cluster_size };
    uint64_t entries = clusters * q->cluster_size / 8, old_entries = q->reftable_entries, first;
    q->reftable = g_realloc_n(q->reftable, (gsize)entries, 8);
    memset(q->reftable + old_entries, 0, (size_t)(entries - old_entries) * 8);
    q->reftable_entries = entries;
    // What was allocated but not yet written lies behind the end of the file.
    uint64_t from = MAX(file_end(image), q->free_hint);
    int result = take_run(image, from, clusters, &first);
    if (result == 0)
        result = image_cache_write_back(q->ref_cache);
    uint64_t offset = result == 0 ? first << q->cluster_bits : 0;
    if (result == 0)
        result = write_reftable(image, offset, clusters);
    if (result < 0) {
        shrink_reftable(image, old_entries);
        return result;
    }
    q->reftable_offset = offset;
    q->reftable_clusters = (uint32_t)clusters;
    q->reftable_dirty = false;
    qcow2_metadata_add(q, offset, clusters * q->cluster_size);
    qcow2_free_later(image, old.offset, old.length);
    return image_file_sync(image->file);
}

int qcow2_allocate_run(Image *image, uint64_t clusters, uint64_t *ret_offset)
{
    Qcow2 *q = image->state;
    uint64_t first, from = clusters == 1 ? q->free_hint : MAX(file_end(image), q->free_hint);
    if (q->stopped)
        return -EIO;
    bool found = false;
    int result = clusters == 1 ? take_freed(image, &first, &found) : 0;
    if (result == 0 && found) {
        *ret_offset = first << q->cluster_bits;
        return 0;
    }
    if (result == 0)
        result = take_run(image, from, clusters, &first);
    if (result < 0)
        return result;
    if (clusters == 1)
        q->free_hint = first + 1;
    *ret_offset = first << q->cluster_bits;
    return 0;
}

int qcow2_allocate(Image *image, uint64_t *ret_offset)
{
    return qcow2_allocate_run(image, 1, ret_offset);
}

void qcow2_free_later(Image *image, uint64_t offset, uint64_t length)
{
    Qcow2 *q = image->state;
    Qcow2Range range = { offset, length };
    g_array_append_val(q->pending, range);
}

// Lowers a cluster's count; at zero its room goes back to the host.
static int release(Image *image, uint64_t cluster)
{
    Qcow2 *q = image->state;
    uint64_t count, offset = cluster << q->cluster_bits;
    int result = qcow2_refcount(image, cluster, &count);
    if (result < 0)
        return result;
    if (count == 0)
        return qcow2_damage(image, "a cluster was given up that had no reference", offset);
    result = qcow2_set_refcount(image, cluster, count - 1);
    if (result < 0 || count > 1)
        return result;
    if (q->freed->len < FREED_MAX)
        g_array_append_val(q->freed, cluster);
    metadata_remove(q, cluster);
    image_cache_forget(q->l2_cache, offset, q->cluster_size);
    return image_file_punch(image->file, offset, q->cluster_size);
}

int qcow2_free_pending(Image *image)
{
    Qcow2 *q = image->state;
    for (guint i = 0; i < q->pending->len; i++) {
        Qcow2Range range = g_array_index(q->pending, Qcow2Range, i);
        uint64_t last = (range.offset + range.length - 1) >> q->cluster_bits;
        for (uint64_t c = range.offset >> q->cluster_bits; c <= last; c++) {
            int result = release(image, c);
            if (result < 0)
                return result;
        }
    }
    g_array_set_size(q->pending, 0);
    return 0;
}

// Every cluster that holds a table has a reference.
static bool check_counted(Image *image, uint64_t offset, uint64_t length, GError **error)
{
    Qcow2 *q = image->state;
    qcow2_metadata_add(q, offset, length);
    for (uint64_t at = offset; at < offset + length; at += q->cluster_size) {
        uint64_t count;
        int result = qcow2_refcount(image, at >> q->cluster_bits, &count);
        if (result < 0) {
            image_error_errno(image, result, "read", error);
            return false;
        }
        if (count)
            continue;
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "has reference counts that contradict its tables (at %" G_GUINT64_FORMAT
                    "): repair it with 'lodgectl disk check --repair'",
                    at);
        return false;
    }
    return true;
}

static bool collect_metadata(Image *image, GError **error)
{
    Qcow2 *q = image->state;
    qcow2_metadata_clear(q);
    if (!check_counted(image, 0, q->cluster_size, error) ||
        !check_counted(image, q->l1_offset, (uint64_t)q->l1_size * 8, error) ||
        !check_counted(image, q->reftable_offset, (uint64_t)q->reftable_clusters * q->cluster_size,
                       error) ||
        !check_counted(image, q->snapshot_table.offset, q->snapshot_table.length, error))
        return false;
    for (uint64_t i = 0; i < q->reftable_entries; i++) {
        if (q->reftable[i] && !check_counted(image, q->reftable[i], q->cluster_size, error))
            return false;
    }
    for (guint i = 0; i < q->snapshots->len; i++) {
        const Qcow2Snapshot *snapshot = &g_array_index(q->snapshots, Qcow2Snapshot, i);
        if (!check_counted(image, snapshot->l1_offset, (uint64_t)snapshot->l1_size * 8, error))
            return false;
    }
    for (uint32_t i = 0; i < q->l1_size; i++) {
        uint64_t table = q->l1[i] & QCOW2_OFFSET_MASK;
        if (!table)
            continue;
        if (!qcow2_table_is_good(image, table)) {
            image_error(image, G_IO_ERROR_INVALID_DATA, error,
                        "is a damaged qcow2 image: an L2 table lies beyond the end of the file; "
                        "attach it read-only and copy what can be read");
            return false;
        }
        if (!check_counted(image, table, q->cluster_size, error))
            return false;
    }
    return true;
}

bool qcow2_load_refcounts(Image *image, GError **error)
{
    Qcow2 *q = image->state;
    uint64_t bytes = (uint64_t)q->reftable_clusters * q->cluster_size;
    if (bytes == 0 || bytes > QCOW2_REFTABLE_BYTES_MAX || q->reftable_offset % q->cluster_size ||
        !image_file_has(image->file, q->reftable_offset, bytes)) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "is a damaged qcow2 image: its refcount table lies beyond the end of the file; "
                    "repair it with 'lodgectl disk check --repair'");
        return false;
    }
    q->reftable_entries = bytes / 8;
    g_free(q->reftable);
    q->reftable = g_malloc((size_t)bytes);
    int result = image_file_read(image->file, q->reftable_offset, q->reftable, (size_t)bytes);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    for (uint64_t i = 0; i < q->reftable_entries; i++) {
        q->reftable[i] = be64_read(&q->reftable[i]);
        if (q->reftable[i] && !qcow2_table_is_good(image, q->reftable[i])) {
            image_error(image, G_IO_ERROR_INVALID_DATA, error,
                        "is a damaged qcow2 image: a refcount block lies beyond the end of the "
                        "file; repair it with 'lodgectl disk check --repair'");
            return false;
        }
    }
    size_t page = (size_t)MIN(q->cluster_size, QCOW2_TABLE_PAGE);
    image_cache_free(q->ref_cache);
    q->ref_cache = image_cache_new(image->file, 0, page, REF_CACHE_BYTES / page);
    return collect_metadata(image, error);
}
