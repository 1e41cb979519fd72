// SPDX-License-Identifier: GPL-2.0-or-later
// The 8254 interval timer and port 61h, which holds the gate of counter 2 and the loudspeaker.
// Follows Intel 231164 (8254) and 290550 (82371SB), section 2.5.6 (NMI status and control).
//
// A counter is not stepped: what it shows is computed from the clock. `start` is the tick of the
// 1.193182 MHz clock at which the present count was loaded; while the gate holds a counter still,
// `frozen` keeps how far it had come. Only counter 0 owns a timer, and only for rising edges of its
// output, the one thing that the interrupt controllers look at.
#include "engine/devices/chipset/pit-8254.h"

#include "engine/devices/chipset/lost-ticks.h"

#include <gio/gio.h>

#define REFRESH_NS      15085 // port 61h bit 4 toggles with each refresh request
#define SHORTEST_NS     20000 // a guest cannot make the host wake up more often than this

// Ways of access, bits 5:4 of a control word.
enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

// Port 61h.
enum { P61_GATE = 1 << 0, P61_SPEAKER = 1 << 1, P61_REFRESH = 1 << 4, P61_OUT2 = 1 << 5 };

typedef struct {
    uint8_t mode;      // 0..5
    uint8_t access;
    bool bcd;
    bool gate;
    bool loaded;       // a count was written since the control word
    bool triggered;    // modes 1 and 5: the gate has risen since
    bool high_next;    // ACCESS_BOTH: the next byte written is the high one
    bool read_high;    // ACCESS_BOTH: the next byte read is the high one
    bool status_latched;
    uint8_t latched_bytes; // how many of the latched count are still to be read
    uint8_t low_byte;  // written first
    uint8_t status;
    uint16_t latched;
    uint32_t count;    // 1..65536, in clock ticks
    uint32_t next_count; // modes 2 and 3: takes over when the cycle ends at next_start; 0: none
    int64_t next_start;
    int64_t start;     // tick
    int64_t frozen;    // elapsed ticks while the gate is low; -1: runs
} Counter;

typedef struct {
    DeviceHost host;
    Pit8254Config config;
    BusRegion *ports, *port61_region;
    bool engaged;
    Counter counters[3];
    uint8_t port61;
    Timer *timer;
    int64_t deadline;    // of the timer, as saved
    int64_t last_edge;   // tick of counter 0's last rising edge that was handled
    LostTicks lost;
} Pit;

static int64_t tick_now(const Pit *pit)
{
    return (int64_t)((__int128)clock_now(pit->host.clock) * PIT_HZ / NS_PER_SECOND);
}

static int64_t ns_of_ticks(int64_t ticks)
{
    return (int64_t)(((__int128)ticks * NS_PER_SECOND + PIT_HZ - 1) / PIT_HZ);
}

static bool periodic(const Counter *c)
{
    return c->mode == 2 || c->mode == 3;
}

// Lets a count written in modes 2 and 3 take over at the end of the cycle it was written in.
static void catch_up(Counter *c, int64_t now)
{
    if (c->next_count && now >= c->next_start && c->frozen < 0) {
        c->start = c->next_start;
        c->count = c->next_count;
        c->next_count = 0;
    }
}

static int64_t elapsed(const Counter *c, int64_t now)
{
    return c->frozen >= 0 ? c->frozen : MAX(now - c->start, 0);
}

static bool output(const Counter *c, int64_t now)
{
    int64_t e = elapsed(c, now), n = c->count;
    switch (c->mode) {
    case 0:
        return c->loaded && e >= n;
    case 1:
        return !(c->loaded && c->triggered && e < n);
    case 2:
        return !c->loaded || !c->gate || e % n != n - 1 || n == 1;
    case 3:
        return !c->loaded || !c->gate || e % n < (n + 1) / 2;
    default: // 4, 5: one clock low at the end
        return !(c->loaded && (c->mode == 4 || c->triggered) && e == n);
    }
}

