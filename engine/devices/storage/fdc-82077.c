// SPDX-License-Identifier: GPL-2.0-or-later
// An 82077AA floppy controller in PC/AT mode (Intel 290166-007): ports, phases of a command, reset.
// What commands do is in fdc-commands.c, data transfers are in fdc-transfer.c. Port 3F6h belongs to
// the IDE channel. Status registers A and B do not exist in this mode.
//
// The FIFO of the chip is two things here: `fifo` holds command and result bytes, never more than
// the command table says; data of a transfer goes through the buffer of a run.
#include "engine/devices/storage/fdc-private.h"

#include "engine/base/guest-log.h"

#include <gio/gio.h>

static const char device_name[] = "fdc-82077";

#define PORT_BASE      0x3f0
#define PORT_DIRECTION 0x3f7
#define RESET_DRIVES   4
#define DSR_RESET      0x80
#define CONFIGURE_NO_FIFO 0x20
#define SENSE_RESULT_BYTES 2

static void update_irq(Fdc *fdc)
{
    irq_set(&fdc->irq, fdc->interrupt && fdc->dor & DOR_DMA_GATE);
}

void fdc_set_interrupt(Fdc *fdc, bool level)
{
    fdc->interrupt = level;
    update_irq(fdc);
}

void fdc_raise(Fdc *fdc)
{
    fdc->reset_senses = 0;
    fdc_set_interrupt(fdc, true);
}

void fdc_give_result(Fdc *fdc, uint8_t count, bool interrupt)
{
    fdc->phase = count ? FDC_RESULT : FDC_COMMAND;
    fdc->fifo_at = 0;
    fdc->fifo_size = count;
    if (interrupt)
        fdc_raise(fdc);
}

// What a reset by DOR, DSR or the reset line does alike (3.0 of the data sheet).
static void enter_reset(Fdc *fdc)
{
    if (fdc->dma.watch)
        fdc->dma.watch(fdc->dma.opaque, 2, NULL, NULL);
    fdc->phase = FDC_COMMAND;
    fdc->fifo_at = fdc->fifo_size = 0;
    fdc->data_at = fdc->data_size = 0;
    fdc->reset_senses = fdc->seek_senses = 0;
    fdc->reset_waits = false;
    fdc->perpendicular &= 0x3c;
    if (!fdc->lock) {
        fdc->configure = CONFIGURE_NO_FIFO;
        fdc->precompensation = 0;
    }
    fdc_set_interrupt(fdc, false);
}

void fdc_leave_reset(Fdc *fdc)
{
    if (fdc->io->pending) {
        fdc->reset_waits = true;
        return;
    }
    fdc->reset_waits = false;
    fdc->reset_senses = RESET_DRIVES;
    fdc_set_interrupt(fdc, true);
}

static void write_output(Fdc *fdc, uint8_t value)
{
    uint8_t old = fdc->dor;
    fdc->dor = value;
    if (!(value & DOR_NOT_RESET)) {
        if (old & DOR_NOT_RESET)
            enter_reset(fdc);
    } else if (!(old & DOR_NOT_RESET)) {
        fdc_leave_reset(fdc);
    }
    update_irq(fdc);
    if (value & DOR_DMA_GATE && !(old & DOR_DMA_GATE))
        fdc_dma_ready(fdc);
}

static uint8_t read_main_status(const Fdc *fdc)
{
    // A request from before a reset: nothing may start until it is over.
    bool overtaken = fdc->io->pending && fdc->phase != FDC_MEDIUM;
    if (!(fdc->dor & DOR_NOT_RESET) || overtaken)
        return 0;
    switch ((FdcPhase)fdc->phase) {
    case FDC_COMMAND:
        return MSR_RQM | (fdc->fifo_at ? MSR_BUSY : 0);
    case FDC_MEDIUM:
        return MSR_BUSY;
    case FDC_HOST:
        if (!fdc->non_dma)
            return MSR_BUSY;
        return MSR_RQM | MSR_NDMA | MSR_BUSY | (fdc->kind == FDC_READ ? MSR_DIO : 0);
    case FDC_RESULT:
        return MSR_RQM | MSR_DIO | MSR_BUSY;
    }
    return 0;
}

