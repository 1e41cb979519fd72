// SPDX-License-Identifier: GPL-2.0-or-later
// The high precision event timer: a 64-bit counter at 100 MHz and three comparators, with legacy
// replacement routing and without FSB (MSI) delivery. Follows the IA-PC HPET specification 1.0a,
// section 2.3.
//
// The counter is virtual time over 10 ns plus an offset. A comparator whose time has passed by a
// little when it is written fires at once, for a slow host would otherwise make a guest wait until
// the counter comes round.
#include "engine/devices/chipset/hpet.h"

#include "engine/devices/chipset/lost-ticks.h"

#include <gio/gio.h>

#define TICK_NS       10
#define TIMERS        3
#define SHORTEST_NS   20000 // a guest cannot make the host wake up more often than this
#define LATE_TICKS    (INT64_C(1) << 30)
#define ROUTES        UINT64_C(0x00f00000) // I/O APIC pins 20 to 23, which nothing else uses
#define CAPABILITIES                                                                               \
    (UINT64_C(10000000) << 32 | UINT64_C(0x8086) << 16 | 1 << 15 | 1 << 13 | (TIMERS - 1) << 8 | 1)

// Register offsets (table 2).
enum { REG_CAPABILITIES = 0x000, REG_CONFIG = 0x010, REG_STATUS = 0x020, REG_COUNTER = 0x0f0,
       REG_TIMER0 = 0x100, TIMER_STRIDE = 0x20, TIMER_CONFIG = 0x00, TIMER_COMPARATOR = 0x08 };
enum { CONFIG_ENABLE = 1, CONFIG_LEGACY = 2 };

// Timer configuration bits (2.3.8).
#define TN_LEVEL     (1u << 1)
#define TN_ENABLE    (1u << 2)
#define TN_PERIODIC  (1u << 3)
#define TN_SET       (1u << 6)
#define TN_32BIT     (1u << 8)
#define TN_ROUTE(c)  ((unsigned)(c) >> 9 & 31)
#define TN_FIXED     (ROUTES << 32 | 1u << 5 | 1u << 4) // routes, 64 bits wide, can be periodic
#define TN_WRITABLE  UINT64_C(0x3f4e)

typedef struct Hpet Hpet;

typedef struct {
    Hpet *hpet;
    unsigned index;
    Timer *timer;
    uint64_t config;
    uint64_t comparator;
    uint64_t period;
    bool fired;       // a one-shot that has matched since it was written
    LostTicks lost;
    int64_t deadline; // as saved
} Comparator;

struct Hpet {
    DeviceHost host;
    HpetConfig config;
    BusRegion *region;
    bool engaged;
    uint64_t general; // CONFIG_*
    uint32_t status;
    int64_t start;    // virtual tick at which the counter read 0 would lie, while it runs
    uint64_t halted;  // the counter while it stands
    bool legacy_levels[2];
    Comparator comparators[TIMERS];
};

static int64_t tick_now(const Hpet *hpet)
{
    return clock_now(hpet->host.clock) / TICK_NS;
}

static bool enabled(const Hpet *hpet)
{
    return hpet->general & CONFIG_ENABLE;
}

static uint64_t counter(const Hpet *hpet)
{
    return enabled(hpet) ? (uint64_t)tick_now(hpet) - (uint64_t)hpet->start : hpet->halted;
}

static uint64_t width_mask(const Comparator *c)
{
    return c->config & TN_32BIT ? UINT32_MAX : UINT64_MAX;
}

static bool is_periodic(const Comparator *c)
{
    return (c->config & TN_PERIODIC) && c->period;
}

static void drive(Comparator *c, bool level)
{
    Hpet *hpet = c->hpet;
    if ((hpet->general & CONFIG_LEGACY) && c->index < 2) {
        irq_set(c->index ? &hpet->config.irq8 : &hpet->config.irq0, level);
    } else if (ROUTES >> TN_ROUTE(c->config) & 1) {
        IrqLine pin = hpet->config.pins;
        pin.line = TN_ROUTE(c->config);
        irq_set(&pin, level);
    }
}

