// SPDX-License-Identifier: GPL-2.0-or-later
// VDI images of VirtualBox, dynamic and fixed, read and written in place. A map of one word for
// each block says which block of the file has it. Undo and differencing images name their parent by
// UUID only, which VirtualBox looks up in its registry; they are refused.
//
// A new block's data goes out before the map names it: at a flush, after the data was synced.
#include "snapshots/formats/vdi-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "snapshots/formats/image-cache.h"
#include "snapshots/formats/image-private.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define BLOCK_MIN 4096u
#define BLOCK_MAX (64u << 20)
#define MAP_PAGE  512u // map and data begin at whole sectors: no page holds both
#define MAP_PAGES 8192u
#define DIRTY_MAX 256u

typedef struct {
    uint32_t block_size;
    uint32_t blocks;    // of the disk
    uint32_t allocated; // in the file; also the next free one
    uint32_t map_offset;
    uint64_t data_offset;
    uint64_t stride; // block and what lies between
    ImageCache *map;
    bool header_dirty;
    bool fixed;
} Vdi;

static int vdi_probe(const uint8_t *head, size_t size, const char *path)
{
    return size >= 0x48 && le32_read(head + VDI_SIGNATURE_AT) == VDI_SIGNATURE ? 100 : 0;
}

static bool damaged(Image *image, GError **error, const char *what)
{
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "is a damaged VDI image: %s; restore it from a copy", what);
    return false;
}

static bool check_kind(Image *image, const uint8_t *h, GError **error)
{
    if (le32_read(h + VDI_SIGNATURE_AT) != VDI_SIGNATURE) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "is not a VDI image: it does not begin like one; set the right format");
        return false;
    }
    uint32_t version = le32_read(h + VDI_VERSION), type = le32_read(h + VDI_TYPE);
    if (version != 0x00010001) {
        image_error(
            image, G_IO_ERROR_NOT_SUPPORTED, error,
            "is VDI version %u.%u, which is not supported: clone it with a newer VirtualBox",
            version >> 16, version & 0xffff);
        return false;
    }
    if (type != VDI_DYNAMIC && type != VDI_FIXED) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "is %s VDI image, whose parent only VirtualBox can find: clone it with "
                    "'VBoxManage clonemedium'",
                    type == VDI_UNDO           ? "an undo"
                    : type == VDI_DIFFERENCING ? "a differencing"
                                               : "an unknown kind of");
        return false;
    }
    return true;
}

static bool check_layout(Image *image, const uint8_t *h, GError **error)
{
    Vdi *v = image->state;
    uint64_t extra = le32_read(h + VDI_BLOCK_EXTRA), capacity;
    v->block_size = le32_read(h + VDI_BLOCK_SIZE);
    v->blocks = le32_read(h + VDI_BLOCKS);
    v->allocated = le32_read(h + VDI_ALLOCATED);
    v->map_offset = le32_read(h + VDI_MAP_OFFSET);
    v->data_offset = le32_read(h + VDI_DATA_OFFSET);
    v->fixed = le32_read(h + VDI_TYPE) == VDI_FIXED;
    image->size = le64_read(h + VDI_DISK_SIZE);
    if (v->block_size < BLOCK_MIN || v->block_size > BLOCK_MAX ||
        (v->block_size & (v->block_size - 1)))
        return damaged(image, error, "its blocks are not 4 KiB to 64 MiB");
    if (extra > BLOCK_MAX || extra % 512)
        return damaged(image, error, "there is an impossible gap between its blocks");
    v->stride = v->block_size + extra;
    checked_mul(v->blocks, v->block_size, &capacity); // 32 by 27 bits
    if (image->size == 0 || image->size > capacity)
        return damaged(image, error, "it claims a disk larger than its blocks");
    image->size &= ~UINT64_C(511);
    if (v->map_offset < VDI_HEADER_BYTES || v->map_offset % 512 ||
        !image_file_has(image->file, v->map_offset, (uint64_t)v->blocks * 4))
        return damaged(image, error, "its block map lies beyond the end of the file");
    if (v->data_offset % 512 || v->data_offset < (uint64_t)v->map_offset + (uint64_t)v->blocks * 4)
        return damaged(image, error, "its data lies over its block map");
    if (v->allocated > v->blocks)
        return damaged(image, error, "it has more blocks than its disk");
    return true;
}

