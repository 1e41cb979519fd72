// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the VHDX driver share. Follows Microsoft's [MS-VHDX], "Virtual Hard Disk v2
// (VHDX) File Format", whose words are used; little-endian.
#pragma once

#include "snapshots/formats/image-cache.h"
#include "snapshots/formats/image-private.h"

#define VHDX_HEADER_BYTES  4096u
#define VHDX_HEADER_1      (64u << 10)
#define VHDX_HEADER_2      (128u << 10)
#define VHDX_REGIONS_1     (192u << 10)
#define VHDX_REGIONS_2     (256u << 10)
#define VHDX_REGIONS_BYTES (64u << 10)
#define VHDX_MIB           (UINT64_C(1) << 20)

// A log that is larger than this is an attack: Windows makes logs of 1 MiB.
#define VHDX_LOG_MAX (UINT64_C(16) << 20)

typedef struct {
    uint64_t offset, length;
} VhdxRange;

// What a log that was not yet written to the file says: whole sectors of 4 KiB, and ranges of zero.
typedef struct {
    GHashTable *sectors; // by offset, uint8_t[4096]
    GArray *zeros;       // of VhdxRange
    uint64_t file_size;  // what the last entry promises the file to have at least
} VhdxOverlay;

// CRC-32C of a structure whose own checksum at `at` counts as zero.
uint32_t vhdx_checksum(const uint8_t *bytes, size_t size, size_t at);

// Finds the log's active sequence and lays it over what is read from the file (ImageFile.patch).
// ret_overlay: NULL where nothing is to be replayed. guid: the header's LogGuid, not zero.
bool vhdx_log_replay(Image *image, VhdxRange log, const uint8_t *guid, VhdxOverlay **ret_overlay,
                     GError **error);
void vhdx_overlay_free(VhdxOverlay *overlay);
