// SPDX-License-Identifier: GPL-2.0-or-later
// virtio block device, following VIRTIO 1.2, section 5.2: read, write, flush, discard, write zeroes
// and get-id on one request queue.
//
// A request's data goes straight between guest memory and the block layer where every segment is
// one piece of RAM; else, and for every read of a legacy driver, through a bounce buffer: a legacy
// driver does not wait for its reset to complete, so a late read must not find guest memory. With a
// modern driver, the reset completes when direct reads have.
#include "engine/devices/virtio/virtio-blk.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "engine/base/guest-log.h"
#include "engine/devices/virtio/virtio-pci.h"

#include <errno.h>
#include <gio/gio.h>

enum {
    SECTOR_SIZE = 512,
    QUEUE_SIZE = 128,
    SEGMENTS_MAX = QUEUE_SIZE - 2,
    SERIAL_SIZE = 20,
    HEADER_SIZE = 16, // type, reserved, sector
    RANGE_SIZE = 16,  // sector, count, flags: one range of discard and write zeroes
    BOUNCE_MAX = 32 * 1024 * 1024,
    DISCARD_SECTORS_MAX = 0x3fffff, // just under 2 GiB
    ZERO_PIECE = 64 * 1024,         // one buffer of zeroes, repeated in the vector
    ZERO_PIECES_MAX = 512,
    ZERO_SECTORS_MAX = ZERO_PIECE / SECTOR_SIZE * ZERO_PIECES_MAX,
    IOV_LIMIT = 1024, // what one preadv takes
};

// Feature bits (5.2.3).
enum {
    BLK_F_SEG_MAX = 2,
    BLK_F_RO = 5,
    BLK_F_BLK_SIZE = 6,
    BLK_F_FLUSH = 9,
    BLK_F_DISCARD = 13,
    BLK_F_WRITE_ZEROES = 14,
};

// Request types and status (5.2.6).
enum {
    BLK_T_IN = 0,
    BLK_T_OUT = 1,
    BLK_T_FLUSH = 4,
    BLK_T_GET_ID = 8,
    BLK_T_DISCARD = 11,
    BLK_T_WRITE_ZEROES = 13,
    BLK_S_OK = 0,
    BLK_S_IOERR = 1,
    BLK_S_UNSUPP = 2,
};

// Offsets in the configuration space (5.2.4).
enum {
    CONFIG_CAPACITY = 0,
    CONFIG_SEG_MAX = 12,
    CONFIG_BLK_SIZE = 20,
    CONFIG_MAX_DISCARD_SECTORS = 36,
    CONFIG_MAX_DISCARD_SEG = 40,
    CONFIG_DISCARD_ALIGNMENT = 44,
    CONFIG_MAX_ZEROES_SECTORS = 48,
    CONFIG_MAX_ZEROES_SEG = 52,
    CONFIG_ZEROES_MAY_UNMAP = 56,
    CONFIG_SIZE = 60,
};

typedef struct VirtioBlk VirtioBlk;

struct VirtioBlk {
    VirtioPci transport;
    BlockDevice *block;
    GuestMemory *memory;
    uint64_t sectors;
    char serial[SERIAL_SIZE];
    uint8_t *zeroes;        // ZERO_PIECE bytes
    unsigned in_flight;
    unsigned direct_reads;  // of those, into guest memory
    bool stalled;           // chains were left because too many requests were in flight
    GQueue requests;        // of Request, in flight
};

typedef struct {
    BlockRequest block;
    VirtioBlk *blk; // NULL: the device is gone
    GList link;
    uint32_t epoch;
    uint16_t head;
    uint32_t type;
    uint64_t status_address; // guest-physical, of the status byte
    bool direct;             // a read into guest memory
    bool flush_after;        // the driver counts on write-through
    uint32_t written;        // bytes of data that a successful read wrote
    unsigned segment_count;
    VirtSegment *segments; // the data, copied
    struct iovec *iov;
    uint8_t *bounce;
} Request;

