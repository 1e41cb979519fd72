// SPDX-License-Identifier: GPL-2.0-or-later
// Register scripts for the floppy controller, with a DMA channel that the test plays.
#include "engine/devices/storage/fdc-82077.h"

#include "tests/unit/engine/devices/storage/storage-fixture.h"

#define SIZE_1440 1474560u

typedef struct {
    Fixture f;
    BlockDevice *disk;
    void *fdc;
    uint8_t channel[65536]; // what the DMA channel's memory holds
    size_t at, count;       // count: until terminal count
    bool masked;
    void (*ready)(void *device);
    void *watcher;
    uint8_t result[10];
} Rig;

static size_t channel_transfer(void *opaque, unsigned channel, IsaDmaDirection direction,
                               void *buffer, size_t size, bool *ret_terminal_count)
{
    Rig *r = opaque;
    g_assert_cmpuint(channel, ==, 2);
    size_t piece = r->masked ? 0 : MIN(size, r->count - r->at);
    if (direction == ISA_DMA_TO_MEMORY)
        memcpy(r->channel + r->at, buffer, piece);
    else
        memcpy(buffer, r->channel + r->at, piece);
    r->at += piece;
    *ret_terminal_count = piece > 0 && r->at == r->count;
    if (*ret_terminal_count)
        r->masked = true;
    return piece;
}

static void channel_watch(void *opaque, unsigned channel, void (*ready)(void *device), void *device)
{
    Rig *r = opaque;
    r->ready = ready;
    r->watcher = device;
}

static void arm_channel(Rig *r, size_t count)
{
    r->at = 0;
    r->count = count;
    r->masked = false;
}

static void out(Rig *r, uint16_t port, uint8_t value)
{
    fixture_out(&r->f, port, 1, value);
}

static uint8_t in(Rig *r, uint16_t port)
{
    return (uint8_t)fixture_in(&r->f, port, 1);
}

static Rig *set_up(uint64_t size, bool read_only)
{
    Rig *r = g_new0(Rig, 1);
    fixture_set_up(&r->f);
    r->disk = size ? fixture_image(&r->f, size, read_only) : NULL;
    Fdc82077Config config = {
        .drives = { { true, r->disk }, { true, NULL } },
        .dma = { channel_transfer, channel_watch, r },
    };
    r->fdc = fixture_create(&r->f, &fdc_82077_ops, &config);
    out(r, 0x3f7, 0); // 500 kbit/s
    return r;
}

static void tear_down(Rig *r)
{
    fixture_wait(&r->f);
    fdc_82077_ops.destroy(r->fdc);
    fixture_tear_down(&r->f);
    g_free(r);
}

static void send(Rig *r, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_assert_cmphex(in(r, 0x3f4) & 0xc0, ==, 0x80);
        out(r, 0x3f5, bytes[i]);
    }
}

#define SEND(r, ...)                                                                               \
    send(r, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void take(Rig *r, unsigned count)
{
    fixture_wait(&r->f);
    for (unsigned i = 0; i < count; i++) {
        g_assert_cmphex(in(r, 0x3f4) & 0xf0, ==, 0xd0);
        r->result[i] = in(r, 0x3f5);
    }
    g_assert_cmphex(in(r, 0x3f4), ==, 0x80); // idle again
}

static void assert_result(Rig *r, uint8_t st0, uint8_t st1, uint8_t st2, uint8_t c, uint8_t h,
                          uint8_t s)
{
    fixture_wait(&r->f);
    g_assert_true(r->f.irq[6]);
    take(r, 7);
    g_assert_false(r->f.irq[6]);
    const uint8_t wanted[7] = { st0, st1, st2, c, h, s, 2 };
    g_assert_cmpmem(r->result, 7, wanted, 7);
}

static void assert_bytes(const uint8_t *data, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < size; i++)
        g_assert_cmphex(data[i], ==, fixture_byte(offset + i));
}

static uint64_t offset_of(unsigned c, unsigned h, unsigned s)
{
    return ((c * 2 + h) * 18 + s - 1) * 512;
}

