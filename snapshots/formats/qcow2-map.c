// SPDX-License-Identifier: GPL-2.0-or-later
// From an offset on the disk to one in the file: L1, L2, subclusters, compressed clusters. Offsets
// that a table holds are checked each time they are followed.
#include "snapshots/formats/qcow2-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"

#include <errno.h>

#define BATCH 64u // L2 entries looked at in one go

// What one subcluster (or a whole cluster, where there are none) is.
typedef struct {
    ImageMapKind kind;
    uint64_t position; // DATA: of the subcluster's first byte
    bool in_place;
} Piece;

bool qcow2_table_is_good(const Image *image, uint64_t offset)
{
    const Qcow2 *q = image->state;
    uint64_t end = MAX(image_file_size(image->file), q->allocated_end);
    return offset % q->cluster_size == 0 && range_within(offset, q->cluster_size, end);
}

Qcow2Range qcow2_packed_range(const Qcow2 *q, uint64_t entry)
{
    unsigned x = 62 - (q->cluster_bits - 8);
    uint64_t offset = entry & ((UINT64_C(1) << x) - 1);
    uint64_t sectors = ((entry & (QCOW2_COMPRESSED - 1)) >> x) + 1;
    return (Qcow2Range){ offset, sectors * 512 - offset % 512 };
}

static int classify(Image *image, uint64_t offset, const uint8_t *raw, Piece *ret_piece)
{
    const Qcow2 *q = image->state;
    uint64_t entry = be64_read(raw);
    uint64_t host = entry & QCOW2_OFFSET_MASK;
    bool external = q->data_file != image->file;
    Piece piece = { .kind = MAP_BACKING };
    if (entry & QCOW2_COMPRESSED) {
        piece.kind = MAP_PACKED;
    } else if (q->extended) {
        uint64_t bitmap = be64_read(raw + 8);
        unsigned sub = (unsigned)(offset >> q->sub_bits & 31);
        bool allocated = bitmap >> sub & 1, zero = bitmap >> (32 + sub) & 1;
        if (allocated && zero)
            return image_trouble(image,
                                 "a subcluster at %" G_GUINT64_FORMAT " is both data and "
                                 "zero",
                                 offset);
        piece.kind = zero ? MAP_ZERO : allocated ? MAP_DATA : MAP_BACKING;
    } else if (q->version >= 3 && (entry & QCOW2_READS_ZERO)) {
        piece.kind = MAP_ZERO;
    } else if (host || (external && (entry & QCOW2_COPIED))) {
        piece.kind = MAP_DATA;
    }
    if (piece.kind == MAP_DATA) {
        uint64_t within = offset & (q->cluster_size - 1) & ~((UINT64_C(1) << q->sub_bits) - 1);
        if (host % q->cluster_size || (host == 0 && !external) ||
            (host >= image_file_size(q->data_file) && host))
            return image_trouble(image,
                                 "the data at %" G_GUINT64_FORMAT " lies beyond the end of "
                                 "the file",
                                 offset);
        piece.position = host + within;
        piece.in_place = (entry & QCOW2_COPIED) && !q->stopped;
    }
    *ret_piece = piece;
    return 0;
}

static bool follows(const Piece *piece, const Piece *first, uint64_t distance)
{
    return piece->kind == first->kind && piece->in_place == first->in_place &&
           (piece->kind != MAP_DATA || piece->position == first->position + distance);
}

// The L2 table of an offset; ret_table 0 where there is none.
static int find_table(Image *image, uint64_t offset, uint64_t *ret_table)
{
    const Qcow2 *q = image->state;
    uint64_t table = q->l1[offset >> (q->cluster_bits + q->l2_bits)] & QCOW2_OFFSET_MASK;
    if (table && !qcow2_table_is_good(image, table))
        return image_trouble(image,
                             "the L2 table for %" G_GUINT64_FORMAT " lies beyond the end of "
                             "the file",
                             offset);
    *ret_table = table;
    return 0;
}

int qcow2_map(Image *image, uint64_t offset, uint64_t length, ImageMapping *ret_mapping)
{
    Qcow2 *q = image->state;
    uint64_t table = 0, piece_size = UINT64_C(1) << q->sub_bits;
    uint64_t span = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
    length = MIN(length, span - offset % span);
    int result = find_table(image, offset, &table);
    if (result < 0)
        return result;
    *ret_mapping = (ImageMapping){ .kind = MAP_BACKING, .length = length, .file = q->data_file };
    if (!table)
        return 0;
    uint8_t batch[BATCH * 16];
    uint64_t first_index = offset >> q->cluster_bits & ((UINT64_C(1) << q->l2_bits) - 1);
    uint64_t count = MIN(BATCH, (UINT64_C(1) << q->l2_bits) - first_index);
    count = MIN(count, (offset % q->cluster_size + length - 1) / q->cluster_size + 1);
    result = image_cache_read(q->l2_cache, table + first_index * q->entry_bytes, batch,
                              (size_t)count * q->entry_bytes);
    if (result < 0)
        return result;
    Piece first = { 0 };
    uint64_t start = offset & ~(piece_size - 1), at = start, base = offset >> q->cluster_bits;
    while (at < offset + length && (at >> q->cluster_bits) - base < count) {
        Piece piece;
        const uint8_t *raw = batch + ((at >> q->cluster_bits) - base) * q->entry_bytes;
        result = classify(image, at, raw, &piece);
        if (at == start) {
            if (result < 0)
                return result;
            first = piece;
            ret_mapping->token[0] = be64_read(raw);
        } else if (result < 0 || !follows(&piece, &first, at - start)) {
            break;
        }
        at += piece_size;
        if (piece.kind == MAP_PACKED) {
            at = (at - 1) | (q->cluster_size - 1);
            at++;
            break;
        }
    }
    ret_mapping->kind = first.kind;
    ret_mapping->length = MIN(length, at - offset);
    ret_mapping->position = first.position + (offset - start);
    ret_mapping->in_place = first.in_place;
    ret_mapping->unit = offset & ~(q->cluster_size - 1);
    if (first.kind == MAP_DATA && first.in_place &&
        qcow2_metadata_hit(q, ret_mapping->position, ret_mapping->length))
        return qcow2_damage(image, "data lies over its tables", offset);
    return 0;
}

int qcow2_unpack(Image *image, const ImageMapping *mapping, uint8_t *unit)
{
    const Qcow2 *q = image->state;
    Qcow2Range range = qcow2_packed_range(q, mapping->token[0]);
    if (range.offset >= image_file_size(image->file))
        return image_trouble(image,
                             "the compressed data at %" G_GUINT64_FORMAT " lies beyond the "
                             "end of the file",
                             mapping->unit);
    g_autofree uint8_t *packed = g_malloc((size_t)range.length);
    int result = image_file_read(image->file, range.offset, packed, (size_t)range.length);
    if (result < 0)
        return result;
    result = image_unpack(q->packing, packed, (size_t)range.length, unit, (size_t)q->cluster_size);
    if (result < 0)
        return image_trouble(image,
                             "the compressed data at %" G_GUINT64_FORMAT " cannot be "
                             "unpacked",
                             mapping->unit);
    return 0;
}
