// SPDX-License-Identifier: GPL-2.0-or-later
// Intel 82540EM Gigabit Ethernet controller: registers, interrupts, statistics, life cycle. The
// transmitter, the receiver, the EEPROM and the PHY have files of their own. Not modelled: wake-up,
// the management interface, flow control frames, flash.
//
// Follows the PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual
// (317453, revision 4.0).
#include "engine/devices/network/e1000.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"
#include "engine/devices/network/e1000-private.h"

#include <gio/gio.h>

enum {
    MMIO_SIZE = 0x20000,
    PORTS_SIZE = 64,
    STATISTICS = 0x4000,
    MULTICAST = 0x5200,
    RECEIVE_ADDRESS = 0x5400,
    VLAN_FILTER = 0x5600,
    THROTTLE_UNIT_NS = 256, // ITR
    // STATUS (13.4.2).
    STATUS_FULL_DUPLEX = 1 << 0,
    STATUS_LINK_UP = 1 << 1,
    STATUS_GIGABIT = 2 << 6 | 2 << 8,
    IO_ADDRESS = 0,
    IO_DATA = 4,
};

static void update_interrupt(E1000 *e)
{
    bool pending = e->interrupt_cause & e1000_reg(e, R_IMS);
    int64_t now = clock_now(e->clock);
    if (!pending) {
        timer_cancel(e->interrupt_timer);
        pci_set_intx(&e->pci, false);
        return;
    }
    if (e->pci.intx_level)
        return;
    uint32_t throttle = e1000_reg(e, R_ITR);
    if (throttle && now < e->interrupt_allowed) {
        timer_arm(e->interrupt_timer, e->interrupt_allowed);
        return;
    }
    e->interrupt_allowed = now + throttle * (int64_t)THROTTLE_UNIT_NS;
    pci_set_intx(&e->pci, true);
}

void e1000_raise(E1000 *e, uint32_t causes)
{
    e->interrupt_cause |= causes & ICR_ALL;
    update_interrupt(e);
}

static void throttle_ended(void *opaque)
{
    update_interrupt(opaque);
}

static void transmit_delay_ended(void *opaque)
{
    e1000_raise(opaque, ICR_TXDW);
}

static void receive_delay_ended(void *opaque)
{
    e1000_raise(opaque, ICR_RXT0);
}

static void transmit_resumed(void *opaque)
{
    e1000_transmit(opaque);
}

static bool is_octets(unsigned offset)
{
    return offset == STAT_GORCL || offset == STAT_GOTCL || offset == STAT_TORL ||
           offset == STAT_TOTL;
}

void e1000_stat_add(E1000 *e, unsigned offset, uint64_t value)
{
    uint32_t *low = &e->statistics[offset / 4];
    if (is_octets(offset)) {
        uint64_t sum = ((uint64_t)low[1] << 32 | low[0]) + value;
        low[0] = (uint32_t)sum;
        low[1] = (uint32_t)(sum >> 32);
    } else {
        // Counters stick at their end (13.7).
        *low = value > UINT32_MAX - *low ? UINT32_MAX : *low + (uint32_t)value;
    }
}

void e1000_count(E1000 *e, bool transmitted, const uint8_t *frame, size_t size)
{
    static const uint16_t limits[] = { 64, 127, 255, 511, 1023 };
    unsigned class = 0;
    while (class < G_N_ELEMENTS(limits) && size > limits[class])
        class++;
    e1000_stat_add(e, (transmitted ? STAT_PTC64 : STAT_PRC64) + class * 4, 1);
    e1000_stat_add(e, transmitted ? STAT_TPT : STAT_TPR, 1);
    e1000_stat_add(e, transmitted ? STAT_GPTC : STAT_GPRC, 1);
    e1000_stat_add(e, transmitted ? STAT_TOTL : STAT_TORL, size);
    e1000_stat_add(e, transmitted ? STAT_GOTCL : STAT_GORCL, size);
    if (le32_read(frame) == UINT32_MAX && le16_read(frame + 4) == 0xffff)
        e1000_stat_add(e, transmitted ? STAT_BPTC : STAT_BPRC, 1);
    else if (frame[0] & 1)
        e1000_stat_add(e, transmitted ? STAT_MPTC : STAT_MPRC, 1);
}

