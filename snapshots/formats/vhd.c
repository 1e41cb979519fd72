// SPDX-License-Identifier: GPL-2.0-or-later
// VHD images (Virtual PC, Hyper-V, Azure): fixed, dynamic and differencing, read and written in
// place. A dynamic disk has blocks, each with a bitmap of its sectors before it, which says which
// sectors were written; others are the parent's or zero. The last 512 bytes of the file are the
// footer.
//
// A new block goes where the footer was, the footer moves behind it; both and the data are synced
// before the table names the block.
#include "snapshots/formats/vhd-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "snapshots/formats/image-cache.h"
#include "snapshots/formats/image-private.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define BLOCK_MAX   (256u << 20)
#define TABLE_PAGE  512u
#define TABLE_PAGES 4096u
#define DIRTY_MAX   512u
#define LOCATOR_MAX 4096u

typedef struct {
    uint32_t type;
    uint32_t block_size;
    uint32_t bitmap_size; // whole sectors
    uint32_t entries;
    uint64_t table_offset;
    uint64_t end; // where the next block goes, and the footer lies
    ImageCache *table;
    ImageCache *bitmaps;
    uint8_t footer[VHD_FOOTER_BYTES];
    bool footer_dirty;
} Vhd;

static int vhd_probe(const uint8_t *head, size_t size, const char *path)
{
    if (size >= VHD_FOOTER_BYTES && memcmp(head, VHD_COOKIE, 8) == 0)
        return 90;
    // A fixed disk has its footer at the end only; the name must tell.
    return g_str_equal(image_format_of_name(path), "vhd") ? 20 : 0;
}

static bool damaged(Image *image, GError **error, const char *what)
{
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "is a damaged VHD image: %s; restore it from a copy", what);
    return false;
}

static bool footer_is_good(const uint8_t *footer)
{
    return memcmp(footer, VHD_COOKIE, 8) == 0 &&
           be32_read(footer + VHD_CHECKSUM) == vhd_checksum(footer, VHD_FOOTER_BYTES, VHD_CHECKSUM);
}

// The footer at the end, else its copy at the beginning.
static bool read_footer(Image *image, GError **error)
{
    Vhd *v = image->state;
    uint64_t size = image_file_size(image->file);
    if (size < VHD_FOOTER_BYTES)
        return damaged(image, error, "it is too small to have a footer");
    v->end = size - VHD_FOOTER_BYTES;
    int result = image_file_read(image->file, v->end, v->footer, sizeof v->footer);
    if (result == 0 && !footer_is_good(v->footer)) {
        v->end = (size + 511) & ~UINT64_C(511);
        v->footer_dirty = true;
        result = image_file_read(image->file, 0, v->footer, sizeof v->footer);
        if (result == 0 && !footer_is_good(v->footer)) {
            image_error(image, G_IO_ERROR_INVALID_DATA, error,
                        "is not a VHD image, or a truncated one: it has no valid footer");
            return false;
        }
    }
    if (result < 0)
        image_error_errno(image, result, "read", error);
    return result == 0;
}

static bool check_fixed(Image *image, GError **error)
{
    Vhd *v = image->state;
    if (v->footer_dirty || image->size > v->end)
        return damaged(image, error, "it is truncated");
    return true;
}

static bool check_dynamic(Image *image, const uint8_t *h, GError **error)
{
    Vhd *v = image->state;
    if (memcmp(h, VHD_HEADER_COOKIE, 8) != 0 ||
        be32_read(h + VHD_HEADER_CHECKSUM) !=
            vhd_checksum(h, VHD_HEADER_BYTES, VHD_HEADER_CHECKSUM))
        return damaged(image, error, "its second header is not valid");
    v->table_offset = be64_read(h + VHD_TABLE_OFFSET);
    v->entries = be32_read(h + VHD_TABLE_ENTRIES);
    v->block_size = be32_read(h + VHD_BLOCK_SIZE);
    if (v->block_size < 512 || v->block_size > BLOCK_MAX || (v->block_size & (v->block_size - 1)))
        return damaged(image, error, "its blocks are not 512 bytes to 256 MiB");
    v->bitmap_size = (v->block_size / 512 / 8 + 511) & ~511u;
    if ((uint64_t)v->entries * v->block_size < image->size)
        return damaged(image, error, "it claims a disk larger than its table");
    if (v->table_offset % 512 ||
        !image_file_has(image->file, v->table_offset, (uint64_t)v->entries * 4))
        return damaged(image, error, "its table lies beyond the end of the file");
    v->table = image_cache_new(image->file, 0, TABLE_PAGE, TABLE_PAGES);
    v->bitmaps = image_cache_new(image->file, 0, TABLE_PAGE, TABLE_PAGES);
    return true;
}