// The counting element, in ticks; the caller turns it into BCD.
static uint32_t remaining(const Counter *c, int64_t now)
{
    int64_t e = elapsed(c, now), n = c->count;
    int64_t wrap = c->bcd ? 10000 : 65536;
    if (!c->loaded)
        return 0;
    switch (c->mode) {
    case 2:
        return (uint32_t)(n - e % n);
    case 3:
        // Counts down by two, twice a cycle; an odd count begins from the even one below.
        e %= n;
        if (e >= (n + 1) / 2)
            e -= (n + 1) / 2;
        return (uint32_t)MAX((n & ~1) - 2 * e, 0);
    case 1:
    case 5:
        if (!c->triggered)
            return (uint32_t)(n % wrap);
        G_GNUC_FALLTHROUGH;
    default:
        return (uint32_t)(((n - e) % wrap + wrap) % wrap);
    }
}

static uint16_t to_bcd(uint32_t value)
{
    return (uint16_t)(value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                      value % 10);
}

static uint16_t counting_element(const Counter *c, int64_t now)
{
    uint32_t value = remaining(c, now);
    return c->bcd ? to_bcd(value) : (uint16_t)value;
}

static uint32_t decode_count(const Counter *c, uint16_t raw)
{
    if (!c->bcd)
        return raw ? raw : 65536;
    uint32_t value = (raw >> 12 & 15) * 1000 + (raw >> 8 & 15) * 100 + (raw >> 4 & 15) * 10 +
                     (raw & 15);
    return value ? value : 10000;
}

// Rising edges of counter 0 in the periodic modes lie at start + k * count. The last at or before
// now.
static int64_t edge_before(const Counter *c, int64_t now)
{
    return c->start + elapsed(c, now) / c->count * c->count;
}

static void drive(Pit *pit, bool level)
{
    irq_set(&pit->config.irq, level);
}

static void pulse(Pit *pit)
{
    drive(pit, false);
    drive(pit, true);
}

// Whether the output will rise by itself, and when.
static bool next_rise(const Counter *c, int64_t now, int64_t *ret_tick)
{
    if (!c->loaded || c->frozen >= 0)
        return false;
    if (periodic(c)) {
        *ret_tick = c->next_count ? c->next_start : edge_before(c, now) + c->count;
        return true;
    }
    if ((c->mode == 1 || c->mode == 5) && !c->triggered)
        return false;
    *ret_tick = c->start + c->count + (c->mode >= 4 ? 1 : 0);
    return *ret_tick > now;
}

static void arm(Pit *pit)
{
    const Counter *c = &pit->counters[0];
    int64_t tick, now = clock_now(pit->host.clock);
    if (!next_rise(c, tick_now(pit), &tick)) {
        timer_cancel(pit->timer);
        return;
    }
    int64_t deadline = ns_of_ticks(tick);
    if (periodic(c)) {
        deadline = lost_ticks_deadline(&pit->lost, now, deadline, ns_of_ticks(c->count));
        deadline = MAX(deadline, now + SHORTEST_NS);
    }
    timer_arm(pit->timer, deadline);
}

static void periodic_expired(Pit *pit, Counter *c, int64_t now)
{
    int64_t period = ns_of_ticks(c->count);
    // Counted over the old count up to a change of it, then over the new one.
    int64_t before = c->next_count && now >= c->next_start ? c->next_start - 1 : now;
    int64_t edges = (edge_before(c, before) - pit->last_edge) / c->count;
    if (before != now) {
        catch_up(c, now);
        edges += 1 + elapsed(c, now) / c->count;
    }
    pit->last_edge = edge_before(c, now);
    bool waits = pit->config.tick_waits && pit->config.tick_waits(pit->config.tick_opaque);
    if (edges > 0) {
        lost_ticks_add(&pit->lost, waits ? edges : edges - 1, period);
        pulse(pit);
    } else if (!waits && pit->lost.owed) {
        pit->lost.owed--;
        pulse(pit);
    }
}

