// SPDX-License-Identifier: GPL-2.0-or-later
// The 82540EM's transmitter: legacy, context and data descriptors (SDM 3.3), checksum insertion
// (3.5) and TCP segmentation (3.5), VLAN tags (9.3).
//
// A guest owns the ring, its head and its tail. A turn takes a bounded number of descriptors and
// goes on from a timer, so that neither a ring of 65536 descriptors nor one that never ends holds
// the machine's lock; a tail outside the ring stops the transmitter instead of looping.
#include "engine/devices/network/e1000-private.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"

#include <stdatomic.h>

enum {
    DESCRIPTORS_PER_TURN = 256,
    DELAY_UNIT_NS = 1024, // TIDV, TADV
    COMMAND_EOP = 1 << 0,
    COMMAND_IC = 1 << 2, // legacy
    COMMAND_TSE = 1 << 2, // context and data
    COMMAND_RS = 1 << 3,
    COMMAND_RPS = 1 << 4,
    COMMAND_DEXT = 1 << 5,
    COMMAND_VLE = 1 << 6,
    COMMAND_IDE = 1 << 7,
    TYPE_CONTEXT = 0,
    TYPE_DATA = 1,
    OPTION_IXSM = 1 << 0,
    OPTION_TXSM = 1 << 1,
    CONTEXT_TCP = 1 << 0,
    OFFSET_COMMAND = 11,
    OFFSET_STATUS = 12,
    STATUS_DD = 1 << 0,
    LOOPBACK_MAC = 3,
    VLAN_TAG_SIZE = 4,
};

void e1000_transmit_reset(E1000 *e)
{
    e->packet = (E1000Packet){ 0 };
    e->checksum_context = e->segment_context = (E1000Context){ 0 };
    timer_cancel(e->transmit_delay);
    timer_cancel(e->transmit_resume);
}

// One frame leaves: tag, padding, statistics, and the wire or the way back.
static void send_frame(void *opaque, const uint8_t *frame, size_t size)
{
    E1000 *e = opaque;
    bool tagged = e->packet.vlan && size >= 12;
    memcpy(e->wire, frame, MIN(size, 12));
    if (tagged) {
        be16_write(e->wire + 12, (uint16_t)e1000_reg(e, R_VET));
        be16_write(e->wire + 14, e->packet.vlan_tag);
    }
    if (size > 12)
        memcpy(e->wire + 12 + (tagged ? VLAN_TAG_SIZE : 0), frame + 12, size - 12);
    size += tagged ? VLAN_TAG_SIZE : 0;
    if (size < E1000_FRAME_MIN) {
        memset(e->wire + size, 0, E1000_FRAME_MIN - size);
        size = E1000_FRAME_MIN;
    }
    e1000_count(e, true, e->wire, size + 4);
    if ((e1000_reg(e, R_RCTL) >> RCTL_LBM_SHIFT & 3) == LOOPBACK_MAC || e1000_phy_loopback(e))
        e1000_receive(e, e->wire, size);
    else if (e1000_link_up(e) && e->backend.send && size <= NET_FRAME_MAX)
        e->backend.send(e->backend.opaque, e->wire, size);
}

static void segment_packet(E1000 *e)
{
    const E1000Context *c = &e->segment_context;
    NetTcpLayout layout = { c->ip_start, c->tcp_start, c->header_length };
    e1000_stat_add(e, STAT_TSCTC, 1);
    if (!(c->command & CONTEXT_TCP) ||
        !net_segment_tcp(e->frame, e->packet.size, &layout, c->mss, e->segment, send_frame, e)) {
        guest_log_once(e->pci.name, "segmentation", "headers %u %u %u, mss %u, %u bytes",
                       c->ip_start, c->tcp_start, c->header_length, c->mss, e->packet.size);
        e1000_stat_add(e, STAT_TSCTFC, 1);
    }
}

// Inserts one checksum; a range outside the packet leaves it as it is, as the chip does.
static void insert_sum(E1000 *e, size_t start, size_t end, size_t field, bool udp)
{
    size_t size = e->packet.size;
    if (!net_checksum_insert(e->frame, size, start, end && end < size ? end + 1 : size, field, udp))
        guest_log_once(e->pci.name, "checksum", "bytes %zu to %zu, field %zu of %zu", start, end,
                       field, size);
}

static void finish_packet(E1000 *e)
{
    const E1000Packet *p = &e->packet;
    const E1000Context *c = &e->checksum_context;
    if (p->dropped || p->size < 14) {
        guest_log_once(e->pci.name, "transmit-size", "%u bytes", p->size);
        return;
    }
    if (p->extended && p->segment) {
        segment_packet(e);
        return;
    }
    if (p->extended && (p->options & OPTION_IXSM))
        insert_sum(e, c->ip_start, c->ip_end, c->ip_offset, false);
    if (p->extended && (p->options & OPTION_TXSM))
        insert_sum(e, c->tcp_start, c->tcp_end, c->tcp_offset, !(c->command & CONTEXT_TCP));
    if (!p->extended && p->legacy_sum)
        insert_sum(e, p->sum_start, 0, p->sum_offset, false);
    send_frame(e, e->frame, p->size);
}

