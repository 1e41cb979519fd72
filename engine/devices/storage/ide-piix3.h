// SPDX-License-Identifier: GPL-2.0-or-later
// The IDE function of a PIIX3 with its two channels and up to four drives.
#pragma once

#include "engine/bus/device.h"
#include "snapshots/block.h"

typedef enum { IDE_NONE, IDE_DISK, IDE_CDROM } IdeKind;

typedef struct {
    IdeKind kind;
    // Opened with the machine lock, stays the caller's and outlives the device. A disk must have
    // one, a CD-ROM drive may be empty.
    BlockDevice *block;
    const char *serial; // up to 20 characters, stable over the machine's life; copied
} IdeDriveConfig;

typedef struct {
    IdeDriveConfig drives[2][2]; // [channel][unit]
    IrqLine irq[2];              // a NULL set: the host's ISA lines 14 and 15
    uint8_t devfn;
    // A guest opened or closed the tray of a CD-ROM drive. May be NULL. Only notes, as
    // request_reset does.
    void (*tray_moved)(void *opaque, unsigned channel, unsigned unit, bool open);
    void *opaque;
} IdePiix3Config;

// Before a state is saved and before destroy, the caller drains the block devices (block_drain).
extern const DeviceOps ide_piix3_ops;

// Puts a medium into a CD-ROM drive (NULL: takes it out) and tells the guest. False where that is
// no CD-ROM drive, or where a request is under way: drain the old medium and try again. The old
// medium may be closed afterwards. Machine lock held.
bool ide_piix3_set_medium(void *device, unsigned channel, unsigned unit, BlockDevice *block);

// The button on the drive: opens the tray and returns true; where the guest has locked it, tells
// the guest and returns false. Machine lock held.
bool ide_piix3_press_eject(void *device, unsigned channel, unsigned unit);