// Reading clears; a 64-bit pair is cleared by its high half (13.7).
static uint32_t statistic_read(E1000 *e, unsigned index)
{
    uint32_t value = e->statistics[index];
    if (is_octets(index * 4))
        return value;
    if (index && is_octets(index * 4 - 4))
        e->statistics[index - 1] = 0;
    e->statistics[index] = 0;
    return value;
}

static void offer_room(E1000 *e)
{
    if (e->wants_room && e->backend.room && e1000_can_receive(e))
        e->backend.room(e->backend.opaque);
}

// What CTRL.RST and power-on share; the PHY and the PCI side are not touched (14.3).
static void reset_controller(E1000 *e);

static void ctrl_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    E1000 *e = device;
    if (written & CTRL_RST) {
        reset_controller(e);
        return;
    }
    if (written & CTRL_PHY_RST)
        e1000_phy_reset(e);
}

static void status_read(void *device, size_t row)
{
    E1000 *e = device;
    e->registers[row] = STATUS_FULL_DUPLEX | STATUS_GIGABIT |
                        (e1000_link_up(e) ? STATUS_LINK_UP : 0);
}

static void eecd_read(void *device, size_t row)
{
    E1000 *e = device;
    e->registers[row] = e1000_eeprom_eecd(e);
}

static void eecd_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    e1000_eeprom_pins(device, written);
}

static void eerd_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    E1000 *e = device;
    e->registers[row] = e1000_eeprom_read(e, written);
}

static void mdic_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    E1000 *e = device;
    e->registers[row] = e1000_phy_access(e, written);
}

static void icr_read(void *device, size_t row)
{
    E1000 *e = device;
    e->registers[row] = e->interrupt_cause;
    e->interrupt_cause = 0;
    update_interrupt(e);
}

static void icr_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    E1000 *e = device;
    e->interrupt_cause &= ~written;
    update_interrupt(e);
}

static void ics_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    e1000_raise(device, written);
}

static void ims_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    E1000 *e = device;
    e->registers[row] |= written & ICR_ALL;
    update_interrupt(e);
}

static void imc_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    E1000 *e = device;
    e->registers[R_IMS] &= ~written;
    update_interrupt(e);
}

static void rctl_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    offer_room(device);
}

static void rdt_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    offer_room(device);
}

// FPD (bit 31) reports what waits at once.
static void rdtr_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    E1000 *e = device;
    if (written >> 31 && timer_deadline(e->receive_delay) >= 0) {
        timer_cancel(e->receive_delay);
        e1000_raise(e, ICR_RXT0);
    }
}

static void tctl_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    e1000_transmit(device);
}

static void tdt_written(void *device, size_t row, uint32_t old, uint32_t written)
{
    e1000_transmit(device);
}

static const RegisterRow rows[] = {
#define E1000_ROW(name, offset, reset, writable, read_hook, write_hook, section)                   \
    { offset, 4, #name, reset, UINT32_MAX, writable, 0, read_hook, write_hook, section },
    E1000_REGISTERS(E1000_ROW)
};

static const RegisterTable table = { "e1000", rows, E1000_ROWS };

static void reset_controller(E1000 *e)
{
    register_reset(&table, e->registers);
    e->interrupt_cause = 0;
    e->interrupt_allowed = 0;
    memset(e->multicast, 0, sizeof e->multicast);
    memset(e->vlan_filter, 0, sizeof e->vlan_filter);
    memset(e->statistics, 0, sizeof e->statistics);
    memset(e->receive_address, 0, sizeof e->receive_address);
    e->microwire = (E1000Microwire){ .data_out = 1 };
    // The first address comes from the EEPROM (13.5.2).
    e->receive_address[0] = e->eeprom[0] | (uint32_t)e->eeprom[1] << 16;
    e->receive_address[1] = e->eeprom[2] | 1u << 31;
    e1000_transmit_reset(e);
    timer_cancel(e->receive_delay);
    update_interrupt(e);
}

// The element of one of the arrays at `offset`, or NULL.
static uint32_t *array_element(E1000 *e, uint64_t offset)
{
    if (offset >= MULTICAST && offset < MULTICAST + sizeof e->multicast)
        return &e->multicast[(offset - MULTICAST) / 4];
    if (offset >= RECEIVE_ADDRESS && offset < RECEIVE_ADDRESS + sizeof e->receive_address)
        return &e->receive_address[(offset - RECEIVE_ADDRESS) / 4];
    if (offset >= VLAN_FILTER && offset < VLAN_FILTER + sizeof e->vlan_filter)
        return &e->vlan_filter[(offset - VLAN_FILTER) / 4];
    return NULL;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    E1000 *e = opaque;
    unsigned shift = (offset & 3) * 8;
    uint32_t *element = array_element(e, offset);
    if (element)
        return *element >> shift;
    if (offset >= STATISTICS && offset < STATISTICS + sizeof e->statistics)
        return statistic_read(e, (unsigned)(offset - STATISTICS) / 4) >> shift;
    return register_read(&table, e->registers, e, offset, size);
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    E1000 *e = opaque;
    uint32_t *element = array_element(e, offset);
    if (element) {
        // The chip takes doublewords only (13.1).
        if (size == 4 && !(offset & 3))
            *element = (uint32_t)value;
        return;
    }
    if (offset >= STATISTICS && offset < STATISTICS + sizeof e->statistics)
        return; // read-only
    register_write(&table, e->registers, e, offset, size, value);
}

static const BusOps mmio_ops = { mmio_read, mmio_write, 4 };

// The registers through two ports, for drivers that cannot reach memory space (13.2.2).
static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    E1000 *e = opaque;
    if (offset == IO_ADDRESS && size == 4)
        return e->io_address;
    if (offset == IO_DATA && size == 4 && e->io_address < MMIO_SIZE)
        return mmio_read(e, e->io_address & ~3u, 4);
    return UINT32_MAX;
}