static void timer_expired(void *opaque)
{
    Pit *pit = opaque;
    Counter *c = &pit->counters[0];
    int64_t now = tick_now(pit);
    if (periodic(c))
        periodic_expired(pit, c, now);
    else if (output(c, now))
        pulse(pit);
    arm(pit);
}

// Before a guest looks: counts whose time has come take over. Counter 0's does so with its tick.
static void settle(Pit *pit)
{
    int64_t now = tick_now(pit);
    const Counter *c = &pit->counters[0];
    if (c->next_count && now >= c->next_start)
        timer_expired(pit);
    catch_up(&pit->counters[1], now);
    catch_up(&pit->counters[2], now);
}

// After a guest's write to counter 0.
static void restart_output(Pit *pit)
{
    Counter *c = &pit->counters[0];
    int64_t now = tick_now(pit);
    if (!c->next_count) {
        pit->last_edge = c->start;
        pit->lost.owed = 0;
        drive(pit, output(c, now));
    }
    arm(pit);
}

static void load_count(Pit *pit, unsigned index, uint16_t raw)
{
    Counter *c = &pit->counters[index];
    int64_t now = tick_now(pit);
    uint32_t count = decode_count(c, raw);
    if (periodic(c) && c->loaded && c->frozen < 0) {
        c->next_count = count;
        c->next_start = edge_before(c, now) + c->count;
    } else if ((c->mode == 1 || c->mode == 5) && c->loaded && c->triggered &&
               elapsed(c, now) < c->count) {
        // A one-shot in progress ends as it began; the new count is for the next trigger.
        c->next_count = count;
        c->next_start = INT64_MAX;
    } else {
        c->count = count;
        c->next_count = 0;
        c->start = now;
        c->frozen = c->gate || c->mode == 1 || c->mode == 5 ? -1 : 0;
        c->loaded = true;
        c->triggered = false;
    }
    if (index == 0)
        restart_output(pit);
}

static void write_counter(Pit *pit, unsigned index, uint8_t value)
{
    Counter *c = &pit->counters[index];
    switch (c->access) {
    case ACCESS_LOW:
        load_count(pit, index, value);
        break;
    case ACCESS_HIGH:
        load_count(pit, index, (uint16_t)(value << 8));
        break;
    default:
        if (c->high_next) {
            c->high_next = false;
            load_count(pit, index, (uint16_t)(value << 8 | c->low_byte));
        } else {
            c->low_byte = value;
            c->high_next = true;
            // The first byte stops a mode 0 count (8254, "mode 0").
            if (c->mode == 0 && c->loaded) {
                c->loaded = false;
                if (index == 0)
                    restart_output(pit);
            }
        }
        break;
    }
}

static void latch_count(Counter *c, int64_t now)
{
    if (c->latched_bytes)
        return;
    c->latched = counting_element(c, now);
    c->latched_bytes = c->access == ACCESS_BOTH ? 2 : 1;
}

static void latch_status(Counter *c, int64_t now)
{
    if (c->status_latched)
        return;
    c->status = (uint8_t)((output(c, now) ? 0x80 : 0) | (!c->loaded || c->next_count ? 0x40 : 0) |
                          c->access << 4 | c->mode << 1 | (c->bcd ? 1 : 0));
    c->status_latched = true;
}

static void write_control(Pit *pit, uint8_t value)
{
    unsigned index = value >> 6;
    int64_t now = tick_now(pit);
    if (index == 3) { // read-back
        for (unsigned i = 0; i < 3; i++) {
            if (!(value & 2 << i))
                continue;
            if (!(value & 0x20))
                latch_count(&pit->counters[i], now);
            if (!(value & 0x10))
                latch_status(&pit->counters[i], now);
        }
        return;
    }
    Counter *c = &pit->counters[index];
    if ((value >> 4 & 3) == ACCESS_LATCH) {
        latch_count(c, now);
        return;
    }
    unsigned mode = value >> 1 & 7;
    *c = (Counter){ .mode = mode > 5 ? mode - 4 : mode, .access = value >> 4 & 3,
                    .bcd = value & 1, .gate = c->gate, .count = 65536, .start = now,
                    .frozen = -1 };
    if (index == 0)
        restart_output(pit);
}

