// SPDX-License-Identifier: GPL-2.0-or-later
// The part of a drive that does not know which commands it has: see ide-drive.h for the design.
// ATA/ATAPI-6, 9.5 to 9.9: PIO data-in, PIO data-out, DMA and PACKET protocols.
//
// Blocks are read ahead of the host and written behind it a chunk at a time; between two DRQ blocks
// of one chunk BSY never shows, which the standard allows (the drive may be that fast).
#include "engine/devices/storage/ide-drive.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"

#include <errno.h>
#include <string.h>

#define TRIM_SECTOR 512u // bytes

static void start_chunk(IdeDrive *drive, bool raise);
static void trim_next(IdeDrive *drive);

void ide_raise(IdeDrive *drive)
{
    drive->interrupt = true;
    drive->channel->update_interrupt(drive->channel);
}

static void go_idle(IdeDrive *drive)
{
    drive->phase = IDE_PHASE_IDLE;
    drive->left = 0;
    drive->chunk_at = drive->chunk_end = drive->block_end = 0;
    drive->status = IDE_DRDY | IDE_DSC;
}

void ide_finish(IdeDrive *drive, uint8_t error)
{
    go_idle(drive);
    drive->error = error;
    if (error)
        drive->status |= IDE_ERR;
    ide_raise(drive);
}

static void finish_reset(IdeDrive *drive)
{
    drive->reset_waits = false;
    go_idle(drive);
    drive->error = 1; // 9.12: device passed
    drive->interrupt = false;
    drive->ops->signature(drive);
    drive->channel->update_interrupt(drive->channel);
}

void ide_drive_reset(IdeDrive *drive)
{
    if (!drive->ops)
        return;
    drive->interrupt = false;
    if (drive->io->pending) {
        drive->reset_waits = true;
        drive->status = IDE_BSY;
        drive->channel->update_interrupt(drive->channel);
        return;
    }
    finish_reset(drive);
}

static void medium_done(BlockRequest *request, int result)
{
    IdeIo *io = request->opaque;
    IdeDrive *drive = io->drive;
    io->pending = false;
    if (!drive) {
        g_free(io->buffer);
        g_free(io);
        return;
    }
    if (drive->reset_waits) {
        finish_reset(drive);
        return;
    }
    if (result < 0) {
        go_idle(drive);
        drive->ops->failed(drive, result);
        return;
    }
    switch ((IdeMediumWork)drive->medium_work) {
    case IDE_MEDIUM_READ:
        drive->sector += drive->chunk_sectors;
        drive->left -= drive->chunk_sectors;
        if (drive->ops->filled)
            drive->ops->filled(drive);
        start_chunk(drive, true);
        return;
    case IDE_MEDIUM_WRITE:
        drive->sector += drive->chunk_sectors;
        drive->left -= drive->chunk_sectors;
        drive->chunk_at = drive->chunk_end = 0;
        if (drive->left) {
            start_chunk(drive, true);
        } else if (drive->flush_after) {
            ide_flush_medium(drive);
        } else {
            go_idle(drive);
            drive->ops->done(drive);
        }
        return;
    case IDE_MEDIUM_FLUSH:
        go_idle(drive);
        drive->ops->done(drive);
        return;
    case IDE_MEDIUM_TRIM:
        trim_next(drive);
        return;
    }
}

