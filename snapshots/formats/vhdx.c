// SPDX-License-Identifier: GPL-2.0-or-later
// VHDX images of Hyper-V: dynamic, fixed and differencing, read in place. Two headers, of which the
// newer valid one counts; the log (vhdx-log.c); two copies of the region table; the metadata table;
// the block allocation table, whose entries for payload blocks are followed, after each chunk, by
// one for a bitmap of sectors. Images are not written: convert them.
#include "snapshots/formats/vhdx-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define TABLE_PAGE     4096u
#define TABLE_PAGES    1024u
#define REGIONS_MAX    2047u
#define METADATA_MAX   2047u
#define METADATA_TABLE (64u << 10)
#define BLOCK_MAX      (256u << 20)
#define DISK_MAX       (UINT64_C(64) << 40)
#define LOCATOR_MAX    (64u << 10)

// 2.5.1: states of a payload block.
enum { NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT = 6, PARTIALLY_PRESENT = 7 };

// GUIDs as they lie in the file.
static const uint8_t region_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                        0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
static const uint8_t region_metadata[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                             0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
static const uint8_t item_parameters[16] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                             0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
static const uint8_t item_size[16] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                       0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
static const uint8_t item_page_83[16] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                          0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };
static const uint8_t item_logical[16] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                          0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
static const uint8_t item_physical[16] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                           0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };
static const uint8_t item_parent[16] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                         0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c };

typedef struct {
    VhdxRange bat, metadata;
    uint32_t block_size, sector_size;
    bool has_parent;
    uint64_t chunk; // payload blocks before each bitmap entry
    uint8_t data_guid[16];
    char *parent_linkage;     // text of a GUID
    VhdxRange parent_locator; // length 0: none
    ImageCache *table;
    ImageCache *bitmaps;
    VhdxOverlay *overlay;
} Vhdx;

static int vhdx_probe(const uint8_t *head, size_t size, const char *path)
{
    return size >= 8 && memcmp(head, "vhdxfile", 8) == 0 ? 100 : 0;
}

static bool damaged(Image *image, GError **error, const char *what)
{
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "is a damaged VHDX image: %s; restore it from a copy", what);
    return false;
}

static bool header_is_good(const uint8_t *h)
{
    return memcmp(h, "head", 4) == 0 && le32_read(h + 4) == vhdx_checksum(h, VHDX_HEADER_BYTES, 4);
}

// 2.2.2: the valid header with the higher sequence number.
static bool read_header(Image *image, uint8_t *h, GError **error)
{
    uint8_t id[8], other[VHDX_HEADER_BYTES];
    int result = image_file_read(image->file, 0, id, sizeof id);
    if (result == 0)
        result = image_file_read(image->file, VHDX_HEADER_1, h, VHDX_HEADER_BYTES);
    if (result == 0)
        result = image_file_read(image->file, VHDX_HEADER_2, other, sizeof other);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    if (memcmp(id, "vhdxfile", 8) != 0) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "is not a VHDX image: it does not begin like one; set the right format");
        return false;
    }
    bool first = header_is_good(h), second = header_is_good(other);
    if (!first && !second)
        return damaged(image, error, "neither of its headers is valid");
    if (second && (!first || le64_read(other + 8) > le64_read(h + 8)))
        memcpy(h, other, VHDX_HEADER_BYTES);
    if (le16_read(h + 66) == 1)
        return true;
    image_error(
        image, G_IO_ERROR_NOT_SUPPORTED, error,
        "is VHDX version %u, which is unknown here: convert it with a program that knows it",
        le16_read(h + 66));
    return false;
}

static bool replay_log(Image *image, const uint8_t *h, GError **error)
{
    Vhdx *v = image->state;
    static const uint8_t none[16];
    VhdxRange log = { le64_read(h + 72), le32_read(h + 68) };
    memcpy(v->data_guid, h + 32, 16);
    if (memcmp(h + 48, none, 16) == 0)
        return true; // it was closed
    if (le16_read(h + 64) != 0) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "has a log of version %u, which is unknown here: open it once in Hyper-V",
                    le16_read(h + 64));
        return false;
    }
    if (log.length == 0 || log.length % VHDX_MIB || log.length > VHDX_LOG_MAX ||
        log.offset < VHDX_MIB || log.offset % VHDX_MIB ||
        !image_file_has(image->file, log.offset, log.length))
        return damaged(image, error, "its log lies beyond the end of the file");
    return vhdx_log_replay(image, log, h + 48, &v->overlay, error);
}