static void ports_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    E1000 *e = opaque;
    if (offset == IO_ADDRESS && size == 4)
        e->io_address = (uint32_t)value;
    else if (offset == IO_DATA && size == 4 && e->io_address < MMIO_SIZE)
        mmio_write(e, e->io_address & ~3u, 4, value);
}

static const BusOps ports_ops = { ports_read, ports_write, 4 };

// In the order of `deadlines`.
static void timers_of(const E1000 *e, Timer *ret[5])
{
    ret[0] = e->interrupt_timer;
    ret[1] = e->transmit_delay;
    ret[2] = e->receive_delay;
    ret[3] = e->transmit_resume;
    ret[4] = e->link_timer;
}

static void e1000_destroy(void *device)
{
    E1000 *e = device;
    Timer *timers[5];
    if (!e)
        return;
    if (e->backend.attach)
        e->backend.attach(e->backend.opaque, NULL);
    timers_of(e, timers);
    for (unsigned i = 0; i < G_N_ELEMENTS(timers); i++)
        timer_free(timers[i]);
    pci_remove(&e->pci);
    g_aligned_free(e->rom);
    g_free(e->frame);
    g_free(e->segment);
    g_free(e->wire);
    g_free(e);
}

// A ROM BAR is a power of two of pages; the image is padded with FFh.
static bool load_rom(E1000 *e, const E1000Config *c, PciBarConfig *bar, GError **error)
{
    uint32_t size = GUEST_PAGE_SIZE;
    if (!c->rom || !c->rom_size)
        return true;
    if (c->rom_size > 16 * 1024 * 1024) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "e1000: an option ROM of %zu bytes is too large (at most 16 MiB)",
                    c->rom_size);
        return false;
    }
    while (size < c->rom_size)
        size *= 2;
    e->rom = g_aligned_alloc(1, size, GUEST_PAGE_SIZE);
    memset(e->rom, 0xff, size);
    memcpy(e->rom, c->rom, c->rom_size);
    *bar = (PciBarConfig){ .kind = PCI_BAR_ROM, .size = size, .host = e->rom };
    return true;
}

