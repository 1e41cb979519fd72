// SPDX-License-Identifier: GPL-2.0-or-later
// The packet commands of the CD-ROM drive: MMC-3 (T10/1363D revision 10g), chapter 6; SPC-2 for the
// common ones. A medium is one session with one data track in Mode 1; above the size of a long CD
// it is shown as a DVD-ROM.
#include "engine/devices/storage/atapi-cdrom.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "engine/base/guest-log.h"

#include <string.h>

#define SECTOR           2048u
#define CD_SECTORS       (90 * 60 * 75) // the longest CD
#define PROFILE_CD       0x0008
#define PROFILE_DVD      0x0010
#define LEAD_OUT         0xaa
#define DATA_TRACK       0x14 // ADR 1, control: data
#define PARAMETER_LIMIT  512u // longest parameter list taken

// READ CD, byte 9 (table 351): which parts of a sector
#define PART_SYNC   0x80
#define PART_HEADER 0x20
#define PART_USER   0x10
#define PART_EDC    0x08
#define PART_C2     0x06

typedef struct {
    uint8_t code;
    uint8_t flags;
    void (*perform)(IdeDrive *drive, const uint8_t *packet);
} PacketRow;

#define NEEDS_MEDIUM      0x01
#define PASSES_ATTENTION  0x02 // performed while a unit attention is pending (MMC-3, 4.1.6.1)

static bool has_medium(const IdeDrive *drive)
{
    return drive->block && !drive->tray_open;
}

static uint32_t capacity(const IdeDrive *drive)
{
    return has_medium(drive) ? (uint32_t)MIN(block_size(drive->block) / SECTOR, UINT32_MAX) : 0;
}

static uint16_t profile(const IdeDrive *drive)
{
    if (!has_medium(drive))
        return 0;
    return capacity(drive) > CD_SECTORS ? PROFILE_DVD : PROFILE_CD;
}

static void put_be24(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 16);
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)value;
}

// Minutes, seconds, frames with the 150 frames before the first sector.
static void put_msf(uint8_t *at, uint32_t sector)
{
    uint32_t frame = sector + 150;
    at[0] = (uint8_t)MIN(frame / (75 * 60), 255);
    at[1] = (uint8_t)(frame / 75 % 60);
    at[2] = (uint8_t)(frame % 75);
}

static void put_address(uint8_t *at, uint32_t sector, bool msf)
{
    at[0] = 0;
    if (msf)
        put_msf(at + 1, sector);
    else
        be32_write(at, sector);
}

// Sends what the buffer holds, cut to what the host has room for.
static void reply(IdeDrive *drive, uint32_t bytes, uint32_t allocation)
{
    bytes = MIN(bytes, allocation);
    if (bytes)
        ide_send(drive, bytes, atapi_byte_limit(drive), drive->packet_dma);
    else
        atapi_end(drive);
}

static uint8_t *clear_reply(IdeDrive *drive, size_t bytes)
{
    return memset(drive->buffer, 0, bytes);
}

static void test_unit_ready(IdeDrive *drive, const uint8_t *packet)
{
    atapi_end(drive);
}

// The oldest pending unit attention, which is thereby reported.
static uint32_t take_attention(IdeDrive *drive)
{
    if (drive->attention & ATAPI_ATTENTION_RESET) {
        drive->attention &= (uint8_t)~ATAPI_ATTENTION_RESET;
        return SENSE_RESET;
    }
    drive->attention = 0;
    return SENSE_MEDIUM_CHANGED;
}

static void request_sense(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 18);
    if (drive->sense_key == 0 && drive->attention)
        atapi_set_sense(drive, take_attention(drive));
    out[0] = 0x70;
    out[2] = drive->sense_key;
    out[7] = 10;
    out[12] = drive->sense_code;
    out[13] = drive->sense_qualifier;
    atapi_set_sense(drive, SENSE_NONE);
    reply(drive, 18, packet[4]);
}

static void put_padded(uint8_t *at, const char *text, size_t bytes)
{
    size_t length = strlen(text);
    memset(at, ' ', bytes);
    memcpy(at, text, MIN(length, bytes));
}

