// SPDX-License-Identifier: GPL-2.0-or-later
// qcow2 images, versions 2 and 3, read and written in place: all cluster sizes, refcounts of 1 to
// 64 bits, compressed clusters (zlib, zstd), extended L2 entries, backing images; external data
// files are read. Encryption and unknown incompatible features are refused by name.
#include "snapshots/formats/qcow2-private.h"

#include <gio/gio.h>
#include <string.h>

#define L2_CACHE_BYTES        (UINT64_C(16) << 20)
#define L2_CACHE_BYTES_READER (UINT64_C(2) << 20) // there may be a chain of them

static int qcow2_probe(const uint8_t *head, size_t size, const char *path)
{
    return size >= 4 && memcmp(head, "QFI\xfb", 4) == 0 ? 100 : 0;
}

// Counts may be old after a crash of a program that trusts them to the dirty bit.
static bool repair_counts(Image *image, GError **error)
{
    Qcow2 *q = image->state;
    ImageCheck check = { .messages = g_ptr_array_new_with_free_func(g_free) };
    bool done = qcow2_check(image, true, &check, error);
    image_check_clear(&check);
    if (!done)
        return false;
    if (q->incompatible & QCOW2_DIRTY) {
        image_error(
            image, G_IO_ERROR_INVALID_DATA, error,
            "was not closed properly and has damage besides: look at it with 'lodgectl disk "
            "check'");
        return false;
    }
    return true;
}

static bool open_for_writing(Image *image, GError **error)
{
    Qcow2 *q = image->state;
    if (q->incompatible & QCOW2_CORRUPT) {
        image_error(
            image, G_IO_ERROR_INVALID_DATA, error,
            "is marked as corrupt: repair it with 'lodgectl disk check --repair', or attach "
            "it read-only");
        return false;
    }
    if ((q->incompatible & QCOW2_DIRTY) && !repair_counts(image, error))
        return false;
    return qcow2_load_refcounts(image, error);
}

static bool qcow2_open(Image *image, ImageScope *scope, const ImageOpen *options, GError **error)
{
    Qcow2 *q = g_new0(Qcow2, 1);
    image->state = q;
    q->snapshots = g_array_new(FALSE, FALSE, sizeof(Qcow2Snapshot));
    q->pending = g_array_new(FALSE, FALSE, sizeof(Qcow2Range));
    q->freed = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    if (!qcow2_read_header(image, scope, error))
        return false;
    image->unit_size = (size_t)q->cluster_size;
    size_t page = (size_t)MIN(q->cluster_size, QCOW2_TABLE_PAGE);
    q->l2_cache = image_cache_new(
        image->file, 0, page, (options->read_only ? L2_CACHE_BYTES_READER : L2_CACHE_BYTES) / page);
    if (options->read_only || options->for_check)
        return true;
    return open_for_writing(image, error);
}

static int qcow2_touch(Image *image)
{
    Qcow2 *q = image->state;
    if (q->version < 3 || !q->autoclear)
        return 0;
    q->autoclear = 0;
    int result = qcow2_write_field64(image, QCOW2_AUTOCLEAR, 0);
    return result < 0 ? result : image_file_sync(image->file);
}

static void qcow2_info(Image *image, ImageInfo *info)
{
    const Qcow2 *q = image->state;
    info->unit = q->cluster_size;
    info->snapshots = q->snapshots->len;
    info->dirty = q->incompatible & QCOW2_DIRTY;
    info->corrupt = q->incompatible & QCOW2_CORRUPT;
    info->writable = q->data_file == image->file;
    image_info_feature(info, "version %u", q->version);
    if (q->packing == PACK_ZSTD)
        image_info_feature(info, "zstd");
    if (q->extended)
        image_info_feature(info, "extended L2 entries");
    if (q->refcount_order != 4)
        image_info_feature(info, "refcounts of %u bits", 1u << q->refcount_order);
    if (q->data_file != image->file)
        image_info_feature(info, "external data file");
    if (q->bitmaps.length)
        image_info_feature(info, "persistent bitmaps");
}

static void qcow2_close(Image *image)
{
    Qcow2 *q = image->state;
    if (!q)
        return;
    image_cache_free(q->l2_cache);
    image_cache_free(q->ref_cache);
    g_clear_pointer(&q->metadata, g_hash_table_unref);
    g_array_unref(q->snapshots);
    g_array_unref(q->pending);
    g_array_unref(q->freed);
    g_free(q->l1);
    g_free(q->reftable);
    g_free(q);
}

const ImageOps image_qcow2_ops = {
    .name = "qcow2",
    .probe = qcow2_probe,
    .open = qcow2_open,
    .map = qcow2_map,
    .unpack = qcow2_unpack,
    .write = qcow2_write,
    .discard = qcow2_discard,
    .touch = qcow2_touch,
    .needs_flush = qcow2_needs_flush,
    .flush = qcow2_flush,
    .resize = qcow2_resize,
    .check = qcow2_check,
    .info = qcow2_info,
    .close = qcow2_close,
};