static void *e1000_create(const void *config, const DeviceHost *host, GError **error)
{
    const E1000Config *c = config;
    PciConfig pci = {
        .name = "e1000",
        .devfn = c->devfn,
        .vendor = 0x8086,
        .device = 0x100e,
        .revision = 2,
        .subsystem_vendor = 0x8086,
        .subsystem = 0x001e, // PRO/1000 MT Desktop
        .class_code = 0x020000,
        .interrupt_pin = 1,
        .bars = { [0] = { .kind = PCI_BAR_MMIO, .size = MMIO_SIZE, .ops = &mmio_ops },
                  [1] = { .kind = PCI_BAR_PORTS, .size = PORTS_SIZE, .ops = &ports_ops } },
    };
    E1000 *e = g_new0(E1000, 1);
    if (!load_rom(e, c, &pci.bars[6], error) || !pci_add(host->pci, &e->pci, &pci, e, error)) {
        g_aligned_free(e->rom);
        g_free(e);
        return NULL;
    }
    e->memory = host->memory;
    e->clock = host->clock;
    e->backend = c->backend;
    e->frame = g_malloc0(NET_FRAME_MAX);
    e->segment = g_malloc(NET_FRAME_MAX);
    e->wire = g_malloc(NET_FRAME_MAX + 4);
    e->interrupt_timer = timer_new(host->clock, throttle_ended, e);
    e->transmit_delay = timer_new(host->clock, transmit_delay_ended, e);
    e->receive_delay = timer_new(host->clock, receive_delay_ended, e);
    e->transmit_resume = timer_new(host->clock, transmit_resumed, e);
    e->link_timer = timer_new(host->clock, e1000_phy_negotiated, e);
    e->cable = c->backend.send != NULL;
    e1000_eeprom_fill(e, c->mac);
    NetFrontend frontend = { e1000_can_receive, e1000_receive, e1000_link_changed, e };
    if (c->backend.attach)
        c->backend.attach(c->backend.opaque, &frontend);
    return e;
}

static void e1000_reset(void *device, ResetKind kind)
{
    E1000 *e = device;
    pci_reset(&e->pci);
    reset_controller(e);
    e->io_address = 0;
    e1000_phy_reset(e);
    // What the PHY's reset reported is not news to a machine that has just been reset.
    e->interrupt_cause = 0;
    update_interrupt(e);
}

static void e1000_pre_save(void *object)
{
    E1000 *e = object;
    Timer *timers[5];
    timers_of(e, timers);
    for (unsigned i = 0; i < G_N_ELEMENTS(timers); i++)
        e->deadlines[i] = timer_deadline(timers[i]);
}

static gboolean e1000_post_load(void *object, GError **error)
{
    E1000 *e = object;
    Timer *timers[5];
    if (e->packet.size > NET_FRAME_MAX || e->microwire.bits_out > 15) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "e1000: a packet of %u bytes is impossible", e->packet.size);
        return FALSE;
    }
    timers_of(e, timers);
    for (unsigned i = 0; i < G_N_ELEMENTS(timers); i++) {
        if (e->deadlines[i] >= 0)
            timer_arm(timers[i], e->deadlines[i]);
        else
            timer_cancel(timers[i]);
    }
    e->wants_room = true;
    pci_restore(&e->pci);
    return TRUE;
}

static const StateField e1000_fields[] = {
    PCI_STATE_FIELDS(E1000, pci),
    STATE_ARRAY(E1000, registers, STATE_U32),
    STATE_SCALAR(E1000, interrupt_cause, STATE_U32),
    STATE_ARRAY(E1000, multicast, STATE_U32),
    STATE_ARRAY(E1000, vlan_filter, STATE_U32),
    STATE_ARRAY(E1000, receive_address, STATE_U32),
    STATE_ARRAY(E1000, statistics, STATE_U32),
    STATE_SCALAR(E1000, io_address, STATE_U32),
    STATE_ARRAY(E1000, phy, STATE_U16),
    { "microwire", STATE_BYTES, offsetof(E1000, microwire), sizeof(E1000Microwire) },
    { "checksum_context", STATE_BYTES, offsetof(E1000, checksum_context), sizeof(E1000Context) },
    { "segment_context", STATE_BYTES, offsetof(E1000, segment_context), sizeof(E1000Context) },
    { "packet", STATE_BYTES, offsetof(E1000, packet), sizeof(E1000Packet) },
    STATE_POINTED_BYTES(E1000, frame, NET_FRAME_MAX),
    STATE_SCALAR(E1000, negotiating, STATE_BOOL),
    STATE_SCALAR(E1000, interrupt_allowed, STATE_U64),
    STATE_ARRAY(E1000, deadlines, STATE_U64),
};

static const StateTable e1000_state = {
    "e1000", 1, e1000_fields, G_N_ELEMENTS(e1000_fields), e1000_post_load, e1000_pre_save,
};

const DeviceOps e1000_ops = {
    .name = "e1000",
    .spec = "Intel 317453, revision 4.0",
    .create = e1000_create,
    .reset = e1000_reset,
    .state = &e1000_state,
    .destroy = e1000_destroy,
};