static void inquiry(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 36);
    if (packet[1] & 1 || packet[2]) { // vital product data pages
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    out[0] = 0x05; // CD-ROM
    out[1] = 0x80; // removable
    out[3] = 0x21; // ATAPI
    out[4] = 31;
    put_padded(out + 8, ATAPI_VENDOR, 8);
    put_padded(out + 16, ATAPI_PRODUCT, 16);
    put_padded(out + 32, ATAPI_REVISION, 4);
    reply(drive, 36, packet[4]);
}

static void move_tray(IdeDrive *drive, bool open)
{
    if (drive->tray_open == open)
        return;
    drive->tray_open = open;
    if (drive->block) {
        drive->event = open ? ATAPI_EVENT_REMOVAL : ATAPI_EVENT_NEW_MEDIUM;
        if (!open)
            drive->attention |= ATAPI_ATTENTION_MEDIUM;
    }
    if (drive->channel->tray_moved)
        drive->channel->tray_moved(drive->channel, drive->unit, open);
}

static void start_stop_unit(IdeDrive *drive, const uint8_t *packet)
{
    bool start = packet[4] & 1, load_eject = packet[4] & 2;
    if (load_eject && !start && drive->tray_locked) {
        atapi_fail(drive, SENSE_REMOVAL_PREVENTED);
        return;
    }
    if (load_eject)
        move_tray(drive, !start);
    atapi_end(drive);
}

static void prevent_allow(IdeDrive *drive, const uint8_t *packet)
{
    drive->tray_locked = packet[4] & 1;
    atapi_end(drive);
}

static void read_format_capacities(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 12);
    out[3] = 8;
    be32_write(out + 4, capacity(drive));
    be32_write(out + 8, SECTOR);
    out[8] = has_medium(drive) ? 2 : 3; // formatted; no medium
    reply(drive, 12, be16_read(packet + 7));
}

static void read_capacity(IdeDrive *drive, const uint8_t *packet)
{
    be32_write(drive->buffer, capacity(drive) - 1);
    be32_write(drive->buffer + 4, SECTOR);
    reply(drive, 8, 8);
}

static void read_sectors(IdeDrive *drive, uint32_t sector, uint32_t count, uint8_t parts)
{
    if (!range_within(sector, count, capacity(drive))) {
        guest_log_once("atapi-cdrom", "address", "sectors past the end of the medium");
        atapi_fail(drive, SENSE_OUT_OF_RANGE);
        return;
    }
    if (count == 0 || parts == 0) {
        atapi_end(drive);
        return;
    }
    drive->read_format = parts;
    ide_read_medium(drive, sector, count, SECTOR, atapi_byte_limit(drive), drive->packet_dma);
}

static void read_10(IdeDrive *drive, const uint8_t *packet)
{
    read_sectors(drive, be32_read(packet + 2), be16_read(packet + 7), PART_USER);
}

static void read_12(IdeDrive *drive, const uint8_t *packet)
{
    read_sectors(drive, be32_read(packet + 2), be32_read(packet + 6), PART_USER);
}

static void seek_10(IdeDrive *drive, const uint8_t *packet)
{
    if (be32_read(packet + 2) < capacity(drive))
        atapi_end(drive);
    else
        atapi_fail(drive, SENSE_OUT_OF_RANGE);
}

