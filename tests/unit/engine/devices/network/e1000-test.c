// SPDX-License-Identifier: GPL-2.0-or-later
// Register scripts for the 82540EM: what drivers do, and what hostile ones might.
#include "engine/devices/network/e1000.h"

#include "engine/base/bytes.h"
#include "engine/bus/net-offload.h"
#include "engine/bus/pci.h"

#define RAM_SIZE (4u << 20)
#define DEVFN    PCI_DEVFN(3, 0)
#define BASE     UINT64_C(0xfebc0000)

enum {
    CTRL = 0x0000,
    STATUS = 0x0008,
    EECD = 0x0010,
    EERD = 0x0014,
    MDIC = 0x0020,
    ICR = 0x00c0,
    ITR = 0x00c4,
    ICS = 0x00c8,
    IMS = 0x00d0,
    IMC = 0x00d8,
    RCTL = 0x0100,
    TCTL = 0x0400,
    RDBAL = 0x2800,
    RDLEN = 0x2808,
    RDH = 0x2810,
    RDT = 0x2818,
    RDTR = 0x2820,
    RADV = 0x282c,
    TDBAL = 0x3800,
    TDLEN = 0x3808,
    TDH = 0x3810,
    TDT = 0x3818,
    TIDV = 0x3820,
    MPC = 0x4010,
    GPTC = 0x4080,
    GOTCL = 0x4090,
    GOTCH = 0x4094,
    RXCSUM = 0x5000,
    MTA = 0x5200,
    RAL = 0x5400,
    VFTA = 0x5600,
    TX_RING = 0x10000,
    RX_RING = 0x20000,
    DATA = 0x30000,
    BUFFERS = 0x100000,
    RING_SIZE = 16,
    RCTL_EN = 1 << 1,
    RCTL_UPE = 1 << 3,
    RCTL_LPE = 1 << 5,
    RCTL_BAM = 1 << 15,
    RCTL_SECRC = 1 << 26,
    EOP = 1,
    RS = 8,
};

typedef struct {
    Bus *bus;
    GuestMemory *memory;
    Clock *clock;
    PciBus *pci;
    uint8_t *ram;
    void *device;
    bool pirq[4];
    NetFrontend frontend;
    GPtrArray *sent;
    unsigned rooms;
    uint32_t tail; // of the transmit ring
} Fixture;

