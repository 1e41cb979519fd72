// SPDX-License-Identifier: GPL-2.0-or-later
// virtio-blk through its registers and ring, over a block layer whose completions the test owns.
#include "engine/devices/virtio/virtio-blk.h"

#include "engine/base/bytes.h"
#include "tests/unit/engine/devices/virtio/fake-block.h"
#include "tests/unit/engine/devices/virtio/virtio-rig.h"

enum {
    RING = 0x100000,
    HEADER = 0x10000,
    DATA = 0x20000,
    STATUS = 0x11000,
    T_IN = 0,
    T_OUT = 1,
    T_FLUSH = 4,
    T_GET_ID = 8,
    T_DISCARD = 11,
    T_WRITE_ZEROES = 13,
    F_RO = 5,
    F_FLUSH = 9,
    F_DISCARD = 13,
    F_WRITE_ZEROES = 14,
};

typedef struct {
    Rig rig;
    RigRing ring;
    BlockDevice *disk;
} Fixture;

static void setup_disk(Fixture *f, bool read_only)
{
    rig_init(&f->rig);
    f->disk = g_new0(BlockDevice, 1);
    f->disk->read_only = read_only;
    for (unsigned i = 0; i < FAKE_DISK_SIZE; i++)
        f->disk->data[i] = (uint8_t)(i / 512 + i);
    VirtioBlkConfig config = { .devfn = RIG_DEVFN, .block = f->disk,
                               .serial = "SERIAL-0123456789-AND-MORE" };
    rig_add(&f->rig, &virtio_blk_ops, &config);
    rig_probe(&f->rig);
}

static void start(Fixture *f, uint64_t features)
{
    rig_negotiate(&f->rig, features);
    rig_ring_start(&f->rig, &f->ring, 0, RING);
    rig_driver_ok(&f->rig);
}

static void setup(Fixture *f, gconstpointer data)
{
    setup_disk(f, false);
    start(f, 1u << F_FLUSH | 1u << F_DISCARD | 1u << F_WRITE_ZEROES);
}

static void setup_read_only(Fixture *f, gconstpointer data)
{
    setup_disk(f, true);
    start(f, 1u << F_RO | 1u << F_FLUSH);
}

static void setup_write_through(Fixture *f, gconstpointer data)
{
    setup_disk(f, false);
    start(f, 0);
}

static void setup_legacy(Fixture *f, gconstpointer data)
{
    setup_disk(f, false);
    Bus *bus = f->rig.bus;
    bus_port_write(bus, f->rig.ports + 18, 1, 0);
    bus_port_write(bus, f->rig.ports + 18, 1, 3);
    bus_port_write(bus, f->rig.ports + 4, 4, 1u << F_FLUSH);
    rig_ring_start_legacy(&f->rig, &f->ring, 0, RING);
    bus_port_write(bus, f->rig.ports + 18, 1, 7);
}

static void teardown(Fixture *f, gconstpointer data)
{
    fake_block_complete_all(f->disk);
    rig_clear(&f->rig);
    g_free(f->disk);
}

static void header(Fixture *f, uint32_t type, uint64_t sector)
{
    le32_write(f->rig.ram + HEADER, type);
    le32_write(f->rig.ram + HEADER + 4, 0);
    le64_write(f->rig.ram + HEADER + 8, sector);
    f->rig.ram[STATUS] = 0xee;
}

// One request with `size` bytes of data at DATA, in two segments where that is possible.
static void request(Fixture *f, uint32_t type, uint64_t sector, uint32_t size)
{
    bool out = type != T_IN && type != T_GET_ID;
    RigBuffer buffers[4] = { { HEADER, 16 } };
    unsigned count = 1;
    if (size > 8)
        buffers[count++] = (RigBuffer){ DATA, 8 };
    if (size)
        buffers[count++] = (RigBuffer){ DATA + (size > 8 ? 8 : 0), size > 8 ? size - 8 : size };
    buffers[count++] = (RigBuffer){ STATUS, 1 };
    header(f, type, sector);
    rig_ring_add(&f->ring, buffers, out ? count - 1 : 1, out ? 1 : count - 1);
    rig_ring_kick(&f->ring);
}

