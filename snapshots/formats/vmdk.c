// SPDX-License-Identifier: GPL-2.0-or-later
// VMDK images: one file (monolithicSparse, streamOptimized) or a descriptor with extents beside it
// (monolithicFlat, twoGbMaxExtentSparse and Flat, vmfs). Flat and sparse extents are read and
// written in place; streamOptimized ones are read. A sparse extent maps grains through a directory
// and tables, kept twice; both copies are written.
//
// A new grain's data goes out before a table names it: at a flush, after the data was synced.
#include "snapshots/formats/vmdk-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "snapshots/formats/image-cache.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define GRAIN_MAX     (UINT64_C(2) << 20)
#define GTES_MAX      8192u
#define DIRECTORY_MAX (UINT64_C(64) << 20) // bytes
#define TABLE_PAGE    512u
#define TABLE_PAGES   8192u // of all extents together
#define DIRTY_MAX     512u

typedef struct {
    VmdkExtentType type;
    uint64_t start, length; // bytes of the disk
    ImageFile *file;
    uint64_t offset; // FLAT: bytes into the file

    // SPARSE
    uint64_t grain;                // bytes
    uint32_t gtes;                 // in a table
    uint64_t directory, redundant; // bytes into the file; redundant 0: none
    uint32_t directory_entries;
    bool compressed, markers, zero_grains;
    ImageCache *tables; // directory, too
} Extent;

typedef struct {
    Extent *extents;
    guint count;
    char *create_type;
    uint32_t cid;
    uint64_t grain;                       // the largest
    uint64_t descriptor, descriptor_size; // in the image's own file; size 0: none
} Vmdk;

static int vmdk_probe(const uint8_t *head, size_t size, const char *path)
{
    static const char text[] = "# Disk DescriptorFile";
    if (size >= 4 && (le32_read(head) == VMDK_MAGIC || memcmp(head, "COWD", 4) == 0))
        return 100;
    return size >= sizeof text && memcmp(head, text, sizeof text - 1) == 0 ? 90 : 0;
}

static bool damaged(Image *image, GError **error, const char *what)
{
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "is a damaged VMDK image: %s; restore it from a copy", what);
    return false;
}

// The header; where it says that the directory is at the end, its copy in the footer.
static bool read_sparse_header(Image *image, ImageFile *file, uint8_t *h, GError **error)
{
    int result = image_file_read(file, 0, h, VMDK_HEADER_BYTES);
    if (result == 0 && le32_read(h) == VMDK_MAGIC &&
        le64_read(h + VMDK_GD_OFFSET) == VMDK_GD_AT_END) {
        uint64_t size = image_file_size(file);
        if (size < 3 * VMDK_HEADER_BYTES)
            return damaged(image, error, "it is truncated");
        result = image_file_read(file, size - 2 * VMDK_HEADER_BYTES, h, VMDK_HEADER_BYTES);
        if (result == 0 &&
            (le32_read(h) != VMDK_MAGIC || le64_read(h + VMDK_GD_OFFSET) == VMDK_GD_AT_END))
            return damaged(image, error, "it is truncated, its footer is missing");
    }
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    if (le32_read(h) == VMDK_MAGIC)
        return true;
    image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                memcmp(h, "COWD", 4) == 0
                    ? "is an ESX sparse disk (COWD), which is not supported: convert it with "
                      "'vmkfstools -i'"
                    : "is no VMDK image or has an extent that is none: set the right format");
    return false;
}

