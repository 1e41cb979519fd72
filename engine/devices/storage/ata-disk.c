// SPDX-License-Identifier: GPL-2.0-or-later
// A parallel ATA hard disk: the command set of ATA/ATAPI-6 (T13/1410D revision 3b, chapter 8) with
// the general feature set, 48-bit addresses, SMART as far as BIOSes and drivers look, and power
// management that only remembers, and TRIM (ACS-2, T13/2015-D, 7.10). Not here: security, host
// protected area, overlapped commands.
// The order of commands in the table is that of their codes.
#include "engine/devices/storage/ide-drive.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "engine/base/guest-log.h"

#include <string.h>

#define SECTOR        512u
#define MAX_MULTIPLE  16u
#define TRIM_SECTORS  8u // of ranges, in one command
#define LBA28_SECTORS (UINT32_C(1) << 28)
#define LBA48_SECTORS (UINT64_C(1) << 48)

static uint64_t total_sectors(const IdeDrive *drive)
{
    return MIN(block_size(drive->block) / SECTOR, LBA48_SECTORS);
}

// The translation of IDENTIFY words 1, 3 and 6 (ATA/ATAPI-5, annex C): 16 heads, 63 sectors.
static uint16_t default_cylinders(const IdeDrive *drive)
{
    uint64_t cylinders = total_sectors(drive) / (16 * 63);
    return (uint16_t)CLAMP(cylinders, 1, 16383);
}

static void default_translation(IdeDrive *drive)
{
    drive->cylinders = default_cylinders(drive);
    drive->heads = 16;
    drive->sectors_per_track = 63;
}

static void disk_signature(IdeDrive *drive)
{
    drive->count = drive->lba_low = 1;
    drive->lba_mid = drive->lba_high = 0;
    drive->select = 0;
}

static void disk_reset(IdeDrive *drive, ResetKind kind)
{
    default_translation(drive);
    drive->multiple = MAX_MULTIPLE;
    drive->transfer_mode = 0;
    drive->write_cache = drive->look_ahead = true;
    drive->standby = false;
    if (kind == RESET_COLD)
        drive->smart = true;
}

static void abort_command(IdeDrive *drive)
{
    ide_finish(drive, IDE_ERROR_ABRT);
}

static void succeed(IdeDrive *drive)
{
    ide_finish(drive, 0);
}

// The address that the task file holds. False where CHS names no sector.
static bool get_address(const IdeDrive *drive, bool ext, uint64_t *ret_sector)
{
    uint32_t low = drive->lba_low | drive->lba_mid << 8 | (uint32_t)drive->lba_high << 16;
    if (ext) {
        *ret_sector = low | (uint64_t)drive->lba_low_high << 24 |
                      (uint64_t)drive->lba_mid_high << 32 | (uint64_t)drive->lba_high_high << 40;
        return true;
    }
    unsigned head = drive->select & 0x0f;
    if (drive->select & IDE_SELECT_LBA) {
        *ret_sector = low | head << 24;
        return true;
    }
    uint32_t cylinder = drive->lba_mid | (uint32_t)drive->lba_high << 8;
    if (drive->lba_low == 0 || drive->lba_low > drive->sectors_per_track ||
        head >= drive->heads || cylinder >= drive->cylinders)
        return false;
    *ret_sector = ((uint64_t)cylinder * drive->heads + head) * drive->sectors_per_track +
                  drive->lba_low - 1;
    return true;
}

static void set_address(IdeDrive *drive, bool ext, uint64_t sector)
{
    drive->lba_low = (uint8_t)sector;
    drive->lba_mid = (uint8_t)(sector >> 8);
    drive->lba_high = (uint8_t)(sector >> 16);
    if (ext) {
        drive->lba_low_high = (uint8_t)(sector >> 24);
        drive->lba_mid_high = (uint8_t)(sector >> 32);
        drive->lba_high_high = (uint8_t)(sector >> 40);
    } else if (drive->select & IDE_SELECT_LBA) {
        drive->select = (uint8_t)((drive->select & 0xf0) | (sector >> 24 & 0x0f));
    } else {
        uint64_t track = sector / drive->sectors_per_track, cylinder = track / drive->heads;
        drive->lba_low = (uint8_t)(sector % drive->sectors_per_track + 1);
        drive->lba_mid = (uint8_t)cylinder;
        drive->lba_high = (uint8_t)(cylinder >> 8);
        drive->select = (uint8_t)((drive->select & 0xf0) | track % drive->heads);
    }
}

