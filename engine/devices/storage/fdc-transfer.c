// SPDX-License-Identifier: GPL-2.0-or-later
// Sectors between diskette and host. A data command works in runs: the sectors from the current one
// to the last (EOT) of one side, which one block request reads or writes. With MT a second run
// follows on side 1. Data goes by DMA, as much at once as the channel takes, or byte by byte
// through the FIFO. 82077AA data sheet (Intel 290166-007), 5.1 data transfer commands.
//
// A diskette has the format that its size implies; another data rate finds no address marks, so
// that BIOSes can tell the formats apart.
#include "engine/devices/storage/fdc-private.h"

#include "engine/base/guest-log.h"

#include <string.h>

#define SECTOR       512u
#define SIZE_CODE    2 // N of 512 bytes
#define FLOPPY_DMA   2 // channel
#define RATE_500     (1 << 0)
#define RATE_300     (1 << 1)
#define RATE_250     (1 << 2)
#define RATE_1000    (1 << 3)
#define FORMAT_ID    4u // bytes a sector

static const FdcGeometry geometries[] = {
    { 40, 1, 8, RATE_250 | RATE_300, 1 },  // 160 KB
    { 40, 1, 9, RATE_250 | RATE_300, 1 },  // 180 KB
    { 40, 2, 8, RATE_250 | RATE_300, 1 },  // 320 KB
    { 40, 2, 9, RATE_250 | RATE_300, 1 },  // 360 KB
    { 80, 2, 9, RATE_250 | RATE_300, 3 },  // 720 KB
    { 80, 2, 15, RATE_500, 2 },            // 1.2 MB
    { 80, 2, 18, RATE_500, 4 },            // 1.44 MB
    { 80, 2, 21, RATE_500, 4 },            // 1.68 MB, distribution media
    { 82, 2, 21, RATE_500, 4 },            // 1.72 MB
    { 80, 2, 36, RATE_1000, 5 },           // 2.88 MB
};

static uint64_t capacity(const FdcGeometry *g)
{
    return (uint64_t)g->cylinders * g->heads * g->sectors * SECTOR;
}

const FdcGeometry *fdc_geometry(uint64_t bytes)
{
    for (size_t i = 0; i < G_N_ELEMENTS(geometries); i++) {
        const FdcGeometry *g = &geometries[i];
        if (bytes == capacity(g))
            return g;
    }
    // Boot floppies are often cut behind their last used sector: they are 3.5" high density, or
    // extra density where they are too long for that.
    bool whole = bytes && bytes % SECTOR == 0;
    for (size_t i = 0; whole && i < G_N_ELEMENTS(geometries); i++) {
        const FdcGeometry *g = &geometries[i];
        if ((g->sectors == 18 || g->sectors == 36) && bytes < capacity(g))
            return g;
    }
    return NULL;
}

uint8_t fdc_drive_type(uint64_t bytes)
{
    const FdcGeometry *geometry = fdc_geometry(bytes);
    return geometry ? geometry->type : 0;
}

const FdcGeometry *fdc_medium(const Fdc *fdc, unsigned unit)
{
    return unit < 2 && fdc->present[unit] && fdc->blocks[unit]
               ? fdc_geometry(block_size(fdc->blocks[unit]))
               : NULL;
}

bool fdc_rate_fits(const Fdc *fdc, const FdcGeometry *geometry)
{
    return geometry->rates >> fdc->rate & 1;
}

void fdc_end_transfer(Fdc *fdc, uint8_t st0)
{
    if (fdc->dma.watch)
        fdc->dma.watch(fdc->dma.opaque, FLOPPY_DMA, NULL, NULL);
    fdc->fifo[0] = (uint8_t)(st0 | fdc->head << 2 | fdc->unit);
    fdc->fifo[1] = fdc->st1;
    fdc->fifo[2] = fdc->st2;
    fdc->fifo[3] = fdc->at_cylinder;
    fdc->fifo[4] = fdc->at_head;
    fdc->fifo[5] = fdc->at_sector;
    fdc->fifo[6] = SIZE_CODE;
    fdc_give_result(fdc, 7, true);
}

static void end_with_error(Fdc *fdc, uint8_t st1, uint8_t st2)
{
    fdc->st1 |= st1;
    fdc->st2 |= st2;
    fdc_end_transfer(fdc, ST0_ABNORMAL);
}

