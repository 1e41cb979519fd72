// SPDX-License-Identifier: GPL-2.0-or-later
// The real-time clock and the 128 bytes of CMOS memory, filled as SeaBIOS reads them. Daylight
// saving and the square wave output are not there. Follows the Motorola MC146818A data sheet
// (MC146818A/D), with the century byte at 32h where PCs have it.
//
// Time is not ticked: it is the virtual clock plus `offset`. While the divider is held in reset or
// SET is on, the bytes stand still and are what the guest reads and writes. Interrupt flags are
// brought up to date when register C is read; a timer runs only for interrupts that are enabled.
#include "engine/devices/chipset/rtc-mc146818.h"

#include "engine/devices/chipset/lost-ticks.h"

#include <gio/gio.h>

#define CMOS_SIZE     128
#define CENTURY       0x32
#define PERIODIC_HZ   32768
#define UPDATE_NS     2228000 // UIP is up 244 us before the update and through its 1984 us
#define HALF_SECOND   (NS_PER_SECOND / 2)
#define DAY           86400
#define LATEST        INT64_C(253402300799) // 9999-12-31 23:59:59

enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, MONTH_DAY,
       MONTH, YEAR, REGISTER_A, REGISTER_B, REGISTER_C, REGISTER_D };

enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_DIVIDER_RUNS = 0x20, A_RATE = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_SQWE = 0x08, B_BINARY = 0x04,
       B_24H = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };

typedef struct {
    DeviceHost host;
    RtcMc146818Config config;
    BusRegion *region;
    bool engaged;
    uint8_t cmos[CMOS_SIZE];
    uint8_t index;
    int64_t offset;       // seconds to add to virtual time to get the time shown
    int64_t phase;        // and ns, 0..999999999
    int64_t seen_second;  // UF and AF are up to date to this second of the time shown
    int64_t seen_period;  // PF is up to date to this period since virtual time 0
    LostTicks lost;
    Timer *timer;
    int64_t deadline;     // of the timer, as saved
} Rtc;

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool runs(const Rtc *rtc)
{
    return (rtc->cmos[REGISTER_A] & A_DIVIDER) == A_DIVIDER_RUNS &&
           !(rtc->cmos[REGISTER_B] & B_SET);
}

// The second shown, and how far into it the clock is.
static int64_t second_now(const Rtc *rtc)
{
    return rtc->offset + (clock_now(rtc->host.clock) + rtc->phase) / NS_PER_SECOND;
}

static int64_t ns_into_second(const Rtc *rtc)
{
    return (clock_now(rtc->host.clock) + rtc->phase) % NS_PER_SECOND;
}

// Makes the clock show `second`, `into` ns gone of it, now.
static void set_clock(Rtc *rtc, int64_t second, int64_t into)
{
    int64_t now = clock_now(rtc->host.clock);
    rtc->phase = (into - now % NS_PER_SECOND + NS_PER_SECOND) % NS_PER_SECOND;
    rtc->offset = 0;
    rtc->offset = second - second_now(rtc);
    rtc->seen_second = second;
}

static uint8_t encode(const Rtc *rtc, unsigned value)
{
    if (rtc->cmos[REGISTER_B] & B_BINARY)
        return (uint8_t)value;
    return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static unsigned decode(const Rtc *rtc, uint8_t byte)
{
    return rtc->cmos[REGISTER_B] & B_BINARY ? byte : (byte >> 4) * 10u + (byte & 15);
}

static uint8_t encode_hours(const Rtc *rtc, unsigned hours)
{
    if (rtc->cmos[REGISTER_B] & B_24H)
        return encode(rtc, hours);
    return encode(rtc, hours % 12 ? hours % 12 : 12) | (hours >= 12 ? 0x80 : 0);
}

static unsigned decode_hours(const Rtc *rtc, uint8_t byte)
{
    if (rtc->cmos[REGISTER_B] & B_24H)
        return decode(rtc, byte);
    return decode(rtc, byte & 0x7f) % 12 + (byte & 0x80 ? 12 : 0);
}

// Days since 1970-01-01 of a date in the Gregorian calendar; month may be anything.
static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
    month -= 1;
    year += floor_div(month, 12);
    month -= floor_div(month, 12) * 12;
    // Years begin in March, so that the leap day comes last.
    year -= month < 2;
    month = (month + 10) % 12;
    int64_t era = floor_div(year, 400), of_era = year - era * 400;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day -
           1 - 719468;
}