static bool open_sparse(Image *image, Extent *extent, const uint8_t *h, GError **error)
{
    uint32_t version = le32_read(h + VMDK_VERSION), flags = le32_read(h + VMDK_FLAGS);
    uint64_t capacity = le64_read(h + VMDK_CAPACITY), grain = le64_read(h + VMDK_GRAIN_SIZE);
    uint64_t directory = le64_read(h + VMDK_GD_OFFSET), redundant = le64_read(h + VMDK_RGD_OFFSET);
    extent->gtes = le32_read(h + VMDK_GTES_PER_GT);
    if (version < 1 || version > 3) {
        image_error(
            image, G_IO_ERROR_NOT_SUPPORTED, error,
            "is a VMDK of version %u, which is unknown here: convert it with a program that "
            "knows it",
            version);
        return false;
    }
    if ((flags & VMDK_NEWLINES) && memcmp(h + VMDK_END_OF_LINE, "\n \r\n", 4) != 0)
        return damaged(image, error, "it was transferred as text");
    extent->compressed = flags & VMDK_COMPRESSED;
    extent->markers = flags & VMDK_MARKERS;
    extent->zero_grains = flags & VMDK_ZERO_GRAINS;
    if (extent->compressed && le16_read(h + VMDK_COMPRESSION) != 1)
        return damaged(image, error, "it is compressed by an unknown method");
    if (grain < 8 || grain > GRAIN_MAX / 512 || (grain & (grain - 1)))
        return damaged(image, error, "its grains are not 4 KiB to 2 MiB");
    if (extent->gtes == 0 || extent->gtes > GTES_MAX)
        return damaged(image, error, "its grain tables have an impossible size");
    if (capacity == 0 || capacity > (UINT64_C(1) << 51))
        return damaged(image, error, "it claims a disk of an impossible size");
    extent->grain = grain * 512;
    uint64_t grains = (capacity + grain - 1) / grain;
    uint64_t entries = (grains + extent->gtes - 1) / extent->gtes;
    if (entries * 4 > DIRECTORY_MAX)
        return damaged(image, error, "its grain directory is larger than 64 MiB");
    if (directory > UINT64_MAX / 512 || !image_file_has(extent->file, directory * 512, entries * 4))
        return damaged(image, error, "its grain directory lies beyond the end of the file");
    bool twice = (flags & VMDK_REDUNDANT) && redundant <= UINT64_MAX / 512 &&
                 image_file_has(extent->file, redundant * 512, entries * 4);
    extent->directory = directory * 512;
    extent->redundant = twice ? redundant * 512 : 0;
    extent->directory_entries = (uint32_t)entries;
    extent->length = capacity * 512;
    const Vmdk *v = image->state;
    extent->tables = image_cache_new(extent->file, 0, TABLE_PAGE, MAX(TABLE_PAGES / v->count, 16));
    return true;
}

static bool add_extent(Image *image, ImageScope *scope, const VmdkExtentLine *line, Extent *extent,
                       GError **error)
{
    extent->type = line->type;
    extent->length = line->sectors * 512;
    if (line->type == VMDK_ZERO)
        return true;
    extent->file = image_file_open_related(scope, image->file, line->file, "extent",
                                           image->read_only, true, error);
    if (!extent->file)
        return false;
    g_ptr_array_add(image->files, extent->file);
    extent->offset = line->offset * 512;
    if (line->type == VMDK_FLAT) {
        if (image_file_has(extent->file, extent->offset, extent->length))
            return true;
        return damaged(image, error, "an extent is shorter than the descriptor says");
    }
    uint8_t h[VMDK_HEADER_BYTES];
    uint64_t wanted = extent->length;
    if (!read_sparse_header(image, extent->file, h, error) || !open_sparse(image, extent, h, error))
        return false;
    if (extent->length < wanted)
        return damaged(image, error, "an extent is smaller than the descriptor says");
    extent->length = wanted;
    return true;
}

static bool open_parent(Image *image, ImageScope *scope, const VmdkDescriptor *d, GError **error)
{
    Vmdk *v = image->state;
    v->cid = d->cid;
    if (d->parent_cid == UINT32_MAX)
        return true;
    if (!d->parent_hint)
        return damaged(image, error, "it stands on another disk, but does not name it");
    image->backing_name = g_strdup(d->parent_hint);
    if (!image_open_backing(image, scope, d->parent_hint, "vmdk", error))
        return false;
    const Vmdk *parent = image->backing->state;
    if (parent->cid == d->parent_cid)
        return true;
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "stands on '%s', which was changed since (its CID is %08x, not %08x): restore that "
                "from a copy",
                d->parent_hint, parent->cid, d->parent_cid);
    return false;
}

static bool add_extents(Image *image, ImageScope *scope, const VmdkDescriptor *d, GError **error)
{
    Vmdk *v = image->state;
    v->extents = g_new0(Extent, d->extents->len);
    v->count = d->extents->len;
    for (guint i = 0; i < d->extents->len; i++) {
        Extent *extent = &v->extents[i];
        if (!add_extent(image, scope, &g_array_index(d->extents, VmdkExtentLine, i), extent, error))
            return false;
        extent->start = image->size;
        if (!checked_add(image->size, extent->length, &image->size))
            return damaged(image, error, "it claims a disk of an impossible size");
    }
    return true;
}

static char *read_text(Image *image, uint64_t offset, uint64_t size, GError **error)
{
    g_autofree char *text = g_malloc0((size_t)size + 1);
    int result = image_file_read(image->file, offset, text, (size_t)size);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return NULL;
    }
    return g_steal_pointer(&text);
}