// The request must have ended with `status` and `written` bytes.
static void expect_done(Fixture *f, uint8_t status, uint32_t written)
{
    uint32_t head, length;
    g_assert_true(rig_ring_used(&f->ring, &head, &length));
    g_assert_cmpuint(f->rig.ram[STATUS], ==, status);
    g_assert_cmpuint(length, ==, written);
}

static void config_space(Fixture *f, gconstpointer data)
{
    g_assert_cmpuint(rig_read(&f->rig, f->rig.config, 4), ==, 64);
    g_assert_cmpuint(rig_read(&f->rig, f->rig.config + 4, 4), ==, 0);
    g_assert_cmpuint(rig_read(&f->rig, f->rig.config + 20, 4), ==, 512);
    rig_write(&f->rig, f->rig.config, 4, 1);
    g_assert_cmpuint(rig_read(&f->rig, f->rig.config, 4), ==, 64);
}

static void reads(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    request(f, T_IN, 3, 1024);
    g_assert_false(rig_ring_used(&f->ring, &head, &length));
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 1025);
    g_assert_cmpmem(f->rig.ram + DATA, 1024, f->disk->data + 3 * 512, 1024);
    g_assert_true(rig_intx(&f->rig));
}

static void writes(Fixture *f, gconstpointer data)
{
    memset(f->rig.ram + DATA, 0x5a, 512);
    request(f, T_OUT, 63, 512);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 1);
    g_assert_cmpmem(f->disk->data + 63 * 512, 512, f->rig.ram + DATA, 512);
    g_assert_cmpuint(f->disk->flushes, ==, 0);
}

// Without the flush feature a finished write is a stable write.
static void write_through(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    request(f, T_OUT, 0, 512);
    fake_block_complete(f->disk);
    g_assert_false(rig_ring_used(&f->ring, &head, &length));
    fake_block_complete(f->disk);
    g_assert_cmpuint(f->disk->flushes, ==, 1);
    expect_done(f, 0, 1);
}

static void flushes(Fixture *f, gconstpointer data)
{
    request(f, T_FLUSH, 0, 0);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 1);
    g_assert_cmpuint(f->disk->flushes, ==, 1);
}

static void range(Fixture *f, uint64_t sector, uint32_t count, uint32_t flags)
{
    le64_write(f->rig.ram + DATA, sector);
    le32_write(f->rig.ram + DATA + 8, count);
    le32_write(f->rig.ram + DATA + 12, flags);
}

static void discards(Fixture *f, gconstpointer data)
{
    range(f, 8, 4, 0);
    request(f, T_DISCARD, 0, 16);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 1);
    g_assert_cmpuint(f->disk->discards, ==, 1);
    g_assert_cmpuint(f->disk->data[8 * 512 + 1], ==, 0);
    range(f, 8, 4, 2); // an unknown flag
    request(f, T_DISCARD, 0, 16);
    expect_done(f, 2, 1);
    range(f, 62, 4, 0); // past the end
    request(f, T_DISCARD, 0, 16);
    expect_done(f, 1, 1);
    request(f, T_DISCARD, 0, 8); // half a range
    expect_done(f, 2, 1);
    g_assert_cmpuint(f->disk->discards, ==, 1);
}

static void expect_zeroes(Fixture *f, uint32_t flags, unsigned zeroings)
{
    for (unsigned i = 0; i < FAKE_DISK_SIZE; i++)
        f->disk->data[i] = (uint8_t)(i / 512);
    range(f, 10, 3, flags);
    request(f, T_WRITE_ZEROES, 0, 16);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 1);
    g_assert_cmpuint(f->disk->zeroings, ==, zeroings);
    for (unsigned i = 10 * 512; i < 13 * 512; i++)
        g_assert_cmpuint(f->disk->data[i], ==, 0);
    g_assert_cmpuint(f->disk->data[13 * 512], ==, 13);
}

