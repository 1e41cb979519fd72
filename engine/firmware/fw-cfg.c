// SPDX-License-Identifier: GPL-2.0-or-later
// The firmware configuration device, as the published interface description "QEMU Firmware
// Configuration (fw_cfg) Device" has it (docs/specs/fw_cfg of QEMU 7.2), x86 port form: SeaBIOS,
// OVMF, Linux (qemu_fw_cfg) and guest tools read it unmodified. It is not a way for a guest to
// write to the host: every item is read-only, and a DMA write gets the error bit.
//
// Selector 510h (16 bits), data 511h (8 bits, next byte of the selected item; zeros after its
// end), DMA address 514h (high half) and 518h (low half, starts), both big-endian.
#include "engine/firmware/fw-cfg.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"

#include <string.h>

enum {
    SELECT_PORT = 0x510,
    SELECT_PORTS = 2,
    DMA_PORT = 0x514,
    DMA_PORTS = 8,

    DIRECTORY_ENTRY_SIZE = 64,
    DIRECTORY_HEADER_SIZE = 4,

    // Control word of a DMA command; a selected key is in the upper half.
    DMA_ERROR = 1 << 0,
    DMA_READ = 1 << 1,
    DMA_SKIP = 1 << 2,
    DMA_SELECT = 1 << 3,
    DMA_WRITE = 1 << 4,

    ID_TRADITIONAL = 1 << 0,
    ID_DMA = 1 << 1,

    // A DMA read this far past an item's end is a guest's mistake, not a short last block.
    DMA_OVERRUN_MAX = 64 * 1024,
};

#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) // "QEMU CFG"

typedef struct {
    char *name;
    GBytes *contents;
    GBytes *(*produce)(void *opaque);
    void *opaque;
} File;

struct FwCfg {
    DeviceHost host;
    BusRegion *select_region;
    BusRegion *dma_region;
    bool engaged;

    GHashTable *items; // key -> GBytes, without the files
    GPtrArray *files;  // of File; index 0 has key 20h

    uint16_t key;
    uint64_t offset; // into the selected item
    uint64_t dma_address;
};

static void file_free(void *data)
{
    File *file = data;
    g_free(file->name);
    g_bytes_unref(file->contents);
    g_free(file);
}

static File *find_file(FwCfg *fw_cfg, const char *name)
{
    for (guint i = 0; i < fw_cfg->files->len; i++) {
        File *file = fw_cfg->files->pdata[i];
        if (strcmp(file->name, name) == 0)
            return file;
    }
    return NULL;
}

static GBytes *selected_item(FwCfg *fw_cfg)
{
    if (fw_cfg->key >= FW_CFG_FILE_FIRST && fw_cfg->key - FW_CFG_FILE_FIRST < fw_cfg->files->len) {
        File *file = fw_cfg->files->pdata[fw_cfg->key - FW_CFG_FILE_FIRST];
        return file->contents;
    }
    return g_hash_table_lookup(fw_cfg->items, GUINT_TO_POINTER(fw_cfg->key));
}

static void update_directory(FwCfg *fw_cfg)
{
    size_t size = DIRECTORY_HEADER_SIZE + (size_t)fw_cfg->files->len * DIRECTORY_ENTRY_SIZE;
    g_autofree uint8_t *directory = g_malloc0(size);
    be32_write(directory, fw_cfg->files->len);
    for (guint i = 0; i < fw_cfg->files->len; i++) {
        const File *file = fw_cfg->files->pdata[i];
        uint8_t *entry = directory + DIRECTORY_HEADER_SIZE + i * DIRECTORY_ENTRY_SIZE;
        be32_write(entry, (uint32_t)g_bytes_get_size(file->contents));
        be16_write(entry + 4, (uint16_t)(FW_CFG_FILE_FIRST + i));
        g_strlcpy((char *)entry + 8, file->name, FW_CFG_FILE_NAME_SIZE);
    }
    fw_cfg_add_bytes(fw_cfg, FW_CFG_FILE_DIRECTORY, directory, size);
}

