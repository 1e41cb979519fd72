// SPDX-License-Identifier: GPL-2.0-or-later
// An ATAPI CD/DVD-ROM drive. The ATA side follows ATA/ATAPI-6 (T13/1410D revision 3b), 8.23 PACKET
// and 9.8; the packet commands follow MMC-3 (T10/1363D revision 10g) and SPC-2, as far as SFF-8020i
// drives have them. Data media only: no audio, no writing, no copy protection.
//
// Packet commands are in atapi-packet.c; this file is the ATA command set and the phases around a
// packet: command, data in or out, status.
#include "engine/devices/storage/atapi-cdrom.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"

#include <string.h>

// Interrupt Reason, in the sector count register (7.14.6)
#define REASON_COMMAND 0x01 // CoD
#define REASON_TO_HOST 0x02 // I/O

#define PACKET_BYTES 12u

static void cdrom_signature(IdeDrive *drive)
{
    drive->count = drive->lba_low = 1;
    drive->lba_mid = 0x14;
    drive->lba_high = 0xeb;
    drive->select = 0;
    drive->status = 0; // 9.12: DRDY stays off until the first command of a host
}

static void cdrom_reset(IdeDrive *drive, ResetKind kind)
{
    static const uint8_t error_recovery[12] = { 0x01, 0x0a, 0x00, 0x05 };
    static const uint8_t audio_control[16] = {
        0x0e, 0x0e, 0x04, 0, 0, 0, 0, 75, 1, 0xff, 2, 0xff,
    };
    memcpy(drive->error_recovery, error_recovery, sizeof error_recovery);
    memcpy(drive->audio_control, audio_control, sizeof audio_control);
    drive->tray_locked = false;
    drive->transfer_mode = 0;
    atapi_set_sense(drive, SENSE_NONE);
    drive->attention = ATAPI_ATTENTION_RESET;
    if (kind == RESET_COLD) {
        drive->tray_open = false;
        drive->event = drive->block ? ATAPI_EVENT_NEW_MEDIUM : ATAPI_EVENT_NONE;
    }
}

static void put_text(uint8_t *words, const char *text, size_t bytes)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < bytes; i++)
        words[i ^ 1] = (uint8_t)(i < length ? text[i] : ' ');
}

static void identify(IdeDrive *drive)
{
    uint8_t *id = drive->buffer;
    uint8_t kind = drive->transfer_mode >> 3, mode = drive->transfer_mode & 7;
    memset(id, 0, 512);
    le16_write(id, 0x85c0); // ATAPI, CD-ROM, removable, DRQ within 50 us, 12-byte packets
    put_text(id + 2 * 10, drive->serial, 20);
    put_text(id + 2 * 23, ATAPI_REVISION, 8);
    put_text(id + 2 * 27, ATAPI_VENDOR " " ATAPI_PRODUCT, 40);
    le16_write(id + 2 * 49, 0x0f00); // IORDY, LBA, DMA
    le16_write(id + 2 * 50, 0x4000);
    le16_write(id + 2 * 53, 0x0006);
    le16_write(id + 2 * 63, (uint16_t)(0x07 | (kind == 4 ? 0x100 << mode : 0)));
    le16_write(id + 2 * 64, 0x03);
    for (unsigned word = 65; word <= 68; word++)
        le16_write(id + 2 * word, 120);
    le16_write(id + 2 * 71, 30);
    le16_write(id + 2 * 72, 30);
    le16_write(id + 2 * 80, 0x007e);
    le16_write(id + 2 * 81, 0x0018);
    le16_write(id + 2 * 82, 0x4210); // NOP, DEVICE RESET, PACKET
    le16_write(id + 2 * 83, 0x4000);
    le16_write(id + 2 * 84, 0x4000);
    le16_write(id + 2 * 85, 0x4210);
    le16_write(id + 2 * 87, 0x4000);
    le16_write(id + 2 * 88, (uint16_t)(0x07 | (kind == 8 ? 0x100 << mode : 0)));
    le16_write(id + 2 * 93, 0x6001 | (drive->unit ? 0x0200 : 0x0008));
    ide_send(drive, 512, 512, false);
}

static void start_packet(IdeDrive *drive)
{
    if (drive->feature & 0x02) { // overlapped
        ide_finish(drive, IDE_ERROR_ABRT);
        return;
    }
    drive->packet_dma = drive->feature & 0x01;
    drive->packet_phase = true;
    ide_receive(drive, PACKET_BYTES, PACKET_BYTES, false, false);
}