static bool read_region_table(Image *image, uint64_t offset, uint8_t *table)
{
    return image_file_read(image->file, offset, table, VHDX_REGIONS_BYTES) == 0 &&
           memcmp(table, "regi", 4) == 0 &&
           le32_read(table + 4) == vhdx_checksum(table, VHDX_REGIONS_BYTES, 4);
}

static bool read_regions(Image *image, GError **error)
{
    Vhdx *v = image->state;
    g_autofree uint8_t *table = g_malloc(VHDX_REGIONS_BYTES);
    if (!read_region_table(image, VHDX_REGIONS_1, table) &&
        !read_region_table(image, VHDX_REGIONS_2, table))
        return damaged(image, error, "neither of its region tables is valid");
    uint32_t count = le32_read(table + 8);
    if (count > REGIONS_MAX)
        return damaged(image, error, "its region table is too long");
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *row = table + 16 + i * 32;
        VhdxRange range = { le64_read(row + 16), le32_read(row + 24) };
        if (range.offset % VHDX_MIB || range.offset < VHDX_MIB || range.length % VHDX_MIB ||
            !image_file_has(image->file, range.offset, range.length))
            return damaged(image, error, "a region lies beyond the end of the file");
        if (memcmp(row, region_bat, 16) == 0) {
            v->bat = range;
        } else if (memcmp(row, region_metadata, 16) == 0) {
            v->metadata = range;
        } else if (le32_read(row + 28) & 1) {
            image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                        "has a region that is required and unknown here: convert it with a program "
                        "that knows it");
            return false;
        }
    }
    if (!v->bat.length || !v->metadata.length)
        return damaged(image, error, "a region is missing");
    return true;
}

// One item of the metadata table. ret_value: what it says, up to 8 bytes.
static bool read_item(Image *image, const uint8_t *row, GError **error)
{
    Vhdx *v = image->state;
    uint32_t offset = le32_read(row + 16), length = le32_read(row + 20),
             flags = le32_read(row + 24);
    uint8_t value[8] = { 0 };
    if (offset < METADATA_TABLE || !range_within(offset, length, v->metadata.length))
        return damaged(image, error, "a metadata item lies outside of its region");
    if (image_file_read(image->file, v->metadata.offset + offset, value, MIN(length, 8)) < 0)
        return damaged(image, error, "a metadata item cannot be read");
    if (memcmp(row, item_parameters, 16) == 0 && length >= 8) {
        v->block_size = le32_read(value);
        v->has_parent = le32_read(value + 4) & 2;
    } else if (memcmp(row, item_size, 16) == 0 && length >= 8) {
        image->size = le64_read(value);
    } else if (memcmp(row, item_logical, 16) == 0 && length >= 4) {
        v->sector_size = le32_read(value);
    } else if (memcmp(row, item_parent, 16) == 0) {
        v->parent_locator = (VhdxRange){ v->metadata.offset + offset, length };
    } else if (memcmp(row, item_page_83, 16) != 0 && memcmp(row, item_physical, 16) != 0 &&
               (flags & 4)) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "has a metadata item that is required and unknown here: convert it with a "
                    "program that knows it");
        return false;
    }
    return true;
}

static bool read_metadata(Image *image, GError **error)
{
    Vhdx *v = image->state;
    g_autofree uint8_t *table = g_malloc(METADATA_TABLE);
    int result = image_file_read(image->file, v->metadata.offset, table, METADATA_TABLE);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    uint16_t count = le16_read(table + 10);
    if (memcmp(table, "metadata", 8) != 0 || count > METADATA_MAX)
        return damaged(image, error, "its metadata table is not valid");
    for (uint16_t i = 0; i < count; i++) {
        if (!read_item(image, table + 32 + i * 32u, error))
            return false;
    }
    if (v->sector_size != 512 && v->sector_size != 4096)
        return damaged(image, error, "its sectors have neither 512 nor 4,096 bytes");
    if (v->block_size < VHDX_MIB || v->block_size > BLOCK_MAX ||
        (v->block_size & (v->block_size - 1)))
        return damaged(image, error, "its blocks are not 1 to 256 MiB");
    if (image->size == 0 || image->size > DISK_MAX || image->size % v->sector_size)
        return damaged(image, error, "it claims a disk of an impossible size");
    v->chunk = (UINT64_C(1) << 23) * v->sector_size / v->block_size;
    uint64_t blocks = (image->size + v->block_size - 1) / v->block_size;
    uint64_t entries = blocks + (blocks - 1) / v->chunk;
    if (v->has_parent)
        entries = (blocks + v->chunk - 1) / v->chunk * (v->chunk + 1);
    if (entries * 8 > v->bat.length)
        return damaged(image, error, "its block table is too small for its size");
    return true;
}