// BSY until the medium has done its part.
static void submit(IdeDrive *drive)
{
    static const BlockOperation operations[] = {
        [IDE_MEDIUM_READ] = BLOCK_READ,
        [IDE_MEDIUM_WRITE] = BLOCK_WRITE,
        [IDE_MEDIUM_FLUSH] = BLOCK_FLUSH,
        [IDE_MEDIUM_TRIM] = BLOCK_DISCARD,
    };
    IdeIo *io = drive->io;
    bool flush = drive->medium_work == IDE_MEDIUM_FLUSH;
    bool trim = drive->medium_work == IDE_MEDIUM_TRIM;
    uint32_t sector_bytes = trim ? TRIM_SECTOR : drive->sector_bytes;
    if (!drive->block) {
        go_idle(drive);
        drive->ops->failed(drive, -ENOMEDIUM);
        return;
    }
    uint32_t bytes = flush ? 0 : drive->chunk_sectors * sector_bytes;
    drive->phase = IDE_PHASE_MEDIUM;
    drive->status = IDE_BSY;
    io->iov = (struct iovec){ io->buffer, bytes };
    io->request = (BlockRequest){
        .operation = operations[drive->medium_work],
        .offset = flush ? 0 : drive->sector * sector_bytes,
        .length = bytes,
        .iov = &io->iov,
        .iov_count = flush || trim ? 0 : 1,
        .complete = medium_done,
        .opaque = io,
    };
    io->pending = true;
    block_submit(drive->block, &io->request);
}

void ide_flush_medium(IdeDrive *drive)
{
    drive->flush_after = false;
    drive->medium_work = IDE_MEDIUM_FLUSH;
    drive->to_host = drive->dma = false;
    drive->left = 0;
    submit(drive);
}

static void trim_next(IdeDrive *drive)
{
    while (drive->chunk_at < drive->chunk_end) {
        uint64_t range = le64_read(drive->buffer + drive->chunk_at);
        drive->chunk_at += 8;
        drive->sector = range & ((UINT64_C(1) << 48) - 1);
        drive->chunk_sectors = (uint32_t)(range >> 48);
        if (drive->chunk_sectors) {
            submit(drive);
            return;
        }
    }
    go_idle(drive);
    drive->ops->done(drive);
}

void ide_trim_medium(IdeDrive *drive, uint32_t bytes)
{
    drive->medium_work = IDE_MEDIUM_TRIM;
    drive->to_host = false;
    drive->left = 0;
    drive->chunk_at = 0;
    drive->chunk_end = bytes;
    trim_next(drive);
}

static void take_chunk_size(IdeDrive *drive)
{
    drive->chunk_sectors = MIN(drive->left, IDE_CHUNK_SIZE / drive->sector_bytes);
    drive->chunk_end = drive->chunk_sectors * drive->sector_bytes;
    drive->chunk_at = 0;
}

// Shows the next DRQ block.
static void present(IdeDrive *drive, bool raise)
{
    drive->phase = IDE_PHASE_HOST;
    drive->block_end = MIN(drive->chunk_at + drive->block_bytes, drive->chunk_end);
    drive->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
    if (drive->ops->present)
        drive->ops->present(drive, drive->block_end - drive->chunk_at);
    if (raise)
        ide_raise(drive);
}

// The host's side of the chunk is complete.
static void chunk_moved(IdeDrive *drive)
{
    if (drive->to_host) {
        if (drive->left) {
            drive->medium_work = IDE_MEDIUM_READ;
            take_chunk_size(drive);
            submit(drive);
        } else {
            go_idle(drive);
            drive->ops->done(drive);
        }
    } else if (drive->left) {
        drive->medium_work = IDE_MEDIUM_WRITE;
        submit(drive);
    } else {
        go_idle(drive);
        drive->ops->received(drive);
    }
}

// Where the descriptors are too short for the command the drive goes on waiting, as the wire would
// have it (BMIDE 1.0, 3.2): the host sees the bus master inactive without an interrupt.
static void move_dma(IdeDrive *drive)
{
    drive->phase = IDE_PHASE_DMA;
    drive->status = IDE_DRDY | IDE_DSC | IDE_DRQ;
    drive->chunk_at += drive->channel->dma_move(drive->channel, drive->buffer + drive->chunk_at,
                                                drive->chunk_end - drive->chunk_at,
                                                drive->to_host);
    if (drive->chunk_at == drive->chunk_end)
        chunk_moved(drive);
}