static void read_cd_parts(IdeDrive *drive, const uint8_t *packet, uint32_t sector, uint32_t count)
{
    unsigned type = packet[1] >> 2 & 7; // 0 any, 2 Mode 1
    if (packet[9] & PART_C2 || packet[10] & 7) {
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    if (type != 0 && type != 2) {
        atapi_fail(drive, SENSE_WRONG_TRACK_MODE);
        return;
    }
    // Bit 6 asks for the subheader, which Mode 1 has not.
    read_sectors(drive, sector, count,
                 packet[9] & (PART_SYNC | PART_HEADER | PART_USER | PART_EDC));
}

static void read_cd(IdeDrive *drive, const uint8_t *packet)
{
    read_cd_parts(drive, packet, be32_read(packet + 2), be32_read(packet + 5) & 0xffffff);
}

static void read_cd_msf(IdeDrive *drive, const uint8_t *packet)
{
    int64_t start = (packet[3] * 60 + packet[4]) * 75 + packet[5] - 150;
    int64_t end = (packet[6] * 60 + packet[7]) * 75 + packet[8] - 150;
    if (start < 0 || end < start)
        atapi_fail(drive, SENSE_BAD_FIELD);
    else
        read_cd_parts(drive, packet, (uint32_t)start, (uint32_t)(end - start));
}

static uint32_t sector_size(uint8_t parts)
{
    return (parts & PART_SYNC ? 12 : 0) + (parts & PART_HEADER ? 4 : 0) +
           (parts & PART_USER ? SECTOR : 0) + (parts & PART_EDC ? 288 : 0);
}

// Grows cooked sectors to what READ CD asked for, last one first. EDC and ECC are zero: an image
// file does not have them.
void atapi_filled(IdeDrive *drive)
{
    uint8_t parts = drive->read_format;
    uint32_t size = sector_size(parts), count = drive->chunk_sectors;
    uint32_t first = (uint32_t)(drive->sector - count);
    if (parts == PART_USER)
        return;
    for (uint32_t i = count; i-- > 0;) {
        uint8_t *at = drive->buffer + (size_t)i * size;
        uint32_t prefix = sector_size(parts & (PART_SYNC | PART_HEADER));
        if (parts & PART_USER)
            memmove(at + prefix, drive->buffer + (size_t)i * SECTOR, SECTOR);
        if (parts & PART_SYNC) {
            memset(at, 0xff, 12);
            at[0] = at[11] = 0;
            at += 12;
        }
        if (parts & PART_HEADER) {
            put_msf(at, first + i);
            for (unsigned digit = 0; digit < 3; digit++)
                at[digit] = (uint8_t)(at[digit] / 10 << 4 | at[digit] % 10);
            at[3] = 1; // mode
            at += 4;
        }
        if (parts & PART_USER)
            at += SECTOR;
        if (parts & PART_EDC)
            memset(at, 0, 288);
    }
    drive->chunk_end = count * size;
}

static void read_subchannel(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 24), format = packet[3];
    uint32_t bytes = 4;
    out[1] = 0x15; // no audio status to return
    if (packet[2] & 0x40) {
        if (format < 1 || format > 3) {
            atapi_fail(drive, SENSE_BAD_FIELD);
            return;
        }
        bytes = format == 1 ? 16 : 24;
        out[4] = format;
        if (format == 1) {
            out[5] = DATA_TRACK;
            out[6] = out[7] = 1;
        }
    }
    be16_write(out + 2, (uint16_t)(bytes - 4));
    reply(drive, bytes, be16_read(packet + 7));
}

static uint32_t put_track(uint8_t *at, uint8_t track, uint32_t sector, bool msf)
{
    at[1] = DATA_TRACK;
    at[2] = track;
    put_address(at + 4, sector, msf);
    return 8;
}

static uint32_t put_full_toc(uint8_t *out, uint32_t end)
{
    static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 1 };
    uint32_t bytes = 4;
    for (size_t i = 0; i < sizeof points; i++, bytes += 11) {
        uint8_t *entry = out + bytes;
        entry[0] = 1; // session
        entry[1] = DATA_TRACK;
        entry[3] = points[i];
        if (points[i] == 0xa2)
            put_msf(entry + 8, end);
        else if (points[i] == 1)
            put_msf(entry + 8, 0);
        else
            entry[8] = 1; // first and last track
    }
    return bytes;
}

static void read_toc(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 64);
    bool msf = packet[1] & 2;
    // SFF-8020i has the format in the control byte
    unsigned format = packet[2] & 15 ? packet[2] & 15 : packet[9] >> 6;
    uint8_t start = packet[6];
    uint32_t bytes = 4;
    out[2] = out[3] = 1; // first and last track or session
    switch (format) {
    case 0:
        if (start > 1 && start != LEAD_OUT) {
            atapi_fail(drive, SENSE_BAD_FIELD);
            return;
        }
        if (start <= 1)
            bytes += put_track(out + bytes, 1, 0, msf);
        bytes += put_track(out + bytes, LEAD_OUT, capacity(drive), msf);
        break;
    case 1:
        bytes += put_track(out + bytes, 1, 0, msf);
        break;
    case 2:
        bytes = put_full_toc(out, capacity(drive));
        break;
    default:
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    be16_write(out, (uint16_t)(bytes - 2));
    reply(drive, bytes, be16_read(packet + 7));
}