static void fire(Comparator *c)
{
    if (!(c->config & TN_ENABLE))
        return;
    if (c->config & TN_LEVEL) {
        c->hpet->status |= 1u << c->index;
        drive(c, true);
    } else {
        drive(c, true);
        drive(c, false);
    }
}

// Ticks until the comparator matches; zero or negative where it should have matched by now. A
// periodic comparator is always kept ahead, so that any lag is a late host's.
static int64_t distance(const Comparator *c)
{
    uint64_t mask = width_mask(c), now = counter(c->hpet);
    uint64_t ahead = (c->comparator - now) & mask, behind = (now - c->comparator) & mask;
    uint64_t late = is_periodic(c) ? mask / 2 : LATE_TICKS;
    if (!c->fired && behind < late && (c->comparator & mask) != mask)
        return -(int64_t)behind;
    return (int64_t)MIN(ahead ? ahead : mask, INT64_MAX / TICK_NS / 4);
}

// After a guest's write: a first match in the past is not a debt of ticks.
static void skip_past(Comparator *c)
{
    int64_t ticks = distance(c);
    if (is_periodic(c) && ticks < 0)
        c->comparator = (c->comparator + ((uint64_t)-ticks / c->period + 1) * c->period) &
                        width_mask(c);
}

static int64_t period_ns(const Comparator *c)
{
    return (int64_t)MIN(c->period, INT64_MAX / TICK_NS / 4) * TICK_NS;
}

static void arm(Comparator *c)
{
    if (!enabled(c->hpet) || !(c->config & TN_ENABLE)) {
        timer_cancel(c->timer);
        return;
    }
    int64_t now = clock_now(c->hpet->host.clock);
    // To a whole tick, so that the counter has reached the comparator when the timer fires.
    int64_t next = (now / TICK_NS + MAX(distance(c), 0)) * TICK_NS;
    if (is_periodic(c))
        next = MAX(lost_ticks_deadline(&c->lost, now, next, period_ns(c)), now + SHORTEST_NS);
    timer_arm(c->timer, next);
}

static void expired(void *opaque)
{
    Comparator *c = opaque;
    Hpet *hpet = c->hpet;
    bool waits = c->index == 0 && (hpet->general & CONFIG_LEGACY) && hpet->config.tick_waits &&
                 hpet->config.tick_waits(hpet->config.tick_opaque);
    int64_t ticks = distance(c);
    if (!is_periodic(c)) {
        c->fired = true;
        fire(c);
    } else if (ticks <= 0) {
        uint64_t passed = (uint64_t)-ticks / c->period;
        c->comparator = (c->comparator + (passed + 1) * c->period) & width_mask(c);
        lost_ticks_add(&c->lost, (int64_t)MIN(passed + waits, INT32_MAX), period_ns(c));
        fire(c);
    } else if (c->lost.owed && !waits) {
        c->lost.owed--;
        fire(c);
    }
    arm(c);
}

static void write_general(Hpet *hpet, uint64_t value)
{
    uint64_t old = hpet->general, now = value & (CONFIG_ENABLE | CONFIG_LEGACY);
    uint64_t count = counter(hpet);
    hpet->general = now;
    if ((old ^ now) & CONFIG_ENABLE) {
        hpet->halted = count;
        hpet->start = (int64_t)((uint64_t)tick_now(hpet) - count);
    }
    if ((old ^ now) & CONFIG_LEGACY) {
        bool legacy = now & CONFIG_LEGACY;
        irq_set(&hpet->config.irq0, !legacy && hpet->legacy_levels[0]);
        irq_set(&hpet->config.irq8, !legacy && hpet->legacy_levels[1]);
    }
    for (unsigned i = 0; i < TIMERS; i++)
        arm(&hpet->comparators[i]);
}

static void write_timer_config(Comparator *c, uint64_t value)
{
    uint64_t old = c->config;
    c->config = (value & TN_WRITABLE) | TN_FIXED;
    if (!(ROUTES >> TN_ROUTE(c->config) & 1)) // a route that is not offered does not stick
        c->config = (c->config & ~UINT64_C(0x3e00)) | (old & 0x3e00);
    if ((old & TN_LEVEL) && !(c->config & TN_LEVEL) && (c->hpet->status >> c->index & 1)) {
        c->hpet->status &= ~(1u << c->index);
        drive(c, false);
    }
    if (c->config & TN_32BIT) {
        c->comparator &= UINT32_MAX;
        c->period &= UINT32_MAX;
    }
    c->lost.owed = 0;
    skip_past(c);
    arm(c);
}