static const uint8_t own[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

static void set_pirq(void *opaque, unsigned line, bool level)
{
    ((Fixture *)opaque)->pirq[line] = level;
}

static void backend_send(void *opaque, const uint8_t *frame, size_t size)
{
    g_ptr_array_add(((Fixture *)opaque)->sent, g_bytes_new(frame, size));
}

static void backend_attach(void *opaque, const NetFrontend *frontend)
{
    if (frontend)
        ((Fixture *)opaque)->frontend = *frontend;
}

static void backend_room(void *opaque)
{
    ((Fixture *)opaque)->rooms++;
}

static uint32_t reg(Fixture *f, uint32_t offset)
{
    return (uint32_t)bus_mmio_read(f->bus, BASE + offset, 4);
}

static void set(Fixture *f, uint32_t offset, uint32_t value)
{
    bus_mmio_write(f->bus, BASE + offset, 4, value);
}

static bool intx(const Fixture *f)
{
    return f->pirq[0] || f->pirq[1] || f->pirq[2] || f->pirq[3];
}

// The card on the bus with memory and mastering enabled, link negotiated, nothing else set up.
static void setup_bare(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->bus = bus_new();
    f->memory = guest_memory_new(UINT64_C(1) << 40);
    f->clock = clock_new_manual();
    f->ram = g_aligned_alloc0(1, RAM_SIZE, GUEST_PAGE_SIZE);
    guest_memory_map(f->memory, "ram", 0, RAM_SIZE, f->ram, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    DeviceHost host = { .bus = f->bus, .memory = f->memory, .clock = f->clock };
    host.pci = f->pci = pci_bus_new(&host, (IrqLine){ set_pirq, f, 0 });
    f->sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    E1000Config config = { .devfn = DEVFN,
                           .backend = { backend_send, backend_attach, backend_room, f } };
    memcpy(config.mac, own, 6);
    f->device = e1000_ops.create(&config, &host, &error);
    g_assert_no_error(error);
    e1000_ops.reset(f->device, RESET_COLD);
    pci_config_write(f->pci, DEVFN, 0x10, 4, (uint32_t)BASE);
    pci_config_write(f->pci, DEVFN, 0x14, 4, 0xc000);
    pci_config_write(f->pci, DEVFN, 4, 2, 7);
}

// The same with both rings and all interrupts but LSC's.
static void setup(Fixture *f, gconstpointer data)
{
    setup_bare(f, data);
    clock_advance(f->clock, NS_PER_SECOND);
    reg(f, ICR);
    set(f, TDBAL, TX_RING);
    set(f, TDLEN, RING_SIZE * 16);
    set(f, TCTL, 2 | 8);
    set(f, RDBAL, RX_RING);
    set(f, RDLEN, RING_SIZE * 16);
    for (unsigned i = 0; i < RING_SIZE; i++)
        le64_write(f->ram + RX_RING + i * 16, BUFFERS + i * 0x1000);
    set(f, RDT, RING_SIZE - 1);
    set(f, RCTL, RCTL_EN | RCTL_BAM | RCTL_SECRC);
    set(f, IMS, 0x1ffff & ~4u);
}

static void teardown(Fixture *f, gconstpointer data)
{
    e1000_ops.destroy(f->device);
    pci_bus_free(f->pci);
    clock_free(f->clock);
    guest_memory_free(f->memory);
    bus_free(f->bus);
    g_aligned_free(f->ram);
    g_ptr_array_unref(f->sent);
}

static void identity(Fixture *f, gconstpointer data)
{
    g_assert_cmphex(pci_config_read(f->pci, DEVFN, 0, 4), ==, 0x100e8086);
    g_assert_cmphex(pci_config_read(f->pci, DEVFN, 0x0a, 2), ==, 0x0200);
}

static void negotiates(Fixture *f, gconstpointer data)
{
    set(f, IMS, 4);
    g_assert_cmphex(reg(f, STATUS) & 2, ==, 0);
    clock_advance(f->clock, NS_PER_SECOND / 4);
    g_assert_cmphex(reg(f, STATUS) & 2, ==, 0);
    g_assert_false(intx(f));
    clock_advance(f->clock, NS_PER_SECOND / 4);
    g_assert_cmphex(reg(f, STATUS) & 2, ==, 2);
    g_assert_true(intx(f));
    g_assert_cmphex(reg(f, ICR), ==, 4);
    g_assert_false(intx(f));
}

static uint16_t phy_read(Fixture *f, unsigned index)
{
    set(f, MDIC, index << 16 | 1 << 21 | 2 << 26);
    uint32_t value = reg(f, MDIC);
    g_assert_cmphex(value & 0x50000000, ==, 0x10000000);
    return (uint16_t)value;
}

static void phy_write(Fixture *f, unsigned index, uint16_t value)
{
    set(f, MDIC, value | index << 16 | 1 << 21 | 1 << 26);
}

static void phy(Fixture *f, gconstpointer data)
{
    g_assert_cmphex(phy_read(f, 2), ==, 0x0141);
    g_assert_cmphex(phy_read(f, 3) & 0xfff0, ==, 0x0c20);
    g_assert_cmphex(phy_read(f, 1) & 0x24, ==, 0);
    clock_advance(f->clock, NS_PER_SECOND);
    g_assert_cmphex(phy_read(f, 1) & 0x24, ==, 0x24);
    g_assert_cmphex(phy_read(f, 17) & 0xe000, ==, 0xa000);
    phy_write(f, 2, 0xffff);
    g_assert_cmphex(phy_read(f, 2), ==, 0x0141);
    phy_write(f, 0, 0x1340); // restart auto-negotiation
    g_assert_cmphex(phy_read(f, 1) & 0x24, ==, 0);
    clock_advance(f->clock, NS_PER_SECOND);
    g_assert_cmphex(phy_read(f, 1) & 0x24, ==, 0x24);
    set(f, MDIC, 2 << 16 | 5 << 21 | 2 << 26); // a PHY that is not there
    g_assert_cmphex(reg(f, MDIC) & 0x50000000, ==, 0x50000000);
}

static void cable(Fixture *f, gconstpointer data)
{
    reg(f, ICR);
    f->frontend.link_changed(f->frontend.opaque, false);
    g_assert_cmphex(reg(f, STATUS) & 2, ==, 0);
    g_assert_cmphex(reg(f, ICR) & 4, ==, 4);
    f->frontend.link_changed(f->frontend.opaque, true);
    clock_advance(f->clock, NS_PER_SECOND);
    g_assert_cmphex(reg(f, STATUS) & 2, ==, 2);
}

static void eeprom_by_register(Fixture *f, gconstpointer data)
{
    uint16_t sum = 0;
    for (uint32_t i = 0; i < 64; i++) {
        set(f, EERD, i << 8 | 1);
        uint32_t value = reg(f, EERD);
        g_assert_cmphex(value & 0x10, ==, 0x10);
        sum = (uint16_t)(sum + (value >> 16));
        if (i < 3)
            g_assert_cmphex(value >> 16, ==, le16_read(own + i * 2));
    }
    g_assert_cmphex(sum, ==, 0xbaba);
}

static void clock_bit(Fixture *f, bool bit)
{
    uint32_t base = 0x42u | (bit ? 4 : 0); // request, chip select, data in
    set(f, EECD, base);
    set(f, EECD, base | 1);
}

// The Microwire sequence of drivers that do not use the read register.
static void eeprom_by_pins(Fixture *f, gconstpointer data)
{
    set(f, EECD, 0x40);
    g_assert_cmphex(reg(f, EECD) & 0x80, ==, 0x80);
    for (unsigned word = 0; word < 3; word++) {
        uint16_t value = 0;
        set(f, EECD, 0x40);
        set(f, EECD, 0x42);
        unsigned command = 6u << 6 | word;
        for (int bit = 8; bit >= 0; bit--)
            clock_bit(f, command >> bit & 1);
        for (int bit = 0; bit < 16; bit++) {
            clock_bit(f, false);
            value = (uint16_t)(value << 1 | (reg(f, EECD) >> 3 & 1));
        }
        g_assert_cmphex(value, ==, le16_read(own + word * 2));
    }
}

static void address_from_eeprom(Fixture *f, gconstpointer data)
{
    g_assert_cmphex(reg(f, RAL), ==, le32_read(own));
    g_assert_cmphex(reg(f, RAL + 4), ==, 0x80000000u | le16_read(own + 4));
}

static void interrupt_mask(Fixture *f, gconstpointer data)
{
    set(f, IMC, 0xffffffff);
    set(f, ICS, 0x90);
    g_assert_false(intx(f));
    set(f, IMS, 0x80);
    g_assert_cmphex(reg(f, IMS), ==, 0x80);
    g_assert_true(intx(f));
    set(f, IMC, 0x80);
    g_assert_false(intx(f));
    set(f, IMS, 0x10);
    g_assert_true(intx(f));
    set(f, ICR, 0x10);
    g_assert_false(intx(f));
    g_assert_cmphex(reg(f, ICR), ==, 0x80);
    g_assert_cmphex(reg(f, ICR), ==, 0);
}

// ITR in units of 256 ns: two interrupts are at least that far apart.
static void interrupt_throttle(Fixture *f, gconstpointer data)
{
    set(f, ITR, 1000);
    set(f, ICS, 0x80);
    g_assert_true(intx(f));
    reg(f, ICR);
    set(f, ICS, 0x80);
    g_assert_false(intx(f));
    clock_advance(f->clock, 255999);
    g_assert_false(intx(f));
    clock_advance(f->clock, 1);
    g_assert_true(intx(f));
}

static void tx_descriptor(Fixture *f, uint64_t address, uint32_t low, uint32_t high)
{
    uint8_t *d = f->ram + TX_RING + f->tail * 16;
    le64_write(d, address);
    le32_write(d + 8, low);
    le32_write(d + 12, high);
    f->tail = (f->tail + 1) % RING_SIZE;
}

static const uint8_t *sent(Fixture *f, unsigned index, size_t *ret_size)
{
    gsize size;
    g_assert_cmpuint(f->sent->len, >, index);
    const uint8_t *p = g_bytes_get_data(f->sent->pdata[index], &size);
    *ret_size = size;
    return p;
}

static void make_frame(uint8_t *frame, size_t size)
{
    for (size_t i = 0; i < size; i++)
        frame[i] = (uint8_t)(i * 3);
    memcpy(frame, own, 6);
    memcpy(frame + 6, (uint8_t[]){ 2, 0, 0, 0, 0, 9, 0x08, 0x00 }, 8);
}

static void transmits_legacy(Fixture *f, gconstpointer data)
{
    size_t size;
    make_frame(f->ram + DATA, 100);
    tx_descriptor(f, DATA, 40, 0);
    tx_descriptor(f, DATA + 40, 60u | (EOP | RS) << 24, 0);
    set(f, TDT, f->tail);
    const uint8_t *p = sent(f, 0, &size);
    g_assert_cmpmem(p, size, f->ram + DATA, 100);
    g_assert_cmpuint(reg(f, TDH), ==, 2);
    g_assert_cmphex(f->ram[TX_RING + 12], ==, 0);      // no report asked
    g_assert_cmphex(f->ram[TX_RING + 16 + 12], ==, 1); // DD
    g_assert_true(intx(f));
    g_assert_cmphex(reg(f, ICR) & 3, ==, 3);
    g_assert_cmpuint(reg(f, GPTC), ==, 1);
    g_assert_cmpuint(reg(f, GPTC), ==, 0);
    g_assert_cmpuint(reg(f, GOTCL), ==, 104);
    g_assert_cmpuint(reg(f, GOTCH), ==, 0);
    g_assert_cmpuint(reg(f, GOTCL), ==, 0);
}

static void pads_short_frames(Fixture *f, gconstpointer data)
{
    size_t size;
    make_frame(f->ram + DATA, 20);
    tx_descriptor(f, DATA, 20u | (EOP | RS) << 24, 0);
    set(f, TDT, f->tail);
    const uint8_t *p = sent(f, 0, &size);
    g_assert_cmpuint(size, ==, 60);
    g_assert_cmpuint(p[59], ==, 0);
}

static void transmit_delay(Fixture *f, gconstpointer data)
{
    make_frame(f->ram + DATA, 60);
    set(f, TIDV, 100);
    reg(f, ICR);
    tx_descriptor(f, DATA, 60u | (EOP | RS | 0x80u) << 24, 0);
    set(f, TDT, f->tail);
    g_assert_cmphex(reg(f, ICR) & 1, ==, 0);
    clock_advance(f->clock, 100 * 1024);
    g_assert_cmphex(reg(f, ICR) & 1, ==, 1);
}

// An IPv4 TCP packet of `payload` bytes at DATA; the checksum field holds the pseudo header's sum.
static size_t make_tcp(Fixture *f, size_t payload, bool length_in_pseudo)
{
    uint8_t *frame = f->ram + DATA, *ip = frame + 14, *tcp = ip + 20;
    memset(frame, 0, 54);
    make_frame(frame, 14);
    ip[0] = 0x45;
    be16_write(ip + 2, (uint16_t)(40 + payload));
    ip[8] = 64;
    ip[9] = 6;
    be32_write(ip + 12, 0x0a00020f);
    be32_write(ip + 16, 0x0a000202);
    tcp[12] = 0x50;
    tcp[13] = 0x18;
    uint32_t pseudo = net_sum(6, ip + 12, 8) + (length_in_pseudo ? 20 + (uint32_t)payload : 0);
    be16_write(tcp + 16, (uint16_t)~net_sum_finish(pseudo));
    for (size_t i = 0; i < payload; i++)
        tcp[20 + i] = (uint8_t)(i * 11);
    return 54 + payload;
}

// IPCSS 14, IPCSO 24, IPCSE 33, TUCSS 34, TUCSO 50, TUCSE 0.
static void context(Fixture *f, uint8_t command, uint8_t header, uint16_t mss, uint32_t payload)
{
    uint8_t *d = f->ram + TX_RING + f->tail * 16;
    memcpy(d, (uint8_t[]){ 14, 24, 33, 0, 34, 50, 0, 0 }, 8);
    le32_write(d + 8, payload | (uint32_t)(command | 0x20) << 24);
    d[12] = 0;
    d[13] = header;
    le16_write(d + 14, mss);
    f->tail = (f->tail + 1) % RING_SIZE;
}

static void inserts_sums(Fixture *f, gconstpointer data)
{
    size_t size;
    size_t length = make_tcp(f, 77, true);
    context(f, 1 | 2, 0, 0, 0);
    tx_descriptor(f, DATA, (uint32_t)length | 1u << 20 | (EOP | RS | 0x20u) << 24, 3u << 8);
    set(f, TDT, f->tail);
    const uint8_t *p = sent(f, 0, &size);
    g_assert_cmpuint(size, ==, length);
    g_assert_true(net_checksum_valid(p, size));
    g_assert_cmphex(net_sum_finish(net_sum(0, p + 14, 20)), ==, 0);
}

static void segments(Fixture *f, gconstpointer data)
{
    size_t size;
    size_t length = make_tcp(f, 4000, false);
    context(f, 1 | 2 | 4, 54, 1460, 4000);
    // Header and payload in descriptors of their own, as drivers do.
    tx_descriptor(f, DATA, 54u | 1u << 20 | (0x20u | 4) << 24, 3u << 8);
    tx_descriptor(f, DATA + 54, (uint32_t)(length - 54) | 1u << 20 | (EOP | RS | 0x24u) << 24,
                  3u << 8);
    set(f, TDT, f->tail);
    g_assert_cmpuint(f->sent->len, ==, 3);
    size_t done = 0;
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *p = sent(f, i, &size);
        g_assert_true(net_checksum_valid(p, size));
        g_assert_cmpuint(be32_read(p + 38), ==, done);
        g_assert_cmphex(p[47], ==, i == 2 ? 0x18 : 0x10);
        done += size - 54;
    }
    g_assert_cmpuint(done, ==, 4000);
}

static void inserts_vlan_tag(Fixture *f, gconstpointer data)
{
    size_t size;
    make_frame(f->ram + DATA, 80);
    set(f, CTRL, reg(f, CTRL) | 1u << 30);
    tx_descriptor(f, DATA, 80u | (EOP | RS | 0x40u) << 24, 0x123u << 16);
    set(f, TDT, f->tail);
    const uint8_t *p = sent(f, 0, &size);
    g_assert_cmpuint(size, ==, 84);
    g_assert_cmphex(be32_read(p + 12), ==, 0x81000123);
    g_assert_cmphex(be16_read(p + 16), ==, 0x0800);
}

static void hostile_contexts(Fixture *f, gconstpointer data)
{
    size_t length = make_tcp(f, 200, false);
    static const uint8_t headers[][3] = {
        { 14, 34, 255 }, { 200, 34, 54 }, { 14, 200, 54 }, { 14, 34, 34 }, { 14, 20, 54 },
        { 255, 255, 255 }, { 0, 0, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(headers); i++) {
        context(f, 1 | 2 | 4, headers[i][2], 100, 200);
        uint8_t *d = f->ram + TX_RING + (f->tail + RING_SIZE - 1) % RING_SIZE * 16;
        d[0] = headers[i][0];
        d[4] = headers[i][1];
        tx_descriptor(f, DATA, (uint32_t)length | 1u << 20 | (EOP | RS | 0x24u) << 24, 3u << 8);
        set(f, TDT, f->tail);
    }
    g_assert_cmpuint(f->sent->len, ==, 0);
    // Sums beyond the packet leave it as it is.
    context(f, 1, 0, 0, 0);
    uint8_t *d = f->ram + TX_RING + (f->tail + RING_SIZE - 1) % RING_SIZE * 16;
    memset(d, 0xff, 8);
    tx_descriptor(f, DATA, 60u | 1u << 20 | (EOP | RS | 0x20u) << 24, 3u << 8);
    set(f, TDT, f->tail);
    g_assert_cmpuint(f->sent->len, ==, 1);
}

// A packet that never ends, and one that is too long, cost bounded room and are dropped.
static void endless_packet(Fixture *f, gconstpointer data)
{
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < RING_SIZE - 1; i++)
            tx_descriptor(f, DATA, 0xffff, 0);
        set(f, TDT, f->tail);
    }
    make_frame(f->ram + DATA, 60);
    tx_descriptor(f, DATA, 60u | (EOP | RS) << 24, 0);
    tx_descriptor(f, DATA, 60u | (EOP | RS) << 24, 0);
    set(f, TDT, f->tail);
    g_assert_cmpuint(f->sent->len, ==, 1);
}