static void date_of_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = floor_div(days, 146097), of_era = days - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (y * 365 + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = era * 400 + y + (m >= 10);
}

// Writes the time shown into the bytes.
static void show_time(Rtc *rtc, int64_t second)
{
    int64_t days = floor_div(second, DAY), year;
    unsigned of_day = (unsigned)(second - days * DAY), month, day;
    date_of_days(days, &year, &month, &day);
    rtc->cmos[SECONDS] = encode(rtc, of_day % 60);
    rtc->cmos[MINUTES] = encode(rtc, of_day / 60 % 60);
    rtc->cmos[HOURS] = encode_hours(rtc, of_day / 3600);
    rtc->cmos[WEEKDAY] = encode(rtc, (unsigned)(((days + 4) % 7 + 7) % 7) + 1);
    rtc->cmos[MONTH_DAY] = encode(rtc, day);
    rtc->cmos[MONTH] = encode(rtc, month);
    rtc->cmos[YEAR] = encode(rtc, (unsigned)(((year % 100) + 100) % 100));
    rtc->cmos[CENTURY] = encode(rtc, (unsigned)CLAMP(year / 100, 0, 99));
}

// The second that the bytes stand for. Impossible dates run over into the next month.
static int64_t time_in_bytes(const Rtc *rtc)
{
    int64_t year = (int64_t)decode(rtc, rtc->cmos[CENTURY]) * 100 + decode(rtc, rtc->cmos[YEAR]);
    int64_t days = days_of_date(year, decode(rtc, rtc->cmos[MONTH]),
                                decode(rtc, rtc->cmos[MONTH_DAY]));
    return days * DAY + decode_hours(rtc, rtc->cmos[HOURS]) * 3600 +
           decode(rtc, rtc->cmos[MINUTES]) * 60 + decode(rtc, rtc->cmos[SECONDS]);
}

// Makes the clock go on from the bytes. into: ns into the second; -1 keeps the present one.
static void start_from_bytes(Rtc *rtc, int64_t into)
{
    set_clock(rtc, time_in_bytes(rtc), into < 0 ? ns_into_second(rtc) : into);
}

static bool alarm_any(uint8_t byte)
{
    return byte >= 0xc0; // "don't care" codes
}

// The first second after `after` at which the alarm is due.
static int64_t next_alarm(const Rtc *rtc, int64_t after)
{
    const uint8_t *c = rtc->cmos;
    for (int64_t at = after + 1; at <= after + 2 * DAY;) {
        int64_t of_day = at - floor_div(at, DAY) * DAY;
        if (!alarm_any(c[HOURS_ALARM]) && decode_hours(rtc, c[HOURS_ALARM]) != of_day / 3600)
            at += 3600 - of_day % 3600;
        else if (!alarm_any(c[MINUTES_ALARM]) && decode(rtc, c[MINUTES_ALARM]) != of_day / 60 % 60)
            at += 60 - of_day % 60;
        else if (!alarm_any(c[SECONDS_ALARM]) && decode(rtc, c[SECONDS_ALARM]) != of_day % 60)
            at++;
        else
            return at;
    }
    return INT64_MAX; // an alarm time that no clock shows
}

// Length of the periodic interrupt in ns, and as a shift of 1/32768 s; 0 where it is off.
static int64_t period_ns(const Rtc *rtc)
{
    unsigned rate = rtc->cmos[REGISTER_A] & A_RATE;
    if (!rate || (rtc->cmos[REGISTER_A] & A_DIVIDER) != A_DIVIDER_RUNS)
        return 0;
    if (rate <= 2)
        rate += 7;
    return (NS_PER_SECOND << (rate - 1)) / PERIODIC_HZ;
}

static void update_irq(Rtc *rtc)
{
    uint8_t *c = rtc->cmos;
    if (c[REGISTER_C] & c[REGISTER_B] & (C_PF | C_AF | C_UF))
        c[REGISTER_C] |= C_IRQF;
    else
        c[REGISTER_C] &= (uint8_t)~C_IRQF;
    irq_set(&rtc->config.irq, c[REGISTER_C] & C_IRQF);
}