// Copies the next bytes of the selected item, zeros after its end, and moves on.
static void read_item(FwCfg *fw_cfg, uint8_t *buffer, size_t size)
{
    gsize item_size = 0;
    GBytes *item = selected_item(fw_cfg);
    const uint8_t *data = item ? g_bytes_get_data(item, &item_size) : NULL;
    size_t copied = 0;
    if (fw_cfg->offset < item_size) {
        copied = MIN(size, item_size - fw_cfg->offset);
        memcpy(buffer, data + fw_cfg->offset, copied);
    }
    memset(buffer + copied, 0, size - copied);
    fw_cfg->offset += size; // at most 2^32 a command: cannot wrap in a machine's life
}

static bool dma_read(FwCfg *fw_cfg, uint64_t address, uint32_t length)
{
    GBytes *item = selected_item(fw_cfg);
    uint64_t item_size = item ? g_bytes_get_size(item) : 0;
    uint64_t left = fw_cfg->offset < item_size ? item_size - fw_cfg->offset : 0;
    if (length > left + DMA_OVERRUN_MAX) {
        guest_log_once(fw_cfg_ops.name, "dma-overrun",
                       "DMA read of %u bytes where %" G_GUINT64_FORMAT " are left in item %04xh",
                       length, left, fw_cfg->key);
        return false;
    }
    uint8_t chunk[4096];
    while (length > 0) {
        uint32_t size = MIN(length, sizeof(chunk));
        read_item(fw_cfg, chunk, size);
        if (!guest_memory_write(fw_cfg->host.memory, address, chunk, size))
            return false;
        address += size;
        length -= size;
    }
    return true;
}

static void run_dma(FwCfg *fw_cfg)
{
    uint64_t command = fw_cfg->dma_address;
    fw_cfg->dma_address = 0;
    uint8_t words[16]; // control, length, address
    if (!guest_memory_read(fw_cfg->host.memory, command, words, sizeof(words))) {
        guest_log_once(fw_cfg_ops.name, "dma-command",
                       "DMA command outside RAM at %" G_GINT64_MODIFIER "xh", command);
        return;
    }
    uint32_t control = be32_read(words);
    uint32_t length = be32_read(words + 4);
    uint64_t address = be64_read(words + 8);

    bool done = true;
    if (control & DMA_SELECT) {
        fw_cfg->key = (uint16_t)(control >> 16);
        fw_cfg->offset = 0;
    }
    if (control & DMA_READ)
        done = dma_read(fw_cfg, address, length);
    else if (control & DMA_WRITE)
        done = false;
    else if (control & DMA_SKIP)
        fw_cfg->offset += length;

    uint8_t result[4];
    be32_write(result, done ? 0 : DMA_ERROR);
    guest_memory_write(fw_cfg->host.memory, command, result, sizeof(result));
}

static uint64_t select_read(void *opaque, uint64_t offset, unsigned size)
{
    FwCfg *fw_cfg = opaque;
    uint8_t byte = 0;
    if (offset == 1 && size == 1)
        read_item(fw_cfg, &byte, 1);
    return byte;
}

static void select_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    FwCfg *fw_cfg = opaque;
    if (offset == 0 && size == 2) {
        fw_cfg->key = (uint16_t)value;
        fw_cfg->offset = 0;
    }
}

// REP INSB from the data port.
static void select_read_block(void *opaque, uint64_t offset, unsigned size, uint32_t count,
                              void *data)
{
    if (offset == 1 && size == 1)
        read_item(opaque, data, count);
    else
        memset(data, 0, (size_t)size * count);
}

static void select_write_block(void *opaque, uint64_t offset, unsigned size, uint32_t count,
                               const void *data)
{
    if (size == 2 && count > 0)
        select_write(opaque, offset, size, le16_read((const uint8_t *)data + 2 * (count - 1)));
}