// The span a read, write or verify names; ends the command with IDNF where it is not on the disk.
static bool get_span(IdeDrive *drive, bool ext, uint64_t *ret_sector, uint32_t *ret_count)
{
    uint32_t count = ext ? drive->count | (uint32_t)drive->count_high << 8 : drive->count;
    if (count == 0)
        count = ext ? 65536 : 256;
    drive->lba48 = ext;
    if (!get_address(drive, ext, ret_sector) ||
        !range_within(*ret_sector, count, total_sectors(drive))) {
        guest_log_once("ata-disk", "address", "sectors past the end of the disk");
        ide_finish(drive, IDE_ERROR_IDNF);
        return false;
    }
    *ret_count = count;
    return true;
}

static void read_sectors(IdeDrive *drive, bool ext, uint32_t block_sectors, bool dma)
{
    uint64_t sector;
    uint32_t count;
    if (get_span(drive, ext, &sector, &count))
        ide_read_medium(drive, sector, count, SECTOR, block_sectors * SECTOR, dma);
}

static void write_sectors(IdeDrive *drive, bool ext, uint32_t block_sectors, bool dma)
{
    uint64_t sector;
    uint32_t count;
    if (!get_span(drive, ext, &sector, &count))
        return;
    drive->flush_after = !drive->write_cache;
    ide_write_medium(drive, sector, count, SECTOR, block_sectors * SECTOR, dma);
}

static void command_recalibrate(IdeDrive *drive, uint8_t command)
{
    succeed(drive);
}

static void command_read(IdeDrive *drive, uint8_t command)
{
    read_sectors(drive, command == 0x24, 1, false);
}

static void command_read_dma(IdeDrive *drive, uint8_t command)
{
    read_sectors(drive, command == 0x25, 1, true);
}

static void command_read_native_max(IdeDrive *drive, uint8_t command)
{
    bool ext = command == 0x27;
    uint64_t last = total_sectors(drive) - 1;
    if (!(drive->select & IDE_SELECT_LBA)) {
        abort_command(drive);
        return;
    }
    set_address(drive, ext, ext ? last : MIN(last, LBA28_SECTORS - 1));
    succeed(drive);
}

static void command_read_multiple(IdeDrive *drive, uint8_t command)
{
    if (drive->multiple)
        read_sectors(drive, command == 0x29, drive->multiple, false);
    else
        abort_command(drive);
}

static void command_write(IdeDrive *drive, uint8_t command)
{
    write_sectors(drive, command == 0x34, 1, false);
}

static void command_write_dma(IdeDrive *drive, uint8_t command)
{
    write_sectors(drive, command == 0x35, 1, true);
}

static void command_write_multiple(IdeDrive *drive, uint8_t command)
{
    if (drive->multiple)
        write_sectors(drive, command == 0x39, drive->multiple, false);
    else
        abort_command(drive);
}

// DATA SET MANAGEMENT, which has one use. Its ranges come by DMA; nothing is given up where one of
// them is wrong.
static void command_trim(IdeDrive *drive, uint8_t command)
{
    uint32_t count = drive->count | (uint32_t)drive->count_high << 8;
    if (drive->feature & 1 && count >= 1 && count <= TRIM_SECTORS && !block_read_only(drive->block))
        ide_receive(drive, count * SECTOR, SECTOR, true, false);
    else
        abort_command(drive);
}

static void disk_received(IdeDrive *drive)
{
    uint32_t bytes = (drive->count | (uint32_t)drive->count_high << 8) * SECTOR;
    // Only a restored state can say otherwise: other commands' data is for the medium.
    bool good = drive->command == 0x06 && bytes <= TRIM_SECTORS * SECTOR;
    for (uint32_t at = 0; good && at < bytes; at += 8) {
        uint64_t range = le64_read(drive->buffer + at);
        good = range_within(range & (LBA48_SECTORS - 1), range >> 48, total_sectors(drive));
    }
    if (good)
        ide_trim_medium(drive, bytes);
    else
        abort_command(drive);
}

// The medium is a file: reading it to throw the bytes away would prove nothing to the guest.
static void command_verify(IdeDrive *drive, uint8_t command)
{
    uint64_t sector;
    uint32_t count;
    if (get_span(drive, command == 0x42, &sector, &count))
        succeed(drive);
}

static void command_seek(IdeDrive *drive, uint8_t command)
{
    uint64_t sector;
    if (get_address(drive, false, &sector) && sector < total_sectors(drive))
        succeed(drive);
    else
        ide_finish(drive, IDE_ERROR_IDNF);
}

