// SPDX-License-Identifier: GPL-2.0-or-later
// The IDE function of the 82371SB (PIIX3): PCI function 8086:7010 with two channels at the legacy
// addresses and a bus master in BAR 4. Follows the 82371SB data sheet (Intel 290550-002, chapter
// 2.3 and 3.2) and "Programming Interface for Bus Master IDE Controller" revision 1.0 (BMIDE).
// Drives are in ide-drive.c and above. The channels answer whatever IDETIM's decode-enable bits
// say, so that guests without firmware find them.
#include "engine/devices/storage/ide-piix3.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"
#include "engine/bus/pci.h"
#include "engine/devices/storage/atapi-cdrom.h"

#include <gio/gio.h>

// Device Control (ATA/ATAPI-6, 7.8)
#define CONTROL_HOB  0x80
#define CONTROL_SRST 0x04
#define CONTROL_NIEN 0x02

// BMIDE 2.1 and 2.2
#define MASTER_START     0x01
#define MASTER_TO_MEMORY 0x08
#define STATUS_ACTIVE    0x01
#define STATUS_ERROR     0x02
#define STATUS_INTERRUPT 0x04
#define STATUS_CAPABLE   0x60

#define DESCRIPTORS_MAX 8192 // a table is within 64 KiB (BMIDE 1.1)
#define DESCRIPTOR_LAST 0x80000000u

typedef struct IdePiix3 IdePiix3;

typedef struct {
    IdeChannel ide;
    IdePiix3 *chip;
    IrqLine irq;
    BusRegion *command_ports, *control_port;
    uint8_t master_command, master_status; // the active bit apart
    bool active;
    uint32_t table;       // Descriptor Table Pointer
    uint32_t next;        // address of the next descriptor
    uint32_t fetched;     // descriptors since the start
    uint32_t region;      // what is left of the current one: address,
    uint32_t region_left; // bytes,
    bool region_last;     // end of table
} Channel;

struct IdePiix3 {
    PciDevice pci;
    GuestMemory *memory;
    Bus *bus;
    Channel channels[2];
    void (*tray_moved)(void *opaque, unsigned channel, unsigned unit, bool open);
    void *opaque;
};

static const char device_name[] = "ide-piix3";

static IdeDrive *selected_drive(Channel *channel)
{
    return &channel->ide.drives[channel->ide.selected];
}

static void update_interrupt(IdeChannel *ide)
{
    Channel *channel = ide->opaque;
    bool level = selected_drive(channel)->interrupt && !(ide->control & CONTROL_NIEN);
    if (level == ide->line)
        return;
    ide->line = level;
    if (level)
        channel->master_status |= STATUS_INTERRUPT;
    irq_set(&channel->irq, level);
}

static void stop_master(Channel *channel, uint8_t status)
{
    channel->active = false;
    channel->master_status |= status;
}

static bool next_region(Channel *channel)
{
    uint8_t descriptor[8];
    if (channel->region_last || channel->fetched == DESCRIPTORS_MAX) {
        stop_master(channel, 0);
        return false;
    }
    if (!guest_memory_read(channel->chip->memory, channel->next, descriptor, sizeof descriptor)) {
        guest_log_once(device_name, "descriptor", "the descriptor table is not in memory");
        stop_master(channel, STATUS_ERROR);
        return false;
    }
    uint32_t bytes = le32_read(descriptor + 4) & 0xfffe;
    channel->region = le32_read(descriptor) & ~1u;
    channel->region_left = bytes ? bytes : 65536;
    channel->region_last = le32_read(descriptor + 4) & DESCRIPTOR_LAST;
    channel->next = (channel->next & 0xffff0000) | ((channel->next + 8) & 0xffff);
    channel->fetched++;
    return true;
}

static uint32_t dma_move(IdeChannel *ide, void *buffer, uint32_t size, bool to_memory)
{
    Channel *channel = ide->opaque;
    GuestMemory *memory = channel->chip->memory;
    uint8_t *bytes = buffer;
    uint32_t done = 0;
    if (!channel->active || to_memory != !!(channel->master_command & MASTER_TO_MEMORY) ||
        !pci_bus_master(&channel->chip->pci))
        return 0;
    while (done < size) {
        if (channel->region_left == 0 && !next_region(channel))
            return done;
        uint32_t piece = MIN(size - done, channel->region_left);
        bool whole = to_memory ? guest_memory_write(memory, channel->region, bytes + done, piece)
                               : guest_memory_read(memory, channel->region, bytes + done, piece);
        if (!whole) {
            guest_log_once(device_name, "region", "a descriptor points outside memory");
            stop_master(channel, STATUS_ERROR);
            return done;
        }
        channel->region += piece;
        channel->region_left -= piece;
        done += piece;
    }
    if (channel->region_left == 0 && channel->region_last)
        stop_master(channel, 0);
    return done;
}

