// SPDX-License-Identifier: GPL-2.0-or-later
// What the two kinds of drive on an IDE cable have in common: the task file, the DRQ protocol and
// the movement of data between medium, buffer, data port and bus master. Folder-private: the
// controller (ide-piix3.c) owns channels and drives, ata-disk.c and atapi-cdrom.c fill
// IdeDriveOps. Follows ATA/ATAPI-6 (T13/1410D revision 3b), chapters 7 (registers) and 9
// (protocols).
//
// A command that moves data is a transfer: `left` sectors that have not passed the buffer yet, cut
// into chunks of at most IDE_CHUNK_SIZE bytes. A chunk moves to or from the host in DRQ blocks
// (PIO) or through the bus master (DMA), and to or from the medium by one block request, during
// which BSY is set. Data that never touches the medium (IDENTIFY, ATAPI replies) is a chunk with
// left = 0.
#pragma once

#include "engine/bus/device.h"
#include "snapshots/block.h"

#define IDE_CHUNK_SIZE  65536u // most that one block request moves
#define IDE_BUFFER_SIZE 81920u // more, for sectors that READ CD dresses up to 2352 bytes

// Status (7.15.6) and error (7.11.6) register bits.
#define IDE_BSY  0x80
#define IDE_DRDY 0x40
#define IDE_DF   0x20
#define IDE_DSC  0x10 // seek complete; SERV in newer words
#define IDE_DRQ  0x08
#define IDE_ERR  0x01 // CHK on a packet device

#define IDE_ERROR_UNC  0x40
#define IDE_ERROR_IDNF 0x10
#define IDE_ERROR_ABRT 0x04

// Device/Head register
#define IDE_SELECT_LBA  0x40
#define IDE_SELECT_UNIT 0x10

typedef enum {
    IDE_PHASE_IDLE,
    IDE_PHASE_HOST,   // DRQ: the host reads or writes the data port
    IDE_PHASE_DMA,    // waits for the bus master
    IDE_PHASE_MEDIUM, // BSY: a block request is under way, to be made again after a restore
} IdePhase;

// What the block request of IDE_PHASE_MEDIUM does.
typedef enum {
    IDE_MEDIUM_READ,
    IDE_MEDIUM_WRITE,
    IDE_MEDIUM_FLUSH,
    IDE_MEDIUM_TRIM, // chunk_sectors from `sector` on; chunk_at: behind their range in the buffer
} IdeMediumWork;

typedef struct IdeDrive IdeDrive;
typedef struct IdeChannel IdeChannel;

typedef struct {
    const char *name;
    // Registers as after a reset or diagnostic (9.12, signature).
    void (*signature)(IdeDrive *drive);
    // Power-on state beyond the task file; warm keeps what a reset line keeps.
    void (*reset)(IdeDrive *drive, ResetKind kind);
    void (*command)(IdeDrive *drive, uint8_t command);
    // A DRQ block of `bytes` is about to be shown to the host. May be NULL.
    void (*present)(IdeDrive *drive, uint32_t bytes);
    // A chunk came from the medium; may change the buffer and chunk_end. May be NULL.
    void (*filled)(IdeDrive *drive);
    // The host's data is complete and is not for the medium (left = 0). May be NULL.
    void (*received)(IdeDrive *drive);
    // The transfer is over and the drive idle; the kind of drive tells the host. failed: with the
    // medium's negative errno; `sector` is where the failed chunk begins.
    void (*done)(IdeDrive *drive);
    void (*failed)(IdeDrive *drive, int result);
    // Whether the kind's own fields are possible after a restore.
    bool (*loaded)(const IdeDrive *drive);
} IdeDriveOps;

// A block request and its buffer. Outlives the drive where the drive goes first.
typedef struct {
    BlockRequest request;
    struct iovec iov;
    uint8_t *buffer;
    IdeDrive *drive; // NULL: the drive is gone, free this on completion
    bool pending;
} IdeIo;

struct IdeDrive {
    const IdeDriveOps *ops; // NULL: no drive on this cable end
    IdeChannel *channel;
    BlockDevice *block; // NULL: no medium
    IdeIo *io;
    uint8_t *buffer; // io->buffer
    char serial[21];
    uint8_t unit;

    // Task file; *_high are what the registers held before the last write (48-bit commands).
    uint8_t feature, count, lba_low, lba_mid, lba_high, select, status, error;
    uint8_t feature_high, count_high, lba_low_high, lba_mid_high, lba_high_high;
    bool interrupt; // INTRQ is pending in the drive

