// SPDX-License-Identifier: GPL-2.0-or-later
// Shared by the files of the floppy controller: fdc-82077.c (ports, phases, reset, state),
// fdc-commands.c (what each command does) and fdc-transfer.c (sectors between diskette and host).
#pragma once

#include "engine/devices/storage/fdc-82077.h"

#define FDC_FIFO_SIZE   16u
#define FDC_BUFFER_SIZE (36u * 512u) // a track side of the densest format

// Main Status Register (82077AA, 2.1.4)
#define MSR_RQM  0x80
#define MSR_DIO  0x40
#define MSR_NDMA 0x20
#define MSR_BUSY 0x10

// Digital Output Register (2.1.2)
#define DOR_NOT_RESET 0x04
#define DOR_DMA_GATE  0x08

// Status registers (chapter 6)
#define ST0_ABNORMAL 0x40
#define ST0_INVALID  0x80
#define ST0_SEEK_END 0x20
#define ST0_CHECK    0x10
#define ST1_END      0x80 // end of cylinder
#define ST1_NO_DATA  0x04
#define ST1_WRITE_PROTECTED 0x02
#define ST1_NO_MARK  0x01
#define ST1_DATA_ERROR 0x20
#define ST2_WRONG_CYLINDER 0x10

typedef enum {
    FDC_COMMAND, // takes command bytes; idle where none has come
    FDC_MEDIUM,  // a block request is under way
    FDC_HOST,    // data moves by DMA or through the FIFO
    FDC_RESULT,
} FdcPhase;

typedef enum { FDC_READ, FDC_WRITE, FDC_FORMAT } FdcTransferKind;

typedef struct {
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint8_t rates; // bit n: data rate code n reads it
    uint8_t type;  // for CMOS
} FdcGeometry;

typedef struct Fdc Fdc;

// A block request and its buffer, which outlive the controller where it goes first.
typedef struct {
    BlockRequest request;
    struct iovec iov;
    uint8_t *buffer;
    Fdc *fdc; // NULL: free this on completion
    bool pending;
} FdcIo;

struct Fdc {
    Bus *bus;
    BusRegion *ports, *direction_port;
    IrqLine irq;
    IsaDma dma;
    bool engaged;
    bool present[2];
    BlockDevice *blocks[2];
    FdcIo *io;
    uint8_t *buffer; // io->buffer

    uint8_t phase; // FdcPhase
    uint8_t dor, tape, rate;
    bool interrupt;   // INT, before the DMA gate
    bool reset_waits; // left reset while a request was under way
    uint8_t fifo[FDC_FIFO_SIZE];
    uint8_t fifo_at, fifo_size; // bytes taken or given, of how many
    uint8_t specify[2];
    uint8_t configure, precompensation; // CONFIGURE's second and third byte
    uint8_t perpendicular;
    bool lock;
    uint8_t cylinder[4];    // present cylinder of each drive
    bool disk_changed[4];
    uint8_t reset_senses;   // SENSE INTERRUPT answers owed after a reset: drives 4 - n to 3
    uint8_t seek_senses;    // bit per drive
    uint8_t seek_status[4]; // their ST0
    uint8_t rotation;       // which sector READ ID sees next

    // The data command under way
    uint8_t kind; // FdcTransferKind
    uint8_t unit, head;
    bool multitrack, non_dma, ended; // ended: terminal count came
    uint8_t at_cylinder, at_head, at_sector; // next sector
    uint8_t last_sector;                     // EOT
    uint8_t filler, sectors_per_cylinder;    // FORMAT
    uint32_t data_at, data_size;             // of the buffer
    uint32_t run_sectors;                    // that the buffer stands for
    uint8_t st1, st2;
};

// fdc-82077.c
void fdc_set_interrupt(Fdc *fdc, bool level);
// A command or seek is over; what SENSE INTERRUPT still owes for a reset is forgotten.
void fdc_raise(Fdc *fdc);
// Result bytes are in the FIFO. count 0: the command ends without.
void fdc_give_result(Fdc *fdc, uint8_t count, bool interrupt);

// fdc-commands.c
uint8_t fdc_command_length(uint8_t code); // bytes with the code itself
void fdc_execute(Fdc *fdc);               // all of them are in the FIFO

// fdc-transfer.c
const FdcGeometry *fdc_geometry(uint64_t bytes); // NULL where no diskette has this size
const FdcGeometry *fdc_medium(const Fdc *fdc, unsigned unit);
bool fdc_rate_fits(const Fdc *fdc, const FdcGeometry *geometry);
void fdc_start_transfer(Fdc *fdc, FdcTransferKind kind);
void fdc_start_format(Fdc *fdc);
void fdc_start_verify(Fdc *fdc);
// Ends a data command with ST0 to N.
void fdc_end_transfer(Fdc *fdc, uint8_t st0);
// Moves what the DMA channel takes or gives now.
void fdc_dma_ready(void *fdc);
// One byte of a non-DMA transfer.
uint8_t fdc_pio_read(Fdc *fdc);
void fdc_pio_write(Fdc *fdc, uint8_t value);
void fdc_submit(Fdc *fdc); // the request of FDC_MEDIUM; again after a restore
// Called when a request ends that a reset has made pointless.
void fdc_leave_reset(Fdc *fdc);