static void tray_moved(IdeChannel *ide, unsigned unit, bool open)
{
    Channel *channel = ide->opaque;
    IdePiix3 *chip = channel->chip;
    if (chip->tray_moved)
        chip->tray_moved(chip->opaque, (unsigned)(channel - chip->channels), unit, open);
}

static uint8_t read_status(Channel *channel)
{
    const IdeDrive *drive = selected_drive(channel);
    if (!drive->ops)
        return 0;
    return channel->ide.control & CONTROL_SRST ? IDE_BSY : drive->status;
}

static uint8_t read_register(Channel *channel, unsigned offset)
{
    IdeDrive *drive = selected_drive(channel);
    bool high = channel->ide.control & CONTROL_HOB;
    if (!drive->ops)
        return 0;
    switch (offset) {
    case 1:
        return drive->error;
    case 2:
        return high ? drive->count_high : drive->count;
    case 3:
        return high ? drive->lba_low_high : drive->lba_low;
    case 4:
        return high ? drive->lba_mid_high : drive->lba_mid;
    case 5:
        return high ? drive->lba_high_high : drive->lba_high;
    case 6:
        return (uint8_t)((drive->select & ~IDE_SELECT_UNIT) | 0xa0 | drive->unit << 4);
    default:
        drive->interrupt = false;
        update_interrupt(&channel->ide);
        return read_status(channel);
    }
}

// A task file register of one drive, which hears every write on the cable unless it is at work.
static void write_drive_register(IdeDrive *drive, unsigned offset, uint8_t value)
{
    if (!drive->ops || drive->status & (IDE_BSY | IDE_DRQ))
        return;
    switch (offset) {
    case 1:
        drive->feature_high = drive->feature;
        drive->feature = value;
        break;
    case 2:
        drive->count_high = drive->count;
        drive->count = value;
        break;
    case 3:
        drive->lba_low_high = drive->lba_low;
        drive->lba_low = value;
        break;
    case 4:
        drive->lba_mid_high = drive->lba_mid;
        drive->lba_mid = value;
        break;
    case 5:
        drive->lba_high_high = drive->lba_high;
        drive->lba_high = value;
        break;
    default:
        drive->select = value;
        break;
    }
}

// EXECUTE DEVICE DIAGNOSTIC (8.11) goes to both drives, whichever is selected; unit 0 answers.
static void diagnose(Channel *channel)
{
    for (unsigned unit = 0; unit < 2; unit++)
        ide_drive_reset(&channel->ide.drives[unit]);
    channel->ide.selected = 0;
    if (channel->ide.drives[0].ops && !channel->ide.drives[0].reset_waits)
        ide_raise(&channel->ide.drives[0]);
    update_interrupt(&channel->ide);
}

static void write_register(Channel *channel, unsigned offset, uint8_t value)
{
    IdeDrive *drive = selected_drive(channel);
    channel->ide.control &= (uint8_t)~CONTROL_HOB;
    if (offset == 7) {
        if (channel->ide.control & CONTROL_SRST)
            return;
        if (value == 0x90)
            diagnose(channel);
        else if (drive->ops)
            ide_drive_command(drive, value);
        return;
    }
    for (unsigned unit = 0; unit < 2; unit++)
        write_drive_register(&channel->ide.drives[unit], offset, value);
    if (offset == 6) {
        channel->ide.selected = value & IDE_SELECT_UNIT ? 1 : 0;
        update_interrupt(&channel->ide);
    }
}

static uint64_t command_read(void *opaque, uint64_t offset, unsigned size)
{
    Channel *channel = opaque;
    uint8_t bytes[4] = { 0 };
    if (offset == 0 && size <= sizeof bytes) {
        ide_drive_data_read(selected_drive(channel), bytes, size);
    } else {
        for (unsigned i = 0; i < size && offset + i < 8; i++)
            bytes[i] = read_register(channel, (unsigned)offset + i);
    }
    return le32_read(bytes);
}