static uint8_t read_counter(Pit *pit, unsigned index)
{
    Counter *c = &pit->counters[index];
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    uint16_t value = c->latched_bytes ? c->latched : counting_element(c, tick_now(pit));
    bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);
    if (c->access == ACCESS_BOTH)
        c->read_high = !c->read_high;
    if (c->latched_bytes)
        c->latched_bytes--;
    return (uint8_t)(high ? value >> 8 : value);
}

static void set_gate(Pit *pit, unsigned index, bool gate)
{
    Counter *c = &pit->counters[index];
    int64_t now = tick_now(pit);
    if (gate == c->gate)
        return;
    if (c->mode == 1 || c->mode == 5) {
        if (gate && c->loaded) { // a rising edge triggers
            if (c->next_count) {
                c->count = c->next_count;
                c->next_count = 0;
            }
            c->triggered = true;
            c->start = now;
        }
    } else if (!gate) {
        c->frozen = elapsed(c, now);
    } else if (c->frozen >= 0) {
        // Modes 2 and 3 begin anew, modes 0 and 4 go on.
        c->start = periodic(c) ? now : now - c->frozen;
        c->frozen = -1;
        if (periodic(c) && c->next_count) {
            c->count = c->next_count;
            c->next_count = 0;
        }
    }
    c->gate = gate;
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    Pit *pit = opaque;
    settle(pit);
    return offset < 3 ? read_counter(pit, (unsigned)offset) : 0; // the control word is write-only
}

static void pit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Pit *pit = opaque;
    settle(pit);
    if (offset == 3)
        write_control(pit, (uint8_t)value);
    else
        write_counter(pit, (unsigned)offset, (uint8_t)value);
}

static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size)
{
    Pit *pit = opaque;
    settle(pit);
    uint8_t value = pit->port61;
    if (clock_now(pit->host.clock) / REFRESH_NS & 1)
        value |= P61_REFRESH;
    if (output(&pit->counters[2], tick_now(pit)))
        value |= P61_OUT2;
    return value;
}

static void port61_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Pit *pit = opaque;
    settle(pit);
    pit->port61 = (uint8_t)value & 0x0f;
    set_gate(pit, 2, value & P61_GATE);
}

static const BusOps pit_ports = { pit_read, pit_write, 1 };
static const BusOps port61_ops = { port61_read, port61_write, 1 };

static void *pit_create(const void *config, const DeviceHost *host, GError **error)
{
    Pit *pit = g_new0(Pit, 1);
    pit->host = *host;
    pit->config = *(const Pit8254Config *)config;
    pit->timer = timer_new(host->clock, timer_expired, pit);
    const char *name = pit_8254_ops.name;
    pit->ports = bus_add_ports(host->bus, name, 0x40, 4, &pit_ports, pit, &pit->engaged);
    pit->port61_region = bus_add_ports(host->bus, name, 0x61, 1, &port61_ops, pit, &pit->engaged);
    return pit;
}

static void pit_reset(void *device, ResetKind kind)
{
    Pit *pit = device;
    int64_t now = tick_now(pit);
    for (unsigned i = 0; i < 3; i++)
        pit->counters[i] = (Counter){ .mode = 3, .access = ACCESS_BOTH, .gate = i != 2,
                                      .count = 65536, .start = now, .frozen = -1 };
    pit->port61 = 0;
    restart_output(pit);
}

static void pit_pre_save(void *device)
{
    Pit *pit = device;
    pit->deadline = timer_deadline(pit->timer);
}

