// SPDX-License-Identifier: GPL-2.0-or-later
// The commands of the floppy controller: 82077AA data sheet (Intel 290166-007), chapter 5. Seeks
// are over at once; a host sees them end by interrupt all the same. Not here: the scan commands.
#include "engine/devices/storage/fdc-private.h"

#include "engine/base/guest-log.h"

typedef struct {
    uint8_t mask, code; // of the first byte
    uint8_t length;     // bytes with the first
    void (*execute)(Fdc *fdc);
} CommandRow;

static void end_silently(Fdc *fdc)
{
    fdc_give_result(fdc, 0, false);
}

static void give_byte(Fdc *fdc, uint8_t value)
{
    fdc->fifo[0] = value;
    fdc_give_result(fdc, 1, false);
}

static void command_read(Fdc *fdc)
{
    fdc_start_transfer(fdc, FDC_READ);
}

// READ TRACK begins at the index hole, whatever sector was named.
static void command_read_track(Fdc *fdc)
{
    fdc->fifo[0] &= 0x7f;
    fdc->fifo[4] = 1;
    fdc_start_transfer(fdc, FDC_READ);
}

// An image cannot say which sectors are marked deleted: none is.
static void command_read_deleted(Fdc *fdc)
{
    fdc->unit = fdc->fifo[1] & 3;
    fdc->head = fdc->fifo[1] >> 2 & 1;
    fdc->at_cylinder = fdc->fifo[2];
    fdc->at_head = fdc->fifo[3];
    fdc->at_sector = fdc->fifo[4];
    fdc->st1 = ST1_NO_DATA;
    fdc->st2 = 0;
    fdc_end_transfer(fdc, ST0_ABNORMAL);
}

static void command_write(Fdc *fdc)
{
    fdc_start_transfer(fdc, FDC_WRITE);
}

static void command_specify(Fdc *fdc)
{
    fdc->specify[0] = fdc->fifo[1];
    fdc->specify[1] = fdc->fifo[2];
    end_silently(fdc);
}

// Status Register 3 (6.4)
static void command_sense_drive(Fdc *fdc)
{
    unsigned unit = fdc->fifo[1] & 3;
    bool present = unit < 2 && fdc->present[unit];
    uint8_t st3 = (uint8_t)(0x20 | (fdc->fifo[1] & 7));
    if (present) {
        st3 |= 0x08; // two sides
        if (fdc->cylinder[unit] == 0)
            st3 |= 0x10;
        if (fdc->blocks[unit] && block_read_only(fdc->blocks[unit]))
            st3 |= 0x40;
    }
    give_byte(fdc, st3);
}

// A head that moves to or over a diskette clears the drive's change line.
static void end_seek(Fdc *fdc, unsigned unit, uint8_t cylinder, uint8_t st0)
{
    fdc->cylinder[unit] = cylinder;
    if (fdc_medium(fdc, unit))
        fdc->disk_changed[unit] = false;
    fdc->seek_senses |= (uint8_t)(1 << unit);
    fdc->seek_status[unit] = (uint8_t)(ST0_SEEK_END | st0 | unit);
    end_silently(fdc);
    fdc_raise(fdc);
}

static void command_recalibrate(Fdc *fdc)
{
    unsigned unit = fdc->fifo[1] & 3;
    bool present = unit < 2 && fdc->present[unit];
    // Without a drive track 0 is never found (5.2.2).
    end_seek(fdc, unit, 0, present ? 0 : ST0_ABNORMAL | ST0_CHECK);
}

static void command_seek(Fdc *fdc)
{
    unsigned unit = fdc->fifo[1] & 3;
    end_seek(fdc, unit, fdc->fifo[2], fdc->fifo[1] & 4);
}

static void command_relative_seek(Fdc *fdc)
{
    unsigned unit = fdc->fifo[1] & 3;
    int step = fdc->fifo[0] & 0x40 ? fdc->fifo[2] : -fdc->fifo[2];
    end_seek(fdc, unit, (uint8_t)CLAMP(fdc->cylinder[unit] + step, 0, 255), fdc->fifo[1] & 4);
}

// 5.2.1: after a reset one answer for each of four drives, then one for each seek.
static void command_sense_interrupt(Fdc *fdc)
{
    unsigned unit;
    if (fdc->reset_senses) {
        unit = 4u - fdc->reset_senses--;
        fdc->fifo[0] = (uint8_t)(0xc0 | unit);
    } else if (fdc->seek_senses) {
        unit = (unsigned)__builtin_ctz(fdc->seek_senses);
        fdc->seek_senses &= (uint8_t)(fdc->seek_senses - 1);
        fdc->fifo[0] = fdc->seek_status[unit];
    } else {
        give_byte(fdc, ST0_INVALID);
        return;
    }
    fdc->fifo[1] = fdc->cylinder[unit];
    fdc_give_result(fdc, 2, false);
    fdc_set_interrupt(fdc, false);
}

