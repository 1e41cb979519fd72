// SPDX-License-Identifier: GPL-2.0-or-later
// Packet commands over PIO and DMA on a CD-ROM drive as master of the second channel.
#include "engine/devices/storage/ide-piix3.h"

#include "engine/base/bytes.h"
#include "tests/unit/engine/devices/storage/storage-fixture.h"

#define SECTORS 700u // of 2048 bytes
#define MASTER  0xc000
#define DEVFN   PCI_DEVFN(1, 1)

typedef struct {
    Fixture f;
    BlockDevice *medium;
    void *ide;
    unsigned opened, closed;
    uint8_t data[65536];
    uint32_t got; // bytes of the last data-in phase
} Rig;

static void count_tray(void *opaque, unsigned channel, unsigned unit, bool open)
{
    Rig *r = opaque;
    g_assert_cmpuint(channel, ==, 1);
    g_assert_cmpuint(unit, ==, 0);
    if (open)
        r->opened++;
    else
        r->closed++;
}

static Rig *set_up(bool medium)
{
    Rig *r = g_new0(Rig, 1);
    fixture_set_up(&r->f);
    if (medium)
        r->medium = fixture_image(&r->f, SECTORS * 2048, true);
    IdePiix3Config config = { .devfn = DEVFN, .tray_moved = count_tray, .opaque = r };
    config.drives[1][0] = (IdeDriveConfig){ IDE_CDROM, r->medium, NULL };
    r->ide = fixture_create(&r->f, &ide_piix3_ops, &config);
    pci_config_write(r->f.host.pci, DEVFN, 0x20, 4, MASTER);
    pci_config_write(r->f.host.pci, DEVFN, 4, 2, 5);
    return r;
}

static void tear_down(Rig *r)
{
    fixture_wait(&r->f);
    ide_piix3_ops.destroy(r->ide);
    fixture_tear_down(&r->f);
    g_free(r);
}

static uint8_t status(Rig *r)
{
    return (uint8_t)fixture_in(&r->f, 0x177, 1);
}

static void start_packet(Rig *r, const uint8_t *packet, uint16_t limit, bool dma)
{
    fixture_out(&r->f, 0x176, 1, 0xa0);
    fixture_out(&r->f, 0x171, 1, dma);
    fixture_out(&r->f, 0x174, 1, limit & 0xff);
    fixture_out(&r->f, 0x175, 1, limit >> 8);
    fixture_out(&r->f, 0x177, 1, 0xa0);
    g_assert_cmpuint(status(r), ==, 0x58);
    g_assert_cmpuint(fixture_in(&r->f, 0x172, 1), ==, 1); // command to the drive
    g_assert_false(r->f.irq[15]);
    for (unsigned i = 0; i < 12; i += 2)
        fixture_out(&r->f, 0x170, 2, le16_read(packet + i));
}

// Takes data-in blocks until the status phase. Returns the status there.
static uint8_t take_data(Rig *r, uint16_t limit)
{
    r->got = 0;
    for (;;) {
        fixture_wait(&r->f);
        g_assert_true(r->f.irq[15]);
        uint8_t now = status(r);
        g_assert_false(r->f.irq[15]);
        if (!(now & 0x08)) {
            g_assert_cmpuint(fixture_in(&r->f, 0x172, 1), ==, 3);
            return now;
        }
        g_assert_cmpuint(fixture_in(&r->f, 0x172, 1), ==, 2);
        uint32_t bytes = fixture_in(&r->f, 0x174, 1) | fixture_in(&r->f, 0x175, 1) << 8;
        g_assert_cmpuint(bytes, >, 0);
        g_assert_cmpuint(bytes, <=, limit);
        g_assert_cmpuint(r->got + bytes, <=, sizeof r->data);
        bus_port_read_block(r->f.host.bus, 0x170, 2, (bytes + 1) / 2, r->data + r->got);
        r->got += bytes;
    }
}

static uint8_t run(Rig *r, const uint8_t *packet)
{
    start_packet(r, packet, 2048, false);
    return take_data(r, 2048);
}

#define RUN(r, ...) run(r, (const uint8_t[12]){ __VA_ARGS__ })