// By giving up the sectors where that may and can be, else by writing.
static void writes_zeroes(Fixture *f, gconstpointer data)
{
    expect_zeroes(f, 1, 1);
    expect_zeroes(f, 0, 1);
    f->disk->cannot_zero = true;
    expect_zeroes(f, 1, 2);
}

static void gives_serial(Fixture *f, gconstpointer data)
{
    request(f, T_GET_ID, 0, 20);
    expect_done(f, 0, 21);
    g_assert_cmpmem(f->rig.ram + DATA, 20, "SERIAL-0123456789-AN", 20);
}

static void unknown_type(Fixture *f, gconstpointer data)
{
    request(f, 99, 0, 512);
    expect_done(f, 2, 1);
}

static void past_the_end(Fixture *f, gconstpointer data)
{
    static const uint64_t sectors[] = { 64, 63, UINT64_MAX, UINT64_MAX / 512 };
    for (unsigned i = 0; i < G_N_ELEMENTS(sectors); i++) {
        request(f, T_IN, sectors[i], 1024);
        expect_done(f, 1, 1);
    }
    g_assert_cmpuint(f->disk->pending.length, ==, 0);
}

static void part_of_a_sector(Fixture *f, gconstpointer data)
{
    request(f, T_IN, 0, 100);
    expect_done(f, 1, 1);
}

static void write_to_read_only(Fixture *f, gconstpointer data)
{
    request(f, T_OUT, 0, 512);
    expect_done(f, 1, 1);
    g_assert_cmpuint(f->disk->pending.length, ==, 0);
}

static void host_error(Fixture *f, gconstpointer data)
{
    f->disk->fail = EIO;
    request(f, T_IN, 0, 512);
    fake_block_complete_all(f->disk);
    expect_done(f, 1, 1);
}

static void no_status_byte(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    RigBuffer only = { HEADER, 16 };
    header(f, T_FLUSH, 0);
    rig_ring_add(&f->ring, &only, 1, 0);
    rig_ring_kick(&f->ring);
    g_assert_true(rig_ring_used(&f->ring, &head, &length));
    g_assert_cmpuint(length, ==, 0);
    request(f, T_FLUSH, 0, 0);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 1);
}

// Data that lies in no RAM: reads of nothing, and no crash.
static void data_outside_ram(Fixture *f, gconstpointer data)
{
    RigBuffer buffers[] = { { HEADER, 16 }, { UINT64_C(1) << 38, 512 }, { STATUS, 1 } };
    header(f, T_IN, 0);
    rig_ring_add(&f->ring, buffers, 1, 2);
    rig_ring_kick(&f->ring);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 513);
    header(f, T_OUT, 0);
    rig_ring_add(&f->ring, buffers, 2, 1);
    rig_ring_kick(&f->ring);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 1);
    g_assert_cmpuint(f->disk->data[0], ==, 0xff);
}

// A reset with a read in flight is complete only when the read is; it then changes no ring.
static void reset_waits_for_reads(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    request(f, T_IN, 0, 512);
    rig_write(rig, rig->common + 20, 1, 0);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), !=, 0);
    fake_block_complete_all(f->disk);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 0);
    g_assert_cmpuint(le16_read(rig->ram + f->ring.used + 2), ==, 0);
    g_assert_cmpuint(rig->ram[STATUS], ==, 0xee);
}

// An old driver does not wait; its late read must not find guest memory either.
static void legacy_reset_drops_reads(Fixture *f, gconstpointer data)
{
    Rig *rig = &f->rig;
    memset(rig->ram + DATA, 0x77, 512);
    request(f, T_IN, 1, 512);
    bus_port_write(rig->bus, rig->ports + 18, 1, 0);
    g_assert_cmpuint(bus_port_read(rig->bus, rig->ports + 18, 1), ==, 0);
    fake_block_complete_all(f->disk);
    g_assert_cmpuint(rig->ram[DATA], ==, 0x77);
    g_assert_cmpuint(rig->ram[STATUS], ==, 0xee);
}