static void refresh_periodic(Rtc *rtc)
{
    int64_t period = period_ns(rtc);
    if (!period)
        return;
    int64_t now = clock_now(rtc->host.clock) / period, ticks = now - rtc->seen_period;
    if (ticks <= 0)
        return;
    rtc->seen_period = now;
    // Ticks that nobody could see apart are owed, where the guest asked for interrupts.
    if (rtc->cmos[REGISTER_B] & B_PIE)
        lost_ticks_add(&rtc->lost, rtc->cmos[REGISTER_C] & C_PF ? ticks : ticks - 1, period);
    rtc->cmos[REGISTER_C] |= C_PF;
}

// Brings the flags of register C up to now.
static void refresh_flags(Rtc *rtc)
{
    refresh_periodic(rtc);
    int64_t second = second_now(rtc);
    if (runs(rtc) && second > rtc->seen_second) {
        rtc->cmos[REGISTER_C] |= C_UF;
        if (next_alarm(rtc, MAX(rtc->seen_second, second - DAY)) <= second)
            rtc->cmos[REGISTER_C] |= C_AF;
        rtc->seen_second = second;
    }
    update_irq(rtc);
}

static void arm(Rtc *rtc)
{
    uint8_t b = rtc->cmos[REGISTER_B];
    int64_t now = clock_now(rtc->host.clock), deadline = INT64_MAX, period = period_ns(rtc);
    if ((b & B_PIE) && period) {
        int64_t next = (now / period + 1) * period;
        deadline = rtc->cmos[REGISTER_C] & C_PF
                       ? next
                       : lost_ticks_deadline(&rtc->lost, now, next, period);
    }
    if (runs(rtc)) {
        int64_t second = second_now(rtc), due = INT64_MAX;
        if (b & B_UIE)
            due = second + 1;
        else if (b & B_AIE)
            due = next_alarm(rtc, second);
        if (due != INT64_MAX)
            deadline = MIN(deadline, (due - rtc->offset) * NS_PER_SECOND - rtc->phase);
    }
    if (deadline == INT64_MAX)
        timer_cancel(rtc->timer);
    else
        timer_arm(rtc->timer, deadline);
}

static void timer_expired(void *opaque)
{
    Rtc *rtc = opaque;
    uint8_t before = rtc->cmos[REGISTER_C];
    refresh_flags(rtc);
    // Woken between two ticks to hand out one that is owed.
    if (rtc->lost.owed && !((before | rtc->cmos[REGISTER_C]) & C_PF) &&
        (rtc->cmos[REGISTER_B] & B_PIE)) {
        rtc->lost.owed--;
        rtc->cmos[REGISTER_C] |= C_PF;
        update_irq(rtc);
    }
    arm(rtc);
}

static uint8_t read_register_c(Rtc *rtc)
{
    refresh_flags(rtc);
    uint8_t value = rtc->cmos[REGISTER_C];
    rtc->cmos[REGISTER_C] = 0;
    update_irq(rtc);
    if (value) // a guest that polls must not put off a tick that is owed
        arm(rtc);
    return value;
}

static uint8_t read_register_a(const Rtc *rtc)
{
    bool updating = runs(rtc) && ns_into_second(rtc) >= NS_PER_SECOND - UPDATE_NS;
    return (rtc->cmos[REGISTER_A] & (uint8_t)~A_UIP) | (updating ? A_UIP : 0);
}

static uint8_t read_byte(Rtc *rtc, uint8_t index)
{
    switch (index) {
    case SECONDS:
    case MINUTES:
    case HOURS:
    case WEEKDAY:
    case MONTH_DAY:
    case MONTH:
    case YEAR:
    case CENTURY:
        if (runs(rtc))
            show_time(rtc, second_now(rtc));
        return rtc->cmos[index];
    case REGISTER_A:
        return read_register_a(rtc);
    case REGISTER_C:
        return read_register_c(rtc);
    default:
        return rtc->cmos[index];
    }
}

