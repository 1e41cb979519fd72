// SPDX-License-Identifier: GPL-2.0-or-later
// The 82540EM's receiver: filters (SDM 3.2.1, 9.3), descriptors (3.2.3), checksum results (3.2.9)
// and the receive delay timers (3.2.7). The packet checksum field is left 0.
#include "engine/devices/network/e1000-private.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"

#include <stdatomic.h>

enum {
    DELAY_UNIT_NS = 1024, // RDTR, RADV
    FRAME_STANDARD = 1518, // with FCS
    FRAME_LONG = 16384,
    FCS_SIZE = 4,
    VLAN_TAG_SIZE = 4,
    STATUS_DD = 1 << 0,
    STATUS_EOP = 1 << 1,
    STATUS_IXSM = 1 << 2,
    STATUS_VP = 1 << 3,
    STATUS_TCPCS = 1 << 5,
    STATUS_IPCS = 1 << 6,
    STATUS_PIF = 1 << 7,
    ADDRESS_VALID_SHIFT = 31,
};

// What is to be stored of a frame.
typedef struct {
    const uint8_t *data; // frame and FCS
    size_t size;
    uint8_t status;
    uint16_t vlan_tag;
} Arrival;

// CRC-32 of IEEE 802.3, 3.2.9, four bits at a time.
static uint32_t frame_check(const uint8_t *data, size_t size)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t buffer_size(const E1000 *e)
{
    uint32_t rctl = e1000_reg(e, R_RCTL), code = rctl >> RCTL_BSIZE_SHIFT & 3;
    // 13.4.22: 2048 halved, or with BSEX 16384 halved (code 0 is reserved there).
    if (rctl & RCTL_BSEX)
        return code ? 32768u >> code : 2048;
    return 2048u >> code;
}

// Descriptors that the driver offers; 0 where head or tail lies outside the ring.
static uint32_t descriptors_free(const E1000 *e)
{
    uint32_t count = e1000_reg(e, R_RDLEN) / E1000_DESCRIPTOR_SIZE;
    uint32_t head = e1000_reg(e, R_RDH), tail = e1000_reg(e, R_RDT);
    if (head >= count || tail >= count)
        return 0;
    return tail >= head ? tail - head : tail + count - head;
}

// Whether the receiver listens; a card that does not loses frames, it does not hold them back.
static bool listening(const E1000 *e)
{
    return (e1000_reg(e, R_RCTL) & RCTL_EN) && pci_bus_master(&e->pci);
}

bool e1000_can_receive(void *opaque)
{
    E1000 *e = opaque;
    bool can = !listening(e) ||
               (uint64_t)descriptors_free(e) * buffer_size(e) >= FRAME_STANDARD + VLAN_TAG_SIZE;
    e->wants_room = !can;
    return can;
}

// Bit of the multicast table that an address hashes to (13.5.1).
static bool in_multicast_table(const E1000 *e, const uint8_t *to)
{
    static const uint8_t shifts[] = { 4, 3, 2, 0 };
    unsigned shift = shifts[e1000_reg(e, R_RCTL) >> RCTL_MO_SHIFT & 3];
    unsigned hash = (unsigned)(to[5] << 8 | to[4]) >> shift & 0xfff;
    return e->multicast[hash >> 5] >> (hash & 31) & 1;
}

static bool exact_match(const E1000 *e, const uint8_t *to)
{
    for (unsigned i = 0; i < E1000_RECEIVE_ADDRESSES; i++) {
        uint32_t low = e->receive_address[i * 2], high = e->receive_address[i * 2 + 1];
        if (high >> ADDRESS_VALID_SHIFT && low == le32_read(to) &&
            (high & 0xffff) == le16_read(to + 4))
            return true;
    }
    return false;
}

static bool is_tagged(const E1000 *e, const uint8_t *frame, size_t size)
{
    return size >= 18 && be16_read(frame + 12) == e1000_reg(e, R_VET);
}

// *ret_inexact: only the hash let it in.
static bool wanted(const E1000 *e, const uint8_t *frame, size_t size, bool *ret_inexact)
{
    uint32_t rctl = e1000_reg(e, R_RCTL);
    *ret_inexact = false;
    if ((rctl & RCTL_VFE) && is_tagged(e, frame, size)) {
        unsigned id = be16_read(frame + 14) & 0xfff;
        if (!(e->vlan_filter[id >> 5] >> (id & 31) & 1))
            return false;
    }
    if (exact_match(e, frame))
        return true;
    if (!(frame[0] & 1))
        return rctl & RCTL_UPE;
    if (le32_read(frame) == UINT32_MAX && le16_read(frame + 4) == 0xffff && (rctl & RCTL_BAM))
        return true;
    if (rctl & RCTL_MPE)
        return true;
    *ret_inexact = in_multicast_table(e, frame);
    return *ret_inexact;
}

// Status bits of the checksums (3.2.9): only what was found right is claimed.
static uint8_t checksum_status(const E1000 *e, const uint8_t *frame, size_t size)
{
    uint32_t control = e1000_reg(e, R_RXCSUM);
    uint8_t status = 0;
    bool ipv4 = size >= 34 && be16_read(frame + 12) == 0x0800 && frame[14] >> 4 == 4;
    size_t header = ipv4 ? (size_t)(frame[14] & 15) * 4 : 0;
    if ((control & RXCSUM_IPOFL) && header >= 20 && 14 + header <= size &&
        !net_sum_finish(net_sum(0, frame + 14, header)))
        status |= STATUS_IPCS;
    if ((control & RXCSUM_TUOFL) && net_checksum_valid(frame, size))
        status |= STATUS_TCPCS;
    return status ? status : STATUS_IXSM;
}