static void command_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Channel *channel = opaque;
    uint8_t bytes[4];
    le32_write(bytes, (uint32_t)value);
    if (offset == 0 && size <= sizeof bytes) {
        ide_drive_data_write(selected_drive(channel), bytes, size);
        return;
    }
    for (unsigned i = 0; i < size && offset + i < 8; i++)
        write_register(channel, (unsigned)offset + i, bytes[i]);
}

static const BusOps command_ops = { command_read, command_write, 4 };

static void command_read_block(void *opaque, uint64_t offset, unsigned size, uint32_t count,
                               void *data)
{
    uint8_t *out = data;
    size_t bytes = (size_t)size * count, done = 0;
    if (offset == 0) {
        done = ide_drive_data_read(selected_drive(opaque), out, (uint32_t)MIN(bytes, UINT32_MAX));
        memset(out + done, 0, bytes - done);
        return;
    }
    for (; done < bytes; done += size) {
        uint8_t value[8];
        le64_write(value, command_read(opaque, offset, size));
        memcpy(out + done, value, size);
    }
}

static void command_write_block(void *opaque, uint64_t offset, unsigned size, uint32_t count,
                                const void *data)
{
    const uint8_t *from = data;
    size_t bytes = (size_t)size * count;
    if (offset == 0) {
        ide_drive_data_write(selected_drive(opaque), from, (uint32_t)MIN(bytes, UINT32_MAX));
        return;
    }
    for (size_t done = 0; done < bytes; done += size) {
        uint8_t value[8] = { 0 };
        memcpy(value, from + done, size);
        command_write(opaque, offset, size, le64_read(value));
    }
}

static const BusBlockOps command_block_ops = { command_read_block, command_write_block };

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_status(opaque); // Alternate Status: the interrupt stays
}

static void control_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Channel *channel = opaque;
    uint8_t old = channel->ide.control;
    channel->ide.control = (uint8_t)value;
    if (value & CONTROL_SRST && !(old & CONTROL_SRST)) {
        channel->ide.selected = 0;
        for (unsigned unit = 0; unit < 2; unit++)
            ide_drive_reset(&channel->ide.drives[unit]);
    }
    update_interrupt(&channel->ide);
}

static const BusOps control_ops = { control_read, control_write, 1 };

static void start_master(Channel *channel)
{
    channel->active = true;
    channel->next = channel->table;
    channel->fetched = 0;
    channel->region_left = 0;
    channel->region_last = false;
    for (unsigned unit = 0; unit < 2; unit++)
        ide_drive_dma_ready(&channel->ide.drives[unit]);
}

static uint8_t master_read_byte(Channel *channel, unsigned offset)
{
    switch (offset) {
    case 0:
        return channel->master_command;
    case 2:
        return (uint8_t)(channel->master_status | (channel->active ? STATUS_ACTIVE : 0));
    case 4:
    case 5:
    case 6:
    case 7:
        return (uint8_t)(channel->table >> (offset - 4) * 8);
    default:
        return 0;
    }
}

static void master_write_byte(Channel *channel, unsigned offset, uint8_t value)
{
    uint8_t old = channel->master_command;
    switch (offset) {
    case 0:
        channel->master_command = value & (MASTER_START | MASTER_TO_MEMORY);
        if (value & MASTER_START && !(old & MASTER_START))
            start_master(channel);
        else if (!(value & MASTER_START))
            channel->active = false;
        return;
    case 2:
        channel->master_status &= (uint8_t)~(value & (STATUS_ERROR | STATUS_INTERRUPT));
        channel->master_status =
            (uint8_t)((channel->master_status & ~STATUS_CAPABLE) | (value & STATUS_CAPABLE));
        return;
    case 4:
    case 5:
    case 6:
    case 7: {
        unsigned shift = (offset - 4) * 8;
        channel->table = ((channel->table & ~(0xffu << shift)) | (uint32_t)value << shift) & ~3u;
        return;
    }
    default:
        return;
    }
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    IdePiix3 *chip = opaque;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        unsigned at = (unsigned)offset + i;
        value |= (uint64_t)master_read_byte(&chip->channels[at >> 3 & 1], at & 7) << i * 8;
    }
    return value;
}

static void master_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    IdePiix3 *chip = opaque;
    for (unsigned i = 0; i < size; i++) {
        unsigned at = (unsigned)offset + i;
        master_write_byte(&chip->channels[at >> 3 & 1], at & 7, (uint8_t)(value >> i * 8));
    }
}

