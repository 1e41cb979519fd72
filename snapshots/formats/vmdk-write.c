// SPDX-License-Identifier: GPL-2.0-or-later
// New VMDK images of the kind streamOptimized, laid out as VMware's own export does it, since its
// importers take little else: header of version 3 that leaves the directory to the footer, the
// descriptor, grains with their markers, each table behind its grains, directory, footer, end.
#include "snapshots/formats/image-writer-private.h"
#include "snapshots/formats/vmdk-private.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <gio/gio.h>
#include <libdeflate.h>
#include <string.h>

#define GRAIN              65536u
#define GTES               512u
#define TABLE_SPAN         ((uint64_t)GRAIN * GTES)
#define TABLE_BYTES        (GTES * 4)
#define DESCRIPTOR_SECTORS 20u
#define OVERHEAD           128u // sectors before the first grain
#define LEVEL              6
#define LARGEST            (UINT64_C(62) << 40) // what VMFS holds

typedef struct {
    uint8_t header[VMDK_HEADER_BYTES];
    uint8_t *directory;
    uint32_t tables;
    uint8_t table[TABLE_BYTES];
    uint64_t table_index; // which is being filled; UINT64_MAX: none
    uint8_t *packed;      // marker and zlib
    size_t packed_room;
    struct libdeflate_compressor *compressor;
} VmdkWriter;

static void fill_header(VmdkWriter *v, uint64_t size)
{
    uint8_t *h = v->header;
    le32_write(h, VMDK_MAGIC);
    le32_write(h + VMDK_VERSION, 3);
    le32_write(h + VMDK_FLAGS, VMDK_NEWLINES | VMDK_COMPRESSED | VMDK_MARKERS);
    le64_write(h + VMDK_CAPACITY, size / 512);
    le64_write(h + VMDK_GRAIN_SIZE, GRAIN / 512);
    le64_write(h + VMDK_DESCRIPTOR, 1);
    le64_write(h + VMDK_DESCRIPTOR_SIZE, DESCRIPTOR_SECTORS);
    le32_write(h + VMDK_GTES_PER_GT, GTES);
    le64_write(h + VMDK_GD_OFFSET, VMDK_GD_AT_END);
    le64_write(h + VMDK_OVERHEAD, OVERHEAD);
    memcpy(h + VMDK_END_OF_LINE, "\n \r\n", 4);
    le16_write(h + VMDK_COMPRESSION, 1);
}

// The geometry that VMware gives a disk on an LSI Logic adapter.
static void geometry(uint64_t size, uint32_t *ret_heads, uint32_t *ret_sectors)
{
    bool small = size < UINT64_C(1) << 30, middle = size < UINT64_C(2) << 30;
    *ret_heads = small ? 64 : middle ? 128 : 255;
    *ret_sectors = small || middle ? 32 : 63;
}

static int put_descriptor(ImageWriter *writer)
{
    uint32_t heads, sectors, cid = g_random_int() & 0x7fffffff;
    geometry(writer->size, &heads, &sectors);
    g_autofree char *base = g_path_get_basename(writer->path);
    g_strdelimit(base, "\"\n", '_');
    g_autofree char *text =
        g_strdup_printf("# Disk DescriptorFile\n"
                        "version=1\n"
                        "CID=%08x\n"
                        "parentCID=ffffffff\n"
                        "createType=\"streamOptimized\"\n"
                        "\n"
                        "# Extent description\n"
                        "RW %" G_GUINT64_FORMAT " SPARSE \"%s\"\n"
                        "\n"
                        "# The Disk Data Base\n"
                        "#DDB\n"
                        "\n"
                        "ddb.adapterType = \"lsilogic\"\n"
                        "ddb.geometry.cylinders = \"%" G_GUINT64_FORMAT "\"\n"
                        "ddb.geometry.heads = \"%u\"\n"
                        "ddb.geometry.sectors = \"%u\"\n"
                        "ddb.longContentID = \"%08x%08x%08x%08x\"\n"
                        "ddb.toolsVersion = \"2147483647\"\n"
                        "ddb.virtualHWVersion = \"4\"\n",
                        cid, writer->size / 512, base, writer->size / 512 / heads / sectors, heads,
                        sectors, g_random_int(), g_random_int(), g_random_int(), cid);
    uint8_t area[DESCRIPTOR_SECTORS * 512] = { 0 };
    memcpy(area, text, MIN(strlen(text), sizeof area));
    return image_file_write(writer->file, 512, area, sizeof area);
}