static char *utf16_text(const uint8_t *bytes, size_t size)
{
    g_autofree gunichar2 *units = g_new0(gunichar2, size / 2 + 1);
    for (size_t i = 0; i + 2 <= size; i += 2)
        units[i / 2] = le16_read(bytes + i);
    return g_utf16_to_utf8(units, -1, NULL, NULL, NULL);
}

// 2.6.2.6: keys and values. Returns the relative path, with slashes, or NULL.
static char *read_locator(Image *image)
{
    Vhdx *v = image->state;
    size_t size = (size_t)MIN(v->parent_locator.length, LOCATOR_MAX);
    g_autofree uint8_t *bytes = g_malloc0(size + 20);
    if (size < 20 || image_file_read(image->file, v->parent_locator.offset, bytes, size) < 0)
        return NULL;
    char *path = NULL;
    uint16_t count = le16_read(bytes + 18);
    for (size_t at = 20; count-- && at + 12 <= size; at += 12) {
        uint32_t key_at = le32_read(bytes + at), value_at = le32_read(bytes + at + 4);
        uint16_t key_size = le16_read(bytes + at + 8), value_size = le16_read(bytes + at + 10);
        if (!range_within(key_at, key_size, size) || !range_within(value_at, value_size, size))
            return path;
        g_autofree char *key = utf16_text(bytes + key_at, key_size);
        g_autofree char *value = utf16_text(bytes + value_at, value_size);
        if (!key || !value)
            continue;
        if (g_str_equal(key, "relative_path") && !path) {
            g_strdelimit(value, "\\", '/');
            path = g_strdup(g_str_has_prefix(value, "./") ? value + 2 : value);
        } else if (g_str_equal(key, "parent_linkage") && !v->parent_linkage) {
            v->parent_linkage = g_steal_pointer(&value);
        }
    }
    return path;
}

static bool is_linked(const Vhdx *v, const Vhdx *parent)
{
    const uint8_t *g = parent->data_guid;
    g_autofree char *text = g_strdup_printf("{%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x}",
                                            le32_read(g), le16_read(g + 4), le16_read(g + 6), g[8],
                                            g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
    return v->parent_linkage && g_ascii_strcasecmp(v->parent_linkage, text) == 0;
}

static bool open_parent(Image *image, ImageScope *scope, GError **error)
{
    Vhdx *v = image->state;
    g_autofree char *path = v->parent_locator.length ? read_locator(image) : NULL;
    if (!path)
        return damaged(image, error, "it stands on another disk, but does not name it");
    image->backing_name = g_strdup(path);
    if (!image_open_backing(image, scope, path, "vhdx", error))
        return false;
    if (is_linked(v, image->backing->state))
        return true;
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "was made over another parent than '%s', which has a different identity: put the "
                "right file there",
                path);
    return false;
}

static bool vhdx_open(Image *image, ImageScope *scope, const ImageOpen *options, GError **error)
{
    Vhdx *v = g_new0(Vhdx, 1);
    image->state = v;
    uint8_t h[VHDX_HEADER_BYTES];
    if (!read_header(image, h, error) || !replay_log(image, h, error) ||
        !read_regions(image, error) || !read_metadata(image, error))
        return false;
    v->table = image_cache_new(image->file, 0, TABLE_PAGE, TABLE_PAGES);
    v->bitmaps = image_cache_new(image->file, 0, TABLE_PAGE, TABLE_PAGES);
    return !v->has_parent || open_parent(image, scope, error);
}