static void test_reset(void)
{
    Rig *r = set_up(SIZE_1440, false);
    g_assert_cmphex(in(r, 0x3f2), ==, 0x0c);
    out(r, 0x3f2, 0x08);
    g_assert_cmphex(in(r, 0x3f4), ==, 0);
    g_assert_false(r->f.irq[6]);
    out(r, 0x3f2, 0x0c);
    g_assert_true(r->f.irq[6]);
    for (unsigned unit = 0; unit < 4; unit++) {
        SEND(r, 0x08);
        take(r, 2);
        g_assert_cmphex(r->result[0], ==, 0xc0 | unit);
        g_assert_false(r->f.irq[6]);
    }
    SEND(r, 0x08); // nothing more to tell
    take(r, 1);
    g_assert_cmphex(r->result[0], ==, 0x80);
    out(r, 0x3f4, 0x80); // DSR
    g_assert_true(r->f.irq[6]);
    tear_down(r);
}

static void test_dma_gate(void)
{
    Rig *r = set_up(SIZE_1440, false);
    out(r, 0x3f2, 0x00);
    out(r, 0x3f2, 0x04);
    g_assert_false(r->f.irq[6]);
    out(r, 0x3f2, 0x0c);
    g_assert_true(r->f.irq[6]);
    tear_down(r);
}

static void test_version_and_registers(void)
{
    Rig *r = set_up(SIZE_1440, false);
    SEND(r, 0x10);
    take(r, 1);
    g_assert_cmphex(r->result[0], ==, 0x90);
    SEND(r, 0x03, 0xaf, 0x02);
    SEND(r, 0x13, 0, 0x57, 0x21);
    SEND(r, 0x12, 0xa4);
    SEND(r, 0x94);
    take(r, 1);
    g_assert_cmphex(r->result[0], ==, 0x10);
    SEND(r, 0x0f, 0, 33);
    SEND(r, 0x0e);
    take(r, 10);
    static const uint8_t dump[10] = { 33, 0, 0, 0, 0xaf, 0x02, 0, 0xa4, 0x57, 0x21 };
    g_assert_cmpmem(r->result, 10, dump, 10);
    out(r, 0x3f2, 0x08); // locked: the configuration stays
    out(r, 0x3f2, 0x0c);
    SEND(r, 0x0e);
    take(r, 10);
    g_assert_cmphex(r->result[8], ==, 0x57);
    SEND(r, 0x14);
    take(r, 1);
    g_assert_cmphex(r->result[0], ==, 0);
    out(r, 0x3f2, 0x08);
    out(r, 0x3f2, 0x0c);
    SEND(r, 0x0e);
    take(r, 10);
    g_assert_cmphex(r->result[8], ==, 0x20);
    SEND(r, 0x18); // PART ID came with a later chip
    take(r, 1);
    g_assert_cmphex(r->result[0], ==, 0x80);
    tear_down(r);
}

static void test_seek(void)
{
    Rig *r = set_up(SIZE_1440, false);
    out(r, 0x3f2, 0x1c);
    g_assert_cmphex(in(r, 0x3f7), ==, 0x80); // changed
    SEND(r, 0x07, 0);
    g_assert_true(r->f.irq[6]);
    SEND(r, 0x08);
    g_assert_false(r->f.irq[6]);
    take(r, 2);
    g_assert_cmphex(r->result[0], ==, 0x20);
    g_assert_cmphex(in(r, 0x3f7), ==, 0);
    SEND(r, 0x0f, 0x04, 40);
    SEND(r, 0x08);
    take(r, 2);
    g_assert_cmphex(r->result[0], ==, 0x24);
    g_assert_cmphex(r->result[1], ==, 40);
    SEND(r, 0x8f, 0, 5); // towards track 0
    SEND(r, 0xcf, 0, 2);
    SEND(r, 0x08);
    take(r, 2);
    g_assert_cmphex(r->result[1], ==, 37);
    SEND(r, 0x0f, 0, 3); // two drives at once: one interrupt after the other
    SEND(r, 0x0f, 1, 9);
    SEND(r, 0x08);
    g_assert_false(r->f.irq[6]);
    take(r, 2);
    g_assert_cmphex(r->result[0], ==, 0x20);
    g_assert_true(r->f.irq[6]);
    SEND(r, 0x08);
    take(r, 2);
    g_assert_cmphex(r->result[0], ==, 0x21);
    g_assert_false(r->f.irq[6]);
    SEND(r, 0x04, 0);
    take(r, 1);
    g_assert_cmphex(r->result[0], ==, 0x28);
    SEND(r, 0x07, 2); // no such drive
    SEND(r, 0x08);
    take(r, 2);
    g_assert_cmphex(r->result[0], ==, 0x72);
    out(r, 0x3f2, 0x1d); // the empty drive
    SEND(r, 0x07, 1);
    g_assert_cmphex(in(r, 0x3f7), ==, 0x80);
    tear_down(r);
}

