// SPDX-License-Identifier: GPL-2.0-or-later
// The qcow2 header, its extensions and what they lead to: backing image, data file, snapshots.
// Everything that has a size is bounded here.
#include "snapshots/formats/qcow2-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"

#include <gio/gio.h>
#include <string.h>

#define HEADER_MAX       112u   // what we know of it
#define EXTENSIONS_MAX   65536u // bytes looked at
#define BACKING_NAME_MAX 1023u
#define SNAPSHOT_HEAD    40u

enum {
    EXTENSION_END = 0,
    EXTENSION_BACKING_FORMAT = 0xe2792aca,
    EXTENSION_FEATURE_NAMES = 0x6803f857,
    EXTENSION_BITMAPS = 0x23852875,
    EXTENSION_DATA_FILE = 0x44415441,
};

typedef struct {
    char *backing_format;
    char *data_file;
    const uint8_t *names; // of features, 48 bytes each
    uint32_t names_size;
} Extensions;

int qcow2_write_field32(Image *image, unsigned offset, uint32_t value)
{
    uint8_t bytes[4];
    be32_write(bytes, value);
    return image_file_write(image->file, offset, bytes, sizeof bytes);
}

int qcow2_write_field64(Image *image, unsigned offset, uint64_t value)
{
    uint8_t bytes[8];
    be64_write(bytes, value);
    return image_file_write(image->file, offset, bytes, sizeof bytes);
}

int qcow2_set_incompatible(Image *image, uint64_t set, uint64_t clear)
{
    Qcow2 *q = image->state;
    uint64_t wanted = (q->incompatible | set) & ~clear;
    if (q->version < 3 || wanted == q->incompatible)
        return 0;
    q->incompatible = wanted;
    int result = qcow2_write_field64(image, QCOW2_INCOMPATIBLE, wanted);
    return result < 0 ? result : image_file_sync(image->file);
}

static bool damaged(Image *image, GError **error, const char *what)
{
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "is a damaged qcow2 image: %s; restore it from a copy", what);
    return false;
}

static bool read_fixed(Image *image, const uint8_t *h, GError **error)
{
    Qcow2 *q = image->state;
    q->version = be32_read(h + 4);
    if (q->version != 2 && q->version != 3) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "is qcow version %u, which is not supported: convert it to version 3 with "
                    "qemu-img",
                    q->version);
        return false;
    }
    uint32_t bits = be32_read(h + QCOW2_CLUSTER_BITS);
    if (bits < 9 || bits > 21)
        return damaged(image, error, "its clusters are neither 512 bytes to 2 MiB");
    q->cluster_bits = bits;
    q->cluster_size = UINT64_C(1) << bits;
    image->size = be64_read(h + QCOW2_SIZE);
    q->l1_size = be32_read(h + QCOW2_L1_SIZE);
    q->l1_offset = be64_read(h + QCOW2_L1_OFFSET);
    q->reftable_offset = be64_read(h + QCOW2_REFTABLE);
    q->reftable_clusters = be32_read(h + QCOW2_REFTABLE_COUNT);
    q->refcount_order = 4;
    q->header_length = 72;
    q->packing = PACK_DEFLATE;
    if (q->version >= 3) {
        q->incompatible = be64_read(h + QCOW2_INCOMPATIBLE);
        q->compatible = be64_read(h + QCOW2_COMPATIBLE);
        q->autoclear = be64_read(h + QCOW2_AUTOCLEAR);
        q->refcount_order = be32_read(h + QCOW2_REFCOUNT_ORDER);
        q->header_length = be32_read(h + QCOW2_HEADER_LENGTH);
        if (q->header_length < 104 || q->header_length % 8 || q->header_length > q->cluster_size)
            return damaged(image, error, "its header has an impossible length");
        if (q->refcount_order > 6)
            return damaged(image, error, "its reference counts are wider than 64 bits");
    }
    return true;
}