static int read_entry(Image *image, uint64_t index, uint64_t *ret_entry)
{
    Vhdx *v = image->state;
    uint8_t raw[8];
    int result = image_cache_read(v->table, v->bat.offset + index * 8, raw, sizeof raw);
    *ret_entry = le64_read(raw);
    return result;
}

// Sectors of a partially present block: whose they are, and how many are alike.
static int map_partial(Image *image, uint64_t offset, ImageMapping *mapping)
{
    Vhdx *v = image->state;
    uint64_t block = offset / v->block_size, entry, chunk = block / v->chunk;
    int result = read_entry(image, chunk * (v->chunk + 1) + v->chunk, &entry);
    if (result < 0)
        return result;
    uint64_t bitmap = entry >> 20 << 20;
    if ((entry & 7) != FULLY_PRESENT || !image_file_has(image->file, bitmap, VHDX_MIB))
        return image_trouble(image, "the bitmap for %" G_GUINT64_FORMAT " is missing", offset);
    uint64_t sector = (offset - chunk * v->chunk * v->block_size) / v->sector_size;
    uint64_t last = sector + (offset % v->sector_size + mapping->length - 1) / v->sector_size;
    uint8_t bits[512];
    uint64_t first_byte = sector / 8, bytes = MIN(last / 8 - first_byte + 1, sizeof bits);
    result = image_cache_read(v->bitmaps, bitmap + first_byte, bits, (size_t)bytes);
    if (result < 0)
        return result;
    uint64_t at = sector - first_byte * 8, end = MIN(last - first_byte * 8 + 1, bytes * 8);
    bool own = bits[at / 8] >> at % 8 & 1;
    uint64_t count = 0;
    while (at < end && (bits[at / 8] >> at % 8 & 1) == own) {
        at++;
        count++;
    }
    mapping->kind = own ? MAP_DATA : MAP_BACKING;
    mapping->length = MIN(mapping->length, count * v->sector_size - offset % v->sector_size);
    return 0;
}

static int vhdx_map(Image *image, uint64_t offset, uint64_t length, ImageMapping *ret_mapping)
{
    const Vhdx *v = image->state;
    uint64_t block = offset / v->block_size, within = offset % v->block_size, entry;
    int result = read_entry(image, block + block / v->chunk, &entry);
    if (result < 0)
        return result;
    uint64_t start = entry >> 20 << 20;
    *ret_mapping = (ImageMapping){ .kind = MAP_ZERO,
                                   .length = MIN(length, v->block_size - within),
                                   .file = image->file,
                                   .position = start + within };
    unsigned state = entry & 7;
    switch (state) {
    case NOT_PRESENT:
        ret_mapping->kind = MAP_BACKING;
        return 0;
    case UNDEFINED:
    case ZERO:
    case UNMAPPED:
        return 0;
    case FULLY_PRESENT:
    case PARTIALLY_PRESENT:
        break;
    default:
        return image_trouble(image, "the block at %" G_GUINT64_FORMAT " is in a state that is none",
                             offset);
    }
    if (start < VHDX_MIB || start >= image_file_size(image->file))
        return image_trouble(image,
                             "the block at %" G_GUINT64_FORMAT " lies beyond the end of the "
                             "file",
                             offset);
    ret_mapping->kind = MAP_DATA;
    if (state == FULLY_PRESENT)
        return 0;
    if (!v->has_parent)
        return image_trouble(
            image, "the block at %" G_GUINT64_FORMAT " is partial without a parent", offset);
    return map_partial(image, offset, ret_mapping);
}

static void vhdx_info(Image *image, ImageInfo *info)
{
    const Vhdx *v = image->state;
    info->unit = v->block_size;
    info->dirty = v->overlay != NULL;
    image_info_feature(info, v->has_parent ? "differencing" : "dynamic or fixed");
    if (v->overlay)
        image_info_feature(info, "log replayed in memory");
}

static void vhdx_close(Image *image)
{
    Vhdx *v = image->state;
    if (!v)
        return;
    image_cache_free(v->table);
    image_cache_free(v->bitmaps);
    vhdx_overlay_free(v->overlay);
    g_free(v->parent_linkage);
    g_free(v);
}

const ImageOps image_vhdx_ops = {
    .name = "vhdx",
    .probe = vhdx_probe,
    .open = vhdx_open,
    .map = vhdx_map,
    .info = vhdx_info,
    .close = vhdx_close,
};