static uint64_t dma_port_read(void *opaque, uint64_t offset, unsigned size)
{
    if (size != 4)
        return 0;
    // Big-endian: the high half comes first.
    return __builtin_bswap32((uint32_t)(offset == 0 ? DMA_SIGNATURE >> 32 : DMA_SIGNATURE));
}

static void dma_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    FwCfg *fw_cfg = opaque;
    if (size != 4)
        return;
    uint32_t half = __builtin_bswap32((uint32_t)value);
    if (offset == 0) {
        fw_cfg->dma_address = (uint64_t)half << 32;
    } else {
        fw_cfg->dma_address |= half;
        run_dma(fw_cfg);
    }
}

static const BusOps select_ops = { select_read, select_write, 2 };
static const BusBlockOps select_block_ops = { select_read_block, select_write_block };
static const BusOps dma_ops = { dma_port_read, dma_port_write, 4 };

static void *create(const void *config, const DeviceHost *host, GError **error)
{
    const FwCfgConfig *c = config;
    FwCfg *fw_cfg = g_new0(FwCfg, 1);
    fw_cfg->host = *host;
    fw_cfg->items = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_bytes_unref);
    fw_cfg->files = g_ptr_array_new_with_free_func(file_free);

    uint8_t ram_size[8];
    le64_write(ram_size, c->ram_size);
    fw_cfg_add_bytes(fw_cfg, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_add_u32(fw_cfg, FW_CFG_ID, ID_TRADITIONAL | ID_DMA);
    fw_cfg_add_bytes(fw_cfg, FW_CFG_UUID, c->uuid, sizeof(c->uuid));
    fw_cfg_add_bytes(fw_cfg, FW_CFG_RAM_SIZE, ram_size, sizeof(ram_size));
    fw_cfg_add_u16(fw_cfg, FW_CFG_NO_GRAPHIC, 0);
    fw_cfg_add_u16(fw_cfg, FW_CFG_CPU_COUNT, (uint16_t)c->cpus);
    fw_cfg_add_u16(fw_cfg, FW_CFG_MAX_CPUS, (uint16_t)c->cpus);
    fw_cfg_add_u16(fw_cfg, FW_CFG_BOOT_DEVICE, 0);
    fw_cfg_add_u16(fw_cfg, FW_CFG_BOOT_MENU, 0);

    // Legacy keys. NUMA: 64-bit counts; node count 0, then one word a CPU.
    g_autofree uint8_t *numa = g_malloc0(8 * (1 + (size_t)c->cpus));
    fw_cfg_add_bytes(fw_cfg, FW_CFG_NUMA, numa, 8 * (1 + (size_t)c->cpus));
    fw_cfg_add_u16(fw_cfg, FW_CFG_ACPI_TABLES, 0);   // count: tables come as files
    fw_cfg_add_u16(fw_cfg, FW_CFG_SMBIOS_ENTRIES, 0);
    fw_cfg_add_u32(fw_cfg, FW_CFG_IRQ0_OVERRIDE, 1); // the PIT is on IOAPIC pin 2
    fw_cfg_add_u32(fw_cfg, FW_CFG_E820_TABLE, 0);
    // One count byte, then 16 bytes a timer block: event timer id, address, minimum tick, PCI id.
    uint8_t hpet[17] = { c->hpet ? 1 : 0xff };
    le32_write(hpet + 1, 0x8086a201);
    le64_write(hpet + 5, 0xfed00000);
    le16_write(hpet + 13, 100);
    fw_cfg_add_bytes(fw_cfg, FW_CFG_HPET, hpet, sizeof(hpet));
    update_directory(fw_cfg);

    fw_cfg->select_region = bus_add_ports(host->bus, fw_cfg_ops.name, SELECT_PORT, SELECT_PORTS,
                                          &select_ops, fw_cfg, &fw_cfg->engaged);
    bus_set_block_io(fw_cfg->select_region, &select_block_ops);
    fw_cfg->dma_region = bus_add_ports(host->bus, fw_cfg_ops.name, DMA_PORT, DMA_PORTS, &dma_ops,
                                       fw_cfg, &fw_cfg->engaged);
    return fw_cfg;
}

