// SPDX-License-Identifier: GPL-2.0-or-later
// New VHD images, dynamic, blocks of 2 MiB: a copy of the footer, the header, the table, blocks
// with their bitmaps, the footer. The creator is given as Windows': several readers cut disks of
// unknown creators to what their cylinders, heads and sectors say.
#include "snapshots/formats/image-writer-private.h"
#include "snapshots/formats/vhd-private.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>
#include <string.h>

#define BLOCK   (2u << 20)
#define BITMAP  512u
#define TABLE   (VHD_FOOTER_BYTES + VHD_HEADER_BYTES)
#define LARGEST (UINT64_C(2040) << 30) // the specification's
#define EPOCH   UINT64_C(946684800)    // 2000-01-01 UTC in Unix time

typedef struct {
    uint8_t footer[VHD_FOOTER_BYTES];
    uint8_t *table;
    uint32_t entries;
    size_t table_bytes; // whole sectors
} VhdWriter;

static void fill_footer(VhdWriter *v, uint64_t size)
{
    uint8_t *f = v->footer;
    uint64_t now = (uint64_t)(g_get_real_time() / G_USEC_PER_SEC);
    memcpy(f, VHD_COOKIE, 8);
    be32_write(f + VHD_FEATURES, 2); // reserved, always set
    be32_write(f + VHD_VERSION, 0x00010000);
    be64_write(f + VHD_DATA_OFFSET, VHD_FOOTER_BYTES);
    be32_write(f + VHD_TIMESTAMP, (uint32_t)(now > EPOCH ? now - EPOCH : 0));
    memcpy(f + VHD_CREATOR, "win ", 4);
    be32_write(f + VHD_CREATOR_VER, 0x000a0000);
    memcpy(f + VHD_CREATOR_OS, "Wi2k", 4);
    be64_write(f + VHD_ORIGINAL, size);
    be64_write(f + VHD_CURRENT, size);
    be32_write(f + VHD_GEOMETRY, vhd_geometry(size));
    be32_write(f + VHD_TYPE, VHD_DYNAMIC);
    for (int i = 0; i < 16; i++)
        f[VHD_UUID + i] = (uint8_t)g_random_int();
    be32_write(f + VHD_CHECKSUM, vhd_checksum(f, VHD_FOOTER_BYTES, VHD_CHECKSUM));
}

static void *vhd_begin(ImageWriter *writer, GError **error)
{
    if (writer->size > LARGEST) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "image '%s' would be larger than VHD allows (2,040 GiB): use qcow2",
                    writer->path);
        return NULL;
    }
    VhdWriter *v = g_new0(VhdWriter, 1);
    v->entries = (uint32_t)((writer->size + BLOCK - 1) / BLOCK);
    v->table_bytes = ((size_t)v->entries * 4 + 511) & ~(size_t)511;
    v->table = g_malloc(v->table_bytes);
    memset(v->table, 0xff, v->table_bytes);
    fill_footer(v, writer->size);
    writer->file->size = TABLE + v->table_bytes;
    return v;
}

static int vhd_unit(ImageWriter *writer, uint64_t offset, const uint8_t *bytes, size_t size)
{
    VhdWriter *v = writer->state;
    uint8_t bitmap[BITMAP];
    uint64_t position;
    memset(bitmap, 0xff, sizeof bitmap);
    int result = image_writer_append(writer, bitmap, sizeof bitmap, &position);
    if (result == 0)
        result = image_writer_append(writer, bytes, BLOCK, NULL);
    if (result == 0)
        be32_write(v->table + offset / BLOCK * 4, (uint32_t)(position / 512));
    return result;
}

static int vhd_end(ImageWriter *writer)
{
    VhdWriter *v = writer->state;
    uint8_t h[VHD_HEADER_BYTES] = VHD_HEADER_COOKIE;
    be64_write(h + 8, UINT64_MAX); // no further header
    be64_write(h + VHD_TABLE_OFFSET, TABLE);
    be32_write(h + VHD_HEADER_VERSION, 0x00010000);
    be32_write(h + VHD_TABLE_ENTRIES, v->entries);
    be32_write(h + VHD_BLOCK_SIZE, BLOCK);
    be32_write(h + VHD_HEADER_CHECKSUM, vhd_checksum(h, VHD_HEADER_BYTES, VHD_HEADER_CHECKSUM));
    int result = image_writer_append(writer, v->footer, sizeof v->footer, NULL);
    if (result == 0)
        result = image_file_write(writer->file, TABLE, v->table, v->table_bytes);
    if (result == 0)
        result = image_file_write(writer->file, VHD_FOOTER_BYTES, h, sizeof h);
    return result == 0 ? image_file_write(writer->file, 0, v->footer, sizeof v->footer) : result;
}

static void vhd_free(void *state)
{
    VhdWriter *v = state;
    g_free(v->table);
    g_free(v);
}

const ImageWriterOps vhd_writer_ops = {
    .format = "vhd",
    .unit = BLOCK,
    .begin = vhd_begin,
    .unit_data = vhd_unit,
    .end = vhd_end,
    .free = vhd_free,
};