// A sparse file that is the whole image; its descriptor is for what it stands on.
static bool open_monolithic(Image *image, ImageScope *scope, const uint8_t *h, GError **error)
{
    Vmdk *v = image->state;
    v->extents = g_new0(Extent, 1);
    v->count = 1;
    v->extents[0].file = image->file;
    if (!open_sparse(image, &v->extents[0], h, error))
        return false;
    image->size = v->extents[0].length;
    uint64_t offset = le64_read(h + VMDK_DESCRIPTOR), size = le64_read(h + VMDK_DESCRIPTOR_SIZE);
    if (offset == 0)
        return true; // an extent of a larger disk, looked at by itself
    if (offset > UINT64_MAX / 512 || size > VMDK_DESCRIPTOR_MAX / 512 ||
        !image_file_has(image->file, offset * 512, size * 512))
        return damaged(image, error, "its descriptor lies beyond the end of the file");
    v->descriptor = offset * 512;
    v->descriptor_size = size * 512;
    g_autofree char *text = read_text(image, v->descriptor, v->descriptor_size, error);
    VmdkDescriptor d;
    if (!text || !vmdk_descriptor_parse(image, text, &d, error))
        return false;
    v->create_type = g_steal_pointer(&d.create_type);
    bool done = open_parent(image, scope, &d, error);
    vmdk_descriptor_clear(&d);
    return done;
}

static bool open_described(Image *image, ImageScope *scope, GError **error)
{
    Vmdk *v = image->state;
    uint64_t size = image_file_size(image->file);
    if (size > VMDK_DESCRIPTOR_MAX)
        return damaged(image, error, "its descriptor is larger than 64 KiB");
    v->descriptor_size = size;
    g_autofree char *text = read_text(image, 0, size, error);
    VmdkDescriptor d;
    if (!text || !vmdk_descriptor_parse(image, text, &d, error))
        return false;
    v->create_type = g_steal_pointer(&d.create_type);
    bool done = add_extents(image, scope, &d, error) && open_parent(image, scope, &d, error);
    vmdk_descriptor_clear(&d);
    return done;
}

static bool vmdk_open(Image *image, ImageScope *scope, const ImageOpen *options, GError **error)
{
    Vmdk *v = g_new0(Vmdk, 1);
    image->state = v;
    uint8_t h[VMDK_HEADER_BYTES] = { 0 };
    int result = image_file_read(image->file, 0, h, sizeof h);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    bool text = memcmp(h, "# Disk Descript", 15) == 0;
    if (!text && !read_sparse_header(image, image->file, h, error))
        return false;
    if (!(text ? open_described(image, scope, error) : open_monolithic(image, scope, h, error)))
        return false;
    for (guint i = 0; i < v->count; i++) {
        v->grain = MAX(v->grain, v->extents[i].grain);
        if (v->extents[i].compressed && !image->read_only) {
            image_error(
                image, G_IO_ERROR_READ_ONLY, error,
                "is a streamOptimized VMDK, which can only be read: attach it read-only, or "
                "convert it with 'lodgectl disk convert'");
            return false;
        }
    }
    image->unit_size = (size_t)v->grain;
    return true;
}

static Extent *extent_at(const Vmdk *v, uint64_t offset)
{
    guint low = 0, high = v->count - 1;
    while (low < high) {
        guint middle = (low + high + 1) / 2;
        if (v->extents[middle].start <= offset)
            low = middle;
        else
            high = middle - 1;
    }
    return &v->extents[low];
}

// Where the table entry of a grain lies; 0 where there is no table. from: directory or its copy.
static int find_entry(Image *image, Extent *extent, uint64_t from, uint64_t grain,
                      uint64_t *ret_position)
{
    uint8_t raw[4];
    int result = image_cache_read(extent->tables, from + grain / extent->gtes * 4, raw, sizeof raw);
    if (result < 0)
        return result;
    uint64_t table = (uint64_t)le32_read(raw) * 512;
    if (table && !image_file_has(extent->file, table, (uint64_t)extent->gtes * 4))
        return image_trouble(image, "a grain table lies beyond the end of the file");
    *ret_position = table ? table + grain % extent->gtes * 4 : 0;
    return 0;
}

