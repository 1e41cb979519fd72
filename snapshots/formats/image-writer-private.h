// SPDX-License-Identifier: GPL-2.0-or-later
// What a format's writer fills. Stays in this folder.
#pragma once

#include "snapshots/formats/image-private.h"
#include "snapshots/formats/image-writer.h"

typedef struct {
    const char *format;
    size_t unit; // bytes handed over at once; the last unit of a disk may be shorter
    // NULL and error where the size does not fit the format.
    void *(*begin)(ImageWriter *writer, GError **error);
    // A unit that is not all zero; ascending. 0 or a negative errno.
    int (*unit_data)(ImageWriter *writer, uint64_t offset, const uint8_t *bytes, size_t size);
    int (*end)(ImageWriter *writer);
    void (*free)(void *state);
} ImageWriterOps;

struct ImageWriter {
    const ImageWriterOps *ops;
    void *state;
    ImageFile *file;
    char *path;
    char *partial; // the name of the unfinished file; NULL where it has none
    uint64_t size;
    ImagePack pack;
    uint64_t written; // data up to here was taken
    uint8_t *unit;    // being filled
    uint64_t unit_at; // its offset; UINT64_MAX: none
};

extern const ImageWriterOps raw_writer_ops, qcow2_writer_ops, vmdk_writer_ops, vdi_writer_ops,
    vhd_writer_ops;

// Appends to the file. ret_position: where it lies.
int image_writer_append(ImageWriter *writer, const void *bytes, size_t size,
                        uint64_t *ret_position);