static const BusOps master_ops = { master_read, master_write, 4 };

static const PciConfig pci_config = {
    .name = device_name,
    .vendor = 0x8086,
    .device = 0x7010,
    .class_code = 0x010180, // IDE, legacy addresses, bus master
    .bars = { [4] = { .kind = PCI_BAR_PORTS, .size = 16, .ops = &master_ops } },
};

static const IdeDriveOps *ops_of(IdeKind kind)
{
    switch (kind) {
    case IDE_DISK:
        return &ata_disk_ops;
    case IDE_CDROM:
        return &atapi_cdrom_ops;
    case IDE_NONE:
        break;
    }
    return NULL;
}

static void init_drive(Channel *channel, unsigned number, unsigned unit,
                       const IdeDriveConfig *config)
{
    g_autofree char *serial = config->serial ? g_strdup(config->serial)
                                             : g_strdup_printf("LODGE-%u%u", number, unit);
    ide_drive_init(&channel->ide.drives[unit], &channel->ide, unit, ops_of(config->kind),
                   config->block, serial);
}

static void init_channel(IdePiix3 *chip, unsigned number, const IdePiix3Config *config,
                         const DeviceHost *host)
{
    static const uint16_t command_base[2] = { 0x1f0, 0x170 }, control_base[2] = { 0x3f6, 0x376 };
    Channel *channel = &chip->channels[number];
    channel->chip = chip;
    channel->irq = config->irq[number].set ? config->irq[number] : host->isa_irq[14 + number];
    channel->ide.update_interrupt = update_interrupt;
    channel->ide.dma_move = dma_move;
    channel->ide.tray_moved = tray_moved;
    channel->ide.opaque = channel;
    for (unsigned unit = 0; unit < 2; unit++)
        init_drive(channel, number, unit, &config->drives[number][unit]);
    channel->command_ports = bus_add_ports(host->bus, device_name, command_base[number], 8,
                                           &command_ops, channel, &chip->pci.engaged);
    bus_set_block_io(channel->command_ports, &command_block_ops);
    channel->control_port = bus_add_ports(host->bus, device_name, control_base[number], 1,
                                          &control_ops, channel, &chip->pci.engaged);
}

static bool check_config(const IdePiix3Config *config, const DeviceHost *host, GError **error)
{
    if (!host->pci) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%s needs a PCI bus",
                    device_name);
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        const IdeDriveConfig *drive = &config->drives[i >> 1][i & 1];
        if (drive->kind == IDE_DISK && (!drive->block || block_read_only(drive->block))) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "the disk on IDE channel %u, unit %u %s", i >> 1, i & 1,
                        drive->block ? "is read-only: an IDE disk must be writable"
                                     : "has no image: give it one");
            return false;
        }
    }
    return true;
}

static void ide_piix3_destroy(void *device)
{
    IdePiix3 *chip = device;
    if (!chip)
        return;
    for (unsigned number = 0; number < 2; number++) {
        Channel *channel = &chip->channels[number];
        bus_remove(chip->bus, channel->command_ports);
        bus_remove(chip->bus, channel->control_port);
        for (unsigned unit = 0; unit < 2; unit++)
            ide_drive_clear(&channel->ide.drives[unit]);
    }
    pci_remove(&chip->pci);
    g_free(chip);
}

static void *ide_piix3_create(const void *opaque, const DeviceHost *host, GError **error)
{
    const IdePiix3Config *config = opaque;
    if (!check_config(config, host, error))
        return NULL;
    IdePiix3 *chip = g_new0(IdePiix3, 1);
    PciConfig identity = pci_config;
    chip->memory = host->memory;
    chip->bus = host->bus;
    chip->tray_moved = config->tray_moved;
    chip->opaque = config->opaque;
    identity.devfn = config->devfn;
    if (!pci_add(host->pci, &chip->pci, &identity, chip, error)) {
        g_free(chip);
        return NULL;
    }
    memset(chip->pci.write_mask + 0x40, 0xff, 5); // IDETIM, SIDETIM: kept, without effect
    for (unsigned number = 0; number < 2; number++)
        init_channel(chip, number, config, host);
    return chip;
}