static int vmdk_map(Image *image, uint64_t offset, uint64_t length, ImageMapping *ret_mapping)
{
    const Vmdk *v = image->state;
    Extent *extent = extent_at(v, offset);
    uint64_t within = offset - extent->start;
    length = MIN(length, extent->length - within);
    *ret_mapping = (ImageMapping){ .kind = MAP_ZERO, .length = length, .file = extent->file };
    if (extent->type == VMDK_ZERO)
        return 0;
    if (extent->type == VMDK_FLAT) {
        ret_mapping->kind = MAP_DATA;
        ret_mapping->position = extent->offset + within;
        ret_mapping->in_place = true;
        return 0;
    }
    uint64_t grain = within / extent->grain, position;
    ret_mapping->length = MIN(length, extent->grain - within % extent->grain);
    int result = find_entry(image, extent, extent->directory, grain, &position);
    uint8_t raw[4] = { 0 };
    if (result == 0 && position)
        result = image_cache_read(extent->tables, position, raw, sizeof raw);
    if (result < 0)
        return result;
    uint32_t entry = le32_read(raw);
    if (entry == 1 && extent->zero_grains)
        return 0;
    ret_mapping->kind = MAP_BACKING;
    if (!position) { // nothing in the whole range of a table that is not there
        uint64_t span = extent->grain * extent->gtes;
        ret_mapping->length = MIN(length, span - within % span);
    }
    if (entry == 0)
        return 0;
    uint64_t data = (uint64_t)entry * 512;
    if (data >= image_file_size(extent->file))
        return image_trouble(image,
                             "the grain at %" G_GUINT64_FORMAT " lies beyond the end of the "
                             "file",
                             offset);
    ret_mapping->kind = extent->compressed ? MAP_PACKED : MAP_DATA;
    ret_mapping->position = data + within % extent->grain;
    ret_mapping->in_place = !extent->compressed;
    ret_mapping->unit = offset - within % extent->grain;
    ret_mapping->token[0] = data;
    return 0;
}

// A grain with its marker: sector number, size, zlib. Without markers the zlib alone.
static int vmdk_unpack(Image *image, const ImageMapping *mapping, uint8_t *unit)
{
    const Vmdk *v = image->state;
    const Extent *extent = extent_at(v, mapping->unit);
    uint64_t position = mapping->token[0], size = extent->grain * 2;
    if (extent->markers) {
        uint8_t marker[12];
        int result = image_file_read(extent->file, position, marker, sizeof marker);
        if (result < 0)
            return result;
        size = le32_read(marker + 8);
        position += sizeof marker;
        if (size == 0 || size > extent->grain * 2 ||
            le64_read(marker) != (mapping->unit - extent->start) / 512)
            return image_trouble(image, "the grain at %" G_GUINT64_FORMAT " has a wrong marker",
                                 mapping->unit);
    }
    g_autofree uint8_t *packed = g_malloc((size_t)size);
    int result = image_file_read(extent->file, position, packed, (size_t)size);
    if (result < 0)
        return result;
    // The last grain of an extent may be packed without what lies behind the end.
    uint64_t left = extent->length - (mapping->unit - extent->start);
    result = image_unpack(PACK_ZLIB, packed, (size_t)size, unit, (size_t)extent->grain);
    if (result < 0 && left < extent->grain)
        result = image_unpack(PACK_ZLIB, packed, (size_t)size, unit, (size_t)left);
    if (result < 0)
        return image_trouble(image, "the grain at %" G_GUINT64_FORMAT " cannot be unpacked",
                             mapping->unit);
    return 0;
}

static bool vmdk_needs_flush(Image *image)
{
    const Vmdk *v = image->state;
    for (guint i = 0; i < v->count; i++) {
        if (v->extents[i].tables && image_cache_dirty(v->extents[i].tables))
            return true;
    }
    return false;
}

static int vmdk_flush(Image *image)
{
    Vmdk *v = image->state;
    for (guint i = 0; i < v->count; i++) {
        Extent *extent = &v->extents[i];
        if (!extent->tables || !image_cache_dirty(extent->tables))
            continue;
        int result = image_cache_write_back(extent->tables);
        if (result == 0)
            result = image_file_sync(extent->file);
        if (result < 0)
            return result;
    }
    return 0;
}

// Disks that stand on this one know it by its CID: a changed disk gets another.
static int vmdk_touch(Image *image)
{
    Vmdk *v = image->state;
    if (!v->descriptor_size)
        return 0;
    g_autofree char *text = g_malloc0((size_t)v->descriptor_size + 1);
    int result = image_file_read(image->file, v->descriptor, text, (size_t)v->descriptor_size);
    if (result < 0)
        return result;
    char *at = g_str_has_prefix(text, "CID=") ? text : strstr(text, "\nCID=");
    if (!at)
        return 0;
    at += *at == '\n' ? 5 : 4;
    // In place: as many digits as there are.
    size_t count = strspn(at, "0123456789abcdefABCDEF");
    if (count == 0 || count > 8)
        return 0;
    uint32_t mask = (uint32_t)((UINT64_C(1) << count * 4) - 1), old = v->cid;
    v->cid = g_random_int() & mask;
    if (v->cid == old)
        v->cid ^= 1;
    g_autofree char *digits = g_strdup_printf("%0*x", (int)count, v->cid);
    return image_file_write(image->file, v->descriptor + (uint64_t)(at - text), digits, count);
}

