// SPDX-License-Identifier: GPL-2.0-or-later
// The real-time clock and CMOS memory, and what firmware reads there.
#pragma once

#include "engine/bus/device.h"

// What firmware boots from, in CMOS bytes 3Dh and 38h.
enum {
    RTC_BOOT_NONE = 0,
    RTC_BOOT_FLOPPY = 1,
    RTC_BOOT_DISK = 2,
    RTC_BOOT_CD = 3,
    RTC_BOOT_NET = 4,
};

typedef struct {
    IrqLine irq; // IRQ 8, or the HPET's input for it
    // Seconds since 1970 that the clock shows at virtual time 0, in the guest's time zone.
    int64_t start_time;
    uint64_t ram_below_4g, ram_above_4g; // bytes
    unsigned cpus;
    uint8_t boot_order[3];
    bool check_floppy_signature; // off: firmware boots floppies without the 55AAh mark
    uint8_t floppy_types; // CMOS 10h: high nibble drive A, 4 = 1.44 MB, 0 none
} RtcMc146818Config;

extern const DeviceOps rtc_mc146818_ops;

// The machine resumes after a pause or a load: the clock shows this from now on.
void rtc_mc146818_set_time(void *rtc, int64_t seconds);
// What the clock shows, seconds since 1970.
int64_t rtc_mc146818_time(void *rtc);