static bool fifo_is_open(const Fdc *fdc, bool read)
{
    uint8_t status = read_main_status(fdc);
    bool open = status & MSR_RQM && read == !!(status & MSR_DIO);
    if (!open)
        guest_log_once(device_name, read ? "fifo read" : "fifo write",
                       "an access that the main status register does not ask for");
    return open;
}

static uint8_t read_fifo(Fdc *fdc)
{
    if (!fifo_is_open(fdc, true))
        return 0;
    if (fdc->phase == FDC_HOST)
        return fdc_pio_read(fdc);
    // The first result byte that is read takes the interrupt back. After the last one of SENSE
    // INTERRUPT another drive's seek asks again.
    bool sense = fdc->fifo_size == SENSE_RESULT_BYTES;
    if (fdc->fifo_at == 0)
        fdc_set_interrupt(fdc, false);
    uint8_t value = fdc->fifo[fdc->fifo_at++ % FDC_FIFO_SIZE];
    if (fdc->fifo_at >= fdc->fifo_size) {
        fdc->phase = FDC_COMMAND;
        fdc->fifo_at = fdc->fifo_size = 0;
        if (sense && fdc->seek_senses)
            fdc_set_interrupt(fdc, true);
    }
    return value;
}

static void write_fifo(Fdc *fdc, uint8_t value)
{
    if (!fifo_is_open(fdc, false))
        return;
    if (fdc->phase == FDC_HOST) {
        fdc_pio_write(fdc, value);
        return;
    }
    if (fdc->fifo_at == 0)
        fdc->fifo_size = fdc_command_length(value);
    fdc->fifo[fdc->fifo_at++ % FDC_FIFO_SIZE] = value;
    if (fdc->fifo_at < fdc->fifo_size)
        return;
    fdc->fifo_at = fdc->fifo_size = 0;
    fdc_execute(fdc);
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    Fdc *fdc = opaque;
    switch (offset) {
    case 2:
        return fdc->dor;
    case 3:
        return fdc->tape;
    case 4:
        return read_main_status(fdc);
    case 5:
        return read_fifo(fdc);
    default:
        return 0xff;
    }
}

static void ports_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Fdc *fdc = opaque;
    switch (offset) {
    case 2:
        write_output(fdc, (uint8_t)value);
        return;
    case 3:
        fdc->tape = value & 3;
        return;
    case 4: // Data rate Select Register; its reset bit clears itself
        fdc->rate = value & 3;
        if (value & DSR_RESET && fdc->dor & DOR_NOT_RESET) {
            enter_reset(fdc);
            fdc_leave_reset(fdc);
        }
        return;
    case 5:
        write_fifo(fdc, (uint8_t)value);
        return;
    default:
        return;
    }
}

static const BusOps port_ops = { ports_read, ports_write, 1 };

// Digital Input Register: bit 7 is the change line of the drive that DOR selects (2.1.7).
static uint64_t direction_read(void *opaque, uint64_t offset, unsigned size)
{
    const Fdc *fdc = opaque;
    unsigned unit = fdc->dor & 3;
    bool changed = unit < 2 && fdc->present[unit] &&
                   (fdc->disk_changed[unit] || !fdc->blocks[unit]);
    return changed ? 0x80 : 0;
}

static void direction_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Fdc *fdc = opaque;
    fdc->rate = value & 3;
}

static const BusOps direction_ops = { direction_read, direction_write, 1 };

static bool check_config(const Fdc82077Config *config, GError **error)
{
    for (unsigned unit = 0; unit < 2; unit++) {
        BlockDevice *block = config->drives[unit].block;
        if (block && !fdc_geometry(block_size(block))) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "image '%s' is not a diskette: it may have up to 2949120 bytes (2.88 MB)",
                        block_path(block));
            return false;
        }
    }
    return true;
}