// The buffer holds a chunk for the host, or waits for one from it.
static void start_chunk(IdeDrive *drive, bool raise)
{
    if (!drive->to_host && drive->left)
        take_chunk_size(drive);
    if (drive->dma)
        move_dma(drive);
    else
        present(drive, raise);
}

static void set_bytes(IdeDrive *drive, bool to_host, uint32_t bytes, uint32_t block_bytes, bool dma)
{
    drive->to_host = to_host;
    drive->dma = dma;
    drive->left = 0;
    drive->chunk_at = 0;
    drive->chunk_end = bytes;
    drive->block_bytes = block_bytes;
}

void ide_send(IdeDrive *drive, uint32_t bytes, uint32_t block_bytes, bool dma)
{
    set_bytes(drive, true, bytes, block_bytes, dma);
    start_chunk(drive, true);
}

void ide_receive(IdeDrive *drive, uint32_t bytes, uint32_t block_bytes, bool dma, bool raise)
{
    set_bytes(drive, false, bytes, block_bytes, dma);
    start_chunk(drive, raise);
}

static void set_transfer(IdeDrive *drive, uint64_t sector, uint32_t count, uint32_t sector_bytes,
                         uint32_t block_bytes, bool dma)
{
    drive->sector = sector;
    drive->left = count;
    drive->sector_bytes = sector_bytes;
    drive->block_bytes = block_bytes;
    drive->dma = dma;
}

void ide_read_medium(IdeDrive *drive, uint64_t sector, uint32_t count, uint32_t sector_bytes,
                     uint32_t block_bytes, bool dma)
{
    set_transfer(drive, sector, count, sector_bytes, block_bytes, dma);
    drive->to_host = true;
    chunk_moved(drive);
}

void ide_write_medium(IdeDrive *drive, uint64_t sector, uint32_t count, uint32_t sector_bytes,
                      uint32_t block_bytes, bool dma)
{
    set_transfer(drive, sector, count, sector_bytes, block_bytes, dma);
    drive->to_host = false;
    start_chunk(drive, false);
}

void ide_drive_command(IdeDrive *drive, uint8_t command)
{
    // 7.4: while BSY or DRQ is set only DEVICE RESET is looked at.
    bool device_reset = command == 0x08 && drive->ops == &atapi_cdrom_ops;
    if ((drive->status & (IDE_BSY | IDE_DRQ)) && !device_reset) {
        guest_log_once("ide-piix3", "command while busy", "command %02Xh dropped", command);
        return;
    }
    drive->interrupt = false;
    drive->channel->update_interrupt(drive->channel);
    if (device_reset) {
        ide_drive_reset(drive);
        return;
    }
    drive->command = command;
    drive->error = 0;
    drive->status = IDE_DRDY | IDE_DSC;
    drive->flush_after = false;
    drive->lba48 = false;
    drive->sector_bytes = 0; // until the command turns out to move sectors
    drive->ops->command(drive, command);
}

void ide_drive_dma_ready(IdeDrive *drive)
{
    if (drive->ops && drive->phase == IDE_PHASE_DMA)
        move_dma(drive);
}

// What follows a DRQ block that the host has moved.
static void block_moved(IdeDrive *drive)
{
    if (drive->chunk_at < drive->chunk_end)
        present(drive, true);
    else
        chunk_moved(drive);
}

uint32_t ide_drive_data_read(IdeDrive *drive, uint8_t *data, uint32_t size)
{
    uint32_t done = 0;
    while (done < size && drive->phase == IDE_PHASE_HOST && drive->to_host) {
        uint32_t piece = MIN(size - done, drive->block_end - drive->chunk_at);
        memcpy(data + done, drive->buffer + drive->chunk_at, piece);
        drive->chunk_at += piece;
        done += piece;
        if (drive->chunk_at == drive->block_end)
            block_moved(drive);
    }
    return done;
}

