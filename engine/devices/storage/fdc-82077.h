// SPDX-License-Identifier: GPL-2.0-or-later
// The floppy controller of a PC at ports 3F0h to 3F5h and 3F7h, with up to two drives.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/isa-dma.h"
#include "snapshots/block.h"

typedef struct {
    bool present;
    // Opened with the machine lock, outlives the device, size one of those of fdc_drive_type.
    // NULL: no diskette. A read-only one is write-protected.
    BlockDevice *block;
} FdcDriveConfig;

typedef struct {
    FdcDriveConfig drives[2];
    IrqLine irq; // a NULL set: the host's ISA line 6
    IsaDma dma;  // channel 2 is used; may be empty, then only non-DMA transfers work
} Fdc82077Config;

// Before a state is saved and before destroy, the caller drains the block devices (block_drain).
extern const DeviceOps fdc_82077_ops;

// Puts a diskette into a drive (NULL: takes it out). False where there is no such drive, where its
// size is none that a diskette has, or where a request is under way: drain and try again. Machine
// lock held.
bool fdc_82077_set_medium(void *device, unsigned unit, BlockDevice *block);

// The type that CMOS byte 10h gives the drive which takes a diskette of this many bytes:
// 1 (360 KB), 2 (1.2 MB), 3 (720 KB), 4 (1.44 MB), 5 (2.88 MB). Another multiple of 512 is an image
// that was cut: 4 or 5. 0 where it is no diskette.
uint8_t fdc_drive_type(uint64_t bytes);