static bool check_features(Image *image, const uint8_t *h, const Extensions *extensions,
                           GError **error)
{
    Qcow2 *q = image->state;
    uint64_t unknown = q->incompatible & ~(uint64_t)QCOW2_KNOWN;
    if (unknown) {
        unsigned bit = (unsigned)__builtin_ctzll(unknown);
        g_autofree char *name = g_strdup_printf("bit %u", bit);
        for (uint32_t at = 0; at + 48 <= extensions->names_size; at += 48) {
            const uint8_t *row = extensions->names + at;
            if (row[0] == 0 && row[1] == bit) {
                g_free(name);
                g_autofree char *raw = g_strndup((const char *)row + 2, 46);
                name = g_strescape(raw, NULL);
            }
        }
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "uses the qcow2 feature '%s', which is unknown here: convert it with a program "
                    "that knows it",
                    name);
        return false;
    }
    uint32_t crypt = be32_read(h + QCOW2_CRYPT);
    if (crypt) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "is encrypted (%s), which is not supported: decrypt it with qemu-img convert",
                    crypt == 1   ? "AES"
                    : crypt == 2 ? "LUKS"
                                 : "an unknown method");
        return false;
    }
    if (q->incompatible & QCOW2_COMPRESSION_TYPE) {
        uint8_t type = q->header_length > QCOW2_COMPRESSION ? h[QCOW2_COMPRESSION] : 0;
        if (type != 1) {
            image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                        "is compressed by method %u, which is unknown here: convert it with a "
                        "program that knows it",
                        type);
            return false;
        }
        q->packing = PACK_ZSTD;
    }
    q->extended = (q->incompatible & QCOW2_EXTENDED_L2) != 0;
    if (q->extended && q->cluster_bits < 14)
        return damaged(image, error, "its clusters are too small for subclusters");
    return true;
}

static bool check_sizes(Image *image, GError **error)
{
    Qcow2 *q = image->state;
    q->entry_bytes = q->extended ? 16 : 8;
    q->l2_bits = q->cluster_bits - (q->extended ? 4 : 3);
    q->sub_bits = q->extended ? q->cluster_bits - 5 : q->cluster_bits;
    q->refblock_bits = q->cluster_bits + 3 - q->refcount_order;
    if (image->size == 0 || image->size % 512 || image->size > (UINT64_C(1) << 60)) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "is a damaged qcow2 image: it claims a disk of %" G_GUINT64_FORMAT " bytes; "
                    "restore it from a copy",
                    image->size);
        return false;
    }
    uint64_t l1_span = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
    uint64_t l1_needed = image->size / l1_span + (image->size % l1_span != 0);
    uint64_t l1_bytes = (uint64_t)q->l1_size * 8;
    if (l1_needed > q->l1_size)
        return damaged(image, error, "its L1 table is too small for its size");
    if (l1_bytes > QCOW2_L1_BYTES_MAX)
        return damaged(image, error, "its L1 table is larger than 32 MiB");
    if (q->l1_offset % q->cluster_size || q->l1_offset == 0 ||
        !image_file_has(image->file, q->l1_offset, l1_bytes))
        return damaged(image, error, "its L1 table lies beyond the end of the file");
    return true;
}

static void read_extension(Image *image, Extensions *extensions, uint32_t type, const uint8_t *data,
                           uint32_t size)
{
    Qcow2 *q = image->state;
    switch (type) {
    case EXTENSION_BACKING_FORMAT:
        g_free(extensions->backing_format);
        extensions->backing_format = g_strndup((const char *)data, size);
        break;
    case EXTENSION_DATA_FILE:
        g_free(extensions->data_file);
        extensions->data_file = g_strndup((const char *)data, size);
        break;
    case EXTENSION_FEATURE_NAMES:
        extensions->names = data;
        extensions->names_size = size;
        break;
    case EXTENSION_BITMAPS:
        if (size >= 24 && (q->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
            q->bitmap_count = be32_read(data);
            q->bitmaps = (Qcow2Range){ be64_read(data + 16), be64_read(data + 8) };
        }
        break;
    default:
        break;
    }
}

static bool read_extensions(Image *image, const uint8_t *first, size_t size, Extensions *extensions,
                            GError **error)
{
    Qcow2 *q = image->state;
    size_t at = q->header_length;
    while (at + 8 <= size) {
        uint32_t type = be32_read(first + at), length = be32_read(first + at + 4);
        at += 8;
        if (type == EXTENSION_END)
            return true;
        if (length > size - at)
            return damaged(image, error, "an extension of its header is cut off");
        read_extension(image, extensions, type, first + at, length);
        at += ((size_t)length + 7) & ~(size_t)7;
    }
    return true;
}

static bool open_backing(Image *image, ImageScope *scope, const uint8_t *h,
                         const Extensions *extensions, GError **error)
{
    uint64_t offset = be64_read(h + QCOW2_BACKING_OFFSET);
    uint32_t size = be32_read(h + QCOW2_BACKING_SIZE);
    if (!offset)
        return true;
    char name[BACKING_NAME_MAX + 1] = "";
    if (size == 0 || size > BACKING_NAME_MAX || !image_file_has(image->file, offset, size))
        return damaged(image, error, "the name of its backing file is cut off");
    int result = image_file_read(image->file, offset, name, size);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    image->backing_name = g_utf8_make_valid(name, -1);
    const char *format = extensions->backing_format;
    if (format && !image_format_known(format)) {
        g_autofree char *escaped = g_strescape(format, NULL);
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "has a backing file of format '%s', which is unknown: use raw, qcow2, vmdk, "
                    "vdi, vhd or vhdx",
                    escaped);
        return false;
    }
    const char *guess = image_format_of_name(name);
    bool told = format != NULL || !g_str_equal(guess, "raw");
    if (!image_open_backing(image, scope, name, format ? format : told ? guess : NULL, error))
        return false;
    // What a guest wrote to a raw base must not decide how the base is read.
    if (!told && !g_str_equal(image_format(image->backing), "raw")) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "does not say which format its backing file '%s' has, which looks like %s: "
                    "note it with 'qemu-img rebase -u -F'",
                    image->backing_name, image_format(image->backing));
        return false;
    }
    return true;
}

