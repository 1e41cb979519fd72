// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest: writes and reads garbage at every port and at every register page that a PC of
// this board has, on every CPU, for as long as it is let run. What would end the run at once (power
// off, the debug-exit port, INIT) is left out; resets are rare. What garbage in a bus master does
// to this guest's own memory is its own affair: whatever goes wrong ends in a reset, and it starts
// over with the next seed.
//
// The first seed lies in the boot sector (tests/e2e/garbage.py writes it there); 0: time decides.
#include "tests/guests/flat/flat.h"

#define SEED       (*(volatile uint32_t *)0x7dfa)
#define STARTS     ((volatile uint32_t *)0x1f0000) // a mark, and how often it started
#define STARTS_SET 0x53544152
#define APIC       ((volatile uint32_t *)0xfee00000)
#define AP_CODE    0x8000
#define MOST_APS   15

extern uint8_t ap_start[], ap_end[];
volatile word ap_stack_next;
static uint8_t ap_stacks[MOST_APS][4096] __attribute__((aligned(16)));
static uint64_t states[MOST_APS + 1]; // of the generators, one for each CPU
static uint32_t seed;

// Copied to 8000h: real mode to the boot CPU's GDT, and a stack for each that comes.
asm(".pushsection .text\n"
    ".code16\n"
    "ap_start:\n\t"
    "cli\n\t"
    "movw $0x1000, %ax\n\t"
    "movw %ax, %ds\n\t"
    "data32 lgdt gdt_real_pointer\n\t"
    "movl %cr0, %eax\n\t"
    "orb $1, %al\n\t"
    "movl %eax, %cr0\n\t"
    "data32 ljmp $8, $ap_32\n"
    "ap_end:\n"
    ".code32\n"
    "ap_32:\n\t"
    "movl $0x10, %eax\n\t"
    "movl %eax, %ds\n\t"
    "movl %eax, %es\n\t"
    "movl %eax, %ss\n\t"
    "movl $-4096, %esp\n\t"
    "lock xaddl %esp, ap_stack_next\n\t"
    "call ap_main\n"
    ".popsection\n");

// A CPU is known by its stack.
static unsigned cpu_index(void)
{
    word offset = (word)__builtin_frame_address(0) - (word)ap_stacks;
    return offset < sizeof ap_stacks ? 1 + (unsigned)(offset / sizeof ap_stacks[0]) : 0;
}

static uint32_t next(void)
{
    uint64_t *state = &states[cpu_index()];
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 16);
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
        return 0x200000 + (pick(0x800000) & ~3u); // RAM where nothing of ours lies
    default:
        return next();
    }
}

// Of an access of up to four bytes.
static bool ends_the_run(uint32_t port, uint32_t v)
{
    if (port + 3 >= 0xf4 && port <= 0xf4)
        return true;
    if ((port + 3 >= 0x600 && port < 0x610) || (port + 3 >= 0xb000 && port < 0xb010))
        return true;
    uint8_t command = port <= 0x64 ? (uint8_t)(v >> (0x64 - port) * 8) : 0;
    bool resets = (port + 3 >= 0xcf9 && port <= 0xcf9) || (port + 3 >= 0x92 && port <= 0x92) ||
                  (port + 3 >= 0x64 && command >= 0xf0);
    return resets && pick(500);
}

// The firmware boots by what lies in these: media, resume, how many CPUs it waits for.
static void touch_cmos(void)
{
    uint8_t index = (uint8_t)pick(128);
    if (cpu_index() || index == 0x0f || (index >= 0x10 && index < 0x40) || index == 0x5f)
        return;
    outb(0x70, (uint8_t)(index | pick(2) << 7));
    if (pick(2))
        outb(0x71, (uint8_t)value());
    else
        inb(0x71);
}