// A parent's name as Windows writes it: ".\parent.vhd".
static char *plain_name(const char *windows)
{
    g_autofree char *name = g_strdelimit(g_strdup(windows), "\\", '/');
    return g_strdup(g_str_has_prefix(name, "./") ? name + 2 : name);
}

static char *utf16_name(const uint8_t *bytes, size_t size, bool big_endian)
{
    g_autofree gunichar2 *units = g_new0(gunichar2, size / 2 + 1);
    for (size_t i = 0; i + 2 <= size; i += 2)
        units[i / 2] = big_endian ? be16_read(bytes + i) : le16_read(bytes + i);
    return g_utf16_to_utf8(units, -1, NULL, NULL, NULL);
}

// The relative locator, else the last part of the name in the header.
static char *parent_name(Image *image, const uint8_t *h)
{
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *locator = h + VHD_LOCATORS + i * VHD_LOCATOR_BYTES;
        uint32_t size = be32_read(locator + 8);
        uint64_t offset = be64_read(locator + 16);
        uint8_t bytes[LOCATOR_MAX];
        if (memcmp(locator, "W2ru", 4) != 0 || size > sizeof bytes ||
            !image_file_has(image->file, offset, size) ||
            image_file_read(image->file, offset, bytes, size) < 0)
            continue;
        g_autofree char *name = utf16_name(bytes, size, false);
        if (name && *name)
            return plain_name(name);
    }
    g_autofree char *name = utf16_name(h + VHD_PARENT_NAME, 512, true);
    if (!name)
        return g_strdup("");
    g_autofree char *plain = plain_name(name);
    const char *slash = strrchr(plain, '/');
    return g_strdup(slash ? slash + 1 : plain);
}

static bool open_parent(Image *image, ImageScope *scope, const uint8_t *h, GError **error)
{
    g_autofree char *name = parent_name(image, h);
    image->backing_name = g_strdup(name);
    if (!image_open_backing(image, scope, name, "vhd", error))
        return false;
    const Vhd *parent = image->backing->state;
    if (memcmp(parent->footer + VHD_UUID, h + VHD_PARENT_UUID, 16) == 0)
        return true;
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "was made over another parent than '%s', which has a different identity: put the "
                "right file there",
                name);
    return false;
}

static bool vhd_open(Image *image, ImageScope *scope, const ImageOpen *options, GError **error)
{
    Vhd *v = g_new0(Vhd, 1);
    image->state = v;
    if (!read_footer(image, error))
        return false;
    v->type = be32_read(v->footer + VHD_TYPE);
    image->size = be64_read(v->footer + VHD_CURRENT);
    if (image->size == 0 || image->size % 512 || image->size > (UINT64_C(1) << 60))
        return damaged(image, error, "it claims a disk of an impossible size");
    if (v->type == VHD_FIXED)
        return check_fixed(image, error);
    if (v->type != VHD_DYNAMIC && v->type != VHD_DIFFERENCING) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "is a VHD image of type %u, which is unknown here: convert it with a program "
                    "that knows it",
                    v->type);
        return false;
    }
    uint8_t h[VHD_HEADER_BYTES];
    uint64_t offset = be64_read(v->footer + VHD_DATA_OFFSET);
    if (!image_file_has(image->file, offset, sizeof h))
        return damaged(image, error, "its second header lies beyond the end of the file");
    int result = image_file_read(image->file, offset, h, sizeof h);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    return check_dynamic(image, h, error) &&
           (v->type == VHD_DYNAMIC || open_parent(image, scope, h, error));
}

static int read_entry(Image *image, uint64_t block, uint32_t *ret_entry)
{
    Vhd *v = image->state;
    uint8_t raw[4];
    int result = image_cache_read(v->table, v->table_offset + block * 4, raw, sizeof raw);
    *ret_entry = be32_read(raw);
    return result;
}

// How far from sector on the bitmap says the same. ret_own: what it says.
static int scan_bitmap(Image *image, uint64_t bitmap, uint64_t sector, uint64_t sectors,
                       uint64_t *ret_count, bool *ret_own)
{
    Vhd *v = image->state;
    uint8_t bits[TABLE_PAGE];
    uint64_t first = sector / 8, bytes = MIN((sector % 8 + sectors + 7) / 8, sizeof bits);
    int result = image_cache_read(v->bitmaps, bitmap + first, bits, (size_t)bytes);
    if (result < 0)
        return result;
    uint64_t at = sector % 8, end = MIN(at + sectors, bytes * 8), count = 0;
    bool own = bits[0] >> (7 - at) & 1;
    while (at < end && (bits[at / 8] >> (7 - at % 8) & 1) == own) {
        at++;
        count++;
    }
    *ret_count = count;
    *ret_own = own;
    return 0;
}