uint32_t ide_drive_data_write(IdeDrive *drive, const uint8_t *data, uint32_t size)
{
    uint32_t done = 0;
    while (done < size && drive->phase == IDE_PHASE_HOST && !drive->to_host) {
        uint32_t piece = MIN(size - done, drive->block_end - drive->chunk_at);
        memcpy(drive->buffer + drive->chunk_at, data + done, piece);
        drive->chunk_at += piece;
        done += piece;
        if (drive->chunk_at == drive->block_end)
            block_moved(drive);
    }
    return done;
}

static bool sizes_are_possible(const IdeDrive *drive)
{
    if (drive->chunk_at > drive->chunk_end || drive->chunk_end > IDE_BUFFER_SIZE ||
        drive->block_end > drive->chunk_end || drive->phase > IDE_PHASE_MEDIUM ||
        drive->medium_work > IDE_MEDIUM_TRIM)
        return false;
    // A DRQ block is never empty, or the data port would not advance.
    if (drive->phase == IDE_PHASE_HOST &&
        (drive->block_bytes == 0 || drive->chunk_at >= drive->block_end))
        return false;
    return true;
}

static bool transfer_is_possible(const IdeDrive *drive)
{
    bool host = drive->phase == IDE_PHASE_HOST || drive->phase == IDE_PHASE_DMA;
    bool flush = drive->phase == IDE_PHASE_MEDIUM && drive->medium_work == IDE_MEDIUM_FLUSH;
    if (!sizes_are_possible(drive))
        return false;
    if (host && !drive->to_host && !drive->left)
        return drive->ops->received != NULL;
    if (flush)
        return drive->block != NULL;
    if (drive->phase == IDE_PHASE_MEDIUM && drive->medium_work == IDE_MEDIUM_TRIM)
        return drive->block && drive->chunk_end % 8 == 0 && drive->chunk_at % 8 == 0 &&
               drive->sector < UINT64_C(1) << 48 && drive->chunk_sectors <= UINT16_MAX;
    if (drive->phase != IDE_PHASE_MEDIUM && !(host && drive->left))
        return true;
    if (!drive->block || (drive->sector_bytes != 512 && drive->sector_bytes != 2048) ||
        drive->block_bytes == 0 || drive->sector > UINT64_C(1) << 48 ||
        drive->chunk_sectors > IDE_CHUNK_SIZE / drive->sector_bytes)
        return false;
    if (drive->phase == IDE_PHASE_MEDIUM &&
        drive->to_host != (drive->medium_work == IDE_MEDIUM_READ))
        return false;
    // A chunk that has still to pass the medium is part of what is left.
    bool before_medium = drive->phase == IDE_PHASE_MEDIUM || !drive->to_host;
    return !before_medium || (drive->chunk_sectors > 0 && drive->chunk_sectors <= drive->left);
}

bool ide_drive_loaded(IdeDrive *drive)
{
    if (!drive->ops)
        return true;
    if (!transfer_is_possible(drive) || !drive->ops->loaded(drive))
        return false;
    if (drive->reset_waits)
        finish_reset(drive);
    else if (drive->phase == IDE_PHASE_MEDIUM && !drive->io->pending)
        submit(drive);
    return true;
}

void ide_drive_init(IdeDrive *drive, IdeChannel *channel, unsigned unit, const IdeDriveOps *ops,
                    BlockDevice *block, const char *serial)
{
    *drive = (IdeDrive){ .ops = ops, .channel = channel, .block = block, .unit = (uint8_t)unit };
    drive->io = g_new0(IdeIo, 1);
    drive->io->drive = drive;
    // Also at a cable end without a drive: the saved state has a place for each.
    drive->buffer = drive->io->buffer = g_malloc0(IDE_BUFFER_SIZE);
    g_strlcpy(drive->serial, serial ? serial : "", sizeof drive->serial);
}

void ide_drive_clear(IdeDrive *drive)
{
    IdeIo *io = g_steal_pointer(&drive->io);
    if (!io)
        return;
    io->drive = NULL;
    if (!io->pending) {
        g_free(io->buffer);
        g_free(io);
    }
}