static void touch_port(void)
{
    static const struct {
        uint16_t base, size;
    } devices[] = {
        { 0x00, 0x20 },  { 0x20, 2 },     { 0x40, 4 },    { 0x60, 5 },    { 0x61, 1 },
        { 0x72, 2 },     { 0x80, 16 },    { 0xa0, 2 },    { 0xc0, 0x20 }, { 0x170, 8 },
        { 0x1ce, 3 },    { 0x1f0, 8 },    { 0x2f8, 8 },   { 0x376, 1 },   { 0x3b0, 0x30 },
        { 0x3f0, 8 },    { 0x3f8, 8 },    { 0x4d0, 2 },   { 0x510, 12 },  { 0x5658, 2 },
        { 0xcf8, 8 },    { 0xc000, 0x1000 }, { 0xae00, 0x20 }, { 0xb2, 2 }, { 0x402, 1 },
    };
    unsigned which = pick(sizeof devices / sizeof devices[0] + 2);
    uint32_t port = which < sizeof devices / sizeof devices[0]
                        ? devices[which].base + pick(devices[which].size)
                        : pick(65536);
    uint32_t v = value();
    if (ends_the_run(port, v) || (port + 3 >= 0x70 && port < 0x72))
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
            if (!ends_the_run(port, v))
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
    uint32_t v = value();
    if ((which == 1 || which == 3) && pick(200))
        v &= offset & 3 ? ~0x101u : ~0x100u; // an interrupt by INIT (mode 5) restarts the CPU
    switch (pick(4)) {
    case 0:
        *at = (uint8_t)v;
        break;
    case 1:
        *(volatile uint32_t *)((word)at & ~3ul) = v;
        break;
    case 2:
        (void)*(volatile uint32_t *)((word)at & ~3ul);
        break;
    default:
        (void)*at;
        break;
    }
}

static void generate(uint32_t from)
{
    uint64_t *state = &states[cpu_index()];
    *state = (uint64_t)from << 32 | 0x9e3779b9;
    for (unsigned i = 0; i < 16; i++)
        next();
    for (;;) {
        for (unsigned i = 0; i < 64; i++)
            touch_port();
        for (unsigned i = 0; i < 16; i++)
            touch_mmio();
        for (unsigned i = 0; i < 4; i++)
            touch_bar();
        touch_pci();
        touch_cmos();
    }
}

void ap_main(void);
void ap_main(void)
{
    idt_load();
    generate(seed * 31 + cpu_index());
}

static bool go_on(Frame *frame)
{
    return true;
}

// Every exception is the garbage's doing: start over, by the keyboard controller or by a shutdown.
static bool start_over(Frame *frame)
{
    for (const char *p = "GARBAGE vector "; *p; p++)
        outb(0x402, (uint8_t)*p);
    for (int shift = 28; shift >= 0; shift -= 4)
        outb(0x402, (uint8_t)"0123456789abcdef"[frame->vector << 24 >> shift & 15]);
    outb(0x402, '\n');
    outb(0x64, 0xfe);
    outb(0xcf9, 6);
    struct __attribute__((packed)) {
        uint16_t limit;
        word base;
    } none = { 0, 0 };
    asm volatile("lidt %0; int3" ::"m"(none));
    return true;
}

static void start_others(void)
{
    for (unsigned i = 0; i < (unsigned)(ap_end - ap_start); i++)
        ((volatile uint8_t *)AP_CODE)[i] = ap_start[i];
    ap_stack_next = (word)ap_stacks[MOST_APS];
    APIC[0xf0 / 4] = 0x1ff;
    APIC[0x300 / 4] = 0xc4500; // INIT to all but this one, then a startup IPI
    for (unsigned i = 0; i < 1000; i++)
        inb(0x80);
    APIC[0x300 / 4] = 0xc4600 | AP_CODE >> 12;
}

void guest_main(void)
{
    idt_load();
    for (unsigned vector = 0; vector < 256; vector++)
        handler_set(vector, vector == 2 ? go_on : start_over); // NMIs: the local APIC's
    if (STARTS[0] != STARTS_SET) {
        STARTS[0] = STARTS_SET;
        STARTS[1] = 0;
    }
    seed = SEED;
    if (!seed)
        asm volatile("rdtsc" : "=a"(seed)::"edx");
    seed += STARTS[1]++;
    print("GARBAGE seed ");
    print_hex(seed);
    print("\n");
    start_others();
    generate(seed);
}