static int vhd_map(Image *image, uint64_t offset, uint64_t length, ImageMapping *ret_mapping)
{
    const Vhd *v = image->state;
    *ret_mapping = (ImageMapping){ .kind = MAP_DATA,
                                   .length = length,
                                   .file = image->file,
                                   .position = offset,
                                   .in_place = true };
    if (v->type == VHD_FIXED)
        return 0;
    uint64_t within = offset % v->block_size;
    uint32_t entry;
    int result = read_entry(image, offset / v->block_size, &entry);
    if (result < 0)
        return result;
    ret_mapping->length = MIN(length, v->block_size - within);
    if (entry == VHD_FREE) {
        ret_mapping->kind = MAP_BACKING;
        ret_mapping->in_place = false;
        return 0;
    }
    uint64_t bitmap = (uint64_t)entry * 512, data = bitmap + v->bitmap_size;
    uint64_t table_end = v->table_offset + (uint64_t)v->entries * 4;
    if (bitmap < table_end && data + v->block_size > v->table_offset)
        return image_trouble(image, "the block at %" G_GUINT64_FORMAT " lies over the table",
                             offset);
    if (!range_within(bitmap, (uint64_t)v->bitmap_size + v->block_size, v->end))
        return image_trouble(image,
                             "the block at %" G_GUINT64_FORMAT " lies beyond the end of the "
                             "file",
                             offset);
    ret_mapping->position = data + within;
    uint64_t count;
    bool own;
    uint64_t asked = (offset % 512 + ret_mapping->length + 511) / 512;
    result = scan_bitmap(image, bitmap, within / 512, asked, &count, &own);
    if (result < 0)
        return result;
    ret_mapping->length = MIN(ret_mapping->length, count * 512 - offset % 512);
    ret_mapping->in_place = own;
    ret_mapping->kind = own ? MAP_DATA : MAP_BACKING;
    return 0;
}

static bool vhd_needs_flush(Image *image)
{
    const Vhd *v = image->state;
    return v->table && (image_cache_dirty(v->table) || image_cache_dirty(v->bitmaps));
}

static int vhd_flush(Image *image)
{
    Vhd *v = image->state;
    int result = image_cache_write_back(v->bitmaps);
    if (result == 0)
        result = image_file_sync(image->file);
    if (result == 0 && image_cache_dirty(v->table)) {
        result = image_cache_write_back(v->table);
        if (result == 0)
            result = image_file_sync(image->file);
    }
    return result;
}

// A block behind all others: its bitmap, a hole for its data, the footer.
static int add_block(Image *image, uint64_t block, uint32_t *ret_entry)
{
    Vhd *v = image->state;
    uint64_t bitmap = (v->end + 511) & ~UINT64_C(511), data = bitmap + v->bitmap_size;
    uint64_t end = data + v->block_size;
    if (bitmap / 512 >= VHD_FREE)
        return -EFBIG;
    // The footer goes out first: a cut leaves either the old end or the new one.
    int result = image_file_write(image->file, end, v->footer, sizeof v->footer);
    if (result < 0)
        return result;
    g_autofree uint8_t *bits = g_malloc(v->bitmap_size);
    memset(bits, v->type == VHD_DYNAMIC ? 0xff : 0, v->bitmap_size);
    result = image_file_punch(image->file, bitmap, end - bitmap);
    if (result == 0) // where holes cannot be made, the old footer is all that lies there
        result = image_file_write(image->file, bitmap, bits, v->bitmap_size);
    if (result < 0)
        return result;
    image_cache_forget(v->bitmaps, bitmap, v->bitmap_size);
    uint8_t raw[4];
    be32_write(raw, (uint32_t)(bitmap / 512));
    result = image_cache_write(v->table, v->table_offset + block * 4, raw, sizeof raw);
    if (result < 0)
        return result;
    v->end = end;
    *ret_entry = (uint32_t)(bitmap / 512);
    return 0;
}

// Whole sectors, and their bits.
static int write_sectors(Image *image, uint32_t entry, uint64_t offset, const uint8_t *bytes,
                         size_t size)
{
    Vhd *v = image->state;
    uint64_t bitmap = (uint64_t)entry * 512, within = offset % v->block_size;
    int result = image_file_write(image->file, bitmap + v->bitmap_size + within, bytes, size);
    for (uint64_t sector = within / 512; sector < (within + size) / 512 && result == 0; sector++) {
        uint8_t byte;
        result = image_cache_read(v->bitmaps, bitmap + sector / 8, &byte, 1);
        bool set = byte & 0x80 >> sector % 8;
        byte |= (uint8_t)(0x80 >> sector % 8);
        if (result == 0 && !set)
            result = image_cache_write(v->bitmaps, bitmap + sector / 8, &byte, 1);
    }
    return result;
}