static void test_read_dma(void)
{
    Rig *r = set_up(SIZE_1440, false);
    arm_channel(r, 3 * 512);
    SEND(r, 0xe6, 0, 5, 0, 4, 2, 18, 0x1b, 0xff);
    g_assert_cmphex(in(r, 0x3f4), ==, 0x10); // under way
    assert_result(r, 0, 0, 0, 5, 0, 7);
    assert_bytes(r->channel, offset_of(5, 0, 4), 3 * 512);
    // Terminal count with the last sector is no error; the address moves on
    arm_channel(r, 512);
    SEND(r, 0xe6, 4, 5, 1, 18, 2, 18, 0x1b, 0xff);
    assert_result(r, 4, 0, 0, 6, 0, 1);
    assert_bytes(r->channel, offset_of(5, 1, 18), 512);
    tear_down(r);
}

static void test_read_multitrack(void)
{
    Rig *r = set_up(SIZE_1440, false);
    arm_channel(r, 20 * 512);
    SEND(r, 0xe6, 0, 7, 0, 17, 2, 18, 0x1b, 0xff);
    assert_result(r, 4, 0, 0, 8, 0, 1);
    assert_bytes(r->channel, offset_of(7, 0, 17), 20 * 512);
    arm_channel(r, 20 * 512); // without MT the side is all
    SEND(r, 0x66, 0, 7, 0, 17, 2, 18, 0x1b, 0xff);
    assert_result(r, 0x40, 0x80, 0, 8, 0, 1);
    g_assert_cmpuint(r->at, ==, 1024);
    tear_down(r);
}