static void set_features(IdeDrive *drive)
{
    bool known_mode = drive->count <= 1 || (drive->count >= 0x08 && drive->count <= 0x0c) ||
                      (drive->count >= 0x20 && drive->count <= 0x22) ||
                      (drive->count >= 0x40 && drive->count <= 0x42);
    if (drive->feature == 0x03 && known_mode) {
        if (drive->count >= 0x20)
            drive->transfer_mode = drive->count;
        ide_finish(drive, 0);
    } else if (drive->feature == 0x66 || drive->feature == 0xcc) {
        ide_finish(drive, 0);
    } else {
        ide_finish(drive, IDE_ERROR_ABRT);
    }
}

static void cdrom_command(IdeDrive *drive, uint8_t command)
{
    drive->packet_phase = false;
    switch (command) {
    case 0xa0:
        start_packet(drive);
        return;
    case 0xa1:
        identify(drive);
        return;
    case 0xec: // 8.12.5.2 and 8.27: the signature tells the host what is here
    case 0x20:
    case 0x21:
        ide_finish(drive, IDE_ERROR_ABRT);
        drive->count = drive->lba_low = 1;
        drive->lba_mid = 0x14;
        drive->lba_high = 0xeb;
        return;
    case 0xe5: // CHECK POWER MODE: active
        drive->count = 0xff;
        ide_finish(drive, 0);
        return;
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
    case 0xe6:
        ide_finish(drive, 0);
        return;
    case 0xef:
        set_features(drive);
        return;
    default:
        guest_log_once("atapi-cdrom", "command", "command %02Xh is not known", command);
        ide_finish(drive, IDE_ERROR_ABRT);
    }
}

// Interrupt reason and byte count of the DRQ block on show.
static void cdrom_present(IdeDrive *drive, uint32_t bytes)
{
    if (drive->command != 0xa0)
        return;
    drive->count = drive->packet_phase ? REASON_COMMAND : drive->to_host ? REASON_TO_HOST : 0;
    if (!drive->packet_phase) {
        drive->lba_mid = (uint8_t)bytes;
        drive->lba_high = (uint8_t)(bytes >> 8);
    }
}

static void cdrom_received(IdeDrive *drive)
{
    if (!drive->packet_phase) {
        atapi_data_out(drive);
        return;
    }
    drive->packet_phase = false;
    memcpy(drive->packet, drive->buffer, PACKET_BYTES);
    atapi_execute(drive);
}

static void cdrom_done(IdeDrive *drive)
{
    if (drive->command == 0xa0)
        atapi_end(drive);
    // IDENTIFY PACKET DEVICE: the data block had the interrupt
}

static void cdrom_failed(IdeDrive *drive, int result)
{
    atapi_fail(drive, result == -ENOMEDIUM ? SENSE_NO_MEDIUM : SENSE_READ_ERROR);
}

static bool cdrom_loaded(const IdeDrive *drive)
{
    // Sectors of a cooked size only: `filled` grows what a request has read.
    return drive->sector_bytes == 0 || drive->sector_bytes == 2048;
}

void atapi_set_sense(IdeDrive *drive, uint32_t sense)
{
    drive->sense_key = (uint8_t)(sense >> 16);
    drive->sense_code = (uint8_t)(sense >> 8);
    drive->sense_qualifier = (uint8_t)sense;
}

void atapi_end(IdeDrive *drive)
{
    drive->count = REASON_COMMAND | REASON_TO_HOST;
    ide_finish(drive, 0);
}

void atapi_fail(IdeDrive *drive, uint32_t sense)
{
    atapi_set_sense(drive, sense);
    drive->count = REASON_COMMAND | REASON_TO_HOST;
    ide_finish(drive, (uint8_t)(drive->sense_key << 4 | IDE_ERROR_ABRT));
}

// 8.23.5: the byte count limit bounds a DRQ block; it is even unless the transfer fits in one.
uint32_t atapi_byte_limit(const IdeDrive *drive)
{
    uint32_t limit = drive->lba_mid | (uint32_t)drive->lba_high << 8;
    if (limit == 0 || limit == 0xffff)
        return 0xfffe;
    return limit == 1 ? 2 : limit & ~1u;
}

const IdeDriveOps atapi_cdrom_ops = {
    .name = "atapi-cdrom",
    .signature = cdrom_signature,
    .reset = cdrom_reset,
    .command = cdrom_command,
    .present = cdrom_present,
    .filled = atapi_filled,
    .received = cdrom_received,
    .done = cdrom_done,
    .failed = cdrom_failed,
    .loaded = cdrom_loaded,
};
