// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the VMDK driver share. Layout after VMware's "Virtual Disk Format 5.0": byte
// offsets in a sparse extent's header, little-endian; sizes and offsets count sectors.
#pragma once

#include "snapshots/formats/image-private.h"

#define VMDK_MAGIC           0x564d444bu // "KDMV"
#define VMDK_HEADER_BYTES    512u
#define VMDK_VERSION         4
#define VMDK_FLAGS           8
#define VMDK_CAPACITY        12
#define VMDK_GRAIN_SIZE      20
#define VMDK_DESCRIPTOR      28
#define VMDK_DESCRIPTOR_SIZE 36
#define VMDK_GTES_PER_GT     44
#define VMDK_RGD_OFFSET      48
#define VMDK_GD_OFFSET       56
#define VMDK_OVERHEAD        64
#define VMDK_UNCLEAN         72
#define VMDK_END_OF_LINE     73 // "\n \r\n": broken by transfers as text
#define VMDK_COMPRESSION     77 // 1: deflate

enum { // flags
    VMDK_NEWLINES = 1,
    VMDK_REDUNDANT = 2,
    VMDK_ZERO_GRAINS = 4,
    VMDK_COMPRESSED = 1 << 16,
    VMDK_MARKERS = 1 << 17,
};

#define VMDK_GD_AT_END UINT64_MAX // the header's copy in the footer knows

enum { VMDK_MARKER_END, VMDK_MARKER_TABLE, VMDK_MARKER_DIRECTORY, VMDK_MARKER_FOOTER };

#define VMDK_DESCRIPTOR_MAX (64u << 10)

typedef enum { VMDK_SPARSE, VMDK_FLAT, VMDK_ZERO } VmdkExtentType;

typedef struct {
    VmdkExtentType type;
    uint64_t sectors;
    char *file;      // NULL for ZERO
    uint64_t offset; // FLAT: sectors into the file
} VmdkExtentLine;

typedef struct {
    char *create_type;
    uint32_t parent_cid; // ffffffffh: none
    uint32_t cid;
    char *parent_hint; // NULL where there is none
    GArray *extents;   // of VmdkExtentLine
} VmdkDescriptor;

// Parses the text. False and error for what is damaged or not supported.
bool vmdk_descriptor_parse(Image *image, const char *text, VmdkDescriptor *ret_descriptor,
                           GError **error);
void vmdk_descriptor_clear(VmdkDescriptor *descriptor);