static bool vdi_open(Image *image, ImageScope *scope, const ImageOpen *options, GError **error)
{
    uint8_t h[VDI_HEADER_BYTES];
    int result = image_file_read(image->file, 0, h, sizeof h);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    Vdi *v = g_new0(Vdi, 1);
    image->state = v;
    if (!check_kind(image, h, error) || !check_layout(image, h, error))
        return false;
    v->map = image_cache_new(image->file, 0, MAP_PAGE, MAP_PAGES);
    return true;
}

static int read_entry(Image *image, uint64_t block, uint32_t *ret_entry)
{
    Vdi *v = image->state;
    uint8_t raw[4];
    int result = image_cache_read(v->map, v->map_offset + block * 4, raw, sizeof raw);
    *ret_entry = le32_read(raw);
    return result;
}

static int write_entry(Image *image, uint64_t block, uint32_t entry)
{
    Vdi *v = image->state;
    uint8_t raw[4];
    le32_write(raw, entry);
    return image_cache_write(v->map, v->map_offset + block * 4, raw, sizeof raw);
}

static int vdi_map(Image *image, uint64_t offset, uint64_t length, ImageMapping *ret_mapping)
{
    const Vdi *v = image->state;
    uint64_t within = offset % v->block_size;
    uint32_t entry;
    int result = read_entry(image, offset / v->block_size, &entry);
    if (result < 0)
        return result;
    *ret_mapping =
        (ImageMapping){ .kind = MAP_ZERO, .length = MIN(length, v->block_size - within) };
    if (entry == VDI_FREE || entry == VDI_ZERO)
        return 0;
    uint64_t position = v->data_offset + entry * v->stride + (v->stride - v->block_size) + within;
    if (entry >= v->allocated || position - within >= image_file_size(image->file))
        return image_trouble(image,
                             "the block at %" G_GUINT64_FORMAT " lies beyond the end of the "
                             "file",
                             offset);
    ret_mapping->kind = MAP_DATA;
    ret_mapping->file = image->file;
    ret_mapping->position = position;
    ret_mapping->in_place = true;
    return 0;
}

static int vdi_flush(Image *image)
{
    Vdi *v = image->state;
    int result = 0;
    // The header first: blocks that it does not count are no blocks.
    if (v->header_dirty) {
        uint8_t raw[4];
        le32_write(raw, v->allocated);
        result = image_file_write(image->file, VDI_ALLOCATED, raw, sizeof raw);
        if (result == 0)
            result = image_file_sync(image->file);
        v->header_dirty = result < 0;
    }
    if (result == 0 && image_cache_dirty(v->map)) {
        result = image_cache_write_back(v->map);
        if (result == 0)
            result = image_file_sync(image->file);
    }
    return result;
}

static bool vdi_needs_flush(Image *image)
{
    const Vdi *v = image->state;
    return v->header_dirty || image_cache_dirty(v->map);
}

// A block that is not there yet gets one behind all others.
static int vdi_write(Image *image, uint64_t offset, const uint8_t *bytes, size_t size,
                     size_t *ret_done)
{
    Vdi *v = image->state;
    if (image_cache_dirty(v->map) > DIRTY_MAX) {
        int result = image_file_sync(image->file);
        if (result == 0)
            result = vdi_flush(image);
        if (result < 0)
            return result;
    }
    if (v->allocated >= v->blocks)
        return image_trouble(image, "it has no free block left for %" G_GUINT64_FORMAT, offset);
    uint64_t within = offset % v->block_size;
    uint64_t start = v->data_offset + v->allocated * v->stride + (v->stride - v->block_size);
    size_t count = (size_t)MIN(size, v->block_size - within);
    uint64_t end = start + v->block_size;
    int result = 0;
    // What a torn earlier growth left there is no data of ours.
    if (image_file_size(image->file) > start)
        result = image_file_punch(image->file, start, v->block_size);
    if (result == 0 && image_file_size(image->file) < end)
        result = image_file_truncate(image->file, end);
    if (result == 0)
        result = image_file_write(image->file, start + within, bytes, count);
    if (result == 0)
        result = write_entry(image, offset / v->block_size, v->allocated);
    if (result < 0)
        return result;
    v->allocated++;
    v->header_dirty = true;
    *ret_done = count;
    return 0;
}