// CVE-2021-20257 and its kind: a tail that the head never meets.
static void tail_outside_ring(Fixture *f, gconstpointer data)
{
    make_frame(f->ram + DATA, 60);
    for (unsigned i = 0; i < RING_SIZE; i++)
        tx_descriptor(f, DATA, 60u | (EOP | RS) << 24, 0);
    set(f, TDT, RING_SIZE);
    set(f, TDT, 0xffff);
    g_assert_cmpuint(f->sent->len, ==, 0);
    set(f, TDH, 0x8000);
    set(f, TDT, 3);
    g_assert_cmpuint(f->sent->len, ==, 0);
    set(f, TDLEN, 0);
    set(f, TDH, 0);
    set(f, TDT, 1);
    g_assert_cmpuint(f->sent->len, ==, 0);
}

// A long ring is taken in turns.
static void long_ring(Fixture *f, gconstpointer data)
{
    enum { LONG = 1024 };
    set(f, TDBAL, 0x200000);
    set(f, TDLEN, LONG * 16);
    for (unsigned i = 0; i < LONG; i++) {
        le64_write(f->ram + 0x200000 + i * 16, DATA);
        le32_write(f->ram + 0x200000 + i * 16 + 8, 60u | (EOP | RS) << 24);
    }
    make_frame(f->ram + DATA, 60);
    set(f, TDT, LONG - 1);
    g_assert_cmpuint(f->sent->len, <, LONG - 1);
    clock_advance(f->clock, 1);
    g_assert_cmpuint(f->sent->len, ==, LONG - 1);
}