static void command_set_translation(IdeDrive *drive, uint8_t command)
{
    unsigned heads = (drive->select & 0x0f) + 1u, sectors = drive->count;
    uint64_t cylinders = sectors ? total_sectors(drive) / (heads * sectors) : 0;
    if (sectors == 0) {
        abort_command(drive);
        return;
    }
    drive->heads = (uint16_t)heads;
    drive->sectors_per_track = (uint16_t)sectors;
    drive->cylinders = (uint16_t)CLAMP(cylinders, 1, 65535);
    succeed(drive);
}

static void checksum(uint8_t *sector)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < SECTOR - 1; i++)
        sum = (uint8_t)(sum + sector[i]);
    sector[SECTOR - 1] = (uint8_t)-sum;
}

// Attribute rows of the SMART data sector; the layout that SFF-8035i revision 2.0 gives them.
static void smart_attributes(uint8_t *sector, bool thresholds)
{
    static const struct {
        uint8_t id, threshold;
    } rows[] = { { 1, 6 }, { 3, 0 }, { 4, 20 }, { 5, 36 }, { 9, 0 }, { 12, 20 }, { 190, 0 } };
    le16_write(sector, 0x10);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint8_t *row = sector + 2 + i * 12;
        row[0] = rows[i].id;
        if (thresholds) {
            row[1] = rows[i].threshold;
        } else {
            row[1] = 3; // pre-failure, updated on line
            row[3] = row[4] = rows[i].id == 190 ? 69 : 100;
        }
    }
}

static void smart_read_data(IdeDrive *drive)
{
    uint8_t *sector = drive->buffer;
    memset(sector, 0, SECTOR);
    smart_attributes(sector, false);
    sector[362] = 0x02;            // off-line data collection completed
    le16_write(sector + 364, 288); // seconds it takes
    sector[367] = 0x19;            // capabilities: off-line immediate, self-test
    le16_write(sector + 368, 3);
    sector[370] = 1; // error logging
    sector[372] = 2; // minutes of a short self-test
    sector[373] = 54;
    checksum(sector);
    ide_send(drive, SECTOR, SECTOR, false);
}

static void smart_read_log(IdeDrive *drive)
{
    uint8_t *sector = drive->buffer;
    if (drive->count != 1) {
        abort_command(drive);
        return;
    }
    memset(sector, 0, SECTOR);
    switch (drive->lba_low) {
    case 0x00: // directory
        sector[0] = 1;
        sector[2] = 1;
        sector[12] = 1;
        break;
    case 0x01: // summary of errors: none
        sector[0] = 1;
        checksum(sector);
        break;
    case 0x06: // self-tests: none
        sector[0] = 1;
        checksum(sector);
        break;
    default:
        abort_command(drive);
        return;
    }
    ide_send(drive, SECTOR, SECTOR, false);
}

static void command_smart(IdeDrive *drive, uint8_t command)
{
    bool key = drive->lba_mid == 0x4f && drive->lba_high == 0xc2;
    if (!key || (!drive->smart && drive->feature != 0xd8)) {
        abort_command(drive);
        return;
    }
    switch (drive->feature) {
    case 0xd0:
        smart_read_data(drive);
        return;
    case 0xd1:
        memset(drive->buffer, 0, SECTOR);
        smart_attributes(drive->buffer, true);
        checksum(drive->buffer);
        ide_send(drive, SECTOR, SECTOR, false);
        return;
    case 0xd2: // attribute autosave
    case 0xd3: // save attributes
    case 0xd4: // off-line immediate: over at once
        break;
    case 0xd5:
        smart_read_log(drive);
        return;
    case 0xd8:
        drive->smart = true;
        break;
    case 0xd9:
        drive->smart = false;
        break;
    case 0xda: // the key stays in the registers: no threshold exceeded
        break;
    default:
        abort_command(drive);
        return;
    }
    succeed(drive);
}

static void command_set_multiple(IdeDrive *drive, uint8_t command)
{
    uint8_t count = drive->count;
    if (count > MAX_MULTIPLE || (count & (count - 1))) {
        abort_command(drive);
        return;
    }
    drive->multiple = count;
    succeed(drive);
}

static void command_standby(IdeDrive *drive, uint8_t command)
{
    drive->standby = true;
    succeed(drive);
}

static void command_idle(IdeDrive *drive, uint8_t command)
{
    drive->standby = false;
    succeed(drive);
}

