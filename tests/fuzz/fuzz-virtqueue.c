// SPDX-License-Identifier: GPL-2.0-or-later
// The virtio devices behind live queues: the input writes rings, descriptors and request headers,
// notifies, completes disk requests, lets frames arrive. fuzz-device.c reaches the same devices by
// their registers, but seldom gets through feature negotiation; here that is done before the input
// begins. A mode of it changes what each read of guest memory sees, as a second CPU would.
#include "engine/base/bytes.h"
#include "engine/devices/virtio/virtio-blk.h"
#include "engine/devices/virtio/virtio-console.h"
#include "engine/devices/virtio/virtio-net.h"
#include "engine/devices/virtio/virtio-rng.h"
#include "tests/unit/engine/devices/virtio/fake-block.h"
#include "tests/unit/engine/devices/virtio/virtio-rig.h"

#define QUEUES_MAX 10
#define RINGS      0x100000u
#define DATA       0x10000u // headers and buffers: 64 KiB of them

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    Rig rig;
    RigRing rings[QUEUES_MAX];
    unsigned queues;
    uint64_t features;
    BlockDevice *disk;
    NetFrontend frontend;
    CharBackend ports[2];
    CharFrontend port_frontends[2];
    ByteReader input;
    bool torn; // reads of guest memory change
} World;

static void net_send(void *opaque, const uint8_t *frame, size_t size)
{
    // Every byte that leaves must be there.
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + frame[i]);
}

static void net_attach(void *opaque, const NetFrontend *frontend)
{
    if (frontend)
        ((World *)opaque)->frontend = *frontend;
}

static void net_room(void *opaque)
{
}

static size_t port_write(void *opaque, const uint8_t *data, size_t size)
{
    return size / 2;
}

static void port0_attach(void *opaque, const CharFrontend *frontend)
{
    if (frontend)
        ((World *)opaque)->port_frontends[0] = *frontend;
}

static void port1_attach(void *opaque, const CharFrontend *frontend)
{
    if (frontend)
        ((World *)opaque)->port_frontends[1] = *frontend;
}

static void fill(void *opaque, uint64_t gpa, void *buffer, size_t size)
{
    World *w = opaque;
    if (w->torn && size <= 16 && byte_reader_u8(&w->input) < 32)
        ((uint8_t *)buffer)[byte_reader_u8(&w->input) % size] ^= byte_reader_u8(&w->input);
}

static void start(World *w)
{
    rig_negotiate(&w->rig, w->features);
    for (unsigned i = 0; i < w->queues; i++)
        rig_ring_start(&w->rig, &w->rings[i], i, RINGS + i * 0x10000);
    rig_driver_ok(&w->rig);
}

static void add_device(World *w, uint8_t kind)
{
    VirtioBlkConfig blk = { .devfn = RIG_DEVFN, .block = w->disk, .serial = "fuzz" };
    VirtioNetConfig net = { .devfn = RIG_DEVFN, .backend = { net_send, net_attach, net_room, w } };
    VirtioRngConfig rng = { .devfn = RIG_DEVFN };
    VirtioConsoleConfig console = { .devfn = RIG_DEVFN, .port_count = 2, .console_mask = 1,
                                    .ports = { { NULL, &w->ports[0] }, { "p", &w->ports[1] } } };
    switch (kind & 3) {
    case 0:
        rig_add(&w->rig, &virtio_blk_ops, &blk);
        w->queues = 1;
        break;
    case 1:
        rig_add(&w->rig, &virtio_net_ops, &net);
        w->queues = 3;
        break;
    case 2:
        rig_add(&w->rig, &virtio_rng_ops, &rng);
        w->queues = 1;
        break;
    default:
        rig_add(&w->rig, &virtio_console_ops, &console);
        w->queues = 6;
        break;
    }
    rig_probe(&w->rig);
    // Without some of the features at times: event index, indirect tables.
    w->features = rig_offered(&w->rig) & ~((uint64_t)(kind >> 2 & 3) << 28);
}

// An address within the data, the rings or nowhere.
static uint64_t address(World *w)
{
    uint16_t low = byte_reader_le16(&w->input);
    switch (byte_reader_u8(&w->input) & 15) {
    case 0:
        return byte_reader_le64(&w->input);
    case 1:
        return RIG_RAM_SIZE - (low & 63);
    case 2:
        return RINGS + low;
    default:
        return DATA + low;
    }
}

