// SPDX-License-Identifier: GPL-2.0-or-later
// Between the ATA side (atapi-cdrom.c) and the packet commands (atapi-packet.c) of the CD-ROM
// drive. Folder-private.
#pragma once

#include "engine/devices/storage/ide-drive.h"

#include <errno.h>

#define ATAPI_VENDOR   "LODGE"
#define ATAPI_PRODUCT  "DVD-ROM"
#define ATAPI_REVISION "1.0"

// Sense key, additional sense code and qualifier (MMC-3, annex F).
#define SENSE_NONE             0x000000u
#define SENSE_NO_MEDIUM        0x023a01u // not ready, medium not present, tray closed
#define SENSE_NO_MEDIUM_OPEN   0x023a02u // the same, tray open
#define SENSE_READ_ERROR       0x031100u
#define SENSE_BAD_LENGTH       0x051a00u // parameter list length
#define SENSE_BAD_OPCODE       0x052000u
#define SENSE_OUT_OF_RANGE     0x052100u
#define SENSE_BAD_FIELD        0x052400u // in the packet
#define SENSE_BAD_PARAMETER    0x052600u // in the parameter list
#define SENSE_NOT_SAVED        0x053900u // saving parameters not supported
#define SENSE_REMOVAL_PREVENTED 0x055302u
#define SENSE_WRONG_TRACK_MODE 0x056400u
#define SENSE_MEDIUM_CHANGED   0x062800u
#define SENSE_RESET            0x062900u

// IdeDrive.attention, reported in this order
#define ATAPI_ATTENTION_RESET  0x01
#define ATAPI_ATTENTION_MEDIUM 0x02

// IdeDrive.event: media event codes (MMC-3, table 97)
#define ATAPI_EVENT_NONE          0
#define ATAPI_EVENT_EJECT_REQUEST 1
#define ATAPI_EVENT_NEW_MEDIUM    2
#define ATAPI_EVENT_REMOVAL       3

void atapi_execute(IdeDrive *drive);  // the packet in drive->packet
void atapi_data_out(IdeDrive *drive); // its parameters are in the buffer
void atapi_filled(IdeDrive *drive);   // sectors are in the buffer

void atapi_set_sense(IdeDrive *drive, uint32_t sense);
void atapi_end(IdeDrive *drive);
void atapi_fail(IdeDrive *drive, uint32_t sense);
uint32_t atapi_byte_limit(const IdeDrive *drive);

// From outside the guest: medium in the tray (NULL: taken out), eject button.
void atapi_change_medium(IdeDrive *drive, BlockDevice *block);
// False where the guest has locked the tray; it then sees an eject request.
bool atapi_press_eject(IdeDrive *drive);