static void write_register_a(Rtc *rtc, uint8_t value)
{
    bool ran = (rtc->cmos[REGISTER_A] & A_DIVIDER) == A_DIVIDER_RUNS;
    bool run = (value & A_DIVIDER) == A_DIVIDER_RUNS;
    if (runs(rtc))
        show_time(rtc, second_now(rtc));
    rtc->cmos[REGISTER_A] = value & (uint8_t)~A_UIP;
    if (run && !ran) // the first update comes half a second after the divider's release
        start_from_bytes(rtc, HALF_SECOND);
    int64_t period = period_ns(rtc);
    rtc->seen_period = period ? clock_now(rtc->host.clock) / period : 0;
    rtc->lost.owed = 0;
}

static void write_register_b(Rtc *rtc, uint8_t value)
{
    bool ran = runs(rtc);
    if (ran)
        show_time(rtc, second_now(rtc));
    if (value & B_SET) // a set aborts updates and disables their interrupt
        value &= (uint8_t)~B_UIE;
    if (!(value & B_PIE))
        rtc->lost.owed = 0;
    rtc->cmos[REGISTER_B] = value;
    if (!ran && runs(rtc))
        start_from_bytes(rtc, -1);
    else if (ran && runs(rtc)) // the form of the bytes may have changed; the time has not
        show_time(rtc, second_now(rtc));
}

static void write_byte(Rtc *rtc, uint8_t index, uint8_t value)
{
    refresh_flags(rtc);
    switch (index) {
    case REGISTER_A:
        write_register_a(rtc, value);
        break;
    case REGISTER_B:
        write_register_b(rtc, value);
        break;
    case REGISTER_C:
    case REGISTER_D:
        break;
    case SECONDS:
    case MINUTES:
    case HOURS:
    case WEEKDAY:
    case MONTH_DAY:
    case MONTH:
    case YEAR:
    case CENTURY:
        if (runs(rtc)) {
            show_time(rtc, second_now(rtc));
            rtc->cmos[index] = value;
            start_from_bytes(rtc, -1);
        }
        rtc->cmos[index] = value;
        break;
    default:
        rtc->cmos[index] = value;
        break;
    }
    update_irq(rtc);
    arm(rtc);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    Rtc *rtc = opaque;
    return offset ? read_byte(rtc, rtc->index) : 0xff; // the index port is write-only
}

static void rtc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    Rtc *rtc = opaque;
    if (offset)
        write_byte(rtc, rtc->index, (uint8_t)value);
    else
        rtc->index = value & 0x7f; // bit 7 gates NMI, and nothing makes one here
}

static const BusOps rtc_ports = { rtc_read, rtc_write, 1 };

// What SeaBIOS and old systems look for, in the layout of the IBM AT.
static void fill_cmos(Rtc *rtc)
{
    const RtcMc146818Config *config = &rtc->config;
    uint8_t *c = rtc->cmos;
    uint64_t extended = config->ram_below_4g > 0x100000 ? config->ram_below_4g - 0x100000 : 0;
    uint64_t kilobytes = MIN(extended >> 10, 0xffff);
    uint64_t above_16m = config->ram_below_4g > 0x1000000
                             ? MIN((config->ram_below_4g - 0x1000000) >> 16, 0xffff)
                             : 0;
    uint64_t above_4g = MIN(config->ram_above_4g >> 16, 0xffffff);
    c[0x10] = config->floppy_types;
    c[0x14] = 0x06 | (config->floppy_types ? 0x01 : 0) | (config->floppy_types & 15 ? 0x40 : 0);
    c[0x15] = 0x80; // 640 KiB of base memory
    c[0x16] = 0x02;
    c[0x17] = c[0x30] = (uint8_t)kilobytes;
    c[0x18] = c[0x31] = (uint8_t)(kilobytes >> 8);
    c[0x34] = (uint8_t)above_16m;
    c[0x35] = (uint8_t)(above_16m >> 8);
    c[0x38] = (uint8_t)(config->boot_order[2] << 4 | (config->check_floppy_signature ? 0 : 1));
    c[0x3d] = (uint8_t)(config->boot_order[1] << 4 | (config->boot_order[0] & 15));
    for (unsigned i = 0; i < 3; i++)
        c[0x5b + i] = (uint8_t)(above_4g >> i * 8);
    c[0x5f] = (uint8_t)(config->cpus ? config->cpus - 1 : 0);
    c[REGISTER_A] = A_DIVIDER_RUNS | 0x06; // 1024 Hz
    c[REGISTER_B] = B_24H;
    c[REGISTER_D] = 0x80; // the battery is good
}