static void request_free(Request *r)
{
    g_free(r->segments);
    g_free(r->iov);
    g_free(r->bounce);
    g_free(r);
}

static void answer(VirtioBlk *blk, uint16_t head, uint64_t status_address, uint8_t status,
                   uint32_t written)
{
    guest_memory_write(blk->memory, status_address, &status, 1);
    virtqueue_push(&blk->transport.queues[0], head, written + 1);
    virtio_pci_notify(&blk->transport, 0);
}

static void deliver_read(VirtioBlk *blk, Request *r)
{
    if (!r->direct) {
        virt_segments_write(blk->memory, r->segments, r->segment_count, 0, r->bounce,
                            r->block.length);
        return;
    }
    for (unsigned i = 0; i < r->segment_count; i++)
        guest_memory_written(blk->memory, r->segments[i].address, r->segments[i].length);
}

// Makes it a write of as many zeros.
static void fill_with_zeroes(VirtioBlk *blk, Request *r)
{
    unsigned pieces = (unsigned)((r->block.length + ZERO_PIECE - 1) / ZERO_PIECE);
    r->iov = g_new(struct iovec, pieces);
    for (unsigned i = 0; i < pieces; i++) {
        uint64_t left = r->block.length - (uint64_t)i * ZERO_PIECE;
        r->iov[i] = (struct iovec){ blk->zeroes, MIN(left, ZERO_PIECE) };
    }
    r->block.operation = BLOCK_WRITE;
    r->block.iov = r->iov;
    r->block.iov_count = (int)pieces;
}

static void request_complete(BlockRequest *block_request, int result)
{
    Request *r = block_request->opaque;
    VirtioBlk *blk = r->blk;
    if (!blk) {
        request_free(r);
        return;
    }
    if (result == -EOPNOTSUPP && r->block.operation == BLOCK_WRITE_ZEROES) {
        fill_with_zeroes(blk, r);
        block_submit(blk->block, &r->block);
        return;
    }
    if (result == 0 && r->flush_after) {
        r->flush_after = false;
        r->block.operation = BLOCK_FLUSH;
        r->block.length = 0;
        block_submit(blk->block, &r->block);
        return;
    }
    g_queue_unlink(&blk->requests, &r->link);
    blk->in_flight--;
    if (r->direct)
        blk->direct_reads--;
    if (r->epoch == virtio_pci_epoch(&blk->transport)) {
        if (result == 0 && r->type == BLK_T_IN)
            deliver_read(blk, r);
        answer(blk, r->head, r->status_address, result ? BLK_S_IOERR : BLK_S_OK,
               result ? 0 : r->written);
        if (blk->stalled)
            virtio_pci_resume(&blk->transport, 0);
        blk->stalled = false;
    }
    request_free(r);
}

static void submit(VirtioBlk *blk, Request *r, BlockOperation operation)
{
    r->blk = blk;
    r->epoch = virtio_pci_epoch(&blk->transport);
    r->link.data = r;
    r->block.operation = operation;
    r->block.complete = request_complete;
    r->block.opaque = r;
    g_queue_push_tail_link(&blk->requests, &r->link);
    blk->in_flight++;
    if (r->direct)
        blk->direct_reads++;
    block_submit(blk->block, &r->block);
}

// Host pointers for every segment, or false where one is not a single piece of RAM.
static bool map_segments(VirtioBlk *blk, Request *r, bool for_write)
{
    if (r->segment_count > IOV_LIMIT)
        return false;
    r->iov = g_new(struct iovec, MAX(r->segment_count, 1));
    for (unsigned i = 0; i < r->segment_count; i++) {
        const VirtSegment *s = &r->segments[i];
        void *host = guest_memory_host(blk->memory, s->address, s->length, for_write);
        if (!host) {
            g_clear_pointer(&r->iov, g_free);
            return false;
        }
        r->iov[i] = (struct iovec){ host, s->length };
    }
    r->block.iov_count = (int)r->segment_count;
    return true;
}