static void write_comparator(Comparator *c, uint64_t value)
{
    value &= width_mask(c);
    // In periodic mode a write sets the period; with VAL_SET also the first match (2.3.9.2.2).
    if (!(c->config & TN_PERIODIC) || (c->config & TN_SET))
        c->comparator = value;
    if (c->config & TN_PERIODIC)
        c->period = value;
    c->config &= ~(uint64_t)TN_SET;
    c->fired = false;
    c->lost.owed = 0;
    skip_past(c);
    arm(c);
}

static Comparator *comparator_at(Hpet *hpet, uint64_t offset)
{
    uint64_t index = (offset - REG_TIMER0) / TIMER_STRIDE;
    return offset >= REG_TIMER0 && index < TIMERS ? &hpet->comparators[index] : NULL;
}

// offset: a multiple of 8.
static uint64_t read_register(Hpet *hpet, uint64_t offset)
{
    const Comparator *c = comparator_at(hpet, offset);
    switch (offset) {
    case REG_CAPABILITIES:
        return CAPABILITIES;
    case REG_CONFIG:
        return hpet->general;
    case REG_STATUS:
        return hpet->status;
    case REG_COUNTER:
        return counter(hpet);
    }
    if (c && offset % TIMER_STRIDE == TIMER_CONFIG)
        return c->config;
    if (c && offset % TIMER_STRIDE == TIMER_COMPARATOR)
        return c->comparator;
    return 0;
}

static void write_status(Hpet *hpet, uint64_t value)
{
    uint32_t cleared = hpet->status & (uint32_t)value;
    hpet->status &= ~cleared;
    for (unsigned i = 0; i < TIMERS; i++) {
        if (cleared >> i & 1)
            drive(&hpet->comparators[i], false);
    }
}

static void write_counter(Hpet *hpet, uint64_t value)
{
    hpet->halted = value;
    hpet->start = (int64_t)((uint64_t)tick_now(hpet) - value);
    for (unsigned i = 0; i < TIMERS; i++) {
        hpet->comparators[i].fired = false;
        skip_past(&hpet->comparators[i]);
        arm(&hpet->comparators[i]);
    }
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t value = read_register(opaque, offset & ~UINT64_C(7));
    return value >> (offset & 7) * 8;
}

static void hpet_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Hpet *hpet = opaque;
    uint64_t at = offset & ~UINT64_C(7);
    unsigned shift = (offset & 7) * 8;
    uint64_t mask = (size == 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1) << shift;
    Comparator *c = comparator_at(hpet, at);
    if (at == REG_STATUS) { // write 1 to clear: what is not written is 0
        write_status(hpet, value << shift);
        return;
    }
    // Halves of a periodic comparator make up the period, not the next match.
    uint64_t old = c && at % TIMER_STRIDE == TIMER_COMPARATOR && (c->config & TN_PERIODIC)
                       ? c->period
                       : read_register(hpet, at);
    uint64_t whole = (old & ~mask) | (value << shift & mask);
    if (at == REG_CONFIG)
        write_general(hpet, whole);
    else if (at == REG_COUNTER)
        write_counter(hpet, whole);
    else if (c && at % TIMER_STRIDE == TIMER_CONFIG)
        write_timer_config(c, whole);
    else if (c && at % TIMER_STRIDE == TIMER_COMPARATOR)
        write_comparator(c, whole);
}

static const BusOps registers = { hpet_read, hpet_write, 8 };

static void set_legacy(void *opaque, unsigned which, bool level)
{
    Hpet *hpet = opaque;
    hpet->legacy_levels[which & 1] = level;
    if (!(hpet->general & CONFIG_LEGACY))
        irq_set(which & 1 ? &hpet->config.irq8 : &hpet->config.irq0, level);
}