static int set_entry(Image *image, Extent *extent, uint64_t grain, uint32_t entry)
{
    uint64_t directories[] = { extent->directory, extent->redundant };
    uint8_t raw[4];
    le32_write(raw, entry);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t position;
        if (i == 1 && !directories[i])
            break;
        int result = find_entry(image, extent, directories[i], grain, &position);
        if (result == 0 && !position && i == 0)
            result = image_trouble(image, "a grain table is missing");
        if (result == 0 && position)
            result = image_cache_write(extent->tables, position, raw, sizeof raw);
        if (result < 0)
            return result;
    }
    return 0;
}

// A grain table where there was none, at the end of the file, for one directory.
static int add_table(Image *image, Extent *extent, uint64_t directory, uint64_t grain)
{
    uint64_t position, bytes = (uint64_t)extent->gtes * 4;
    int result = find_entry(image, extent, directory, grain, &position);
    if (result < 0 || position)
        return result;
    uint64_t table = (image_file_size(extent->file) + 511) & ~UINT64_C(511);
    if (table / 512 > UINT32_MAX)
        return -EFBIG;
    g_autofree uint8_t *zeros = g_malloc0((size_t)((bytes + 511) & ~UINT64_C(511)));
    result = image_file_write(extent->file, table, zeros, (size_t)((bytes + 511) & ~UINT64_C(511)));
    if (result == 0)
        result = image_file_sync(extent->file);
    uint8_t raw[4];
    le32_write(raw, (uint32_t)(table / 512));
    image_cache_forget(extent->tables, table, bytes);
    if (result == 0)
        result = image_cache_write(extent->tables, directory + grain / extent->gtes * 4, raw, 4);
    return result;
}

static int vmdk_write(Image *image, uint64_t offset, const uint8_t *bytes, size_t size,
                      size_t *ret_done)
{
    const Vmdk *v = image->state;
    Extent *extent = extent_at(v, offset);
    if (extent->type == VMDK_ZERO)
        return -EROFS; // there is no file to hold it
    if (image_cache_dirty(extent->tables) > DIRTY_MAX) {
        int result = image_file_sync(extent->file);
        if (result == 0)
            result = vmdk_flush(image);
        if (result < 0)
            return result;
    }
    uint64_t within = offset - extent->start, grain = within / extent->grain;
    uint64_t start = offset - within % extent->grain;
    uint64_t there = MIN(extent->grain, extent->start + extent->length - start);
    size_t count = (size_t)MIN(size, start + there - offset);
    uint64_t position = (image_file_size(extent->file) + extent->grain - 1) & ~(extent->grain - 1);
    if (position / 512 > UINT32_MAX)
        return -EFBIG;
    g_autofree uint8_t *whole = g_malloc0((size_t)extent->grain);
    int result = image_read_locked(image, start, whole, (size_t)there);
    memcpy(whole + (offset - start), bytes, count);
    if (result == 0)
        result = image_file_write(extent->file, position, whole, (size_t)extent->grain);
    if (result == 0)
        result = add_table(image, extent, extent->directory, grain);
    if (result == 0 && extent->redundant)
        result = add_table(image, extent, extent->redundant, grain);
    if (result == 0)
        result = set_entry(image, extent, grain, (uint32_t)(position / 512));
    *ret_done = count;
    return result;
}

static void vmdk_info(Image *image, ImageInfo *info)
{
    const Vmdk *v = image->state;
    info->unit = v->grain;
    info->writable = !v->count || !v->extents[0].compressed;
    if (v->create_type)
        image_info_feature(info, "%s", v->create_type);
    if (v->count > 1)
        image_info_feature(info, "%u extents", v->count);
}

static void vmdk_close(Image *image)
{
    Vmdk *v = image->state;
    if (!v)
        return;
    for (guint i = 0; i < v->count; i++)
        image_cache_free(v->extents[i].tables);
    g_free(v->extents);
    g_free(v->create_type);
    g_free(v);
}

const ImageOps image_vmdk_ops = {
    .name = "vmdk",
    .probe = vmdk_probe,
    .open = vmdk_open,
    .map = vmdk_map,
    .unpack = vmdk_unpack,
    .write = vmdk_write,
    .touch = vmdk_touch,
    .needs_flush = vmdk_needs_flush,
    .flush = vmdk_flush,
    .info = vmdk_info,
    .close = vmdk_close,
};