    uint8_t phase;       // IdePhase
    uint8_t command;     // the last one accepted
    uint8_t medium_work; // IdeMediumWork
    bool to_host;        // direction
    bool dma;
    bool reset_waits; // a reset came while a request was under way: finishes with it
    bool lba48;
    uint32_t left;         // sectors not yet read from or written to the medium
    uint32_t sector_bytes; // of the medium; 0 in a command that moves no sectors
    uint64_t sector;       // next on the medium
    uint32_t block_bytes;  // size of a DRQ block
    uint32_t chunk_sectors;
    uint32_t chunk_at, chunk_end; // bytes of the buffer moved to or from the host; size of it
    uint32_t block_end;           // end of the DRQ block on show

    // ATA disk (ata-disk.c)
    uint16_t cylinders, heads, sectors_per_track; // of the current translation
    uint8_t multiple;                             // sectors a block, 0: not set
    uint8_t transfer_mode;                        // as SET FEATURES 03h set it
    bool write_cache, look_ahead, smart, standby;
    bool flush_after; // the write ends with a flush

    // ATAPI (atapi-cdrom.c)
    uint8_t packet[12];
    bool packet_dma, packet_phase; // phase: the host sends the packet itself
    uint8_t sense_key, sense_code, sense_qualifier;
    uint8_t attention; // pending unit attentions, bits
    uint8_t event;     // media event code for GET EVENT STATUS NOTIFICATION
    bool tray_open, tray_locked;
    uint8_t read_format; // parts of a sector that READ CD asked for, as in byte 9 of its packet
    uint8_t error_recovery[12];
    uint8_t audio_control[16];
};

// Given by the controller to its drives.
struct IdeChannel {
    IdeDrive drives[2];
    uint8_t selected;
    uint8_t control; // Device Control register: HOB, SRST, nIEN
    bool line;       // level of the interrupt wire
    // The wire may have to change. Sets the bus master's interrupt bit on a rise.
    void (*update_interrupt)(IdeChannel *channel);
    // Moves up to `size` bytes between buffer and guest memory; fewer where the bus master is not
    // started that way or its descriptors end. The drive then waits for the next start.
    uint32_t (*dma_move)(IdeChannel *channel, void *buffer, uint32_t size, bool to_memory);
    // A drive opened or closed its tray on the guest's word.
    void (*tray_moved)(IdeChannel *channel, unsigned unit, bool open);
    void *opaque;
};

extern const IdeDriveOps ata_disk_ops;
extern const IdeDriveOps atapi_cdrom_ops;

void ide_drive_init(IdeDrive *drive, IdeChannel *channel, unsigned unit, const IdeDriveOps *ops,
                    BlockDevice *block, const char *serial);
void ide_drive_clear(IdeDrive *drive);

// Reset by line, SRST or DEVICE RESET. Waits for a request under way with BSY set.
void ide_drive_reset(IdeDrive *drive);

// For the controller
void ide_drive_command(IdeDrive *drive, uint8_t command);
// Bytes of the data port; short where the drive has no DRQ (any more).
uint32_t ide_drive_data_read(IdeDrive *drive, uint8_t *data, uint32_t size);
uint32_t ide_drive_data_write(IdeDrive *drive, const uint8_t *data, uint32_t size);
// The bus master was started.
void ide_drive_dma_ready(IdeDrive *drive);
// After a restore: checks what was loaded (false: impossible) and makes a lost request again.
bool ide_drive_loaded(IdeDrive *drive);

// For the kinds of drive
void ide_raise(IdeDrive *drive);
// The command ends now, with an interrupt. error: 0 or the error register.
void ide_finish(IdeDrive *drive, uint8_t error);
// Data that is in the buffer goes to the host.
void ide_send(IdeDrive *drive, uint32_t bytes, uint32_t block_bytes, bool dma);
// The host sends `bytes` that are not for the medium. raise: the first block asks by interrupt.
void ide_receive(IdeDrive *drive, uint32_t bytes, uint32_t block_bytes, bool dma, bool raise);
// `count` sectors from `sector` on, medium to host or host to medium.
void ide_read_medium(IdeDrive *drive, uint64_t sector, uint32_t count, uint32_t sector_bytes,
                     uint32_t block_bytes, bool dma);
void ide_write_medium(IdeDrive *drive, uint64_t sector, uint32_t count, uint32_t sector_bytes,
                      uint32_t block_bytes, bool dma);
void ide_flush_medium(IdeDrive *drive);
// Gives up what the first `bytes` of the buffer name: ranges of 8 bytes, 48 bits of sector and 16
// of count, all of them on the medium.
void ide_trim_medium(IdeDrive *drive, uint32_t bytes);
