// SPDX-License-Identifier: GPL-2.0-or-later
// New qcow2 images, version 3, clusters of 64 KiB, as every reader takes them: header, L1 table,
// then data and L2 tables as they come, the refcounts at the end. Compressed clusters are raw
// deflate with a window of 4 KiB (readers may unpack as a stream) or zstd.
#include "snapshots/formats/image-writer-private.h"
#include "snapshots/formats/qcow2-private.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define CLUSTER_BITS 16u
#define CLUSTER      (1u << CLUSTER_BITS)
#define L2_ENTRIES   (CLUSTER / 8)
#define L2_SPAN      ((uint64_t)L2_ENTRIES << CLUSTER_BITS)
#define BLOCK_COUNTS (CLUSTER / 2) // refcounts of 16 bits in a block
#define WINDOW_BITS  12

typedef struct {
    uint64_t l1_entries, l1_clusters;
    uint64_t *l1; // as it goes to the file
    uint8_t *l2;
    uint64_t l2_index;  // which L2 table is being filled; UINT64_MAX: none
    GArray *counts;     // of uint16_t, by cluster
    uint64_t packed_at; // where the next compressed cluster begins; 0: in a new cluster
    uint8_t *packed;
    z_stream deflate;
    ZSTD_CCtx *zstd;
} Qcow2Writer;

static void *qcow2_begin(ImageWriter *writer, GError **error)
{
    uint64_t entries = (writer->size + L2_SPAN - 1) / L2_SPAN;
    if (entries * 8 > QCOW2_L1_BYTES_MAX) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "image '%s' would be larger than qcow2 with clusters of 64 KiB allows "
                    "(2 PiB)",
                    writer->path);
        return NULL;
    }
    Qcow2Writer *q = g_new0(Qcow2Writer, 1);
    q->l1_entries = entries;
    q->l1_clusters = (entries * 8 + CLUSTER - 1) / CLUSTER;
    q->l1 = g_malloc0(q->l1_clusters * CLUSTER);
    q->l2 = g_malloc0(CLUSTER);
    q->l2_index = UINT64_MAX;
    q->counts = g_array_new(FALSE, TRUE, sizeof(uint16_t));
    q->packed = g_malloc(CLUSTER * 2);
    writer->file->size = (1 + q->l1_clusters) * CLUSTER; // written at the end
    if (writer->pack == IMAGE_PACK_ZLIB)
        deflateInit2(&q->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -WINDOW_BITS, 9,
                     Z_DEFAULT_STRATEGY);
    if (writer->pack == IMAGE_PACK_ZSTD)
        q->zstd = ZSTD_createCCtx();
    return q;
}

static void count(Qcow2Writer *q, uint64_t offset, uint64_t length)
{
    guint last = (guint)((offset + length - 1) / CLUSTER);
    if (q->counts->len <= last)
        g_array_set_size(q->counts, last + 1);
    for (guint i = (guint)(offset / CLUSTER); i <= last; i++)
        g_array_index(q->counts, uint16_t, i)++;
}

// A cluster of its own at the end of the file, which compressed data may have left ragged.
static int append_cluster(ImageWriter *writer, const uint8_t *bytes, size_t size,
                          uint64_t *ret_position)
{
    Qcow2Writer *q = writer->state;
    uint64_t position = (image_file_size(writer->file) + CLUSTER - 1) & ~(uint64_t)(CLUSTER - 1);
    int result = image_file_write(writer->file, position, bytes, size);
    if (result == 0 && size < CLUSTER) // the disk's last cluster
        result = image_file_truncate(writer->file, position + CLUSTER);
    if (result == 0)
        count(q, position, CLUSTER);
    *ret_position = position;
    q->packed_at = 0;
    return result;
}

static int put_l2(ImageWriter *writer)
{
    Qcow2Writer *q = writer->state;
    if (q->l2_index == UINT64_MAX)
        return 0;
    uint64_t position;
    int result = append_cluster(writer, q->l2, CLUSTER, &position);
    if (result == 0)
        be64_write(&q->l1[q->l2_index], position | QCOW2_COPIED);
    memset(q->l2, 0, CLUSTER);
    q->l2_index = UINT64_MAX;
    return result;
}

// Bytes of the cluster packed, 0 where that is no gain.
static size_t pack(ImageWriter *writer, const uint8_t *bytes, size_t size)
{
    Qcow2Writer *q = writer->state;
    g_autofree uint8_t *whole = NULL;
    if (size < CLUSTER) {
        whole = g_malloc0(CLUSTER);
        memcpy(whole, bytes, size);
        bytes = whole;
    }
    size_t packed = 0;
    if (writer->pack == IMAGE_PACK_ZLIB) {
        deflateReset(&q->deflate);
        q->deflate.next_in = (Bytef *)(uintptr_t)bytes;
        q->deflate.avail_in = CLUSTER;
        q->deflate.next_out = q->packed;
        q->deflate.avail_out = CLUSTER;
        if (deflate(&q->deflate, Z_FINISH) == Z_STREAM_END)
            packed = CLUSTER - q->deflate.avail_out;
    } else if (writer->pack == IMAGE_PACK_ZSTD) {
        packed = ZSTD_compressCCtx(q->zstd, q->packed, CLUSTER, bytes, CLUSTER, 1);
        if (ZSTD_isError(packed))
            packed = 0;
    }
    return packed >= CLUSTER ? 0 : packed;
}

