// SPDX-License-Identifier: GPL-2.0-or-later
// See ide-rig.h.
#include "tests/unit/engine/devices/storage/ide-rig.h"

#include <sys/stat.h>
#include <unistd.h>

// The same disk in a snapshot store.
static BlockDevice *volume(IdeRig *r)
{
    g_autoptr(GError) error = NULL;
    char *path = g_strdup_printf("%s.store", (char *)r->f.paths->pdata[0]);
    g_autofree uint8_t *bytes = g_malloc(IDE_RIG_SECTORS * 512);
    g_ptr_array_add(r->f.paths, path);
    for (uint64_t i = 0; i < IDE_RIG_SECTORS * 512; i++)
        bytes[i] = fixture_byte(i);
    bus_unlock(r->f.host.bus);
    g_assert_true(store_create(path, &error));
    r->store = store_open(&(StoreOpen){ .path = path }, &error);
    g_assert_true(store_volume_add(r->store, "disk0", STORE_DISK, IDE_RIG_SECTORS * 512, NULL,
                                   &error));
    BlockDevice *block = store_volume_open(r->store, STORE_CURRENT, "disk0",
                                           bus_mutex(r->f.host.bus), &error);
    g_assert_no_error(error);
    g_assert_cmpint(block_write_sync(block, 0, bytes, IDE_RIG_SECTORS * 512), ==, 0);
    bus_lock(r->f.host.bus);
    g_ptr_array_add(r->f.blocks, block);
    return block;
}

// Bytes that the disk's file takes on the host, once all is settled.
uint64_t ide_rig_room(IdeRig *r)
{
    struct stat st;
    bus_unlock(r->f.host.bus);
    g_assert_cmpint(block_flush_sync(r->disk), ==, 0);
    bus_lock(r->f.host.bus);
    g_assert_cmpint(stat(r->f.paths->pdata[r->f.paths->len - 1], &st), ==, 0);
    return (uint64_t)st.st_blocks * 512;
}

void ide_rig_set_up_with(IdeRig *r, bool in_store)
{
    fixture_set_up(&r->f);
    r->store = NULL;
    r->disk = fixture_image(&r->f, IDE_RIG_SECTORS * 512, false);
    if (in_store)
        r->disk = volume(r);
    IdePiix3Config config = { .devfn = IDE_RIG_DEVFN };
    config.drives[0][0] = (IdeDriveConfig){ IDE_DISK, r->disk, "SN-0001" };
    r->ide = fixture_create(&r->f, &ide_piix3_ops, &config);
    pci_config_write(r->f.host.pci, IDE_RIG_DEVFN, 0x20, 4, IDE_RIG_MASTER);
    pci_config_write(r->f.host.pci, IDE_RIG_DEVFN, 4, 2, 5);
}

void ide_rig_set_up(IdeRig *r)
{
    ide_rig_set_up_with(r, false);
}

void ide_rig_tear_down(IdeRig *r)
{
    fixture_wait(&r->f);
    ide_piix3_ops.destroy(r->ide);
    fixture_tear_down(&r->f);
    store_close(r->store);
}

uint8_t ide_rig_status(IdeRig *r)
{
    return (uint8_t)fixture_in(&r->f, 0x1f7, 1);
}

void ide_rig_task(IdeRig *r, uint8_t count, uint32_t lba)
{
    fixture_out(&r->f, 0x1f6, 1, 0xe0 | lba >> 24);
    fixture_out(&r->f, 0x1f2, 1, count);
    fixture_out(&r->f, 0x1f3, 1, lba & 0xff);
    fixture_out(&r->f, 0x1f4, 1, lba >> 8 & 0xff);
    fixture_out(&r->f, 0x1f5, 1, lba >> 16 & 0xff);
}

void ide_rig_command(IdeRig *r, uint8_t code)
{
    fixture_out(&r->f, 0x1f7, 1, code);
}

void ide_rig_read_block(IdeRig *r, void *data, uint32_t bytes)
{
    bus_port_read_block(r->f.host.bus, 0x1f0, 2, bytes / 2, data);
}

void ide_rig_assert_sector(const uint8_t *data, uint64_t sector, uint64_t count)
{
    for (uint64_t i = 0; i < count * 512; i++)
        g_assert_cmpuint(data[i], ==, fixture_byte(sector * 512 + i));
}

void ide_rig_read_back(IdeRig *r, uint64_t offset, uint8_t *data, size_t size)
{
    bus_unlock(r->f.host.bus);
    g_assert_cmpint(block_read_sync(r->disk, offset, data, size), ==, 0);
    bus_lock(r->f.host.bus);
}

uint32_t ide_rig_master_status(IdeRig *r)
{
    return fixture_in(&r->f, IDE_RIG_MASTER + 2, 1);
}