static bool make_bounce(VirtioBlk *blk, Request *r, uint64_t size)
{
    if (size > BOUNCE_MAX) {
        guest_log_once(virtio_blk_ops.name, "request-size", "%" G_GUINT64_FORMAT " bytes in pieces",
                       size);
        return false;
    }
    r->bounce = g_malloc(MAX(size, 1));
    r->iov = g_new(struct iovec, 1);
    r->iov[0] = (struct iovec){ r->bounce, size };
    r->block.iov_count = 1;
    return true;
}

// Reads and writes. Returns the status to answer at once, or -1 where the request is on its way.
static int transfer(VirtioBlk *blk, Request *r, uint64_t sector, uint64_t size)
{
    bool write = r->type == BLK_T_OUT;
    if (size % SECTOR_SIZE || !range_within(sector, size / SECTOR_SIZE, blk->sectors) ||
        (write && block_read_only(blk->block)))
        return BLK_S_IOERR;
    if (!size)
        return BLK_S_OK;
    bool may_map = write || virtio_pci_has(&blk->transport, VIRTIO_F_VERSION_1);
    if (may_map && map_segments(blk, r, !write)) {
        r->direct = !write;
    } else {
        if (!make_bounce(blk, r, size))
            return BLK_S_IOERR;
        if (write)
            virt_segments_read(blk->memory, r->segments, r->segment_count, 0, r->bounce, size);
    }
    r->block.iov = r->iov;
    r->block.offset = sector * SECTOR_SIZE;
    r->block.length = size;
    r->written = write || size > UINT32_MAX - 1 ? 0 : (uint32_t)size;
    // 5.2.6.2: without FLUSH the driver takes a finished write for a stable one.
    r->flush_after = write && !virtio_pci_has(&blk->transport, BLK_F_FLUSH);
    submit(blk, r, write ? BLOCK_WRITE : BLOCK_READ);
    return -1;
}

// One range of discard or write zeroes (5.2.6.1).
static int clear_range(VirtioBlk *blk, Request *r, const uint8_t *range)
{
    uint64_t sector = le64_read(range);
    uint32_t count = le32_read(range + 8), flags = le32_read(range + 12);
    bool zeroes = r->type == BLK_T_WRITE_ZEROES;
    if (flags & ~(zeroes ? 1u : 0u))
        return BLK_S_UNSUPP;
    if (count > (zeroes ? ZERO_SECTORS_MAX : DISCARD_SECTORS_MAX) ||
        !range_within(sector, count, blk->sectors) || block_read_only(blk->block))
        return BLK_S_IOERR;
    if (!count)
        return BLK_S_OK;
    r->block.offset = sector * SECTOR_SIZE;
    r->block.length = (uint64_t)count * SECTOR_SIZE;
    if (!zeroes) {
        submit(blk, r, BLOCK_DISCARD);
        return -1;
    }
    r->flush_after = !virtio_pci_has(&blk->transport, BLK_F_FLUSH);
    // Without the flag `unmap` (5.2.6.2) the sectors' room must stay theirs.
    if (!(flags & 1))
        fill_with_zeroes(blk, r);
    submit(blk, r, flags & 1 ? BLOCK_WRITE_ZEROES : BLOCK_WRITE);
    return -1;
}

static int get_id(VirtioBlk *blk, Request *r, uint64_t size)
{
    size_t room = MIN(size, SERIAL_SIZE);
    virt_segments_write(blk->memory, r->segments, r->segment_count, 0, blk->serial, room);
    r->written = (uint32_t)room;
    return BLK_S_OK;
}