// Whole blocks become holes; they keep their place, so nothing is ever moved.
static int vdi_discard(Image *image, uint64_t offset, uint64_t length)
{
    for (uint64_t at = offset; at < offset + length;) {
        ImageMapping mapping;
        int result = vdi_map(image, at, offset + length - at, &mapping);
        if (result < 0)
            return result;
        if (mapping.kind == MAP_DATA)
            result = image_file_punch(image->file, mapping.position, mapping.length);
        if (result < 0)
            return result;
        at += mapping.length;
    }
    return 0;
}

// Within the room that the map has before the data; VirtualBox leaves up to 1 MiB.
static bool vdi_resize(Image *image, uint64_t size, GError **error)
{
    Vdi *v = image->state;
    uint64_t blocks = (size + v->block_size - 1) / v->block_size;
    uint64_t room = (v->data_offset - v->map_offset) / 4;
    if (v->fixed || blocks > room || blocks > VDI_ZERO) {
        g_autofree char *most = g_format_size_full(room * v->block_size, G_FORMAT_SIZE_IEC_UNITS);
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    v->fixed ? "is a fixed VDI image, which cannot grow: convert it to qcow2 first"
                             : "has room in its block map for %s only: convert it to qcow2 first",
                    most);
        return false;
    }
    int result = 0;
    for (uint64_t block = v->blocks; block < blocks && result == 0; block++)
        result = write_entry(image, block, VDI_FREE);
    uint8_t raw[8];
    if (result == 0)
        result = image_cache_write_back(v->map);
    if (result == 0)
        result = image_file_sync(image->file);
    le32_write(raw, (uint32_t)blocks);
    if (result == 0)
        result = image_file_write(image->file, VDI_BLOCKS, raw, 4);
    le64_write(raw, size);
    if (result == 0)
        result = image_file_write(image->file, VDI_DISK_SIZE, raw, 8);
    if (result < 0) {
        image_error_errno(image, result, "resized", error);
        return false;
    }
    v->blocks = (uint32_t)blocks;
    image->size = size;
    return true;
}

// Each entry names a block of the file, and no two the same.
static bool vdi_check(Image *image, bool repair, ImageCheck *check, GError **error)
{
    Vdi *v = image->state;
    g_autofree uint8_t *seen = g_malloc0(v->allocated / 8 + 1);
    uint32_t used = 0;
    for (uint32_t block = 0; block < v->blocks; block++) {
        uint32_t entry;
        int result = read_entry(image, block, &entry);
        if (result < 0) {
            image_error_errno(image, result, "read", error);
            return false;
        }
        if (entry == VDI_FREE || entry == VDI_ZERO)
            continue;
        check->allocated += v->block_size;
        if (entry >= v->allocated) {
            image_check_error(check, "block %u lies beyond the end of the file", block);
        } else if (seen[entry / 8] >> entry % 8 & 1) {
            image_check_error(check, "block %u shares its place with another", block);
        } else {
            seen[entry / 8] |= (uint8_t)(1u << entry % 8);
            used++;
        }
    }
    for (uint32_t i = used; i < v->allocated; i++)
        image_check_leak(check, "a block of the file belongs to none of the disk");
    return true;
}

static void vdi_info(Image *image, ImageInfo *info)
{
    const Vdi *v = image->state;
    info->unit = v->block_size;
    image_info_feature(info, v->fixed ? "fixed" : "dynamic");
}

static void vdi_close(Image *image)
{
    Vdi *v = image->state;
    if (v)
        image_cache_free(v->map);
    g_free(v);
}

const ImageOps image_vdi_ops = {
    .name = "vdi",
    .probe = vdi_probe,
    .open = vdi_open,
    .map = vdi_map,
    .write = vdi_write,
    .discard = vdi_discard,
    .needs_flush = vdi_needs_flush,
    .flush = vdi_flush,
    .resize = vdi_resize,
    .check = vdi_check,
    .info = vdi_info,
    .close = vdi_close,
};
