// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/engine/devices/storage/storage-fixture.h"

#include "engine/base/bytes.h"

#include <glib/gstdio.h>
#include <unistd.h>

static void set_irq(void *opaque, unsigned line, bool level)
{
    Fixture *f = opaque;
    if (level && !f->irq[line])
        f->irq_rises[line]++;
    f->irq[line] = level;
}

static void drop_pirq(void *opaque, unsigned line, bool level)
{
}

void fixture_set_up(Fixture *f)
{
    *f = (Fixture){ 0 };
    f->ram = ram_block_new("test", FIXTURE_RAM, NULL);
    f->memory = f->ram->host;
    f->host.bus = bus_new();
    f->host.memory = guest_memory_new(UINT64_C(1) << 36);
    f->host.clock = clock_new_manual();
    guest_memory_map(f->host.memory, "ram", 0, FIXTURE_RAM, f->memory,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    f->host.pci = pci_bus_new(&f->host, (IrqLine){ drop_pirq, f, 0 });
    for (unsigned line = 0; line < 16; line++)
        f->host.isa_irq[line] = (IrqLine){ set_irq, f, line };
    f->blocks = g_ptr_array_new();
    f->paths = g_ptr_array_new_with_free_func(g_free);
    bus_lock(f->host.bus);
}

void fixture_tear_down(Fixture *f)
{
    bus_unlock(f->host.bus);
    for (guint i = 0; i < f->blocks->len; i++)
        block_close(f->blocks->pdata[i]);
    for (guint i = 0; i < f->paths->len; i++)
        g_unlink(f->paths->pdata[i]);
    g_ptr_array_unref(f->blocks);
    g_ptr_array_unref(f->paths);
    pci_bus_free(f->host.pci);
    clock_free(f->host.clock);
    guest_memory_free(f->host.memory);
    bus_free(f->host.bus);
    ram_block_free(f->ram);
}

uint8_t fixture_byte(uint64_t offset)
{
    uint64_t sector = offset / 512;
    if (offset % 512 < 4)
        return (uint8_t)(sector >> offset % 512 * 8);
    return (uint8_t)(sector * 3 + offset);
}

BlockDevice *fixture_image(Fixture *f, uint64_t size, bool read_only)
{
    g_autoptr(GError) error = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("lodge-storage-XXXXXX", &path, NULL);
    g_autofree uint8_t *bytes = g_malloc(size);
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = fixture_byte(i);
    g_assert_true(g_file_set_contents(path, (char *)bytes, (gssize)size, NULL));
    close(fd);
    g_ptr_array_add(f->paths, path);
    BlockOpen options = { .path = path, .fd = -1, .read_only = read_only, .driver = "raw",
                          .lock = bus_mutex(f->host.bus) };
    bus_unlock(f->host.bus);
    BlockDevice *block = block_open(&options, &error);
    bus_lock(f->host.bus);
    g_assert_no_error(error);
    g_ptr_array_add(f->blocks, block);
    return block;
}

void fixture_wait(Fixture *f)
{
    bus_unlock(f->host.bus);
    for (guint i = 0; i < f->blocks->len; i++)
        block_drain(f->blocks->pdata[i]);
    bus_lock(f->host.bus);
}

void fixture_out(Fixture *f, uint16_t port, unsigned size, uint32_t value)
{
    bus_port_write(f->host.bus, port, size, value);
}

uint32_t fixture_in(Fixture *f, uint16_t port, unsigned size)
{
    return (uint32_t)bus_port_read(f->host.bus, port, size);
}

void *fixture_create(Fixture *f, const DeviceOps *ops, const void *config)
{
    g_autoptr(GError) error = NULL;
    void *device = ops->create(config, &f->host, &error);
    g_assert_no_error(error);
    ops->reset(device, RESET_COLD);
    return device;
}

void fixture_check_state(Fixture *f, const DeviceOps *ops, void *device)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) first = state_save(ops->state, device);
    ops->reset(device, RESET_COLD);
    g_assert_true(state_load(ops->state, device, first, &error));
    g_assert_no_error(error);
    g_autoptr(GBytes) second = state_save(ops->state, device);
    g_assert_true(g_bytes_equal(first, second));
}
