// SPDX-License-Identifier: GPL-2.0-or-later
// Layout of VHD structures, big-endian, after Microsoft's "Virtual Hard Disk Image Format
// Specification", 1.0 (October 2006): byte offsets.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define VHD_FOOTER_BYTES 512u
#define VHD_COOKIE       "conectix"
#define VHD_FEATURES     8
#define VHD_VERSION      12
#define VHD_DATA_OFFSET  16 // of the dynamic header; all ones for fixed disks
#define VHD_TIMESTAMP    24 // seconds since 2000-01-01 UTC
#define VHD_CREATOR      28
#define VHD_CREATOR_VER  32
#define VHD_CREATOR_OS   36
#define VHD_ORIGINAL     40
#define VHD_CURRENT      48
#define VHD_GEOMETRY     56
#define VHD_TYPE         60
#define VHD_CHECKSUM     64
#define VHD_UUID         68

enum { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

#define VHD_HEADER_BYTES    1024u
#define VHD_HEADER_COOKIE   "cxsparse"
#define VHD_TABLE_OFFSET    16
#define VHD_HEADER_VERSION  24
#define VHD_TABLE_ENTRIES   28
#define VHD_BLOCK_SIZE      32
#define VHD_HEADER_CHECKSUM 36
#define VHD_PARENT_UUID     40
#define VHD_PARENT_NAME     64  // 512 bytes, UTF-16BE
#define VHD_LOCATORS        576 // 8 of 24 bytes
#define VHD_LOCATOR_BYTES   24

#define VHD_FREE 0xffffffffu // an entry of the block allocation table

// One's complement of the sum of all bytes but the checksum's own four.
static inline uint32_t vhd_checksum(const uint8_t *bytes, size_t size, size_t at)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += i >= at && i < at + 4 ? 0 : bytes[i];
    return ~sum;
}

// The geometry that the specification's appendix computes, as it stands in a footer.
uint32_t vhd_geometry(uint64_t size);
