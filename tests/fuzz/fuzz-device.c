// SPDX-License-Identifier: GPL-2.0-or-later
// Any device of the device table, alone on a board. The input is a list of operations: port and
// memory accesses, configuration space, steps of the clock, resets, saves. What a device's DMA
// reads comes from the input too, wherever in memory it looks.
//
// The row is named by the environment variable LODGE_FUZZ_DEVICE, else chosen by the input's first
// byte.
#include "engine/base/bytes.h"
#include "engine/bus/device-table.h"
#include "engine/bus/pci.h"

#define RAM_SIZE 0x80000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    DeviceHost host;
    const DeviceRow *row;
    void *device;
    uint8_t *ram;
    GArray *ranges; // BusRange; what answers at present
    bool ranges_stale;
    ByteReader input;
} World;

static void fill(void *opaque, uint64_t gpa, void *buffer, size_t size)
{
    World *w = opaque;
    uint8_t *bytes = buffer;
    // A long read repeats a short pattern, so that one request does not eat the input.
    for (size_t i = 0; i < size; i++)
        bytes[i] = i < 16 ? byte_reader_u8(&w->input) : bytes[i - 16];
}

static void collect(void *opaque, const BusRange *range)
{
    g_array_append_val((GArray *)opaque, *range);
}

// Gives every BAR a place and turns the function on, as firmware would.
static void place_bars(World *w)
{
    uint32_t ports = 0xc000, memory = 0xe0000000;
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (pci_config_read(w->host.pci, (uint8_t)devfn, 0, 2) == 0xffff)
            continue;
        for (unsigned at = 0x10; at < 0x28; at += 4) {
            pci_config_write(w->host.pci, (uint8_t)devfn, at, 4, 0xffffffff);
            uint32_t mask = pci_config_read(w->host.pci, (uint8_t)devfn, at, 4);
            uint32_t *next = mask & 1 ? &ports : &memory, size = ~(mask & ~15u) + 1;
            if (mask & 1)
                size = (~(mask & ~3u) + 1) & 0xffff;
            if (!mask || !size || mask == 0xffffffff)
                continue;
            *next = (*next + size - 1) / size * size;
            pci_config_write(w->host.pci, (uint8_t)devfn, at, 4, *next);
            *next += size;
            if ((mask & 7) == 4) { // 64 bits wide
                at += 4;
                pci_config_write(w->host.pci, (uint8_t)devfn, at, 4, 0);
            }
        }
        pci_config_write(w->host.pci, (uint8_t)devfn, 4, 2, 7);
    }
}