static void *rtc_create(const void *config, const DeviceHost *host, GError **error)
{
    Rtc *rtc = g_new0(Rtc, 1);
    rtc->host = *host;
    rtc->config = *(const RtcMc146818Config *)config;
    rtc->offset = CLAMP(rtc->config.start_time, 0, LATEST);
    rtc->seen_second = second_now(rtc);
    rtc->timer = timer_new(host->clock, timer_expired, rtc);
    rtc->region = bus_add_ports(host->bus, rtc_mc146818_ops.name, 0x70, 2, &rtc_ports, rtc,
                                &rtc->engaged);
    fill_cmos(rtc);
    return rtc;
}

static void rtc_reset(void *device, ResetKind kind)
{
    // The RESET# pin leaves time and memory alone (data sheet, "RESET").
    Rtc *rtc = device;
    rtc->cmos[REGISTER_B] &= (uint8_t)~(B_PIE | B_AIE | B_UIE | B_SQWE);
    rtc->cmos[REGISTER_C] = 0;
    rtc->index = 0;
    rtc->lost.owed = 0;
    update_irq(rtc);
    arm(rtc);
}

static void rtc_pre_save(void *device)
{
    Rtc *rtc = device;
    rtc->deadline = timer_deadline(rtc->timer);
}

static gboolean rtc_post_load(void *device, GError **error)
{
    Rtc *rtc = device;
    int64_t most = INT64_MAX / NS_PER_SECOND * 200; // more than registers can hold
    if (rtc->offset < -most || rtc->offset > most || rtc->phase < 0 ||
        rtc->phase >= NS_PER_SECOND || rtc->seen_second < -most || rtc->seen_second > most) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'rtc-mc146818': the time is impossible");
        return FALSE;
    }
    rtc->index &= 0x7f;
    rtc->seen_period = MAX(rtc->seen_period, 0);
    irq_set(&rtc->config.irq, rtc->cmos[REGISTER_C] & C_IRQF);
    timer_cancel(rtc->timer);
    if (rtc->deadline >= 0)
        timer_arm(rtc->timer, rtc->deadline);
    return TRUE;
}

static void rtc_destroy(void *device)
{
    Rtc *rtc = device;
    if (!rtc)
        return;
    timer_free(rtc->timer);
    bus_remove(rtc->host.bus, rtc->region);
    g_free(rtc);
}

static const StateField rtc_fields[] = {
    STATE_ARRAY(Rtc, cmos, STATE_U8),
    STATE_SCALAR(Rtc, index, STATE_U8),
    STATE_SCALAR(Rtc, offset, STATE_U64),
    STATE_SCALAR(Rtc, phase, STATE_U64),
    STATE_SCALAR(Rtc, seen_second, STATE_U64),
    STATE_SCALAR(Rtc, seen_period, STATE_U64),
    STATE_SCALAR(Rtc, lost.owed, STATE_U32),
    STATE_SCALAR(Rtc, deadline, STATE_U64),
};

static const StateTable rtc_state = {
    .name = "rtc-mc146818",
    .version = 1,
    .fields = rtc_fields,
    .field_count = G_N_ELEMENTS(rtc_fields),
    .post_load = rtc_post_load,
    .pre_save = rtc_pre_save,
};

const DeviceOps rtc_mc146818_ops = {
    .name = "rtc-mc146818",
    .spec = "Motorola MC146818A/D",
    .create = rtc_create,
    .reset = rtc_reset,
    .state = &rtc_state,
    .destroy = rtc_destroy,
};

void rtc_mc146818_set_time(void *device, int64_t seconds)
{
    Rtc *rtc = device;
    refresh_flags(rtc);
    set_clock(rtc, CLAMP(seconds, 0, LATEST), 0);
    if (!runs(rtc))
        show_time(rtc, rtc->seen_second);
    arm(rtc);
}

int64_t rtc_mc146818_time(void *device)
{
    Rtc *rtc = device;
    return runs(rtc) ? second_now(rtc) : time_in_bytes(rtc);
}
