// SPDX-License-Identifier: GPL-2.0-or-later
// Between the files of the e1000: e1000.c (registers, interrupts, life cycle), e1000-tx.c,
// e1000-rx.c, e1000-eeprom.c (EEPROM) and e1000-phy.c (PHY and link).
//
// Section numbers are those of the PCI/PCI-X Family of Gigabit Ethernet Controllers Software
// Developer's Manual (317453, revision 4.0), here "SDM".
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/net-backend.h"
#include "engine/bus/net-offload.h"
#include "engine/bus/pci.h"
#include "engine/bus/register-table.h"

// Registers of the table, in its order: name, offset, value after reset, writable bits, read hook,
// write hook, section. Arrays and statistics are not in it.
#define E1000_REGISTERS(X)                                                                         \
    X(CTRL, 0x0000, 0x00000241, 0x7bffffff, NULL, ctrl_written, "13.4.1")                          \
    X(STATUS, 0x0008, 0, 0, status_read, NULL, "13.4.2")                                           \
    X(EECD, 0x0010, 0, 0, eecd_read, eecd_written, "13.4.3")                                       \
    X(EERD, 0x0014, 0, 0x0000ff00, NULL, eerd_written, "13.4.4")                                   \
    X(CTRL_EXT, 0x0018, 0, 0x00ffcfff, NULL, NULL, "13.4.6")                                       \
    X(MDIC, 0x0020, 0x10000000, 0x2fffffff, NULL, mdic_written, "13.4.7")                          \
    X(FCAL, 0x0028, 0x00c28001, 0xffffffff, NULL, NULL, "13.4.8")                                  \
    X(FCAH, 0x002c, 0x00000100, 0x0000ffff, NULL, NULL, "13.4.9")                                  \
    X(FCT, 0x0030, 0x00008808, 0x0000ffff, NULL, NULL, "13.4.10")                                  \
    X(VET, 0x0038, 0x00008100, 0x0000ffff, NULL, NULL, "13.4.11")                                  \
    X(ICR, 0x00c0, 0, 0, icr_read, icr_written, "13.4.17")                                         \
    X(ITR, 0x00c4, 0, 0x0000ffff, NULL, NULL, "13.4.18")                                           \
    X(ICS, 0x00c8, 0, 0, NULL, ics_written, "13.4.19")                                             \
    X(IMS, 0x00d0, 0, 0, NULL, ims_written, "13.4.20")                                             \
    X(IMC, 0x00d8, 0, 0, NULL, imc_written, "13.4.21")                                             \
    X(RCTL, 0x0100, 0, 0x07ffffff, NULL, rctl_written, "13.4.22")                                  \
    X(FCTTV, 0x0170, 0, 0x0000ffff, NULL, NULL, "13.4.12")                                         \
    X(TXCW, 0x0178, 0xc0000000, 0xc000ffff, NULL, NULL, "13.4.13")                                 \
    X(RXCW, 0x0180, 0, 0, NULL, NULL, "13.4.14")                                                   \
    X(TCTL, 0x0400, 0, 0x03fffffa, NULL, tctl_written, "13.4.33")                                  \
    X(TIPG, 0x0410, 0x00602008, 0x3fffffff, NULL, NULL, "13.4.34")                                 \
    X(AIFS, 0x0458, 0, 0x0000ffff, NULL, NULL, "13.4.35")                                          \
    X(LEDCTL, 0x0e00, 0x07068302, 0xcfcfcfcf, NULL, NULL, "13.4.15")                               \
    X(PBA, 0x1000, 0x00100030, 0x0000ffff, NULL, NULL, "13.4.16")                                  \
    X(FCRTL, 0x2160, 0, 0x8000fff8, NULL, NULL, "13.4.23")                                         \
    X(FCRTH, 0x2168, 0, 0x0000fff8, NULL, NULL, "13.4.24")                                         \
    X(RDFH, 0x2410, 0, 0x00001fff, NULL, NULL, "13.8.1")                                           \
    X(RDFT, 0x2418, 0, 0x00001fff, NULL, NULL, "13.8.2")                                           \
    X(RDFHS, 0x2420, 0, 0x00001fff, NULL, NULL, "13.8.3")                                          \
    X(RDFTS, 0x2428, 0, 0x00001fff, NULL, NULL, "13.8.4")                                          \
    X(RDFPC, 0x2430, 0, 0x00001fff, NULL, NULL, "13.8.5")                                          \
    X(RDBAL, 0x2800, 0, 0xfffffff0, NULL, NULL, "13.4.25")                                         \
    X(RDBAH, 0x2804, 0, 0xffffffff, NULL, NULL, "13.4.26")                                         \
    X(RDLEN, 0x2808, 0, 0x000fff80, NULL, NULL, "13.4.27")                                         \
    X(RDH, 0x2810, 0, 0x0000ffff, NULL, NULL, "13.4.28")                                           \
    X(RDT, 0x2818, 0, 0x0000ffff, NULL, rdt_written, "13.4.29")                                    \
    X(RDTR, 0x2820, 0, 0x0000ffff, NULL, rdtr_written, "13.4.30")                                  \
    X(RXDCTL, 0x2828, 0x00010000, 0x013f3f3f, NULL, NULL, "13.4.45")                               \
    X(RADV, 0x282c, 0, 0x0000ffff, NULL, NULL, "13.4.31")                                          \
    X(RSRPD, 0x2c00, 0, 0x00000fff, NULL, NULL, "13.4.32")                                         \
    X(TDFH, 0x3410, 0, 0x00001fff, NULL, NULL, "13.8.6")                                           \
    X(TDFT, 0x3418, 0, 0x00001fff, NULL, NULL, "13.8.7")                                           \
    X(TDFHS, 0x3420, 0, 0x00001fff, NULL, NULL, "13.8.8")                                          \
    X(TDFTS, 0x3428, 0, 0x00001fff, NULL, NULL, "13.8.9")                                          \
    X(TDFPC, 0x3430, 0, 0x00001fff, NULL, NULL, "13.8.10")                                         \
    X(TDBAL, 0x3800, 0, 0xfffffff0, NULL, NULL, "13.4.36")                                         \
    X(TDBAH, 0x3804, 0, 0xffffffff, NULL, NULL, "13.4.37")                                         \
    X(TDLEN, 0x3808, 0, 0x000fff80, NULL, NULL, "13.4.38")                                         \
    X(TDH, 0x3810, 0, 0x0000ffff, NULL, NULL, "13.4.39")                                           \
    X(TDT, 0x3818, 0, 0x0000ffff, NULL, tdt_written, "13.4.40")                                    \
    X(TIDV, 0x3820, 0, 0x0000ffff, NULL, NULL, "13.4.41")                                          \
    X(TXDCTL, 0x3828, 0, 0xff3f3f3f, NULL, NULL, "13.4.44")                                        \
    X(TADV, 0x382c, 0, 0x0000ffff, NULL, NULL, "13.4.42")                                          \
    X(TSPMT, 0x3830, 0x01000400, 0xffffffff, NULL, NULL, "13.4.43")                                \
    X(RXCSUM, 0x5000, 0, 0x000003ff, NULL, NULL, "13.4.46")                                        \
    X(WUC, 0x5800, 0, 0x0000000f, NULL, NULL, "13.6.1")                                            \
    X(WUFC, 0x5808, 0, 0x000f80ff, NULL, NULL, "13.6.2")                                           \
    X(WUS, 0x5810, 0, 0, NULL, NULL, "13.6.3")                                                     \
    X(MANC, 0x5820, 0, 0x0fffffff, NULL, NULL, "13.6.9")                                           \
    X(IPAV, 0x5838, 0, 0x0001000f, NULL, NULL, "13.6.4")                                           \
    X(WUPL, 0x5900, 0, 0, NULL, NULL, "13.6.7")