static void test_channel_masked(void)
{
    Rig *r = set_up(SIZE_1440, false);
    r->masked = true;
    r->count = 512;
    SEND(r, 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    fixture_wait(&r->f);
    g_assert_false(r->f.irq[6]);
    g_assert_nonnull(r->ready);
    r->masked = false;
    r->ready(r->watcher);
    assert_result(r, 0, 0, 0, 0, 0, 2);
    assert_bytes(r->channel, 0, 512);
    g_assert_null(r->ready);
    tear_down(r);
}

static void test_read_errors(void)
{
    Rig *r = set_up(SIZE_1440, false);
    arm_channel(r, 512);
    SEND(r, 0xe6, 0, 80, 0, 1, 2, 18, 0x1b, 0xff); // cylinder
    assert_result(r, 0x40, 0x04, 0x10, 80, 0, 1);
    SEND(r, 0xe6, 0, 0, 0, 19, 2, 18, 0x1b, 0xff); // sector
    assert_result(r, 0x40, 0x04, 0, 0, 0, 19);
    SEND(r, 0xe6, 0, 0, 0, 0, 2, 18, 0x1b, 0xff);
    assert_result(r, 0x40, 0x04, 0, 0, 0, 0);
    SEND(r, 0xe6, 0, 0, 1, 1, 2, 18, 0x1b, 0xff); // side
    assert_result(r, 0x40, 0x04, 0, 0, 1, 1);
    SEND(r, 0xe6, 0, 0, 0, 1, 3, 18, 0x1b, 0xff); // size
    assert_result(r, 0x40, 0x04, 0, 0, 0, 1);
    out(r, 0x3f7, 2); // rate
    SEND(r, 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    assert_result(r, 0x40, 0x01, 0, 0, 0, 1);
    SEND(r, 0xe6, 1, 0, 0, 1, 2, 18, 0x1b, 0xff); // empty drive
    assert_result(r, 0x41, 0x01, 0, 0, 0, 1);
    out(r, 0x3f7, 0);
    arm_channel(r, 65536); // EOT that does not exist
    SEND(r, 0x66, 0, 0, 0, 17, 2, 255, 0x1b, 0xff);
    assert_result(r, 0x40, 0x04, 0, 0, 0, 19);
    SEND(r, 0xcc, 0, 0, 0, 1, 2, 18, 0x1b, 0xff); // deleted
    assert_result(r, 0x40, 0x04, 0, 0, 0, 1);
    tear_down(r);
}

static void read_back(Rig *r, uint64_t offset, uint8_t *data, size_t size)
{
    bus_unlock(r->f.host.bus);
    g_assert_cmpint(block_read_sync(r->disk, offset, data, size), ==, 0);
    bus_lock(r->f.host.bus);
}

static void test_write_dma(void)
{
    Rig *r = set_up(SIZE_1440, false);
    uint8_t back[1536];
    memset(r->channel, 0xc3, sizeof r->channel);
    arm_channel(r, 700);
    SEND(r, 0xc5, 0, 10, 0, 2, 2, 18, 0x1b, 0xff);
    assert_result(r, 0, 0, 0, 10, 0, 4);
    read_back(r, offset_of(10, 0, 2), back, sizeof back);
    g_assert_cmphex(back[699], ==, 0xc3);
    g_assert_cmphex(back[700], ==, 0); // the cut sector is filled up
    g_assert_cmphex(back[1023], ==, 0);
    assert_bytes(back + 1024, offset_of(10, 0, 4), 512);
    arm_channel(r, 36 * 512); // both sides
    SEND(r, 0xc5, 0, 11, 0, 1, 2, 18, 0x1b, 0xff);
    assert_result(r, 4, 0, 0, 12, 0, 1);
    read_back(r, offset_of(11, 1, 18), back, 512);
    g_assert_cmphex(back[511], ==, 0xc3);
    tear_down(r);
}

static void test_write_protected(void)
{
    Rig *r = set_up(SIZE_1440, true);
    arm_channel(r, 512);
    SEND(r, 0xc5, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    assert_result(r, 0x40, 0x02, 0, 0, 0, 1);
    SEND(r, 0x4d, 0, 2, 18, 0x54, 0xf6);
    assert_result(r, 0x40, 0x02, 0, 0, 0, 1);
    SEND(r, 0x04, 0);
    take(r, 1);
    g_assert_cmphex(r->result[0], ==, 0x78);
    tear_down(r);
}

static void test_pio(void)
{
    Rig *r = set_up(SIZE_1440, false);
    uint8_t back[512];
    SEND(r, 0x03, 0xaf, 0x03);
    SEND(r, 0x46, 0, 1, 0, 17, 2, 18, 0x1b, 0xff);
    fixture_wait(&r->f);
    for (unsigned i = 0; i < 1024; i++) {
        g_assert_true(r->f.irq[6]); // without the FIFO each byte asks
        g_assert_cmphex(in(r, 0x3f4), ==, 0xf0);
        g_assert_cmphex(in(r, 0x3f5), ==, fixture_byte(offset_of(1, 0, 17) + i));
    }
    assert_result(r, 0x40, 0x80, 0, 2, 0, 1);
    SEND(r, 0x13, 0, 0x07, 0); // FIFO on, eight bytes
    SEND(r, 0x45, 0, 3, 0, 18, 2, 18, 0x1b, 0xff);
    for (unsigned i = 0; i < 512; i++) {
        g_assert_cmphex(in(r, 0x3f4), ==, 0xb0);
        g_assert_true(r->f.irq[6] == (i % 8 == 0));
        out(r, 0x3f5, (uint8_t)(i * 5));
    }
    assert_result(r, 0x40, 0x80, 0, 4, 0, 1);
    read_back(r, offset_of(3, 0, 18), back, 512);
    for (unsigned i = 0; i < 512; i++)
        g_assert_cmphex(back[i], ==, (uint8_t)(i * 5));
    tear_down(r);
}

static void test_read_id(void)
{
    Rig *r = set_up(SIZE_1440, false);
    SEND(r, 0x0f, 0, 12);
    SEND(r, 0x4a, 4);
    assert_result(r, 4, 0, 0, 12, 1, 1);
    SEND(r, 0x4a, 4);
    assert_result(r, 4, 0, 0, 12, 1, 2);
    SEND(r, 0x4a, 1);
    assert_result(r, 0x41, 1, 0, 0, 0, 1);
    tear_down(r);
}

static void test_verify(void)
{
    Rig *r = set_up(SIZE_1440, false);
    SEND(r, 0xf6, 0x80, 2, 0, 17, 2, 18, 0x1b, 4);
    assert_result(r, 0, 0, 0, 2, 1, 3);
    SEND(r, 0x56, 0, 2, 0, 3, 2, 18, 0x1b, 0xff);
    assert_result(r, 0, 0, 0, 3, 0, 1);
    SEND(r, 0x56, 0x80, 2, 0, 3, 2, 18, 0x1b, 40);
    assert_result(r, 0x40, 4, 0, 2, 0, 3);
    tear_down(r);
}

static void put_ids(Rig *r, uint8_t cylinder, uint8_t head, uint8_t sectors)
{
    for (uint8_t i = 0; i < sectors; i++) {
        r->channel[i * 4] = cylinder;
        r->channel[i * 4 + 1] = head;
        r->channel[i * 4 + 2] = (uint8_t)(i * 5 % sectors + 1); // interleaved
        r->channel[i * 4 + 3] = 2;
    }
    arm_channel(r, sectors * 4);
}

static void test_format(void)
{
    Rig *r = set_up(SIZE_1440, false);
    uint8_t back[20 * 512];
    SEND(r, 0x0f, 0, 21);
    put_ids(r, 21, 1, 18);
    SEND(r, 0x4d, 4, 2, 18, 0x54, 0xf6);
    fixture_wait(&r->f);
    take(r, 7);
    g_assert_cmphex(r->result[0], ==, 4);
    read_back(r, offset_of(21, 0, 18), back, sizeof back);
    assert_bytes(back, offset_of(21, 0, 18), 512);
    for (unsigned i = 512; i < 19 * 512; i++)
        g_assert_cmphex(back[i], ==, 0xf6);
    assert_bytes(back + 19 * 512, offset_of(22, 0, 1), 512);
    put_ids(r, 20, 1, 18); // not where the head is
    SEND(r, 0x4d, 4, 2, 18, 0x54, 0xf6);
    assert_result(r, 0x44, 4, 0, 21, 1, 1);
    put_ids(r, 21, 1, 9); // not this diskette's format
    SEND(r, 0x4d, 4, 2, 9, 0x54, 0xf6);
    assert_result(r, 0x44, 4, 0, 21, 1, 1);
    tear_down(r);
}

static void test_sizes(void)
{
    static const struct {
        uint32_t size;
        uint8_t rate, type, cylinders, heads, sectors;
    } rows[] = {
        { 163840, 2, 1, 40, 1, 8 },   { 184320, 2, 1, 40, 1, 9 },   { 327680, 2, 1, 40, 2, 8 },
        { 368640, 1, 1, 40, 2, 9 },   { 737280, 2, 3, 80, 2, 9 },   { 1228800, 0, 2, 80, 2, 15 },
        { SIZE_1440, 0, 4, 80, 2, 18 }, { 1720320, 0, 4, 80, 2, 21 }, { 2949120, 3, 5, 80, 2, 36 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_cmpuint(fdc_drive_type(rows[i].size), ==, rows[i].type);
        Rig *r = set_up(rows[i].size, false);
        out(r, 0x3f7, rows[i].rate);
        uint8_t head = (uint8_t)(rows[i].heads - 1), last = (uint8_t)(rows[i].cylinders - 1);
        arm_channel(r, 512);
        SEND(r, 0xe6, (uint8_t)(head << 2), last, head, rows[i].sectors, 2, rows[i].sectors, 27,
             255);
        fixture_wait(&r->f);
        take(r, 7);
        g_assert_cmphex(r->result[0] & 0xc0, ==, 0);
        assert_bytes(r->channel, rows[i].size - 512, 512);
        tear_down(r);
    }
    g_assert_cmpuint(fdc_drive_type(1000000), ==, 0);
    g_assert_cmpuint(fdc_drive_type(0), ==, 0);
    g_assert_cmpuint(fdc_drive_type(2949120 + 512), ==, 0);
}

// An image that ends within a track: zeros follow, writes there fail.
static void test_cut_image(void)
{
    Rig *r = set_up(100 * 512, false);
    g_assert_cmpuint(fdc_drive_type(100 * 512), ==, 4);
    g_assert_cmpuint(fdc_drive_type(SIZE_1440 + 512), ==, 5);
    memset(r->channel, 1, sizeof r->channel);
    arm_channel(r, 18 * 512);
    SEND(r, 0xe6, 4, 2, 1, 1, 2, 18, 0x1b, 0xff); // sectors 90 to 107
    assert_result(r, 4, 0, 0, 3, 0, 1);
    assert_bytes(r->channel, 90 * 512, 10 * 512);
    for (unsigned i = 10 * 512; i < 18 * 512; i++)
        g_assert_cmphex(r->channel[i], ==, 0);
    arm_channel(r, 512);
    SEND(r, 0xe6, 0, 79, 0, 1, 2, 18, 0x1b, 0xff);
    assert_result(r, 0, 0, 0, 79, 0, 2);
    g_assert_cmphex(r->channel[511], ==, 0);
    arm_channel(r, 512);
    SEND(r, 0xc5, 0, 79, 0, 1, 2, 18, 0x1b, 0xff);
    assert_result(r, 0x40, 0x20, 0, 79, 0, 1);
    tear_down(r);
}

static void test_medium_change(void)
{
    Rig *r = set_up(SIZE_1440, false);
    BlockDevice *other = fixture_image(&r->f, 737280, false);
    BlockDevice *wrong = fixture_image(&r->f, 2949120 + 512, false);
    SEND(r, 0x07, 0);
    g_assert_cmphex(in(r, 0x3f7), ==, 0);
    g_assert_true(fdc_82077_set_medium(r->fdc, 0, other));
    g_assert_cmphex(in(r, 0x3f7), ==, 0x80);
    g_assert_false(fdc_82077_set_medium(r->fdc, 0, wrong));
    SEND(r, 0x4a, 0);
    assert_result(r, 0x40, 1, 0, 0, 0, 1); // another rate now
    out(r, 0x3f7, 2);
    SEND(r, 0x4a, 0);
    assert_result(r, 0, 0, 0, 0, 0, 1);
    SEND(r, 0x07, 0);
    g_assert_cmphex(in(r, 0x3f7), ==, 0);
    g_assert_true(fdc_82077_set_medium(r->fdc, 0, NULL));
    SEND(r, 0x07, 0);
    g_assert_cmphex(in(r, 0x3f7), ==, 0x80); // stays while empty
    tear_down(r);
}

static void test_reset_while_busy(void)
{
    Rig *r = set_up(SIZE_1440, false);
    arm_channel(r, 512);
    SEND(r, 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    out(r, 0x3f2, 0x08);
    out(r, 0x3f2, 0x0c);
    g_assert_cmphex(in(r, 0x3f4), ==, 0); // the request is still under way
    g_assert_false(r->f.irq[6]);
    fixture_wait(&r->f);
    g_assert_true(r->f.irq[6]);
    g_assert_cmphex(in(r, 0x3f4), ==, 0x80);
    g_assert_cmpuint(r->at, ==, 0);
    SEND(r, 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    fdc_82077_ops.reset(r->fdc, RESET_WARM);
    out(r, 0x3f5, 0x10); // dropped
    fixture_wait(&r->f);
    g_assert_cmphex(in(r, 0x3f4), ==, 0x80);
    SEND(r, 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    fdc_82077_ops.destroy(r->fdc);
    fixture_wait(&r->f);
    fixture_tear_down(&r->f);
    g_free(r);
}

// CVE-2015-3456: commands whose parameters a guest does not stop to send.
static void test_venom(void)
{
    Rig *r = set_up(SIZE_1440, false);
    for (unsigned code = 0; code < 256; code++) {
        for (unsigned fill = 0; fill < 3; fill++) {
            arm_channel(r, 512);
            out(r, 0x3f2, 0x08);
            out(r, 0x3f2, 0x0c);
            out(r, 0x3f5, (uint8_t)code);
            for (unsigned i = 0; i < 20000; i++)
                out(r, 0x3f5, fill == 2 ? (uint8_t)(i * 7) : fill == 1 ? 0xff : 0x00);
            fixture_wait(&r->f);
            for (unsigned i = 0; i < 20000; i++)
                in(r, 0x3f5);
            fixture_wait(&r->f);
        }
    }
    out(r, 0x3f2, 0x08);
    out(r, 0x3f2, 0x0c);
    SEND(r, 0x10);
    take(r, 1);
    g_assert_cmphex(r->result[0], ==, 0x90);
    tear_down(r);
}

static void test_state(void)
{
    Rig *r = set_up(SIZE_1440, false);
    SEND(r, 0x03, 0xaf, 0x03);
    SEND(r, 0x46, 0, 1, 0, 18, 2, 18, 0x1b, 0xff);
    fixture_wait(&r->f);
    for (unsigned i = 0; i < 100; i++)
        in(r, 0x3f5);
    fixture_check_state(&r->f, &fdc_82077_ops, r->fdc);
    g_assert_cmphex(in(r, 0x3f5), ==, fixture_byte(offset_of(1, 0, 18) + 100));
    tear_down(r);
}

static void test_state_busy(void)
{
    Rig *r = set_up(SIZE_1440, false);
    g_autoptr(GError) error = NULL;
    arm_channel(r, 512);
    SEND(r, 0xe6, 0, 4, 0, 1, 2, 18, 0x1b, 0xff);
    g_autoptr(GBytes) record = state_save(fdc_82077_ops.state, r->fdc);
    fixture_wait(&r->f);
    fdc_82077_ops.reset(r->fdc, RESET_COLD);
    memset(r->channel, 0, 512);
    arm_channel(r, 512);
    g_assert_true(state_load(fdc_82077_ops.state, r->fdc, record, &error));
    assert_result(r, 0, 0, 0, 4, 0, 2);
    assert_bytes(r->channel, offset_of(4, 0, 1), 512);
    tear_down(r);
}

static void test_state_hostile(void)
{
    Rig *r = set_up(SIZE_1440, false);
    arm_channel(r, 512);
    SEND(r, 0x03, 0xaf, 0x03);
    SEND(r, 0x46, 0, 1, 0, 18, 2, 18, 0x1b, 0xff);
    g_autoptr(GBytes) busy = state_save(fdc_82077_ops.state, r->fdc);
    fixture_wait(&r->f);
    gsize size;
    const uint8_t *bytes = g_bytes_get_data(busy, &size);
    g_autofree uint8_t *broken = g_memdup2(bytes, size);
    for (gsize i = 0; i < 1200; i++) {
        broken[i] ^= (uint8_t)(0x81 + i);
        g_autoptr(GBytes) record = g_bytes_new_static(broken, size);
        if (state_load(fdc_82077_ops.state, r->fdc, record, NULL)) {
            for (unsigned step = 0; step < 2000; step++) {
                if (step % 500 == 0)
                    fixture_wait(&r->f);
                out(r, 0x3f5, (uint8_t)step);
                in(r, 0x3f5);
            }
        }
        fixture_wait(&r->f);
        fdc_82077_ops.reset(r->fdc, RESET_COLD);
        broken[i] = bytes[i];
    }
    tear_down(r);
}

static void test_refused_config(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    fixture_set_up(&f);
    Fdc82077Config config = { .drives = { { true, fixture_image(&f, 4 << 20, false) } } };
    g_assert_null(fdc_82077_ops.create(&config, &f.host, &error));
    g_assert_nonnull(strstr(error->message, "not a diskette"));
    fixture_tear_down(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fdc-82077/reset", test_reset);
    g_test_add_func("/fdc-82077/dma-gate", test_dma_gate);
    g_test_add_func("/fdc-82077/version-and-registers", test_version_and_registers);
    g_test_add_func("/fdc-82077/seek", test_seek);
    g_test_add_func("/fdc-82077/read/dma", test_read_dma);
    g_test_add_func("/fdc-82077/read/multitrack", test_read_multitrack);
    g_test_add_func("/fdc-82077/read/channel-masked", test_channel_masked);
    g_test_add_func("/fdc-82077/read/errors", test_read_errors);
    g_test_add_func("/fdc-82077/write/dma", test_write_dma);
    g_test_add_func("/fdc-82077/write/protected", test_write_protected);
    g_test_add_func("/fdc-82077/pio", test_pio);
    g_test_add_func("/fdc-82077/read-id", test_read_id);
    g_test_add_func("/fdc-82077/verify", test_verify);
    g_test_add_func("/fdc-82077/format", test_format);
    g_test_add_func("/fdc-82077/sizes", test_sizes);
    g_test_add_func("/fdc-82077/cut-image", test_cut_image);
    g_test_add_func("/fdc-82077/medium-change", test_medium_change);
    g_test_add_func("/fdc-82077/reset-while-busy", test_reset_while_busy);
    g_test_add_func("/fdc-82077/venom", test_venom);
    g_test_add_func("/fdc-82077/state/mid-transfer", test_state);
    g_test_add_func("/fdc-82077/state/busy", test_state_busy);
    g_test_add_func("/fdc-82077/state/hostile", test_state_hostile);
    g_test_add_func("/fdc-82077/refused-config", test_refused_config);
    return g_test_run();
}