static void command_check_power(IdeDrive *drive, uint8_t command)
{
    drive->count = drive->standby ? 0x00 : 0xff;
    succeed(drive);
}

static void command_flush(IdeDrive *drive, uint8_t command)
{
    ide_flush_medium(drive);
}

// ATA strings: two characters a word, the first in the high byte, padded with spaces.
static void put_text(uint8_t *words, const char *text, size_t bytes)
{
    size_t length = strlen(text);
    for (size_t i = 0; i < bytes; i++)
        words[i ^ 1] = (uint8_t)(i < length ? text[i] : ' ');
}

static void identify_modes(const IdeDrive *drive, uint8_t *id)
{
    uint8_t kind = drive->transfer_mode >> 3, mode = drive->transfer_mode & 7;
    le16_write(id + 2 * 63, (uint16_t)(0x07 | (kind == 4 ? 0x100 << mode : 0)));
    le16_write(id + 2 * 64, 0x03); // PIO 3 and 4
    for (unsigned word = 65; word <= 68; word++)
        le16_write(id + 2 * word, 120); // ns
    le16_write(id + 2 * 88, (uint16_t)(0x3f | (kind == 8 ? 0x100 << mode : 0)));
    le16_write(id + 2 * 93, 0x6001 | (drive->unit ? 0x0200 : 0x0008)); // 80 wires, jumper, passed
}

static void identify_features(const IdeDrive *drive, uint8_t *id)
{
    uint16_t enabled = 0x4008 | (drive->smart ? 0x01 : 0) | (drive->write_cache ? 0x20 : 0) |
                       (drive->look_ahead ? 0x40 : 0);
    le16_write(id + 2 * 80, 0x00fe); // ATA-1 to ATA/ATAPI-7: before that, drivers look for no TRIM
    le16_write(id + 2 * 81, 0x0018); // T13 1410D revision 3a
    le16_write(id + 2 * 82, 0x4069); // NOP, look-ahead, write cache, power management, SMART
    le16_write(id + 2 * 83, 0x7400); // FLUSH CACHE (EXT), 48-bit
    le16_write(id + 2 * 84, 0x4003); // SMART error log and self-test
    le16_write(id + 2 * 85, enabled);
    le16_write(id + 2 * 86, 0x3400);
    le16_write(id + 2 * 87, 0x4003);
}

static void command_identify(IdeDrive *drive, uint8_t command)
{
    uint8_t *id = drive->buffer;
    uint64_t total = total_sectors(drive);
    uint32_t chs = (uint32_t)drive->cylinders * drive->heads * drive->sectors_per_track;
    memset(id, 0, SECTOR);
    le16_write(id, 0x0040); // fixed ATA device
    le16_write(id + 2 * 1, default_cylinders(drive));
    le16_write(id + 2 * 3, 16);
    le16_write(id + 2 * 6, 63);
    put_text(id + 2 * 10, drive->serial, 20);
    put_text(id + 2 * 23, "1.0", 8);
    put_text(id + 2 * 27, "LODGE HARD DISK", 40);
    le16_write(id + 2 * 47, 0x8000 | MAX_MULTIPLE);
    le16_write(id + 2 * 49, 0x2f00); // standby timer, IORDY, LBA, DMA
    le16_write(id + 2 * 50, 0x4000);
    le16_write(id + 2 * 51, 0x0200);
    le16_write(id + 2 * 53, 0x0007); // words 54-58, 64-70 and 88 are valid
    le16_write(id + 2 * 54, drive->cylinders);
    le16_write(id + 2 * 55, drive->heads);
    le16_write(id + 2 * 56, drive->sectors_per_track);
    le32_write(id + 2 * 57, chs);
    le16_write(id + 2 * 59, drive->multiple ? 0x0100 | drive->multiple : 0);
    le32_write(id + 2 * 60, (uint32_t)MIN(total, LBA28_SECTORS - 1));
    identify_modes(drive, id);
    identify_features(drive, id);
    le64_write(id + 2 * 100, total);
    le16_write(id + 2 * 105, TRIM_SECTORS);
    le16_write(id + 2 * 169, !block_read_only(drive->block)); // TRIM
    id[510] = 0xa5;
    checksum(id);
    ide_send(drive, SECTOR, SECTOR, false);
}

// PIO 0 to 4, multiword DMA 0 to 2, Ultra DMA 0 to 5 (8.46.4, table 44).
static bool transfer_mode_exists(uint8_t mode)
{
    return mode <= 1 || (mode >= 0x08 && mode <= 0x0c) || (mode >= 0x20 && mode <= 0x22) ||
           (mode >= 0x40 && mode <= 0x45);
}