static int start_request(VirtioBlk *blk, Request *r, const VirtChain *chain, uint64_t sector,
                         uint64_t in_size)
{
    Virtqueue *queue = &blk->transport.queues[0];
    uint8_t range[RANGE_SIZE];
    if (!blk->block && r->type != BLK_T_GET_ID)
        return BLK_S_IOERR;
    switch (r->type) {
    case BLK_T_IN:
        return transfer(blk, r, sector, in_size);
    case BLK_T_OUT:
        return transfer(blk, r, sector, chain->out_size - HEADER_SIZE);
    case BLK_T_FLUSH:
        submit(blk, r, BLOCK_FLUSH);
        return -1;
    case BLK_T_GET_ID:
        return get_id(blk, r, in_size);
    case BLK_T_DISCARD:
    case BLK_T_WRITE_ZEROES:
        // Exactly one range: max_discard_seg and max_write_zeroes_seg are 1.
        if (chain->out_size != HEADER_SIZE + RANGE_SIZE)
            return BLK_S_UNSUPP;
        virtqueue_read(queue, chain, HEADER_SIZE, range, sizeof range);
        return clear_range(blk, r, range);
    default:
        return BLK_S_UNSUPP;
    }
}

// Copies the segments that hold [offset, offset + size) of a chain's out or in part.
static void copy_segments(Request *r, const VirtSegment *from, unsigned count, uint64_t offset,
                          uint64_t size)
{
    r->segments = g_new(VirtSegment, MAX(count, 1));
    for (unsigned i = 0; i < count && size; i++) {
        if (offset >= from[i].length) {
            offset -= from[i].length;
            continue;
        }
        uint64_t length = MIN(from[i].length - offset, size);
        r->segments[r->segment_count++] =
            (VirtSegment){ from[i].address + offset, (uint32_t)length };
        size -= length;
        offset = 0;
    }
}

static void handle_chain(VirtioBlk *blk, const VirtChain *chain)
{
    Virtqueue *queue = &blk->transport.queues[0];
    uint8_t header[HEADER_SIZE];
    const VirtSegment *in = chain->segments + chain->out_count;
    if (chain->out_size < HEADER_SIZE || !chain->in_size) {
        guest_log_once(virtio_blk_ops.name, "request-form", "no header or no status byte");
        virtqueue_push(queue, chain->head, 0);
        virtio_pci_notify(&blk->transport, 0);
        return;
    }
    virtqueue_read(queue, chain, 0, header, sizeof header);
    Request *r = g_new0(Request, 1);
    r->type = le32_read(header);
    r->head = chain->head;
    // The status is the last byte that the device may write.
    const VirtSegment *last = &in[chain->in_count - 1];
    r->status_address = last->address + last->length - 1;
    uint64_t in_size = chain->in_size - 1;
    if (r->type == BLK_T_OUT)
        copy_segments(r, chain->segments, chain->out_count, HEADER_SIZE,
                      chain->out_size - HEADER_SIZE);
    else
        copy_segments(r, in, chain->in_count, 0, in_size);
    int status = start_request(blk, r, chain, le64_read(header + 8), in_size);
    if (status < 0)
        return;
    answer(blk, r->head, r->status_address, (uint8_t)status, status ? 0 : r->written);
    request_free(r);
}

static bool queue_notify(void *device, unsigned queue)
{
    VirtioBlk *blk = device;
    VirtChain chain;
    // A driver has at most QUEUE_SIZE chains out; one that forges more waits for completions.
    for (unsigned handled = 0; handled < QUEUE_SIZE; handled++) {
        if (blk->in_flight >= QUEUE_SIZE) {
            blk->stalled = true;
            return false;
        }
        if (!virtqueue_pop(&blk->transport.queues[queue], &chain))
            return false;
        handle_chain(blk, &chain);
    }
    return true;
}

static void driver_reset(void *device)
{
    // Requests in flight carry the old epoch and end without touching a queue.
}

static bool busy(void *device)
{
    VirtioBlk *blk = device;
    return blk->direct_reads > 0;
}

static const VirtioClass class = {
    .name = "virtio-blk",
    .device_id = 2,
    .transitional_id = 0x1001,
    .pci_class = 0x010000,
    .config_size = CONFIG_SIZE,
    .reset = driver_reset,
    .busy = busy,
    .queue_notify = queue_notify,
};