static uint32_t put_feature(uint8_t *at, uint16_t feature, uint8_t flags, const uint8_t *data,
                            uint8_t bytes)
{
    be16_write(at, feature);
    at[2] = flags; // version << 2, persistent, current
    at[3] = bytes;
    memcpy(at + 4, data, bytes);
    return 4u + bytes;
}

// MMC-3, 5.3: features in ascending order.
static void get_configuration(IdeDrive *drive, const uint8_t *packet)
{
    uint16_t now = profile(drive);
    uint8_t cd = now == PROFILE_CD, dvd = now == PROFILE_DVD;
    const struct {
        uint16_t feature;
        uint8_t flags, bytes;
        uint8_t data[8];
    } rows[] = {
        { 0x0000, 0x03, 8, { 0, PROFILE_DVD, dvd, 0, 0, PROFILE_CD, cd, 0 } }, // profile list
        { 0x0001, 0x07, 8, { 0, 0, 0, 2, 1 } },                                // core: ATAPI
        { 0x0003, 0x03, 4, { 0x29 } }, // removable medium: tray, eject, lock
        { 0x0010, now ? 0x01 : 0x00, 8, { 0, 0, SECTOR >> 8, 0, 0, 1 } }, // random readable
        { 0x001e, cd, 4, { 0 } },                                         // CD read
        { 0x001f, dvd, 0, { 0 } },                                        // DVD read
        { 0x0100, 0x03, 0, { 0 } },                                       // power management
    };
    uint8_t *out = clear_reply(drive, 128), which = packet[1] & 3;
    uint16_t start = be16_read(packet + 2);
    uint32_t bytes = 8;
    if (which == 3) {
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    be16_write(out + 6, now);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        bool wanted = which == 2 ? rows[i].feature == start : rows[i].feature >= start;
        if (wanted && !(which == 1 && !(rows[i].flags & 1)))
            bytes += put_feature(out + bytes, rows[i].feature, rows[i].flags, rows[i].data,
                                 rows[i].bytes);
    }
    be32_write(out, bytes - 4);
    reply(drive, bytes, be16_read(packet + 7));
}

static void get_event_status(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 8);
    uint32_t bytes = 4;
    if (!(packet[1] & 1)) { // asynchronous notification
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    out[3] = 0x10; // only the media class is supported
    if (packet[4] & 0x10) {
        bytes = 8;
        out[2] = 4;
        out[4] = drive->event;
        out[5] = (uint8_t)((drive->tray_open ? 1 : 0) | (has_medium(drive) ? 2 : 0));
        drive->event = ATAPI_EVENT_NONE;
    } else {
        out[2] = 0x80; // no event available
    }
    be16_write(out, (uint16_t)(bytes - 2));
    reply(drive, bytes, be16_read(packet + 7));
}

static void stop_play(IdeDrive *drive, const uint8_t *packet)
{
    atapi_end(drive);
}

static void read_disc_information(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 34);
    be16_write(out, 32);
    out[2] = 0x0e; // finalized disc, complete last session
    out[3] = out[4] = out[5] = out[6] = 1;
    reply(drive, 34, be16_read(packet + 7));
}

static void read_track_information(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 36);
    uint32_t number = be32_read(packet + 2);
    unsigned kind = packet[1] & 3; // LBA, track, session
    if (kind == 3 || (kind == 0 ? number >= capacity(drive) : number != 1)) {
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    be16_write(out, 34);
    out[2] = out[3] = 1;
    out[5] = DATA_TRACK & 0x0f;
    out[6] = 1; // Mode 1
    be32_write(out + 24, capacity(drive));
    reply(drive, 36, be16_read(packet + 7));
}

static void mode_select(IdeDrive *drive, const uint8_t *packet)
{
    uint32_t bytes = be16_read(packet + 7);
    if (bytes == 0) {
        atapi_end(drive);
    } else if (!(packet[1] & 0x10) || packet[1] & 1) { // page format; saving
        atapi_fail(drive, SENSE_BAD_FIELD);
    } else if (bytes > PARAMETER_LIMIT) {
        atapi_fail(drive, SENSE_BAD_LENGTH);
    } else {
        ide_receive(drive, bytes, atapi_byte_limit(drive), drive->packet_dma, true);
    }
}