static gboolean pit_post_load(void *device, GError **error)
{
    Pit *pit = device;
    int64_t now = tick_now(pit);
    for (unsigned i = 0; i < 3; i++) {
        const Counter *c = &pit->counters[i];
        if (c->mode > 5 || c->access > ACCESS_BOTH || c->latched_bytes > 2 || c->count < 1 ||
            c->count > 65536 || c->next_count > 65536 || c->start < 0 || c->frozen < -1 ||
            c->next_start < 0) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "saved state of 'pit-8254': counter %u is in a state that does not exist",
                        i);
            return FALSE;
        }
    }
    pit->last_edge = CLAMP(pit->last_edge, 0, MAX(now, 0));
    timer_cancel(pit->timer);
    if (pit->deadline >= 0)
        timer_arm(pit->timer, pit->deadline);
    return TRUE;
}

static void pit_destroy(void *device)
{
    Pit *pit = device;
    if (!pit)
        return;
    timer_free(pit->timer);
    bus_remove(pit->host.bus, pit->ports);
    bus_remove(pit->host.bus, pit->port61_region);
    g_free(pit);
}

#define COUNTER_FIELDS(n)                                                                          \
    STATE_SCALAR(Pit, counters[n].mode, STATE_U8),                                                 \
        STATE_SCALAR(Pit, counters[n].access, STATE_U8),                                           \
        STATE_SCALAR(Pit, counters[n].bcd, STATE_BOOL),                                            \
        STATE_SCALAR(Pit, counters[n].gate, STATE_BOOL),                                           \
        STATE_SCALAR(Pit, counters[n].loaded, STATE_BOOL),                                         \
        STATE_SCALAR(Pit, counters[n].triggered, STATE_BOOL),                                      \
        STATE_SCALAR(Pit, counters[n].high_next, STATE_BOOL),                                      \
        STATE_SCALAR(Pit, counters[n].read_high, STATE_BOOL),                                      \
        STATE_SCALAR(Pit, counters[n].status_latched, STATE_BOOL),                                 \
        STATE_SCALAR(Pit, counters[n].latched_bytes, STATE_U8),                                    \
        STATE_SCALAR(Pit, counters[n].low_byte, STATE_U8),                                         \
        STATE_SCALAR(Pit, counters[n].status, STATE_U8),                                           \
        STATE_SCALAR(Pit, counters[n].latched, STATE_U16),                                         \
        STATE_SCALAR(Pit, counters[n].count, STATE_U32),                                           \
        STATE_SCALAR(Pit, counters[n].next_count, STATE_U32),                                      \
        STATE_SCALAR(Pit, counters[n].next_start, STATE_U64),                                      \
        STATE_SCALAR(Pit, counters[n].start, STATE_U64),                                           \
        STATE_SCALAR(Pit, counters[n].frozen, STATE_U64)

static const StateField pit_fields[] = {
    COUNTER_FIELDS(0),
    COUNTER_FIELDS(1),
    COUNTER_FIELDS(2),
    STATE_SCALAR(Pit, port61, STATE_U8),
    STATE_SCALAR(Pit, deadline, STATE_U64),
    STATE_SCALAR(Pit, last_edge, STATE_U64),
    STATE_SCALAR(Pit, lost.owed, STATE_U32),
};

static const StateTable pit_state = {
    .name = "pit-8254",
    .version = 1,
    .fields = pit_fields,
    .field_count = G_N_ELEMENTS(pit_fields),
    .post_load = pit_post_load,
    .pre_save = pit_pre_save,
};

const DeviceOps pit_8254_ops = {
    .name = "pit-8254",
    .spec = "Intel 231164 8254; 290550 82371SB, section 2.5.6",
    .create = pit_create,
    .reset = pit_reset,
    .state = &pit_state,
    .destroy = pit_destroy,
};

uint32_t pit_8254_speaker_hz(void *device)
{
    Pit *pit = device;
    const Counter *c = &pit->counters[2];
    bool plays = (pit->port61 & (P61_GATE | P61_SPEAKER)) == (P61_GATE | P61_SPEAKER);
    return plays && c->loaded && periodic(c) ? PIT_HZ / c->count : 0;
}