static void virtio_blk_destroy(void *device)
{
    VirtioBlk *blk = device;
    if (!blk)
        return;
    for (GList *l = blk->requests.head, *next; l; l = next) {
        next = l->next;
        ((Request *)l->data)->blk = NULL;
    }
    virtio_pci_clear(&blk->transport);
    g_free(blk->zeroes);
    g_free(blk);
}

static void fill_config(VirtioBlk *blk)
{
    uint8_t *c = blk->transport.config;
    le64_write(c + CONFIG_CAPACITY, blk->sectors);
    le32_write(c + CONFIG_SEG_MAX, SEGMENTS_MAX);
    le32_write(c + CONFIG_BLK_SIZE, SECTOR_SIZE);
    le32_write(c + CONFIG_MAX_DISCARD_SECTORS, DISCARD_SECTORS_MAX);
    le32_write(c + CONFIG_MAX_DISCARD_SEG, 1);
    le32_write(c + CONFIG_DISCARD_ALIGNMENT, 1);
    le32_write(c + CONFIG_MAX_ZEROES_SECTORS, ZERO_SECTORS_MAX);
    le32_write(c + CONFIG_MAX_ZEROES_SEG, 1);
    c[CONFIG_ZEROES_MAY_UNMAP] = 1;
}

static void *virtio_blk_create(const void *config, const DeviceHost *host, GError **error)
{
    const VirtioBlkConfig *c = config;
    static const uint16_t sizes[] = { QUEUE_SIZE };
    VirtioBlk *blk = g_new0(VirtioBlk, 1);
    uint64_t features = VIRTIO_FEATURE(BLK_F_SEG_MAX) | VIRTIO_FEATURE(BLK_F_BLK_SIZE) |
                        VIRTIO_FEATURE(BLK_F_FLUSH);
    if (c->block && block_read_only(c->block))
        features |= VIRTIO_FEATURE(BLK_F_RO);
    else
        features |= VIRTIO_FEATURE(BLK_F_DISCARD) | VIRTIO_FEATURE(BLK_F_WRITE_ZEROES);
    VirtioPciConfig pci = { .devfn = c->devfn, .modern_only = c->modern_only, .features = features,
                            .queue_count = 1, .queue_sizes = sizes, .rom = c->rom,
                            .rom_size = c->rom_size };
    g_queue_init(&blk->requests);
    blk->block = c->block;
    blk->memory = host->memory;
    blk->sectors = c->block ? block_size(c->block) / SECTOR_SIZE : 0;
    blk->zeroes = g_malloc0(ZERO_PIECE);
    if (c->serial)
        memcpy(blk->serial, c->serial, MIN(strlen(c->serial), SERIAL_SIZE));
    if (!virtio_pci_init(&blk->transport, &class, &pci, blk, host, error)) {
        g_free(blk->zeroes);
        g_free(blk);
        return NULL;
    }
    fill_config(blk);
    return blk;
}

static void virtio_blk_reset(void *device, ResetKind kind)
{
    VirtioBlk *blk = device;
    virtio_pci_machine_reset(&blk->transport);
}

static gboolean virtio_blk_post_load(void *object, GError **error)
{
    VirtioBlk *blk = object;
    // The capacity is the disk's, whatever the record says.
    fill_config(blk);
    return virtio_pci_post_load(&blk->transport, error);
}

static const StateField virtio_blk_fields[] = {
    VIRTIO_PCI_STATE_FIELDS(VirtioBlk, transport, 1),
    VIRTIO_PCI_QUEUE_FIELD(VirtioBlk, transport, 0),
};

static const StateTable virtio_blk_state = {
    "virtio-blk", 1, virtio_blk_fields, G_N_ELEMENTS(virtio_blk_fields), virtio_blk_post_load, NULL,
};

const DeviceOps virtio_blk_ops = {
    .name = "virtio-blk",
    .spec = "VIRTIO 1.2, section 5.2",
    .create = virtio_blk_create,
    .reset = virtio_blk_reset,
    .state = &virtio_blk_state,
    .destroy = virtio_blk_destroy,
};