static void assert_sense(Rig *r, uint8_t key, uint8_t code)
{
    g_assert_cmpuint(RUN(r, 0x03, 0, 0, 0, 18), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 18);
    g_assert_cmpuint(r->data[0], ==, 0x70);
    g_assert_cmpuint(r->data[2], ==, key);
    g_assert_cmpuint(r->data[12], ==, code);
}

static void clear_attention(Rig *r)
{
    RUN(r, 0x03, 0, 0, 0, 18);
}

static void test_signature(void)
{
    Rig *r = set_up(true);
    fixture_out(&r->f, 0x176, 1, 0xa0);
    g_assert_cmpuint(status(r), ==, 0);
    g_assert_cmpuint(fixture_in(&r->f, 0x174, 1), ==, 0x14);
    g_assert_cmpuint(fixture_in(&r->f, 0x175, 1), ==, 0xeb);
    fixture_out(&r->f, 0x177, 1, 0xec); // IDENTIFY DEVICE is refused, with the signature
    g_assert_cmpuint(status(r), ==, 0x51);
    g_assert_cmpuint(fixture_in(&r->f, 0x174, 1), ==, 0x14);
    fixture_out(&r->f, 0x177, 1, 0xa1);
    g_assert_cmpuint(status(r), ==, 0x58);
    uint8_t id[512];
    bus_port_read_block(r->f.host.bus, 0x170, 2, 256, id);
    g_assert_cmpuint(le16_read(id), ==, 0x85c0);
    g_assert_cmpuint(status(r), ==, 0x50);
    fixture_out(&r->f, 0x177, 1, 0x08); // DEVICE RESET
    g_assert_cmpuint(status(r), ==, 0);
    g_assert_false(r->f.irq[15]);
    tear_down(r);
}

static void test_sense_and_attention(void)
{
    Rig *r = set_up(true);
    g_assert_cmpuint(RUN(r, 0x12, 0, 0, 0, 36), ==, 0x50); // INQUIRY passes
    g_assert_cmpuint(r->got, ==, 36);
    g_assert_cmpuint(r->data[0], ==, 5);
    g_assert_cmpmem(r->data + 8, 8, "LODGE   ", 8);
    g_assert_cmpuint(RUN(r, 0x00), ==, 0x51); // power on
    g_assert_cmpuint(fixture_in(&r->f, 0x171, 1), ==, 0x64);
    assert_sense(r, 6, 0x29);
    g_assert_cmpuint(RUN(r, 0x00), ==, 0x50);
    assert_sense(r, 0, 0);
    g_assert_cmpuint(RUN(r, 0xee), ==, 0x51);
    assert_sense(r, 5, 0x20);
    assert_sense(r, 0, 0); // told once
    tear_down(r);
}

static void test_no_medium(void)
{
    Rig *r = set_up(false);
    clear_attention(r);
    static const uint8_t codes[] = { 0x00, 0x25, 0x28, 0x43, 0xbe, 0x51 };
    for (size_t i = 0; i < sizeof codes; i++) {
        g_assert_cmpuint(RUN(r, codes[i]), ==, 0x51);
        assert_sense(r, 2, 0x3a);
    }
    tear_down(r);
}

static void test_capacity(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    g_assert_cmpuint(RUN(r, 0x25), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 8);
    g_assert_cmpuint(be32_read(r->data), ==, SECTORS - 1);
    g_assert_cmpuint(be32_read(r->data + 4), ==, 2048);
    tear_down(r);
}

static void assert_bytes(const uint8_t *data, uint64_t offset, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++)
        g_assert_cmpuint(data[i], ==, fixture_byte(offset + i));
}

