// SPDX-License-Identifier: GPL-2.0-or-later
// New VDI images, dynamic, blocks of 1 MiB. The data begins at a whole MiB, so that the map has
// room to grow and blocks are aligned.
#include "snapshots/formats/image-writer-private.h"
#include "snapshots/formats/vdi-private.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define BLOCK   (1u << 20)
#define LARGEST (UINT64_C(128) << 40) // a map of 512 MiB

typedef struct {
    uint32_t blocks, allocated;
    uint64_t data_offset;
    uint8_t *map;
} VdiWriter;

static void *vdi_begin(ImageWriter *writer, GError **error)
{
    if (writer->size > LARGEST) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "image '%s' would be larger than VDI allows (128 TiB): use qcow2",
                    writer->path);
        return NULL;
    }
    VdiWriter *v = g_new0(VdiWriter, 1);
    v->blocks = (uint32_t)((writer->size + BLOCK - 1) / BLOCK);
    v->map = g_malloc((size_t)v->blocks * 4);
    memset(v->map, 0xff, (size_t)v->blocks * 4);
    v->data_offset =
        (VDI_HEADER_BYTES + (uint64_t)v->blocks * 4 + BLOCK - 1) & ~(uint64_t)(BLOCK - 1);
    return v;
}

static int vdi_unit(ImageWriter *writer, uint64_t offset, const uint8_t *bytes, size_t size)
{
    VdiWriter *v = writer->state;
    // Behind the end of the disk the writer's unit is zero.
    int result = image_file_write(writer->file, v->data_offset + (uint64_t)v->allocated * BLOCK,
                                  bytes, BLOCK);
    if (result == 0)
        le32_write(v->map + offset / BLOCK * 4, v->allocated++);
    return result;
}

static void random_uuid(uint8_t *uuid)
{
    for (int i = 0; i < 16; i++)
        uuid[i] = (uint8_t)g_random_int();
    uuid[7] = (uint8_t)((uuid[7] & 0x0f) | 0x40); // version 4, the first words little-endian
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static int vdi_end(ImageWriter *writer)
{
    VdiWriter *v = writer->state;
    uint8_t h[VDI_HEADER_BYTES] = { 0 };
    memcpy(h, VDI_TEXT, sizeof VDI_TEXT - 1);
    le32_write(h + VDI_SIGNATURE_AT, VDI_SIGNATURE);
    le32_write(h + VDI_VERSION, 0x00010001);
    le32_write(h + VDI_HEADER_SIZE, 0x190);
    le32_write(h + VDI_TYPE, VDI_DYNAMIC);
    le32_write(h + VDI_MAP_OFFSET, VDI_HEADER_BYTES);
    le32_write(h + VDI_DATA_OFFSET, (uint32_t)v->data_offset);
    le32_write(h + VDI_SECTOR_SIZE, 512);
    le64_write(h + VDI_DISK_SIZE, writer->size);
    le32_write(h + VDI_BLOCK_SIZE, BLOCK);
    le32_write(h + VDI_BLOCKS, v->blocks);
    le32_write(h + VDI_ALLOCATED, v->allocated);
    random_uuid(h + VDI_UUID_IMAGE);
    random_uuid(h + VDI_UUID_SNAPSHOT);
    int result = image_file_write(writer->file, VDI_HEADER_BYTES, v->map, (size_t)v->blocks * 4);
    if (result == 0 && !v->allocated)
        result = image_file_truncate(writer->file, v->data_offset);
    return result == 0 ? image_file_write(writer->file, 0, h, sizeof h) : result;
}

static void vdi_free(void *state)
{
    VdiWriter *v = state;
    g_free(v->map);
    g_free(v);
}

const ImageWriterOps vdi_writer_ops = {
    .format = "vdi",
    .unit = BLOCK,
    .begin = vdi_begin,
    .unit_data = vdi_unit,
    .end = vdi_end,
    .free = vdi_free,
};