static void *vmdk_begin(ImageWriter *writer, GError **error)
{
    if (writer->size > LARGEST) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "image '%s' would be larger than the 62 TiB that VMware takes: use qcow2",
                    writer->path);
        return NULL;
    }
    VmdkWriter *v = g_new0(VmdkWriter, 1);
    v->tables = (uint32_t)((writer->size + TABLE_SPAN - 1) / TABLE_SPAN);
    v->directory = g_malloc0(((size_t)v->tables * 4 + 511) & ~(size_t)511);
    v->table_index = UINT64_MAX;
    v->compressor = libdeflate_alloc_compressor(LEVEL);
    v->packed_room = 12 + libdeflate_zlib_compress_bound(v->compressor, GRAIN) + 512;
    v->packed = g_malloc(v->packed_room);
    fill_header(v, writer->size);
    writer->file->size = OVERHEAD * 512;
    return v;
}

static int put_marker(ImageWriter *writer, uint64_t sectors, uint32_t type)
{
    uint8_t marker[512] = { 0 };
    le64_write(marker, sectors);
    le32_write(marker + 12, type);
    return image_writer_append(writer, marker, sizeof marker, NULL);
}

static int put_table(ImageWriter *writer)
{
    VmdkWriter *v = writer->state;
    if (v->table_index == UINT64_MAX)
        return 0;
    uint64_t position;
    int result = put_marker(writer, TABLE_BYTES / 512, VMDK_MARKER_TABLE);
    if (result == 0)
        result = image_writer_append(writer, v->table, sizeof v->table, &position);
    if (result == 0 && position / 512 > UINT32_MAX)
        result = -EFBIG;
    if (result == 0)
        le32_write(v->directory + v->table_index * 4, (uint32_t)(position / 512));
    memset(v->table, 0, sizeof v->table);
    v->table_index = UINT64_MAX;
    return result;
}

static int vmdk_unit(ImageWriter *writer, uint64_t offset, const uint8_t *bytes, size_t size)
{
    VmdkWriter *v = writer->state;
    int result = v->table_index != offset / TABLE_SPAN ? put_table(writer) : 0;
    if (result < 0)
        return result;
    v->table_index = offset / TABLE_SPAN;
    // Also the last grain of a disk is a whole one; the writer's unit is zero behind the end.
    size_t packed = libdeflate_zlib_compress(v->compressor, bytes, GRAIN, v->packed + 12,
                                             v->packed_room - 12 - 512);
    if (!packed)
        return -EIO;
    le64_write(v->packed, offset / 512);
    le32_write(v->packed + 8, (uint32_t)packed);
    size_t whole = (12 + packed + 511) & ~(size_t)511;
    memset(v->packed + 12 + packed, 0, whole - 12 - packed);
    uint64_t position;
    result = image_writer_append(writer, v->packed, whole, &position);
    if (result == 0 && position / 512 > UINT32_MAX)
        result = -EFBIG;
    if (result == 0)
        le32_write(v->table + offset % TABLE_SPAN / GRAIN * 4, (uint32_t)(position / 512));
    return result;
}

static int vmdk_end(ImageWriter *writer)
{
    VmdkWriter *v = writer->state;
    size_t bytes = ((size_t)v->tables * 4 + 511) & ~(size_t)511;
    uint64_t position;
    int result = put_table(writer);
    if (result == 0)
        result = put_marker(writer, bytes / 512, VMDK_MARKER_DIRECTORY);
    if (result == 0)
        result = image_writer_append(writer, v->directory, bytes, &position);
    if (result == 0)
        result = put_marker(writer, 1, VMDK_MARKER_FOOTER);
    if (result == 0)
        result = image_file_write(writer->file, 0, v->header, sizeof v->header);
    if (result < 0)
        return result;
    le64_write(v->header + VMDK_GD_OFFSET, position / 512);
    result = image_writer_append(writer, v->header, sizeof v->header, NULL);
    if (result == 0)
        result = put_marker(writer, 0, VMDK_MARKER_END);
    return result == 0 ? put_descriptor(writer) : result;
}

static void vmdk_free(void *state)
{
    VmdkWriter *v = state;
    libdeflate_free_compressor(v->compressor);
    g_free(v->directory);
    g_free(v->packed);
    g_free(v);
}

const ImageWriterOps vmdk_writer_ops = {
    .format = "vmdk",
    .unit = GRAIN,
    .begin = vmdk_begin,
    .unit_data = vmdk_unit,
    .end = vmdk_end,
    .free = vmdk_free,
};