static void *hpet_create(const void *config, const DeviceHost *host, GError **error)
{
    Hpet *hpet = g_new0(Hpet, 1);
    hpet->host = *host;
    hpet->config = *(const HpetConfig *)config;
    for (unsigned i = 0; i < TIMERS; i++) {
        Comparator *c = &hpet->comparators[i];
        *c = (Comparator){ .hpet = hpet, .index = i };
        c->timer = timer_new(host->clock, expired, c);
    }
    hpet->region = bus_add_mmio(host->bus, hpet_ops.name, hpet->config.base, 1024, &registers, hpet,
                                &hpet->engaged);
    return hpet;
}

static void hpet_reset(void *device, ResetKind kind)
{
    Hpet *hpet = device;
    write_status(hpet, UINT32_MAX);
    for (unsigned i = 0; i < TIMERS; i++) {
        Comparator *c = &hpet->comparators[i];
        c->config = TN_FIXED;
        c->comparator = UINT64_MAX;
        c->period = 0;
        c->fired = false;
        c->lost.owed = 0;
    }
    write_general(hpet, 0);
    hpet->halted = 0;
}

static void hpet_pre_save(void *device)
{
    Hpet *hpet = device;
    for (unsigned i = 0; i < TIMERS; i++)
        hpet->comparators[i].deadline = timer_deadline(hpet->comparators[i].timer);
}

static gboolean hpet_post_load(void *device, GError **error)
{
    Hpet *hpet = device;
    if (hpet->general & ~(uint64_t)(CONFIG_ENABLE | CONFIG_LEGACY)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'hpet': the configuration has bits that do not exist");
        return FALSE;
    }
    hpet->status &= (1u << TIMERS) - 1;
    for (unsigned i = 0; i < TIMERS; i++) {
        Comparator *c = &hpet->comparators[i];
        c->config = (c->config & TN_WRITABLE) | TN_FIXED;
        timer_cancel(c->timer);
        if (c->deadline >= 0)
            timer_arm(c->timer, c->deadline);
    }
    return TRUE;
}

static void hpet_destroy(void *device)
{
    Hpet *hpet = device;
    if (!hpet)
        return;
    for (unsigned i = 0; i < TIMERS; i++)
        timer_free(hpet->comparators[i].timer);
    bus_remove(hpet->host.bus, hpet->region);
    g_free(hpet);
}

#define COMPARATOR_FIELDS(n)                                                                       \
    STATE_SCALAR(Hpet, comparators[n].config, STATE_U64),                                          \
        STATE_SCALAR(Hpet, comparators[n].comparator, STATE_U64),                                  \
        STATE_SCALAR(Hpet, comparators[n].period, STATE_U64),                                      \
        STATE_SCALAR(Hpet, comparators[n].fired, STATE_BOOL),                                      \
        STATE_SCALAR(Hpet, comparators[n].lost.owed, STATE_U32),                                   \
        STATE_SCALAR(Hpet, comparators[n].deadline, STATE_U64)

static const StateField hpet_fields[] = {
    STATE_SCALAR(Hpet, general, STATE_U64),
    STATE_SCALAR(Hpet, status, STATE_U32),
    STATE_SCALAR(Hpet, start, STATE_U64),
    STATE_SCALAR(Hpet, halted, STATE_U64),
    STATE_ARRAY(Hpet, legacy_levels, STATE_BOOL),
    COMPARATOR_FIELDS(0),
    COMPARATOR_FIELDS(1),
    COMPARATOR_FIELDS(2),
};

static const StateTable hpet_state = {
    .name = "hpet",
    .version = 1,
    .fields = hpet_fields,
    .field_count = G_N_ELEMENTS(hpet_fields),
    .post_load = hpet_post_load,
    .pre_save = hpet_pre_save,
};

const DeviceOps hpet_ops = {
    .name = "hpet",
    .spec = "IA-PC HPET Specification 1.0a",
    .create = hpet_create,
    .reset = hpet_reset,
    .state = &hpet_state,
    .destroy = hpet_destroy,
};

IrqLine hpet_legacy_input(void *hpet, unsigned which)
{
    return (IrqLine){ set_legacy, hpet, which & 1 };
}