static void legacy_reads(Fixture *f, gconstpointer data)
{
    request(f, T_IN, 2, 512);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 513);
    g_assert_cmpmem(f->rig.ram + DATA, 512, f->disk->data + 2 * 512, 512);
    g_assert_cmpuint(bus_port_read(f->rig.bus, f->rig.ports + 19, 1), ==, 1);
    g_assert_false(rig_intx(&f->rig));
    // Capacity at offset 20 without MSI-X.
    g_assert_cmpuint(bus_port_read(f->rig.bus, f->rig.ports + 20, 4), ==, 64);
}

// More chains than a driver may have: they are taken as others complete.
static void forged_flood(Fixture *f, gconstpointer data)
{
    uint32_t head, length;
    RigBuffer buffers[] = { { HEADER, 16 }, { STATUS, 1 } };
    unsigned done = 0;
    header(f, T_FLUSH, 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < f->ring.size; i++) {
            f->ring.next_descriptor = 0; // the same two descriptors each time
            rig_ring_add(&f->ring, buffers, 1, 1);
        }
        rig_ring_kick(&f->ring);
        clock_advance(f->rig.clock, 1);
        g_assert_cmpuint(f->disk->pending.length, <=, f->ring.size);
        fake_block_complete_all(f->disk);
        clock_advance(f->rig.clock, 1);
        fake_block_complete_all(f->disk);
        while (rig_ring_used(&f->ring, &head, &length))
            done++;
    }
    g_assert_cmpuint(done, ==, 3 * f->ring.size);
}

static void saved_state_round_trip(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    request(f, T_FLUSH, 0, 0);
    fake_block_complete_all(f->disk);
    g_autoptr(GBytes) first = state_save(virtio_blk_ops.state, f->rig.device);
    virtio_blk_ops.reset(f->rig.device, RESET_COLD);
    g_assert_true(state_load(virtio_blk_ops.state, f->rig.device, first, &error));
    g_assert_no_error(error);
    g_autoptr(GBytes) second = state_save(virtio_blk_ops.state, f->rig.device);
    g_assert_cmpmem(g_bytes_get_data(first, NULL), g_bytes_get_size(first),
                    g_bytes_get_data(second, NULL), g_bytes_get_size(second));
    // The driver goes on where it was.
    f->ring.used_seen = 1;
    request(f, T_IN, 5, 512);
    fake_block_complete_all(f->disk);
    expect_done(f, 0, 513);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, start, function)                                                                 \
    g_test_add("/virtio-blk/" path, Fixture, NULL, start, function, teardown)
    ADD("config-space", setup, config_space);
    ADD("read", setup, reads);
    ADD("write", setup, writes);
    ADD("write-through", setup_write_through, write_through);
    ADD("flush", setup, flushes);
    ADD("discard", setup, discards);
    ADD("write-zeroes", setup, writes_zeroes);
    ADD("serial", setup, gives_serial);
    ADD("unknown-type", setup, unknown_type);
    ADD("past-the-end", setup, past_the_end);
    ADD("part-of-a-sector", setup, part_of_a_sector);
    ADD("write-to-read-only", setup_read_only, write_to_read_only);
    ADD("host-error", setup, host_error);
    ADD("no-status-byte", setup, no_status_byte);
    ADD("data-outside-ram", setup, data_outside_ram);
    ADD("reset-waits-for-reads", setup, reset_waits_for_reads);
    ADD("legacy/reset-drops-reads", setup_legacy, legacy_reset_drops_reads);
    ADD("legacy/read", setup_legacy, legacy_reads);
    ADD("forged-flood", setup, forged_flood);
    ADD("saved-state", setup, saved_state_round_trip);
    return g_test_run();
}