static void reset_channel(Channel *channel, ResetKind kind)
{
    channel->ide.control = channel->ide.selected = 0;
    channel->master_command = channel->master_status = 0;
    channel->active = channel->region_last = false;
    channel->table = channel->next = channel->fetched = 0;
    channel->region = channel->region_left = 0;
    for (unsigned unit = 0; unit < 2; unit++) {
        IdeDrive *drive = &channel->ide.drives[unit];
        if (!drive->ops)
            continue;
        drive->ops->reset(drive, kind);
        ide_drive_reset(drive);
    }
    update_interrupt(&channel->ide);
    channel->master_status = 0;
}

static void ide_piix3_reset(void *device, ResetKind kind)
{
    IdePiix3 *chip = device;
    pci_reset(&chip->pci);
    memset(chip->pci.config + 0x40, 0, 5);
    for (unsigned number = 0; number < 2; number++)
        reset_channel(&chip->channels[number], kind);
}

static gboolean ide_piix3_post_load(void *device, GError **error)
{
    IdePiix3 *chip = device;
    for (unsigned number = 0; number < 2; number++) {
        Channel *channel = &chip->channels[number];
        bool possible = channel->ide.selected <= 1 && channel->region_left <= 65536 &&
                        channel->fetched <= DESCRIPTORS_MAX;
        for (unsigned unit = 0; unit < 2 && possible; unit++)
            possible = ide_drive_loaded(&channel->ide.drives[unit]);
        if (!possible) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "saved state of '%s': channel %u is in an impossible state", device_name,
                        number);
            return FALSE;
        }
        irq_set(&channel->irq, channel->ide.line);
    }
    pci_restore(&chip->pci);
    return TRUE;
}