static void command_set_features(IdeDrive *drive, uint8_t command)
{
    switch (drive->feature) {
    case 0x02:
        drive->write_cache = true;
        break;
    case 0x82:
        drive->write_cache = false;
        ide_flush_medium(drive);
        return;
    case 0x03:
        if (!transfer_mode_exists(drive->count)) {
            abort_command(drive);
            return;
        }
        if (drive->count >= 0x20)
            drive->transfer_mode = drive->count;
        break;
    case 0xaa:
        drive->look_ahead = true;
        break;
    case 0x55:
        drive->look_ahead = false;
        break;
    case 0x66: // keep, or return to, defaults at a soft reset: nothing is lost at one
    case 0xcc:
        break;
    default:
        abort_command(drive);
        return;
    }
    succeed(drive);
}

typedef struct {
    uint8_t first, last; // codes
    void (*perform)(IdeDrive *drive, uint8_t command);
} CommandRow;

static const CommandRow commands[] = {
    { 0x06, 0x06, command_trim },
    { 0x10, 0x1f, command_recalibrate },
    { 0x20, 0x21, command_read },
    { 0x24, 0x24, command_read },
    { 0x25, 0x25, command_read_dma },
    { 0x27, 0x27, command_read_native_max },
    { 0x29, 0x29, command_read_multiple },
    { 0x30, 0x31, command_write },
    { 0x34, 0x34, command_write },
    { 0x35, 0x35, command_write_dma },
    { 0x39, 0x39, command_write_multiple },
    { 0x40, 0x42, command_verify },
    { 0x70, 0x7f, command_seek },
    { 0x91, 0x91, command_set_translation },
    { 0x94, 0x94, command_standby },
    { 0x95, 0x95, command_idle },
    { 0x96, 0x96, command_standby },
    { 0x97, 0x97, command_idle },
    { 0x98, 0x98, command_check_power },
    { 0x99, 0x99, command_standby },
    { 0xb0, 0xb0, command_smart },
    { 0xc4, 0xc4, command_read_multiple },
    { 0xc5, 0xc5, command_write_multiple },
    { 0xc6, 0xc6, command_set_multiple },
    { 0xc8, 0xc9, command_read_dma },
    { 0xca, 0xcb, command_write_dma },
    { 0xe0, 0xe0, command_standby },
    { 0xe1, 0xe1, command_idle },
    { 0xe2, 0xe2, command_standby },
    { 0xe3, 0xe3, command_idle },
    { 0xe5, 0xe5, command_check_power },
    { 0xe6, 0xe6, command_standby },
    { 0xe7, 0xe7, command_flush },
    { 0xea, 0xea, command_flush },
    { 0xec, 0xec, command_identify },
    { 0xef, 0xef, command_set_features },
    { 0xf8, 0xf8, command_read_native_max },
};

static void disk_command(IdeDrive *drive, uint8_t command)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (command >= commands[i].first && command <= commands[i].last) {
            commands[i].perform(drive, command);
            return;
        }
    }
    guest_log_once("ata-disk", "command", "command %02Xh is not known", command);
    abort_command(drive);
}

static void disk_done(IdeDrive *drive)
{
    if (drive->sector_bytes) {
        set_address(drive, drive->lba48, drive->sector - 1);
        drive->count = drive->count_high = 0;
    }
    // 9.5: a PIO data-in command has had its last interrupt with the last block.
    if (!drive->to_host || drive->dma)
        ide_raise(drive);
}

static void disk_failed(IdeDrive *drive, int result)
{
    if (drive->sector_bytes)
        set_address(drive, drive->lba48, drive->sector);
    ide_finish(drive, drive->to_host ? IDE_ERROR_UNC : IDE_ERROR_ABRT);
}

static bool disk_loaded(const IdeDrive *drive)
{
    return drive->heads >= 1 && drive->heads <= 16 && drive->sectors_per_track >= 1 &&
           drive->sectors_per_track <= 255 && drive->multiple <= MAX_MULTIPLE &&
           !(drive->multiple & (drive->multiple - 1));
}

const IdeDriveOps ata_disk_ops = {
    .name = "ata-disk",
    .signature = disk_signature,
    .reset = disk_reset,
    .command = disk_command,
    .received = disk_received,
    .done = disk_done,
    .failed = disk_failed,
    .loaded = disk_loaded,
};