enum {
#define E1000_ROW_NAME(name, ...) R_##name,
    E1000_REGISTERS(E1000_ROW_NAME)
#undef E1000_ROW_NAME
    E1000_ROWS
};

enum {
    CTRL_RST = 1 << 26,
    CTRL_VME = 1 << 30,
};
#define CTRL_PHY_RST (1u << 31)

// Interrupt causes (13.4.17).
enum {
    ICR_TXDW = 1 << 0,
    ICR_TXQE = 1 << 1,
    ICR_LSC = 1 << 2,
    ICR_RXDMT0 = 1 << 4,
    ICR_RXO = 1 << 6,
    ICR_RXT0 = 1 << 7,
    ICR_MDAC = 1 << 9,
    ICR_ALL = 0x1ffff,
};

// Receive control (13.4.22).
enum {
    RCTL_EN = 1 << 1,
    RCTL_UPE = 1 << 3,
    RCTL_MPE = 1 << 4,
    RCTL_LPE = 1 << 5,
    RCTL_LBM_SHIFT = 6,
    RCTL_RDMTS_SHIFT = 8,
    RCTL_MO_SHIFT = 12,
    RCTL_BAM = 1 << 15,
    RCTL_BSIZE_SHIFT = 16,
    RCTL_VFE = 1 << 18,
    RCTL_BSEX = 1 << 25,
    RCTL_SECRC = 1 << 26,
    TCTL_EN = 1 << 1,
    TCTL_PSP = 1 << 3,
    RXCSUM_IPOFL = 1 << 8,
    RXCSUM_TUOFL = 1 << 9,
};