// Behind the last compressed cluster where there is room, so that they lie close.
static int append_packed(ImageWriter *writer, size_t size, uint64_t *ret_entry)
{
    Qcow2Writer *q = writer->state;
    uint64_t position = q->packed_at ? q->packed_at : image_file_size(writer->file);
    if (!q->packed_at)
        position = (position + CLUSTER - 1) & ~(uint64_t)(CLUSTER - 1);
    int result = image_file_write(writer->file, position, q->packed, size);
    if (result < 0)
        return result;
    unsigned x = 62 - (CLUSTER_BITS - 8);
    uint64_t start = position & ~UINT64_C(511), end = (position + size + 511) & ~UINT64_C(511);
    uint64_t sectors = (end - start) / 512;
    count(q, start, end - start);
    *ret_entry = QCOW2_COMPRESSED | position | (sectors - 1) << x;
    q->packed_at = position + size;
    return 0;
}

static int qcow2_unit(ImageWriter *writer, uint64_t offset, const uint8_t *bytes, size_t size)
{
    Qcow2Writer *q = writer->state;
    int result = 0;
    if (q->l2_index != offset / L2_SPAN)
        result = put_l2(writer);
    if (result < 0)
        return result;
    q->l2_index = offset / L2_SPAN;
    size_t packed = pack(writer, bytes, size);
    uint64_t entry;
    if (packed) {
        result = append_packed(writer, packed, &entry);
    } else {
        result = append_cluster(writer, bytes, size, &entry);
        entry |= QCOW2_COPIED;
    }
    if (result == 0)
        be64_write(q->l2 + offset % L2_SPAN / CLUSTER * 8, entry);
    return result;
}

// Table and blocks at the end; they count themselves.
static int put_refcounts(ImageWriter *writer, uint64_t *ret_table, uint64_t *ret_clusters)
{
    Qcow2Writer *q = writer->state;
    uint64_t table = (image_file_size(writer->file) + CLUSTER - 1) & ~(uint64_t)(CLUSTER - 1);
    uint64_t first = table / CLUSTER, blocks = 0, clusters = 0, last = first;
    for (;;) {
        uint64_t need = (last + BLOCK_COUNTS - 1) / BLOCK_COUNTS;
        uint64_t need_table = (need * 8 + CLUSTER - 1) / CLUSTER;
        if (need == blocks && need_table == clusters)
            break;
        blocks = need;
        clusters = need_table;
        last = first + blocks + clusters;
    }
    count(q, table, (last - first) * CLUSTER);
    g_autofree uint8_t *entries = g_malloc0(clusters * CLUSTER);
    g_autofree uint8_t *block = g_malloc(CLUSTER);
    for (uint64_t b = 0; b < blocks; b++) {
        memset(block, 0, CLUSTER);
        for (uint64_t i = 0; i < BLOCK_COUNTS && b * BLOCK_COUNTS + i < q->counts->len; i++)
            be16_write(block + i * 2, g_array_index(q->counts, uint16_t, b * BLOCK_COUNTS + i));
        uint64_t position = table + (clusters + b) * CLUSTER;
        be64_write(entries + b * 8, position);
        int result = image_file_write(writer->file, position, block, CLUSTER);
        if (result < 0)
            return result;
    }
    *ret_table = table;
    *ret_clusters = clusters;
    return image_file_write(writer->file, table, entries, clusters * CLUSTER);
}

static int qcow2_end(ImageWriter *writer)
{
    Qcow2Writer *q = writer->state;
    uint64_t table = 0, clusters = 0;
    count(q, 0, (1 + q->l1_clusters) * CLUSTER);
    int result = put_l2(writer);
    if (result == 0)
        result = put_refcounts(writer, &table, &clusters);
    if (result == 0)
        result = image_file_write(writer->file, CLUSTER, q->l1, q->l1_clusters * CLUSTER);
    if (result < 0)
        return result;
    uint8_t h[112] = "QFI\xfb";
    be32_write(h + 4, 3);
    be32_write(h + QCOW2_CLUSTER_BITS, CLUSTER_BITS);
    be64_write(h + QCOW2_SIZE, writer->size);
    be32_write(h + QCOW2_L1_SIZE, (uint32_t)q->l1_entries);
    be64_write(h + QCOW2_L1_OFFSET, CLUSTER);
    be64_write(h + QCOW2_REFTABLE, table);
    be32_write(h + QCOW2_REFTABLE_COUNT, (uint32_t)clusters);
    be32_write(h + QCOW2_REFCOUNT_ORDER, 4);
    be32_write(h + QCOW2_HEADER_LENGTH, 112);
    if (writer->pack == IMAGE_PACK_ZSTD) {
        be64_write(h + QCOW2_INCOMPATIBLE, QCOW2_COMPRESSION_TYPE);
        h[QCOW2_COMPRESSION] = 1;
    }
    // The rest of the cluster is the end of the extensions: zeros.
    return image_file_write(writer->file, 0, h, sizeof h);
}

static void qcow2_free(void *state)
{
    Qcow2Writer *q = state;
    deflateEnd(&q->deflate);
    ZSTD_freeCCtx(q->zstd);
    g_array_unref(q->counts);
    g_free(q->packed);
    g_free(q->l1);
    g_free(q->l2);
    g_free(q);
}

const ImageWriterOps qcow2_writer_ops = {
    .format = "qcow2",
    .unit = CLUSTER,
    .begin = qcow2_begin,
    .unit_data = qcow2_unit,
    .end = qcow2_end,
    .free = qcow2_free,
};