static void write_descriptor(E1000 *e, uint64_t address, const Arrival *a, size_t length, bool last)
{
    uint8_t d[8] = { 0 };
    uint8_t status = STATUS_DD | (last ? STATUS_EOP | a->status : 0);
    le16_write(d, (uint16_t)length);
    if (last)
        le16_write(d + 6, a->vlan_tag);
    guest_memory_write(e->memory, address + 8, d, sizeof d);
    // The driver polls the status byte: it comes last.
    atomic_thread_fence(memory_order_release);
    guest_memory_write(e->memory, address + 12, &status, 1);
}

// Spreads an arrival over the ring; the caller knows that there is room.
static void store(E1000 *e, const Arrival *a)
{
    uint64_t base = (uint64_t)e1000_reg(e, R_RDBAH) << 32 | e1000_reg(e, R_RDBAL);
    uint32_t count = e1000_reg(e, R_RDLEN) / E1000_DESCRIPTOR_SIZE;
    uint32_t head = e1000_reg(e, R_RDH), room = buffer_size(e);
    for (size_t done = 0; done < a->size;) {
        uint64_t address = base + (uint64_t)head * E1000_DESCRIPTOR_SIZE;
        uint8_t pointer[8];
        size_t piece = MIN(a->size - done, room);
        guest_memory_read(e->memory, address, pointer, sizeof pointer);
        // A null pointer marks a descriptor that the driver does not use (3.2.3): skipped.
        if (le64_read(pointer))
            guest_memory_write(e->memory, le64_read(pointer), a->data + done, piece);
        done += piece;
        write_descriptor(e, address, a, piece, done == a->size);
        head = head + 1 == count ? 0 : head + 1;
    }
    e->registers[R_RDH] = head;
}

// RXT0 at once, or RDTR after the last packet; with RADV, at the earlier of both after the first,
// so that an interrupt never comes later than on the chip.
static void report(E1000 *e)
{
    uint32_t relative = e1000_reg(e, R_RDTR), absolute = e1000_reg(e, R_RADV);
    uint32_t total = e1000_reg(e, R_RDLEN) / E1000_DESCRIPTOR_SIZE;
    // RXDMT0: half, a quarter or an eighth of the ring is left.
    uint32_t threshold = total >> (1 + (e1000_reg(e, R_RCTL) >> RCTL_RDMTS_SHIFT & 3));
    if (descriptors_free(e) <= threshold)
        e1000_raise(e, ICR_RXDMT0);
    if (!relative) {
        e1000_raise(e, ICR_RXT0);
        return;
    }
    int64_t now = clock_now(e->clock);
    int64_t deadline = now + relative * (int64_t)DELAY_UNIT_NS;
    if (timer_deadline(e->receive_delay) < 0) {
        int64_t limit = absolute ? now + absolute * (int64_t)DELAY_UNIT_NS : INT64_MAX;
        timer_arm(e->receive_delay, MIN(deadline, limit));
    } else if (!absolute) {
        timer_arm(e->receive_delay, deadline);
    }
}

void e1000_receive(void *opaque, const uint8_t *frame, size_t size)
{
    E1000 *e = opaque;
    uint8_t copy[FRAME_LONG + FCS_SIZE];
    bool inexact;
    if (!listening(e) || size < 14)
        return;
    bool tagged = is_tagged(e, frame, size);
    size_t limit = e1000_reg(e, R_RCTL) & RCTL_LPE
                       ? FRAME_LONG
                       : FRAME_STANDARD + (tagged ? VLAN_TAG_SIZE : 0);
    if (size + FCS_SIZE > limit) {
        e1000_stat_add(e, STAT_ROC, 1);
        return;
    }
    if (!wanted(e, frame, size, &inexact))
        return;
    Arrival a = { .data = copy, .status = inexact ? STATUS_PIF : 0 };
    a.status |= checksum_status(e, frame, size);
    if (tagged && (e1000_reg(e, R_CTRL) & CTRL_VME)) {
        a.status |= STATUS_VP;
        a.vlan_tag = be16_read(frame + 14);
        memcpy(copy, frame, 12);
        memcpy(copy + 12, frame + 12 + VLAN_TAG_SIZE, size - 12 - VLAN_TAG_SIZE);
        a.size = size - VLAN_TAG_SIZE;
    } else {
        memcpy(copy, frame, size);
        a.size = size;
    }
    if (a.size < E1000_FRAME_MIN) {
        memset(copy + a.size, 0, E1000_FRAME_MIN - a.size);
        a.size = E1000_FRAME_MIN;
    }
    e1000_count(e, false, copy, a.size + FCS_SIZE);
    if (!(e1000_reg(e, R_RCTL) & RCTL_SECRC)) {
        le32_write(copy + a.size, frame_check(copy, a.size));
        a.size += FCS_SIZE;
    }
    uint64_t needed = (a.size + buffer_size(e) - 1) / buffer_size(e);
    if (descriptors_free(e) < needed) {
        e1000_stat_add(e, STAT_MPC, 1);
        e1000_stat_add(e, STAT_RNBC, 1);
        e1000_raise(e, ICR_RXO);
        return;
    }
    store(e, &a);
    report(e);
}
