// SPDX-License-Identifier: GPL-2.0-or-later
// The 82540EM's internal PHY (Marvell 88E1011S) as far as drivers look: IEEE 802.3 clause 22
// registers, a few of Marvell's, the MDI port (MDIC, SDM 13.4.7) and auto-negotiation, which takes
// half a second, as on a wire; drivers that see a link sooner than they expect one miss its event.
#include "engine/devices/network/e1000-private.h"

#include "engine/base/guest-log.h"

enum {
    MDIC_READY = 1 << 28,
    MDIC_INTERRUPT = 1 << 29,
    MDIC_ERROR = 1 << 30,
    MDIC_WRITE = 1,
    MDIC_READ = 2,
    PHY_ADDRESS = 1,
    NEGOTIATION_NS = 500 * 1000 * 1000,
};

// IEEE 802.3, clause 22.2.4, and Marvell's from 16.
enum {
    PHY_CONTROL = 0,
    PHY_STATUS = 1,
    PHY_ID1 = 2,
    PHY_ID2 = 3,
    PHY_ADVERTISE = 4,
    PHY_PARTNER = 5,
    PHY_EXPANSION = 6,
    PHY_GIGABIT_CONTROL = 9,
    PHY_GIGABIT_STATUS = 10,
    PHY_EXTENDED_STATUS = 15,
    PHY_M88_CONTROL = 16,
    PHY_M88_STATUS = 17,
    PHY_M88_INTERRUPT_ENABLE = 18,
    PHY_M88_EXTENDED_CONTROL = 20,
    CONTROL_RESTART = 1 << 9,
    CONTROL_POWER_DOWN = 1 << 11,
    CONTROL_NEGOTIATE = 1 << 12,
    CONTROL_LOOPBACK = 1 << 14,
    CONTROL_RESET = 1 << 15,
    STATUS_LINK = 1 << 2,
    STATUS_NEGOTIATED = 1 << 5,
    M88_LINK = 1 << 10,
    M88_RESOLVED = 1 << 11,
    M88_GIGABIT_FULL = 2 << 14 | 1 << 13,
};

bool e1000_link_up(const E1000 *e)
{
    return e->cable && !e->negotiating && !(e->phy[PHY_CONTROL] & CONTROL_POWER_DOWN);
}

bool e1000_phy_loopback(const E1000 *e)
{
    return e->phy[PHY_CONTROL] & CONTROL_LOOPBACK;
}

// Shows the link in the PHY's registers, and tells the driver where it changed.
static void update_link(E1000 *e)
{
    bool up = e1000_link_up(e), was = e->phy[PHY_STATUS] & STATUS_LINK;
    e->phy[PHY_STATUS] &= (uint16_t)~(STATUS_LINK | STATUS_NEGOTIATED);
    e->phy[PHY_M88_STATUS] = 0;
    e->phy[PHY_PARTNER] = 0;
    e->phy[PHY_GIGABIT_STATUS] = 0;
    if (up) {
        e->phy[PHY_STATUS] |= STATUS_LINK | STATUS_NEGOTIATED;
        e->phy[PHY_M88_STATUS] = M88_GIGABIT_FULL | M88_RESOLVED | M88_LINK;
        e->phy[PHY_PARTNER] = 0x45e1;        // 10 and 100 Mb/s, pause, acknowledged
        e->phy[PHY_GIGABIT_STATUS] = 0x3c00; // receivers fine, partner does 1000BASE-T
    }
    if (up != was)
        e1000_raise(e, ICR_LSC);
}

static void negotiate(E1000 *e)
{
    e->negotiating = e->cable;
    if (e->cable)
        timer_arm(e->link_timer, clock_now(e->clock) + NEGOTIATION_NS);
    else
        timer_cancel(e->link_timer);
    update_link(e);
}

void e1000_phy_negotiated(void *opaque)
{
    E1000 *e = opaque;
    e->negotiating = false;
    update_link(e);
}

void e1000_link_changed(void *opaque, bool up)
{
    E1000 *e = opaque;
    if (e->cable == up)
        return;
    e->cable = up;
    negotiate(e);
}

void e1000_phy_reset(E1000 *e)
{
    uint16_t link = e->phy[PHY_STATUS] & STATUS_LINK;
    memset(e->phy, 0, sizeof e->phy);
    e->phy[PHY_CONTROL] = 0x1140; // negotiate, full duplex, 1000 Mb/s
    e->phy[PHY_STATUS] = 0x7949 | link;
    e->phy[PHY_ID1] = 0x0141;
    e->phy[PHY_ID2] = 0x0c20;
    e->phy[PHY_ADVERTISE] = 0x0de1;
    e->phy[PHY_EXPANSION] = 0x0001;
    e->phy[PHY_GIGABIT_CONTROL] = 0x0e00;
    e->phy[PHY_EXTENDED_STATUS] = 0x3000;
    e->phy[PHY_M88_CONTROL] = 0x0360;
    e->phy[PHY_M88_EXTENDED_CONTROL] = 0x0d60;
    negotiate(e);
}

static void write_phy(E1000 *e, unsigned index, uint16_t value)
{
    switch (index) {
    case PHY_CONTROL:
        if (value & CONTROL_RESET) {
            e1000_phy_reset(e);
            return;
        }
        e->phy[index] = value & (uint16_t)~CONTROL_RESTART;
        if ((value & CONTROL_RESTART) && (value & CONTROL_NEGOTIATE))
            negotiate(e);
        else
            update_link(e);
        break;
    case PHY_STATUS:
    case PHY_ID1:
    case PHY_ID2:
    case PHY_PARTNER:
    case PHY_EXPANSION:
    case PHY_GIGABIT_STATUS:
    case PHY_EXTENDED_STATUS:
    case PHY_M88_STATUS:
        break; // read-only
    default:
        e->phy[index] = value;
        break;
    }
}

uint32_t e1000_phy_access(E1000 *e, uint32_t mdic)
{
    unsigned index = mdic >> 16 & 31, address = mdic >> 21 & 31, operation = mdic >> 26 & 3;
    uint32_t result = (mdic & 0x2fffffff) | MDIC_READY;
    if (address != PHY_ADDRESS || (operation != MDIC_READ && operation != MDIC_WRITE)) {
        guest_log_once(e->pci.name, "mdic", "PHY %u, operation %u", address, operation);
        result |= MDIC_ERROR;
    } else if (operation == MDIC_WRITE) {
        write_phy(e, index, (uint16_t)mdic);
    } else {
        result = (result & 0xffff0000) | e->phy[index];
    }
    if (mdic & MDIC_INTERRUPT)
        e1000_raise(e, ICR_MDAC);
    return result;
}