static void test_read_pio(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    g_assert_cmpuint(RUN(r, 0x28, 0, 0, 0, 0, 16, 0, 0, 5), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 5 * 2048);
    assert_bytes(r->data, 16 * 2048, r->got);
    // Blocks of an odd limit, rounded down, are not whole sectors
    start_packet(r, (const uint8_t[12]){ 0x28, 0, 0, 0, 0, 20, 0, 0, 2 }, 1001, false);
    g_assert_cmpuint(take_data(r, 1000), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 4096);
    assert_bytes(r->data, 20 * 2048, r->got);
    // No limit means the most
    start_packet(r, (const uint8_t[12]){ 0xa8, 0, 0, 0, 0, 20, 0, 0, 0, 31 }, 0, false);
    g_assert_cmpuint(take_data(r, 0xfffe), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 31 * 2048);
    assert_bytes(r->data, 20 * 2048, r->got);
    g_assert_cmpuint(RUN(r, 0x28, 0, 0, 0, 0, 16, 0, 0, 0), ==, 0x50); // nothing
    g_assert_cmpuint(r->got, ==, 0);
    tear_down(r);
}

static void start_dma(Rig *r, uint32_t table)
{
    fixture_out(&r->f, MASTER + 12, 4, table);
    fixture_out(&r->f, MASTER + 10, 1, 0x06);
    fixture_out(&r->f, MASTER + 8, 1, 0x09);
}

static void test_read_dma(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    for (unsigned i = 0; i < 4; i++) {
        le32_write(r->f.memory + 0x1000 + i * 8, 0x100000 + i * 0x10000);
        le32_write(r->f.memory + 0x1004 + i * 8, i == 3 ? 0x80000000u + 8192 : 0);
    }
    start_packet(r, (const uint8_t[12]){ 0x28, 0, 0, 0, 0, 30, 0, 0, 100 }, 0, true);
    start_dma(r, 0x1000);
    fixture_wait(&r->f);
    g_assert_true(r->f.irq[15]);
    g_assert_cmpuint(fixture_in(&r->f, MASTER + 10, 1), ==, 4);
    g_assert_cmpuint(status(r), ==, 0x50);
    g_assert_cmpuint(fixture_in(&r->f, 0x172, 1), ==, 3);
    assert_bytes(r->f.memory + 0x100000, 30 * 2048, 100 * 2048);
    tear_down(r);
}

static void test_read_out_of_range(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    g_assert_cmpuint(RUN(r, 0x28, 0, 0, 0, 2, 0xbb, 0, 0, 2), ==, 0x51); // 699 and beyond
    assert_sense(r, 5, 0x21);
    g_assert_cmpuint(RUN(r, 0xa8, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff), ==, 0x51);
    assert_sense(r, 5, 0x21);
    g_assert_cmpuint(RUN(r, 0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1), ==, 0x51);
    assert_sense(r, 5, 0x21);
    g_assert_cmpuint(RUN(r, 0x2b, 0, 0, 0, 2, 0xbc), ==, 0x51);
    assert_sense(r, 5, 0x21);
    g_assert_cmpuint(RUN(r, 0x2b, 0, 0, 0, 2, 0xbb), ==, 0x50);
    tear_down(r);
}

static void test_read_cd(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    g_assert_cmpuint(RUN(r, 0xbe, 0, 0, 0, 0, 16, 0, 0, 2, 0x10), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 4096);
    assert_bytes(r->data, 16 * 2048, r->got);
    g_assert_cmpuint(RUN(r, 0xbe, 0, 0, 0, 0, 16, 0, 0, 3, 0xf8), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 3 * 2352);
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *raw = r->data + i * 2352;
        g_assert_cmpuint(raw[0], ==, 0);
        g_assert_cmpuint(raw[5], ==, 0xff);
        g_assert_cmpuint(raw[12], ==, 0); // 00:02:16 in BCD
        g_assert_cmpuint(raw[13], ==, 2);
        g_assert_cmpuint(raw[14], ==, 0x16 + i);
        g_assert_cmpuint(raw[15], ==, 1);
        assert_bytes(raw + 16, (16 + i) * 2048, 2048);
    }
    // The largest raw chunk, and the rest in a second one
    for (unsigned i = 0; i < 4; i++) {
        le32_write(r->f.memory + 0x1000 + i * 8, 0x100000 + i * 0x10000);
        le32_write(r->f.memory + 0x1004 + i * 8, i == 3 ? 0x80000000u : 0);
    }
    start_packet(r, (const uint8_t[12]){ 0xbe, 0, 0, 0, 0, 0, 0, 0, 60, 0xf8 }, 0, true);
    start_dma(r, 0x1000);
    fixture_wait(&r->f);
    g_assert_cmpuint(status(r), ==, 0x50);
    for (unsigned i = 0; i < 60; i++)
        assert_bytes(r->f.memory + 0x100000 + i * 2352 + 16, i * 2048, 2048);
    g_assert_cmpuint(RUN(r, 0xb9, 0, 0, 0, 2, 20, 0, 2, 21, 0x10), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 2048);
    assert_bytes(r->data, 20 * 2048, 2048);
    g_assert_cmpuint(RUN(r, 0xbe, 0x04, 0, 0, 0, 16, 0, 0, 2, 0x10), ==, 0x51); // audio
    assert_sense(r, 5, 0x64);
    tear_down(r);
}