static int vhd_write(Image *image, uint64_t offset, const uint8_t *bytes, size_t size,
                     size_t *ret_done)
{
    Vhd *v = image->state;
    if (image_cache_dirty(v->table) + image_cache_dirty(v->bitmaps) > DIRTY_MAX) {
        int result = image_file_sync(image->file);
        if (result == 0)
            result = vhd_flush(image);
        if (result < 0)
            return result;
    }
    // Parts of sectors are made whole from below.
    uint64_t start = offset & ~UINT64_C(511),
             block_end = start - start % v->block_size + v->block_size;
    uint64_t end = MIN(MIN((offset + size + 511) & ~UINT64_C(511), block_end), image->size);
    size_t count = (size_t)(MIN(offset + size, end) - offset);
    uint32_t entry;
    int result = read_entry(image, offset / v->block_size, &entry);
    g_autofree uint8_t *whole = g_malloc((size_t)(end - start));
    if (result == 0)
        result = image_read_locked(image, start, whole, (size_t)(end - start));
    memcpy(whole + (offset - start), bytes, count);
    if (result == 0 && entry == VHD_FREE)
        result = add_block(image, offset / v->block_size, &entry);
    if (result == 0)
        result = write_sectors(image, entry, start, whole, (size_t)(end - start));
    *ret_done = count;
    return result;
}

static bool vhd_check(Image *image, bool repair, ImageCheck *check, GError **error)
{
    Vhd *v = image->state;
    if (v->type == VHD_FIXED) {
        check->allocated = image->size;
        return true;
    }
    if (v->footer_dirty)
        image_check_error(check, "the footer is missing, its copy at the beginning is there");
    uint64_t stride = (uint64_t)v->bitmap_size + v->block_size;
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    for (uint32_t block = 0; block < v->entries; block++) {
        uint32_t entry;
        int result = read_entry(image, block, &entry);
        if (result < 0) {
            image_error_errno(image, result, "read", error);
            return false;
        }
        if (entry == VHD_FREE)
            continue;
        check->allocated += v->block_size;
        if (!range_within((uint64_t)entry * 512, stride, v->end))
            image_check_error(check, "block %u lies beyond the end of the file", block);
        else if (!g_hash_table_add(seen, GUINT_TO_POINTER(entry)))
            image_check_error(check, "block %u shares its place with another", block);
    }
    if (repair && v->footer_dirty &&
        image_file_write(image->file, v->end, v->footer, sizeof v->footer) == 0 &&
        image_file_sync(image->file) == 0) {
        v->footer_dirty = false;
        check->repaired++;
    }
    return true;
}

static void vhd_info(Image *image, ImageInfo *info)
{
    const Vhd *v = image->state;
    info->unit = v->block_size;
    image_info_feature(info, v->type == VHD_FIXED     ? "fixed"
                             : v->type == VHD_DYNAMIC ? "dynamic"
                                                      : "differencing");
}

static void vhd_close(Image *image)
{
    Vhd *v = image->state;
    if (!v)
        return;
    image_cache_free(v->table);
    image_cache_free(v->bitmaps);
    g_free(v);
}

const ImageOps image_vhd_ops = {
    .name = "vhd",
    .probe = vhd_probe,
    .open = vhd_open,
    .map = vhd_map,
    .write = vhd_write,
    .needs_flush = vhd_needs_flush,
    .flush = vhd_flush,
    .check = vhd_check,
    .info = vhd_info,
    .close = vhd_close,
};

uint32_t vhd_geometry(uint64_t size)
{
    uint64_t sectors = MIN(size / 512, UINT64_C(65535) * 16 * 255), per_track = 17, heads, tracks;
    if (sectors >= UINT64_C(65535) * 16 * 63) {
        per_track = 255;
        heads = 16;
        tracks = sectors / per_track;
    } else {
        tracks = sectors / per_track;
        heads = MAX((tracks + 1023) / 1024, 4);
        if (tracks >= heads * 1024 || heads > 16) {
            per_track = 31;
            heads = 16;
            tracks = sectors / per_track;
        }
        if (tracks >= heads * 1024) {
            per_track = 63;
            heads = 16;
            tracks = sectors / per_track;
        }
    }
    return (uint32_t)(tracks / heads << 16 | heads << 8 | per_track);
}