static bool world_init(World *w, const DeviceRow *row, ByteReader input)
{
    *w = (World){ .row = row, .input = input, .ranges_stale = true };
    w->ranges = g_array_new(FALSE, FALSE, sizeof(BusRange));
    w->ram = g_malloc0(RAM_SIZE);
    w->host = (DeviceHost){ .bus = bus_new(), .memory = guest_memory_new(UINT64_C(1) << 36),
                            .clock = clock_new_manual() };
    guest_memory_map(w->host.memory, "ram", 0, RAM_SIZE, w->ram,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    guest_memory_set_fuzz_read(w->host.memory, fill, w);
    w->host.pci = pci_bus_new(&w->host, (IrqLine){ 0 });
    w->device = row->ops->create(row->sample_config, &w->host, NULL);
    if (!w->device)
        return false;
    row->ops->reset(w->device, RESET_COLD);
    if (row->ops->start)
        row->ops->start(w->device);
    place_bars(w);
    return true;
}

static void world_clear(World *w)
{
    w->row->ops->destroy(w->device);
    pci_bus_free(w->host.pci);
    clock_free(w->host.clock);
    guest_memory_free(w->host.memory);
    bus_free(w->host.bus);
    g_array_unref(w->ranges);
    g_free(w->ram);
}

// Half of the values are small or single bits: registers are made of those.
static uint64_t value(World *w)
{
    uint8_t kind = byte_reader_u8(&w->input), low = byte_reader_u8(&w->input);
    switch (kind & 3) {
    case 0:
        return low;
    case 1:
        return UINT64_C(1) << (low & 63);
    case 2:
        return (uint64_t)low << 8 | byte_reader_u8(&w->input);
    default:
        return byte_reader_le64(&w->input);
    }
}

static void access_bus(World *w, bool write)
{
    if (w->ranges_stale) {
        g_array_set_size(w->ranges, 0);
        bus_for_each(w->host.bus, collect, w->ranges);
        w->ranges_stale = false;
    }
    uint8_t index = byte_reader_u8(&w->input), shape = byte_reader_u8(&w->input);
    const BusRange *range = &g_array_index(w->ranges, BusRange, index % w->ranges->len);
    uint64_t offset = shape & 0x80 ? byte_reader_le32(&w->input) : byte_reader_u8(&w->input);
    uint64_t at = range->base + offset % range->size;
    unsigned size = 1u << (shape & 3);
    if (range->port && (shape & 3) == 3) {
        uint8_t block[64] = { shape };
        if (write)
            bus_port_write_block(w->host.bus, (uint16_t)at, 2, 32, block);
        else
            bus_port_read_block(w->host.bus, (uint16_t)at, 2, 32, block);
    } else if (range->port && write) {
        bus_port_write(w->host.bus, (uint16_t)at, size, value(w));
    } else if (range->port) {
        bus_port_read(w->host.bus, (uint16_t)at, size);
    } else if (write) {
        bus_mmio_write(w->host.bus, at, size, value(w));
    } else {
        bus_mmio_read(w->host.bus, at, size);
    }
}

static void access_config(World *w, bool write)
{
    uint8_t devfn = byte_reader_u8(&w->input) % PCI_DEVFN(6, 0);
    uint8_t offset = byte_reader_u8(&w->input);
    unsigned size = 1u << byte_reader_u8(&w->input) % 3;
    if (!write) {
        pci_config_read(w->host.pci, devfn, offset, size);
        return;
    }
    pci_config_write(w->host.pci, devfn, offset, size, (uint32_t)value(w));
    w->ranges_stale = true;
}

static void save_and_load(World *w)
{
    const StateTable *table = w->row->ops->state;
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) record = state_save(table, w->device);
    if (!state_load(table, w->device, record, &error))
        g_error("%s does not take its own state: %s", w->row->ops->name, error->message);
    g_autoptr(GBytes) again = state_save(table, w->device);
    if (!g_bytes_equal(record, again))
        g_error("%s: the state differs after a load", w->row->ops->name);
    w->ranges_stale = true;
}

static void step(World *w)
{
    uint8_t kind = byte_reader_u8(&w->input);
    switch (kind & 15) {
    case 0 ... 5:
        access_bus(w, true);
        break;
    case 6 ... 9:
        access_bus(w, false);
        break;
    case 10:
        access_config(w, true);
        break;
    case 11:
        access_config(w, false);
        break;
    case 12:
    case 13:
        clock_advance(w->host.clock, (int64_t)byte_reader_u8(&w->input) << (kind >> 4) * 2);
        break;
    case 14:
        if (kind >> 4 == 0) {
            w->row->ops->reset(w->device, byte_reader_u8(&w->input) & 1 ? RESET_WARM : RESET_COLD);
            w->ranges_stale = true;
        }
        break;
    default:
        if (kind >> 4 == 0)
            save_and_load(w);
        break;
    }
}

static const DeviceRow *choose(ByteReader *input)
{
    const char *name = g_getenv("LODGE_FUZZ_DEVICE");
    if (!name)
        return &device_table[byte_reader_u8(input) % device_table_size];
    for (size_t i = 0; i < device_table_size; i++) {
        if (strcmp(device_table[i].ops->name, name) == 0)
            return &device_table[i];
    }
    g_error("LODGE_FUZZ_DEVICE: there is no device '%s'", name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ByteReader input = byte_reader(data, size);
    const DeviceRow *row = choose(&input);
    World w;
    bool made = world_init(&w, row, input);
    for (unsigned i = 0; made && i < 1000 && !w.input.overrun; i++)
        step(&w);
    world_clear(&w);
    return 0;
}