#define DRIVE_FIELD(c, u, member, kind)                                                            \
    { "drive" #c #u "." #member, kind, offsetof(IdePiix3, channels[c].ide.drives[u].member), 1 }
#define DRIVE_BYTES(c, u, member)                                                                  \
    { "drive" #c #u "." #member, STATE_BYTES,                                                      \
      offsetof(IdePiix3, channels[c].ide.drives[u].member),                                        \
      sizeof(((IdePiix3 *)0)->channels[c].ide.drives[u].member) }
#define CHANNEL_FIELD(c, member, kind)                                                             \
    { "channel" #c "." #member, kind, offsetof(IdePiix3, channels[c].member), 1 }

// clang-format off
#define DRIVE_STATE(c, u)                                                                          \
    DRIVE_FIELD(c, u, feature, STATE_U8), DRIVE_FIELD(c, u, count, STATE_U8),                      \
    DRIVE_FIELD(c, u, lba_low, STATE_U8), DRIVE_FIELD(c, u, lba_mid, STATE_U8),                    \
    DRIVE_FIELD(c, u, lba_high, STATE_U8), DRIVE_FIELD(c, u, select, STATE_U8),                    \
    DRIVE_FIELD(c, u, status, STATE_U8), DRIVE_FIELD(c, u, error, STATE_U8),                       \
    DRIVE_FIELD(c, u, feature_high, STATE_U8), DRIVE_FIELD(c, u, count_high, STATE_U8),            \
    DRIVE_FIELD(c, u, lba_low_high, STATE_U8), DRIVE_FIELD(c, u, lba_mid_high, STATE_U8),          \
    DRIVE_FIELD(c, u, lba_high_high, STATE_U8), DRIVE_FIELD(c, u, interrupt, STATE_BOOL),          \
    DRIVE_FIELD(c, u, phase, STATE_U8), DRIVE_FIELD(c, u, command, STATE_U8),                      \
    DRIVE_FIELD(c, u, medium_work, STATE_U8), DRIVE_FIELD(c, u, to_host, STATE_BOOL),              \
    DRIVE_FIELD(c, u, dma, STATE_BOOL), DRIVE_FIELD(c, u, reset_waits, STATE_BOOL),                \
    DRIVE_FIELD(c, u, lba48, STATE_BOOL), DRIVE_FIELD(c, u, left, STATE_U32),                      \
    DRIVE_FIELD(c, u, sector_bytes, STATE_U32), DRIVE_FIELD(c, u, sector, STATE_U64),              \
    DRIVE_FIELD(c, u, block_bytes, STATE_U32), DRIVE_FIELD(c, u, chunk_sectors, STATE_U32),        \
    DRIVE_FIELD(c, u, chunk_at, STATE_U32), DRIVE_FIELD(c, u, chunk_end, STATE_U32),               \
    DRIVE_FIELD(c, u, block_end, STATE_U32), DRIVE_FIELD(c, u, cylinders, STATE_U16),              \
    DRIVE_FIELD(c, u, heads, STATE_U16), DRIVE_FIELD(c, u, sectors_per_track, STATE_U16),          \
    DRIVE_FIELD(c, u, multiple, STATE_U8), DRIVE_FIELD(c, u, transfer_mode, STATE_U8),             \
    DRIVE_FIELD(c, u, write_cache, STATE_BOOL), DRIVE_FIELD(c, u, look_ahead, STATE_BOOL),         \
    DRIVE_FIELD(c, u, smart, STATE_BOOL), DRIVE_FIELD(c, u, standby, STATE_BOOL),                  \
    DRIVE_FIELD(c, u, flush_after, STATE_BOOL), DRIVE_BYTES(c, u, packet),                         \
    DRIVE_FIELD(c, u, packet_dma, STATE_BOOL), DRIVE_FIELD(c, u, packet_phase, STATE_BOOL),        \
    DRIVE_FIELD(c, u, sense_key, STATE_U8), DRIVE_FIELD(c, u, sense_code, STATE_U8),               \
    DRIVE_FIELD(c, u, sense_qualifier, STATE_U8), DRIVE_FIELD(c, u, attention, STATE_U8),          \
    DRIVE_FIELD(c, u, event, STATE_U8), DRIVE_FIELD(c, u, tray_open, STATE_BOOL),                  \
    DRIVE_FIELD(c, u, tray_locked, STATE_BOOL), DRIVE_FIELD(c, u, read_format, STATE_U8),          \
    DRIVE_BYTES(c, u, error_recovery), DRIVE_BYTES(c, u, audio_control),                           \
    { "drive" #c #u ".buffer", STATE_POINTED,                                                      \
      offsetof(IdePiix3, channels[c].ide.drives[u].buffer), IDE_BUFFER_SIZE }

#define CHANNEL_STATE(c)                                                                           \
    CHANNEL_FIELD(c, ide.selected, STATE_U8), CHANNEL_FIELD(c, ide.control, STATE_U8),             \
    CHANNEL_FIELD(c, ide.line, STATE_BOOL), CHANNEL_FIELD(c, master_command, STATE_U8),            \
    CHANNEL_FIELD(c, master_status, STATE_U8), CHANNEL_FIELD(c, active, STATE_BOOL),               \
    CHANNEL_FIELD(c, table, STATE_U32), CHANNEL_FIELD(c, next, STATE_U32),                         \
    CHANNEL_FIELD(c, fetched, STATE_U32), CHANNEL_FIELD(c, region, STATE_U32),                     \
    CHANNEL_FIELD(c, region_left, STATE_U32), CHANNEL_FIELD(c, region_last, STATE_BOOL),           \
    DRIVE_STATE(c, 0), DRIVE_STATE(c, 1)
// clang-format on

static const StateField state_fields[] = {
    PCI_STATE_FIELDS(IdePiix3, pci),
    CHANNEL_STATE(0),
    CHANNEL_STATE(1),
};

static const StateTable state_table = {
    .name = device_name,
    .version = 1,
    .fields = state_fields,
    .field_count = G_N_ELEMENTS(state_fields),
    .post_load = ide_piix3_post_load,
};

const DeviceOps ide_piix3_ops = {
    .name = device_name,
    .spec = "Intel 290550-002 (82371SB), BMIDE 1.0, ATA/ATAPI-6",
    .create = ide_piix3_create,
    .reset = ide_piix3_reset,
    .state = &state_table,
    .destroy = ide_piix3_destroy,
};

static IdeDrive *cdrom_at(IdePiix3 *chip, unsigned channel, unsigned unit)
{
    if (channel > 1 || unit > 1)
        return NULL;
    IdeDrive *drive = &chip->channels[channel].ide.drives[unit];
    return drive->ops == &atapi_cdrom_ops ? drive : NULL;
}

bool ide_piix3_set_medium(void *device, unsigned channel, unsigned unit, BlockDevice *block)
{
    IdeDrive *drive = cdrom_at(device, channel, unit);
    if (!drive || drive->io->pending)
        return false;
    atapi_change_medium(drive, block);
    return true;
}

bool ide_piix3_press_eject(void *device, unsigned channel, unsigned unit)
{
    IdeDrive *drive = cdrom_at(device, channel, unit);
    return drive && atapi_press_eject(drive);
}
