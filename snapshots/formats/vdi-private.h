// SPDX-License-Identifier: GPL-2.0-or-later
// Layout of a VDI header, version 1.1, little-endian, as VirtualBox writes it: byte offsets.
#pragma once

#define VDI_TEXT          "<<< Oracle VM VirtualBox Disk Image >>>\n"
#define VDI_SIGNATURE     0xbeda107fu
#define VDI_SIGNATURE_AT  0x40
#define VDI_VERSION       0x44 // 1.1 is 00010001h
#define VDI_HEADER_SIZE   0x48 // from here on: 190h
#define VDI_TYPE          0x4c
#define VDI_FLAGS         0x50
#define VDI_MAP_OFFSET    0x154
#define VDI_DATA_OFFSET   0x158
#define VDI_SECTOR_SIZE   0x168
#define VDI_DISK_SIZE     0x170
#define VDI_BLOCK_SIZE    0x178
#define VDI_BLOCK_EXTRA   0x17c
#define VDI_BLOCKS        0x180
#define VDI_ALLOCATED     0x184
#define VDI_UUID_IMAGE    0x188
#define VDI_UUID_SNAPSHOT 0x198
#define VDI_UUID_LINK     0x1a8
#define VDI_UUID_PARENT   0x1b8
#define VDI_HEADER_BYTES  512

enum { VDI_DYNAMIC = 1, VDI_FIXED = 2, VDI_UNDO = 3, VDI_DIFFERENCING = 4 };

// Entries of the block map.
#define VDI_FREE 0xffffffffu // never written
#define VDI_ZERO 0xfffffffeu // discarded