// Returns the sense of a page that cannot be set.
static uint32_t set_mode_page(IdeDrive *drive, const uint8_t *page, uint32_t bytes)
{
    switch (page[0] & 0x3f) {
    case 0x01:
        if (bytes != sizeof drive->error_recovery)
            return SENSE_BAD_PARAMETER;
        memcpy(drive->error_recovery + 2, page + 2, bytes - 2);
        return SENSE_NONE;
    case 0x0e:
        if (bytes != sizeof drive->audio_control)
            return SENSE_BAD_PARAMETER;
        memcpy(drive->audio_control + 2, page + 2, bytes - 2);
        return SENSE_NONE;
    case 0x0d: // nothing in these two changes what the drive does
    case 0x2a:
        return SENSE_NONE;
    default:
        return SENSE_BAD_PARAMETER;
    }
}

void atapi_data_out(IdeDrive *drive)
{
    const uint8_t *list = drive->buffer;
    uint32_t size = be16_read(drive->packet + 7), at = 8;
    if (size < at || be16_read(list + 6) != 0) {
        atapi_fail(drive, size < at ? SENSE_BAD_LENGTH : SENSE_BAD_PARAMETER);
        return;
    }
    while (at < size) {
        uint32_t bytes = size - at >= 2 ? list[at + 1] + 2u : UINT32_MAX;
        if (bytes > size - at) {
            atapi_fail(drive, SENSE_BAD_LENGTH);
            return;
        }
        uint32_t sense = set_mode_page(drive, list + at, bytes);
        if (sense != SENSE_NONE) {
            atapi_fail(drive, sense);
            return;
        }
        at += bytes;
    }
    atapi_end(drive);
}

static uint32_t put_device_parameters(uint8_t *at)
{
    static const uint8_t page[8] = { 0x0d, 6, 0, 1, 0, 60, 0, 75 };
    memcpy(at, page, sizeof page);
    return sizeof page;
}

static uint32_t put_capabilities(const IdeDrive *drive, uint8_t *at)
{
    at[0] = 0x2a;
    at[1] = 20;
    at[2] = 0x0b; // reads CD-R, CD-RW, DVD-ROM
    at[4] = 0x70; // Mode 2 forms 1 and 2, multi-session
    at[6] = (uint8_t)(0x29 | (drive->tray_locked ? 2 : 0)); // tray, eject, lock
    be16_write(at + 8, 5540);                               // kB/s
    be16_write(at + 12, IDE_CHUNK_SIZE / 1024);
    be16_write(at + 14, 5540);
    return 22;
}

static uint8_t medium_type(const IdeDrive *drive)
{
    if (drive->tray_open)
        return 0x71;
    return has_medium(drive) ? 0x01 : 0x70;
}

static void mode_sense(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 128), page = packet[2] & 0x3f, control = packet[2] >> 6;
    uint32_t bytes = 8;
    if (control == 3) {
        atapi_fail(drive, SENSE_NOT_SAVED);
        return;
    }
    if (page == 0x01 || page == 0x3f) {
        memcpy(out + bytes, drive->error_recovery, sizeof drive->error_recovery);
        bytes += sizeof drive->error_recovery;
    }
    if (page == 0x0d || page == 0x3f)
        bytes += put_device_parameters(out + bytes);
    if (page == 0x0e || page == 0x3f) {
        memcpy(out + bytes, drive->audio_control, sizeof drive->audio_control);
        bytes += sizeof drive->audio_control;
    }
    if (page == 0x2a || page == 0x3f)
        bytes += put_capabilities(drive, out + bytes);
    if (bytes == 8) {
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    be16_write(out, (uint16_t)(bytes - 2));
    out[2] = medium_type(drive);
    reply(drive, bytes, be16_read(packet + 7));
}