static void receive(Fixture *f, const uint8_t *to, size_t size)
{
    uint8_t frame[2048];
    make_frame(frame, size);
    if (to)
        memcpy(frame, to, 6);
    f->frontend.receive(f->frontend.opaque, frame, size);
}

static const uint8_t *rx_descriptor(Fixture *f, unsigned index)
{
    return f->ram + RX_RING + index * 16;
}

static void receives(Fixture *f, gconstpointer data)
{
    receive(f, NULL, 200);
    const uint8_t *d = rx_descriptor(f, 0);
    g_assert_cmpuint(le16_read(d + 8), ==, 200);
    g_assert_cmphex(d[12] & 3, ==, 3);
    g_assert_cmphex(d[13], ==, 0);
    g_assert_cmpmem(f->ram + BUFFERS, 6, own, 6);
    g_assert_cmpuint(f->ram[BUFFERS + 199], ==, (uint8_t)(199 * 3));
    g_assert_cmpuint(reg(f, RDH), ==, 1);
    g_assert_true(intx(f));
    g_assert_cmphex(reg(f, ICR) & 0x80, ==, 0x80);
}

static void appends_frame_check(Fixture *f, gconstpointer data)
{
    set(f, RCTL, RCTL_EN | RCTL_BAM);
    receive(f, NULL, 60);
    g_assert_cmpuint(le16_read(rx_descriptor(f, 0) + 8), ==, 64);
    // A CRC-32 over the frame and its FCS leaves the polynomial's residue.
    uint32_t crc = UINT32_MAX;
    for (unsigned i = 0; i < 64; i++) {
        crc ^= f->ram[BUFFERS + i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    g_assert_cmphex(crc, ==, 0xdebb20e3);
}

static void spreads_over_buffers(Fixture *f, gconstpointer data)
{
    set(f, RCTL, RCTL_EN | RCTL_SECRC | 3u << 16); // 256 bytes each
    receive(f, NULL, 600);
    g_assert_cmphex(rx_descriptor(f, 0)[12], ==, 1);
    g_assert_cmphex(rx_descriptor(f, 1)[12], ==, 1);
    g_assert_cmphex(rx_descriptor(f, 2)[12] & 3, ==, 3);
    g_assert_cmpuint(le16_read(rx_descriptor(f, 2) + 8), ==, 88);
    g_assert_cmpuint(f->ram[BUFFERS + 0x2000], ==, (uint8_t)(512 * 3));
}

static bool accepts(Fixture *f, const uint8_t *to)
{
    uint32_t before = reg(f, RDH);
    receive(f, to, 64);
    set(f, RDT, (reg(f, RDH) + RING_SIZE - 1) % RING_SIZE);
    return reg(f, RDH) != before;
}

static void filters(Fixture *f, gconstpointer data)
{
    static const uint8_t other[] = { 2, 0, 0, 0, 0, 5 }, group[] = { 1, 0, 0x5e, 0, 0, 1 },
                         all[] = { 255, 255, 255, 255, 255, 255 };
    g_assert_true(accepts(f, own));
    g_assert_true(accepts(f, all));
    g_assert_false(accepts(f, other));
    g_assert_false(accepts(f, group));
    set(f, RAL + 8, le32_read(other));
    set(f, RAL + 12, 0x80000000u | le16_read(other + 4));
    g_assert_true(accepts(f, other));
    // Bits 47:36 of the address: 0100h >> 4 = 010h.
    set(f, MTA + 0x10 / 32 * 4, 1u << 0x10);
    g_assert_true(accepts(f, group));
    set(f, RCTL, RCTL_EN | RCTL_SECRC);
    g_assert_false(accepts(f, all));
    set(f, RCTL, RCTL_EN | RCTL_SECRC | RCTL_UPE);
    g_assert_true(accepts(f, (uint8_t[]){ 2, 9, 9, 9, 9, 9 }));
}

static void strips_vlan_tag(Fixture *f, gconstpointer data)
{
    uint8_t frame[100];
    make_frame(frame, sizeof frame);
    be32_write(frame + 12, 0x81000042);
    set(f, CTRL, reg(f, CTRL) | 1u << 30);
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    g_assert_cmpuint(le16_read(rx_descriptor(f, 0) + 8), ==, 96);
    g_assert_cmphex(rx_descriptor(f, 0)[12] & 8, ==, 8);
    g_assert_cmphex(le16_read(rx_descriptor(f, 0) + 14), ==, 0x42);
    g_assert_cmpmem(f->ram + BUFFERS + 12, 80, frame + 16, 80);
    // The filter lets only listed identifiers through.
    set(f, RCTL, RCTL_EN | RCTL_SECRC | 1u << 18);
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    g_assert_cmpuint(reg(f, RDH), ==, 1);
    set(f, VFTA + 0x42 / 32 * 4, 1u << (0x42 % 32));
    f->frontend.receive(f->frontend.opaque, frame, sizeof frame);
    g_assert_cmpuint(reg(f, RDH), ==, 2);
}

static void tells_of_sums(Fixture *f, gconstpointer data)
{
    size_t size = make_tcp(f, 100, true);
    uint8_t *frame = f->ram + DATA;
    net_checksum_insert(frame, size, 14, 34, 24, false);
    net_checksum_insert(frame, size, 34, size, 50, false);
    set(f, RXCSUM, 0x300);
    f->frontend.receive(f->frontend.opaque, frame, size);
    g_assert_cmphex(rx_descriptor(f, 0)[12], ==, 0x63);
    frame[60] ^= 1;
    f->frontend.receive(f->frontend.opaque, frame, size);
    g_assert_cmphex(rx_descriptor(f, 1)[12], ==, 0x43);
    receive(f, NULL, 64);
    g_assert_cmphex(rx_descriptor(f, 2)[12], ==, 0x07);
}

static void too_long(Fixture *f, gconstpointer data)
{
    receive(f, NULL, 1515);
    g_assert_cmpuint(reg(f, RDH), ==, 0);
    receive(f, NULL, 1514);
    g_assert_cmpuint(reg(f, RDH), ==, 1);
    set(f, RCTL, RCTL_EN | RCTL_SECRC | RCTL_LPE);
    receive(f, NULL, 2000);
    g_assert_cmpuint(reg(f, RDH), ==, 2);
}

static void full_ring(Fixture *f, gconstpointer data)
{
    set(f, RDT, 1);
    g_assert_true(f->frontend.can_receive(f->frontend.opaque));
    receive(f, NULL, 64);
    g_assert_false(f->frontend.can_receive(f->frontend.opaque));
    reg(f, ICR);
    receive(f, NULL, 64);
    g_assert_cmphex(reg(f, ICR) & 0x40, ==, 0x40);
    g_assert_cmpuint(reg(f, MPC), ==, 1);
    g_assert_cmpuint(f->rooms, ==, 0);
    set(f, RDT, 5);
    g_assert_cmpuint(f->rooms, ==, 1);
}

static void receive_ring_outside(Fixture *f, gconstpointer data)
{
    set(f, RDT, 0xffff);
    receive(f, NULL, 64);
    set(f, RDT, 5);
    set(f, RDH, 0xffff);
    receive(f, NULL, 64);
    set(f, RDLEN, 0);
    set(f, RDH, 0);
    receive(f, NULL, 64);
    g_assert_cmphex(rx_descriptor(f, 0)[12], ==, 0);
}

static void receive_delay(Fixture *f, gconstpointer data)
{
    set(f, RDTR, 100);
    set(f, RADV, 150);
    reg(f, ICR);
    receive(f, NULL, 64);
    g_assert_cmphex(reg(f, ICR) & 0x80, ==, 0);
    clock_advance(f->clock, 100 * 1024);
    g_assert_cmphex(reg(f, ICR) & 0x80, ==, 0x80);
    receive(f, NULL, 64);
    set(f, RDTR, 1u << 31 | 100); // report at once
    g_assert_cmphex(reg(f, ICR) & 0x80, ==, 0x80);
}

static void nothing_without_bus_master(Fixture *f, gconstpointer data)
{
    pci_config_write(f->pci, DEVFN, 4, 2, 3);
    receive(f, NULL, 64);
    make_frame(f->ram + DATA, 60);
    tx_descriptor(f, DATA, 60u | (EOP | RS) << 24, 0);
    set(f, TDT, f->tail);
    g_assert_cmpuint(f->sent->len, ==, 0);
    g_assert_cmphex(rx_descriptor(f, 0)[12], ==, 0);
}

static void loopback(Fixture *f, gconstpointer data)
{
    set(f, RCTL, RCTL_EN | RCTL_SECRC | 3u << 6);
    make_frame(f->ram + DATA, 70);
    tx_descriptor(f, DATA, 70u | (EOP | RS) << 24, 0);
    set(f, TDT, f->tail);
    g_assert_cmpuint(f->sent->len, ==, 0);
    g_assert_cmpuint(le16_read(rx_descriptor(f, 0) + 8), ==, 70);
    g_assert_cmpmem(f->ram + BUFFERS, 70, f->ram + DATA, 70);
}

static void through_ports(Fixture *f, gconstpointer data)
{
    bus_port_write(f->bus, 0xc000, 4, STATUS);
    g_assert_cmphex(bus_port_read(f->bus, 0xc004, 4), ==, reg(f, STATUS));
    bus_port_write(f->bus, 0xc000, 4, MTA);
    bus_port_write(f->bus, 0xc004, 4, 0x12345678);
    g_assert_cmphex(reg(f, MTA), ==, 0x12345678);
    bus_port_write(f->bus, 0xc000, 4, 0xfffffffc);
    g_assert_cmphex(bus_port_read(f->bus, 0xc004, 4), ==, 0xffffffff);
}

static void software_reset(Fixture *f, gconstpointer data)
{
    set(f, CTRL, reg(f, CTRL) | 1u << 26);
    g_assert_cmphex(reg(f, CTRL) & 1u << 26, ==, 0);
    g_assert_cmphex(reg(f, RCTL), ==, 0);
    g_assert_cmphex(reg(f, IMS), ==, 0);
    g_assert_cmphex(reg(f, RAL), ==, le32_read(own));
    g_assert_cmphex(reg(f, STATUS) & 2, ==, 2); // the link stays
}

static void garbage(Fixture *f, gconstpointer data)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(5);
    static const uint32_t hot[] = { CTRL, EECD, MDIC, RCTL, TCTL, RDBAL, RDLEN, RDH, RDT, TDBAL,
                                    TDLEN, TDH, TDT, TIDV, RDTR, RADV, ITR, IMS, ICS, TDT, TDT };
    for (unsigned i = 0; i < RAM_SIZE; i++)
        f->ram[i] = (uint8_t)g_rand_int(random);
    for (unsigned i = 0; i < 60000; i++) {
        uint32_t value = g_rand_int(random);
        if (g_rand_boolean(random))
            value &= 0x3fffff;
        if (g_rand_boolean(random))
            set(f, hot[(unsigned)g_rand_int_range(random, 0, G_N_ELEMENTS(hot))], value);
        else if (g_rand_boolean(random))
            set(f, (uint32_t)g_rand_int_range(random, 0, 0x20000 / 4) * 4, value);
        else
            bus_mmio_read(f->bus, BASE + (uint32_t)g_rand_int_range(random, 0, 0x20000),
                          1u << g_rand_int_range(random, 0, 3));
        if (i % 16 == 0)
            receive(f, NULL, (size_t)g_rand_int_range(random, 14, 2000));
        if (i % 64 == 0) {
            clock_advance(f->clock, g_rand_int_range(random, 0, 100000));
            g_ptr_array_set_size(f->sent, 0);
        }
    }
    e1000_ops.reset(f->device, RESET_WARM);
}

static void saved_state_round_trip(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    make_frame(f->ram + DATA, 100);
    tx_descriptor(f, DATA, 40, 0); // half a packet
    set(f, TDT, f->tail);
    g_autoptr(GBytes) first = state_save(e1000_ops.state, f->device);
    e1000_ops.reset(f->device, RESET_COLD);
    g_assert_true(state_load(e1000_ops.state, f->device, first, &error));
    g_assert_no_error(error);
    g_autoptr(GBytes) second = state_save(e1000_ops.state, f->device);
    g_assert_true(g_bytes_equal(first, second));
    size_t size;
    tx_descriptor(f, DATA + 40, 60u | (EOP | RS) << 24, 0);
    set(f, TDT, f->tail);
    const uint8_t *p = sent(f, 0, &size);
    g_assert_cmpmem(p, size, f->ram + DATA, 100);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, start, function)                                                                 \
    g_test_add("/e1000/" path, Fixture, NULL, start, function, teardown)
    ADD("identity", setup_bare, identity);
    ADD("link/negotiation", setup_bare, negotiates);
    ADD("link/phy", setup_bare, phy);
    ADD("link/cable", setup, cable);
    ADD("eeprom/register", setup_bare, eeprom_by_register);
    ADD("eeprom/pins", setup_bare, eeprom_by_pins);
    ADD("eeprom/address", setup_bare, address_from_eeprom);
    ADD("interrupt/mask", setup, interrupt_mask);
    ADD("interrupt/throttle", setup, interrupt_throttle);
    ADD("transmit/legacy", setup, transmits_legacy);
    ADD("transmit/pads", setup, pads_short_frames);
    ADD("transmit/delay", setup, transmit_delay);
    ADD("transmit/checksums", setup, inserts_sums);
    ADD("transmit/tso", setup, segments);
    ADD("transmit/vlan", setup, inserts_vlan_tag);
    ADD("transmit/hostile-contexts", setup, hostile_contexts);
    ADD("transmit/endless-packet", setup, endless_packet);
    ADD("transmit/tail-outside-ring", setup, tail_outside_ring);
    ADD("transmit/long-ring", setup, long_ring);
    ADD("receive/frame", setup, receives);
    ADD("receive/frame-check", setup, appends_frame_check);
    ADD("receive/several-buffers", setup, spreads_over_buffers);
    ADD("receive/filters", setup, filters);
    ADD("receive/vlan", setup, strips_vlan_tag);
    ADD("receive/checksums", setup, tells_of_sums);
    ADD("receive/too-long", setup, too_long);
    ADD("receive/full-ring", setup, full_ring);
    ADD("receive/ring-outside", setup, receive_ring_outside);
    ADD("receive/delay", setup, receive_delay);
    ADD("no-bus-master", setup, nothing_without_bus_master);
    ADD("loopback", setup, loopback);
    ADD("ports", setup, through_ports);
    ADD("software-reset", setup, software_reset);
    ADD("garbage", setup, garbage);
    ADD("saved-state", setup, saved_state_round_trip);
    return g_test_run();
}