// Moves the address on by the sectors of a run that were used (table 5-5 of the result bytes).
static void advance(Fdc *fdc, uint32_t sectors)
{
    uint32_t next = fdc->at_sector + sectors;
    if (next <= fdc->last_sector) {
        fdc->at_sector = (uint8_t)next;
        return;
    }
    fdc->at_sector = 1;
    if (fdc->multitrack) {
        fdc->at_cylinder = (uint8_t)(fdc->at_cylinder + fdc->at_head);
        fdc->at_head ^= 1;
    } else {
        fdc->at_cylinder++;
    }
}

static uint64_t sector_offset(const FdcGeometry *g, unsigned cylinder, unsigned head,
                              unsigned sector)
{
    return (((uint64_t)cylinder * g->heads + head) * g->sectors + sector - 1) * SECTOR;
}

static void move_data(Fdc *fdc);

// Shows the host that the FIFO wants it, as often as the threshold says (8.1 of the data sheet).
static void request_pio(Fdc *fdc)
{
    bool fifo = !(fdc->configure & 0x20);
    uint32_t every = fifo ? (fdc->configure & 0x0fu) + 1 : 1;
    fdc_set_interrupt(fdc, fdc->data_at % every == 0);
}

// The buffer holds a run for the host, or has room for one from it.
static void start_host(Fdc *fdc)
{
    fdc->phase = FDC_HOST;
    fdc->data_at = 0;
    if (fdc->non_dma)
        request_pio(fdc);
    else
        move_data(fdc);
}

// Reads the next run, or lets the host send it.
static void start_run(Fdc *fdc)
{
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit);
    if (!g || fdc->at_cylinder >= g->cylinders || fdc->at_head >= g->heads ||
        fdc->at_sector == 0 || fdc->at_sector > g->sectors) {
        end_with_error(fdc, ST1_NO_DATA, g && fdc->at_cylinder >= g->cylinders
                                             ? ST2_WRONG_CYLINDER : 0);
        return;
    }
    uint8_t last = fdc->last_sector >= fdc->at_sector ? MIN(fdc->last_sector, g->sectors)
                                                      : g->sectors;
    fdc->run_sectors = last - fdc->at_sector + 1u;
    fdc->data_size = fdc->run_sectors * SECTOR;
    if (fdc->kind == FDC_READ)
        fdc_submit(fdc);
    else
        start_host(fdc);
}

// A run is over and the host wants more, or has more.
static void next_run(Fdc *fdc)
{
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit);
    bool complete = fdc->last_sector <= (g ? g->sectors : 0);
    bool other_side = fdc->multitrack && fdc->at_head == 0;
    if (!complete) {
        // EOT is a sector that no diskette of this format has: it is looked for in vain.
        fdc->at_sector = g ? g->sectors + 1 : 1;
        end_with_error(fdc, ST1_NO_DATA, 0);
        return;
    }
    advance(fdc, fdc->run_sectors);
    if (other_side) {
        fdc->head = 1;
        start_run(fdc);
    } else {
        end_with_error(fdc, ST1_END, 0);
    }
}

// Terminal count within or at the end of a run.
static void end_normally(Fdc *fdc)
{
    advance(fdc, (fdc->data_at + SECTOR - 1) / SECTOR);
    fdc_end_transfer(fdc, 0);
}

// The identifications of a track are in the buffer (5.1.7): they must be those that this diskette
// has, in any order.
static void write_format(Fdc *fdc)
{
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit);
    uint64_t seen = 0;
    unsigned sectors = fdc->sectors_per_cylinder;
    bool good = g && sectors == g->sectors && fdc->at_cylinder < g->cylinders &&
                fdc->head < g->heads && fdc->data_at == sectors * FORMAT_ID;
    for (unsigned i = 0; good && i < sectors; i++) {
        const uint8_t *id = fdc->buffer + i * FORMAT_ID;
        good = id[0] == fdc->at_cylinder && id[1] == fdc->head && id[2] >= 1 &&
               id[2] <= sectors && id[3] == SIZE_CODE && !(seen >> id[2] & 1);
        if (good)
            seen |= UINT64_C(1) << id[2];
    }
    if (!good) {
        guest_log_once("fdc-82077", "format", "a track of another format than the diskette's");
        end_with_error(fdc, ST1_NO_DATA, 0);
        return;
    }
    fdc->run_sectors = sectors;
    fdc->data_size = sectors * SECTOR;
    memset(fdc->buffer, fdc->filler, fdc->data_size);
    fdc_submit(fdc);
}