static void take_context(E1000 *e, const uint8_t *d)
{
    E1000Context context = {
        .ip_start = d[0], .ip_offset = d[1], .ip_end = le16_read(d + 2),
        .tcp_start = d[4], .tcp_offset = d[5], .tcp_end = le16_read(d + 6),
        .command = d[OFFSET_COMMAND], .header_length = d[13], .mss = le16_read(d + 14),
    };
    if (context.command & COMMAND_TSE)
        e->segment_context = context;
    else
        e->checksum_context = context;
}

static void take_data(E1000 *e, const uint8_t *d, bool extended)
{
    E1000Packet *p = &e->packet;
    uint8_t command = d[OFFSET_COMMAND];
    uint32_t length = extended ? le32_read(d + 8) & 0xfffff : le16_read(d + 8);
    if (!p->started) {
        *p = (E1000Packet){ .started = 1, .extended = extended };
        p->options = extended ? d[13] : 0;
        p->segment = extended && (command & COMMAND_TSE);
    }
    if (!extended && (command & COMMAND_IC)) {
        p->legacy_sum = 1;
        p->sum_offset = d[10];
        p->sum_start = d[13];
    }
    if ((command & COMMAND_VLE) && (e1000_reg(e, R_CTRL) & CTRL_VME)) {
        p->vlan = 1;
        p->vlan_tag = le16_read(d + 14);
    }
    if (length > NET_FRAME_MAX - p->size) {
        p->dropped = 1;
    } else if (!p->dropped) {
        guest_memory_read(e->memory, le64_read(d), e->frame + p->size, length);
        p->size += length;
    }
    if (command & COMMAND_EOP) {
        finish_packet(e);
        *p = (E1000Packet){ 0 };
    }
}

static void take_descriptor(E1000 *e, uint64_t address, bool *ret_report, bool *ret_delay)
{
    uint8_t d[E1000_DESCRIPTOR_SIZE];
    guest_memory_read(e->memory, address, d, sizeof d);
    uint8_t command = d[OFFSET_COMMAND];
    bool extended = command & COMMAND_DEXT;
    if (extended && (le32_read(d + 8) >> 20 & 15) == TYPE_CONTEXT)
        take_context(e, d);
    else
        take_data(e, d, extended);
    if (!(command & (COMMAND_RS | COMMAND_RPS)))
        return;
    uint8_t status = d[OFFSET_STATUS] | STATUS_DD;
    atomic_thread_fence(memory_order_release);
    guest_memory_write(e->memory, address + OFFSET_STATUS, &status, 1);
    *ret_report = true;
    *ret_delay &= (command & COMMAND_IDE) != 0;
}

// TXDW at once, or after TIDV (restarted by each packet, at most TADV after the first).
static void report(E1000 *e, bool delay)
{
    int64_t now = clock_now(e->clock);
    uint32_t relative = e1000_reg(e, R_TIDV), absolute = e1000_reg(e, R_TADV);
    if (!delay || !relative) {
        timer_cancel(e->transmit_delay);
        e1000_raise(e, ICR_TXDW);
        return;
    }
    // While one is pending its deadline stands: it is never later than TADV would have it.
    if (timer_deadline(e->transmit_delay) < 0)
        timer_arm(e->transmit_delay,
                  now + (absolute ? MIN(relative, absolute) : relative) * (int64_t)DELAY_UNIT_NS);
}

void e1000_transmit(E1000 *e)
{
    uint32_t count = e1000_reg(e, R_TDLEN) / E1000_DESCRIPTOR_SIZE;
    uint32_t head = e1000_reg(e, R_TDH), tail = e1000_reg(e, R_TDT);
    uint64_t base = (uint64_t)e1000_reg(e, R_TDBAH) << 32 | e1000_reg(e, R_TDBAL);
    bool reported = false, delay = true;
    if (!(e1000_reg(e, R_TCTL) & TCTL_EN) || !pci_bus_master(&e->pci) || head == tail)
        return;
    if (tail >= count || head >= count) {
        guest_log_once(e->pci.name, "transmit-ring", "head %u, tail %u of %u", head, tail, count);
        return;
    }
    for (unsigned i = 0; i < DESCRIPTORS_PER_TURN && head != tail; i++) {
        take_descriptor(e, base + (uint64_t)head * E1000_DESCRIPTOR_SIZE, &reported, &delay);
        head = head + 1 == count ? 0 : head + 1;
        e->registers[R_TDH] = head;
    }
    if (reported)
        report(e, delay);
    if (head == tail)
        e1000_raise(e, ICR_TXQE);
    else
        timer_arm(e->transmit_resume, clock_now(e->clock));
}