static void *fdc_create(const void *opaque, const DeviceHost *host, GError **error)
{
    const Fdc82077Config *config = opaque;
    if (!check_config(config, error))
        return NULL;
    Fdc *fdc = g_new0(Fdc, 1);
    fdc->bus = host->bus;
    fdc->irq = config->irq.set ? config->irq : host->isa_irq[6];
    fdc->dma = config->dma;
    for (unsigned unit = 0; unit < 2; unit++) {
        fdc->present[unit] = config->drives[unit].present;
        fdc->blocks[unit] = config->drives[unit].block;
    }
    fdc->io = g_new0(FdcIo, 1);
    fdc->io->fdc = fdc;
    fdc->buffer = fdc->io->buffer = g_malloc0(FDC_BUFFER_SIZE);
    fdc->ports = bus_add_ports(host->bus, device_name, PORT_BASE, 6, &port_ops, fdc,
                               &fdc->engaged);
    fdc->direction_port = bus_add_ports(host->bus, device_name, PORT_DIRECTION, 1, &direction_ops,
                                        fdc, &fdc->engaged);
    return fdc;
}

static void fdc_reset(void *device, ResetKind kind)
{
    Fdc *fdc = device;
    fdc->lock = false;
    fdc->perpendicular = 0;
    enter_reset(fdc);
    fdc->specify[0] = fdc->specify[1] = 0;
    fdc->tape = 0;
    fdc->rate = 2; // 250 kbit/s
    fdc->rotation = 0;
    for (unsigned unit = 0; unit < 4; unit++) {
        fdc->cylinder[unit] = 0;
        fdc->disk_changed[unit] = true;
    }
    // The chip comes up with 0. Firmware sets only the reset bit and waits for the interrupt, as
    // if the gate were open already; with 0 it would wait in vain.
    fdc->dor = DOR_NOT_RESET | DOR_DMA_GATE;
    update_irq(fdc);
}

static void fdc_destroy(void *device)
{
    Fdc *fdc = device;
    if (!fdc)
        return;
    bus_remove(fdc->bus, fdc->ports);
    bus_remove(fdc->bus, fdc->direction_port);
    if (fdc->dma.watch)
        fdc->dma.watch(fdc->dma.opaque, 2, NULL, NULL);
    fdc->io->fdc = NULL;
    if (!fdc->io->pending) {
        g_free(fdc->io->buffer);
        g_free(fdc->io);
    }
    g_free(fdc);
}

static bool transfer_is_possible(const Fdc *fdc)
{
    const FdcGeometry *g = fdc_medium(fdc, fdc->unit & 3);
    if (fdc->phase != FDC_MEDIUM && fdc->phase != FDC_HOST)
        return true;
    if (!g || fdc->kind > FDC_FORMAT || fdc->at_cylinder >= g->cylinders ||
        fdc->at_head >= g->heads || fdc->at_sector < 1 || fdc->at_sector > g->sectors ||
        fdc->run_sectors > g->sectors - fdc->at_sector + 1u)
        return false;
    if (fdc->data_size == 0 || fdc->data_size > FDC_BUFFER_SIZE)
        return false;
    return fdc->phase == FDC_MEDIUM ? fdc->run_sectors > 0 : fdc->data_at < fdc->data_size;
}

static gboolean fdc_post_load(void *device, GError **error)
{
    Fdc *fdc = device;
    if (fdc->phase > FDC_RESULT || fdc->fifo_size > FDC_FIFO_SIZE ||
        fdc->fifo_at > fdc->fifo_size || fdc->unit > 3 || fdc->head > 1 || fdc->rate > 3 ||
        fdc->reset_senses > RESET_DRIVES || fdc->seek_senses > 15 ||
        (fdc->phase == FDC_RESULT && fdc->fifo_at >= fdc->fifo_size) ||
        !transfer_is_possible(fdc)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of '%s' is impossible", device_name);
        return FALSE;
    }
    update_irq(fdc);
    if (fdc->phase == FDC_MEDIUM && !fdc->io->pending)
        fdc_submit(fdc);
    else if (fdc->phase == FDC_HOST)
        fdc_dma_ready(fdc);
    else if (fdc->reset_waits)
        fdc_leave_reset(fdc);
    return TRUE;
}