static void write_descriptor(World *w, RigRing *ring)
{
    uint8_t index = byte_reader_u8(&w->input), flags = byte_reader_u8(&w->input);
    uint64_t table = flags & 0x80 ? DATA + (flags & 0x70) * 16u : ring->descriptors;
    uint32_t length = flags & 8 ? byte_reader_le32(&w->input) : byte_reader_u8(&w->input);
    rig_descriptor(&w->rig, table, index % 32u, address(w), length, flags & 7,
                   byte_reader_u8(&w->input) % (flags & 0x10 ? 256 : 32));
}

static void offer(World *w, RigRing *ring, uint16_t head)
{
    uint8_t *available = w->rig.ram + ring->available;
    le16_write(available + 4 + 2 * (ring->available_index % ring->size), head);
    le16_write(available + 2, ++ring->available_index);
}

static void arrive(World *w)
{
    uint8_t frame[2048] = { 0 };
    size_t size = byte_reader_le16(&w->input) % sizeof frame;
    for (size_t i = 0; i < 64; i++)
        frame[i] = byte_reader_u8(&w->input);
    if (w->frontend.receive && w->frontend.can_receive(w->frontend.opaque))
        w->frontend.receive(w->frontend.opaque, frame, size);
    CharFrontend *port = &w->port_frontends[size & 1];
    if (port->receive && port->can_receive(port->opaque))
        port->receive(port->opaque, frame, size % 200);
    if (w->frontend.link_changed)
        w->frontend.link_changed(w->frontend.opaque, size & 1);
}

static void step(World *w)
{
    uint8_t kind = byte_reader_u8(&w->input);
    RigRing *ring = &w->rings[(kind >> 4) % w->queues];
    switch (kind & 15) {
    case 0 ... 3:
        write_descriptor(w, ring);
        break;
    case 4:
    case 5:
        offer(w, ring, byte_reader_u8(&w->input) % (kind & 1 ? 32 : 256));
        break;
    case 6:
        le16_write(w->rig.ram + ring->available + 2, byte_reader_le16(&w->input));
        break;
    case 7:
    case 8:
        rig_write(&w->rig, w->rig.notify + ring->queue * w->rig.notify_multiplier, 2, ring->queue);
        break;
    case 9:
    case 10: {
        uint8_t *at = w->rig.ram + DATA + byte_reader_le16(&w->input);
        for (unsigned i = 0; i < 16; i++)
            at[i] = byte_reader_u8(&w->input);
        break;
    }
    case 11:
        fake_block_complete(w->disk);
        break;
    case 12:
        arrive(w);
        break;
    case 13:
        clock_advance(w->rig.clock, byte_reader_le32(&w->input));
        break;
    case 14:
        w->torn = kind >> 4 & 1;
        break;
    default:
        w->torn = false;
        rig_write(&w->rig, w->rig.common + 20, 1, 0);
        fake_block_complete_all(w->disk);
        start(w);
        break;
    }
}

// Every input runs on the same board with a fresh device; making a board takes longer than a run.
static World *make_world(void)
{
    World *w = g_new0(World, 1);
    rig_init(&w->rig);
    w->disk = g_new0(BlockDevice, 1);
    w->ports[0] = (CharBackend){ .write = port_write, .attach = port0_attach, .opaque = w };
    w->ports[1] = (CharBackend){ .write = port_write, .attach = port1_attach, .opaque = w };
    return w;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static World *w;
    if (!w)
        w = make_world();
    w->input = byte_reader(data, size);
    w->frontend = (NetFrontend){ 0 };
    memset(w->port_frontends, 0, sizeof w->port_frontends);
    memset(w->rig.ram + DATA, 0, 0x10010);
    add_device(w, byte_reader_u8(&w->input));
    start(w);
    // With the hook in place nothing is mapped straight; half of the inputs do without it.
    if (byte_reader_u8(&w->input) & 1)
        guest_memory_set_fuzz_read(w->rig.memory, fill, w);
    for (unsigned i = 0; i < 2000 && !w->input.overrun; i++)
        step(w);
    w->torn = false;
    fake_block_complete_all(w->disk);
    guest_memory_set_fuzz_read(w->rig.memory, NULL, NULL);
    w->rig.ops->destroy(w->rig.device);
    w->rig.ops = NULL;
    return 0;
}