static void reset(void *device, ResetKind kind)
{
    FwCfg *fw_cfg = device;
    fw_cfg->key = FW_CFG_SIGNATURE;
    fw_cfg->offset = 0;
    fw_cfg->dma_address = 0;
    for (guint i = 0; i < fw_cfg->files->len; i++) {
        File *file = fw_cfg->files->pdata[i];
        if (file->produce) {
            g_bytes_unref(file->contents);
            file->contents = file->produce(file->opaque);
        }
    }
    update_directory(fw_cfg);
}

static void destroy(void *device)
{
    FwCfg *fw_cfg = device;
    if (!fw_cfg)
        return;
    bus_remove(fw_cfg->host.bus, fw_cfg->select_region);
    bus_remove(fw_cfg->host.bus, fw_cfg->dma_region);
    g_hash_table_unref(fw_cfg->items);
    g_ptr_array_unref(fw_cfg->files);
    g_free(fw_cfg);
}

static const StateField state_fields[] = {
    STATE_SCALAR(FwCfg, key, STATE_U16),
    STATE_SCALAR(FwCfg, offset, STATE_U64),
    STATE_SCALAR(FwCfg, dma_address, STATE_U64),
};

static const StateTable state_table = {
    .name = "fw-cfg",
    .version = 1,
    .fields = state_fields,
    .field_count = G_N_ELEMENTS(state_fields),
};

const DeviceOps fw_cfg_ops = {
    .name = "fw-cfg",
    .spec = "QEMU Firmware Configuration (fw_cfg) Device, docs/specs/fw_cfg of QEMU 7.2",
    .create = create,
    .reset = reset,
    .state = &state_table,
    .destroy = destroy,
};

void fw_cfg_add_bytes(FwCfg *fw_cfg, FwCfgKey key, const void *data, size_t size)
{
    g_hash_table_replace(fw_cfg->items, GUINT_TO_POINTER(key), g_bytes_new(data, size));
}

void fw_cfg_add_u16(FwCfg *fw_cfg, FwCfgKey key, uint16_t value)
{
    uint8_t bytes[2];
    le16_write(bytes, value);
    fw_cfg_add_bytes(fw_cfg, key, bytes, sizeof(bytes));
}

void fw_cfg_add_u32(FwCfg *fw_cfg, FwCfgKey key, uint32_t value)
{
    uint8_t bytes[4];
    le32_write(bytes, value);
    fw_cfg_add_bytes(fw_cfg, key, bytes, sizeof(bytes));
}

static File *add_file(FwCfg *fw_cfg, const char *name, GBytes *contents)
{
    File *file = find_file(fw_cfg, name);
    if (file) {
        g_bytes_unref(file->contents);
    } else {
        g_return_val_if_fail(strlen(name) < FW_CFG_FILE_NAME_SIZE, NULL);
        g_return_val_if_fail(fw_cfg->files->len < FW_CFG_FILES_MAX, NULL);
        file = g_new0(File, 1);
        file->name = g_strdup(name);
        g_ptr_array_add(fw_cfg->files, file);
    }
    file->contents = contents;
    update_directory(fw_cfg);
    return file;
}

void fw_cfg_add_file(FwCfg *fw_cfg, const char *name, const void *data, size_t size)
{
    add_file(fw_cfg, name, g_bytes_new(data, size));
}

void fw_cfg_add_callback(FwCfg *fw_cfg, const char *name, GBytes *(*produce)(void *opaque),
                         void *opaque)
{
    File *file = add_file(fw_cfg, name, produce(opaque));
    file->produce = produce;
    file->opaque = opaque;
}

GBytes *fw_cfg_find_file(FwCfg *fw_cfg, const char *name)
{
    File *file = find_file(fw_cfg, name);
    return file ? file->contents : NULL;
}