// Statistics registers that are counted (13.7), by offset from 4000h.
enum {
    STAT_MPC = 0x10,
    STAT_PRC64 = 0x5c, // then 127, 255, 511, 1023, 1522
    STAT_GPRC = 0x74,
    STAT_BPRC = 0x78,
    STAT_MPRC = 0x7c,
    STAT_GPTC = 0x80,
    STAT_GORCL = 0x88,
    STAT_GOTCL = 0x90,
    STAT_RNBC = 0xa0,
    STAT_ROC = 0xac,
    STAT_TORL = 0xc0,
    STAT_TOTL = 0xc8,
    STAT_TPR = 0xd0,
    STAT_TPT = 0xd4,
    STAT_PTC64 = 0xd8,
    STAT_MPTC = 0xf0,
    STAT_BPTC = 0xf4,
    STAT_TSCTC = 0xf8,
    STAT_TSCTFC = 0xfc,
    STAT_COUNT = 64,
};

enum {
    E1000_EEPROM_WORDS = 64,
    E1000_RECEIVE_ADDRESSES = 16,
    E1000_DESCRIPTOR_SIZE = 16,
    E1000_FRAME_MIN = 60, // without FCS
};

// A checksum or segmentation context (3.3.6), as the guest wrote it.
typedef struct {
    uint8_t ip_start, ip_offset;
    uint16_t ip_end; // 0: to the end of the packet
    uint8_t tcp_start, tcp_offset;
    uint16_t tcp_end;
    uint8_t command; // bit 0 TCP, bit 1 IPv4
    uint8_t header_length;
    uint16_t mss;
} E1000Context;
_Static_assert(sizeof(E1000Context) == 12, "saved as bytes");

// The packet that is being put together from descriptors.
typedef struct {
    uint32_t size;
    uint16_t vlan_tag;
    uint8_t options;  // POPTS of the first data descriptor
    uint8_t started;  // a descriptor was taken
    uint8_t segment;  // TSE
    uint8_t extended; // made of data descriptors, not legacy ones
    uint8_t vlan;     // insert vlan_tag
    uint8_t dropped;  // too long: skip to its end
    uint8_t legacy_sum; // IC, with the two below
    uint8_t sum_start, sum_offset;
    uint8_t reserved;
} E1000Packet;
_Static_assert(sizeof(E1000Packet) == 16, "saved as bytes");