static void test_toc(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    g_assert_cmpuint(RUN(r, 0x43, 0, 0, 0, 0, 0, 0, 0, 100), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 20);
    g_assert_cmpuint(be16_read(r->data), ==, 18);
    g_assert_cmpuint(r->data[6], ==, 1);
    g_assert_cmpuint(be32_read(r->data + 8), ==, 0);
    g_assert_cmpuint(r->data[14], ==, 0xaa);
    g_assert_cmpuint(be32_read(r->data + 16), ==, SECTORS);
    g_assert_cmpuint(RUN(r, 0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100), ==, 0x50); // lead-out, MSF
    g_assert_cmpuint(r->got, ==, 12);
    g_assert_cmpuint(r->data[9], ==, 0);
    g_assert_cmpuint(r->data[10], ==, (SECTORS + 150) / 75);
    g_assert_cmpuint(r->data[11], ==, (SECTORS + 150) % 75);
    g_assert_cmpuint(RUN(r, 0x43, 0, 1, 0, 0, 0, 0, 0, 100), ==, 0x50); // sessions
    g_assert_cmpuint(r->got, ==, 12);
    g_assert_cmpuint(RUN(r, 0x43, 0, 2, 0, 0, 0, 1, 0, 100), ==, 0x50); // full
    g_assert_cmpuint(r->got, ==, 48);
    g_assert_cmpuint(r->data[7], ==, 0xa0);
    g_assert_cmpuint(r->data[40], ==, 1);
    // The format where old drives have it
    g_assert_cmpuint(RUN(r, 0x43, 0, 0, 0, 0, 0, 0, 0, 100, 0x80), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 48);
    g_assert_cmpuint(RUN(r, 0x43, 0, 0, 0, 0, 0, 0, 0, 5), ==, 0x50); // cut
    g_assert_cmpuint(r->got, ==, 5);
    g_assert_cmpuint(RUN(r, 0x43, 0, 0, 0, 0, 0, 2, 0, 100), ==, 0x51);
    assert_sense(r, 5, 0x24);
    tear_down(r);
}