static const StateField state_fields[] = {
    STATE_SCALAR(Fdc, phase, STATE_U8),
    STATE_SCALAR(Fdc, dor, STATE_U8),
    STATE_SCALAR(Fdc, tape, STATE_U8),
    STATE_SCALAR(Fdc, rate, STATE_U8),
    STATE_SCALAR(Fdc, interrupt, STATE_BOOL),
    STATE_SCALAR(Fdc, reset_waits, STATE_BOOL),
    STATE_ARRAY(Fdc, fifo, STATE_U8),
    STATE_SCALAR(Fdc, fifo_at, STATE_U8),
    STATE_SCALAR(Fdc, fifo_size, STATE_U8),
    STATE_ARRAY(Fdc, specify, STATE_U8),
    STATE_SCALAR(Fdc, configure, STATE_U8),
    STATE_SCALAR(Fdc, precompensation, STATE_U8),
    STATE_SCALAR(Fdc, perpendicular, STATE_U8),
    STATE_SCALAR(Fdc, lock, STATE_BOOL),
    STATE_ARRAY(Fdc, cylinder, STATE_U8),
    STATE_ARRAY(Fdc, disk_changed, STATE_BOOL),
    STATE_SCALAR(Fdc, reset_senses, STATE_U8),
    STATE_SCALAR(Fdc, seek_senses, STATE_U8),
    STATE_ARRAY(Fdc, seek_status, STATE_U8),
    STATE_SCALAR(Fdc, rotation, STATE_U8),
    STATE_SCALAR(Fdc, kind, STATE_U8),
    STATE_SCALAR(Fdc, unit, STATE_U8),
    STATE_SCALAR(Fdc, head, STATE_U8),
    STATE_SCALAR(Fdc, multitrack, STATE_BOOL),
    STATE_SCALAR(Fdc, non_dma, STATE_BOOL),
    STATE_SCALAR(Fdc, ended, STATE_BOOL),
    STATE_SCALAR(Fdc, at_cylinder, STATE_U8),
    STATE_SCALAR(Fdc, at_head, STATE_U8),
    STATE_SCALAR(Fdc, at_sector, STATE_U8),
    STATE_SCALAR(Fdc, last_sector, STATE_U8),
    STATE_SCALAR(Fdc, filler, STATE_U8),
    STATE_SCALAR(Fdc, sectors_per_cylinder, STATE_U8),
    STATE_SCALAR(Fdc, data_at, STATE_U32),
    STATE_SCALAR(Fdc, data_size, STATE_U32),
    STATE_SCALAR(Fdc, run_sectors, STATE_U32),
    STATE_SCALAR(Fdc, st1, STATE_U8),
    STATE_SCALAR(Fdc, st2, STATE_U8),
    STATE_POINTED_BYTES(Fdc, buffer, FDC_BUFFER_SIZE),
};

static const StateTable state_table = {
    .name = device_name,
    .version = 1,
    .fields = state_fields,
    .field_count = G_N_ELEMENTS(state_fields),
    .post_load = fdc_post_load,
};

const DeviceOps fdc_82077_ops = {
    .name = device_name,
    .spec = "Intel 290166-007 (82077AA)",
    .create = fdc_create,
    .reset = fdc_reset,
    .state = &state_table,
    .destroy = fdc_destroy,
};

bool fdc_82077_set_medium(void *device, unsigned unit, BlockDevice *block)
{
    Fdc *fdc = device;
    if (unit > 1 || !fdc->present[unit] || fdc->io->pending ||
        (block && !fdc_geometry(block_size(block))))
        return false;
    fdc->blocks[unit] = block;
    fdc->disk_changed[unit] = true;
    return true;
}