// The host's side of a run is over: by terminal count, or because the run is.
static void host_done(Fdc *fdc)
{
    switch ((FdcTransferKind)fdc->kind) {
    case FDC_READ:
        if (fdc->ended)
            end_normally(fdc);
        else
            next_run(fdc);
        return;
    case FDC_WRITE:
        // A sector that terminal count cut short is filled with zeros (5.1.4).
        fdc->run_sectors = (fdc->data_at + SECTOR - 1) / SECTOR;
        memset(fdc->buffer + fdc->data_at, 0, fdc->run_sectors * SECTOR - fdc->data_at);
        if (fdc->run_sectors)
            fdc_submit(fdc);
        else
            fdc_end_transfer(fdc, 0);
        return;
    case FDC_FORMAT:
        write_format(fdc);
        return;
    }
}

static void move_data(Fdc *fdc)
{
    IsaDmaDirection direction = fdc->kind == FDC_READ ? ISA_DMA_TO_MEMORY : ISA_DMA_TO_DEVICE;
    bool ended = false;
    if (!fdc->dma.transfer || !(fdc->dor & DOR_DMA_GATE))
        return;
    fdc->data_at += (uint32_t)fdc->dma.transfer(fdc->dma.opaque, FLOPPY_DMA, direction,
                                                fdc->buffer + fdc->data_at,
                                                fdc->data_size - fdc->data_at, &ended);
    if (ended || fdc->data_at == fdc->data_size) {
        fdc->ended = ended;
        host_done(fdc);
    } else if (fdc->dma.watch) {
        fdc->dma.watch(fdc->dma.opaque, FLOPPY_DMA, fdc_dma_ready, fdc);
    }
}

void fdc_dma_ready(void *opaque)
{
    Fdc *fdc = opaque;
    if (fdc->phase == FDC_HOST && !fdc->non_dma)
        move_data(fdc);
}

static void pio_moved(Fdc *fdc)
{
    if (fdc->data_at < fdc->data_size) {
        request_pio(fdc);
        return;
    }
    fdc_set_interrupt(fdc, false);
    host_done(fdc);
}

uint8_t fdc_pio_read(Fdc *fdc)
{
    uint8_t value = fdc->buffer[fdc->data_at++];
    pio_moved(fdc);
    return value;
}

void fdc_pio_write(Fdc *fdc, uint8_t value)
{
    fdc->buffer[fdc->data_at++] = value;
    pio_moved(fdc);
}

static void medium_done(BlockRequest *request, int result)
{
    FdcIo *io = request->opaque;
    Fdc *fdc = io->fdc;
    io->pending = false;
    if (!fdc) {
        g_free(io->buffer);
        g_free(io);
        return;
    }
    if (fdc->phase != FDC_MEDIUM) { // a reset came between
        if (fdc->reset_waits)
            fdc_leave_reset(fdc);
        return;
    }
    if (result < 0) {
        end_with_error(fdc, ST1_DATA_ERROR, 0);
    } else if (fdc->kind == FDC_READ) {
        start_host(fdc);
    } else if (fdc->kind == FDC_FORMAT || fdc->ended) {
        fdc->data_at = fdc->run_sectors * SECTOR;
        end_normally(fdc);
    } else {
        next_run(fdc);
    }
}

void fdc_submit(Fdc *fdc)
{
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit);
    FdcIo *io = fdc->io;
    if (!g) {
        end_with_error(fdc, ST1_NO_MARK, 0);
        return;
    }
    uint64_t offset = sector_offset(g, fdc->at_cylinder, fdc->at_head, fdc->at_sector);
    uint64_t size = block_size(fdc->blocks[fdc->unit]);
    uint32_t bytes = fdc->run_sectors * SECTOR;
    if (fdc->kind == FDC_READ) { // what a cut image lacks reads as zeros
        memset(fdc->buffer, 0, bytes);
        bytes = offset < size ? (uint32_t)MIN(bytes, size - offset) : 0;
        offset = MIN(offset, size);
    }
    fdc->phase = FDC_MEDIUM;
    io->iov = (struct iovec){ io->buffer, bytes };
    io->request = (BlockRequest){
        .operation = fdc->kind == FDC_READ ? BLOCK_READ : BLOCK_WRITE,
        .offset = offset,
        .length = bytes,
        .iov = &io->iov,
        .iov_count = 1,
        .complete = medium_done,
        .opaque = io,
    };
    io->pending = true;
    block_submit(fdc->blocks[fdc->unit], &io->request);
}

