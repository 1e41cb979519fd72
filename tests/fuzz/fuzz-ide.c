// SPDX-License-Identifier: GPL-2.0-or-later
// The IDE function with a disk and a CD-ROM drive: the input is a list of register accesses; what
// DMA finds in memory comes from the input, too.
#include "engine/base/bytes.h"
#include "engine/devices/storage/ide-piix3.h"
#include "tests/unit/engine/devices/storage/storage-fixture.h"

#include <glib/gstdio.h>

#define MASTER 0xc000
#define DEVFN  PCI_DEVFN(1, 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    Fixture f;
    BlockDevice *disk, *medium;
    ByteReader input;
} World;

static void fill(void *opaque, uint64_t gpa, void *buffer, size_t size)
{
    World *w = opaque;
    uint8_t *bytes = buffer;
    for (size_t i = 0; i < size && i < 16; i++)
        bytes[i] = byte_reader_u8(&w->input);
}

// Every input runs in the same world with a fresh device.
static World *make_world(void)
{
    World *w = g_new0(World, 1);
    fixture_set_up(&w->f);
    w->disk = fixture_image(&w->f, 1 << 20, false);
    w->medium = fixture_image(&w->f, 1 << 20, true);
    for (guint i = 0; i < w->f.paths->len; i++)
        g_unlink(w->f.paths->pdata[i]);
    guest_memory_set_fuzz_read(w->f.host.memory, fill, w);
    return w;
}

static void step(World *w, void *ide, uint16_t base)
{
    static const uint8_t commands[] = { 0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39,
                                        0xa0, 0xa0, 0xa0, 0xc4, 0xc5, 0xc8, 0xca, 0xec };
    static const uint8_t packets[] = { 0x28, 0xbe, 0x43, 0x55, 0x5a, 0x46, 0x4a, 0xa8 };
    Fixture *f = &w->f;
    uint8_t kind = byte_reader_u8(&w->input), value = byte_reader_u8(&w->input);
    uint8_t block[255 * 4];
    switch (kind % 12) {
    case 0:
        fixture_out(f, base + 7, 1, value);
        return;
    case 1:
        fixture_out(f, base + 7, 1, commands[value % sizeof commands]);
        return;
    case 2:
    case 3:
        fixture_out(f, (uint16_t)(base + 1 + (kind >> 4) % 6), 1, value);
        return;
    case 4:
        bus_port_read_block(f->host.bus, base, 1u << (value & 1) * 2, value, block);
        fixture_in(f, (uint16_t)(base + (value & 7)), 1u << (kind >> 6) % 3);
        return;
    case 5:
        memset(block, value, sizeof block);
        bus_port_write_block(f->host.bus, base, 2, value, block);
        return;
    case 6: // a packet with parameters from the input
        fixture_out(f, base, 2, packets[value % sizeof packets]);
        for (unsigned i = 1; i < 6; i++)
            fixture_out(f, base, 2, byte_reader_le16(&w->input));
        return;
    case 7:
        fixture_out(f, base == 0x1f0 ? 0x3f6 : 0x376, 1, value & (kind & 0x80 ? 0xff : 0x82));
        return;
    case 8:
        fixture_out(f, (uint16_t)(MASTER + (value & 15)), 1u << (kind >> 6) % 3,
                    byte_reader_le32(&w->input));
        return;
    case 9:
        fixture_out(f, (uint16_t)(MASTER + (base == 0x170 ? 8 : 0)), 1, 0);
        fixture_out(f, (uint16_t)(MASTER + (base == 0x170 ? 8 : 0)), 1, value | 1);
        return;
    case 10:
        fixture_wait(f);
        return;
    default:
        if (value < 16)
            ide_piix3_ops.reset(ide, value & 1 ? RESET_COLD : RESET_WARM);
        else if (value < 32)
            ide_piix3_set_medium(ide, 1, 0, value & 1 ? w->medium : NULL);
        else if (value < 48)
            ide_piix3_press_eject(ide, 1, 0);
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static World *w;
    if (!w)
        w = make_world();
    IdePiix3Config config = { .devfn = DEVFN };
    config.drives[0][0] = (IdeDriveConfig){ IDE_DISK, w->disk, "F" };
    config.drives[1][0] = (IdeDriveConfig){ IDE_CDROM, w->medium, NULL };
    w->input = byte_reader(data, size);
    void *ide = fixture_create(&w->f, &ide_piix3_ops, &config);
    pci_config_write(w->f.host.pci, DEVFN, 0x20, 4, MASTER);
    pci_config_write(w->f.host.pci, DEVFN, 4, 2, 5);
    while (!w->input.overrun) {
        uint16_t base = byte_reader_u8(&w->input) & 1 ? 0x170 : 0x1f0;
        step(w, ide, base);
    }
    fixture_wait(&w->f);
    ide_piix3_ops.destroy(ide);
    return 0;
}