// The serial EEPROM's pins and shift registers.
typedef struct {
    uint8_t pins;       // as last written to EECD: SK, CS, DI and the request bit
    uint8_t bits_in;    // shifted in since the start bit, with it
    uint8_t bits_out;   // shifted out of the present word
    uint8_t reading;
    uint16_t command;   // bits shifted in
    uint16_t address;
    uint8_t data_out;   // the DO pin
    uint8_t reserved;
} E1000Microwire;
_Static_assert(sizeof(E1000Microwire) == 10, "saved as bytes");

typedef struct E1000 {
    PciDevice pci;
    GuestMemory *memory;
    Clock *clock;
    NetBackend backend;
    uint8_t *rom;
    bool wants_room;       // the backend holds frames for us
    Timer *interrupt_timer; // the throttle (ITR) ends
    Timer *transmit_delay;  // TIDV, TADV
    Timer *receive_delay;   // RDTR, RADV
    Timer *transmit_resume; // goes on with a long ring
    Timer *link_timer;      // auto-negotiation ends
    uint8_t *segment;       // scratch: one frame
    uint8_t *wire;          // scratch: one frame and a VLAN tag
    // Saved.
    uint32_t registers[E1000_ROWS];
    uint32_t interrupt_cause; // ICR
    uint32_t multicast[128];
    uint32_t vlan_filter[128];
    uint32_t receive_address[E1000_RECEIVE_ADDRESSES * 2];
    uint32_t statistics[STAT_COUNT];
    uint32_t io_address;
    uint16_t phy[32];
    uint16_t eeprom[E1000_EEPROM_WORDS];
    E1000Microwire microwire;
    E1000Context checksum_context;
    E1000Context segment_context;
    E1000Packet packet;
    uint8_t *frame; // NET_FRAME_MAX bytes: the packet's
    bool cable;       // the backend's link is up
    bool negotiating; // link_timer runs
    int64_t interrupt_allowed; // virtual time before which the throttle holds
    // Deadlines of the timers as saved, -1 where not armed.
    int64_t deadlines[5];
} E1000;

static inline uint32_t e1000_reg(const E1000 *e, unsigned row)
{
    return e->registers[row];
}

// Adds causes to ICR and drives the wire as mask and throttle say.
void e1000_raise(E1000 *e, uint32_t causes);
// Counts one packet of `size` bytes (with FCS) in the statistics for its direction.
void e1000_count(E1000 *e, bool transmitted, const uint8_t *frame, size_t size);
void e1000_stat_add(E1000 *e, unsigned offset, uint64_t value);

// e1000-tx.c
void e1000_transmit(E1000 *e);
void e1000_transmit_reset(E1000 *e);

// e1000-rx.c
bool e1000_can_receive(void *opaque);
// A frame without FCS from the wire, or from the transmitter in loopback.
void e1000_receive(void *opaque, const uint8_t *frame, size_t size);

// e1000-eeprom.c
void e1000_eeprom_fill(E1000 *e, const uint8_t mac[6]);
void e1000_eeprom_pins(E1000 *e, uint32_t eecd);
uint32_t e1000_eeprom_eecd(const E1000 *e);
uint32_t e1000_eeprom_read(const E1000 *e, uint32_t eerd);

// e1000-phy.c
void e1000_phy_reset(E1000 *e);
uint32_t e1000_phy_access(E1000 *e, uint32_t mdic);
void e1000_phy_negotiated(void *opaque); // link_timer's callback
void e1000_link_changed(void *opaque, bool up);
bool e1000_link_up(const E1000 *e);
// Whether the PHY sends back what it is given.
bool e1000_phy_loopback(const E1000 *e);