static void take_unit(Fdc *fdc)
{
    fdc->unit = fdc->fifo[1] & 3;
    fdc->head = fdc->fifo[1] >> 2 & 1;
    fdc->st1 = fdc->st2 = 0;
    fdc->ended = false;
    fdc->non_dma = fdc->specify[1] & 1;
    fdc_set_interrupt(fdc, false);
}

// What READ, WRITE and VERIFY have in common (table 5-1). False: the command has ended.
static bool take_address(Fdc *fdc)
{
    const uint8_t *f = fdc->fifo;
    take_unit(fdc);
    fdc->multitrack = f[0] & 0x80;
    fdc->at_cylinder = f[2];
    fdc->at_head = f[3];
    fdc->at_sector = f[4];
    fdc->last_sector = f[6];
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit);
    if (!g || !fdc_rate_fits(fdc, g)) {
        end_with_error(fdc, ST1_NO_MARK, 0);
        return false;
    }
    if (f[5] != SIZE_CODE || fdc->at_head != fdc->head) {
        end_with_error(fdc, ST1_NO_DATA, 0);
        return false;
    }
    if (fdc->at_cylinder >= g->cylinders) {
        end_with_error(fdc, ST1_NO_DATA, ST2_WRONG_CYLINDER);
        return false;
    }
    // As if CONFIGURE's implied seek were always on: stock firmware relies on it.
    fdc->cylinder[fdc->unit] = fdc->at_cylinder;
    return true;
}

void fdc_start_transfer(Fdc *fdc, FdcTransferKind kind)
{
    if (!take_address(fdc))
        return;
    fdc->kind = (uint8_t)kind;
    if (kind == FDC_WRITE && block_read_only(fdc->blocks[fdc->unit]))
        end_with_error(fdc, ST1_WRITE_PROTECTED, 0);
    else
        start_run(fdc);
}

// 5.1.6: no data moves. With EC the ninth byte is the number of sectors, without it EOT ends.
void fdc_start_verify(Fdc *fdc)
{
    if (!take_address(fdc))
        return;
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit);
    uint32_t to_end = fdc->last_sector >= fdc->at_sector
                          ? fdc->last_sector - fdc->at_sector + 1u : g->sectors;
    uint32_t count = fdc->fifo[1] & 0x80 ? fdc->fifo[8] : to_end;
    uint32_t limit = to_end + (fdc->multitrack && fdc->at_head == 0 ? fdc->last_sector : 0);
    if (fdc->at_sector == 0 || fdc->last_sector > g->sectors || fdc->at_sector > g->sectors ||
        fdc->at_head >= g->heads || count > limit) {
        end_with_error(fdc, ST1_NO_DATA, 0);
        return;
    }
    if (count > to_end) {
        advance(fdc, to_end);
        count -= to_end;
    }
    advance(fdc, count);
    fdc_end_transfer(fdc, 0);
}

void fdc_start_format(Fdc *fdc)
{
    take_unit(fdc);
    fdc->kind = FDC_FORMAT;
    fdc->multitrack = false;
    fdc->sectors_per_cylinder = fdc->last_sector = fdc->fifo[3];
    fdc->filler = fdc->fifo[5];
    fdc->at_cylinder = fdc->cylinder[fdc->unit];
    fdc->at_head = fdc->head;
    fdc->at_sector = 1;
    fdc->run_sectors = 0;
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit);
    if (!g || !fdc_rate_fits(fdc, g)) {
        end_with_error(fdc, ST1_NO_MARK, 0);
    } else if (block_read_only(fdc->blocks[fdc->unit])) {
        end_with_error(fdc, ST1_WRITE_PROTECTED, 0);
    } else if (fdc->fifo[2] != SIZE_CODE || fdc->sectors_per_cylinder != g->sectors ||
               fdc->at_cylinder >= g->cylinders || fdc->head >= g->heads) {
        end_with_error(fdc, ST1_NO_DATA, 0);
    } else {
        fdc->data_size = fdc->sectors_per_cylinder * FORMAT_ID;
        start_host(fdc);
    }
}