static bool open_data_file(Image *image, ImageScope *scope, const Extensions *extensions,
                           GError **error)
{
    Qcow2 *q = image->state;
    q->data_file = image->file;
    if (!(q->incompatible & QCOW2_DATA_FILE))
        return true;
    if (!image->read_only) {
        image_error(image, G_IO_ERROR_READ_ONLY, error,
                    "keeps its data in an external file, which can only be read: attach it "
                    "read-only, or convert it with 'lodgectl disk convert'");
        return false;
    }
    if (!extensions->data_file)
        return damaged(image, error, "it does not name its external data file");
    ImageFile *file = image_file_open_related(scope, image->file, extensions->data_file,
                                              "data file", true, true, error);
    if (!file)
        return false;
    g_ptr_array_add(image->files, file);
    q->data_file = file;
    return true;
}

// The snapshot table: what it names is only needed so as not to be written over.
static bool read_snapshots(Image *image, const uint8_t *h, GError **error)
{
    Qcow2 *q = image->state;
    uint32_t count = be32_read(h + QCOW2_SNAPSHOTS);
    uint64_t start = be64_read(h + QCOW2_SNAPSHOTS_OFFSET), at = start;
    if (count > QCOW2_SNAPSHOTS_MAX)
        return damaged(image, error, "it has more than 65,536 snapshots");
    for (uint32_t i = 0; i < count; i++) {
        uint8_t head[SNAPSHOT_HEAD];
        if (!image_file_has(image->file, at, sizeof head) ||
            image_file_read(image->file, at, head, sizeof head) < 0)
            return damaged(image, error, "its snapshot table is cut off");
        Qcow2Snapshot snapshot = { be64_read(head), be32_read(head + 8) };
        uint64_t l1_bytes = (uint64_t)snapshot.l1_size * 8;
        if (snapshot.l1_offset % q->cluster_size || l1_bytes > QCOW2_L1_BYTES_MAX ||
            !image_file_has(image->file, snapshot.l1_offset, l1_bytes))
            return damaged(image, error, "a snapshot's L1 table lies beyond the end of the file");
        g_array_append_val(q->snapshots, snapshot);
        uint64_t length = SNAPSHOT_HEAD + (uint64_t)be32_read(head + 36) + be16_read(head + 12) +
                          be16_read(head + 14);
        at += (length + 7) & ~UINT64_C(7);
    }
    q->snapshot_table = (Qcow2Range){ start, at - start };
    return true;
}

static bool read_l1(Image *image, GError **error)
{
    Qcow2 *q = image->state;
    size_t bytes = (size_t)q->l1_size * 8;
    q->l1 = g_malloc(MAX(bytes, 8));
    int result = image_file_read(image->file, q->l1_offset, q->l1, bytes);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    for (uint32_t i = 0; i < q->l1_size; i++)
        q->l1[i] = be64_read(&q->l1[i]);
    return true;
}

bool qcow2_read_header(Image *image, ImageScope *scope, GError **error)
{
    Qcow2 *q = image->state;
    uint8_t h[HEADER_MAX];
    if (!image_file_has(image->file, 0, 72))
        return damaged(image, error, "its header is cut off");
    int result = image_file_read(image->file, 0, h, sizeof h);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    if (memcmp(h, "QFI\xfb", 4) != 0) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "is not a qcow2 image: it does not begin like one; set the right format");
        return false;
    }
    if (!read_fixed(image, h, error))
        return false;
    size_t size = (size_t)MIN(q->cluster_size, EXTENSIONS_MAX);
    g_autofree uint8_t *first = g_malloc(size);
    result = image_file_read(image->file, 0, first, size);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    Extensions extensions = { 0 };
    bool done = read_extensions(image, first, size, &extensions, error) &&
                check_features(image, h, &extensions, error) && check_sizes(image, error) &&
                open_data_file(image, scope, &extensions, error) &&
                read_snapshots(image, h, error) && read_l1(image, error) &&
                open_backing(image, scope, h, &extensions, error);
    g_free(extensions.backing_format);
    g_free(extensions.data_file);
    return done;
}
