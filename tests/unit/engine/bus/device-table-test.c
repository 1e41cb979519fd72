// SPDX-License-Identifier: GPL-2.0-or-later
// What holds of every device: it survives nonsense, and its saved state is complete enough that a
// fresh one loaded from it saves the same bytes.
#include "engine/bus/device-table.h"
#include "engine/bus/pci.h"

#define STEPS 3000
#define SEEDS 8

typedef struct {
    DeviceHost host;
    uint8_t *ram;
    void *device;
} World;

static void world_init(World *world, const DeviceRow *row)
{
    *world = (World){ 0 };
    Bus *bus = bus_new();
    GuestMemory *memory = guest_memory_new(UINT64_C(1) << 36);
    world->ram = g_malloc0(1 << 20);
    guest_memory_map(memory, "ram", 0x1000000, 1 << 20, world->ram,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    world->host = (DeviceHost){ .bus = bus, .memory = memory, .clock = clock_new_manual() };
    world->host.pci = pci_bus_new(&world->host, (IrqLine){ 0 });
    GError *error = NULL;
    world->device = row->ops->create(row->sample_config, &world->host, &error);
    g_assert_no_error(error);
    g_assert_nonnull(world->device);
    row->ops->reset(world->device, RESET_COLD);
}

static void world_clear(World *world, const DeviceRow *row)
{
    row->ops->destroy(world->device);
    pci_bus_free(world->host.pci);
    clock_free(world->host.clock);
    guest_memory_free(world->host.memory);
    bus_free(world->host.bus);
    g_free(world->ram);
}

static void collect(void *opaque, const BusRange *range)
{
    g_array_append_val((GArray *)opaque, *range);
}

static void poke(World *world, GRand *rand)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(BusRange));
    bus_for_each(world->host.bus, collect, ranges);
    for (unsigned i = 0; i < 64; i++) {
        const BusRange *range = &g_array_index(ranges, BusRange,
                                               g_rand_int_range(rand, 0, (gint32)ranges->len));
        uint64_t value = (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);
        unsigned size = 1u << g_rand_int_range(rand, 0, range->port ? 3 : 4);
        uint64_t at = range->base + g_rand_int(rand) % range->size;
        if (g_rand_boolean(rand))
            value &= 0xff;
        if (range->port && g_rand_boolean(rand))
            bus_port_write(world->host.bus, (uint16_t)at, size, value);
        else if (range->port)
            bus_port_read(world->host.bus, (uint16_t)at, size);
        else if (g_rand_boolean(rand))
            bus_mmio_write(world->host.bus, at, size, value);
        else
            bus_mmio_read(world->host.bus, at, size);
    }
    for (unsigned i = 0; i < 8; i++) {
        uint8_t devfn = (uint8_t)g_rand_int_range(rand, 0, PCI_DEVFN(6, 0));
        unsigned offset = (unsigned)g_rand_int_range(rand, 0, PCI_CONFIG_SIZE);
        pci_config_write(world->host.pci, devfn, offset, 1u << g_rand_int_range(rand, 0, 3),
                         g_rand_int(rand));
    }
    clock_advance(world->host.clock, g_rand_int_range(rand, 0, 2000000));
}

static void save_load_save(gconstpointer data)
{
    const DeviceRow *row = data;
    for (guint32 seed = 1; seed <= SEEDS; seed++) {
        World from, to;
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        world_init(&from, row);
        for (unsigned i = 0; i < STEPS / 72; i++)
            poke(&from, rand);
        g_autoptr(GBytes) first = state_save(row->ops->state, from.device);
        world_init(&to, row);
        clock_set(to.host.clock, clock_now(from.host.clock));
        g_autoptr(GError) error = NULL;
        g_assert_true(state_load(row->ops->state, to.device, first, &error));
        g_assert_no_error(error);
        g_autoptr(GBytes) second = state_save(row->ops->state, to.device);
        if (!g_bytes_equal(first, second))
            g_error("%s: state of seed %u differs after a load", row->ops->name, seed);
        // Loaded state is good to run on with.
        poke(&to, rand);
        world_clear(&to, row);
        world_clear(&from, row);
    }
}

static void reset_forgets(gconstpointer data)
{
    const DeviceRow *row = data;
    World world;
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    world_init(&world, row);
    for (unsigned i = 0; i < 20; i++) {
        poke(&world, rand);
        row->ops->reset(world.device, i % 2 ? RESET_WARM : RESET_COLD);
    }
    world_clear(&world, row);
}

static void refuses_garbage(gconstpointer data)
{
    // Every field filled with the same bits: either refused, or a state that can run.
    const DeviceRow *row = data;
    for (unsigned fill = 0; fill < 256; fill += 51) {
        World world;
        g_autoptr(GRand) rand = g_rand_new_with_seed(fill);
        world_init(&world, row);
        g_autoptr(GBytes) good = state_save(row->ops->state, world.device);
        gsize size;
        const guint8 *bytes = g_bytes_get_data(good, &size);
        g_autofree guint8 *bad = g_memdup2(bytes, size);
        // A field's bytes follow its name, kind and length: find them by the table.
        gsize at = 4 + 4 + 2 + strlen(row->ops->state->name) + 4;
        while (at < size) {
            gsize name = (gsize)(bad[at] | bad[at + 1] << 8);
            at += 2 + name + 1;
            gsize length = (gsize)(bad[at] | bad[at + 1] << 8 | bad[at + 2] << 16);
            memset(bad + at + 4, (int)fill, length);
            at += 4 + length;
        }
        g_autoptr(GBytes) record = g_bytes_new(bad, size);
        if (state_load(row->ops->state, world.device, record, NULL)) {
            for (unsigned i = 0; i < 10; i++)
                poke(&world, rand);
        }
        world_clear(&world, row);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < device_table_size; i++) {
        const DeviceRow *row = &device_table[i];
        g_autofree char *saves = g_strdup_printf("/device-table/%s/save-load-save", row->ops->name);
        g_autofree char *resets = g_strdup_printf("/device-table/%s/reset", row->ops->name);
        g_autofree char *garbage = g_strdup_printf("/device-table/%s/garbage", row->ops->name);
        g_test_add_data_func(saves, row, save_load_save);
        g_test_add_data_func(resets, row, reset_forgets);
        g_test_add_data_func(garbage, row, refuses_garbage);
    }
    return g_test_run();
}