static void test_mode_pages(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    g_assert_cmpuint(RUN(r, 0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 8 + 12 + 8 + 16 + 22);
    g_assert_cmpuint(be16_read(r->data), ==, r->got - 2);
    g_assert_cmpuint(RUN(r, 0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0), ==, 0x50);
    g_assert_cmpuint(r->data[8], ==, 0x2a);
    g_assert_cmpuint(RUN(r, 0x5a, 0, 0xc1, 0, 0, 0, 0, 1, 0), ==, 0x51);
    assert_sense(r, 5, 0x39);
    g_assert_cmpuint(RUN(r, 0x5a, 0, 0x11, 0, 0, 0, 0, 1, 0), ==, 0x51);
    assert_sense(r, 5, 0x24);
    // Select: audio page with another volume
    g_assert_cmpuint(RUN(r, 0x5a, 0, 0x0e, 0, 0, 0, 0, 1, 0), ==, 0x50);
    r->data[8 + 9] = 0x42;
    start_packet(r, (const uint8_t[12]){ 0x55, 0x10, 0, 0, 0, 0, 0, 0, 24 }, 2048, false);
    g_assert_true(r->f.irq[15]);
    g_assert_cmpuint(status(r), ==, 0x58);
    g_assert_cmpuint(fixture_in(&r->f, 0x172, 1), ==, 0);
    bus_port_write_block(r->f.host.bus, 0x170, 2, 12, r->data);
    g_assert_true(r->f.irq[15]);
    g_assert_cmpuint(status(r), ==, 0x50);
    g_assert_cmpuint(RUN(r, 0x5a, 0, 0x0e, 0, 0, 0, 0, 1, 0), ==, 0x50);
    g_assert_cmpuint(r->data[8 + 9], ==, 0x42);
    // A page that claims to be longer than the list
    r->data[9] = 0xff;
    start_packet(r, (const uint8_t[12]){ 0x55, 0x10, 0, 0, 0, 0, 0, 0, 24 }, 2048, false);
    bus_port_write_block(r->f.host.bus, 0x170, 2, 12, r->data);
    g_assert_cmpuint(status(r), ==, 0x51);
    assert_sense(r, 5, 0x1a);
    g_assert_cmpuint(RUN(r, 0x55, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff), ==, 0x51);
    assert_sense(r, 5, 0x1a);
    tear_down(r);
}

static void test_configuration(void)
{
    Rig *r = set_up(true);
    g_assert_cmpuint(RUN(r, 0x46, 0, 0, 0, 0, 0, 0, 1, 0), ==, 0x50);
    g_assert_cmpuint(be16_read(r->data + 6), ==, 8); // CD-ROM
    g_assert_cmpuint(be32_read(r->data), ==, r->got - 4);
    g_assert_cmpuint(be16_read(r->data + 8), ==, 0);
    uint32_t at = 8, features = 0;
    uint16_t last = 0;
    while (at < r->got) {
        g_assert_true(at == 8 || be16_read(r->data + at) > last);
        last = be16_read(r->data + at);
        at += 4u + r->data[at + 3];
        features++;
    }
    g_assert_cmpuint(at, ==, r->got);
    g_assert_cmpuint(features, ==, 7);
    g_assert_cmpuint(RUN(r, 0x46, 2, 0, 3, 0, 0, 0, 1, 0), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 16);
    tear_down(r);
}

static void test_events(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    g_assert_cmpuint(RUN(r, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), ==, 0x50);
    g_assert_cmpuint(r->got, ==, 8);
    g_assert_cmpuint(r->data[4], ==, 2); // new medium
    g_assert_cmpuint(r->data[5], ==, 2);
    RUN(r, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
    g_assert_cmpuint(r->data[4], ==, 0); // told once
    RUN(r, 0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8);
    g_assert_cmpuint(r->got, ==, 4);
    g_assert_cmpuint(r->data[2], ==, 0x80);
    g_assert_cmpuint(RUN(r, 0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8), ==, 0x51);
    tear_down(r);
}

static void test_eject(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    g_assert_cmpuint(RUN(r, 0x1e, 0, 0, 0, 1), ==, 0x50);
    g_assert_cmpuint(RUN(r, 0x1b, 0, 0, 0, 2), ==, 0x51);
    assert_sense(r, 5, 0x53);
    g_assert_cmpuint(r->opened, ==, 0);
    g_assert_false(ide_piix3_press_eject(r->ide, 1, 0)); // locked: the guest is asked
    RUN(r, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
    g_assert_cmpuint(r->data[4], ==, 1);
    g_assert_cmpuint(RUN(r, 0x1e), ==, 0x50);
    g_assert_cmpuint(RUN(r, 0x1b, 0, 0, 0, 2), ==, 0x50);
    g_assert_cmpuint(r->opened, ==, 1);
    g_assert_cmpuint(RUN(r, 0x00), ==, 0x51);
    assert_sense(r, 2, 0x3a);
    RUN(r, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8);
    g_assert_cmpuint(r->data[1] & 0x10, ==, 0x10);
    g_assert_cmpuint(RUN(r, 0x1b, 0, 0, 0, 3), ==, 0x50); // load
    g_assert_cmpuint(r->closed, ==, 1);
    g_assert_cmpuint(RUN(r, 0x00), ==, 0x51);
    assert_sense(r, 6, 0x28);
    g_assert_cmpuint(RUN(r, 0x00), ==, 0x50);
    tear_down(r);
}

static void test_medium_change(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    BlockDevice *other = fixture_image(&r->f, 50 * 2048, true);
    // In the middle of a read
    start_packet(r, (const uint8_t[12]){ 0x28, 0, 0, 0, 0, 0, 0, 0, 100 }, 2048, false);
    g_assert_false(ide_piix3_set_medium(r->ide, 1, 0, other)); // under way
    fixture_wait(&r->f);
    g_assert_true(ide_piix3_set_medium(r->ide, 1, 0, other));
    g_assert_cmpuint(status(r), ==, 0x51);
    assert_sense(r, 3, 0x11);
    g_assert_cmpuint(RUN(r, 0x25), ==, 0x51);
    assert_sense(r, 6, 0x28);
    g_assert_cmpuint(RUN(r, 0x25), ==, 0x50);
    g_assert_cmpuint(be32_read(r->data), ==, 49);
    g_assert_true(ide_piix3_set_medium(r->ide, 1, 0, NULL));
    RUN(r, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
    g_assert_cmpuint(r->data[4], ==, 3);
    assert_sense(r, 6, 0x28);
    g_assert_cmpuint(RUN(r, 0x00), ==, 0x51);
    assert_sense(r, 2, 0x3a);
    g_assert_false(ide_piix3_set_medium(r->ide, 0, 0, other)); // no drive there
    tear_down(r);
}

// Every operation code, with parameters of ones and of zeros: an answer or an error, never a hang.
static void test_every_code(void)
{
    Rig *r = set_up(true);
    for (unsigned fill = 0; fill < 512; fill++) {
        uint8_t packet[12];
        memset(packet, fill & 1 ? 0xff : 0, sizeof packet);
        packet[0] = (uint8_t)(fill >> 1);
        if (packet[0] == 0x55)
            continue; // wants data
        clear_attention(r);
        start_packet(r, packet, 0xfffe, false);
        uint8_t end = take_data(r, 0xfffe);
        g_assert_true(end == 0x50 || end == 0x51);
        ide_piix3_set_medium(r->ide, 1, 0, r->medium);
    }
    tear_down(r);
}

static void test_state(void)
{
    Rig *r = set_up(true);
    clear_attention(r);
    start_packet(r, (const uint8_t[12]){ 0x28, 0, 0, 0, 0, 16, 0, 0, 2 }, 2048, false);
    fixture_wait(&r->f);
    bus_port_read_block(r->f.host.bus, 0x170, 2, 1000, r->data);
    fixture_check_state(&r->f, &ide_piix3_ops, r->ide);
    bus_port_read_block(r->f.host.bus, 0x170, 2, 24, r->data + 2000);
    assert_bytes(r->data, 16 * 2048, 2048);
    g_assert_cmpuint(take_data(r, 2048), ==, 0x50);
    assert_bytes(r->data, 17 * 2048, 2048);
    tear_down(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/atapi-cdrom/signature", test_signature);
    g_test_add_func("/atapi-cdrom/sense-and-attention", test_sense_and_attention);
    g_test_add_func("/atapi-cdrom/no-medium", test_no_medium);
    g_test_add_func("/atapi-cdrom/capacity", test_capacity);
    g_test_add_func("/atapi-cdrom/read/pio", test_read_pio);
    g_test_add_func("/atapi-cdrom/read/dma", test_read_dma);
    g_test_add_func("/atapi-cdrom/read/out-of-range", test_read_out_of_range);
    g_test_add_func("/atapi-cdrom/read/cd", test_read_cd);
    g_test_add_func("/atapi-cdrom/toc", test_toc);
    g_test_add_func("/atapi-cdrom/mode-pages", test_mode_pages);
    g_test_add_func("/atapi-cdrom/configuration", test_configuration);
    g_test_add_func("/atapi-cdrom/events", test_events);
    g_test_add_func("/atapi-cdrom/eject", test_eject);
    g_test_add_func("/atapi-cdrom/medium-change", test_medium_change);
    g_test_add_func("/atapi-cdrom/every-code", test_every_code);
    g_test_add_func("/atapi-cdrom/state", test_state);
    return g_test_run();
}