static void command_read_id(Fdc *fdc)
{
    fdc->unit = fdc->fifo[1] & 3;
    fdc->head = fdc->fifo[1] >> 2 & 1;
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit);
    uint8_t cylinder = fdc->cylinder[fdc->unit];
    fdc->st1 = fdc->st2 = 0;
    fdc->at_cylinder = cylinder;
    fdc->at_head = fdc->head;
    if (!g || !fdc_rate_fits(fdc, g) || cylinder >= g->cylinders || fdc->head >= g->heads) {
        fdc->st1 = ST1_NO_MARK;
        fdc->at_sector = 1;
        fdc_end_transfer(fdc, ST0_ABNORMAL);
        return;
    }
    fdc->at_sector = (uint8_t)(fdc->rotation++ % g->sectors + 1);
    fdc_end_transfer(fdc, 0);
}

static void command_dump(Fdc *fdc)
{
    for (unsigned unit = 0; unit < 4; unit++)
        fdc->fifo[unit] = fdc->cylinder[unit];
    fdc->fifo[4] = fdc->specify[0];
    fdc->fifo[5] = fdc->specify[1];
    fdc->fifo[6] = fdc->last_sector;
    fdc->fifo[7] = (uint8_t)((fdc->lock ? 0x80 : 0) | fdc->perpendicular);
    fdc->fifo[8] = fdc->configure;
    fdc->fifo[9] = fdc->precompensation;
    fdc_give_result(fdc, 10, false);
}

static void command_version(Fdc *fdc)
{
    give_byte(fdc, 0x90); // 82077 and later
}

// OW (bit 7) lets the drive bits through (5.2.7).
static void command_perpendicular(Fdc *fdc)
{
    uint8_t mask = fdc->fifo[1] & 0x80 ? 0x3f : 0x03;
    fdc->perpendicular = (uint8_t)((fdc->perpendicular & ~mask) | (fdc->fifo[1] & mask));
    end_silently(fdc);
}

static void command_configure(Fdc *fdc)
{
    fdc->configure = fdc->fifo[2] & 0x7f;
    fdc->precompensation = fdc->fifo[3];
    end_silently(fdc);
}

static void command_lock(Fdc *fdc)
{
    fdc->lock = fdc->fifo[0] & 0x80;
    give_byte(fdc, fdc->lock ? 0x10 : 0);
}

// Bits 5 to 7 of a data command are SK, MFM and MT.
static const CommandRow commands[] = {
    { 0x9f, 0x02, 9, command_read_track },
    { 0xff, 0x03, 3, command_specify },
    { 0xff, 0x04, 2, command_sense_drive },
    { 0x3f, 0x05, 9, command_write },
    { 0x1f, 0x06, 9, command_read },
    { 0xff, 0x07, 2, command_recalibrate },
    { 0xff, 0x08, 1, command_sense_interrupt },
    { 0x3f, 0x09, 9, command_write }, // deleted data: written without the mark
    { 0xbf, 0x0a, 2, command_read_id },
    { 0x1f, 0x0c, 9, command_read_deleted },
    { 0xbf, 0x0d, 6, fdc_start_format },
    { 0xff, 0x0e, 1, command_dump },
    { 0xff, 0x0f, 3, command_seek },
    { 0xbf, 0x8f, 3, command_relative_seek },
    { 0xff, 0x10, 1, command_version },
    { 0xff, 0x12, 2, command_perpendicular },
    { 0xff, 0x13, 4, command_configure },
    { 0x7f, 0x14, 1, command_lock },
    { 0x1f, 0x16, 9, fdc_start_verify },
};

static const CommandRow *find_command(uint8_t code)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if ((code & commands[i].mask) == commands[i].code)
            return &commands[i];
    }
    return NULL;
}

uint8_t fdc_command_length(uint8_t code)
{
    const CommandRow *row = find_command(code);
    return row ? row->length : 1;
}

void fdc_execute(Fdc *fdc)
{
    const CommandRow *row = find_command(fdc->fifo[0]);
    if (row) {
        row->execute(fdc);
        return;
    }
    guest_log_once("fdc-82077", "command", "command %02Xh is not known", fdc->fifo[0]);
    give_byte(fdc, ST0_INVALID);
}