static void read_dvd_structure(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 2052);
    uint32_t bytes = 4;
    if (profile(drive) != PROFILE_DVD || packet[6] > 0) { // one layer
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    switch (packet[7]) {
    case 0: // physical format: DVD-ROM, 120 mm, from sector 30000h on
        out[4] = 0x01;
        out[5] = 0x0f;
        out[6] = 0x01;
        put_be24(out + 9, 0x30000);
        put_be24(out + 13, 0x30000 + capacity(drive) - 1);
        bytes += 2048;
        break;
    case 1: // copyright: none
        bytes += 4;
        break;
    case 4: // manufacturing information: none
        bytes += 2048;
        break;
    default:
        atapi_fail(drive, SENSE_BAD_FIELD);
        return;
    }
    be16_write(out, (uint16_t)(bytes - 2));
    reply(drive, bytes, be16_read(packet + 8));
}

static void set_cd_speed(IdeDrive *drive, const uint8_t *packet)
{
    atapi_end(drive);
}

static void mechanism_status(IdeDrive *drive, const uint8_t *packet)
{
    uint8_t *out = clear_reply(drive, 8);
    out[1] = drive->tray_open ? 0x10 : 0;
    out[5] = 1; // slots: a table of none follows
    reply(drive, 8, be16_read(packet + 8));
}

static const PacketRow packets[] = {
    { 0x00, NEEDS_MEDIUM, test_unit_ready },
    { 0x03, PASSES_ATTENTION, request_sense },
    { 0x12, PASSES_ATTENTION, inquiry },
    { 0x1b, 0, start_stop_unit },
    { 0x1e, 0, prevent_allow },
    { 0x23, 0, read_format_capacities },
    { 0x25, NEEDS_MEDIUM, read_capacity },
    { 0x28, NEEDS_MEDIUM, read_10 },
    { 0x2b, NEEDS_MEDIUM, seek_10 },
    { 0x42, NEEDS_MEDIUM, read_subchannel },
    { 0x43, NEEDS_MEDIUM, read_toc },
    { 0x46, PASSES_ATTENTION, get_configuration },
    { 0x4a, PASSES_ATTENTION, get_event_status },
    { 0x4e, 0, stop_play },
    { 0x51, NEEDS_MEDIUM, read_disc_information },
    { 0x52, NEEDS_MEDIUM, read_track_information },
    { 0x55, 0, mode_select },
    { 0x5a, 0, mode_sense },
    { 0xa8, NEEDS_MEDIUM, read_12 },
    { 0xad, NEEDS_MEDIUM, read_dvd_structure },
    { 0xb9, NEEDS_MEDIUM, read_cd_msf },
    { 0xbb, 0, set_cd_speed },
    { 0xbd, 0, mechanism_status },
    { 0xbe, NEEDS_MEDIUM, read_cd },
};

void atapi_execute(IdeDrive *drive)
{
    const uint8_t *packet = drive->packet;
    const PacketRow *row = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(packets) && !row; i++) {
        if (packets[i].code == packet[0])
            row = &packets[i];
    }
    uint8_t flags = row ? row->flags : 0;
    if (drive->attention && !(flags & PASSES_ATTENTION)) {
        atapi_fail(drive, take_attention(drive));
        return;
    }
    if (!row) {
        guest_log_once("atapi-cdrom", "packet", "packet command %02Xh is not known", packet[0]);
        atapi_fail(drive, SENSE_BAD_OPCODE);
        return;
    }
    if (packet[0] != 0x03)
        atapi_set_sense(drive, SENSE_NONE);
    if (flags & NEEDS_MEDIUM && !has_medium(drive)) {
        atapi_fail(drive, drive->tray_open ? SENSE_NO_MEDIUM_OPEN : SENSE_NO_MEDIUM);
        return;
    }
    row->perform(drive, packet);
}

void atapi_change_medium(IdeDrive *drive, BlockDevice *block)
{
    bool had = has_medium(drive);
    if (drive->left) // in the middle of a read: the rest is not on the new medium
        atapi_fail(drive, SENSE_READ_ERROR);
    drive->block = block;
    drive->tray_open = false;
    if (block || had)
        drive->attention |= ATAPI_ATTENTION_MEDIUM;
    drive->event = block ? ATAPI_EVENT_NEW_MEDIUM : had ? ATAPI_EVENT_REMOVAL : drive->event;
}

bool atapi_press_eject(IdeDrive *drive)
{
    if (drive->tray_locked) {
        drive->event = ATAPI_EVENT_EJECT_REQUEST;
        return false;
    }
    move_tray(drive, true);
    return true;
}
