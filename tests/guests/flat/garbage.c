// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest: writes and reads garbage at every port and at every register page that a PC of
// this board has, for as long as it is let run. What would end the run at once (reset, power off,
// the debug-exit port) is left out; what garbage in a bus master does to this guest's own memory
// is its own affair: it may reset, and starts over with another seed.
#include "tests/guests/flat/flat.h"

static uint64_t state;

static uint32_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

static uint32_t pick(uint32_t limit)
{
    return next() % limit;
}

// Values that devices take for something, among plain noise.
static uint32_t value(void)
{
    switch (pick(6)) {
    case 0:
        return 0;
    case 1:
        return 0xffffffff;
    case 2:
        return 1u << pick(32);
    case 3:
        return pick(256);
    case 4:
        return pick(0x100000) & ~0xfffu; // an address in RAM
    default:
        return next();
    }
}

static bool ends_the_run(uint32_t port, uint32_t v)
{
    return port == 0xf4 || port == 0xcf9 || port == 0x92 || (port == 0x64 && (v & 0xf0) == 0xf0) ||
           (port >= 0x600 && port < 0x610) || (port >= 0xb000 && port < 0xb010);
}

static void touch_port(void)
{
    static const struct {
        uint16_t base, size;
    } devices[] = {
        { 0x00, 0x20 },  { 0x20, 2 },     { 0x40, 4 },    { 0x60, 5 },    { 0x61, 1 },
        { 0x70, 2 },     { 0x80, 16 },    { 0xa0, 2 },    { 0xc0, 0x20 }, { 0x170, 8 },
        { 0x1ce, 3 },    { 0x1f0, 8 },    { 0x2f8, 8 },   { 0x376, 1 },   { 0x3b0, 0x30 },
        { 0x3f0, 8 },    { 0x3f8, 8 },    { 0x4d0, 2 },   { 0x510, 12 },  { 0x5658, 2 },
        { 0xcf8, 8 },    { 0xc000, 0x1000 }, { 0xae00, 0x20 }, { 0xb2, 2 }, { 0x402, 1 },
    };
    unsigned which = pick(sizeof devices / sizeof devices[0] + 2);
    uint32_t port = which < sizeof devices / sizeof devices[0]
                        ? devices[which].base + pick(devices[which].size)
                        : pick(65536);
    uint32_t v = value();
    if (ends_the_run(port, v) || ends_the_run(port & ~3u, v))
        return;
    switch (pick(6)) {
    case 0:
        outb((uint16_t)port, (uint8_t)v);
        break;
    case 1:
        asm volatile("outw %w0, %w1" ::"a"(v), "d"(port));
        break;
    case 2:
        outl((uint16_t)port, v);
        break;
    case 3:
        inb((uint16_t)port);
        break;
    case 4:
        asm volatile("inw %w1, %w0" : "+a"(v) : "d"(port));
        break;
    default:
        inl((uint16_t)port);
        break;
    }
}

static void touch_pci(void)
{
    uint32_t slot = pick(8);
    outl(0xcf8, 0x80000000u | slot << 11 | pick(4) << 8 | (pick(64) << 2));
    if (pick(2)) {
        outl(0xcfc, value());
        outl(0xcf8, 0x80000000u | slot << 11 | 4); // decode on, bus master on
        outl(0xcfc, 7);
    } else {
        outb((uint16_t)(0xcfc + pick(4)), (uint8_t)value());
    }
}

static void touch_bar(void)
{
    outl(0xcf8, 0x80000000u | pick(8) << 11 | pick(2) << 8 | (0x10 + pick(6) * 4));
    uint32_t bar = inl(0xcfc);
    if (bar == 0 || bar == 0xffffffff)
        return;
    for (unsigned i = 0; i < 32; i++) {
        uint32_t v = value(), offset = pick(2) ? pick(0x4000) : pick(0x100);
        if (bar & 1) {
            uint32_t port = (bar & 0xfffc) + (offset & 0x3f);
            if (!ends_the_run(port, v) && !ends_the_run(port & ~3u, v))
                outl((uint16_t)port, v);
        } else {
            volatile uint8_t *at = (volatile uint8_t *)(word)((bar & ~15u) + offset);
            if ((word)at < 0x1000000)
                return; // garbage in a BAR has moved it over RAM
            if (pick(2))
                *(volatile uint32_t *)((word)at & ~3ul) = v;
            else
                *at = (uint8_t)v;
        }
    }
}

static void touch_mmio(void)
{
    static const struct {
        uint32_t base, size;
    } pages[] = {
        { 0xa0000, 0x20000 }, { 0xfec00000, 0x1000 }, { 0xfed00000, 0x400 },
        { 0xfee00000, 0x400 }, { 0xfffc0000, 0x40000 }, { 0xfd000000, 0x1000000 },
    };
    unsigned which = pick(sizeof pages / sizeof pages[0]);
    uint32_t offset = pick(pages[which].size);
    if (which == 3 && (offset & ~0xfu) == 0x300)
        return; // ICR: INIT would stop this CPU
    volatile uint8_t *at = (volatile uint8_t *)(word)(pages[which].base + offset);
    switch (pick(4)) {
    case 0:
        *at = (uint8_t)value();
        break;
    case 1:
        *(volatile uint32_t *)((word)at & ~3ul) = value();
        break;
    case 2:
        (void)*(volatile uint32_t *)((word)at & ~3ul);
        break;
    default:
        (void)*at;
        break;
    }
}

void guest_main(void)
{
    idt_load();
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    outb(0x70, 0x40);
    // The harness may leave a seed in CMOS byte 40h..43h; else time decides, and is printed.
    state = 0;
    for (uint8_t i = 0; i < 4; i++) {
        outb(0x70, 0x40 + i);
        state = state << 8 | inb(0x71);
    }
    if (!state || state == 0xffffffff)
        state = ((uint64_t)high << 32 | low) | 1;
    print("GARBAGE seed ");
    print_hex(state);
    print("\n");
    for (;;) {
        for (unsigned i = 0; i < 64; i++)
            touch_port();
        for (unsigned i = 0; i < 16; i++)
            touch_mmio();
        for (unsigned i = 0; i < 4; i++)
            touch_bar();
        touch_pci();
    }
}
